"""
Relay connections to a local cloud and hold every answer back for a while, as a distant region would.

`python -m bench.relay --to PORT --delay-ms 40` prints the port it listens on, and a JSON line of calls by kind for each
line on its standard input. What it adds beside the delay is less than a millisecond (tests/unit/test_bench.py).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter

_CALL = re.compile(
    rb"(GET|PUT|POST|DELETE|HEAD) (/\S*) HTTP/1\.1\r\n((?:[^\r\n]+\r\n)*)", re.IGNORECASE
)
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
    """Hand on what comes in, at once or after a delay."""

    def __init__(self, relay: Relay, peer: _Side | None, delay_s: float) -> None:
        self._relay = relay
        self._delay_s = delay_s
        self.peer = peer
        self.transport: asyncio.Transport | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self.early:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._hand_on, data)
        else:
            kind = kind_of(data)
            if kind is not None:
                self._relay.calls[kind] += 1
            self._hand_on(data)

    def _hand_on(self, data: bytes) -> None:
        if self.peer is None:
            return
        if self.peer.transport is None:
            self.peer.early.append(data)
        elif not self.peer.transport.is_closing():
            self.peer.transport.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            asyncio.get_running_loop().call_later(self._delay_s + 0.01, self.peer.transport.close)


class Relay:
    """Listen on a free port of 127.0.0.1 and relay to port *to*."""

    def __init__(self, to: int, delay_s: float) -> None:
        self._to = to
        self._delay_s = delay_s
        self.calls: Counter[str] = Counter()

    async def start(self) -> int:
        """Begin to listen; the port."""
        server = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def _accept(self) -> asyncio.Protocol:
        near = _Side(self, None, 0)
        # A delay of nothing must still not be taken for the near side, which counts.
        far = _Side(self, near, self._delay_s or 1e-9)
        near.peer = far
        loop = asyncio.get_running_loop()
        task = loop.create_task(loop.create_connection(lambda: far, "127.0.0.1", self._to))
        task.add_done_callback(lambda done: done.exception())
        return near


async def _serve(to: int, delay_s: float) -> None:
    relay = Relay(to, delay_s)
    print(await relay.start(), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(relay.calls), flush=True)
        relay.calls.clear()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=40)
    told = parser.parse_args()
    asyncio.run(_serve(told.to, told.delay_ms / 1000))
