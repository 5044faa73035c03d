"""Give the results page's tests a Chromium, a server behind it, and a judge of accessibility."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gallery.serve import Served
from tests.page.axe import source


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Run the servers for this module."""
    with Served() as served:
        yield served


@pytest.fixture(scope="session")
def axe() -> str:
    """Give axe-core's source."""
    return source()
