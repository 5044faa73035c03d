"""
Start and stop a ComfyUI stand-in inside this process: an event loop in a thread of its own, and the executor's thread.

    with ComfyStandIn(tmp_path, instant=True) as comfy:
        requests.get(comfy.url + "/system_stats")
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

from aiohttp import web

from sandbox.comfy.catalogue import Catalogue
from sandbox.comfy.executor import Executor
from sandbox.comfy.files import FileRoutes
from sandbox.comfy.folders import Folders
from sandbox.comfy.prompt_queue import PromptQueue
from sandbox.comfy.routes import DEVICE_NAME, VERSION, PromptRoutes, refuse_foreign_origins
from sandbox.comfy.sockets import Sockets

MAX_UPLOAD_BYTES = 100 * 1024 * 1024  # ComfyUI's --max-upload-size; 413 in text/plain beyond
DEFAULT_STEP_MS = 40.0


class ComfyStandIn:
    """Be one ComfyUI 0.28.0 without models, on 127.0.0.1, with its folders below *directory*."""

    def __init__(
        self,
        directory: Path | str,
        *,
        step_ms: float = DEFAULT_STEP_MS,
        instant: bool = False,
        test_nodes: bool = False,
        port: int = 0,
        meter: Path | None = None,
    ) -> None:
        """*meter*: a file to which it adds a line when it starts and when a run begins and ends (see `_meter`)."""
        self._meter_file = meter
        self.folders = Folders.under(Path(directory))
        self._step_s = 0.0 if instant else step_ms / 1000
        self._test_nodes = test_nodes
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._failure: BaseException | None = None
        self._executor: Executor | None = None
        self._thread = threading.Thread(target=self._serve, name="comfy-http", daemon=True)

    @property
    def url(self) -> str:
        """Give the base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def spans(self) -> list[tuple[str, int, int]]:
        """List what ran: prompt id, begin and end in nanoseconds since the epoch."""
        return list(self._executor.spans) if self._executor is not None else []

    def start(self) -> ComfyStandIn:
        """Start serving; return when requests are answered. Raises OSError when the port is taken."""
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop at once, as a killed ComfyUI: jobs are not waited for, sockets break, queue and history are gone."""
        with contextlib.suppress(RuntimeError):  # stopped before
            self._loop.call_soon_threadsafe(self._done.cancel)
        self._thread.join()

    def __enter__(self) -> ComfyStandIn:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        except BaseException as exc:
            self._failure = exc
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            self._ready.set()

    def _meter(self, what: str, prompt_id: str, at: int) -> None:
        """Add a line: started, begun or ended, the prompt's id, nanoseconds since the epoch."""
        if self._meter_file is not None:
            with self._meter_file.open("a") as file:
                file.write(f"{what} {prompt_id} {at}\n")

    async def _live(self) -> None:
        """Hold everything together from the first request to the last."""
        queue = PromptQueue(lambda: sockets.tell_status())
        catalogue = Catalogue(self.folders.input, test_nodes=self._test_nodes)
        executor = self._executor = Executor(queue, catalogue, self.folders, self._step_s, self._meter)
        prompts = PromptRoutes(queue, catalogue, self.folders)
        sockets = Sockets(self._loop, prompts.queue_info, executor.running_node)
        runner = web.AppRunner(_app(prompts, FileRoutes(self.folders), sockets), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        with socket.create_server(("127.0.0.1", self._port)) as listener:
            self._port = listener.getsockname()[1]
            await web.SockSite(runner, listener).start()
            publisher = asyncio.create_task(sockets.publish())
            worker = threading.Thread(target=executor.run, args=(sockets,), name="comfy-executor", daemon=True)
            worker.start()
            self._meter("started", "-", time.time_ns())
            self._ready.set()
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    await self._done
            finally:
                executor.stopping.set()
                queue.close()
                sockets.drop_all()
                publisher.cancel()
                await runner.cleanup()
                await asyncio.to_thread(worker.join, 5)


def _app(prompts: PromptRoutes, files: FileRoutes, sockets: Sockets) -> web.Application:
    """Put every route on its path, with and without /api."""
    app = web.Application(client_max_size=MAX_UPLOAD_BYTES, middlewares=[refuse_foreign_origins])
    shared = [*prompts.routes(), *files.routes(), web.get("/ws", sockets.serve)]
    app.add_routes([web.get("/", _front_page), *shared, *prompts.api_routes()])
    app.add_routes([web.route(r.method, "/api" + r.path, r.handler) for r in shared])
    return app


async def _front_page(_: web.Request) -> web.Response:
    """Tell a person who opens the port in a browser what this is."""
    return web.Response(text=f"{DEVICE_NAME}: speaks the protocol of ComfyUI {VERSION}; there is no page here.\n")
