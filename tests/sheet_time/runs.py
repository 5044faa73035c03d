"""Play what a busy day does to sheets, in emulated time, and tell the figures. Tests play it small, the bench large."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

from chalicelib.contract.events import Errand
from chalicelib.contract.job import Job
from chalicelib.contract.states import TERMINAL
from faults.editor import Person
from tests.sheet_time.line import Line, lines

MINUTE_MS = 60_000


@dataclass(frozen=True)
class Outcome:
    """Hold what came of a run: results in wrong rows, strays, lost ones, and what was measured on the way."""

    wrong: int
    stray: int
    lost: int
    figures: dict[str, Any]


class _Repairs(logging.Handler):
    """Count the writes that put something right."""

    def __init__(self) -> None:
        super().__init__()
        self.restored = self.given_up = 0

    def emit(self, record: logging.LogRecord) -> None:
        action = getattr(record, "action", "")
        self.restored += getattr(record, "rows", 0) if action == "restored" else 0
        self.given_up += action == "given up"


def human_edits(seed: int, jobs: int, *, each_call: float = 0.6) -> Outcome:
    """
    Render *jobs* rows while a person edits the sheet, right before most of our calls.

    In the end the person presses Fetch missing results, as one does whose rows stay "processing".
    """
    repairs, log = _Repairs(), logging.getLogger("chalicelib.mend")
    log.addHandler(repairs)
    before, log.propagate = log.propagate, False
    log.setLevel(logging.INFO)
    try:
        with Line(1, jobs, seed=seed) as line:
            book = line.books[0]
            person = Person(book, book.sheets[0], seed)

            def meddle(_kind: str, _spreadsheet: str) -> None:
                while line.random.random() < each_call:
                    person.act()

            bound = [line.submit(book, row) for row in range(1, jobs + 1)]
            line.on_call = meddle
            for number, job in enumerate(bound):
                takes_ms = 1000 + line.random.randrange(3000)
                line.run_job(job, at=line.now + number * 400, takes_ms=takes_ms, fails=number % 25 == 24)
            line.run(line.now + jobs * 400 + 3 * MINUTE_MS)
            line.on_call = lambda _kind, _spreadsheet: None
            line.run(line.now + 15 * MINUTE_MS)  # the second look comes after ten minutes
            _fetch_missing(line, bound)
            figures = {
                "seed": seed,
                "edits": sum(person.did.values()),
                "did": dict(person.did),
                "repaired": repairs.restored,
                "given_up": repairs.given_up,
                "writes": len(line.figures.writes),
            }
            return Outcome(**_judged(line, bound), figures=figures)
    finally:
        log.removeHandler(repairs)
        log.propagate = before


def _fetch_missing(line: Line, jobs: list[Job]) -> None:
    """Do what the menu does: ask for the rows that still say queued or processing, and for results without rows."""
    spreadsheet_id = line.books[0].spreadsheet_id
    by_key = {job.job_key: job for job in jobs}
    for tab in lines(line.books[0].sheets[0]):
        job = by_key.get(tab.get("Job ID", ""))
        if job is None or tab.get("Status") not in ("queued", "processing"):
            continue
        again = line.ledger.show_again(job.job_id, now=line.now)
        if again is not None:
            line.queue.hint(again, sweep_minute=line.now)
    line.run(line.now + MINUTE_MS)
    line.queue.ask(Errand(errand="relink", spreadsheet_id=spreadsheet_id, id=f"e{line.now}"))
    line.run(line.now + 2 * MINUTE_MS)


def _judged(line: Line, jobs: list[Job]) -> dict[str, int]:
    return line.verdict(jobs)


def busy_sheets(sheets: int, rows: int, *, every_ms: int, takes_ms: int = 2000, minutes: int = 0) -> Outcome:
    """Finish *rows* rows in each of *sheets* spreadsheets, one every *every_ms* in each."""
    with Line(sheets, rows) as line:
        begun = line.now
        jobs = [[line.submit(book, row) for row in range(1, rows + 1)] for book in line.books]
        for of_sheet in jobs:
            for number, job in enumerate(of_sheet):
                line.run_job(job, at=begun + number * every_ms, takes_ms=takes_ms)
        line.run(begun + rows * every_ms + takes_ms + (minutes or 10) * MINUTE_MS)
        everything = [job for of_sheet in jobs for job in of_sheet]
        worst = [max(line.figures.lag_ms.get(job.job_id, 10**9) for job in of_sheet) for of_sheet in jobs]
        lags = sorted(line.figures.lag_ms.values())
        done_at = max((line.ledger.get(each.job_id).finished_at or 0) for each in everything)  # type: ignore[union-attr]
        refused = Counter(call.status for call in line.endpoint.log.calls)
        figures = {
            "writes": len(line.figures.writes),
            "reads": len(line.figures.reads),
            "writes_per_min": line.figures.per_minute(),
            "calls_per_1000_rows": round((len(line.figures.writes) + len(line.figures.reads)) * 1000 / len(everything)),
            "lag_p50_s": lags[len(lags) // 2] / 1000,
            "lag_max_s": max(worst) / 1000,
            "lag_max_of_the_luckiest_sheet_s": min(worst) / 1000,
            "refused_429": refused[429],
            "took_s": (done_at - begun) / 1000,
        }
        return Outcome(**line.verdict(everything), figures=figures)


def storm(rows: int, *, minutes: int = 10) -> Outcome:
    """Finish *rows* rows while Google answers every call with 429 or 503 for *minutes*."""
    with Line(2, rows) as line:
        begun = line.now
        jobs = [line.submit(book, row) for book in line.books for row in range(1, rows + 1)]
        line.storm.between = (begun + 20_000, begun + 20_000 + minutes * MINUTE_MS)
        for number, job in enumerate(jobs):
            line.run_job(job, at=begun + number * 2000, takes_ms=3000)
        line.run(begun + 20_000 + minutes * MINUTE_MS + 5 * MINUTE_MS)
        over = line.storm.between[1]
        finished = {job.job_id: job.finished_at or 0 for job in line.ledger.get_many([job.job_id for job in jobs])}
        healed = [finished[each] + lag - over for each, lag in line.figures.lag_ms.items() if finished[each] < over]
        figures = {
            "refused": line.storm.refused,
            "right_again_after_s": max(healed, default=0) / 1000,
            "dead_letters": sum(each.received > 50 for group in line.queue.groups.values() for each in group),
            "open": sum(job.state not in TERMINAL for job in line.ledger.get_many([job.job_id for job in jobs])),
        }
        return Outcome(**line.verdict(jobs), figures=figures)
