"""docs/sheet.md says what the sheet has: every menu item, every column of ours."""

from __future__ import annotations

import re
from pathlib import Path

from chalicelib.cells import COLUMNS

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "sheet.md").read_text()


def first_cells(heading: str) -> list[str]:
    """Give the first cell of each row of the table below a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]


def test_every_menu_item_is_explained() -> None:
    """What the menu offers stands in the page's table, word for word."""
    items = re.findall(r"\.addItem\('([^']+)'", (ROOT / "apps_script" / "Menu.js").read_text())
    assert items
    assert [item for item in items if item not in first_cells("The menu")] == []


def test_every_column_of_ours_is_explained() -> None:
    """What completion writes and submitting reads stands in the table of columns."""
    told = {name.strip() for cell in first_cells("What each column means") for name in cell.split(",")}
    assert [words[0] for words in COLUMNS.values() if words[0] not in told] == []


def test_the_parts_that_are_linked_are_there() -> None:
    """A link inside the page leads to a heading of it."""
    anchors = {
        re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-") for line in re.findall(r"^#+ (.+)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= anchors
