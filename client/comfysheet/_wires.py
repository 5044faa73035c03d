"""Carry plans out over HTTP: `Wires` blocks, `AsyncWires` awaits. The one place that sends, sleeps and closes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import httpx

from comfysheet._plan import Lost, Pause, Plan, Reply, Step, Work

T = TypeVar("T")

_CHUNK_BYTES: Final = 256 * 1024
_LIMITS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=20)


class Stopped(Exception):
    """Say that a plan was given up in the middle because its caller wants no more."""


def _sleep(seconds: float, stop: threading.Event | None) -> None:
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)


async def _async_sleep(seconds: float, stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(seconds)
    else:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


class Wires:
    """Carry plans out and block meanwhile. Threads may share it."""

    def __init__(self, sleep: Callable[[float, threading.Event | None], None] = _sleep) -> None:
        self._client = httpx.Client(follow_redirects=False, limits=_LIMITS)
        self._sleep = sleep

    def run(self, plan: Plan[T], stop: threading.Event | None = None) -> T:
        """Give what the plan comes to. Raise what it raises; `Stopped` between two steps when *stop* is set."""
        answer: object = None
        try:
            while True:
                step: Step = plan.throw(answer) if isinstance(answer, Lost) else plan.send(answer)
                if stop is not None and stop.is_set():
                    raise Stopped
                answer = self._do(step, stop)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            plan.close()

    def _do(self, step: Step, stop: threading.Event | None) -> object:
        if isinstance(step, Pause):
            self._sleep(step.seconds, stop)
            return None
        if isinstance(step, Work):
            return step.do()
        try:
            reply = self._client.send(step.request, stream=True)
            try:
                if step.into is None or reply.status_code != 200:
                    return Reply(reply.status_code, reply.headers, reply.read())
                step.into.restart()
                for chunk in reply.iter_bytes(_CHUNK_BYTES):
                    step.into.write(chunk)
                return Reply(reply.status_code, reply.headers)
            finally:
                reply.close()
        except (httpx.TransportError, httpx.DecodingError) as error:
            return _lost(error)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


class AsyncWires:
    """Carry plans out within asyncio."""

    def __init__(self, sleep: Callable[[float, asyncio.Event | None], Awaitable[None]] = _async_sleep) -> None:
        self._client = httpx.AsyncClient(follow_redirects=False, limits=_LIMITS)
        self._sleep = sleep

    async def run(self, plan: Plan[T], stop: asyncio.Event | None = None) -> T:
        """Give what the plan comes to. Raise what it raises; `Stopped` between two steps when *stop* is set."""
        answer: object = None
        try:
            while True:
                step = plan.throw(answer) if isinstance(answer, Lost) else plan.send(answer)
                if stop is not None and stop.is_set():
                    raise Stopped
                answer = await self._do(step, stop)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            plan.close()

    async def _do(self, step: Step, stop: asyncio.Event | None) -> object:
        if isinstance(step, Pause):
            await self._sleep(step.seconds, stop)
            return None
        if isinstance(step, Work):
            return await asyncio.to_thread(step.do)
        try:
            reply = await self._client.send(step.request, stream=True)
            try:
                if step.into is None or reply.status_code != 200:
                    return Reply(reply.status_code, reply.headers, await reply.aread())
                step.into.restart()
                async for chunk in reply.aiter_bytes(_CHUNK_BYTES):
                    await asyncio.to_thread(step.into.write, chunk)
                return Reply(reply.status_code, reply.headers)
            finally:
                await reply.aclose()
        except (httpx.TransportError, httpx.DecodingError) as error:
            return _lost(error)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _lost(error: Exception) -> Lost:
    if isinstance(error, httpx.LocalProtocolError):
        # Our own mistake: it would be the same again.
        raise error
    # Not the text of httpx alone: that of a timeout is empty.
    lost = Lost(str(error) or type(error).__name__)
    lost.__cause__ = error
    return lost
