"""Tell the time, and wait: the one seam through which the worker's own code meets time."""

from __future__ import annotations

import threading
import time


class Clock:
    """Tell real time. Tests hand in one whose waits cost nothing."""

    def now_ms(self) -> int:
        """Tell milliseconds since the epoch: for what other machines read."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Tell seconds that never jump: for our own durations."""
        return time.monotonic()

    def wait(self, bell: threading.Event, seconds: float) -> bool:
        """Wait until *bell* rings or *seconds* have passed; say whether it rang."""
        return bell.wait(max(0.0, seconds))
