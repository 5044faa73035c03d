"""Collect the figures of this folder's tests, and print and write them at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.security.figures import RESULTS, Figure, Note, told, write


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Iterator[Note]:
    """Note figures of the attack; the test fails at its end, when all of them are noted, if anything got through."""
    broken: list[str] = []

    def noted(threat: str, what: str, tried: int, through: list[Any], **more: float | int | str) -> None:
        # Reports carry properties from a test process to the one that prints.
        request.node.user_properties.append(("figure", (threat, what, tried, len(through), more)))
        if not tried:
            broken.append(f"{what}: nothing was tried")
        if through:
            broken.append(f"{what}: {len(through)} of {tried} got through, first {through[:3]}")

    yield noted
    assert not broken, "\n".join(broken)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it."""
    figures = list(_figures(terminalreporter))
    if figures:
        terminalreporter.section("figures of the security promises")
        for line in told(figures):
            terminalreporter.write_line(line)
        write(figures)
        terminalreporter.write_line(f"written to {RESULTS}")


def _figures(terminalreporter: Any) -> Iterator[Figure]:
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") == "call":
                yield from (Figure(*value) for name, value in report.user_properties if name == "figure")
