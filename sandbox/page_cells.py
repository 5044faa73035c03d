"""Turn cells into what a page shows of them, and back into what a person would type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2s
from typing import Any

from sandbox.page_rules import fault_of
from sandbox.workbook import Cell, hex_of, read_typed


class Drawing:
    """
    Turn cells into JSON; what many cells share (validation rules, looks) is told once, under a key of its content.

    A cell is {t text, e as entered (for the formula bar), i picture, n note, v key of its rule, x what the rule finds
    wrong, f key of its look}; absent parts are left out.
    """

    def __init__(self) -> None:
        """Start with an empty sheet of paper."""
        self.rules: dict[str, Mapping[str, Any]] = {}
        self.looks: dict[str, dict[str, Any]] = {}
        self._keys: dict[int, str] = {}
        self._kept: list[Mapping[str, Any]] = []  # an id is only good while its mapping lives

    def cell(self, cell: Cell) -> dict[str, str] | None:
        """Give the JSON of *cell*; None when there is nothing to show."""
        entered = cell.formula if cell.formula is not None else cell.user_entered
        if entered is None and not cell.note and cell.validation is None and not cell.format:
            return None
        shown: dict[str, str] = {"t": cell.formatted}
        raw = as_typed(cell)
        if raw != shown["t"]:
            shown["e"] = raw
        if cell.image_url:
            shown["i"] = cell.image_url
        if cell.note:
            shown["n"] = cell.note
        if cell.validation is not None:
            shown["v"] = self._key(cell.validation)
            self.rules[shown["v"]] = cell.validation
            wrong = fault_of(cell.validation, cell)
            if wrong:
                shown["x"] = wrong
        if cell.format:
            key = self._key(cell.format)
            look = self.looks.get(key) if key in self.looks else look_of(cell.format)
            if look:
                self.looks[key] = look
                shown["f"] = key
        return None if shown == {"t": ""} else shown

    def _key(self, mapping: Mapping[str, Any]) -> str:
        found = self._keys.get(id(mapping))
        if found is None:
            text = json.dumps(mapping, sort_keys=True, default=str)
            found = self._keys[id(mapping)] = blake2s(text.encode(), digest_size=6).hexdigest()
            self._kept.append(mapping)
        return found


def look_of(form: Mapping[str, Any]) -> dict[str, Any]:
    """
    Give what a page draws of a CellFormat: {paper, ink, bold, italic, strike, align, wrap}.

    Black text and white paper are the default and stay the page's own.
    """
    text = form.get("textFormat") or {}
    ink = (text.get("foregroundColorStyle") or {}).get("rgbColor") or text.get("foregroundColor")
    paper = (form.get("backgroundColorStyle") or {}).get("rgbColor") or form.get("backgroundColor")
    look = {
        "paper": hex_of(paper) if paper is not None else None,
        "ink": hex_of(ink) if ink is not None else None,
        "bold": text.get("bold"),
        "italic": text.get("italic"),
        "strike": text.get("strikethrough"),
        "align": {"LEFT": "left", "CENTER": "center", "RIGHT": "right"}.get(form.get("horizontalAlignment", "")),
        "wrap": form.get("wrapStrategy") == "WRAP",
    }
    if look["paper"] == "#ffffff":
        look["paper"] = None
    if look["ink"] == "#000000":
        look["ink"] = None
    return {name: part for name, part in look.items() if part}


def as_typed(cell: Cell) -> str:
    """Give what the formula bar shows. Text that typing would read as something else wears an apostrophe."""
    if not isinstance(cell.user_entered, str):
        return cell.formula or cell.formatted
    text = cell.user_entered
    if cell.number_type == "TEXT":
        # Such a cell keeps all it is given but a formula (Sheet.enter), an apostrophe too.
        return f"'{text}" if text.startswith("=") else text
    typed = read_typed(text)
    return f"'{text}" if typed.is_formula or typed.value != text else text
