"""Serve the results page and its files on this machine, the files at an origin of their own as S3 has one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType

from aiohttp import web

from chalicelib.api_parts import Answer, guarded
from tests.gallery.desk import Desk

STAGE = "/stage"


class Served:
    """Run two servers while the block lasts: the API's link routes under `url`, the files at the desk's `storage`."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.url = ""
        self.asked: list[web.Request] = []
        self._runners: list[web.AppRunner] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        pages, files = web.Application(), web.Application()
        for each in (pages, files):
            # A browser that shows a bare file asks its origin for this, once.
            each.router.add_get("/favicon.ico", self._icon)
        pages.add_routes(
            [
                web.get(STAGE + "/o/{job}", self._gallery),
                web.get(STAGE + "/o/{job}/", self._gallery),
                web.get(STAGE + "/o/{job}/record", self._record),
                web.get(STAGE + "/o/{job}/{index}", self._output),
                web.get(STAGE + "/o/{job}/{index}/thumb", self._thumbnail),
            ]
        )
        files.add_routes([web.get("/{key:.+}", self._file)])
        self.url = self._start(pages) + STAGE
        self.desk.storage = self._start(files)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for runner in self._runners:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _start(self, app: web.Application) -> str:
        async def start() -> int:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
            self._runners.append(runner)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            return int(runner.addresses[0][1])

        return f"http://127.0.0.1:{asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)}"

    async def _icon(self, _request: web.Request) -> web.Response:
        return web.Response(status=204)

    def _answer(self, request: web.Request, make: Callable[[], Answer]) -> web.Response:
        self.asked.append(request)
        answer = guarded(make)
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        if not isinstance(body, bytes):
            return web.json_response(body, status=answer.status)
        return web.Response(status=answer.status, headers=answer.headers, body=body)

    async def _gallery(self, request: web.Request) -> web.Response:
        asked = request.match_info["job"], request.query.get("t", "")
        return self._answer(request, lambda: self.desk.api.gallery(*asked))

    async def _record(self, request: web.Request) -> web.Response:
        asked = request.match_info["job"], request.query.get("t", ""), request.query.get("attempt", "")
        return self._answer(request, lambda: self.desk.api.record(*asked))

    async def _output(self, request: web.Request) -> web.Response:
        asked = request.match_info["job"], request.match_info["index"], request.query.get("t", "")
        download = request.query.get("download") == "1"
        return self._answer(request, lambda: self.desk.api.output(*asked, download=download))

    async def _thumbnail(self, request: web.Request) -> web.Response:
        asked = request.match_info["job"], request.match_info["index"], request.query.get("t", "")
        return self._answer(request, lambda: self.desk.api.thumbnail(*asked))

    async def _file(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        content = self.desk.kept.get(request.match_info["key"])
        if content is None:
            return web.Response(status=404)
        headers = {
            "Content-Type": request.query["response-content-type"],
            "Content-Disposition": request.query["response-content-disposition"],
            "Accept-Ranges": "bytes",
        }
        part = request.http_range
        if "Range" not in request.headers:
            return web.Response(body=content, headers=headers)
        start, stop, _ = part.indices(len(content))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return web.Response(status=206, body=content[start:stop], headers=headers)
