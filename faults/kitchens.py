"""
ComfyUI servers for scenarios: the stand-in as a process that can die and come back, and in front of it a proxy whose
mood can change: slow, deaf, lying, forgetful.

The proxy speaks HTTP and WebSocket; what it does in no mood at all is what ComfyUI does.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import aiohttp
import requests
from aiohttp import web

from chalicelib.contract.manifest import Workflow
from sandbox.sheets_serve import Served
from sandbox.world import ROOT

KINDS: Final = ("ValueError", "OOM", "SystemExit", "os._exit")
SHAPES: Final = ("none", "text", "abs")


def workflows() -> list[Workflow]:
    """Make the workflows that only scenarios have: they sleep, break, lie and overflow on demand."""
    picture = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}}
    sleep = {
        "class_type": "TestSleep",
        "inputs": {"image": ["1", 0], "seconds": 0.5, "steps": 10, "preview": False, "seed": 1},
    }
    shared = [
        {"name": "prompt", "type": "string", "label": "Prompt", "required": True, "sets": _set("9", "message")},
        {"name": "seed", "type": "seed", "label": "Seed", "default": "random", "sets": _set("2", "seed")},
        {"name": "seconds", "type": "float", "label": "Seconds", "default": 0.5, "sets": _set("2", "seconds")},
    ]

    # Leads nowhere, so it never runs: it only takes the prompt.
    words = {"class_type": "TestBlock", "inputs": {"image": ["1", 0], "message": ""}}

    def save(source: str) -> dict[str, Any]:
        return {"class_type": "SaveImage", "inputs": {"images": [source, 0], "filename_prefix": "f"}}

    def made(name: str, extra: list[dict[str, Any]], nodes: dict[str, Any], **more: Any) -> Workflow:
        graph = {"1": picture, "2": sleep, "9": words, **nodes}
        return Workflow.model_validate(
            {"id": name, "name": name, "parameters": [*shared, *extra], "graph": graph, **more}, strict=False
        )

    raising = {"class_type": "TestRaise", "inputs": {"image": ["2", 0], "kind": "ValueError", "seed": 1}}
    kind = {"name": "kind", "type": "choice", "label": "Kind", "default": "ValueError", "choices": list(KINDS)}
    shape = {"name": "shape", "type": "choice", "label": "Shape", "default": "none", "choices": list(SHAPES)}
    noise = {"class_type": "TestNoise", "inputs": {"image": ["4", 0], "seed": 1}}
    large = {"class_type": "EmptyImage", "inputs": {**picture["inputs"], "width": 512, "height": 512}}  # type: ignore[dict-item]
    below = {"class_type": "EmptyImage", "inputs": {**picture["inputs"], "width": -5}}  # type: ignore[dict-item]
    return [
        made("sleeps", [], {"3": save("2")}),
        made("breaks", [{**kind, "sets": _set("3", "kind")}], {"3": raising, "5": save("3")}),
        made(
            "odd-output",
            [{**shape, "sets": _set("3", "shape")}],
            {"3": {"class_type": "TestUI", "inputs": {"image": ["2", 0], "shape": "none"}}},
        ),
        made("overflows", [], {"3": save("2"), "4": large, "5": noise, "6": save("5")}),
        made("half-wrong", [], {"3": save("2"), "4": below, "5": save("4")}),
        made("unknown-node", [], {"3": save("2"), "4": {"class_type": "NobodyHasThis", "inputs": {}}}),
        made("runs-long", [], {"3": save("2")}, max_runtime_s=2),
    ]


def _set(node: str, name: str) -> list[dict[str, str]]:
    return [{"node": node, "input": name}]


class Kitchen:
    """Run the stand-in as a process on a port of its own, with the nodes that fail on purpose."""

    def __init__(self, home: Path, *, step_ms: int = 20, meter: Path | None = None) -> None:
        """*meter*: where it writes when its runs begin and end."""
        self._home = home
        self._step_ms = step_ms
        self._meter = ["--meter", str(meter)] if meter is not None else []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[str] | None = None
        self.deaths = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Kitchen:
        """Start it, with an empty queue and no history; return when it answers."""
        command = ["sandbox.comfy", "--port", str(self._port), "--dir", str(self._home), "--test-nodes", *self._meter]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command, "--step-ms", str(self._step_ms)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def end(self) -> None:
        """Kill it, as a power cut does. Harmless when it is dead."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()

    def revive(self) -> None:
        """Start it again if it is dead, as the machine's service manager does."""
        if not self.is_alive:
            self.end()
            self.deaths += 1
            self.start()

    def running(self) -> list[str]:
        """Name the prompts that run."""
        with contextlib.suppress(requests.RequestException, ValueError):
            return [item[1] for item in requests.get(f"{self.url}/queue", timeout=2).json()["queue_running"]]
        return []


