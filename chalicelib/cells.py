"""
Know the sheet's words: which header is which column, what a job's cells say, and which row is whose.

Pure. A row belongs to a job when its Job ID cell holds the job's key and its prompt still is the one that was asked
for. Text is always typed text; the only formula that is ever written is our own =IMAGE().
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chalicelib.contract.job import Job, prompt_fingerprint
from chalicelib.contract.states import CELL_WORD, State
from chalicelib.contract.words import fold
from chalicelib.links import output_link, thumbnail_link

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "prompt": ("Prompt", "positive prompt", "positive", "text"),
    "workflow": ("Workflow", "workflow id", "template"),
    "status": ("Status", "state"),
    "output_url": ("Output URL", "output", "output link", "result", "result url"),
    "preview": ("Preview", "thumbnail", "picture"),
    "started_at": ("Started at", "started", "start time"),
    "finished_at": ("Finished at", "finished", "completed at", "end time"),
    "seed": ("Seed",),
    "error": ("Error", "error message", "message"),
    "job_id": ("Job ID", "job", "jobid"),
}
"""Our columns by name: the header that set-up writes, then what else is recognised; apps_script/Columns.js agrees."""

MAX_CELL_TEXT: Final = 200
"""An error sentence is cut here; a cell is no place for more."""

MAX_EXACT: Final = 2**53
"""The largest whole number that a sheet's number cell holds exactly."""

ROW_CHANGED: Final = (
    "The prompt of this row was changed after it was sent, so its picture was not put here. "
    "Generate the row again for the new prompt."
)

_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_EPOCH: Final = datetime(1899, 12, 30)


_NAME_OF: Final = {fold(word): name for name, words in COLUMNS.items() for word in words}


def prompt_of(inputs: Mapping[str, object]) -> str:
    """Find the prompt's text among *inputs* keyed by header; none: empty."""
    return next((str(value) for header, value in inputs.items() if _NAME_OF.get(fold(header)) == "prompt"), "")


def find_columns(header: Sequence[str]) -> dict[str, int]:
    """Say where our columns are (0-based); of two headers for the same column the first counts."""
    places: dict[str, int] = {}
    for index, text in enumerate(header):
        name = _NAME_OF.get(fold(text))
        if name is not None:
            places.setdefault(name, index)
    return places


@dataclass(frozen=True)
class Text:
    """Write text, never parsed; empty text clears the cell."""

    text: str


@dataclass(frozen=True)
class Number:
    """Write a number."""

    number: float | int


@dataclass(frozen=True)
class Time:
    """Write a moment as the sheet's serial day number, in the spreadsheet's own time zone."""

    serial: float


@dataclass(frozen=True)
class Image:
    """Write our one formula, =IMAGE("url")."""

    url: str

    @property
    def formula(self) -> str:
        """Give the formula. Our links hold no quote; one would end the string, so it is refused."""
        if '"' in self.url:
            raise ValueError("a link with a quote cannot stand in a formula")
        return f'=IMAGE("{self.url}")'


Cell = Text | Number | Time | Image


