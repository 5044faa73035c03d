"""
Relay connections to a local cloud and hold every answer back for a while, as a distant region would.

`python -m bench.relay --to PORT --delay-ms 40` prints the port it listens on, and a JSON line for each line on its
standard input: `calls` by kind since the last time, and `answered`, when the last answer to each kind was handed on
(nanoseconds since the epoch). Bytes are never changed, so a signature over the Host header still holds. What the relay
adds beside the delay is less than a millisecond (tests/unit/test_bench.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections import Counter

_CALL = re.compile(rb"(GET|PUT|POST|DELETE|HEAD) (/\S*) HTTP/1\.1\r\n((?:[^\r\n]+\r\n)*)", re.IGNORECASE)
_TARGET = re.compile(rb"x-amz-target: *\S+?\.(\w+)\r\n", re.IGNORECASE)


def kind_of(head: bytes) -> str | None:
    """Name the call that begins in *head*: an action (SendMessage), or S3's verb and folder (PUT outputs)."""
    call = _CALL.match(head)
    if call is None:
        return None
    target = _TARGET.search(call[3])
    if target:
        return target[1].decode()
    folder = call[2].decode().split("?")[0].strip("/").split("/")
    return f"{call[1].decode()} {folder[1] if len(folder) > 1 else '/'}"


class _Side(asyncio.Protocol):
    """Be one end of a connection: hand what comes in to the other end."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self._early:
            transport.write(data)
        self._early.clear()
        if self._is_over:
            transport.close()

    def send(self, data: bytes) -> None:
        """Write, now or as soon as there is a connection."""
        if self.transport is None:
            self._early.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)

    def hang_up(self) -> None:
        """Close, after what was written."""
        self._is_over = True
        if self.transport is not None:
            self.transport.close()


class _Near(_Side):
    """Face the caller: requests go on at once, and are counted."""

    far: _Far
    asked: str | None = None
    """What the caller asked last; boto3 asks one thing at a time on a connection."""

    def data_received(self, data: bytes) -> None:
        kind = kind_of(data)
        if kind is not None:
            self.asked = kind
            self.relay.calls[kind] += 1
        self.far.send(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.far.hang_up()


class _Far(_Side):
    """Face the cloud: answers, and the end of the connection, are held back."""

    near: _Near

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.relay.delay_s, self._hand_on, data, self.near.asked)

    def connection_lost(self, _exc: Exception | None) -> None:
        # A millisecond more, for call_later promises no order among equals.
        asyncio.get_running_loop().call_later(self.relay.delay_s + 0.001, self.near.hang_up)

    def _hand_on(self, data: bytes, asked: str | None) -> None:
        self.near.send(data)
        if asked is not None:
            self.relay.answered[asked] = time.time_ns()


class Relay:
    """Listen on a free port of 127.0.0.1 and relay to port *to*."""

    def __init__(self, to: int, delay_s: float) -> None:
        self._to = to
        self.delay_s = delay_s
        self.calls: Counter[str] = Counter()
        self.answered: dict[str, int] = {}
        self._opening: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Begin to listen; the port."""
        server = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def _accept(self) -> _Near:
        near, far = _Near(self), _Far(self)
        near.far, far.near = far, near
        task = asyncio.get_running_loop().create_task(self._open(far))
        self._opening.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._opening.discard)
        return near

    async def _open(self, far: _Far) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self._to)
        except OSError:
            far.near.hang_up()


async def _serve(to: int, delay_s: float) -> None:
    relay = Relay(to, delay_s)
    print(await relay.start(), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps({"calls": relay.calls, "answered": relay.answered}), flush=True)
        relay.calls.clear()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=40)
    told = parser.parse_args()
    asyncio.run(_serve(told.to, told.delay_ms / 1000))
