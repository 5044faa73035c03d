"""Every menu item, the sidebar and Settings once more, for a person whose browser is dark: in a process of its own."""

from __future__ import annotations

import pytest

from tests.page.test_front_end import *  # noqa: F403


@pytest.fixture(scope="module")
def scheme() -> str:
    """Say which colours the person likes."""
    return "dark"
