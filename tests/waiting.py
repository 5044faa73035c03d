"""Wait for a workbook, a process or a prompt to come to a state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sandbox.workbook import Workbook


def until(book: Workbook, holds: Callable[[], bool], patience_s: float = 60.0) -> bool:
    """Answer as soon as *holds*; False when *patience_s* is over and it still does not."""
    changed = threading.Event()
    stop = book.listen(lambda _change: changed.set())
    deadline = time.monotonic() + patience_s
    try:
        while not holds():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            changed.wait(min(left, 1.0))
            changed.clear()
        return True
    finally:
        stop()


class Bell(threading.Event):
    """Follow a prompt: ring when told to, and note its turns."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()
        self.has_begun = False

    def begun(self) -> None:
        self.has_begun = True

    def ended(self) -> None:
        self.over.set()
        self.set()

    def ring(self) -> None:
        self.set()
