"""Serve an aiohttp application on 127.0.0.1 from a thread of its own, so that synchronous code can talk to it."""

import asyncio
from threading import Event, Thread
from types import TracebackType

from aiohttp import web


class Served:
    """Be a running application: `with Served(app) as served: served.url`."""

    def __init__(self, app: web.Application, port: int = 0) -> None:
        """Serve *app* at *port* (0: any free one) until `close`."""
        self._app = app
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._ready = Event()
        self._failed: BaseException | None = None
        self._thread = Thread(target=self._run, name="served", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed:
            raise self._failed

    @property
    def url(self) -> str:
        """Give the address, without a slash at its end."""
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Stop serving and wait for the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def __enter__(self) -> "Served":
        """Be the running application."""
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Stop serving."""
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1)
        try:
            self._loop.run_until_complete(self._start(runner))
        except BaseException as error:
            self._failed = error
            self._loop.run_until_complete(runner.cleanup())
            return
        finally:
            self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    async def _start(self, runner: web.AppRunner) -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        await site.start()
        self._port = runner.addresses[0][1]
