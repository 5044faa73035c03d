"""The soak's page says what was, also when it did not become quiet, and calls nothing judged that was not."""

from __future__ import annotations

from collections import Counter

from chalicelib.contract.states import State
from faults.soak.judge import Finding
from faults.soak.page import page
from faults.soak.plan import Blow, draw
from faults.soak.record import Record
from faults.soak.run import Result, Wishes
from faults.soak.weather import restless_told
from tests.jobs import new_job


def written(restless: tuple[str, ...] = (), found: Finding | None = None) -> str:
    """Write the page of a run of ten jobs."""
    record = Record(done=Counter({Blow.KILL: 2, Blow.FREEZE: 1, Blow.REPLAY: 70, Blow.EDIT: 400, Blow.CANCEL: 5}))
    return page(Result(Wishes(10, 60), draw(1, 10, 60, 6), record, found or Finding(), 60, 900, restless), "soak")


def test_a_run_that_is_not_quiet_is_not_called_quiet() -> None:
    """Patience over is no end of all jobs."""
    assert "everything had ended" in written()
    told = written(("j1", "j2"))
    assert "everything had ended" not in told and "2 jobs had not ended" in told


def test_what_is_left_is_told_job_by_job() -> None:
    """One that did not end, and one of whose end nobody was shown."""
    open_job, unshown = new_job(), new_job(state=State.SUCCEEDED)
    told = restless_told([open_job, unshown], 900)
    assert [each.split()[1] for each in told] == [open_job.job_id, unshown.job_id]
    assert "nobody was shown" not in told[0] and "nobody was shown" in told[1]


def test_faults_are_counted_apart_from_messages_and_people() -> None:
    """A replayed hint or an edit is no kill."""
    told = written()
    assert (
        "refusals** | **3**" in told and "should have sent** | **70**" in told and "cancellations** | **405**" in told
    )


def test_what_there_was_too_little_of_is_told() -> None:
    """A page without breaches says what it does not show."""
    assert "Not judged: the ten seconds" in written(found=Finding(unjudged=["the ten seconds"]))
