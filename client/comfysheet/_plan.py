"""
Write a conversation with the server down as a plan, once for both clients.

A plan is a generator: it yields a `Send`, `Pause` or `Work`, gets the `Reply` (or `Lost` thrown in), and returns what
was wanted. It touches no network and no clock of its own; `comfysheet._wires` carries plans out, blocking or not.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol, TypeVar

import httpx

T = TypeVar("T")

_PASSING: Final = frozenset({408, 429, 502, 503, 504})
"""Statuses that may be others in a moment."""


class Sink(Protocol):
    """Take the body of an answer in, piece by piece."""

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""

    def restart(self) -> None:
        """Forget what was taken so far: the body comes once more from its start."""


@dataclass(frozen=True)
class Send:
    """Have *request* sent. The body of an answer with status 200 goes *into* a sink, if there is one."""

    request: httpx.Request
    into: Sink | None = None


@dataclass(frozen=True)
class Pause:
    """Have nothing done for a while."""

    seconds: float


@dataclass(frozen=True)
class Work:
    """Have something done that takes the disk or the processor a while; the answer is what *do* returns."""

    do: Callable[[], object]


@dataclass(frozen=True)
class Reply:
    """Hold an answer."""

    status: int
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    body: bytes = b""

    def json(self) -> dict[str, Any] | None:
        """Read the body; None when it is no JSON object."""
        try:
            told = json.loads(self.body)
        except ValueError:
            return None
        return told if isinstance(told, dict) else None

    def retry_after_s(self, wall_s: Callable[[], float] = time.time) -> float | None:
        """Read Retry-After, in seconds or as a date (RFC 9110, 10.2.3)."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - wall_s())
        except ValueError:
            return None


class Lost(Exception):
    """Say that no whole answer came: whether the request arrived, nobody knows."""


Step = Send | Pause | Work
Plan = Generator[Step, Any, T]


@dataclass(frozen=True)
class Surroundings:
    """Be what a plan sees of the world: a clock (seconds, any origin) and a die (0 to 1)."""

    now: Callable[[], float] = time.monotonic
    die: Callable[[], float] = random.random


@dataclass(frozen=True)
class Patience:
    """Say how long one request is repeated (*total_s*), and the pauses in between, which double and are jittered."""

    total_s: float = 60.0
    first_s: float = 0.5
    most_s: float = 15.0

    def pause_s(self, tries: int, advice_s: float | None, die: Callable[[], float]) -> float:
        """Say how long to wait after *tries*; the server's own advice is kept to, and never undercut."""
        # Half of it by chance, so that many clients do not come back in step.
        own = min(self.most_s, self.first_s * 2.0 ** min(tries - 1, 20)) * (0.5 + die() / 2)
        return own if advice_s is None else max(own, advice_s)


@dataclass(frozen=True)
class Heard:
    """Hold the answer that counts, and how often it was asked for."""

    reply: Reply
    tries: int


def repeat(
    make: Callable[[], Send],
    *,
    patience: Patience,
    around: Surroundings,
    give_up: Callable[[Reply | Lost], Exception],
    is_whole: Callable[[Reply], bool] = lambda _reply: True,
) -> Plan[Heard]:
    """
    Send what *make* makes until a lasting answer comes, for as long as *patience* allows.

    Only for what may be repeated: reading, and what carries an idempotency key. An answer that is not *is_whole* counts
    as lost. Raise what *give_up* makes of the last failure.
    """
    until = around.now() + patience.total_s
    tries = 0
    while True:
        tries += 1
        failure: Reply | Lost
        try:
            reply: Reply = yield make()
            if reply.status not in _PASSING and is_whole(reply):
                return Heard(reply, tries)
            failure = reply if reply.status in _PASSING else Lost("the answer is cut short")
        except Lost as lost:
            failure = lost
        advice_s = failure.retry_after_s() if isinstance(failure, Reply) else None
        pause_s = patience.pause_s(tries, advice_s, around.die)
        if around.now() + pause_s > until:
            raise give_up(failure) from (failure if isinstance(failure, Lost) else None)
        yield Pause(pause_s)
