"""Turn a sheet into plain JSON values and back, so that a sandbox keeps its state over a restart."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from sandbox.workbook_areas import Area, Axis, ConditionalFormat, Dimension, FilterView, Metadata, Protected
from sandbox.workbook_cells import cell_from_json, cell_to_json
from sandbox.workbook_sheet import Owner, Sheet

_AXES: tuple[Axis, Axis] = ("ROWS", "COLUMNS")


def sheet_to_json(sheet: Sheet) -> dict[str, Any]:
    """Turn *sheet* into plain JSON values; empty cells and default dimensions are left out."""
    return {
        "gid": sheet.gid,
        "title": sheet.title,
        "grid": [sheet.rows, sheet.cols],
        "frozen": [sheet.frozen_rows, sheet.frozen_cols],
        "hidden": sheet.hidden,
        "basic_filter": sheet.basic_filter.to_json() if sheet.basic_filter else None,
        "cells": [
            [row, col, cell_to_json(cell)]
            for row in range(sheet.rows)
            for col, cell in sorted(sheet.row_cells(row).items(), key=itemgetter(0))
        ],
        "dimensions": {axis: _dimensions_to_json(sheet, axis) for axis in _AXES},
        "protected": [
            [p.id, p.area.to_json(), p.description, p.warning_only, list(p.editors), p.mirrors_sharing]
            for p in sheet.protected
        ],
        "conditional_formats": [[[a.to_json() for a in c.areas], c.rule] for c in sheet.conditional_formats],
        "metadata": metadata_to_json(sheet.metadata),
        "tab_color": sheet.tab_color,
        "filter_criteria": _criteria_to_json(sheet.filter_criteria),
        "filter_views": [
            [view.id, view.title, view.area.to_json(), _criteria_to_json(view.criteria), [*map(list, view.sorting)]]
            for view in sheet.filter_views
        ],
    }


def sheet_from_json(owner: Owner, kept: dict[str, Any]) -> Sheet:
    """Make the sheet that `sheet_to_json` described, belonging to *owner*."""
    sheet = Sheet(owner, kept["gid"], kept["title"], *kept["grid"])
    with owner.editing():
        sheet.freeze(*kept["frozen"])
        for row, col, cell in kept["cells"]:
            sheet.put(row, col, cell_from_json(cell, images_allowed=owner.external_images_allowed))
        for axis in _AXES:
            for at, size, by_filter, by_user, metadata in kept["dimensions"][axis]:
                whole = Dimension(size, by_filter, by_user, metadata_from_json(metadata))
                sheet.set_dimension(
                    axis, at, 1, pixel_size=whole.pixel_size, hidden_by_filter=whole.hidden_by_filter,
                    hidden_by_user=whole.hidden_by_user, metadata=whole.metadata,
                )  # fmt: skip
    sheet.hidden = kept["hidden"]
    sheet.basic_filter = Area(*kept["basic_filter"]) if kept["basic_filter"] else None
    sheet.protected = [
        Protected(id_, Area(*area), text, warning, tuple(editors), *mirrors)
        for id_, area, text, warning, editors, *mirrors in kept["protected"]
    ]
    sheet.conditional_formats = [
        ConditionalFormat(tuple(Area(*area) for area in areas), rule) for areas, rule in kept["conditional_formats"]
    ]
    sheet.metadata = metadata_from_json(kept["metadata"])
    sheet.tab_color = kept.get("tab_color")  # absent in what an older sandbox kept, as all below
    sheet.filter_criteria = _criteria_from_json(kept.get("filter_criteria", []))
    sheet.filter_views = [
        FilterView(id_, title, Area(*area), _criteria_from_json(criteria), tuple((at, up) for at, up in sorting))
        for id_, title, area, criteria, sorting in kept.get("filter_views", [])
    ]
    return sheet


def _criteria_to_json(criteria: Mapping[int, Mapping[str, Any]]) -> list[list[Any]]:
    return [[col, one] for col, one in criteria.items()]


def _criteria_from_json(kept: list[list[Any]]) -> dict[int, Mapping[str, Any]]:
    return dict(kept)


def _dimensions_to_json(sheet: Sheet, axis: Axis) -> list[list[Any]]:
    count = sheet.rows if axis == "ROWS" else sheet.cols
    dims = ((at, sheet.dimension(axis, at)) for at in range(count))
    return [
        [at, dim.pixel_size, dim.hidden_by_filter, dim.hidden_by_user, metadata_to_json(dim.metadata)]
        for at, dim in dims
        if dim != Dimension()
    ]


def metadata_to_json(entries: tuple[Metadata, ...]) -> list[list[Any]]:
    """Turn entries of developer metadata into plain JSON values."""
    return [[entry.id, entry.key, entry.value, entry.visibility, entry.project] for entry in entries]


def metadata_from_json(kept: list[list[Any]]) -> tuple[Metadata, ...]:
    """Make the entries that `metadata_to_json` described."""
    return tuple(Metadata(*entry) for entry in kept)
