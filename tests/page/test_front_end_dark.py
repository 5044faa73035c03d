"""Every menu item, the sidebar and Settings once more, for a person whose browser is dark: before a release."""

from __future__ import annotations

import pytest

from tests.page.test_front_end import *  # noqa: F403
from tests.sizes import before_release

pytestmark = before_release


@pytest.fixture(scope="module")
def scheme() -> str:
    """Say which colours the person likes."""
    return "dark"
