"""Make a worker whose cloud is in memory and whose ComfyUI is real: its own client, doorbell and clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chalicelib.contract.job import Job
from chalicelib.contract.manifest import Workflow
from sandbox.waiting import wait_until
from tests.fakes import MemoryLedger
from tests.jobs import new_job
from tests.worker_fakes import FakeBlobs, FakeHints, FakeInbox, FakeSkew, settings, store_workflow
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.doorbell import SocketDoorbell
from worker.crew import Crew
from worker.health import Health
from worker.lease import Keeper
from worker.loop import Hand, House
from worker.metrics import Metrics
from worker.monitor import Monitor
from worker.pace import Pace
from worker.pantry import Pantry
from worker.ports import Bus
from worker.postman import Postman
from worker.server import Server
from worker.templates import Templates
from worker.tools import Tools


class NoFetcher:
    """Reach no address: inputs come as data URIs and assets."""

    def get(self, *_: object, **__: object) -> Any:
        raise AssertionError("nothing is fetched here")


class RealTimeInbox(FakeInbox):
    """Wait a moment when nothing is there, in real time."""

    def take(self, wait_s: int) -> Any:
        for receipt, (body, visible_at, receives) in list(self.messages.items()):
            if visible_at <= self._clock.monotonic():
                from worker.inbox import read_delivery

                self.messages[receipt] = (body, self._clock.monotonic() + 90, receives + 1)
                return read_delivery(receipt, receives + 1, body)
        threading.Event().wait(0.02)
        return None


class RealShop:
    """Hold the worker's parts and its threads."""

    def __init__(self, url: str, home: Path, *, bus: Bus | None = None, **changes: str) -> None:
        from worker.larder import Larder

        self.clock = Clock()
        self.settings = settings(WORKER_HOME=str(home), POLL_UP_S="1", POLL_DOWN_S="0.3", **changes)
        self.ledger, self.blobs, self.hints = MemoryLedger(), FakeBlobs(), FakeHints()
        self.inbox = RealTimeInbox(self.clock)  # type: ignore[arg-type]
        self.comfy, self.doorbell = ComfyClient(url), SocketDoorbell(url, self.clock)
        health = Health(self.comfy, self.doorbell, FakeSkew(), self.ledger, self.settings, free_bytes=lambda _: 10**12)
        self.server = Server(url, self.comfy, self.doorbell, health, Pace(self.settings.slots, self.clock))
        self.monitor = Monitor(bus, self.clock, "worker-1")
        self.keeper = Keeper(
            self.ledger,
            self.inbox,
            self.clock,
            self.settings,
            lambda holding, progress: self.monitor.progress(holding.job, holding.prompt_id, progress),
        )
        self.postman = Postman(self.hints, self.inbox, self.clock)
        self.house = House(once=False)
        self.tools = Tools(
            ledger=self.ledger,
            inbox=self.inbox,
            hints=self.hints,
            blobs=self.blobs,
            server=self.server,
            servers=[self.server],
            crew=Crew(None, [self.server], self.clock, "worker-1"),
            keeper=self.keeper,
            postman=self.postman,
            monitor=self.monitor,
            metrics=Metrics(),
            pantry=Pantry(NoFetcher(), Larder(home / "inputs", 10**9), 10**7),
            templates=Templates(),
            settings=self.settings,
            clock=self.clock,
            draw=lambda: 0.0,
        )

    @contextmanager
    def open(self, hands: int = 4) -> Iterator[RealShop]:
        """Let *hands* work while the block lasts."""
        parts = [self.doorbell.run, self.keeper.run, self.postman.run, self.monitor.run]
        parts += [Hand(str(number), self.tools, self.house).run for number in range(hands)]
        threads = [threading.Thread(target=part, daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self.house.closing.set()
            self.server.pace.wake()
            for part in (self.keeper, self.doorbell, self.postman, self.monitor):
                part.close()
            for thread in threads:
                thread.join(20)
            assert not [thread for thread in threads if thread.is_alive()]

    def submit(self, graph: dict[str, Any], *, parameters: tuple[Any, ...] = (), **about: Any) -> str:
        """Queue a job that runs *graph*; its id."""
        workflow = Workflow(id="w", name="W", graph=graph, parameters=parameters)
        about = {"inputs": {}, **about}
        job = self.ledger.submit(new_job(workflow_hash=store_workflow(self.blobs, workflow), **about)).job
        self.inbox.send(job.job_id)
        return job.job_id

    def job(self, job_id: str) -> Job:
        job = self.ledger.get(job_id)
        assert job is not None
        return job

    def ended(self, job_id: str, patience_s: float = 60) -> Job:
        """Wait until the job has ended and was told; the job."""
        assert wait_until(lambda: self.job(job_id).state in ("succeeded", "failed", "canceled"), patience_s), self.job(
            job_id
        )
        return self.job(job_id)

    def content(self, key: str) -> bytes:
        return self.blobs.files[key][0]
