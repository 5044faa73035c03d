"""Say what a page draws: the tabs' names, and all of the one tab that is shown."""

from __future__ import annotations

from typing import Any, Final

from sandbox.page_cells import Drawing, look_of
from sandbox.workbook import Area, ConditionalFormat, FilterView, Sheet, Workbook

#: Rows below the last value that a page shows; in steps, so that a new row seldom makes the grid anew.
_SPARE_ROWS: Final = 40
_STEP: Final = 50


def book_json(book: Workbook, gid: int | None, user: str) -> dict[str, Any]:
    """Give the workbook with the tab *gid* (or the first one) in full; take the lock around it."""
    shown = (book.sheet_by_id(gid) if gid is not None else None) or book.sheets[0]
    return {
        "title": book.title,
        "images_allowed": book.external_images_allowed,
        "wants_images": any(_wants_images(sheet) for sheet in book.sheets),
        "shared_with": sorted(book.shared_with),
        "tabs": [{"id": sheet.gid, "title": sheet.title} for sheet in book.sheets if not sheet.hidden],
        "sheet": sheet_json(book, shown, user),
    }


def sheet_json(book: Workbook, sheet: Sheet, user: str) -> dict[str, Any]:
    """Give all that a page draws of *sheet*, as *user* may edit it."""
    rows, cols = sheet.data_extent()
    shown_rows = min(sheet.rows, max(-(-(rows + _SPARE_ROWS) // _STEP) * _STEP, 100))
    shown_cols = min(sheet.cols, max(cols + 2, 16))
    drawing = Drawing()
    cells = [
        [row, col, shown]
        for row in range(shown_rows)
        for col, cell in sheet.row_cells(row).items()
        if col < shown_cols and (shown := drawing.cell(cell)) is not None
    ]
    return {
        "id": sheet.gid,
        "title": sheet.title,
        "rows": shown_rows,
        "cols": shown_cols,
        "data_rows": rows,
        "frozen": sheet.frozen_rows,
        "widths": {str(col): width for col, width in sheet.column_widths.items()},
        "heights": {str(row): height for row, height in sheet.row_heights.items()},
        "hidden": sorted(sheet.hidden_rows()),
        "hidden_cols": [col for col in range(shown_cols) if sheet.dimension("COLUMNS", col).hidden],
        "cells": cells,
        "rules": drawing.rules,
        "looks": drawing.looks,
        "conditional": [_conditional_json(one) for one in sheet.conditional_formats],
        "protected": _protected_json(book, sheet, user),
        "filter": _closed(sheet.basic_filter, sheet) if sheet.basic_filter else None,
        "criteria": {str(col): one for col, one in sheet.filter_criteria.items()},
        "views": [_view_json(one, sheet) for one in sheet.filter_views],
    }


def _protected_json(book: Workbook, sheet: Sheet, user: str) -> list[dict[str, Any]]:
    with book.editing("person", user):
        return [
            {"area": _closed(one.area, sheet), "warning": one.warning_only, "mine": book.may_edit(one)}
            for one in sheet.protected
        ]


def _view_json(view: FilterView, sheet: Sheet) -> dict[str, Any]:
    return {
        "id": view.id,
        "title": view.title,
        "area": _closed(view.area, sheet),
        "criteria": {str(col): one for col, one in view.criteria.items()},
    }


def _conditional_json(one: ConditionalFormat) -> dict[str, Any]:
    rule = one.rule.get("booleanRule") or {}
    return {
        "areas": [area.to_json() for area in one.areas],
        "condition": rule.get("condition") or {},
        "look": look_of(rule.get("format") or {}),
    }


def _closed(area: Area, sheet: Sheet) -> list[int]:
    return area.within(sheet.rows, sheet.cols).to_json()


def _wants_images(sheet: Sheet) -> bool:
    rows, _ = sheet.data_extent()
    return any(
        (cell.formula or "").startswith("=IMAGE(") for row in range(rows) for cell in sheet.row_cells(row).values()
    )
