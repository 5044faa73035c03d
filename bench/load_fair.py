"""
Measure fairness in emulated time: two tenants, 10,000 jobs against 10, on 1 to 8 workers.

Real: the window, the ends and the ledger's rules (the tests' twin). Emulated: the clock, a queue that is first come,
first served, and how long jobs take (0.5 to 2 s, drawn). What is told is how many jobs of anybody begin between a
small tenant's job's coming and its beginning, for each worker: P17 says one at most.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from bench.figures import Figure, single, spread
from chalicelib.contract.events import Ended
from chalicelib.contract.job import Job, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.ends import Ends
from chalicelib.window import Window
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job

STEP_MS: Final = 100
GREEDY: Final = 10_000
SMALL: Final = 10

Note = Callable[[str, Figure], None]


class House:
    """Hold a ledger, the workers' queue, and so many workers."""

    def __init__(self, workers: int) -> None:
        self.now, self.workers = NOW, workers
        self.ledger = MemoryLedger()
        self.queue: deque[tuple[str, int]] = deque()
        self.window = Window(self.ledger, self, lambda: workers, lambda: self.now)
        self.ends = Ends(self.ledger, self.window, self, lambda: self.now)

    def send(self, jobs: Sequence[Job]) -> int:
        """Be the workers' queue."""
        self.queue += [(job.job_id, job.seq) for job in jobs]
        return len(jobs)

    def is_new(self, _job_id: str, _now: int) -> bool:
        """Charge nobody."""
        return False

    def charge(self, key_id: str, gpu_ms: int, now: int) -> None:
        """Charge nobody."""

    def submit(self, client: str, many: int, *, windowed: bool = True) -> list[Job]:
        """Submit jobs, a hundred a request; without a window all go to the queue at once, as they came."""
        put: list[Job] = []
        for begin in range(0, many, 100):
            wanted = [
                new_job(client_id=client, target=None, now=self.now) for _ in range(begin, min(begin + 100, many))
            ]
            placed = self.window.admit(wanted, 1_000_000).jobs if windowed else tuple(wanted)
            new = [self.ledger.submit(job).job for job in placed]
            self.send([job for job in new if not job.is_held])
            put += new
        return put

    def claim(self) -> Claimed | None:
        """Take the oldest message that leads to a job."""
        while self.queue:
            job_id, seq = self.queue.popleft()
            got = self.ledger.claim(job_id, seq, owner="w", token=job_id, now=self.now, lease_ms=60_000)
            if isinstance(got, Claimed):
                return got
        return None


def waits(workers: int, *, windowed: bool = True) -> list[int]:
    """Say for each job of the small tenant how many of the other's began between its coming and its beginning."""
    house, drawn = House(workers), random.Random(workers)
    house.submit("greedy", GREEDY, windowed=windowed)
    small: dict[str, int] = {}
    begun, found, steps, left = 0, [], 0, SMALL
    busy: list[tuple[int, Claimed]] = []
    while left or small:
        house.now += STEP_MS
        over = [claimed for until, claimed in busy if until <= house.now]
        busy = [each for each in busy if each[0] > house.now]
        for claimed in over:
            assert house.ledger.commit(claimed.lease, now=house.now, outputs=[], timings=Timings())
        house.ends.settle([Ended(ended=each.job.job_id, client_id=each.job.client_id) for each in over])
        while len(busy) < workers and (taken := house.claim()) is not None:
            if taken.job.job_id in small:
                found.append(begun - small.pop(taken.job.job_id))
            elif taken.job.client_id == "greedy":
                begun += 1
            busy.append((house.now + drawn.randrange(500, 2_000), taken))
        steps += 1
        if left and steps % 150 == 50:
            small[house.submit("small", 1, windowed=windowed)[0].job_id] = begun
            left -= 1
    return found


def measure(note: Note, _say: Callable[[str], None], *, quick: bool) -> None:
    """Play two tenants with the window, and without it for comparison."""
    logging.getLogger("chalicelib").setLevel(logging.CRITICAL)
    for workers in (2,) if quick else (1, 2, 4, 8):
        found = waits(workers)
        note(
            f"fair_{workers}_workers_jobs_before",
            spread([float(each) for each in found], "jobs begun before one's own"),
        )
        note(f"fair_{workers}_workers_most_per_worker", single(max(found) / workers, "jobs per worker", len(found)))
    without = waits(2, windowed=False)
    note("unfair_2_workers_without_a_window", single(max(without) / 2, "jobs per worker", len(without)))
