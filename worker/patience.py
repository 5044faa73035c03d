"""
Say when to stop waiting for a prompt: the watchdog over ComfyUI, without a clock or a connection of its own.

- In neither queue nor history, twice: lost (the server restarted, or somebody deleted it). It leaves no other trace.
- Waiting while nothing runs for five seconds, or running without any sign of life: the executor is dead while HTTP
  still answers (ComfyUI to 0.38: any BaseException in a node ends its one executor thread).
- Silence counts only while this prompt's events could have reached us.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.comfy.history import Place, Whereabouts

MISSING_S: Final = 0.5
"""Between the two looks that must both find nothing."""
IDLE_S: Final = 5.0
UNREACHABLE_S: Final = 10.0
LOOK_AGAIN_S: Final = 1.0


class Trouble(StrEnum):
    """Name why waiting is over without a result."""

    LOST = "lost"
    STALLED = "stalled"
    TOO_LONG = "too long"
    UNREACHABLE = "unreachable"


@dataclass
class Patience:
    """Judge one prompt's wait. Times are monotonic seconds."""

    max_runtime_s: float
    stall_s: float
    running_since: float | None = None
    idle_since: float | None = None
    missing_since: float | None = None
    unreachable_since: float | None = None

    @property
    def is_worried(self) -> bool:
        """Say whether something looks wrong, so that the next look should come soon."""
        return (self.idle_since, self.missing_since, self.unreachable_since) != (None, None, None)

    def see(self, seen: Whereabouts, now: float, *, live_since: float | None) -> Trouble | None:
        """
        Take one look into account.

        *live_since*: when the prompt last gave a sign through a live WebSocket (its start when it gave none yet);
        None while the WebSocket is down.
        """
        self.unreachable_since = None
        self.missing_since = _since(self.missing_since, now, seen.place is Place.NOWHERE)
        self.idle_since = _since(self.idle_since, now, seen.place is Place.PENDING and seen.is_idle)
        if seen.place is Place.RUNNING and self.running_since is None:
            self.running_since = now
        if self.missing_since is not None and now - self.missing_since >= MISSING_S:
            return Trouble.LOST
        if self.idle_since is not None and now - self.idle_since >= IDLE_S:
            return Trouble.STALLED
        if seen.place is Place.RUNNING and self.running_since is not None:
            if now - self.running_since >= self.max_runtime_s:
                return Trouble.TOO_LONG
            if live_since is not None and now - max(live_since, self.running_since) >= self.stall_s:
                return Trouble.STALLED
        return None

    def miss(self, now: float) -> Trouble | None:
        """Take into account that the server could not be asked."""
        since = self.unreachable_since = _since(self.unreachable_since, now, True)
        return Trouble.UNREACHABLE if since is not None and now - since >= UNREACHABLE_S else None


def _since(since: float | None, now: float, holds: bool) -> float | None:
    """Keep when something began that still *holds*."""
    return (now if since is None else since) if holds else None
