"""Collect the figures of this folder's tests, and print and write them at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.security.figures import RESULTS, Figure, Note, told, write


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Note a figure of the attack; one that got through fails here, after it was noted."""

    def noted(threat: str, what: str, tried: int, through: list[Any], **more: float | int | str) -> None:
        figure = Figure(threat, what, tried, len(through), more)
        # Reports carry properties from a test process to the one that prints.
        request.node.user_properties.append(("figure", (threat, what, tried, len(through), more)))
        assert tried > 0, figure
        assert not through, f"{what}: {len(through)} of {tried} got through, first {through[:3]}"

    return noted


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
