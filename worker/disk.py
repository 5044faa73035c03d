"""Say that the disk is full in a sentence: another worker may have room."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chalicelib.contract.errors import Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room, a quota, a bound on the size of files."""
AT_ONCE_S: Final = 1.0


class DiskFull(Unavailable):
    """Say that it is this machine that lacks something: another worker may do it at once."""

    def __init__(self) -> None:
        super().__init__("This worker's disk is full.", AT_ONCE_S)


@contextmanager
def disk() -> Iterator[None]:
    """Rename what a full disk raises; any other OSError rises as it is: the network raises them too."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull from error
        raise
