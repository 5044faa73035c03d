"""
Run completion against the emulated Sheets in emulated time: hours of jobs, quota and people in seconds.

Real: the Sheets client over HTTP, the endpoint with Google's rules and quota, `Complete`, `Errands`, `Sweep`, the
budget, the order of a FIFO queue. Emulated: the clock, how long calls take, the ledger (the tests' twin), and the
workers, who finish jobs at given times.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from google.oauth2 import service_account
from googleapiclient.discovery import build

from chalicelib.auto import AutoStart
from chalicelib.complete import Complete
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Check, Errand, Hint, hint_dedup_id
from chalicelib.contract.job import Job, Timings, job_id_of
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from chalicelib.errands import Errands
from chalicelib.hints import work_through
from chalicelib.rates import SheetsBudget, UsageBook
from chalicelib.sheet import Sheets
from chalicelib.sweep import Sweep
from chalicelib.window import Window
from sandbox.google_auth import GoogleAuth, make_service_account
from sandbox.sheets_errors import GoogleError
from sandbox.sheets_faults import Fault, Faults, Kind, Quota
from sandbox.sheets_serve import Served
from sandbox.sheets_v4 import ENDPOINT, sheets_app
from sandbox.workbook import Books, Metadata, Sheet, Workbook
from tests.delivery_fakes import QuietHerald
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output, target
from tests.sheet_fakes import MemoryCounters, MemoryRegistry

HEADERS = (
    "Prompt",
    "Workflow",
    "Seed",
    "Status",
    "Preview",
    "Output URL",
    "Started at",
    "Finished at",
    "Error",
    "Job ID",
    "Notes",
)
CLIENT = "client-1"
READ_MS, WRITE_MS = 300, 500
HANDLERS = 5
"""Lambdas at once: the mapping's MaximumConcurrency."""


@dataclass
class Message:
    """Be a message of the FIFO queue."""

    number: int
    body: str
    visible_at: int
    received: int = 0

    @property
    def receipt(self) -> str:
        return str(self.number)


class Queue:
    """Be the completions queue: FIFO by group, deduplicated for five minutes, in emulated time."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._numbers = itertools.count()
        self._seen: dict[str, int] = {}
        self.groups: dict[str, deque[Message]] = defaultdict(deque)
        self.delays: list[int] = []

    # -- as chalicelib.queues ---------------------------------------------------------------------------------------

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        hint = Hint(job_id=job.job_id, version=job.version)
        self._put(_sheet(job), hint.model_dump_json(), hint_dedup_id(hint, sweep_minute))

    def check(self, jobs: Sequence[Job], sweep_minute: int) -> None:
        message = Check(check=[job.job_id for job in jobs])
        self._put(_sheet(jobs[0]), message.model_dump_json(), f"check:{jobs[0].job_id}:{sweep_minute}")

    def ask(self, errand: Errand) -> None:
        self._put(errand.spreadsheet_id, errand.model_dump_json(), f"{errand.errand}:{errand.id}")

    def send(self, jobs: Sequence[Job]) -> int:
        return len(jobs)

    def bury(self, record: Mapping[str, Any], reason: str) -> None:
        raise AssertionError(f"a message of ours was not understood: {record['body']} ({reason})")

    def settle(self, done: Sequence[str], later: Mapping[str, int]) -> None:
        for group in self.groups.values():
            for message in [each for each in group if each.receipt in done]:
                group.remove(message)
            for message in group:
                if message.receipt in later:
                    message.visible_at = self._line.now + later[message.receipt] * 1000
                    self.delays.append(later[message.receipt])

    # -- for the line -----------------------------------------------------------------------------------------------

    def take(self) -> tuple[str, list[Message]] | None:
        """Give up to ten messages of the group that has waited longest; None: none is visible now."""
        ready = [
            (group[0].visible_at, name)
            for name, group in self.groups.items()
            if group and group[0].visible_at <= self._line.now and self._line.busy.get(name, 0) <= self._line.now
        ]
        if not ready:
            return None
        name = min(ready)[1]
        taken = list(itertools.takewhile(lambda each: each.visible_at <= self._line.now, self.groups[name]))[:10]
        for message in taken:
            message.received += 1
        return name, taken

    def next_at(self) -> int | None:
        """Say when the next message can be taken."""
        times = [max(group[0].visible_at, self._line.busy.get(name, 0)) for name, group in self.groups.items() if group]
        return min(times, default=None)

    def _put(self, group: str, body: str, dedup_id: str) -> None:
        now = self._line.now
        if self._seen.get(dedup_id, -1) > now:
            return
        self._seen[dedup_id] = now + 300_000
        self.groups[group].append(Message(next(self._numbers), body, now))


class RestingSheets(Sheets):
    """Rest in emulated time."""

    line: Line

    def rest(self, seconds: float) -> None:
        self.line.now += int(seconds * 1000)


class Storm(Faults):
    """Answer every call between two moments with 429 or 503, in turn."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line
        self.between: tuple[int, int] = (0, 0)
        self.refused = 0

    def next_for(self, kind: Kind, spreadsheet_id: str = "") -> Fault | None:
        if self.between[0] <= self._line.now < self.between[1]:
            self.refused += 1
            return Fault(1, kind, GoogleError(429 if self.refused % 2 else 503), applied=False)
        return super().next_for(kind, spreadsheet_id)


