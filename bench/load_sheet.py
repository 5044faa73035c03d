"""
Measure completion on large sheets and on many: the real Sheets client against the emulated endpoint.

The endpoint runs in a thread of its own; what is counted is the completion's own thread: processor time, bytes, calls,
memory. Google's own time is not known here.
"""

from __future__ import annotations

import gc
import logging
import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench.curves import Curve
from bench.figures import Figure, single, spread
from chalicelib.complete import Complete
from chalicelib.contract.job import Job, Timings, job_id_of
from chalicelib.contract.ports import Claimed
from chalicelib.google_key import GoogleKey
from chalicelib.sheet import Sheets, connect
from sandbox.google_auth import GoogleAuth, make_service_account
from sandbox.sheets_serve import Served
from sandbox.sheets_v4 import sheets_app
from sandbox.workbook import Books, Formula, Workbook
from tests.delivery_fakes import QuietHerald
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output, target
from tests.sheet_fakes import FreeTurns, MemoryRegistry, NoteBook

HEADERS: Final = (
    "Prompt", "Workflow", "Width", "Height", "Steps", "CFG", "Sampler", "Negative prompt",
    "Status", "Preview", "Output URL", "Started at", "Finished at", "Seed", "Error", "Job ID",
)  # fmt: skip
PROMPT: Final = "a fox in the snow, golden hour, shallow depth of field, 35 mm, film grain, number {}"

API: Final = "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/prod"

Note = Callable[[str, Figure], None]


class Wire:
    """Carry the client's requests, and count them and their bytes."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls, self.down, self.up, self.waited_s = 0, 0, 0, 0.0
        self.last: Any = None
        self.again: Any = None
        """Answered instead of asking: so the emulator's own memory is not counted."""

    def request(self, uri: str, method: str = "GET", body: Any = None, **more: Any) -> Any:
        """Do as httplib2's Http does."""
        if self.again is not None:
            return self.again
        begun = time.perf_counter()
        response, content = self.last = self._inner.request(uri, method=method, body=body, **more)
        self.waited_s += time.perf_counter() - begun
        self.calls += 1
        self.down += len(content)
        self.up += len(body or "")
        return response, content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Office:
    """Hold spreadsheets of *rows* rows each, all done but the last few, and the completion that fills them."""

    def __init__(self, rows: int, sheets: int = 1) -> None:
        self.rows = rows
        self.ledger = MemoryLedger()
        self.books = [self._book(f"book-{number}", rows) for number in range(sheets)]
        auth = GoogleAuth()
        app = sheets_app(Books(*self.books), auth=auth)
        self.served = Served(app)
        account = make_service_account(f"{self.served.url}/token")
        auth.register(account)
        for book in self.books:
            book.shared_with.add(account["client_email"])
        service = connect(GoogleKey("service_account", account["client_email"], account), self.served.url)
        self.wire = Wire(service._http)
        service._http = self.wire
        self.sheets = Sheets(lambda: service)
        self.complete = Complete(
            self.ledger,
            self.sheets,
            MemoryRegistry(),
            FreeTurns(),
            NoteBook(),
            QuietHerald(),
            lambda: NOW,
        )

    def _book(self, name: str, rows: int) -> Workbook:
        book = Workbook(name, name, time_zone="Europe/Berlin")
        sheet = book.add_sheet("Renders", rows=rows + 1, cols=len(HEADERS))
        with book.editing("person"):
            for column, header in enumerate(HEADERS):
                sheet.set_cell(0, column, header)
            for row in range(1, rows + 1):
                key = f"{name}-{row}"
                link = f"{API}/o/{job_id_of('client-1', key)}/0?t=0123456789abcdefghijkl"
                values: tuple[str | float | Formula, ...] = (
                    PROMPT.format(row), "txt2img-sdxl", 1024, 1024, 30, 6.5, "dpmpp_2m", "blurry, text",
                    "done", Formula(f'=IMAGE("{link}")'), link, 45_980.5, 45_980.501, row * 7919, "", key,
                )  # fmt: skip
                for column, value in enumerate(values):
                    sheet.set_cell(row, column, value)
        return book

    def ends(self, book: Workbook, row: int) -> Job:
        """Have the job of a row succeed."""
        key = f"{book.spreadsheet_id}-{row}"
        wanted = target(book.spreadsheet_id, book.sheets[0].gid, PROMPT.format(row))
        job = self.ledger.submit(new_job(job_key=key, target=wanted)).job
        claim = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(claim, Claimed)
        assert self.ledger.commit(claim.lease, now=NOW, outputs=[output()], timings=Timings())
        return job

    def shown(self, jobs: Sequence[Job]) -> None:
        """Have rows written, again and again as the queue would: on a busy machine the emulator takes its time."""
        left = [job.job_id for job in jobs]
        for _ in range(5):
            left = [*self.complete.show(left)]
            if not left:
                return
        raise TimeoutError(f"{len(left)} rows could not be shown")

    def close(self) -> None:
        self.served.close()


