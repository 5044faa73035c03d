"""docs/promises.md has a line for every promise and every fault, and names proofs that are there."""

from __future__ import annotations

import re

import pytest

from faults.scenario import found
from infra.package import ROOT

PAGE = (ROOT / "docs/promises.md").read_text()
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| ([PSF]\d+) \|.*\|$", PAGE, re.MULTILINE)}
DAY = re.compile(r"\b2\d{3}-\d\d-\d\d\b")


@pytest.mark.parametrize(("letter", "last"), [("P", 20), ("S", 16), ("F", 18)])
def test_every_promise_and_every_fault_has_a_line(letter: str, last: int) -> None:
    """In order, none twice."""
    named = re.findall(rf"^\| ({letter}\d+) \|", PAGE, re.MULTILINE)
    assert named == [f"{letter}{number}" for number in range(1, last + 1)]


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_line_is_whole(name: str) -> None:
    """A sentence, a proof, a figure with its day, and what is not proven: no cell is empty."""
    cells = [cell.strip() for cell in ROWS[name].strip("|").split("|")]
    assert len(cells) == 5 and all(cells), ROWS[name]
    proof, figure = cells[2], cells[3]
    assert "`" in proof, "a test or a command"
    assert DAY.search(figure), "measured when"


def test_every_test_named_is_there() -> None:
    """A promise that lost its test is no promise."""
    defined = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"(?:def|class) (test_\w+|Test\w+|\w+Machine)\b", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+|Test\w+|\w+Machine)`", PAGE))
    assert named and named - defined == set()


def test_every_command_named_is_there() -> None:
    """`make x` is a target, `python -m x` a module, and each fault has its scenarios."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", PAGE)) <= targets
    for module in re.findall(r"`python -m ([\w.]+)", PAGE):
        place = ROOT / module.replace(".", "/")
        assert (place / "__main__.py").exists() or place.with_suffix(".py").exists(), module
    tried = {one.fault for one in found()}
    assert {f"F{number}" for number in range(1, 19)} <= tried
