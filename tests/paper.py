"""Be a spreadsheet on paper: what completion is handed in place of Google's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chalicelib.cells import Cell, Image, Moved, Number, Tab, Text, Tick, Time, Unreachable, note_to_write
from chalicelib.mend import Held

HEADER = ["Prompt", "Workflow", "Status", "Output URL", "Preview", "Seed", "Error", "Job ID", "Notes"]
SHEET = "sheet-1"


class PaperSheet:
    """
    Be a spreadsheet of one tab (and those that are added): rows of texts.

    *between* is what somebody does right before each write, *trouble* what the next calls end with, and a write that
    hits one of the rows of *cursed* (by prompt) is refused whole, as Google does.
    """

    def __init__(self, *rows: Mapping[str, str], header: Sequence[str] = HEADER) -> None:
        self.grid: list[list[str]] = [list(header), *([row.get(name, "") for name in header] for row in rows)]
        self.others: dict[int, tuple[str, list[list[str]]]] = {}
        self.notes: dict[tuple[int, int], str] = {}
        self.values: dict[tuple[int, int], Any] = {}
        self.labels: dict[int, str] = {}
        self.title = "Tab"
        self.rested = 0.0
        self.reads = 0
        self.writes = 0
        self.between: list[Callable[[], None]] = []
        self.trouble: list[Exception] = []
        self.cursed: set[str] = set()
        self.proofs_there: list[str] = []
        self.prepared: list[bool] = []

    # -- as chalicelib.sheet.Sheets --------------------------------------------------------------------------------

    def read(self, spreadsheet_id: str, sheet_id: int, *, with_values: bool = False, urgent: bool = False) -> Tab:
        self._call("reads")
        if spreadsheet_id != SHEET:
            raise Unreachable("There is no such spreadsheet.", may_heal=False)
        return self._tab(sheet_id)

    def rest(self, seconds: float) -> None:
        self.rested += seconds

    def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell | Held]], *, urgent: bool = False) -> Tab:
        self.writes += 1
        if self.between:
            self.between.pop(0)()
        grid = self._grid(tab.sheet_id)
        if any(self.cursed & set(grid[row]) for row in rows if row < len(grid)):
            raise Moved
        for row, cells in rows.items():
            for column, cell in cells.items():
                self._put(grid, row, column, shown(cell))
                there = tab.notes.get((row, column), "")
                note = cell.note if isinstance(cell, Held) else note_to_write(cell, there)
                if note is not None and tab.sheet_id == 0:
                    self._note(row, column, note)
        return self._tab(tab.sheet_id)

    def tabs(self, spreadsheet_id: str) -> dict[int, str]:
        self._call("reads")
        return {0: self.title, **{key: title for key, (title, _) in self.others.items()}}

    def add_tab(self, spreadsheet_id: str, title: str) -> int:
        self._call("writes")
        key = len(self.others) + 1
        self.others[key] = (title, [])
        return key

    def append(self, spreadsheet_id: str, sheet_id: int, rows: Sequence[Sequence[Cell]]) -> None:
        self._call("writes")
        self._grid(sheet_id).extend([shown(cell) for cell in row] for row in rows)

    def proofs(self, spreadsheet_id: str) -> list[str]:
        self._call("reads")
        return self.proofs_there

    def try_write(self, spreadsheet_id: str) -> None:
        self._call("writes")

    def prepare(self, tab: Tab, *, allow_images: bool) -> None:
        self._call("writes")
        self.prepared.append(allow_images)

    # -- for tests -------------------------------------------------------------------------------------------------

    def row(self, prompt: str) -> dict[str, str]:
        """Give the row of *prompt*, by header."""
        header = self.grid[0]
        [found] = [line for line in self.grid[1:] if line[header.index("Prompt")] == prompt]
        return dict(zip(header, found, strict=True))

    def note(self, prompt: str, column: str) -> str:
        """Give the note of a cell."""
        header = self.grid[0]
        [row] = [row for row, line in enumerate(self.grid) if row and line[header.index("Prompt")] == prompt]
        return self.notes.get((row, header.index(column)), "")

    def _call(self, kind: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if self.trouble:
            raise self.trouble.pop(0)

    def _grid(self, sheet_id: int) -> list[list[str]]:
        return self.grid if sheet_id == 0 else self.others[sheet_id][1]

    def _note(self, row: int, column: int, note: str) -> None:
        self.notes.pop((row, column), None)
        if note:
            self.notes[row, column] = note

    def _put(self, grid: list[list[str]], row: int, column: int, text: str) -> None:
        while len(grid) <= row:
            grid.append([""] * len(grid[0]))
        grid[row][column] = text

    def _tab(self, sheet_id: int) -> Tab:
        grid = self._grid(sheet_id)
        texts = {(r, c): text for r, line in enumerate(grid) for c, text in enumerate(line) if text}
        entered = {place: {"stringValue": text} for place, text in texts.items()}
        values = {place: {"stringValue": text} for place, text in texts.items()} | self.values
        header = tuple(grid[0]) if grid else ()
        notes = dict(self.notes) if sheet_id == 0 else {}
        labels = self.labels if sheet_id == 0 else {}
        return Tab(SHEET, sheet_id, self.title, "UTC", header, texts, entered, notes, values, labels)


def shown(cell: Cell | Held) -> str:
    """Give what a cell shows."""
    match cell:
        case Held(value):
            return str(next(iter(value.values()))) if value else ""
        case Text(text):
            return text
        case Tick(is_on):
            return str(is_on).upper()
        case Number(number):
            return str(number)
        case Time(serial):
            return str(serial)
        case Image():
            return cell.formula
