"""
Know the sheet's words: which header is which column, what a job's cells say, and which row is whose.

Pure. A row belongs to a job when its Job ID cell holds the job's key and its prompt still is the one that was asked
for. Text is always typed text; the only formula that is ever written is our own =IMAGE().
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chalicelib.contract.job import Job, prompt_fingerprint
from chalicelib.contract.states import CELL_WORD, OPEN, State
from chalicelib.contract.words import fold
from chalicelib.links import gallery_link, output_link, thumbnail_link

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
    "run": ("Run",),
    "job_id": ("Job ID", "job", "jobid"),
    "submitted_by": ("Submitted by",),
}
"""Our columns by name: the header that set-up writes, then what else is recognised; apps_script/Headers.js agrees."""

MAX_CELL_TEXT: Final = 200
"""An error sentence is cut here; a cell is no place for more."""

MAX_NOTE: Final = 2_000
"""A note is cut here."""

NOTE_MARK: Final = "ComfySheet"
"""How every note of ours begins; other people's notes are never touched. apps_script knows it too."""

MAX_EXACT: Final = 2**53
"""The largest whole number that a sheet's number cell holds exactly."""

ROW_CHANGED: Final = (
    "The prompt of this row was changed after it was sent, so its picture was not put here. "
    "Generate the row again for the new prompt."
)

_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_OFFSET: Final = re.compile(r"(?:GMT|UTC)([+-])([01]?\d|2[0-3]):?([0-5]\d)")
_EPOCH: Final = datetime(1899, 12, 30)


_NAME_OF: Final = {fold(word): name for name, words in COLUMNS.items() for word in words}
UNDER_WAY: Final = frozenset(CELL_WORD[state] for state in OPEN)
"""What Status says while a job is open."""

_NAME_OF_LABEL: Final = {name.replace("_", ""): name for name in COLUMNS}


def prompt_of(inputs: Mapping[str, object]) -> str:
    """Find the prompt's text among *inputs* keyed by header; none: empty."""
    return next((str(value) for header, value in inputs.items() if _NAME_OF.get(fold(header)) == "prompt"), "")


def find_columns(header: Sequence[str], labels: Mapping[int, str] | None = None) -> dict[str, int]:
    """
    Say where our columns are (0-based); of two headers for the same column the first counts.

    *labels* are what set-up wrote into columns' developer metadata, by column: a header that was renamed is known by
    its label, unless another column has the name.
    """
    places: dict[str, int] = {}
    for index, text in enumerate(header):
        name = _NAME_OF.get(fold(text))
        if name is not None:
            places.setdefault(name, index)
    taken = set(places.values())
    for index, label in sorted((labels or {}).items()):
        # The script writes its own names: outputUrl, jobId.
        name = _NAME_OF_LABEL.get(fold(label).replace(" ", ""))
        if name is not None and index not in taken:
            places.setdefault(name, index)
    return places


@dataclass(frozen=True)
class Text:
    """Write text, never parsed; empty text clears the cell. A *note* of ours goes with it; none takes ours away."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Number:
    """Write a number."""

    number: float | int


@dataclass(frozen=True)
class Tick:
    """Write a checkbox's value."""

    is_on: bool


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


Cell = Text | Number | Tick | Time | Image


def serial_day(ms: int, time_zone: str) -> float:
    """Turn a moment into Sheets' serial day number (days since 1899-12-30) on the wall clock of *time_zone*."""
    local = datetime.fromtimestamp(ms / 1000, _zone(time_zone)).replace(tzinfo=None)
    return round((local - _EPOCH) / timedelta(days=1), 8)


