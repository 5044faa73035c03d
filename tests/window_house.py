"""Be the house between those who submit jobs and the workers: a ledger, a queue and a window."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from chalicelib.contract.events import Ended
from chalicelib.contract.job import Job, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.ends import Ends
from chalicelib.sweep import Sweep
from chalicelib.window import Window
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job
from tests.sheet_fakes import MemoryRegistry, Post


class House:
    """Hold a ledger, the workers' queue and a window; *gpus* servers are at work. Time stands until it is moved."""

    def __init__(self, gpus: int = 1) -> None:
        self.now, self.gpus = NOW, gpus
        self.ledger, self.post = MemoryLedger(), Post()
        self.queue: deque[tuple[str, int]] = deque()
        self.charged: list[tuple[str, int]] = []
        self.paid: list[str] = []
        self.window = Window(self.ledger, self, lambda: self.gpus, lambda: self.now)
        self.ends = Ends(self.ledger, self.window, self, lambda: self.now)
        self.sweeper = Sweep(self.ledger, self, self.post, MemoryRegistry(), lambda: self.now, self.window)

    def send(self, jobs: Sequence[Job]) -> int:
        self.queue += [(job.job_id, job.seq) for job in jobs]
        return len(jobs)

    def is_new(self, job_id: str, now: int) -> bool:
        self.paid.append(job_id)
        return self.paid.count(job_id) == 1

    def charge(self, key_id: str, gpu_ms: int, now: int) -> None:
        self.charged.append((key_id, gpu_ms))

    def submit(self, *jobs: Job, most: int = 1_000_000) -> list[Job]:
        """Do what `Submit` does with jobs of one client: place, put, send."""
        admitted = self.window.admit(jobs, most)
        put = [self.ledger.submit(job).job for job in admitted.jobs]
        self.send([job for job in put if not job.is_held])
        return put

    def flood(self, client_id: str, many: int, **fields: object) -> list[Job]:
        """Submit *many* jobs of a client, a hundred at once."""
        jobs = [new_job(client_id=client_id, target=None, now=self.now, **fields) for _ in range(many)]
        return [job for start in range(0, many, 100) for job in self.submit(*jobs[start : start + 100])]

    def claim(self) -> Claimed | None:
        """Take the oldest message that leads to a job."""
        while self.queue:
            job_id, seq = self.queue.popleft()
            got = self.ledger.claim(job_id, seq, owner="w", token=f"{job_id}{seq}", now=self.now, lease_ms=60_000)
            if isinstance(got, Claimed):
                return got
        return None

    def end(self, claimed: Claimed) -> Ended:
        assert self.ledger.commit(claimed.lease, now=self.now, outputs=[], timings=Timings())
        return Ended(ended=claimed.job.job_id, client_id=claimed.job.client_id)

    def out(self, client_id: str = "client-1") -> int:
        return len(self.ledger.line(client_id, 1_000_000).sent)