class Nurse:
    """Bring a kitchen back whenever it is dead, from a thread of its own, until closed."""

    def __init__(self, kitchen: Kitchen, pause_s: float = 0.3) -> None:
        self._kitchen = kitchen
        self._pause_s = pause_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="nurse", daemon=True)
        self._thread.start()

    def __enter__(self) -> Nurse:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._pause_s):
            self._kitchen.revive()


class Mood(StrEnum):
    """Name what the proxy does to the worker's calls."""

    FINE = "fine"
    SLOW = "every answer comes half a second late"
    DEAF = "the WebSocket is open and silent, pings too"
    NO_FILE = "the output file is not there"
    HALF_FILE = "the output file breaks off half-way"
    GARBAGE = "queue and history are a page, half a text, or JSON of another shape"
    MUTE = "what needs no answer is done, and answered too late"
    OLD = "an older version: ids of its own, no jobs route"


LATE_S: Final = 7.0
"""Later than the worker waits for a small answer."""
_ODD: Final = (
    b"<html><body><h1>502 Bad Gateway</h1></body></html>", b"[]", b"", b'"x"', b"7", b"null", b"{}", b'{"queue_runn',
    b'{"queue_running": null}', b'{"queue_running": [[]], "queue_pending": [7]}',
    b'{"queue_running": "no", "queue_pending": {"a": 1}}', b"\xff\xfe",
)  # fmt: skip


