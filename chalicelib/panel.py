"""
Answer what a spreadsheet's menu, sidebar and settings ask for: how things stand, cancel, fetch, auto mode, errands.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import Field

from chalicelib import __version__
from chalicelib.cancel import Hints, cancel
from chalicelib.contract.errors import Rejected
from chalicelib.contract.events import Errand
from chalicelib.contract.job import Job, job_id_of
from chalicelib.contract.ports import Ledger
from chalicelib.contract.sheets import HOLD_MS, ErrandNote, Parked, Registration
from chalicelib.contract.states import TERMINAL, State
from chalicelib.eta import left_ms
from chalicelib.keys import SheetKey
from chalicelib.links import gallery_link
from chalicelib.submit import MAX_ROWS, JobKey, Request, SheetId

AUTO_TABS_MOST: Final = 5
"""Tabs of a spreadsheet in which rows start by themselves: each costs a read of Google's 60 a minute."""
POLL_S: Final = 3
IDLE_POLL_S: Final = 10

Keys = Annotated[list[JobKey], Field(max_length=MAX_ROWS)]


class OfSheet(Request):
    """Name the spreadsheet that asks."""

    spreadsheet_id: str = Field(min_length=1, max_length=200)


class OfRows(OfSheet):
    """Name rows by their Job IDs."""

    sheet_id: SheetId = 0
    job_keys: Keys = Field(default_factory=list)


class AutoRequest(OfSheet):
    """Switch a tab's auto mode."""

    sheet_id: SheetId
    on: bool


class ClaimRequest(OfSheet):
    """Hold, or let go of, the right to start rows."""

    token: str = Field(min_length=8, max_length=64)
    hold: bool


class ErrandRequest(OfSheet):
    """Ask for something that only our service account can do."""

    sheet_id: SheetId = 0
    what: Literal["check", "prepare"]
    allow_images: bool = False


class ErrandLook(OfSheet):
    """Ask what became of it."""

    id: str = Field(min_length=1, max_length=64)


class Spreadsheets(Protocol):
    """Know the spreadsheets (`chalicelib.registry.Registry`)."""

    def get(self, spreadsheet_id: str) -> Registration:
        """Read what is known of one."""

    def set_auto(self, spreadsheet_id: str, sheet_id: int, *, on: bool) -> None:
        """Switch a tab's auto mode."""

    def hold(self, spreadsheet_id: str, token: str, *, now: int, until: int) -> bool:
        """Be the only one who starts rows."""

    def let_go(self, spreadsheet_id: str, token: str) -> None:
        """End what `hold` began."""

    def note_errand(self, spreadsheet_id: str, note: ErrandNote) -> None:
        """Note what becomes of an errand."""

    def unpark(self, spreadsheet_id: str) -> None:
        """Forget why rows were not written."""

    def account(self) -> str:
        """Name our service account."""


class Used(Protocol):
    """Hold what was used (`chalicelib.rates.Usage`)."""

    @property
    def images(self) -> int: ...
    @property
    def gpu_ms(self) -> int: ...


class Books(Protocol):
    """Know what was used (`chalicelib.rates.UsageBook`)."""

    def today(self, spreadsheet_id: str, now: int) -> Used:
        """Say what was used today."""

    def pace_ms(self, workflow_hash: str) -> int | None:
        """Say how long a workflow takes."""


class Workers(Protocol):
    """Know the workers (`chalicelib.crew.Crew`)."""

    def alive(self) -> int:
        """Count those that are alive."""


class Line(Protocol):
    """Know the queue of jobs (`chalicelib.queues.JobQueue`)."""

    def waiting(self) -> int:
        """Count the jobs that wait, all clients' together."""


class News(Hints, Protocol):
    """Send news and errands to completion (`chalicelib.queues.CompletionQueue`)."""

    def ask(self, errand: Errand) -> None:
        """Send an errand."""

    def hint_again(self, job: Job) -> None:
        """Hint at a job whose news was shown before."""


@dataclass(frozen=True)
class Edges:
    """Hold what the panel is handed."""

    ledger: Ledger
    spreadsheets: Spreadsheets
    books: Books
    workers: Workers
    line: Line
    news: News
    now_ms: Callable[[], int]
    gpu_hour_price: float | None = None
    """US dollars."""


