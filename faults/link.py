"""Carry one client's connection through the fault proxy, request by request, as the orders say."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from faults.orders import Fault, Kind, Order, Orders, Request
from faults.wire import CHUNK, Head, Reader, body_parts, read_body, read_head

_Server = tuple[Reader, asyncio.StreamWriter]

LOOK_S = 0.01
"""How soon after a black hole's end things move again."""


@dataclass
class Exchange:
    """Tell of one request: its name, when it came (monotonic s), what was done to it, and what became of it."""

    name: str
    method: str
    target: str
    at_s: float
    about: str = ""
    """What the proxy's *about* says of it."""
    faults: tuple[Kind, ...] = ()
    sent_s: float | None = None
    """When it was sent on to the server last."""
    told_s: float | None = None
    """When the server's answer began."""
    arrived: int = 0
    """How often it was sent on to the server whole."""
    status: int | None = None
    """What the server answered (or the proxy, for ANSWER); None: nothing."""
    is_answered: bool = False
    """Whether the answer was sent on to the client whole."""


class _Gone(Exception):
    """Say that this connection is over."""


class Link:
    """Serve one client's connection, with at most one to the server. *note* is told of each exchange as it begins."""

    def __init__(
        self,
        upstream: tuple[str, int],
        orders: Orders,
        note: Callable[[Exchange], None],
        reader: Reader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._upstream = upstream
        self._orders = orders
        self._note = note
        self._reader = reader
        self._writer = writer
        self._server: _Server | None = None
        self.request: Request | None = None
        """What is being done; None between requests."""

    def cut(self) -> None:
        """Reset both connections."""
        _reset(self._writer)
        if self._server is not None:
            _reset(self._server[1])

    async def run(self) -> None:
        """Carry requests until either side hangs up."""
        with contextlib.suppress(_Gone, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            while await self._next():
                self.request = None
        self._writer.close()
        if self._server is not None:
            self._server[1].close()

    async def _next(self) -> bool:
        """Carry one request; whether there may be another."""
        head = await read_head(self._reader)
        if head is None:
            return False
        if head.get("expect"):
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await read_body(self._reader, head)
        head = head.without("expect")
        if head.is_chunked:
            head = head.without("transfer-encoding").plus("Content-Length", str(len(body)))
        method, target, version = head.first.split(" ", 2)
        request = self._orders.named(method, target, {name.lower(): value for name, value in head.lines}, body)
        self.request = request
        orders = self._orders.fire(request)
        faults = tuple(order.fault.kind for order in orders)
        exchange = Exchange(request.name, method, target, time.monotonic(), request.about, faults)
        self._note(exchange)
        await self._carry(head, body, exchange, orders)
        is_last = "close" in head.get("connection").lower() or version == "HTTP/1.0"
        return not is_last and not self._writer.is_closing()

    async def _carry(self, head: Head, body: bytes, exchange: Exchange, orders: list[Order]) -> None:
        slow = _Slowness(orders)
        order = orders[-1] if orders else None
        kind = order.fault.kind if order is not None else Kind.PASS
        await slow.wait(len(body))
        if order is not None and kind is Kind.ANSWER:
            await self._answer(order.fault, exchange)
            return
        if kind is Kind.RESET:
            self.cut()
            raise _Gone
        if kind is Kind.CUT_UPLOAD:
            await self._send_half(head, body)
        if order is not None and kind is Kind.BLACK_HOLE:
            await self._sit_out(order)
        if kind is Kind.DUPLICATE:
            await self._hear_out(await self._ask(head, body, exchange), exchange)
        server = await self._ask(head, body, exchange)
        if order is not None and kind is Kind.DROP_ANSWER and order.fault.answer:
            said, told = await self._hear_out(server, exchange)
            if order.is_meant(told):
                raise _Gone
            self._writer.write(said.to_bytes() + told)
            await self._writer.drain()
            exchange.is_answered = True
            return
        if kind is Kind.DROP_ANSWER or self._reader.ended.is_set():
            await self._hear_out(server, exchange)
            raise _Gone
        await self._relay(server, exchange, slow)

    async def _answer(self, fault: Fault, exchange: Exchange) -> None:
        lines = (*fault.headers.items(), ("Content-Length", str(len(fault.body))))
        head = Head(f"HTTP/1.1 {fault.status} Ordered", lines)
        self._writer.write(head.to_bytes() + (b"" if exchange.method == "HEAD" else fault.body))
        await self._writer.drain()
        exchange.status, exchange.is_answered = fault.status, True

    async def _send_half(self, head: Head, body: bytes) -> None:
        _, writer = await self._connect()
        writer.write(head.to_bytes() + body[: len(body) // 2])
        await writer.drain()
        # The server should read what came before the reset throws it away.
        await asyncio.sleep(LOOK_S)
        self.cut()
        raise _Gone

    async def _sit_out(self, order: Order) -> None:
        while order.is_active:
            await asyncio.sleep(LOOK_S)
        if self._reader.ended.is_set() and not order.fault.is_late:
            raise _Gone

    async def _connect(self) -> _Server:
        if self._server is not None and not self._server[0].ended.is_set():
            return self._server
        if self._server is not None:
            self._server[1].close()
        loop, reader = asyncio.get_running_loop(), Reader()
        transport, protocol = await loop.create_connection(
            lambda: asyncio.StreamReaderProtocol(reader, loop=loop), *self._upstream
        )
        self._server = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        return self._server

    async def _ask(self, head: Head, body: bytes, exchange: Exchange) -> _Server:
        server = await self._connect()
        server[1].write(head.to_bytes() + body)
        await server[1].drain()
        exchange.arrived, exchange.sent_s = exchange.arrived + 1, time.monotonic()
        return server

    async def _head(self, reader: Reader, exchange: Exchange) -> Head:
        """Read the head of the server's answer."""
        while True:
            head = await read_head(reader)
            if head is None:
                raise _Gone
            if head.status != 100:
                exchange.status, exchange.told_s = head.status, time.monotonic()
                return head

    async def _hear_out(self, server: _Server, exchange: Exchange) -> tuple[Head, bytes]:
        """Read the whole answer (its body as it came, chunked perhaps); the client is not told yet."""
        head = await self._head(server[0], exchange)
        return head, b"".join([part async for part in body_parts(server[0], head, method=exchange.method)])

    async def _relay(self, server: _Server, exchange: Exchange, slow: _Slowness) -> None:
        """Pass the answer on as it comes."""
        reader, writer = server
        head = await self._unless_gone(reader, exchange)
        await self._allowed()
        await slow.wait(0)
        self._writer.write(head.to_bytes())
        if head.status == 101:
            exchange.is_answered = True
            await self._tunnel(reader, writer)
            raise _Gone
        async for part in body_parts(reader, head, method=exchange.method):
            await self._allowed()
            await slow.pass_bytes(len(part))
            self._writer.write(part)
            await self._writer.drain()
        await self._writer.drain()
        exchange.is_answered = True
        has_end = head.get("content-length") or head.is_chunked or head.status in (204, 304)
        if exchange.method != "HEAD" and not has_end:
            raise _Gone

    async def _unless_gone(self, reader: Reader, exchange: Exchange) -> Head:
        """Wait for the answer; a client that hangs up meanwhile hangs up on the server too (a long poll ends)."""
        answer = asyncio.ensure_future(self._head(reader, exchange))
        gone = asyncio.ensure_future(self._reader.ended.wait())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise _Gone
            return answer.result()
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _allowed(self) -> None:
        """Wait while a standing black hole holds what this connection carries."""
        assert self.request is not None
        while True:
            kinds = {order.fault.kind for order in self._orders.standing(self.request)}
            if Kind.RESET in kinds:
                self.cut()
                raise _Gone
            if Kind.BLACK_HOLE not in kinds:
                return
            await asyncio.sleep(LOOK_S)

    async def _tunnel(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until either side ends."""
        there = asyncio.ensure_future(self._pump(self._reader, writer))
        back = asyncio.ensure_future(self._pump(reader, self._writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)

    async def _pump(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        assert self.request is not None
        while part := await reader.read(CHUNK):
            await self._allowed()
            await _Slowness(self._orders.standing(self.request)).wait(len(part))
            writer.write(part)
            await writer.drain()


class _Slowness:
    """Wait as slow orders say."""

    def __init__(self, orders: list[Order]) -> None:
        slow = [order.fault for order in orders if order.fault.kind is Kind.SLOW]
        self._delay_s = sum(fault.delay_s for fault in slow)
        self._bytes_per_s = min((fault.bytes_per_s for fault in slow if fault.bytes_per_s is not None), default=None)

    async def wait(self, size: int) -> None:
        """Wait for one message of *size* bytes."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self.pass_bytes(size)

    async def pass_bytes(self, size: int) -> None:
        if self._bytes_per_s:
            await asyncio.sleep(size / self._bytes_per_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    held = writer.get_extra_info("socket")
    if held is not None:
        with contextlib.suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
