"""Give the page tests a real Chromium and a real world behind the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sandbox.world import Wishes, World
from tests.page.browser import FLAGS, installed

# The first call of each function starts a process; on a busy machine that takes seconds.
expect.set_options(timeout=40_000)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=10)) as world:
        yield world


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run one browser for this module."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, world: World) -> Iterator[Page]:
    """Open the sheet; any error in the page fails the test."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(world.server.url)
    page.get_by_text("Live", exact=True).wait_for()
    page.locator(".tabulator-row").nth(5).wait_for()
    yield page
    page.close()
    assert faults == []
