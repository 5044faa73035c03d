"""Be developer metadata: entries with a key and a value that sit on the spreadsheet, a tab, a row or a column."""

from dataclasses import replace
from typing import Any

from sandbox.apps_script_host import Choice, Face, ScriptFault
from sandbox.apps_script_range import Range
from sandbox.apps_script_run import Run
from sandbox.sheets_metadata import Placed, add_entry, placed_entries, replace_entry
from sandbox.workbook import OPEN, Area, Axis, Metadata, Sheet

_ARBITRARY = (
    "Adding developer metadata to arbitrary ranges is not currently supported. Developer metadata may only be added "
    "to the top-level spreadsheet, an individual sheet, or an entire row or column."
)
_VISIBILITY = "DeveloperMetadataVisibility"


class DeveloperMetadataLocation(Face):
    """Be the place of an entry."""

    NAME = "DeveloperMetadataLocation"

    def __init__(self, run: Run, placed: Placed) -> None:
        """Look at *placed*."""
        self._run = run
        self._placed = placed

    def getLocationType(self) -> Choice:
        """Give SPREADSHEET, SHEET, ROW or COLUMN."""
        return Choice("DeveloperMetadataLocationType", self._placed.kind)

    def getColumn(self) -> Range | None:
        """Give the column; null when it is on something else."""
        return self._line("COLUMNS")

    def getRow(self) -> Range | None:
        """Give the row; null when it is on something else."""
        return self._line("ROWS")

    def getSheet(self) -> Face | None:
        """Give the tab; null when it is on the spreadsheet."""
        from sandbox.apps_script_sheets import Sheet as SheetFace

        return None if self._placed.sheet is None else SheetFace(self._run, self._placed.sheet)

    def getSpreadsheet(self) -> Face | None:
        """Give the spreadsheet; null when it is on something in it."""
        from sandbox.apps_script_sheets import Spreadsheet

        return Spreadsheet(self._run) if self._placed.sheet is None else None

    def _line(self, axis: Axis) -> Range | None:
        placed = self._placed
        if placed.sheet is None or placed.axis != axis:
            return None
        return Range(self._run, placed.sheet, _line_area(axis, placed.at))


class DeveloperMetadata(Face):
    """Be an entry."""

    NAME = "DeveloperMetadata"

    def __init__(self, run: Run, number: int) -> None:
        """Look at the entry *number*, wherever it is now."""
        self._run = run
        self._number = number

    def getId(self) -> int:
        """Give the id."""
        return self._number

    def getKey(self) -> str:
        """Give the key."""
        return self._placed().entry.key

    def getValue(self) -> str | None:
        """Give the value, or null."""
        return self._placed().entry.value

    def getVisibility(self) -> Choice:
        """Say who sees it."""
        return Choice(_VISIBILITY, self._placed().entry.visibility)

    def getLocation(self) -> DeveloperMetadataLocation:
        """Say where it is."""
        return DeveloperMetadataLocation(self._run, self._placed())

    def setKey(self, key: str) -> "DeveloperMetadata":
        """Change the key."""
        return self._change(key=key)

    def setValue(self, value: str) -> "DeveloperMetadata":
        """Change the value."""
        return self._change(value=value)

    def setVisibility(self, visibility: Choice) -> "DeveloperMetadata":
        """Change who sees it."""
        return self._change(visibility=visibility.name)

    def remove(self) -> None:
        """Delete it."""
        with self._run.editing():
            replace_entry(self._run.book, self._placed(), None)
            self._run.unflushed += 1

    def _placed(self) -> Placed:
        with self._run.book.lock:
            found = next((one for one in placed_entries(self._run.book) if one.entry.id == self._number), None)
        if found is None:
            raise ScriptFault("The developer metadata does not exist any more.")
        return found

    def _change(self, **parts: Any) -> "DeveloperMetadata":
        with self._run.editing():
            placed = self._placed()
            replace_entry(self._run.book, placed, replace(placed.entry, **parts))
            self._run.unflushed += 1
        return self