class Panel:
    """Answer a spreadsheet, by its key."""

    def __init__(self, edges: Edges) -> None:
        self._edges = edges

    def connection(self, key: SheetKey) -> dict[str, Any]:
        """Say whose the key is and how things stand."""
        there = self._edges.spreadsheets.get(key.spreadsheet_id)
        return {
            "client": key.client_id,
            "key_id": key.key_id,
            "service_account": self._edges.spreadsheets.account(),
            "version": __version__,
            "limits": {"rows_per_request": MAX_ROWS, "queued_max": key.limits.queued_max},
            **self._standing(there),
        }

    def parked(self, key: SheetKey) -> dict[str, str] | None:
        """Say why rows of the spreadsheet are not written now; None: they are."""
        return _parked(self._edges.spreadsheets.get(key.spreadsheet_id).parked)

    def progress(self, key: SheetKey, asked: OfRows) -> dict[str, Any]:
        """Say how far the asked rows are."""
        jobs = self._jobs(key, asked.job_keys)
        shown = list(self._progress(jobs))
        unknown = [name for name in asked.job_keys if name not in {job.job_key for job in jobs}]
        shown += [{"job_key": name, "state": "unknown"} for name in unknown]
        is_busy = any(job.state not in TERMINAL for job in jobs)
        standing = self._standing(self._edges.spreadsheets.get(key.spreadsheet_id))
        return {"jobs": shown, **standing, "poll_s": POLL_S if is_busy else IDLE_POLL_S}

    def cancel(self, key: SheetKey, asked: OfRows) -> dict[str, Any]:
        """Cancel rows, each by itself."""
        edges = self._edges
        # A copied sheet holds the Job IDs of the sheet that it was copied from: those are not its to cancel.
        known = {job.job_key: job.job_id for job in self._jobs(key, asked.job_keys)}
        results: list[dict[str, Any]] = []
        for job_key in asked.job_keys:
            if job_key not in known:
                results.append({"job_key": job_key, "result": "unknown", "state": None})
                continue
            job = cancel(known[job_key], key.client_id, ledger=edges.ledger, hints=edges.news, now_ms=edges.now_ms)
            did = "cancelled" if job.state is State.CANCELED else "ended"
            results.append({"job_key": job_key, "result": did, "state": job.state.value})
        return {"results": results}

    def fetch(self, key: SheetKey, asked: OfRows) -> dict[str, Any]:
        """Have the results of ended rows written once more, and look for rows of those that have none."""
        edges = self._edges
        edges.spreadsheets.unpark(key.spreadsheet_id)
        known = {job.job_key: job for job in self._jobs(key, asked.job_keys)}
        results = []
        for job_key in asked.job_keys:
            job = known.get(job_key)
            if job is None:
                results.append({"job_key": job_key, "result": "unknown"})
                continue
            again = edges.ledger.show_again(job.job_id, now=edges.now_ms())
            if again is not None:
                edges.news.hint_again(again)
            results.append({"job_key": job_key, "result": "under_way" if again is None else "coming"})
        gone = len(edges.ledger.gone(key.spreadsheet_id))
        # Of what a row showed a moment ago the script cannot know that the row was deleted.
        fresh = len(edges.ledger.fresh(key.spreadsheet_id))
        if gone or fresh:
            self._ask("relink", key.spreadsheet_id, asked.sheet_id)
        return {"results": results, "gone": gone, "fresh": fresh}

    def switch_auto(self, key: SheetKey, asked: AutoRequest) -> dict[str, Any]:
        """
        Switch a tab's auto mode on, or that of all tabs off.

        Off is off for the whole spreadsheet: its script takes the lease only while it knows of auto mode somewhere.
        """
        spreadsheets = self._edges.spreadsheets
        there = spreadsheets.get(key.spreadsheet_id)
        if there.client_id != key.client_id:
            # A key lives half a minute longer than its sheet's connection.
            no = "This spreadsheet is not connected any more. Connect it in ComfySheet > Settings."
            raise Rejected("forbidden", no)
        if not asked.on:
            for sheet_id in there.auto_tabs:
                spreadsheets.set_auto(key.spreadsheet_id, sheet_id, on=False)
            return {"on": False}
        if asked.sheet_id not in there.auto_tabs and len(there.auto_tabs) >= AUTO_TABS_MOST:
            raise Rejected(
                "too_many_tabs",
                f"Auto mode is on in {AUTO_TABS_MOST} tabs of this spreadsheet already. Switch it off, then on again "
                "where you need it.",
            )
        spreadsheets.set_auto(key.spreadsheet_id, asked.sheet_id, on=True)
        return {"on": True}

    def claim(self, key: SheetKey, asked: ClaimRequest) -> dict[str, Any]:
        """Hold the right to start rows for a minute, or let it go."""
        spreadsheets, now = self._edges.spreadsheets, self._edges.now_ms()
        if not asked.hold:
            spreadsheets.let_go(key.spreadsheet_id, asked.token)
            return {"held": False, "wait_s": 0}
        held = spreadsheets.hold(key.spreadsheet_id, asked.token, now=now, until=now + HOLD_MS)
        return {"held": held, "wait_s": 0 if held else 3}

    def send_errand(self, key: SheetKey, asked: ErrandRequest) -> dict[str, Any]:
        """Send an errand; its id."""
        return {"id": self._ask(asked.what, key.spreadsheet_id, asked.sheet_id, allow_images=asked.allow_images)}

    def look_at_errand(self, key: SheetKey, asked: ErrandLook) -> dict[str, Any]:
        """Say what became of it."""
        note = self._edges.spreadsheets.get(key.spreadsheet_id).errand
        if note is None or note.id != asked.id:
            return {"state": "failed", "message": "Something else was asked for meanwhile. Try again."}
        return {"state": note.state, "message": note.message}

    # -- parts --------------------------------------------------------------------------------------------------

    def _ask(
        self,
        what: Literal["check", "prepare", "relink"],
        spreadsheet_id: str,
        sheet_id: int,
        *,
        allow_images: bool = False,
    ) -> str:
        name = secrets.token_hex(8)
        self._edges.spreadsheets.note_errand(spreadsheet_id, ErrandNote(id=name, state="waiting"))
        errand = Errand(
            errand=what, spreadsheet_id=spreadsheet_id, id=name, sheet_id=sheet_id, allow_images=allow_images
        )
        self._edges.news.ask(errand)
        return name

    def _jobs(self, key: SheetKey, job_keys: Sequence[str]) -> list[Job]:
        jobs = self._edges.ledger.get_many([job_id_of(key.client_id, name) for name in dict.fromkeys(job_keys)])
        # Another spreadsheet of the same client has keys of its own.
        return [job for job in jobs if job.target is not None and job.target.spreadsheet_id == key.spreadsheet_id]

    def _standing(self, there: Registration) -> dict[str, Any]:
        used = self._edges.books.today(there.spreadsheet_id, self._edges.now_ms())
        price = self._edges.gpu_hour_price
        cost = None if price is None else f"${used.gpu_ms / 3_600_000 * price:.2f}"
        return {
            "usage": {"images": used.images, "gpu_s": used.gpu_ms / 1000, "cost": cost},
            "auto": bool(there.auto_tabs),
            "parked": _parked(there.parked),
            "workers": self._edges.workers.alive(),
            "waiting": self._edges.line.waiting(),
        }

    def _progress(self, jobs: Sequence[Job]) -> Iterable[dict[str, Any]]:
        now = self._edges.now_ms()
        pace = {each: self._edges.books.pace_ms(each) for each in {job.workflow_hash for job in jobs}}
        hands = max(1, self._edges.workers.alive())
        running = [job for job in jobs if job.state is State.RUNNING]
        queued = sorted((job for job in jobs if job.state is State.QUEUED), key=lambda job: job.enqueued_at)
        ahead_ms = 0.0
        for job in running:
            left = left_ms(job, now, pace)
            ahead_ms += left or 0
            yield _shown(job, None, left)
        for place, job in enumerate(queued, start=1):
            own_ms = pace[job.workflow_hash]
            ahead_ms += own_ms or 0
            yield _shown(job, place, None if own_ms is None else ahead_ms / hands)
        yield from (_shown(job, None, None) for job in jobs if job.state in TERMINAL)


def _shown(job: Job, place: int | None, left: float | None) -> dict[str, Any]:
    progress = job.progress if job.state is State.RUNNING else None
    return {
        "job_key": job.job_key,
        "state": job.state.value,
        "fraction": progress.fraction if progress else None,
        "node": progress.node_class if progress else None,
        "step": progress.step if progress else None,
        "steps": progress.steps if progress else None,
        "position": place,
        "eta_s": None if left is None else max(1, round(left / 1000)),
        "error": job.error.sentence() if job.error else None,
        "page": gallery_link(job),
    }


def _parked(parked: Parked | None) -> dict[str, str] | None:
    if parked is None:
        return None
    since = datetime.fromtimestamp(parked.since / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"reason": parked.reason, "since": since}
