"""Hold what completion is handed, and make jobs for rows of a sheet on paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chalicelib.complete import Complete
from chalicelib.contract.counts import Metric
from chalicelib.contract.job import Job, Timings
from chalicelib.contract.ports import Claimed
from tests.delivery_fakes import QuietHerald
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output, target
from tests.paper import SHEET, PaperSheet
from tests.sheet_fakes import FreeTurns, MemoryRegistry, NoteBook


class Abacus:
    """Note what is counted."""

    def __init__(self) -> None:
        self.noted: list[tuple[Metric, float]] = []

    def add(self, metric: Metric, value: float = 1) -> None:
        self.noted.append((metric, value))


class Desk:
    """Hold a ledger and make jobs for rows. Time stands until it is moved."""

    def __init__(self) -> None:
        self.time = NOW
        self.counts = Abacus()
        self.ledger = MemoryLedger()
        self.registry, self.turns, self.books = MemoryRegistry(), FreeTurns(), NoteBook()
        self.herald: QuietHerald = QuietHerald()

    def submitted(self, prompt: str, **fields: Any) -> Job:
        job = new_job(
            target=target(SHEET, prompt=prompt), inputs={"prompt": prompt, "seed": 5}, synced_version=1, **fields
        )
        return self.ledger.submit(job).job

    def done(self, prompt: str) -> Job:
        job = self.submitted(prompt, link_base="https://host/api")
        claimed = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(claimed, Claimed)
        made = output(f"outputs/{job.job_id}/1/0.png").model_copy(
            update={"thumbnail_key": "x", "thumbnail_type": "image/jpeg"}
        )
        assert self.ledger.commit(claimed.lease, now=NOW + 9, outputs=[made], timings=Timings())
        return self.now(job)

    def now(self, job: Job) -> Job:
        there = self.ledger.get(job.job_id)
        assert there is not None
        return there


def row_of(job: Job, **cells: str) -> dict[str, str]:
    """Write the row of a job as it is right after it was submitted."""
    return {"Prompt": str(job.inputs["prompt"]), "Status": "queued", "Job ID": job.job_key, **cells}


def complete(desk: Desk, sheet: PaperSheet) -> Complete:
    """Make the completion of *desk*, with *sheet* for every spreadsheet."""
    return Complete(
        desk.ledger, sheet, desk.registry, desk.turns, desk.books, desk.herald, lambda: desk.time, desk.counts
    )


class SternHerald(QuietHerald):
    """Fail to announce the jobs named."""

    def __init__(self, *failing: str, wait_s: float | None = 7.0) -> None:
        super().__init__()
        self.failing = dict.fromkeys(failing, wait_s)

    def announce(self, jobs: Iterable[Job]) -> dict[str, float | None]:
        asked = list(jobs)
        super().announce(asked)
        return {job.job_id: self.failing[job.job_id] for job in asked if job.job_id in self.failing}


class AskedLedger(MemoryLedger):
    """Note which jobs are read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[str]] = []

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        self.asked.append(job_ids)
        return super().get_many(job_ids)
