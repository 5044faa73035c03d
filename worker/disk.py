"""Say that the disk is full in a sentence: another worker may have room."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chalicelib.contract.errors import Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def disk() -> Iterator[None]:
    """Rename what a full disk raises; any other OSError rises as it is: the network raises them too."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Unavailable("This worker's disk is full.") from error
        raise
