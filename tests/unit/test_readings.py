"""The minute's readings say how things stand: what waits, what runs, what is stuck, who is there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chalicelib.contract.card import Seen, ServerCard
from chalicelib.contract.counts import Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.limits import EVERYBODY, Account
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import Parked, Registration
from chalicelib.readings import LOOKED_AT, STUCK_MS, Readings
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job
from tests.sheet_fakes import MemoryRegistry, Post
from tests.unit.test_sweep import sweep

LEASE_MS = 60_000
MINUTE = 60_000


class Farm:
    """Be a farm with its table, its workers' cards, its sheets and its account; note what is told of it."""

    def __init__(self, now: int = NOW, budget_s: int | None = None) -> None:
        self.ledger, self.registry = MemoryLedger(), MemoryRegistry()
        self.cards: list[Seen] = []
        self.spent_ms = 0
        self.told: dict[Metric, float] = {}
        self.now, self.budget_s = now, budget_s

    def seen(self) -> Sequence[Seen]:
        return self.cards

    def account(self, key_id: str, now: int) -> Account:
        assert (key_id, now) == (EVERYBODY, self.now)
        return Account(key_id, gpu_ms_today=self.spent_ms)

    def add(self, metric: Metric, value: float = 1) -> None:
        assert metric not in self.told, "one value of each a round"
        self.told[metric] = value

    def look(self, after_ms: int = 0) -> dict[Metric, float]:
        """Take the readings so much later; answer what they say."""
        self.now, self.told = self.now + after_ms, {}
        Readings(self.ledger, self, self.registry, self, self, lambda: self.now, gpu_s_per_day=self.budget_s).take()
        return self.told

    def submit(self, **fields: object) -> Job:
        return self.ledger.submit(new_job(**fields)).job

    def claim(self, job: Job) -> None:
        claimed = self.ledger.claim(job.job_id, job.seq, owner="w", token="t", now=self.now, lease_ms=LEASE_MS)
        assert isinstance(claimed, Claimed)

    def worker(self, silent_ms: int = 0, closed: str = "") -> None:
        self.cards = [Seen("w", self.now - silent_ms, (ServerCard(), ServerCard(closed=closed)))]
        if closed:
            self.cards = [Seen("w", self.now - silent_ms, (ServerCard(closed=closed),))]


def test_a_quiet_farm_is_told_of_by_zeros() -> None:
    """So that a missing number means a missing sweeper, and nothing else."""
    told = Farm().look()
    assert set(told.values()) == {0}
    assert Metric.JOBS_WAITING in told and Metric.SHEETS_PARKED in told and Metric.GPU_BUDGET_USED not in told


def test_jobs_are_counted_by_what_becomes_of_them() -> None:
    """Held ones wait too; one that is put off waits for its own time, and an ended one for nothing."""
    farm = Farm()
    farm.submit(created_at=NOW - 3 * MINUTE)
    farm.submit(not_before=NOW + MINUTE)
    farm.submit(seq=0, created_at=NOW - 9 * MINUTE)
    farm.claim(farm.submit())
    farm.ledger.cancel(farm.submit().job_id, now=NOW)
    told = farm.look()
    assert (told[Metric.JOBS_WAITING], told[Metric.JOBS_HELD], told[Metric.JOBS_RUNNING]) == (2, 1, 1)
    assert told[Metric.OLDEST_WAIT] == 9 * 60


def test_a_job_whose_worker_is_long_gone_is_stuck() -> None:
    """Running without a live lease for five minutes is a number and a line, not a belief."""
    farm = Farm()
    farm.claim(farm.submit())
    assert farm.look(LEASE_MS + STUCK_MS)[Metric.JOBS_STUCK] == 0
    told = farm.look(1)
    assert (told[Metric.JOBS_STUCK], told[Metric.JOBS_RUNNING], told[Metric.JOBS_WAITING]) == (1, 0, 1)


