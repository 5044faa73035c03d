"""Pull the plug of a worker in the middle of a job."""

from __future__ import annotations

from pathlib import Path

from chalicelib.contract.states import State
from sandbox.world import Wishes, World
from tests.journeys.line import Person
from tests.waiting import until

SHORT = {"LEASE_S": "4", "HEARTBEAT_S": "1", "VISIBILITY_S": "6", "CLOCK_SKEW_S": "1"}


def test_a_killed_workers_row_still_becomes_a_picture_once(tmp_path: Path) -> None:
    """SIGKILL while the row says processing, a second worker: done, committed once, one attempt's files in the row."""
    with World(Wishes(home=tmp_path, step_ms=100, worker_env=SHORT)) as world:
        person = Person(world)
        person.type_rows(1, [{"Prompt": "a slow one", "Workflow": "txt2img-sdxl", "Steps": "150"}])
        person.generate(range(1, 2))
        assert until(world.book, lambda: person.text(1, "Status") == "processing"), person.text(1, "Error")
        world.workers[0].kill()
        world.start_worker("worker-2")
        assert until(world.book, lambda: person.text(1, "Status") == "done"), world.workers[1].tail()
        job = person.job(1)
        assert (job.state, job.attempt, job.committed_attempt) == (State.SUCCEEDED, 2, 2)
        assert [f"/{job.job_id}/2/" in output.key for output in job.outputs] == [True]
        assert job.job_id in person.text(1, "Output URL")
        assert person.text(1, "Error") == ""
