"""Say how much a property is tried: a sample in CI, all of it before a release (`make test SIZE=all`)."""

from __future__ import annotations

import os
from typing import Final

import pytest

ALL: Final = os.environ.get("PROMISES_SIZE", "ci") == "all"
SHARE: Final = 5
LEAST: Final = 8
before_release: Final = pytest.mark.before_release
"""Leave a test out of CI: it takes long, and `make faults` or a neighbour tries the same rule on each push."""


def examples(most: int) -> int:
    """Give the number of examples that hypothesis tries: *most* at full size, a fifth of it in CI."""
    return most if ALL else max(LEAST, most // SHARE)
