"""Whatever way news takes, the sheet ends the same (P12), and on the bus a version means one thing (P19)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from chalicelib.complete import Complete
from chalicelib.contract.job import Job, JobError, Progress, Timings
from chalicelib.contract.ports import Claimed, Lease
from chalicelib.contract.states import TERMINAL, State
from chalicelib.herald import Herald
from tests.delivery_fakes import Bell, Board, MemoryBook
from tests.fakes import MemoryLedger
from tests.histories import Histories, Message
from tests.jobs import NOW, new_job, output, target
from tests.paper import SHEET, PaperSheet
from tests.sheet_fakes import FreeTurns, MemoryRegistry, NoteBook
from tests.worker_fakes import FakeClock
from worker.monitor import Monitor
from worker.ports import Event

ENDS = (State.SUCCEEDED, State.FAILED, State.CANCELED, State.SUCCEEDED)
DAY_MS = 24 * 3_600_000


class Shop:
    """Hold four jobs with rows, and let each live its life move by move; ids are the same in every shop."""

    def __init__(self) -> None:
        self.now = NOW
        self.ledger, self.books, self.board = MemoryLedger(), NoteBook(), Board()
        self.jobs = [
            self.ledger.submit(
                new_job(
                    job_key=f"key-{number}",
                    target=target(SHEET, prompt=f"p{number}"),
                    inputs={"prompt": f"p{number}", "seed": 5},
                    synced_version=1,
                    link_base="https://host/api",
                )
            ).job
            for number in range(len(ENDS))
        ]
        rows = [{"Prompt": f"p{n}", "Status": "queued", "Job ID": job.job_key} for n, job in enumerate(self.jobs)]
        self.sheet = PaperSheet(*rows)
        self.moves = [iter((self._claim, self._hand_back, self._claim, self._end)) for _ in self.jobs]
        self.left = [4] * len(self.jobs)

    def move(self, number: int) -> str | None:
        """Make the next move of a job; its id, for the hint that goes out then. None: it has ended."""
        step = next(self.moves[number], None)
        if step is None:
            return None
        self.left[number] -= 1
        step(number)
        return self.jobs[number].job_id

    def show(self, hints: Sequence[str]) -> None:
        """Act on hints, as one function does that has just started: it remembers nothing."""
        herald = Herald(MemoryBook(), Bell(), self.board, lambda: self.now)
        complete = Complete(
            self.ledger, self.sheet, MemoryRegistry(), FreeTurns(), self.books, herald, lambda: self.now
        )
        assert complete.show(hints) == {}

    def _claim(self, number: int) -> None:
        got = self.ledger.claim(self.jobs[number].job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(got, Claimed)

    def _hand_back(self, number: int) -> None:
        assert self.ledger.release(self._lease(number), now=NOW)

    def _end(self, number: int) -> None:
        lease = self._lease(number)
        match ENDS[number]:
            case State.SUCCEEDED:
                made = [output(f"outputs/{number}/{lease.attempt}/{file}.png") for file in range(2)]
                assert self.ledger.commit(lease, now=NOW + 9, outputs=made, timings=Timings(execution_ms=5))
            case State.FAILED:
                assert self.ledger.fail(lease, now=NOW + 9, error=JobError(code="x", text="=It broke."))
            case _:
                assert self.ledger.cancel(lease.job_id, now=NOW + 9)

    def _lease(self, number: int) -> Lease:
        job = self.ledger.get(self.jobs[number].job_id)
        assert job is not None
        return Lease(job.job_id, job.attempt, "t")


def plain() -> Shop:
    """Let every job live to its end, and show all at once."""
    shop = Shop()
    for number in range(len(ENDS)):
        while shop.move(number):
            pass
    shop.show([job.job_id for job in shop.jobs])
    return shop


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_way_that_hints_take_changes_the_sheet(data: st.DataObject) -> None:
    """
    Each move sends its hint; hints wait, come in any order, several times, in any company, between any two moves.

    When each has come at least once, and some once more a day later, all cells and notes are those of the plain way,
    and what was used is counted once.
    """
    wanted, shop = plain(), Shop()
    waiting: list[str] = []
    while any(shop.left) or waiting:
        able = [number for number, left in enumerate(shop.left) if left]
        if able and (not waiting or data.draw(st.booleans(), label="a move")):
            hint = shop.move(data.draw(st.sampled_from(able), label="of"))
            assert hint is not None
            waiting += [hint] * data.draw(st.integers(1, 3), label="times")
            continue
        batch = data.draw(st.permutations(waiting), label="order")[: data.draw(st.integers(1, 4), label="at once")]
        shop.show(batch)
        for hint in batch:
            waiting.remove(hint)
    shop.now += DAY_MS
    writes = shop.sheet.writes
    shop.show(data.draw(st.lists(st.sampled_from([job.job_id for job in shop.jobs])), label="a day later"))
    assert shop.sheet.writes == writes, "an old hint writes nothing"
    assert (shop.sheet.grid, shop.sheet.notes) == (wanted.sheet.grid, wanted.sheet.notes)
    assert sorted(shop.books.noted) == sorted(job.job_id for job in shop.jobs)


class Wire:
    """Be the bus: note of every event who sent it, of which job and version, and what it says of the job."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int, Any]] = []

    def of(self, sender: str) -> _Line:
        return _Line(self, sender)


