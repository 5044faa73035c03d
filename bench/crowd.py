"""
Be many clients of the API at once, each of which asks again as soon as it is answered.

Threads with a connection each: at the rates of one machine they cost a few per cent of a core, they need no library
that patches sockets (locust brings gevent, which boto3's threads do not survive), and every answer is kept by the name
of what was asked, so that afterwards each can be held against the table.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Reply:
    """Hold an answer: its status (0: none came), headers (lower case) and body, and how long it took."""

    status: int
    ms: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Heard:
    """Hold all that a crowd heard in so many *seconds*, by what was asked."""

    seconds: float
    replies: list[tuple[str, Reply]]

    def ms(self, *statuses: int) -> list[float]:
        """List how long answers of these statuses took; none named: all of 2xx."""
        wanted = statuses or tuple(range(200, 300))
        return [reply.ms for _, reply in self.replies if reply.status in wanted]

    def share(self, holds: Callable[[int], bool]) -> float:
        """Say which share of the answers has a status for which *holds* (0 to 1)."""
        return sum(holds(reply.status) for _, reply in self.replies) / max(1, len(self.replies))


class Connection:
    """Keep one connection open, and open it again when it was closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._base = parts.path.rstrip("/")
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Ask once; no answer is an answer too (status 0)."""
        begun = time.perf_counter()
        try:
            self._http.request(method, self._base + path, body or None, dict(headers))
            answer = self._http.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._http.close()
            return Reply(0, (time.perf_counter() - begun) * 1000)
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, (time.perf_counter() - begun) * 1000, told, content)


Ask = Callable[[Connection, str], Reply]
"""Ask something under a name of its own (`<client>-<number>`)."""


def crowd(url: str, ask: Ask, *, clients: int, seconds: float, pause_s: float = 0.0) -> Heard:
    """Let *clients* ask for *seconds*, each with a pause after each answer."""
    with asking(url, ask, clients=clients, pause_s=pause_s) as heard:
        threading.Event().wait(seconds)
    return heard()


@contextmanager
def asking(url: str, ask: Ask, *, clients: int, pause_s: float = 0.0) -> Iterator[Callable[[], Heard]]:
    """Let *clients* ask for as long as the block lasts; what was heard is to be had after it."""
    over, kept, lock = threading.Event(), [], threading.Lock()
    lasted: list[float] = []

    def one(number: int) -> None:
        connection = Connection(url)
        for count in itertools.count():
            if over.is_set():
                return
            name = f"{number}-{count}"
            reply = ask(connection, name)
            with lock:
                kept.append((name, reply))
            if pause_s:
                over.wait(pause_s)

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    try:
        yield lambda: Heard(lasted[0], kept)
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        lasted.append(time.perf_counter() - begun)
