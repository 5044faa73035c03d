"""What jobs used is charged to their keys, once, and is guessed where nobody told it."""

from __future__ import annotations

from chalicelib.contract.job import Timings
from chalicelib.contract.limits import EVERYBODY
from chalicelib.contract.spent import UNMEASURED_MOST_MS, gpu_ms
from chalicelib.contract.states import State
from tests.jobs import NOW, new_job
from tests.window_house import House


def test_what_a_job_used_is_charged_to_its_key() -> None:
    """Its measured time, or from its start to its end when it failed; a job that never ran costs nothing."""
    house = House()
    house.submit(new_job(key_id="k1"), new_job(key_id="k2"), new_job())
    words = []
    for _ in range(3):
        claimed = house.claim()
        assert claimed is not None
        house.now += 5_000
        words.append(house.end(claimed))
    house.ends.settle(words)
    house.ends.settle(words)
    of_keys = [charge for charge in house.charged if charge[0] != EVERYBODY]
    assert of_keys == [("k1", 5_000), ("k2", 5_000)], "each once, however often its end is told"
    assert [ms for key_id, ms in house.charged if key_id == EVERYBODY] == [5_000, 5_000], "and on the stage's account"
    waited = new_job(state=State.CANCELED, started_at=NOW, finished_at=NOW + 3 * 3_600_000)
    assert gpu_ms(waited) == UNMEASURED_MOST_MS, "a job that was handed back and waited is not charged for that"
    measured = new_job(state=State.SUCCEEDED, timings=Timings(execution_ms=7), started_at=1, finished_at=1_000)
    assert (gpu_ms(measured), gpu_ms(new_job(state=State.CANCELED, finished_at=NOW))) == (7, 0)


def test_attempts_that_came_to_nothing_are_charged_as_well() -> None:
    """What workers told of all attempts counts, and the guess where it is more: who died told nothing of the end."""
    done = new_job(state=State.SUCCEEDED, timings=Timings(execution_ms=7), spent_ms=90_007)
    failed = new_job(state=State.FAILED, started_at=NOW, finished_at=NOW + 5_000, spent_ms=64_000)
    died = new_job(state=State.FAILED, started_at=NOW, finished_at=NOW + 70_000, spent_ms=64_000)
    assert [gpu_ms(job) for job in (done, failed, died)] == [90_007, 64_000, 70_000]


def test_where_a_worker_told_the_end_nothing_is_guessed() -> None:
    """A job that failed before a GPU had begun, or uploaded for long, is charged what the GPU worked and no more."""
    ended = {"started_at": NOW, "finished_at": NOW + 50_000, "lease_until": NOW + 60_000}
    early, late = new_job(state=State.FAILED, **ended), new_job(state=State.FAILED, spent_ms=3_000, **ended)
    given_up = late.model_copy(update={"finished_at": NOW + 61_000})
    canceled = late.model_copy(update={"state": State.CANCELED, "lease_until": 0})
    assert [gpu_ms(job) for job in (early, late, given_up, canceled)] == [0, 3_000, 61_000, 50_000]


def test_a_worker_of_the_release_before_is_charged_for_too() -> None:
    """It tells its own attempt in the timings, and nothing of all attempts together."""
    mixed = new_job(state=State.SUCCEEDED, timings=Timings(execution_ms=9_000), spent_ms=400)
    assert gpu_ms(mixed) == 9_000