def test_silence_counts_from_when_jobs_wait_and_nobody_takes_them() -> None:
    """A farm that slept all night is not silent the moment its first job comes."""
    farm = Farm()
    assert farm.look()[Metric.WORKER_SILENCE] == 0, "nobody waits"
    farm.submit(created_at=NOW)
    assert farm.look()[Metric.WORKER_SILENCE] == 0
    assert farm.look(7 * MINUTE)[Metric.WORKER_SILENCE] == 7 * 60
    farm.worker(silent_ms=MINUTE)
    told = farm.look()
    assert (told[Metric.WORKER_SILENCE], told[Metric.WORKERS_ALIVE], told[Metric.GPUS_OPEN]) == (0, 1, 2)


def test_a_long_queue_makes_no_long_silence() -> None:
    """The last worker's last word counts, where the jobs have waited for longer."""
    farm = Farm()
    farm.submit(created_at=NOW - 300 * MINUTE)
    farm.worker(silent_ms=4 * MINUTE)
    assert farm.look()[Metric.WORKER_SILENCE] == 4 * 60


@pytest.mark.parametrize("was_claimed", [False, True], ids=["queued", "its worker died"])
def test_sending_again_does_not_end_the_silence(was_claimed: bool) -> None:
    """The sweeper sends a silent job's message again and again; the silence grows by a minute each minute."""
    farm, post = Farm(), Post()
    job = farm.submit(created_at=NOW, enqueued_at=NOW, due_at=NOW + MINUTE)
    if was_claimed:
        farm.claim(job)
    told = []
    for _ in range(59):
        sweep(farm.ledger, post, farm.now + MINUTE)()
        told.append(farm.look(MINUTE)[Metric.WORKER_SILENCE])
    assert len(post.sent) >= 3
    first = LEASE_MS if was_claimed else 0
    assert told == [max(0, minute * MINUTE - first) // 1000 for minute in range(1, 60)]


def test_a_worker_that_takes_nothing_does_not_end_the_silence() -> None:
    """It speaks, but its ComfyUI is closed: for those who wait that is nobody."""
    farm = Farm()
    farm.submit(created_at=NOW - 20 * MINUTE)
    farm.worker(closed="ComfyUI does not answer.")
    told = farm.look()
    assert (told[Metric.WORKER_SILENCE], told[Metric.WORKERS_ALIVE]) == (20 * 60, 0)


def test_of_very_many_some_stand_for_the_others() -> None:
    """A round reads a bounded number of items, and its numbers are those of all."""
    farm = Farm()
    jobs = [farm.submit(client_id=f"client-{number}") for number in range(2 * LOOKED_AT)]
    for job in jobs[::2]:
        farm.claim(job)
    told = farm.look()
    assert told[Metric.JOBS_RUNNING] + told[Metric.JOBS_WAITING] == 2 * LOOKED_AT


def test_a_share_of_the_budget_is_told_where_there_is_one() -> None:
    """Seconds of all keys together, since midnight UTC."""
    farm = Farm(budget_s=10_000)
    farm.spent_ms = 8_050_000
    told = farm.look()
    assert (told[Metric.GPU_SECONDS_TODAY], told[Metric.GPU_BUDGET_USED]) == (8050, 80.5)


class Torn(MemoryRegistry):
    """Be out of reach."""

    def parked(self) -> list[Registration]:
        raise Unavailable("The table of spreadsheets cannot be reached.")


def test_what_is_out_of_reach_stops_no_other_reading() -> None:
    """A number that cannot be had is left out: 0 would be a lie."""
    farm = Farm()
    farm.registry = Torn()
    told = farm.look()
    assert Metric.SHEETS_PARKED not in told and Metric.JOBS_WAITING in told and Metric.GPU_SECONDS_TODAY in told


def test_parked_sheets_are_counted() -> None:
    """One that is written again is not among them."""
    farm = Farm()
    for name in ("a", "b"):
        farm.registry.park(name, Parked(reason="Not shared.", since=NOW, until=NOW))
    farm.registry.unpark("a")
    assert farm.look()[Metric.SHEETS_PARKED] == 1
