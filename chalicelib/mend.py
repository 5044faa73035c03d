"""
Write rows, see in the answer which rows were hit, and put right what was hit by mistake.

People sort, insert and move while we write; Sheets has no "write only if". So every write is judged by its own answer.
A row that was hit by mistake is looked for (it may have moved again) by the texts it shows, and gets back what it held;
that is a write like any other, and judged like it, until nothing is wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Protocol

from chalicelib.cells import Cell, Moved, Place, Tab, Time, note_to_write
from chalicelib.contract.errors import Unavailable

log = logging.getLogger(__name__)

ROUNDS: Final = 16
"""How often rows that move away under our hands are followed, before what is left is given up and logged.

A round takes Google about a second. Two people with twenty edits a second outran eight rounds once in fifty runs.
"""

ADDRESS: Final = ("https://", "http://")
REST_S: Final = 2.0
REST_MOST_S: Final = 20.0
"""How long to wait for a Google that is busy while something is wrong; the Lambda has 60 s in all."""


@dataclass(frozen=True)
class Held:
    """
    Put back what a cell held: the entered value as ExtendedValue (None: nothing), its note (None: leave it), and its
    own number format as NumberFormat (empty: it had none; None: leave it), over which a time brings that of a date.
    """

    value: Mapping[str, object] | None
    note: str | None = None
    form: Mapping[str, object] | None = None


class SheetStore(Protocol):
    """Read and write tabs (`chalicelib.sheet.Sheets`). What is *urgent* may use calls that are kept for it."""

    def read(self, spreadsheet_id: str, sheet_id: int, *, urgent: bool = False) -> Tab:
        """Read a tab."""

    def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell | Held]], *, urgent: bool = False) -> Tab:
        """Write cells by row and column; answer what header and rows hold now."""

    def rest(self, seconds: float) -> None:
        """Let some time pass."""


@dataclass(frozen=True)
class Damage:
    """Describe a row that was hit by mistake."""

    row: int
    """Where it was hit."""
    source: int | None
    """Where it was before that, when the tab was read; None: it was not there, or blank."""
    texts: Mapping[str, str]
    """What it shows since then, by column name."""
    before: Mapping[str, Held]
    """What the cells held that were hit, by column name."""
    guess: Mapping[str, str] | None
    """What *source* showed, if it was only taken for that row, for somebody typed into it since; None: it is sure."""
    meant: Mapping[str, str]
    """What the row shows for which it was written: its Job ID and its prompt, by our names of the columns."""


def write(sheets: SheetStore, tab: Tab, plan: Mapping[int, Mapping[int, Cell | Held]]) -> set[int]:
    """
    Write *plan* (cells by row and column of *tab*, as it was read); answer the rows that were not where they were.

    Those rows' cells are not written anywhere, and whatever was hit in their place is as before. Raise as
    `SheetStore.write`.
    """
    damages = judge(tab, plan, sheets.write(tab, plan))
    missed = {damage.row for damage in damages}
    rounds, rested_s = 0, 0.0
    while damages and rounds < ROUNDS:
        log.info("rows moved", extra={"action": "restored", "rows": len(damages)})
        try:
            damages = _mend(sheets, tab, damages)
            rounds += 1
        except Unavailable as trouble:
            # What is wrong now is known only here: it is worth waiting for.
            rest_s = min(max(trouble.retry_in_s or REST_S, 0.1), REST_MOST_S - rested_s)
            if rest_s <= 0:
                log.error("rows could not be put right", extra={"action": "given up", "rows": len(damages)})
                raise
            sheets.rest(rest_s)
            rested_s += rest_s
    if damages:
        log.error("rows could not be put right", extra={"action": "given up", "rows": len(damages)})
    return missed


def judge(tab: Tab, written: Mapping[int, Mapping[int, Cell | Held]], after: Tab) -> list[Damage]:
    """
    Say which rows were hit by mistake.

    *tab* is what was read before, *written* the cells that were written by row and column, *after* what the write's
    answer shows of these rows and the header. Rows and columns may have moved in between.
    """
    found = []
    width = max(len(tab.header), len(after.header))
    then, now = (each.names + ("",) * (width - len(each.header)) for each in (tab, after))
    watched = {column for name, column in tab.columns.items() if name in ("job_id", "prompt")}
    for row, cells in written.items():
        stayed = all(then[column] == now[column] for column in watched | set(cells))
        if stayed and _is_same_row(tab, row, after, cells):
            continue
        untouched = after.named_texts(row, leave=cells.keys())
        source = _source(tab, row, untouched)
        guess = None
        if source is None:
            source = _most_alike(tab, row, after, untouched)
            guess = None if source is None else tab.named_texts(source)
        before = {}
        for column, cell in cells.items():
            there = None if source is None or now[column] not in then else (source, then.index(now[column]))
            before[now[column]] = _held_at(
                tab, there, note=_touches_note(cell, tab.notes.get((row, column), "")), form=_touches_form(cell)
            )
        found.append(Damage(row, source, after.named_texts(row), before, guess, _identity(tab, row)))
    return found


def _is_same_row(tab: Tab, row: int, after: Tab, cells: Mapping[int, Cell | Held]) -> bool:
    """
    Say whether *row* still is the row that it was: by its Job ID and prompt, unless just these were written.

    Rows without a Job ID may share a prompt: of those it must be the one that is most alike.
    """
    columns, untouched = tab.columns, after.named_texts(row, leave=cells.keys())
    kept = [columns[name] for name in ("job_id", "prompt") if name in columns and columns[name] not in cells]
    if not any(tab.texts.get((row, at), "") for at in kept):
        return tab.named_texts(row, leave=cells.keys()) == untouched
    if any(tab.texts.get((row, at), "") != after.texts.get((row, at), "") for at in kept):
        return False
    if tab.text(row, "job_id") and columns["job_id"] in kept:
        return True
    return _source(tab, row, untouched) == row or _most_alike(tab, row, after, untouched) == row


def _touches_note(cell: Cell | Held, there: str) -> bool:
    return cell.note is not None if isinstance(cell, Held) else note_to_write(cell, there) is not None


def _touches_form(cell: Cell | Held) -> bool:
    return cell.form is not None if isinstance(cell, Held) else isinstance(cell, Time)


def _held_at(tab: Tab, place: Place | None, *, note: bool, form: bool) -> Held:
    """Say what a cell held when *tab* was read (None: it was not there), with *note* and *form* if they were hit."""
    if place is None:
        return Held(None, "" if note else None, {} if form else None)
    return Held(
        tab.entered.get(place), tab.notes.get(place, "") if note else None, tab.forms.get(place, {}) if form else None
    )


def _source(tab: Tab, row: int, untouched: Mapping[str, str]) -> int | None:
    """
    Find which row of *tab* it is whose *untouched* texts (by column name) now stand at *row*; None: there is none.

    Where several look alike the one that stood there is meant: columns move more often than both at once.
    """
    for candidate, before in chain([(row, tab.named_texts(row))], tab.shown.items()):
        if _agrees(before, untouched):
            return candidate
    return None


def _most_alike(tab: Tab, row: int, after: Tab, untouched: Mapping[str, str]) -> int | None:
    """
    Find which row of *tab* it may be, if somebody typed into it since: of those with its Job ID or its prompt the one
    that is most alike, the one that stood there first. None: a new or blank one.
    """
    names = [after.names[at] for name, at in after.columns.items() if name in ("job_id", "prompt")]
    own = [name for name in names if untouched.get(name)]
    rows = {row: tab.named_texts(row), **tab.shown}
    related = [each for each, texts in rows.items() if any(texts.get(name) == untouched[name] for name in own)]
    return max(related, key=lambda each: _likeness(rows[each], untouched), default=None)


def _likeness(texts: Mapping[str, str], wanted: Mapping[str, str]) -> int:
    """Count the columns in which a row's *texts* are as *wanted*."""
    return sum(texts.get(name, text) == text for name, text in wanted.items())


