"""Have both clients pass one suite: the awaiting one is made to look like the blocking one."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from typing import Any

from comfysheet import AsyncComfySheet, ComfySheet
from comfysheet._plan import Surroundings
from comfysheet._wires import AsyncWires, Wires
from tests.client_server import KEY, JobsServer


class Naps:
    """Be a clock that only pauses move, and note them."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.time_s = 1000.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.time_s

    def nap(self, seconds: float, _stop: object = None) -> None:
        with self._lock:
            self.taken.append(seconds)
            self.time_s += seconds

    async def nap_later(self, seconds: float, stop: object = None) -> None:
        self.nap(seconds, stop)
        await asyncio.sleep(0)

    def around(self) -> Surroundings:
        return Surroundings(self.now, lambda: 1.0)


class Blocked:
    """Wrap what awaits so that it blocks."""

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.inner = inner
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return self._blocked(getattr(self.inner, name))

    def __repr__(self) -> str:
        return repr(self.inner)

    def _blocked(self, thing: Any) -> Any:
        if inspect.ismethod(thing):
            return lambda *given, **named: self._blocked(thing(*given, **named))
        if inspect.iscoroutine(thing):
            return self._blocked(self._loop.run_until_complete(thing))
        if inspect.isasyncgen(thing):
            return self._iterate(thing)
        if isinstance(thing, tuple | list):
            return type(thing)(self._blocked(one) for one in thing)
        return Blocked(thing, self._loop) if type(thing).__name__.startswith(("Async", "Done")) else thing

    def _iterate(self, rows: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._blocked(self._loop.run_until_complete(anext(rows)))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(rows.aclose())


class Client:
    """Make clients of one kind ("blocking" or "awaiting") and close them."""

    def __init__(self, kind: str, server: JobsServer) -> None:
        self.kind = kind
        self.naps = Naps()
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._made: list[Any] = []

    def make(self, *, key: str = KEY, url: str | None = None, patience: float = 60.0, real_time: bool = False) -> Any:
        """Make a client whose pauses take no time (but for *real_time*)."""
        url = url or self._server.url
        around = Surroundings() if real_time else self.naps.around()
        if self.kind == "blocking":
            wires = Wires() if real_time else Wires(self.naps.nap)
            made: Any = ComfySheet(url, key, patience=patience, wires=wires, around=around)
        else:
            later = AsyncWires() if real_time else AsyncWires(self.naps.nap_later)
            made = Blocked(AsyncComfySheet(url, key, patience=patience, wires=later, around=around), self._loop)
        self._made.append(made)
        return made

    def close(self) -> None:
        """Close all."""
        for made in self._made:
            made.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
