"""Judge what a ledger knows of rows and of the sweeper's index (the twin in memory and DynamoDB, by one suite)."""

from __future__ import annotations

from uuid import uuid4

from chalicelib.contract.job import Job, Timings
from chalicelib.contract.ports import Ledger
from chalicelib.contract.states import State
from tests.jobs import NOW, new_job, output, target
from tests.ledger_moves import ERROR, LEASE_MS, ended, queued, running, stored


def test_synced_is_only_for_the_version_that_was_shown(ledger: Ledger) -> None:
    """News that came while the row was written keeps the row dirty."""
    sheet = f"sheet-{uuid4()}"
    job = queued(ledger, target=target(sheet))
    claimed = running(ledger, job)
    assert not ledger.mark_synced(job)
    assert ledger.unshown(sheet) == [job.job_id]
    assert ledger.mark_synced(claimed.job)
    assert ledger.unshown(sheet) == []
    assert stored(ledger, job.job_id).synced_version == claimed.job.version
    assert ledger.cancel(job.job_id, now=NOW) is not None
    assert ledger.unshown(sheet) == [job.job_id]


def test_a_shown_end_leaves_the_sweepers_index(ledger: Ledger) -> None:
    """The index holds what still needs care: an ended job until its row shows it."""
    job = ended(ledger, State.SUCCEEDED)
    late = NOW + 10 * LEASE_MS
    assert job.job_id in list(ledger.due(late, 10_000))
    assert ledger.mark_synced(job)
    assert job.job_id not in list(ledger.due(late, 10_000))


def test_a_shown_end_can_be_looked_at_once_more(ledger: Ledger) -> None:
    """Completion asks for a second look: the job stays in the index until then."""
    job = ended(ledger, State.SUCCEEDED)
    assert ledger.mark_synced(job, look_at=NOW + 600_000)
    assert job.job_id not in list(ledger.due(NOW + 599_999, 10_000))
    assert job.job_id in list(ledger.due(NOW + 600_000, 10_000))
    assert ledger.mark_synced(job)
    assert job.job_id not in list(ledger.due(NOW + 600_000, 10_000))
    assert ledger.mark_synced(job, look_at=NOW + 700_000)
    assert job.job_id in list(ledger.due(NOW + 700_000, 10_000)), "also when it had left the index"


def test_a_result_without_a_row_is_kept_in_a_list_of_its_own(ledger: Ledger) -> None:
    """Its row is gone: it lags no more, and is listed until it is shown somewhere."""
    sheet = f"sheet-{uuid4()}"
    claimed = running(ledger, queued(ledger, target=target(sheet)))
    assert ledger.commit(claimed.lease, now=NOW, outputs=[output()], timings=Timings())
    job = stored(ledger, claimed.job.job_id)
    assert ledger.mark_synced(job, gone=True)
    assert (ledger.unshown(sheet), ledger.gone(sheet)) == ([], [job.job_id])
    assert ledger.mark_synced(job)
    assert ledger.gone(sheet) == []


def test_a_result_is_listed_as_fresh_until_the_second_look(ledger: Ledger) -> None:
    """Its row may be deleted meanwhile; not one without a row, and not one that is to be shown again."""
    sheet = f"sheet-{uuid4()}"
    claimed = running(ledger, queued(ledger, target=target(sheet)))
    assert ledger.mark_synced(claimed.job, look_at=NOW + 600_000) and ledger.fresh(sheet) == []
    assert ledger.commit(claimed.lease, now=NOW, outputs=[output()], timings=Timings())
    job = stored(ledger, claimed.job.job_id)
    assert ledger.fresh(sheet) == []
    assert ledger.mark_synced(job, look_at=NOW + 600_000)
    assert (ledger.unshown(sheet), ledger.fresh(sheet)) == ([], [job.job_id])
    assert ledger.show_again(job.job_id, now=NOW) is not None
    assert (ledger.unshown(sheet), ledger.fresh(sheet)) == ([job.job_id], [])
    for later in ({}, {"gone": True}):
        assert ledger.mark_synced(job, look_at=NOW + 600_000) and ledger.fresh(sheet) == [job.job_id]
        assert ledger.mark_synced(job, **later) and ledger.fresh(sheet) == []


def test_an_ended_job_can_be_shown_again_and_an_open_one_not(ledger: Ledger) -> None:
    """Fetching a result again makes its row lag; what still runs will be shown anyway."""
    sheet = f"sheet-{uuid4()}"
    claimed = running(ledger, queued(ledger, target=target(sheet)))
    assert ledger.show_again(claimed.job.job_id, now=NOW) is None
    assert ledger.fail(claimed.lease, now=NOW, error=ERROR)
    job = stored(ledger, claimed.job.job_id)
    assert ledger.mark_synced(job, gone=True)
    again = ledger.show_again(job.job_id, now=NOW)
    assert again is not None and not again.is_shown and again.version == job.version
    assert (ledger.unshown(sheet), ledger.gone(sheet)) == ([job.job_id], [])
    assert job.job_id in list(ledger.due(NOW + 10 * LEASE_MS, 10_000))