def _zone(name: str) -> tzinfo:
    """Find a time zone: by its name, or of the kind GMT-07:00, as Google calls one that it does not know."""
    if match := _OFFSET.fullmatch(name):
        hours, minutes = int(match[2]), int(match[3])
        return timezone((1 if match[1] == "+" else -1) * timedelta(hours=hours, minutes=minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _line(text: str) -> str:
    return " ".join(_UNSEEN.sub(" ", text).split())


def clean_text(text: str) -> str:
    """Make a sentence fit for a cell: one line, no control characters, at most `MAX_CELL_TEXT` characters."""
    line = _line(text)
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
    cells["error"] = Text(clean_text(job.error.sentence()), error_note(job)) if job.error else nothing
    if job.state is State.SUCCEEDED and job.outputs:
        first = next((n for n, output in enumerate(job.outputs) if output.thumbnail_key), None)
        cells["output_url"] = Text(output_link(job, first or 0), outputs_note(job))
        cells["preview"] = nothing if first is None else Image(thumbnail_link(job, first))
    seed = job.inputs.get("seed")
    if job.state is State.SUCCEEDED and isinstance(seed, int):
        cells["seed"] = Number(seed) if seed < MAX_EXACT else Text(str(seed))
    return cells


def error_note(job: Job) -> str:
    """Say in a note what the Error cell has no room for: the whole sentence, the node, and how to ask about it."""
    if job.error is None:
        return ""
    lines = [f"{NOTE_MARK}: {_line(job.error.sentence())}"]
    if job.error.node_class:
        lines.append(f"Node: {_line(job.error.node_class)} ({job.error.node})")
    lines += [f"Attempts: {job.attempt}", f"Job: {job.job_id}", f"All about it: {gallery_link(job)}"]
    return "\n".join(lines)[:MAX_NOTE]


def outputs_note(job: Job) -> str:
    """List all files of a job that has several, and the page that shows them."""
    if len(job.outputs) < 2:
        return ""
    lines = [f"{NOTE_MARK}: {len(job.outputs)} files, all on one page:", gallery_link(job), ""]
    for number, output in enumerate(job.outputs):
        size = f", {output.width_px} × {output.height_px}" if output.width_px and output.height_px else ""
        lines.append(f"{number + 1}. {output.kind}{size}: {output_link(job, number)}")
    note = "\n".join(lines)
    return note if len(note) <= MAX_NOTE else note[:MAX_NOTE].rpartition("\n")[0] + "\n…"


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

    def __init__(self, reason: str, *, may_heal: bool, of_tab: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.of_tab = of_tab
        """True: other tabs of the spreadsheet can be written."""
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
    notes: Mapping[Place, str] = field(default_factory=dict)
    values: Mapping[Place, Mapping[str, object]] = field(default_factory=dict)
    """What cells are worth, as ExtendedValue, where that was asked for."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """What set-up called columns, by column."""
    forms: Mapping[Place, Mapping[str, object]] = field(default_factory=dict)
    """Number formats that cells were given, as the Sheets API's NumberFormat; cells without one are left out."""

    @cached_property
    def columns(self) -> dict[str, int]:
        """Say where our columns are, by name."""
        return find_columns(self.header, self.labels)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Tell one column from another: by its label, else by its header."""
        return tuple(f"\0{self.labels[at]}" if at in self.labels else text for at, text in enumerate(self.header))

    def text(self, row: int, name: str) -> str:
        """Give what the cell of one of our columns shows; empty also where there is no such column."""
        return self.texts.get((row, self.columns.get(name, -1)), "")

    def placed(self, cells: Mapping[str, Cell]) -> dict[int, Cell]:
        """Say where cells of our columns go in a row; those of columns that the tab has not are left out."""
        return {self.columns[name]: cell for name, cell in cells.items() if name in self.columns}

    def headed(self, row: int) -> dict[str, int]:
        """Say which columns of *row* hold something below a header: the header's text and the column."""
        return {text: at for at, text in enumerate(self.header) if text and (row, at) in self.texts}

    def column_texts(self, name: str) -> dict[int, str] | None:
        """Give the texts of one of our columns by row, the header left out; None: there is no such column."""
        column = self.columns.get(name)
        if column is None:
            return None
        return self._by_column.get(column, {})

    @cached_property
    def _by_column(self) -> dict[int, dict[int, str]]:
        """Sort the texts below the header by column, once: a large tab is asked for several of them."""
        found: dict[int, dict[int, str]] = {}
        for (row, at), text in self.texts.items():
            if row > 0:
                found.setdefault(at, {})[row] = text
        return found

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """List the rows that show anything, below the header, in their order."""
        return tuple(sorted({row for row, _ in self.texts if row > 0}))

    @cached_property
    def shown(self) -> dict[int, dict[str, str]]:
        """Give every row's texts by column name: who compares rows with rows wants them more than once."""
        return {row: self.named_texts(row) for row in self.rows}

    def named_texts(self, row: int, leave: Collection[int] = ()) -> dict[str, str]:
        """Give a row's texts by column name, the columns of *leave* and those without a header left out."""
        return {
            name: self.texts.get((row, column), "")
            for column, name in enumerate(self.names)
            if name and column not in leave
        }


def note_to_write(cell: Cell, there: str) -> str | None:
    """Say which note goes with *cell* where *there* stands one; None: leave it. Other people's notes stay."""
    if not isinstance(cell, Text) or not (there == "" or there.startswith(NOTE_MARK)):
        return None
    return cell.note if cell.note != there else None
