"""Give the results page's tests a Chromium, a server behind it, and a judge of accessibility."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.gallery.serve import Served
from tests.page.axe import source
from tests.page.browser import FLAGS, installed


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Run the servers for this module."""
    with Served() as served:
        yield served


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run one browser for this module."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Give axe-core's source."""
    return source()