@dataclass
class Figures:
    """Hold what a run measured."""

    reads: list[int] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    lag_ms: dict[str, int] = field(default_factory=dict)
    """From a job's end to its row, by job."""

    def per_minute(self) -> int:
        """Give the most writes within any 60 seconds."""
        most, window = 0, deque[int]()
        for at in sorted(self.writes):
            window.append(at)
            while window[0] <= at - 60_000:
                window.popleft()
            most = max(most, len(window))
        return most


class Line:
    """Hold spreadsheets, their jobs and the clock."""

    def __init__(self, sheets: int, rows: int, *, seed: int = 0) -> None:
        self.now = NOW
        self.busy: dict[str, int] = {}
        self.figures = Figures()
        self.random = random.Random(seed)
        self.on_call: Callable[[str, str], None] = lambda _kind, _spreadsheet: None
        """What somebody does right before each call."""
        self.books = [self._book(number, rows) for number in range(sheets)]
        self.storm = Storm(self)
        self._serve()
        self.ledger, self.registry, counters = MemoryLedger(), MemoryRegistry(), MemoryCounters()
        self.queue = Queue(self)
        self._budget = SheetsBudget(counters)
        client = self._client()
        sheets_edge = RestingSheets(lambda: client, self._spend)
        sheets_edge.line = self
        self.complete = Complete(
            self.ledger,
            sheets_edge,
            self.registry,
            self._budget,
            UsageBook(counters),
            QuietHerald(),
            lambda: self.now,
        )
        auto = AutoStart(self.ledger, sheets_edge, self.registry, self, "https://host/api", lambda: self.now)
        self.errands = Errands(
            self.ledger,
            sheets_edge,
            self.registry,
            auto,
            self._budget,
            lambda: self._account["client_email"],
            lambda: self.now,
        )
        window = Window(self.ledger, self.queue, lambda: 0, lambda: self.now)
        self._sweep = Sweep(self.ledger, self.queue, self.queue, self.registry, lambda: self.now, window)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.failed: Counter[str] = Counter()

    def rows(self, *_: object) -> list[Any]:
        """Submit nothing: no row starts by itself here."""
        return []

    # -- jobs -------------------------------------------------------------------------------------------------------

    def submit(self, book: Workbook, row: int) -> Job:
        """Bind a row to a job, as the script does."""
        sheet = book.sheets[0]
        prompt = str(sheet.cell(row, 0).formatted)
        key = f"{book.spreadsheet_id}-{row}-{self.random.randrange(10**9)}"
        with book.editing("script"):
            sheet.set_cell(row, HEADERS.index("Job ID"), key)
            sheet.set_cell(row, HEADERS.index("Status"), "queued")
        job = new_job(
            job_key=key,
            client_id=CLIENT,
            target=target(book.spreadsheet_id, 0, prompt),
            inputs={"prompt": prompt, "seed": row},
            synced_version=1,
            now=self.now,
            link_base="https://host/api",
        )
        return self.ledger.submit(job).job

    def run_job(self, job: Job, *, at: int, takes_ms: int, fails: bool = False) -> None:
        """Have a worker claim the job at *at* and end it *takes_ms* later."""
        self.later(at, lambda: self._claim(job, takes_ms, fails))

    def _claim(self, job: Job, takes_ms: int, fails: bool) -> None:
        claimed = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=self.now, lease_ms=10**9)
        assert isinstance(claimed, Claimed)
        self.queue.hint(claimed.job)

        def end() -> None:
            from chalicelib.contract.job import JobError

            if fails:
                assert self.ledger.fail(claimed.lease, now=self.now, error=JobError(code="x", text="It broke."))
            else:
                made = output(f"outputs/{job.job_id}/1/0.png").model_copy(
                    update={"thumbnail_key": "x", "thumbnail_type": "image/jpeg"}
                )
                timings = Timings(execution_ms=takes_ms)
                assert self.ledger.commit(claimed.lease, now=self.now, outputs=[made], timings=timings)
            ended = self.ledger.get(job.job_id)
            assert ended is not None
            self.queue.hint(ended)

        self.later(self.now + takes_ms, end)

    # -- time -------------------------------------------------------------------------------------------------------

    def later(self, at: int, what: Callable[[], None]) -> None:
        """Do *what* at *at* (ms)."""
        heapq.heappush(self._events, (at, next(self._order), what))

    def run(self, until: int) -> None:
        """Let time pass until *until*; the sweeper comes every minute."""
        minute = self.now - self.now % 60_000 + 60_000
        while minute <= until:
            self.later(minute, self._sweep_once)
            minute += 60_000
        while True:
            event_at = self._events[0][0] if self._events else None
            queue_at = self.queue.next_at()
            times = [at for at in (event_at, queue_at) if at is not None]
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, min(times))
            if event_at is not None and event_at <= self.now:
                heapq.heappop(self._events)[2]()
                continue
            taken = self.queue.take()
            if taken is not None:
                self._handle(*taken)
            elif event_at is None:
                self.now = max(self.now, queue_at or self.now)

    def _sweep_once(self) -> None:
        self._sweep.sweep()

    def _handle(self, group: str, messages: list[Message]) -> None:
        """Be one Lambda: its calls take time, during which its group is busy."""
        begun, calls = self.now, len(self.figures.reads) * READ_MS + len(self.figures.writes) * WRITE_MS
        records = [
            {
                "body": each.body,
                "receiptHandle": each.receipt,
                "attributes": {"ApproximateReceiveCount": str(each.received)},
            }
            for each in messages
        ]
        try:
            work_through(records, self.complete, self.errands, self.queue, settle=lambda _: None)
        except Unavailable:
            pass
        else:
            for each in messages:
                self.queue.groups[group].remove(each)
        spent = len(self.figures.reads) * READ_MS + len(self.figures.writes) * WRITE_MS - calls
        self.busy[group] = begun + max(20, spent)
        for job in self.ledger.get_many([each for each in self._ended() if each not in self.figures.lag_ms]):
            if job.is_shown and job.finished_at is not None:
                self.figures.lag_ms[job.job_id] = begun + spent - job.finished_at

    def _ended(self) -> list[str]:
        return [job.job_id for job in self.ledger._jobs.values() if job.state in (State.SUCCEEDED, State.FAILED)]

    def _spend(self, kind: str, spreadsheet_id: str, urgent: bool) -> None:
        self._budget.spend(kind, spreadsheet_id, self.now, urgent=urgent)  # type: ignore[arg-type]
        (self.figures.reads if kind == "reads" else self.figures.writes).append(self.now)
        self.on_call(kind, spreadsheet_id)

    # -- the spreadsheets ---------------------------------------------------------------------------------------------

    def _book(self, number: int, rows: int) -> Workbook:
        book = Workbook(f"book-{number}", f"Book {number}", time_zone="Europe/Berlin")
        sheet = book.add_sheet("Renders", rows=rows + 50, cols=len(HEADERS) + 3)
        with book.editing("script"):
            for col, header in enumerate(HEADERS):
                sheet.set_cell(0, col, header)
                label = Metadata(1000 + col, "comfysheet-column", header, "DOCUMENT")
                sheet.set_dimension("COLUMNS", col, 1, metadata=(label,))
            for row in range(1, rows + 1):
                sheet.set_cell(row, 0, f"prompt {number}.{row}")
                sheet.set_cell(row, 1, "txt2img")
                sheet.set_cell(row, HEADERS.index("Notes"), f"note {number}.{row}")
        return book

    def _serve(self) -> None:
        auth = GoogleAuth()
        quota = Quota(now=lambda: self.now / 1000)
        app = sheets_app(Books(*self.books), auth=auth, quota=quota, faults=self.storm)
        self.endpoint = app[ENDPOINT]
        self._served = Served(app)
        self._account = make_service_account(f"{self._served.url}/token")
        auth.register(self._account)
        for book in self.books:
            book.shared_with.add(self._account["client_email"])

    def _client(self) -> Any:
        credentials = service_account.Credentials.from_service_account_info(
            self._account, scopes=["https://www.googleapis.com/auth/spreadsheets"]
        )
        return build(
            "sheets",
            "v4",
            credentials=credentials,
            static_discovery=True,
            cache_discovery=False,
            client_options={"api_endpoint": self._served.url},
        )

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._served.close()

    # -- judging ------------------------------------------------------------------------------------------------------

    def verdict(self, jobs: Sequence[Job]) -> dict[str, int]:
        """Count results in wrong rows, lost results, and texts of ours in rows that are nobody's."""
        by_link = {job.job_id: job for job in jobs}
        shown: set[str] = set()
        wrong = stray = 0
        for book in self.books:
            for sheet in book.sheets:
                for line in lines(sheet):
                    link = line.get("Output URL", "")
                    job_id = link.split("/o/")[1].split("/")[0] if "/o/" in link else ""
                    if not job_id:
                        continue
                    job = by_link[job_id]
                    if not line.get("Prompt") and not line.get("Job ID"):
                        stray += 1
                    elif line.get("Prompt") != job.inputs["prompt"]:
                        wrong += 1
                    elif line.get("Status") == "done":
                        shown.add(job_id)
        ended = {job.job_id for job in self.ledger.get_many(list(by_link)) if job.state is State.SUCCEEDED}
        return {"wrong": wrong, "stray": stray, "lost": len(ended - shown)}


def lines(sheet: Sheet) -> list[dict[str, str]]:
    """Give the rows of a tab as texts, by our names of the columns."""
    rows, cols = sheet.data_extent()
    names = []
    for col in range(cols):
        labels = [each.value for each in sheet.dimension("COLUMNS", col).metadata if each.key == "comfysheet-column"]
        names.append(labels[0] if labels else str(sheet.cell(0, col).formatted))
    return [
        {str(name): str(sheet.cell(row, col).formatted) for col, name in enumerate(names) if name}
        for row in range(1, rows)
    ]


def _sheet(job: Job) -> str:
    assert job.target is not None
    return job.target.spreadsheet_id


def keys_of(jobs: Sequence[Job]) -> list[str]:
    """Give the Job IDs."""
    return [job.job_key for job in jobs]


def ids_of(keys: Sequence[str]) -> list[str]:
    """Give the job ids of Job IDs."""
    return [job_id_of(CLIENT, key) for key in keys]


def dump(figures: Mapping[str, Any]) -> str:
    """Write figures for people."""
    return json.dumps(figures, indent=None)
