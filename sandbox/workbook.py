"""
Model the spreadsheet that the sandbox's page, Apps Script runtime and Sheets v4 endpoint share.

    book = Workbook("demo", "Renders", time_zone="Europe/Berlin")
    sheet = book.add_sheet("Renders")
    with book.editing("script"):             # one lock, one notice to the listeners; nests
        sheet.set_cell(1, 0, "=not a formula")   # unparsed: text stays text, Formula("=...") is a formula
        sheet.enter(1, 1, "=1+1")                # as typed: parsed

- One RLock per workbook (`book.lock`); `editing` takes it. `atomic` does the same and
  undoes everything on an exception.
- Listeners are called under the lock, once per touched sheet, at the end of the outermost `editing`: hand the news on
  and return.
- Edits of people (`editing("person", user)`) can be undone by them: `undo(user)`, `redo(user)`.
- Indexes are 0-based, ends exclusive.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import RLock
from typing import Any, Final, Literal

from sandbox.workbook_areas import (
    OPEN,
    Area,
    Axis,
    ConditionalFormat,
    Dimension,
    FilterView,
    Metadata,
    Protected,
    Refused,
    column_name,
)
from sandbox.workbook_cells import (
    MAX_CELL_CHARS,
    TOO_LONG,
    Cell,
    CellError,
    Effective,
    Format,
    Formula,
    Picture,
    Value,
    colour_of,
    hex_of,
    moment_of,
    serial_of,
)
from sandbox.workbook_formats import Typed, display, read_typed
from sandbox.workbook_history import CellWas, Deed, History, TabAdded, TabDeleted
from sandbox.workbook_kept import metadata_from_json, metadata_to_json, sheet_from_json, sheet_to_json
from sandbox.workbook_sheet import DEFAULT_COLUMN_WIDTH, DEFAULT_ROW_HEIGHT, KEEP, Sheet
from sandbox.workbook_undo import undo_deed

__all__ = [
    "DEFAULT_COLUMN_WIDTH", "DEFAULT_ROW_HEIGHT", "KEEP", "MAX_CELL_CHARS", "OPEN", "OWNER", "TOO_LONG",
    "Area", "Axis", "Books", "Cell", "CellEdit", "CellError", "Change", "ConditionalFormat", "Dimension", "Effective",
    "FilterView", "Format", "Formula", "Metadata", "Picture", "Protected", "Refused", "Sheet", "Typed", "Value", "Who",
    "Workbook",
    "colour_of", "column_name", "display", "hex_of", "moment_of", "parse_user_entered", "read_typed", "serial_of",
]  # fmt: skip

Who = Literal["person", "script", "api"]
#: Whoever edits without a name, and whom no protection stops.
OWNER: Final = "user@example.com"
_LOG_LENGTH: Final = 200_000


@dataclass(frozen=True, slots=True)
class Change:
    """Tell a listener what changed: *cells* are (row, col) pairs, None means the structure did (redraw the sheet)."""

    version: int
    sheet_id: int
    cells: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True, slots=True)
class CellEdit:
    """Log who changed which cell from what to what."""

    who: Who
    sheet_id: int
    row: int
    col: int
    before: Cell
    after: Cell


def parse_user_entered(text: str) -> Value:
    """Read *text* as typing does. `read_typed` also tells the number format; Sheet.enter applies both to a cell."""
    typed = read_typed(text)
    return Formula(str(typed.value)) if typed.is_formula else typed.value


class Workbook:
    """Be one spreadsheet: its sheets, who may edit it, and who hears of its changes."""

    def __init__(self, spreadsheet_id: str, title: str, time_zone: str = "Etc/UTC", locale: str = "en_US") -> None:
        """Make a workbook without sheets; add one at least (`add_sheet`)."""
        self.spreadsheet_id = spreadsheet_id
        self.title = title
        self.time_zone = time_zone
        self.locale = locale
        self.sheets: list[Sheet] = []
        self.lock = RLock()
        self.version = 0
        self.external_images_allowed = False
        self.shared_with: set[str] = set()
        self.owner = OWNER
        self.metadata: tuple[Metadata, ...] = ()
        #: Append-only; the oldest entries go after 200,000. Structure edits (insert, sort, move) are not cell edits.
        self.last_changes: deque[CellEdit] = deque(maxlen=_LOG_LENGTH)
        self._next_id = 1
        self._listeners: list[Callable[[Change], None]] = []
        self._who: Who = "person"
        self._user: str | None = None
        self._depth = 0
        self._touched: dict[int, dict[tuple[int, int], None] | None] = {}
        self._history = History()

    # -- sheets ----------------------------------------------------------------------------------------------------

    def sheet_by_id(self, gid: int) -> Sheet | None:
        """Find a sheet by its id (the gid of its address)."""
        return next((sheet for sheet in self.sheets if sheet.gid == gid), None)

    def sheet_by_title(self, title: str) -> Sheet | None:
        """Find a sheet by its title; like Sheets, an exact match first, then one that differs only in case."""
        exact = (sheet for sheet in self.sheets if sheet.title == title)
        loose = (sheet for sheet in self.sheets if sheet.title.casefold() == title.casefold())
        return next(exact, None) or next(loose, None)

    def add_sheet(
        self, title: str, *, gid: int | None = None, rows: int = 1000, cols: int = 26, index: int | None = None
    ) -> Sheet:
        """Add a tab; ValueError (Google's sentence) when the title or the id is taken. The first tab has the id 0."""
        with self.editing():
            self._refuse_title(title)
            if gid is None:
                gid = 0 if not self.sheets else max(sheet.gid for sheet in self.sheets) + 1
            if self.sheet_by_id(gid):
                raise ValueError(f"A sheet with the ID {gid} already exists. Please enter another ID.")
            sheet = Sheet(self, gid, title, rows, cols)
            self.sheets.insert(len(self.sheets) if index is None else index, sheet)
            self.done(TabAdded(gid))
            self.structure_changed(gid)
            return sheet

    def delete_sheet(self, gid: int) -> None:
        """Delete a tab; the last one must stay."""
        with self.editing():
            if len(self.sheets) == 1:
                raise ValueError("You can't remove all the sheets in a document.")
            gone = self.sheet_by_id(gid)
            if gone is not None:
                self.done(TabDeleted(gone, self.sheets.index(gone)))
            self.sheets = [sheet for sheet in self.sheets if sheet.gid != gid]
            self.structure_changed(gid)

    def restore_sheet(self, sheet: Sheet, index: int) -> None:
        """Put a deleted tab back, unless another one has its title by now."""
        with self.editing():
            if self.sheet_by_title(sheet.title) is None:
                self.sheets.insert(index, sheet)
                self.done(TabAdded(sheet.gid))
                self.structure_changed(sheet.gid)

    def rename_sheet(self, gid: int, title: str) -> None:
        """Rename a tab; ValueError when another one has the title."""
        sheet = self.sheet_by_id(gid)
        if sheet is None:
            raise ValueError(f"No sheet with id: {gid}")
        self._refuse_title(title, but=sheet)
        sheet.rename(title)

    def _refuse_title(self, title: str, but: Sheet | None = None) -> None:
        if any(sheet.title.casefold() == title.casefold() and sheet is not but for sheet in self.sheets):
            raise ValueError(f'A sheet with the name "{title}" already exists. Please enter another name.')

    # -- the workbook itself ---------------------------------------------------------------------------------------

    def allow_external_images(self) -> None:
        """Open the gate for functions that fetch (IMAGE, IMPORT...); it cannot be closed again."""
        with self.editing():
            self.external_images_allowed = True
            for sheet in self.sheets:
                sheet.refresh_gate()
                self.structure_changed(sheet.gid)

    def change(self, apply: Callable[[], object]) -> None:
        """Run *apply*, which alters this workbook's attributes, as one change that needs a redraw."""
        with self.editing():
            apply()
            for sheet in self.sheets:
                self.structure_changed(sheet.gid)

    def new_id(self) -> int:
        """Give an id for a protected range or an entry of metadata."""
        with self.lock:
            self._next_id += 1
            return self._next_id

    def serial_of(self, moment: datetime) -> float:
        """Turn an aware *moment* into this workbook's serial number (days, its time zone)."""
        return serial_of(moment, self.time_zone)

    def moment_of(self, serial: float) -> datetime:
        """Turn a serial number of this workbook into an aware datetime."""
        return moment_of(serial, self.time_zone)

    # -- changes ---------------------------------------------------------------------------------------------------

    def listen(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call *callback* at each change, under the lock and on the thread that changed; returns what ends it."""
        with self.lock:
            self._listeners.append(callback)

        def unsubscribe() -> None:
            with self.lock:
                if callback in self._listeners:
                    self._listeners.remove(callback)

        return unsubscribe

    @property
    def who(self) -> Who:
        """Say what kind of editor is editing."""
        return self._who

    @property
    def user(self) -> str:
        """Say whose permissions the edit under way has."""
        return self._user or self.owner

    def may_edit(self, protected: Protected) -> bool:
        """Say whether the protection lets the present user edit."""
        return (
            protected.warning_only
            or protected.mirrors_sharing
            or self.user == self.owner
            or self.user in protected.editors
        )

    @contextmanager
    def editing(self, who: Who | None = None, user: str | None = None) -> Iterator[None]:
        """
        Take the lock for a group of changes by *who* (None: whoever is editing already, else a person).

        *user* is the e-mail address whose permissions count (None: whoever is editing already, else the owner). What
        is explicitly a "person"'s becomes one step of that user's undo.
        """
        with self._editing(who, user):
            if who == "person" and self._depth == 1:
                with self._history.recording(self.user):
                    yield
            else:
                yield

    @contextmanager
    def _editing(self, who: Who | None, user: str | None) -> Iterator[None]:
        with self.lock:
            outer = self._who, self._user
            self._who, self._user = who or self._who, user or self._user
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                self._who, self._user = outer
                if self._depth == 0:
                    self._tell()

    @contextmanager
    def atomic(self, who: Who | None = None, user: str | None = None) -> Iterator[None]:
        """Do as `editing`, but undo everything when an exception comes out; not to be nested in `editing`."""
        with self.lock:
            own = {
                name: part for name, part in self.__dict__.items() if name not in ("lock", "last_changes", "_listeners")
            }
            own["sheets"] = list(self.sheets)
            own["_touched"] = {}
            own["_history"] = self._history.copy()
            sheets = [(sheet, sheet.snapshot()) for sheet in self.sheets]
            logged = len(self.last_changes)
            try:
                with self.editing(who, user):
                    try:
                        yield
                    except BaseException:
                        self._touched = {}
                        raise
            except BaseException:
                self.__dict__.update(own)
                for sheet, kept in sheets:
                    sheet.restore(kept)
                while len(self.last_changes) > logged:
                    self.last_changes.pop()
                raise

    def undo(self, user: str | None = None) -> bool:
        """Undo the last step of *user* (None: the owner), wherever its cells are by now; False: there is none."""
        return self._step(user or self.owner, redo=False)

    def redo(self, user: str | None = None) -> bool:
        """Do again what *user* undid last; False: there is nothing."""
        return self._step(user or self.owner, redo=True)

    def undoable(self, user: str | None = None) -> tuple[int, int]:
        """Count the steps that *user* can undo, and redo."""
        with self.lock:
            return self._history.depth(user or self.owner)

    def _step(self, user: str, *, redo: bool) -> bool:
        with self._editing("person", user):
            step = self._history.take(user, redo=redo)
            if step is None:
                return False
            with self._history.recording(user, onto="redo" if redo else "undo"):
                for deed in reversed(step):
                    undo_deed(self, deed)
            return True

    def done(self, deed: Deed) -> None:
        """Note what a person can undo (called by sheets)."""
        self._history.add(deed)

    def shuffled(self, gid: int, places: Mapping[int, int], cols: Collection[int]) -> None:
        """Note that cells moved from row to row (called by sheets)."""
        self._history.shuffled(gid, places, cols)

    def cell_changed(self, gid: int, row: int, col: int, before: Cell, after: Cell) -> None:
        """Note a changed cell (called by sheets); nothing happened when it is the same as before."""
        if before == after:
            return
        self.last_changes.append(CellEdit(self._who, gid, row, col, before, after))
        sheet = self.sheet_by_id(gid) if self._history.is_recording else None
        if sheet is not None:
            self.done(CellWas(gid, sheet.ids("ROWS")[row], sheet.ids("COLUMNS")[col], before, after))
        cells = self._touched.setdefault(gid, {})
        if cells is not None:
            cells[row, col] = None

    def structure_changed(self, gid: int) -> None:
        """Note a change that needs a redraw (called by sheets)."""
        self._touched[gid] = None

    def _tell(self) -> None:
        touched, self._touched = self._touched, {}
        for gid, cells in touched.items():
            self.version += 1
            change = Change(self.version, gid, None if cells is None else tuple(cells))
            for callback in tuple(self._listeners):
                callback(change)

    # -- keeping ---------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Turn everything but listeners and the log into plain JSON values."""
        with self.lock:
            return {
                "spreadsheet_id": self.spreadsheet_id,
                "title": self.title,
                "time_zone": self.time_zone,
                "locale": self.locale,
                "version": self.version,
                "external_images_allowed": self.external_images_allowed,
                "shared_with": sorted(self.shared_with),
                "owner": self.owner,
                "next_id": self._next_id,
                "metadata": metadata_to_json(self.metadata),
                "sheets": [sheet_to_json(sheet) for sheet in self.sheets],
            }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Workbook":
        """Make the workbook that `to_json` described."""
        book = cls(kept["spreadsheet_id"], kept["title"], kept["time_zone"], kept["locale"])
        book.external_images_allowed = kept["external_images_allowed"]
        book.shared_with = set(kept["shared_with"])
        book.owner = kept.get("owner", OWNER)
        book.sheets = [sheet_from_json(book, one) for one in kept["sheets"]]
        book.metadata = metadata_from_json(kept["metadata"])
        book.version = kept["version"]
        book._next_id = kept["next_id"]
        return book


class Books:
    """Keep the workbooks of a sandbox by their ids."""

    def __init__(self, *books: Workbook) -> None:
        """Start with *books*."""
        self._books = {book.spreadsheet_id: book for book in books}

    def add(self, book: Workbook) -> Workbook:
        """Take *book* in (replacing one of the same id) and give it back."""
        self._books[book.spreadsheet_id] = book
        return book

    def remove(self, spreadsheet_id: str) -> None:
        """Delete a workbook: who asks for it is told that there is none."""
        self._books.pop(spreadsheet_id, None)

    def get(self, spreadsheet_id: str) -> Workbook | None:
        """Find a workbook by its id."""
        return self._books.get(spreadsheet_id)

    def __iter__(self) -> Iterator[Workbook]:
        """Go through the workbooks."""
        return iter(tuple(self._books.values()))
