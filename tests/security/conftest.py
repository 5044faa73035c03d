"""Collect the figures of this folder's tests, and print and write them at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.world import Wishes, World
from tests.security.figures import RESULTS, Figure, Note, told, write
from tests.security.two_tenants import Office, Tenant, lambdas_of, settle_in


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
            broken.append(f"{what}: {len(through)} of {tried} got through, first {through[:5]}")

    yield noted
    assert not broken, "\n".join(broken)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for all attacks that need one, without a worker."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), start_worker=False, step_ms=0, test_nodes=True)) as world:
        yield world


@pytest.fixture(scope="session")
def town(stack: World) -> Iterator[tuple[Office, Tenant, Tenant]]:
    """Settle two clients in it."""
    with lambdas_of(stack) as lambdas:
        office = Office(stack, lambdas)
        yield office, settle_in(office, "east", "canary-of-east"), settle_in(office, "west", "canary-of-west")


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
