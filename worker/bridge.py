"""
Keep one workflow ready on a ComfyUI and run it when other programs say so: `python -m worker bridge --workflow FILE`.

A program (a camera, a stage, a game) posts a picture or a text and gets results without ever sending a graph. One run
at a time; what is asked for meanwhile is done once after it, with the newest of everything.
Bound to loopback unless told otherwise, and closed to web pages of other sites.
"""

from __future__ import annotations

import argparse
import copy
import email.parser
import email.policy
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.graph import is_link, isolate
from chalicelib.contract.job import Progress
from worker.clock import Clock
from worker.comfy.faults import GraphRefused
from worker.comfy.solo import Failed, Solo, Stopped
from worker.logs import start_logs
from worker.run import MOST_BYTES, Wrong, read_graph
from worker.settings import DEFAULT_COMFY_URL

MAX_BODY_BYTES: Final = 64_000_000
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_LOADERS: Final = ("LoadImage", "LoadImageMask", "LoadImageOutput")
_TEXTS: Final = ("text", "prompt", "string", "value")

EPILOG: Final = """\
routes:
  POST /upload/image    multipart: image=FILE [node_id=ID]    puts the picture into the LoadImage node
  POST /update/prompt   {"node_id": "6", "text": "a cat"}     changes a text
  GET or POST /queue    runs the workflow as it is now
  POST /interrupt       stops what runs
  GET /status           {"running", "queued", "progress", "outputs", "error", "runs"}
With --auto-execute an upload or a changed text runs it. Ctrl-C ends the bridge.
"""


class BadRequest(Exception):
    """Say what is wrong with a request, in a sentence."""


class Bridge:
    """Hold the workflow and run it, one run at a time, on a thread of its own."""

    def __init__(self, graph: Mapping[str, Any], solo: Solo, out: Path, *, auto_execute: bool) -> None:
        self._graph = copy.deepcopy(dict(graph))
        self._solo = solo
        self._out = out
        self._auto_execute = auto_execute
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._ended = False
        self._running = False
        self._progress: Progress | None = None
        self._outputs: list[str] = []
        self._error: str | None = None
        self._runs = 0

    def status(self) -> dict[str, object]:
        """Say what runs, how far it is, and what came of the last run."""
        with self._lock:
            progress = self._progress
            return {
                "running": self._running,
                "queued": self._wanted.is_set(),
                "progress": progress.model_dump() if progress and self._running else None,
                "outputs": list(self._outputs),
                "error": self._error,
                "runs": self._runs,
            }

    def execute(self) -> dict[str, object]:
        """Run the workflow as it is; while one runs, once more after it."""
        self._wanted.set()
        return {"queued": True}

    def interrupt(self) -> dict[str, object]:
        """Stop what runs, and forget what waits."""
        self._wanted.clear()
        with self._lock:
            was_running = self._running
        if was_running:
            self._solo.stop()
        return {"interrupted": was_running}

    def set_text(self, node: object, text: object) -> dict[str, object]:
        """Change a node's text; raise `BadRequest`."""
        if not isinstance(node, str | int) or not isinstance(text, str):
            raise BadRequest('Send {"node_id": "6", "text": "a cat"}.')
        told = self._graph.get(str(node))
        if told is None:
            raise BadRequest(f"There is no node {node}. There are: {', '.join(list(self._graph)[:30])}.")
        fields = [name for name in _TEXTS if isinstance(told["inputs"].get(name), str)]
        if not fields:
            raise BadRequest(f"Node {node} ({told['class_type']}) has no text.")
        return self._change(str(node), fields[0], text)

    def set_image(self, node: str | None, name: str, content: bytes) -> dict[str, object]:
        """Upload a picture and put it into a LoadImage node (the only one, or *node*); raise `BadRequest`."""
        loaders = [each for each, told in self._graph.items() if told["class_type"] in _LOADERS]
        there = f"Nodes that load one: {', '.join(loaders) or 'none'}."
        if node is None and len(loaders) != 1:
            raise BadRequest(f"Say which node_id gets the picture. {there}")
        chosen = node or loaders[0]
        if chosen not in loaders:
            raise BadRequest(f"Node {chosen} loads no picture. {there}")
        safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in name).lstrip(".") or "picture.png"
        kept = self._solo.comfy.upload(safe[-100:], BytesIO(content), f"bridge/{uuid4()}")
        return {**self._change(chosen, "image", kept), "name": kept}

    def _change(self, node: str, field: str, value: str) -> dict[str, object]:
        with self._lock:
            if is_link(self._graph[node]["inputs"].get(field)):
                raise BadRequest(f"{field} of node {node} comes from another node: it cannot be set.")
            self._graph[node]["inputs"][field] = value
        if self._auto_execute:
            self.execute()
        return {"node_id": node, "input": field, "queued": self._wanted.is_set()}

    def run(self) -> None:
        """Run the workflow whenever it is wanted, until `close`."""
        while not self._ended:
            self._wanted.wait()
            if self._ended:
                return
            with self._lock:
                graph = copy.deepcopy(self._graph)
                self._running, self._progress = True, None
            # From here a new wish is for the next run: this one has its graph.
            self._wanted.clear()
            error, outputs = self._once(graph)
            with self._lock:
                self._running, self._error = False, error
                self._runs += 1
                if outputs:
                    self._outputs = outputs

    def _once(self, graph: dict[str, Any]) -> tuple[str | None, list[str]]:
        try:
            result = self._solo.run(isolate(graph, f"run/{uuid4()}"), self._tell)
            return None, [str(path) for path in self._solo.save(result, self._out, MOST_BYTES)]
        except Stopped:
            return "It was interrupted.", []
        except GraphRefused as refused:
            return refused.error.sentence(), []
        except (Failed, Rejected, Unavailable) as failed:
            return str(failed), []
        except OSError as failed:
            return f"The files cannot be saved in {self._out}: {failed.strerror}.", []

    def _tell(self, progress: Progress) -> None:
        with self._lock:
            self._progress = progress

    def close(self) -> None:
        """Stop what runs, and end `run`."""
        self._ended = True
        self._solo.stop()
        self._wanted.set()


