"""Give the page tests a real Chromium and a real world behind the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.world import Wishes, World
from tests.page.alone import Alone, opened, serve_alone, shows

# The first call of each function starts a process; on a busy machine that takes seconds.
expect.set_options(timeout=40_000)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=10)) as world:
        yield world


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    """Serve a workbook of six fruits, with no cloud behind it."""
    with serve_alone(tmp_path) as alone:
        yield alone


@pytest.fixture
def page(chromium: Browser, alone: Alone) -> Iterator[Page]:
    """Open the sheet of fruits; any error in the page fails the test."""
    with opened(chromium, alone.url) as page:
        shows(page, 7, 0, "cherry")
        yield page
