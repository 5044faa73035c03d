"""
Connecting and setting up once more, for a person whose browser is dark: in a process of its own.

With `make test SIZE=all` it is every menu item, the sidebar and Settings: the same code in other colours.
"""

from __future__ import annotations

import pytest

from tests.page.test_front_end import (  # noqa: F401
    page,
    test_a_sheet_is_connected_with_a_code,
    test_the_sheet_is_set_up,
    world,
)
from tests.sizes import ALL

if ALL:
    from tests.page.test_front_end import *  # noqa: F403


@pytest.fixture(scope="module")
def scheme() -> str:
    """Say which colours the person likes."""
    return "dark"
