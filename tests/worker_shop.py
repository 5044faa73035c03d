"""Make a worker of fakes, with one job in its queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Hint
from chalicelib.contract.job import Job, prompt_id_of
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job
from tests.worker_fakes import (
    FakeBlobs,
    FakeClock,
    FakeComfy,
    FakeFleet,
    FakeHints,
    FakeInbox,
    FakeSkew,
    settings,
    store_workflow,
)
from worker.crew import Crew
from worker.health import Health
from worker.lease import Keeper
from worker.loop import Hand, House
from worker.metrics import Metrics
from worker.monitor import Monitor
from worker.pace import Pace
from worker.ports import Delivery
from worker.postman import Parcel, Postman, group_of
from worker.server import Server
from worker.templates import Templates
from worker.tools import Tools


class Shop:
    """Hold one worker made of fakes, with one job in its queue."""

    def __init__(self, **changes: str) -> None:
        self.calls: list[str] = []
        self.free_bytes = 10**12
        self.clock = FakeClock(NOW)
        self.ledger = Watched(self.calls)
        self.inbox = FakeInbox(self.clock)
        self.inbox.calls = self.calls
        self.hints = FakeHints(self.calls)
        self.blobs = FakeBlobs(self.calls)
        self.comfy = FakeComfy(self.clock)
        self.settings = settings(**changes)
        self.keeper = Keeper(self.ledger, self.inbox, self.clock, self.settings)
        self.house = House(once=True)
        self.fleet = FakeFleet()
        self.lesser = FakeHints()
        self.server = self.serve(self.comfy, "http://comfy-1")
        self.crew = Crew(self.fleet, [self.server], self.clock, self.settings.worker_name)
        self.tools = Tools(
            ledger=self.ledger,
            inbox=self.inbox,
            hints=self.hints,
            blobs=self.blobs,
            server=self.server,
            servers=[self.server],
            crew=self.crew,
            keeper=self.keeper,
            postman=SameThreadPostman(self.hints, self.inbox, self.lesser, self.clock),
            monitor=Monitor(None, self.clock, self.settings.worker_name),
            metrics=Metrics(),
            pantry=None,
            templates=Templates(),
            settings=self.settings,
            clock=self.clock,
            draw=lambda: 0.5,
        )
        self.hash = store_workflow(self.blobs)
        self.job_id = self.submit()

    def serve(self, comfy: FakeComfy, url: str) -> Server:
        """Make a server of a fake ComfyUI."""
        health = Health(
            comfy, comfy.doorbell, FakeSkew(), self.ledger, self.settings, free_bytes=lambda _: self.free_bytes
        )
        return Server(url, comfy, comfy.doorbell, health, Pace(self.settings.slots, self.clock))

    def submit(self, **fields: Any) -> str:
        job = self.ledger.submit(new_job(workflow_hash=self.hash, inputs={}, **fields)).job
        self.inbox.send(job.job_id)
        return job.job_id

    def work(self) -> Shop:
        """Let one hand empty the queue."""
        self.house.is_empty = False
        Hand("0", self.tools, self.house).run()
        return self

    def during(self, seconds: float, action: Callable[[], object]) -> None:
        """Do *action*, and renew what is due, so many seconds into the run."""

        def then() -> None:
            action()
            self.keeper.beat()

        self.clock.after(seconds, then)

    @property
    def job(self) -> Job:
        job = self.ledger.get(self.job_id)
        assert job is not None
        return job

    def prompt_id(self, attempt: int = 1) -> str:
        return prompt_id_of(self.job_id, attempt)


class Watched(MemoryLedger):
    """Note the order of the writes that matter, and fail the next ones if told."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__()
        self._calls = calls
        self.failing: list[str] = []

    def commit(self, *args: Any, **kwargs: Any) -> bool:
        self._calls.append("commit")
        if "commit" in self.failing:
            self.failing.remove("commit")
            raise Unavailable("The job table is busy.")
        return super().commit(*args, **kwargs)

    def release(self, *args: Any, **kwargs: Any) -> bool:
        if "release" in self.failing:
            self.failing.remove("release")
            raise Unavailable("The job table is busy.")
        return super().release(*args, **kwargs)


class SameThreadPostman(Postman):
    """Send at once, on the caller's thread; the news of jobs that go on apart from that of jobs that have ended."""

    def __init__(self, hints: FakeHints, inbox: FakeInbox, lesser: FakeHints, clock: FakeClock) -> None:
        super().__init__(hints, inbox, clock)
        self._lesser = lesser

    def tell(self, job: Job, version: int, *, then_drop: Delivery | None = None) -> None:
        hint = Hint(job_id=job.job_id, version=version)
        if then_drop is None:
            self._lesser.send(hint, group_of(job))
        else:
            self.carry([Parcel(hint, group_of(job), then_drop, job.client_id)])