def serial_day(ms: int, time_zone: str) -> float:
    """Turn a moment into Sheets' serial day number (days since 1899-12-30) on the wall clock of *time_zone*."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    local = datetime.fromtimestamp(ms / 1000, zone).replace(tzinfo=None)
    return round((local - _EPOCH) / timedelta(days=1), 8)


def clean_text(text: str) -> str:
    """Make a sentence fit for a cell: one line, no control characters, at most `MAX_CELL_TEXT` characters."""
    line = " ".join(_UNSEEN.sub(" ", text).split())
    return line if len(line) <= MAX_CELL_TEXT else line[: MAX_CELL_TEXT - 1].rstrip() + "…"


def cells_of(job: Job, time_zone: str) -> dict[str, Cell]:
    """
    Say what the row of *job* shows, by column name; columns that are not named are left alone.

    The last good picture stays in the row until a new one replaces it.
    """
    cells: dict[str, Cell] = {"status": Text(CELL_WORD[job.state])}
    nothing = Text("")
    if job.state is State.QUEUED:
        return cells
    cells["started_at"] = Time(serial_day(job.started_at, time_zone)) if job.started_at else nothing
    cells["finished_at"] = Time(serial_day(job.finished_at, time_zone)) if job.finished_at else nothing
    cells["error"] = Text(clean_text(job.error.sentence())) if job.error else nothing
    if job.state is State.SUCCEEDED and job.outputs:
        first = next((n for n, output in enumerate(job.outputs) if output.thumbnail_key), None)
        cells["output_url"] = Text(output_link(job, first or 0))
        cells["preview"] = nothing if first is None else Image(thumbnail_link(job, first))
    seed = job.inputs.get("seed")
    if job.state is State.SUCCEEDED and isinstance(seed, int):
        cells["seed"] = Number(seed) if seed < MAX_EXACT else Text(str(seed))
    return cells


def changed_cells() -> dict[str, Cell]:
    """Say what a row shows when its prompt is no longer the one that was rendered."""
    return {"status": Text(CELL_WORD[State.FAILED]), "error": Text(ROW_CHANGED)}


@dataclass(frozen=True)
class RowMatch:
    """Name a row (0-based) that carries a job's key, and whether its prompt is still the job's."""

    row: int
    job: Job
    same_prompt: bool


def match_rows(job_ids: Mapping[int, str], prompts: Mapping[int, str] | None, jobs: Sequence[Job]) -> list[RowMatch]:
    """
    Find the rows of *jobs*: *job_ids* and *prompts* are the displayed texts by row.

    A copied row carries the same key and prompt and gets the same result; a sheet without a prompt column (None) is
    matched by key alone.
    """
    by_key = {job.job_key: job for job in jobs}
    found = []
    for row, text in job_ids.items():
        job = by_key.get(text.strip())
        if job is None or job.target is None:
            continue
        same = prompts is None or prompt_fingerprint(prompts.get(row, "")) == job.target.prompt_hash
        found.append(RowMatch(row, job, same))
    return found


class Unreachable(Exception):
    """Say that a sheet cannot be written to for a reason that time alone does not heal."""

    def __init__(self, reason: str, *, may_heal: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_heal = may_heal
        """True: a person can undo the cause (share the sheet again)."""


class Moved(Exception):
    """Say that a tab changed between our read and our write (renamed, or columns deleted): read it again."""


Place = tuple[int, int]
"""A cell: row and column, 0-based."""


@dataclass(frozen=True)
class Tab:
    """Hold what was read of one tab: its header row, what every cell shows, and what was entered there."""

    spreadsheet_id: str
    sheet_id: int
    title: str
    time_zone: str
    header: tuple[str, ...]
    texts: Mapping[Place, str]
    """Displayed texts; empty cells are left out."""
    entered: Mapping[Place, Mapping[str, object]]
    """What was entered, as the Sheets API's ExtendedValue; empty cells are left out."""

    @property
    def columns(self) -> dict[str, int]:
        """Say where our columns are, by name."""
        return find_columns(self.header)

    def column_texts(self, name: str) -> dict[int, str] | None:
        """Give the texts of one of our columns by row, the header left out; None: there is no such column."""
        column = self.columns.get(name)
        if column is None:
            return None
        return {row: text for (row, at), text in self.texts.items() if at == column and row > 0}

    def identity(self, row: int) -> tuple[str, str]:
        """Tell one row from another, wherever it is: by the texts of its Job ID and its prompt."""
        columns = self.columns
        job_id, prompt = (self.texts.get((row, columns.get(name, -1)), "") for name in ("job_id", "prompt"))
        return job_id, prompt

    def named_texts(self, row: int, leave: Collection[int] = ()) -> dict[str, str]:
        """Give a row's texts by header, the columns of *leave* and those without a header left out."""
        return {
            header: self.texts.get((row, column), "")
            for column, header in enumerate(self.header)
            if header and column not in leave
        }


def repairs(
    tab: Tab, written: Mapping[int, Collection[int]], after: Tab
) -> dict[int, dict[int, Mapping[str, object] | None]]:
    """
    Say what has to be put back where a write hit cells that it was not meant for.

    *tab* is what was read before, *written* the columns that were written by row, *after* what the write's answer shows
    of these rows and the header. Rows and columns may have moved in between. The answer gives, by row and column,
    what the cell held that was hit (None: nothing); rows that were hit as meant are not in it.
    """
    found: dict[int, dict[int, Mapping[str, object] | None]] = {}
    width = max(len(tab.header), len(after.header))
    then, now = (each.header + ("",) * (width - len(each.header)) for each in (tab, after))
    watched = {column for name, column in tab.columns.items() if name in ("job_id", "prompt")}
    for row, columns in written.items():
        stayed = all(then[column] == now[column] for column in watched | set(columns))
        if stayed and after.identity(row) == tab.identity(row):
            continue
        source = _source(tab, row, after.named_texts(row, leave=columns))
        found[row] = {
            column: tab.entered.get((source, then.index(now[column])))
            if source is not None and now[column] in then
            else None
            for column in columns
        }
    return found


def _source(tab: Tab, row: int, untouched: Mapping[str, str]) -> int | None:
    """
    Find which row of *tab* it is whose *untouched* texts (by header) now stand at *row*; None: a new or blank one.

    Where several look alike the one that stood there is meant: columns move more often than both at once.
    """
    for candidate in [row, *sorted({each for each, _ in tab.texts if each > 0})]:
        before = tab.named_texts(candidate)
        if all(before.get(header, text) == text for header, text in untouched.items()):
            return candidate
    return None
