"""Say how much a key may use, and what it has used; whose jobs they are (the client) is another matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from chalicelib.contract.errors import Exhausted

RATE: Final = 20.0
BURST: Final = 100
QUEUED_MAX: Final = 1_000
DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True)
class Limits:
    """
    Bound a key: requests a second on average and at once, open jobs of its client, seconds of a GPU a day (UTC).

    *gpu_s_per_day* None: as many as there are.
    """

    rate_per_s: float = RATE
    burst: int = BURST
    queued_max: int = QUEUED_MAX
    gpu_s_per_day: int | None = None


SHEET_LIMITS: Final = Limits(rate_per_s=40.0, burst=400)
"""Of a spreadsheet's key, unless it says otherwise: all who have it open ask with the same one, every few seconds."""


@dataclass(frozen=True)
class Account:
    """Name the key on whose account jobs are made, what it may, and what its jobs have used today."""

    key_id: str = ""
    limits: Limits = field(default_factory=Limits)
    gpu_ms_today: int = 0
    used_at: int | None = None
    """When it last asked (ms since the epoch); None: never, or longer ago than the counters remember."""

    def refusal(self, now: int) -> Exhausted | None:
        """Say why no further job is made at *now*; None: it may be."""
        most_s = self.limits.gpu_s_per_day
        if most_s is None or self.gpu_ms_today < most_s * 1000:
            return None
        return Exhausted(
            "budget_spent",
            f"The {most_s:,} GPU-seconds that this key has for a day are used up. Ask again after midnight UTC, or ask "
            "the operator for more.",
            retry_in_s=(DAY_MS - now % DAY_MS) / 1000,
        )


EVERYBODY: Final = "*"
"""The account on which the GPU time of all keys is added up once more."""

NO_ACCOUNT: Final = Account()
"""Nobody's: with the usual limits, and nothing is counted."""