def measure(note: Note, _say: Callable[[str], None], *, quick: bool) -> list[Curve]:
    """Measure one completion as the sheet grows, 10,000 rows row by row in tens, and 50 sheets at once."""
    logging.getLogger("chalicelib").setLevel(logging.CRITICAL)
    curves = _growing((100, 1_000) if quick else (100, 1_000, 10_000), 3 if quick else 5, note)
    _many_rows(note, 1_001 if quick else 10_000, 2 if quick else 4)
    _many_sheets(note, 50, 20 if quick else 200)
    return curves


def _growing(sizes: tuple[int, ...], times: int, note: Note) -> list[Curve]:
    points: dict[str, dict[int, float]] = {}
    for rows in sizes:
        office = Office(rows)
        try:
            cpu_ms, wall_ms = [], []
            for number in range(times + 1):
                job = office.ends(office.books[0], rows - number)
                gc.collect()
                before, thread, begun = (office.wire.calls, office.wire.down), time.thread_time(), time.perf_counter()
                office.shown([job])
                cpu_ms.append((time.thread_time() - thread) * 1000)
                wall_ms.append((time.perf_counter() - begun) * 1000)
                told: dict[str, float] = {"bytes": office.wire.down - before[1], "calls": office.wire.calls - before[0]}
            # The first call imports the client and asks for access.
            told |= {"CPU ms": statistics.median(cpu_ms[1:]), "wall ms": statistics.median(wall_ms[1:])}
            told["memory MB"] = _peak_mb(office)
            if rows == sizes[-1]:
                note("completion_of_one_row_cpu_ms", spread(cpu_ms[1:], f"ms of a processor, sheet of {rows} rows"))
                note("completion_of_one_row_ms", spread(wall_ms[1:], f"ms with the emulator's, sheet of {rows} rows"))
                note("completion_of_one_row_kb", single(told["bytes"] / 1000, f"KB read, sheet of {rows} rows", times))
                note("completion_of_one_row_mb", single(told["memory MB"], f"MB at the peak, sheet of {rows} rows", 1))
            for name, value in told.items():
                points.setdefault(name, {})[rows] = value
        finally:
            office.close()
    return [Curve(f"completion of one row, {name}", "rows of its sheet", values) for name, values in points.items()]


def _peak_mb(office: Office) -> float:
    """Say how much memory a read of the whole tab takes at its peak, the answer's own bytes included."""
    sheets, sheet = office.sheets, office.books[0].sheets[0]
    sheets.read(office.books[0].spreadsheet_id, sheet.gid)
    office.wire.again = office.wire.last
    gc.collect()
    tracemalloc.start()
    try:
        tab = sheets.read(office.books[0].spreadsheet_id, sheet.gid)
        assert len(tab.rows) == office.rows
        return (tracemalloc.get_traced_memory()[1] + len(office.wire.last[1])) / 1e6
    finally:
        tracemalloc.stop()
        office.wire.again = None


def _many_rows(note: Note, rows: int, rounds: int) -> None:
    """Finish rows of a large sheet, a hundred at a time."""
    office = Office(rows)
    try:
        office.complete.show([office.ends(office.books[0], rows).job_id])
        at_once = 100
        calls, down, thread = office.wire.calls, office.wire.down, time.thread_time()
        begun = time.perf_counter()
        for number in range(rounds):
            jobs = [office.ends(office.books[0], 1 + number * at_once + each) for each in range(at_once)]
            office.shown(jobs)
        took_s, count = time.perf_counter() - begun, rounds * at_once
        note("large_sheet_calls_per_100_rows", single(100 * (office.wire.calls - calls) / count, "calls", count))
        note("large_sheet_kb_per_100_rows", single(100 * (office.wire.down - down) / count / 1000, "KB", count))
        note("large_sheet_rows_per_min", single(60 * count / took_s, "rows/min, with the emulator's time", count))
        note("large_sheet_cpu_s_per_100_rows", single(100 * (time.thread_time() - thread) / count, "s", count))
    finally:
        office.close()


def _many_sheets(note: Note, sheets: int, rows: int) -> None:
    """Finish ten rows in each of many sheets, as one completion after the other would."""
    office = Office(rows, sheets)
    try:
        office.complete.show([office.ends(office.books[0], rows).job_id])
        calls, thread, begun = office.wire.calls, time.thread_time(), time.perf_counter()
        for book in office.books:
            jobs = [office.ends(book, 1 + each) for each in range(10)]
            office.shown(jobs)
        note("sheets50_calls", single(office.wire.calls - calls, "calls", sheets * 10))
        note("sheets50_s", single(time.perf_counter() - begun, "s, with the emulator's time", sheets * 10))
        note("sheets50_cpu_ms_per_sheet", single((time.thread_time() - thread) * 1000 / sheets, "ms", sheets))
    finally:
        office.close()
