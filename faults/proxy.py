"""
Stand between a client and a server, and make faults on order: lost answers, resets, black holes, slowness, cut uploads,
answers of our own, requests carried out twice.

Speaks HTTP/1.1 (WebSockets pass through a tunnel) on a thread of its own, on 127.0.0.1. Heads pass as they came, so a
signature holds: clients sign the proxy's own Host. Request bodies are held whole in memory, answers are streamed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

from faults.link import Exchange, Link
from faults.orders import Fault, Kind, Order, Orders, Request, call_name
from faults.wire import Reader


class Proxy:
    """
    Be the proxy before *upstream* (a URL's scheme, host and port). A context manager; `url` is where it listens.

    *name*: what a request is called in orders, log and counts; *about*: what else the log notes of it. The log keeps
    the newest *keep* exchanges.
    """

    def __init__(
        self,
        upstream: str,
        *,
        seed: int = 0,
        name: Callable[[Request], str] = call_name,
        about: Callable[[Request], str] = lambda _: "",
        keep: int = 100_000,
    ) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._orders = Orders(seed, name, about)
        self._log: deque[Exchange] = deque(maxlen=keep)
        self._links: set[Link] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self.url = ""
        self.counts: Counter[str] = Counter()
        """How many requests of each name have come."""

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._up.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def log(self) -> list[Exchange]:
        """List what has passed, in the order in which it came."""
        return list(self._log)

    @property
    def open_links(self) -> int:
        """Count the clients' connections that are open now."""
        return len(self._links)

    def order(self, fault: Fault) -> Order:
        """Begin a fault. One that stands acts on open connections too."""
        order = self._orders.add(fault)
        if fault.kind is Kind.RESET and fault.stands:
            self._loop.call_soon_threadsafe(self._cut_open)
        return order

    def clear(self) -> None:
        """End all faults; what they hold back goes on."""
        self._orders.clear()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        loop, tasks = self._loop, set[asyncio.Task[None]]()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert isinstance(reader, Reader)
            task = loop.create_task(self._link(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(Reader(), accepted, loop=loop), "127.0.0.1", 0, backlog=512
        )
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._up.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _link(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        link = Link(self._upstream, self._orders, self._note, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def _note(self, exchange: Exchange) -> None:
        self._log.append(exchange)
        self.counts[exchange.name] += 1

    def _cut_open(self) -> None:
        for link in list(self._links):
            if link.request is not None:
                standing = self._orders.standing(link.request)
                if any(order.fault.kind is Kind.RESET for order in standing):
                    link.cut()
