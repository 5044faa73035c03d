"""Find and show developer metadata: entries that sit on a workbook, a tab, a row or a column."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sandbox.sheets_errors import GoogleError
from sandbox.workbook import OPEN, Area, Axis, Metadata, Sheet, Workbook

_AXES: Final[tuple[tuple[Axis, str], ...]] = (("ROWS", "ROW"), ("COLUMNS", "COLUMN"))


@dataclass(frozen=True, slots=True)
class Placed:
    """Be an entry with its place; no *sheet* means the workbook, no *axis* the whole tab."""

    entry: Metadata
    sheet: Sheet | None = None
    axis: Axis | None = None
    at: int = 0

    @property
    def kind(self) -> str:
        """Give the `DeveloperMetadataLocation.locationType`."""
        if self.sheet is None:
            return "SPREADSHEET"
        return {"ROWS": "ROW", "COLUMNS": "COLUMN"}.get(self.axis or "", "SHEET")

    def to_json(self) -> dict[str, Any]:
        """Give the API's DeveloperMetadata."""
        location: dict[str, Any] = {"locationType": self.kind}
        if self.sheet is None:
            location["spreadsheet"] = True
        elif self.axis is None:
            location["sheetId"] = self.sheet.gid
        else:
            location["dimensionRange"] = {
                "sheetId": self.sheet.gid,
                "dimension": self.axis,
                "startIndex": self.at,
                "endIndex": self.at + 1,
            }
        entry = self.entry
        shown = {"metadataId": entry.id, "metadataKey": entry.key, "location": location, "visibility": entry.visibility}
        return shown if entry.value is None else {**shown, "metadataValue": entry.value}


def placed_entries(book: Workbook) -> Iterator[Placed]:
    """Go through every entry of *book*."""
    for entry in book.metadata:
        yield Placed(entry)
    for sheet in book.sheets:
        for entry in sheet.metadata:
            yield Placed(entry, sheet)
        for axis, _ in _AXES:
            for at in range(sheet.rows if axis == "ROWS" else sheet.cols):
                for entry in sheet.dimension(axis, at).metadata:
                    yield Placed(entry, sheet, axis, at)


def find(book: Workbook, lookup: Mapping[str, Any]) -> list[Placed]:
    """Find the entries that a DeveloperMetadataLookup names."""
    strategy, where = lookup.get("locationMatchingStrategy"), lookup.get("metadataLocation")
    if strategy is not None and where is None:
        raise GoogleError(400, "locationMatchingStrategy must be used with a metadataLocation.")
    # INTERSECTING is the default; what is on the spreadsheet itself intersects nothing else.
    if where is not None and strategy != "EXACT_LOCATION" and not where.get("spreadsheet"):
        raise GoogleError(501, "Metadata on intersecting locations is not emulated.")
    return [
        placed
        for placed in placed_entries(book)
        if seen_by_api((placed.entry,))
        and lookup.get("metadataId") in (None, placed.entry.id)
        and lookup.get("metadataKey") in (None, placed.entry.key)
        and lookup.get("metadataValue") in (None, placed.entry.value)
        and lookup.get("visibility") in (None, placed.entry.visibility)
        and lookup.get("locationType") in (None, placed.kind)
        and (where is None or _is_at(placed, where))
    ]


def seen_by_api(entries: tuple[Metadata, ...]) -> list[Metadata]:
    """Leave out what the script's cloud project keeps for itself."""
    return [one for one in entries if one.visibility == "DOCUMENT" or one.project == "api"]


def _is_at(placed: Placed, where: Mapping[str, Any]) -> bool:
    """Say whether a DeveloperMetadataLocation names exactly this place."""
    location = placed.to_json()["location"]
    return all(location.get(name) == part for name, part in where.items())


def places_of(book: Workbook, lookup: Mapping[str, Any]) -> list[tuple[Sheet, Area]]:
    """Give the whole rows, columns or tabs whose entries match."""
    places: list[tuple[Sheet, Area]] = []
    for placed in find(book, lookup):
        if placed.sheet is None:
            continue
        match placed.axis:
            case "ROWS":
                area = Area(placed.at, 0, placed.at + 1, OPEN)
            case "COLUMNS":
                area = Area(0, placed.at, OPEN, placed.at + 1)
            case _:
                area = Area(0, 0)
        places.append((placed.sheet, area))
    return places


def create(book: Workbook, wanted: Mapping[str, Any]) -> Placed:
    """Put a new entry where *wanted* (a DeveloperMetadata) says."""
    location = wanted.get("location") or {}
    if not wanted.get("metadataKey") or not wanted.get("visibility"):
        raise GoogleError(400, "developerMetadata needs a metadataKey and a visibility.")
    entry = Metadata(
        wanted.get("metadataId") or book.new_id(),
        wanted["metadataKey"],
        wanted.get("metadataValue"),
        wanted["visibility"],
    )
    if any(placed.entry.id == entry.id for placed in placed_entries(book)):
        raise GoogleError(400, f"Developer metadata with id {entry.id} already exists.")
    if location.get("spreadsheet"):
        return add_entry(book, Placed(entry))
    span = location.get("dimensionRange") or {}
    gid = span.get("sheetId", 0) if span else location.get("sheetId")
    sheet = None if gid is None else book.sheet_by_id(gid)
    if sheet is None:
        raise GoogleError(400, f"No grid with id: {gid}")
    if not span:
        return add_entry(book, Placed(entry, sheet))
    axis, at = span.get("dimension"), span.get("startIndex", 0)
    if axis not in ("ROWS", "COLUMNS") or span.get("endIndex") != at + 1:
        raise GoogleError(400, "Developer metadata can only be placed on a single row or column.")
    return add_entry(book, Placed(entry, sheet, axis, at))


def add_entry(book: Workbook, placed: Placed) -> Placed:
    """Put an entry where *placed* says."""
    _set_entries(book, placed, (*_entries(book, placed), placed.entry))
    return placed


def replace_entry(book: Workbook, placed: Placed, wanted: Metadata | None) -> None:
    """Put *wanted* in the place of the entry; None deletes it."""
    changed = ((one, wanted) if one.id == placed.entry.id else (one, one) for one in _entries(book, placed))
    _set_entries(book, placed, tuple(new for _, new in changed if new is not None))


def _entries(book: Workbook, placed: Placed) -> tuple[Metadata, ...]:
    if placed.sheet is None:
        return book.metadata
    return placed.sheet.metadata if placed.axis is None else placed.sheet.dimension(placed.axis, placed.at).metadata


def _set_entries(book: Workbook, placed: Placed, entries: tuple[Metadata, ...]) -> None:
    sheet = placed.sheet
    if sheet is None:
        book.metadata = entries
    elif placed.axis is None:
        sheet.change(partial(setattr, sheet, "metadata", entries))
    else:
        sheet.set_dimension(placed.axis, placed.at, 1, metadata=entries)
