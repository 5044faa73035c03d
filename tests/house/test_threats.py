"""docs/threats.md names controls that are there and tests that show them."""

from __future__ import annotations

import re

from infra.package import ROOT

PAGE = (ROOT / "docs/threats.md").read_text()
ROWS = re.findall(r"^\| (S\d+) \|.*\|$", PAGE, re.MULTILINE)


def test_every_threat_has_a_row() -> None:
    """S1 to S18, in order, each with a module and at least one test."""
    assert [f"S{number}" for number in range(1, 19)] == ROWS
    for line in PAGE.splitlines():
        if re.match(r"\| S\d", line):
            assert "`test_" in line and re.search(r"`[a-z_/]+(\.py|\.yaml|/)`", line), line


def test_every_test_named_is_there() -> None:
    """A control that lost its test is no control."""
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named and named - defined == set()


def test_every_module_named_is_there() -> None:
    """The third column leads somewhere."""
    for path in re.findall(r"`((?:chalicelib|worker|infra|tests)/[\w/.]*)`", PAGE):
        assert (ROOT / path).exists(), path
