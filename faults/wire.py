"""Read and write HTTP/1.1 messages as they stand on the wire (RFC 9112), for the fault proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

CHUNK = 64 * 1024
HEAD_BYTES = 256 * 1024
"""The longest head that is read: a URL may carry a long query."""


class Reader(asyncio.StreamReader):
    """Be a stream that can be asked whether the other side has hung up, without reading from it."""

    def __init__(self) -> None:
        super().__init__(limit=HEAD_BYTES)
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: BaseException) -> None:
        super().set_exception(exc)  # type: ignore[arg-type]
        self.ended.set()


@dataclass(frozen=True)
class Head:
    """Hold the first line and the headers of a message, in their order and spelling."""

    first: str
    lines: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """Give a header's value; empty: it is not there."""
        return next((value for key, value in self.lines if key.lower() == name), "")

    @property
    def status(self) -> int:
        return int(self.first.split(" ", 2)[1])

    @property
    def length(self) -> int:
        return int(self.get("content-length") or 0)

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.get("transfer-encoding").lower()

    def without(self, *names: str) -> Head:
        return Head(self.first, tuple((key, value) for key, value in self.lines if key.lower() not in names))

    def plus(self, name: str, value: str) -> Head:
        return Head(self.first, (*self.lines, (name, value)))

    def to_bytes(self) -> bytes:
        text = "\r\n".join([self.first, *(f"{key}: {value}" for key, value in self.lines)])
        return f"{text}\r\n\r\n".encode("latin-1")


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read a head; None: the other side has hung up before another message."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *rest = raw[:-4].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return Head(first, tuple((name, value.strip()) for name, _, value in pairs))


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    """Read a request's body whole, unchunked."""
    if head.is_chunked:
        return b"".join([part async for part in _chunks(reader, raw=False)])
    return await reader.readexactly(head.length) if head.length else b""


async def body_parts(reader: asyncio.StreamReader, head: Head, *, method: str) -> AsyncIterator[bytes]:
    """Read an answer's body as it comes, chunked as it was; one without a length lasts until the connection ends."""
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return
    if head.is_chunked:
        async for part in _chunks(reader, raw=True):
            yield part
        return
    left = head.length if head.get("content-length") else None
    while left is None or left > 0:
        part = await reader.read(CHUNK if left is None else min(CHUNK, left))
        if not part:
            if left is not None:
                raise ConnectionError("the answer ended early")
            return
        left = None if left is None else left - len(part)
        yield part


async def _chunks(reader: asyncio.StreamReader, *, raw: bool) -> AsyncIterator[bytes]:
    while True:
        line = await reader.readline()
        size = int(line.split(b";")[0], 16)
        data = await reader.readexactly(size) if size else b""
        if raw:
            yield line + data
        elif data:
            yield data
        end = await reader.readline()
        while not size and end not in (b"\r\n", b""):  # trailers
            if raw:
                yield end
            end = await reader.readline()
        if raw:
            yield end
        if not size:
            return