class Moody:
    """Stand before a ComfyUI at *upstream*, and have moods."""

    def __init__(self, upstream: str) -> None:
        self.mood = Mood.FINE
        self.times = 10**9
        """How many calls still meet the mood (of those that it is about)."""
        self.met: Counter[Mood] = Counter()
        """How many calls (of DEAF: frames) have met each mood."""
        self.cut_off: set[str] = set()
        """The SHA-256 of each file, whole, that HALF_FILE cut off."""
        self.cancelled_at: dict[str, float] = {}
        """When a prompt was first asked to stop (Unix seconds), by its id."""
        self.calls = 0
        self._upstream = upstream
        self._odd = 0
        self._sockets: set[web.WebSocketResponse] = set()
        app = web.Application(client_max_size=200 * 1024 * 1024)
        app.router.add_get("/ws", self._talk)
        app.router.add_route("*", "/{path:.*}", self._pass)
        app.cleanup_ctx.append(self._client)
        self._served = Served(app)
        self.url = self._served.url

    def be(self, mood: Mood, times: int = 10**9) -> None:
        """Change the mood for the next *times* calls that it is about."""
        self.times, self.mood = times, mood

    def drop_sockets(self) -> int:
        """Break every WebSocket without a closing frame; how many that were."""
        dropped = 0
        for one in tuple(self._sockets):
            transport = one._req.transport if one._req is not None else None
            if transport is not None:
                transport.abort()
                dropped += 1
        return dropped

    def close(self) -> None:
        """Stop serving."""
        self.drop_sockets()
        self._served.close()

    async def _client(self, _app: web.Application) -> Any:
        async with aiohttp.ClientSession() as self._session:
            yield

    def _meets(self, *moods: Mood) -> bool:
        if self.mood not in moods or self.times <= 0:
            return False
        self.times -= 1
        self.met[self.mood] += 1
        return True

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        path = request.path
        body = await request.read()
        self._note_cancel(path, body)
        if self._meets(Mood.SLOW):
            await asyncio.sleep(0.5)
        if request.method == "POST" and not path.startswith(("/prompt", "/upload")) and self._meets(Mood.MUTE):
            await asyncio.sleep(LATE_S)
        if path.startswith("/view") and self._meets(Mood.NO_FILE):
            return web.Response(status=404)
        if path.startswith(("/queue", "/history")) and request.method == "GET" and self._meets(Mood.GARBAGE):
            self._odd += 1
            return web.Response(body=_ODD[self._odd % len(_ODD)], content_type="application/json")
        if self.mood is Mood.OLD:
            if path.startswith("/api/jobs"):
                return web.Response(status=404)
            if path == "/prompt" and body:
                body = json.dumps({k: v for k, v in json.loads(body).items() if k != "prompt_id"}).encode()
                self.met[Mood.OLD] += 1
        try:
            return await self._forward(request, body)
        except aiohttp.ClientError:
            # As a dead server: nobody answers.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        kept = {name: value for name, value in request.headers.items() if name.lower() in ("content-type", "accept")}
        async with self._session.request(
            request.method, self._upstream + request.raw_path, data=body or None, headers=kept
        ) as answer:
            data = await answer.read()
            if request.path.startswith("/view") and self._meets(Mood.HALF_FILE):
                self.cut_off.add(hashlib.sha256(data).hexdigest())
                return await self._half(request, data)
            kind = answer.headers.get("Content-Type", "application/octet-stream")
            return web.Response(body=data, status=answer.status, headers={"Content-Type": kind})

    async def _half(self, request: web.Request, data: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def _note_cancel(self, path: str, body: bytes) -> None:
        if path.startswith("/api/jobs/") and path.endswith("/cancel"):
            self.cancelled_at.setdefault(path.split("/")[3], time.time())
        elif path == "/interrupt" and body:
            self.cancelled_at.setdefault(str(json.loads(body).get("prompt_id")), time.time())

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        near = web.WebSocketResponse(autoping=False, max_msg_size=0)
        await near.prepare(request)
        self._sockets.add(near)
        try:
            async with self._session.ws_connect(
                self._upstream + request.raw_path, autoping=False, max_msg_size=0
            ) as far:
                await asyncio.wait(
                    [asyncio.ensure_future(self._carry(near, far)), asyncio.ensure_future(self._carry(far, near))],
                    return_when=asyncio.FIRST_COMPLETED,
                )
        except aiohttp.ClientError:
            pass
        finally:
            self._sockets.discard(near)
            if request.transport is not None:
                request.transport.abort()
        return near

    async def _carry(self, source: Any, sink: Any) -> None:
        """Carry frames one way; a deaf proxy takes them and says nothing."""
        async for frame in source:
            if self.mood is Mood.DEAF:
                self.met[Mood.DEAF] += 1
                continue
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                if frame.type is aiohttp.WSMsgType.TEXT:
                    await sink.send_str(frame.data)
                elif frame.type is aiohttp.WSMsgType.BINARY:
                    await sink.send_bytes(frame.data)
                elif frame.type is aiohttp.WSMsgType.PING:
                    await sink.ping(frame.data)
                elif frame.type is aiohttp.WSMsgType.PONG:
                    await sink.pong(frame.data)


def managed_folder(home: Path) -> Path:
    """Make a folder that the worker takes for a ComfyUI's: its main.py is the stand-in."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "main.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from sandbox.comfy.__main__ import main\n"
        'port = sys.argv[sys.argv.index("--port") + 1]\n'
        f'sys.exit(main(["--port", port, "--dir", {str(home / "files")!r}, "--test-nodes", "--step-ms", "20"]))\n'
    )
    return home
