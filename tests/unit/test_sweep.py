"""Once a minute every gap is closed, and nothing that is well is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import QUEUED_LOST_MS, Job, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import Parked, Registration
from chalicelib.contract.states import State
from chalicelib.sweep import UNREADABLE_MS, Sweep
from chalicelib.window import Window
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job
from tests.sheet_fakes import MemoryRegistry, Post

LEASE_MS = 60_000


def sweep(
    ledger: MemoryLedger, post: Post, now: int, registry: MemoryRegistry | None = None
) -> Callable[[], Counter[str]]:
    window = Window(ledger, post, lambda: 0, lambda: now)
    return Sweep(ledger, post, post, registry or MemoryRegistry(), lambda: now, window).sweep


def claimed(ledger: MemoryLedger, job: Job, now: int = NOW) -> Claimed:
    answer = ledger.claim(job.job_id, job.seq, owner="w", token="t", now=now, lease_ms=LEASE_MS)
    assert isinstance(answer, Claimed)
    return answer


def test_a_lost_message_is_sent_again_under_a_new_number() -> None:
    """Queued and silent for five minutes: its message never was, or is gone."""
    ledger, post = MemoryLedger(), Post()
    job = ledger.submit(new_job()).job
    sweep(ledger, post, NOW + QUEUED_LOST_MS - 1)()
    assert post.sent == []
    sweep(ledger, post, NOW + QUEUED_LOST_MS)()
    assert post.sent == [(job.job_id, 2)]
    sweep(ledger, post, NOW + QUEUED_LOST_MS)()
    assert len(post.sent) == 1


def test_a_dead_workers_job_is_offered_again() -> None:
    """The lease has ended and nobody went on."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job()).job).job
    sweep(ledger, post, NOW + LEASE_MS + 30_000)()
    assert post.sent == [(job.job_id, 2)]


def test_a_live_job_is_left_alone() -> None:
    """A heartbeat moves the next look."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job()).job)
    ledger.heartbeat(job.lease, until=NOW + 10 * LEASE_MS, phase="rendering", progress=None)
    sweep(ledger, post, NOW + 5 * LEASE_MS)()
    assert post.sent == []


def test_a_job_that_killed_its_workers_is_given_up_with_a_sentence() -> None:
    """No attempt left and a dead lease: the row must say why."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job(budget_left=1)).job).job
    sweep(ledger, post, NOW + LEASE_MS + 30_001)()
    there = ledger.get(job.job_id)
    assert there is not None and there.state is State.FAILED and there.error is not None
    assert "stopped in the middle" in there.error.text and there.error.hint
    assert post.hinted == [(job.job_id, None)]


def test_a_job_that_nobody_took_within_its_time_is_given_up() -> None:
    """The deadline ends waiting."""
    ledger, post = MemoryLedger(), Post()
    job = ledger.submit(new_job(deadline=NOW + 1_000, due_at=NOW + 1_000)).job
    sweep(ledger, post, NOW + 1_000)()
    there = ledger.get(job.job_id)
    assert there is not None and there.state is State.FAILED and there.error is not None
    assert there.error.code == "expired"