class BridgeServer(ThreadingHTTPServer):
    """Answer for one bridge. Port 0 takes a free one."""

    daemon_threads = True

    def __init__(self, host: str, port: int, bridge: Bridge) -> None:
        self.bridge = bridge
        self.hosts = LOOPBACK if host in LOOPBACK else None
        super().__init__((host, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: BridgeServer
    timeout = 30

    def do_GET(self) -> None:
        self._answer({"/status": self._status, "/queue": self._queue})

    def do_POST(self) -> None:
        routes = {"/queue": self._queue, "/interrupt": self._interrupt}
        self._answer({**routes, "/update/prompt": self._prompt, "/upload/image": self._image})

    def _answer(self, routes: Mapping[str, Any]) -> None:
        """Call the route; say errors as {"error": sentence}."""
        route = routes.get(urlsplit(self.path).path)
        try:
            if not self._is_own():
                self._send(403, {"error": "Only programs on this machine may drive the bridge."})
            elif route is None:
                self._send(404, {"error": f"There is no {self.command} {urlsplit(self.path).path[:100]}."})
            else:
                self._send(200, route())
        except BadRequest as bad:
            self._send(400, {"error": str(bad)})
        except Rejected as refused:
            self._send(400, {"error": refused.message})
        except Unavailable as away:
            self._send(503, {"error": away.message})

    def _is_own(self) -> bool:
        """Refuse what a page of another site sends (Origin), and names that were made to lead here (Host)."""
        origin, host = self.headers.get("Origin"), self.headers.get("Host", "")
        if origin is not None and urlsplit(origin).netloc != host:
            return False
        hosts = self.server.hosts
        return hosts is None or (urlsplit(f"//{host}").hostname or "") in hosts

    def _status(self) -> object:
        return self.server.bridge.status()

    def _queue(self) -> object:
        return self.server.bridge.execute()

    def _interrupt(self) -> object:
        return self.server.bridge.interrupt()

    def _prompt(self) -> object:
        if self.headers.get_content_type() != "application/json":
            raise BadRequest("Send JSON (Content-Type: application/json).")
        try:
            told = json.loads(self._body())
        except (ValueError, RecursionError):
            raise BadRequest("The body is no JSON.") from None
        told = told if isinstance(told, dict) else {}
        return self.server.bridge.set_text(told.get("node_id"), told.get("text"))

    def _image(self) -> object:
        if self.headers.get_content_type() != "multipart/form-data":
            raise BadRequest("Send multipart/form-data with the file as image=….")
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self._body())
        node, picture, name = None, None, "picture.png"
        for part in form.iter_parts() if form.is_multipart() else ():
            field = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if field == "image" and isinstance(content, bytes):
                picture, name = content, part.get_filename() or name
            elif field == "node_id" and isinstance(content, bytes):
                node = content.decode("utf-8", "replace").strip() or None
        if not picture:
            raise BadRequest("There is no file in the field image.")
        return self.server.bridge.set_image(node, name, picture)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise BadRequest("Say the body's Content-Length.")
        if int(length[:12]) > MAX_BODY_BYTES:
            self.close_connection = True
            raise BadRequest(f"The body is larger than {MAX_BODY_BYTES // 1_000_000} MB.")
        return self.rfile.read(int(length))

    def _send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: /status is asked often."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be told."""
    parser.epilog = EPILOG
    parser.add_argument("--workflow", type=Path, required=True, help="a file made with Workflow > Export (API)")
    parser.add_argument("--port", type=int, default=8189, help="8189; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1: this machine alone)")
    parser.add_argument("--auto-execute", action="store_true", help="run after every upload and changed text")
    parser.add_argument("--out", type=Path, default=Path("outputs"), metavar="DIR", help="where files go (outputs)")
    parser.add_argument("--url", default=None, help=f"the ComfyUI server (COMFY_URL, or {DEFAULT_COMFY_URL})")


def main(chosen: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code."""
    start_logs("error", "text", "bridge")
    url = (chosen.url or os.environ.get("COMFY_URL", "").split(",")[0] or DEFAULT_COMFY_URL).strip().rstrip("/")
    solo = Solo(url, Clock())
    try:
        graph = read_graph(chosen.workflow)
        solo.comfy.facts()
        bridge = Bridge(graph, solo, chosen.out, auto_execute=chosen.auto_execute)
        server = BridgeServer(chosen.host, chosen.port, bridge)
    except (Wrong, Rejected) as wrong:
        print(wrong, file=sys.stderr)
        return 2
    except Unavailable:
        print(f"No ComfyUI answers at {url}. Start it, or name another with --url.", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Port {chosen.port} of {chosen.host} cannot be used: {error.strerror}.", file=sys.stderr)
        return 2

    def stop(_number: int, _frame: FrameType | None) -> None:
        bridge.close()
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with solo.listening(), server:
        runner = threading.Thread(target=bridge.run, name="bridge", daemon=True)
        runner.start()
        address, port = server.server_address[0], server.server_address[1]
        print(f"The bridge listens on http://{address!s}:{port} and renders on {url}. Ctrl-C ends it.", flush=True)
        if chosen.host not in LOOPBACK:
            print("It is open to the network: whoever reaches it may run this workflow.", file=sys.stderr, flush=True)
        server.serve_forever(poll_interval=0.2)
        runner.join(5)
    return 0