class _Line:
    def __init__(self, wire: Wire, sender: str) -> None:
        self._wire, self._sender = wire, sender

    def send(self, events: Sequence[Event]) -> int:
        """Be what a worker sends to."""
        for event in events:
            detail = json.loads(event.detail_json())
            about = detail["job_id"], detail["version"], (State.RUNNING, detail["attempt"])
            self._wire.told.append((self._sender, *about))
        return 0

    def tell_ended(self, jobs: Sequence[Job]) -> None:
        """Be what the herald tells."""
        self._wire.told += [(self._sender, job.job_id, job.version, (job.state, job.attempt)) for job in jobs]


class Told(Histories):
    """Let two workers and two containers of the completion function tell what they see, whatever becomes of jobs."""

    def __init__(self) -> None:
        super().__init__([MemoryLedger()])
        self.wire = Wire()
        clock = FakeClock(NOW)
        self.monitors = [Monitor(self.wire.of(f"worker-{n}"), clock, f"worker-{n}") for n in range(2)]
        lines = [self.wire.of(f"completion-{n}") for n in range(2)]
        self.heralds = [Herald(MemoryBook(), Bell(), line, lambda: NOW) for line in lines]
        self.began: dict[Lease, Job] = {}
        """The job as each lease was given with it."""

    @rule(lease=Histories.leases, is_over=st.booleans())
    def tells(self, lease: Lease, is_over: bool) -> None:
        """A worker tells how far it is, or that it began, though it may have lost its lease long ago."""
        began = self.began.get(lease)
        if began is None:
            return
        monitor = self.monitors[began.attempt > 2]
        if is_over:
            monitor.ended(began, began.version + 1)
        else:
            monitor.progress(began, "prompt", Progress(fraction=0.5))
            monitor.job("Images Generated", began, "prompt", files=1)
        monitor.flush()

    @rule(message=Histories.messages, which=st.sampled_from([0, 1]))
    def announces(self, message: Message, which: int) -> None:
        """Completion reads a job and announces its news."""
        assert self.heralds[which].announce([self.jobs[message[0]]]) == {}

    def _claimed(self, job_id: str, ask: Any, token: str) -> Lease:
        before = self.jobs[job_id]
        lease = super()._claimed(job_id, ask, token)
        after = self.jobs[job_id]
        if after != before:
            self.began[lease] = after
            self.monitors[after.attempt > 2].job("Job Started", after, None)
        return lease

    def teardown(self) -> None:
        for monitor in self.monitors:
            monitor.flush()
        for herald in self.heralds:
            herald.announce(self.jobs.values())
        meant: dict[tuple[str, int], Any] = {}
        newest: dict[tuple[str, str], int] = defaultdict(int)
        ends: dict[tuple[str, str], int] = defaultdict(int)
        for sender, job_id, version, says in self.wire.told:
            assert meant.setdefault((job_id, version), says) == says, "a version means two things"
            assert version >= newest[sender, job_id], "one sender goes back"
            newest[sender, job_id] = version
            ends[sender, job_id] += says[0] in TERMINAL
        assert all(times == 1 for times in ends.values() if times), "one container tells an end once"
        for job_id, job in self.jobs.items():
            if job.state in TERMINAL and not job.is_shown and job.synced_version >= 0:
                last = max(version for _, of, version, _ in self.wire.told if of == job_id)
                assert (last, meant[job_id, last]) == (job.version, (job.state, job.attempt)), "who keeps the highest"


def test_on_the_bus_a_version_means_one_thing_and_the_highest_is_the_end() -> None:
    """
    Every sender's versions of a job go up; whoever keeps the highest, of all senders and in any order, is right.

    Senders are two workers, which may have lost their lease without knowing it, and two containers of completion.
    """
    run_state_machine_as_test(
        Told,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