def test_an_end_that_no_row_shows_is_asked_for_each_time() -> None:
    """Until completion has written it."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job()).job)
    ledger.commit(job.lease, now=NOW, outputs=[], timings=Timings())
    later = NOW + 30_000
    sweep(ledger, post, later)()
    sweep(ledger, post, later + 120_000)()
    assert (post.checked, post.hinted) == ([[job.job.job_id]] * 2, [])


def test_what_lags_is_asked_for_in_few_messages() -> None:
    """Else a completion that is behind gets more messages every two minutes than it can take, and never catches up."""
    ledger, post = MemoryLedger(), Post()
    for number in range(100):
        for target in ({}, {"target": None}):
            job = claimed(ledger, ledger.submit(new_job(job_key=f"{number} {target}", **target)).job)
            ledger.commit(job.lease, now=NOW, outputs=[], timings=Timings())
    sweep(ledger, post, NOW + 30_000)()
    assert sorted(map(len, post.checked)) == [10, 10, 90, 90] and post.hinted == []


def test_what_is_told_leaves_the_sweepers_sight() -> None:
    """An ended job without a row is asked for until completion has announced it, and is left alone then."""
    ledger, post = MemoryLedger(), Post()
    lease = claimed(ledger, ledger.submit(new_job(target=None)).job).lease
    ledger.commit(lease, now=NOW, outputs=[], timings=Timings())
    sweep(ledger, post, NOW + 60_000)()
    assert post.checked == [[lease.job_id]]
    job = ledger.get(lease.job_id)
    assert job is not None and ledger.mark_synced(job)
    assert list(ledger.due(NOW + 10**9, 10)) == []
    sweep(ledger, post, NOW + 600_000)()
    assert len(post.checked) == 1


def test_a_shown_end_is_looked_at_once_more_and_then_left() -> None:
    """One message for all rows of a spreadsheet; an hour after the end nobody looks any more."""
    ledger, post = MemoryLedger(), Post()
    jobs = []
    for _ in range(3):
        lease = claimed(ledger, ledger.submit(new_job()).job).lease
        assert ledger.commit(lease, now=NOW, outputs=[], timings=Timings())
        job = ledger.get(lease.job_id)
        assert job is not None and ledger.mark_synced(job, look_at=NOW + 600_000)
        jobs.append(job)
    sweep(ledger, post, NOW + 599_999)()
    assert post.checked == []
    sweep(ledger, post, NOW + 600_000)()
    assert [sorted(each) for each in post.checked] == [sorted(job.job_id for job in jobs)]
    sweep(ledger, post, NOW + 2 * 3_600_000)()
    assert len(post.checked) == 1 and not list(ledger.due(NOW + 10**9, 10)) and post.hinted == []


def test_rows_that_start_by_themselves_are_asked_for_every_minute() -> None:
    """Every registered spreadsheet in turn, those that waited longest first, fifteen a minute."""
    ledger, post, registry = MemoryLedger(), Post(), MemoryRegistry()
    for number in range(20):
        registry.bind(f"sheet-{number:02}", "studio", "k", "")
        registry.set_auto(f"sheet-{number:02}", 0, on=True)
    assert sweep(ledger, post, NOW + 7, registry)() == Counter(auto=15)
    assert len(post.errands) == 15 and {errand.errand for errand in post.errands} == {"auto"}
    assert {errand.id for errand in post.errands} == {str(NOW // 60_000)}, "one that is told twice is done once"
    sweep(ledger, post, NOW + 60_000, registry)()
    assert {errand.spreadsheet_id for errand in post.errands} == {f"sheet-{number:02}" for number in range(20)}


def test_many_tabs_do_not_eat_the_reads_of_all() -> None:
    """A look costs a read per tab: fifteen a minute, and everybody has a turn."""
    ledger, post, registry = MemoryLedger(), Post(), MemoryRegistry()
    for name in "abcd":
        registry.bind(name, "studio", "k", "")
        for tab in range(6):
            registry.set_auto(name, tab, on=True)
    sweep(ledger, post, NOW, registry)()
    assert [errand.spreadsheet_id for errand in post.errands] == ["a", "b"]
    sweep(ledger, post, NOW + 60_000, registry)()
    assert [errand.spreadsheet_id for errand in post.errands] == ["a", "b", "c", "d"]


def test_spreadsheets_that_refuse_us_or_are_nobodys_take_no_turn() -> None:
    """Parked until its time; released: never."""
    ledger, post, registry = MemoryLedger(), Post(), MemoryRegistry()
    for name in ("parked", "well"):
        registry.bind(name, "studio", "k", "")
    for name in ("parked", "released", "well"):
        registry.set_auto(name, 0, on=True)
    registry.park("parked", Parked(reason="Not shared.", since=NOW, until=NOW + 60_000))
    assert sweep(ledger, post, NOW, registry)() == Counter(auto=1)
    assert [errand.spreadsheet_id for errand in post.errands] == ["well"]
    sweep(ledger, post, NOW + 60_000, registry)()
    assert [errand.spreadsheet_id for errand in post.errands] == ["well", "parked", "well"]


class Unread(MemoryRegistry):
    """Be out of reach."""

    def autos(self) -> list[Registration]:
        raise Unavailable("The table of spreadsheets is busy.")


def test_jobs_are_swept_though_the_spreadsheets_cannot_be_read() -> None:
    """Auto mode waits a minute; a lost message does not."""
    ledger, post = MemoryLedger(), Post()
    ledger.submit(new_job())
    sweep(ledger, post, NOW + 3_600_000, Unread())()
    assert len(post.sent) == 1


def test_one_job_that_cannot_be_read_stops_nobody_s_sweep() -> None:
    """After going back a release: the others are looked at, and it is put off, lest it stand before them."""
    ledger, post = MemoryLedger(), Post()
    odd, lost = ledger.submit(new_job()).job, ledger.submit(new_job()).job
    ledger.unreadable = {odd.job_id}
    now = NOW + QUEUED_LOST_MS
    sweep(ledger, post, now)()
    assert post.sent == [(lost.job_id, 2)]
    assert list(ledger.due(now + UNREADABLE_MS - 1, 9)) == [lost.job_id]
    ledger.unreadable = set()
    sweep(ledger, post, now + UNREADABLE_MS)()
    assert (odd.job_id, 2) in post.sent, "the release that can read it goes on with it"