def test_what_waits_to_be_shown_is_not_said_to_have_been(ledger: Ledger) -> None:
    """Fetching a result whose row was never written changes nothing: it is still to be announced and counted."""
    claimed = running(ledger)
    assert ledger.fail(claimed.lease, now=NOW, error=ERROR)
    job = stored(ledger, claimed.job.job_id)
    assert ledger.show_again(job.job_id, now=NOW) == job == stored(ledger, job.job_id)
    assert ledger.show_again(new_job().job_id, now=NOW) is None


def test_due_is_about_time(ledger: Ledger) -> None:
    """A job is looked at when its time has come, and later when it was put off."""
    job = queued(ledger, due_at=NOW + 1_000)
    assert job.job_id not in list(ledger.due(NOW + 999, 10_000))
    assert job.job_id in list(ledger.due(NOW + 1_000, 10_000))
    ledger.look_later(job, due_at=NOW + 9_000)
    assert job.job_id not in list(ledger.due(NOW + 1_000, 10_000))
    ledger.put_off(job.job_id, due_at=NOW + 10_000)
    assert stored(ledger, job.job_id) == job.model_copy(update={"due_at": NOW + 10_000})
    unknown = new_job()
    ledger.put_off(unknown.job_id, due_at=NOW)
    ledger.look_later(unknown, due_at=NOW)
    assert ledger.get(unknown.job_id) is None, "what is not there is not made"
    assert list(ledger.due(NOW + 9_999, 10_000)) == []


def test_what_left_the_sweepers_index_does_not_come_back(ledger: Ledger) -> None:
    """A sweeper that read a job before its end was shown does not put off what nobody waits for any more."""
    job = ended(ledger, State.SUCCEEDED)
    assert ledger.mark_synced(job)
    ledger.look_later(job, due_at=NOW)
    ledger.put_off(job.job_id, due_at=NOW)
    assert stored(ledger, job.job_id).due_at is None


def test_every_move_tells_its_phase_and_when_to_look(ledger: Ledger) -> None:
    """A job that is out is looked at half a minute after it should have moved; one that was sent anew, after five."""

    def told(job: Job) -> tuple[str | None, int, int | None, int | None]:
        now = stored(ledger, job.job_id)
        return (
            now.phase,
            now.enqueued_at - NOW,
            now.finished_at and now.finished_at - NOW,
            now.due_at and now.due_at - NOW,
        )

    claimed = running(ledger, now=NOW + 1)
    assert told(claimed.job) == ("claimed", 0, None, 1 + LEASE_MS + 30_000)
    assert ledger.release(claimed.lease, now=NOW + 2)
    assert told(claimed.job) == ("queued", 2, None, 30_002)
    claimed = running(ledger, claimed.job, now=NOW + 3)
    assert ledger.retry(claimed.lease, now=NOW + 4, not_before=NOW + 1_000, error=ERROR)
    assert told(claimed.job) == ("waiting", 4, None, 31_000)
    assert ledger.resend(stored(ledger, claimed.job.job_id), now=NOW + 5) == 2
    assert told(claimed.job) == ("waiting", 5, None, 301_000)
    claimed = running(ledger, stored(ledger, claimed.job.job_id), now=NOW + 1_000)
    assert ledger.fail(claimed.lease, now=NOW + 1_001, error=ERROR)
    assert told(claimed.job) == ("ended", 5, 1_001, 31_001)
    assert stored(ledger, claimed.job.job_id).error == ERROR
    committed = running(ledger)
    assert ledger.commit(committed.lease, now=NOW + 6, outputs=[], timings=Timings())
    assert told(committed.job) == ("ended", 0, 6, 30_006)
    cancelled = running(ledger).job
    ledger.cancel(cancelled.job_id, now=NOW + 7)
    assert told(cancelled) == ("ended", 0, 7, 30_007) and stored(ledger, cancelled.job_id).lease_until == 0
    late = queued(ledger, deadline=NOW)
    assert ledger.give_up(late, now=NOW + 8, error=ERROR)
    assert told(late) == ("ended", 0, 8, 30_008) and stored(ledger, late.job_id).error == ERROR
    assert ledger.mark_synced(stored(ledger, late.job_id))
    assert ledger.show_again(late.job_id, now=NOW + 9) is not None
    assert told(late) == ("ended", 0, 8, 30_009)