class DeveloperMetadataFinder(Face):
    """Look for entries."""

    NAME = "DeveloperMetadataFinder"

    def __init__(self, run: Run, sheet: Sheet | None = None, area: Area | None = None) -> None:
        """Look everywhere, in *sheet*, or in the whole rows and columns that lie in its *area*."""
        self._run = run
        self._sheet = sheet
        self._area = area
        self._wanted: dict[str, Any] = {}

    def withId(self, id: int) -> "DeveloperMetadataFinder":
        """Want this id."""
        return self._with("id", id)

    def withKey(self, key: str) -> "DeveloperMetadataFinder":
        """Want this key."""
        return self._with("key", key)

    def withValue(self, value: str) -> "DeveloperMetadataFinder":
        """Want this value."""
        return self._with("value", value)

    def withVisibility(self, visibility: Choice) -> "DeveloperMetadataFinder":
        """Want this visibility."""
        return self._with("visibility", visibility.name)

    def withLocationType(self, locationType: Choice) -> "DeveloperMetadataFinder":
        """Want this kind of place."""
        return self._with("kind", locationType.name)

    def find(self) -> list[DeveloperMetadata]:
        """Give what fits."""
        with self._run.book.lock:
            found = [placed for placed in placed_entries(self._run.book) if self._in_scope(placed)]
        return [DeveloperMetadata(self._run, placed.entry.id) for placed in found if self._fits(placed)]

    def _with(self, name: str, wanted: Any) -> "DeveloperMetadataFinder":
        self._wanted[name] = wanted
        return self

    def _fits(self, placed: Placed) -> bool:
        if not seen_by_scripts(placed):
            return False
        return all(
            wanted == (placed.kind if name == "kind" else getattr(placed.entry, name))
            for name, wanted in self._wanted.items()
        )

    def _in_scope(self, placed: Placed) -> bool:
        if self._sheet is None:
            return True
        if placed.sheet is not self._sheet:
            return False
        if self._area is None:
            return True
        return placed.axis is not None and _within(_line_area(placed.axis, placed.at), self._area)


def add_metadata(
    run: Run, sheet: Sheet | None, area: Area | None, key: str, value: str | Choice | None, visibility: Choice | None
) -> None:
    """Add an entry to the spreadsheet, to *sheet*, or to the one whole row or column that *area* is."""
    if isinstance(value, Choice):
        value, visibility = None, value
    if visibility is not None and visibility.kind != _VISIBILITY:
        raise ScriptFault(f"The parameter ({visibility.kind}) doesn't match the method signature for metadata.")
    entry = Metadata(run.book.new_id(), key, value, visibility.name if visibility else "DOCUMENT", "script")
    with run.editing():
        add_entry(run.book, Placed(entry, sheet, *(_line_of(area) if area else (None, 0))))
        run.unflushed += 1


def metadata_on(run: Run, sheet: Sheet | None, area: Area | None) -> list[DeveloperMetadata]:
    """Give the entries that sit on exactly this."""
    axis, at = _line_of(area) if area else (None, 0)
    with run.book.lock:
        found = [
            placed for placed in placed_entries(run.book)
            if (placed.sheet, placed.axis, placed.at) == (sheet, axis, at) and seen_by_scripts(placed)
        ]  # fmt: skip
    return [DeveloperMetadata(run, placed.entry.id) for placed in found]


def seen_by_scripts(placed: Placed) -> bool:
    """Say whether a script sees the entry: not what another cloud project keeps for itself."""
    return placed.entry.visibility == "DOCUMENT" or placed.entry.project == "script"


def _line_area(axis: Axis, at: int) -> Area:
    return Area(at, 0, at + 1, OPEN) if axis == "ROWS" else Area(0, at, OPEN, at + 1)


def _line_of(area: Area) -> tuple[Axis, int]:
    """Give the row or column; only C:C and 3:3 are one, a range that happens to reach the edge is not."""
    if area == _line_area("COLUMNS", area.left):
        return "COLUMNS", area.left
    if area == _line_area("ROWS", area.top):
        return "ROWS", area.top
    raise ScriptFault(_ARBITRARY)


def _within(inner: Area, outer: Area) -> bool:
    return (
        outer.top <= inner.top and outer.left <= inner.left
        and inner.bottom <= outer.bottom and inner.right <= outer.right
    )  # fmt: skip