def _agrees(texts: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Say whether a row's *texts* are as *wanted*, in the columns that both have."""
    return all(texts.get(name, text) == text for name, text in wanted.items())


def _mend(sheets: SheetStore, tab: Tab, damages: Sequence[Damage]) -> list[Damage]:
    """Put back what was there, wherever the rows are by now; answer what is wrong after that."""
    now = sheets.read(tab.spreadsheet_id, tab.sheet_id, urgent=True)
    placed = _places(now, damages)
    for row, damage in [*placed.items()]:
        placed |= dict.fromkeys(_copies(now, row, damage, taken=placed), damage)
    plan: dict[int, dict[int, Cell | Held]] = {row: {**_held(now, row, damage)} for row, damage in placed.items()}
    if not plan:
        return []
    try:
        after = sheets.write(now, plan, urgent=True)
    except Moved:
        return [*placed.values()]
    wrong = judge(now, plan, after)
    # A row that was to be mended and was hit once more: what it held at first is what it is to hold.
    again = {damage.source: placed[damage.source] for damage in wrong if damage.source in placed}
    hit = [
        replace(damage, before={**damage.before, **again[damage.source].before}) if damage.source in again else damage
        for damage in wrong
    ]
    # What was meant and not hit is still to be mended. Of a bare row nobody can tell whether it was hit: look again.
    missed = {damage.row for damage in wrong}
    left = [each for row, each in placed.items() if _is_bare(now, row) or row in missed]
    return hit + left


def _held(now: Tab, row: int, damage: Damage) -> dict[int, Held]:
    """Say what a row gets back, by column. What somebody typed there since then is theirs."""
    at = {name: column for column, name in reversed([*enumerate(now.names)]) if name}
    still = {name for name, text in now.shown[row].items() if damage.texts.get(name, text) == text}
    return {at[name]: held for name, held in damage.before.items() if name in at and name in still}


def _copies(now: Tab, row: int, damage: Damage, taken: Collection[int]) -> list[int]:
    """Find the rows that somebody made of *row* after it was hit: the same Job ID and prompt, and our links, too."""
    links, own = _links(now, damage), _identity(now, row)
    if not links or not any(own.values()):
        return []
    rows = (each for each, texts in now.shown.items() if each not in taken and _agrees(texts, links))
    return [each for each in rows if _identity(now, each) == own]


def _places(now: Tab, damages: Sequence[Damage]) -> dict[int, Damage]:
    """
    Say which row each damage is in by now, if it is to be put right there.

    What shows all that a damage left behind is given to it before another one looks for what it wrote, or for its links
    alone: a link is of one job, and in a row that is not that job's nothing else would take it away again.
    """
    placed: dict[int, Damage] = {}
    waiting = [_blank_if_new(now, damage) for damage in damages]
    for look in (_all_texts, _our_texts, _links):
        for damage in [*waiting]:
            wanted = look(now, damage)
            fit = (row for row in _free_rows(now, damage, placed) if wanted and _agrees(now.shown[row], wanted))
            row = next((each for each in fit if look is not _links or not _is_meant(now, each, damage)), None)
            if row is None:
                continue  # mended already (a blank row looks like any other, so it is looked for once more), or gone
            waiting.remove(damage)
            if _held(now, row, damage):
                placed[row] = damage
    return placed


def _blank_if_new(now: Tab, damage: Damage) -> Damage:
    """Have a new row get blanks: it is one if the row for which it was taken still stands somewhere as it did."""
    if damage.guess is None or not any(_agrees(texts, damage.guess) for texts in now.shown.values()):
        return damage
    blank = {
        name: _held_at(now, None, note=held.note is not None, form=held.form is not None)
        for name, held in damage.before.items()
    }
    return replace(damage, source=None, before=blank, guess=None)


def _free_rows(now: Tab, damage: Damage, taken: Collection[int]) -> list[int]:
    """List the rows that are not *taken*. Where it was hit comes first: of rows that look alike it is the likeliest."""
    rows = dict.fromkeys([damage.row, *now.shown])
    return [row for row in rows if row in now.shown and row not in taken]


def _all_texts(_now: Tab, damage: Damage) -> Mapping[str, str]:
    """Give all that the row shows since it was hit."""
    return damage.texts


def _our_texts(now: Tab, damage: Damage) -> Mapping[str, str]:
    """Give what we wrote, and what the row is known by: somebody typed into its other cells."""
    identity = {now.names[at] for name, at in now.columns.items() if name in ("job_id", "prompt")}
    return {name: text for name, text in damage.texts.items() if name in damage.before or name in identity}


def _links(_now: Tab, damage: Damage) -> Mapping[str, str]:
    """Give the links that were written, by column name."""
    return {name: text for name, text in damage.texts.items() if name in damage.before and text.startswith(ADDRESS)}


def _identity(tab: Tab, row: int) -> dict[str, str]:
    """Give a row's Job ID and prompt, by our names of the columns."""
    return {name: tab.texts.get((row, at), "") for name, at in tab.columns.items() if name in ("job_id", "prompt")}


def _is_meant(now: Tab, row: int, damage: Damage) -> bool:
    """Say whether a row may be the one that was meant: by its Job ID or its prompt."""
    return any(text and damage.meant.get(name) == text for name, text in _identity(now, row).items())


def _is_bare(tab: Tab, row: int) -> bool:
    """Say whether a row has neither Job ID nor prompt."""
    return not any(_identity(tab, row).values())
