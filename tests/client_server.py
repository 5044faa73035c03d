"""
Be a server that speaks the jobs API's contract, in memory, and be unkind to clients where a test asks for it.

A job moves on each time it is looked at: queued, running, and then to the end that its inputs' "end" names.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "cs_test_0123456789"
PICTURE = b"\x89PNG\r\n" + bytes(range(256)) * 64

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Fault:
    """
    Spoil the next *times* requests whose "METHOD /path" matches *where*.

    *how*: "drop" closes before anything is done, "lose" does it and closes, "cut" answers half, "twist" answers other
    bytes, a number answers that status (with *headers*) and does nothing.
    """

    where: str
    how: str | int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """Note a request."""

    line: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


class JobsServer:
    """Hold jobs and assets; a context manager that serves on a free port."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, tuple[str, bytes]] = {}
        self.assets: dict[str, bytes] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.looks = 2
        """How many looks a job takes to its end; 0: it ends when a test says so."""
        self.holds = False
        """Whether ?wait is kept to: the answer waits for the job's end."""
        self.picture = PICTURE
        self.most_open = 0
        self.changed = threading.Condition()
        self._serving = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._serving.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._serving.server_port}/api"

    def __enter__(self) -> JobsServer:
        threading.Thread(target=self._serving.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.shutdown()
        self._serving.server_close()

    # -- what tests ask -------------------------------------------------------------------------------------------

    def lines(self, pattern: str = "") -> list[str]:
        """List the requests that match."""
        return [one.line for one in self.seen if re.search(pattern, one.line)]

    def wait_for(self, holds: Callable[[], bool]) -> bool:
        """Wait until a change makes *holds* true."""
        with self.changed:
            return self.changed.wait_for(holds, 20)

    def end(self, job_id: str, status: str = "succeeded") -> None:
        """Bring a job to its end."""
        with self.changed:
            self._end(self.jobs[job_id], status)
            self.changed.notify_all()

    # -- the contract ---------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, seen: Seen) -> Answer:
        """Answer a request as the API does."""
        if path.startswith("/bucket/"):
            return self._bucket(method, path, seen)
        if path.startswith("/api/o/"):
            assert "authorization" not in seen.headers, "a stable link needs no key"
            return 302, {"Location": f"/bucket{path[4:]}?signed=1"}, b""
        if seen.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "unauthorized", "This key is not known. Use the key that you were given.")
        for pattern, do in self._routes():
            if match := re.fullmatch(pattern, f"{method} {path.removeprefix('/api/api/v2')}"):
                return do(seen, *match.groups())
        return _error(404, "not_found", f"There is no {method} {path} here.")

    def _routes(self) -> Iterator[tuple[str, Callable[..., Answer]]]:
        job = "/jobs/([^/]+)"
        yield "POST /jobs", self._submit
        yield "GET /jobs", self._list
        yield f"GET {job}", self._show
        yield f"POST {job}/cancel", self._cancel
        yield f"POST {job}/retry", self._retry
        yield f"GET {job}/log", self._log
        yield "GET /workflows", lambda _: _ok({"data": [_WORKFLOW]})
        yield "GET /workflows/colour", lambda _: _ok(_WORKFLOW)
        yield "POST /assets", self._asset
        yield "POST /assets/uploads", self._upload
        yield "POST /assets/uploads/([^/]+)/complete", self._complete

    def _submit(self, seen: Seen) -> Answer:
        asked = seen.json()
        if asked.get("workflow_id") == "none":
            return _error(
                422, "unknown_workflow", "There is no workflow none. Did you mean colour?", {"near": ["colour"]}
            )
        key = seen.headers["idempotency-key"]
        if key in self.keys:
            job_id, body = self.keys[key]
            if body != seen.body:
                return _error(422, "idempotency_key_reuse", "This key stands for another request. Use a new one.")
            return _ok(self._object(job_id), 201)
        job_id = self._make(asked)
        self.keys[key] = (job_id, seen.body)
        return _ok(self._object(job_id), 201)

    def _make(self, asked: dict[str, Any], retry_of: str | None = None) -> str:
        with self.changed:
            job_id = f"job-{len(self.jobs) + 1}"
            self.jobs[job_id] = {"id": job_id, "status": "queued", "asked": asked, "looks": 0, "retry_of": retry_of}
            self.most_open = max(
                self.most_open, sum(job["status"] in ("queued", "running") for job in self.jobs.values())
            )
            self.changed.notify_all()
        return job_id

    def _show(self, seen: Seen, job_id: str) -> Answer:
        if job_id not in self.jobs:
            return _error(404, "not_found", "There is no job of this id.")
        job = self.jobs[job_id]
        with self.changed:
            self.changed.notify_all()
            if self.holds and "wait" in seen.query:
                self.changed.wait_for(lambda: job["status"] in _ENDS, float(seen.query["wait"]))
            job["looks"] += 1
            if job["status"] not in _ENDS and self.looks:
                job["status"] = "running"
                if job["looks"] >= self.looks:
                    self._end(job, job["asked"].get("inputs", {}).get("end", "succeeded"))
        return _ok(self._object(job_id))

    def _end(self, job: dict[str, Any], status: str) -> None:
        job["status"] = status

    def _cancel(self, _seen: Seen, job_id: str) -> Answer:
        if self.jobs[job_id]["status"] not in _ENDS:
            self.end(job_id, "canceled")
        return _ok(self._object(job_id))

    def _retry(self, seen: Seen, job_id: str) -> Answer:
        assert seen.headers["idempotency-key"]
        return _ok(self._object(self._make(self.jobs[job_id]["asked"], job_id)), 201)

    def _log(self, _seen: Seen, job_id: str) -> Answer:
        if job_id == "job-1":
            return 200, {"Content-Type": "application/x-ndjson"}, b'{"kind":"run"}\n'
        return 302, {"Location": "/bucket/runs/1?signed=1"}, b""

    def _list(self, seen: Seen) -> Answer:
        start, wanted = int(seen.query.get("cursor", "0")), seen.query.get("status")
        ids = [one for one in reversed(self.jobs) if wanted in (None, self.jobs[one]["status"])]
        page: dict[str, Any] = {"jobs": [self._summary(one) for one in ids[start : start + 2]]}
        return _ok(page | ({"next_cursor": str(start + 2)} if ids[start + 2 :] else {}))

    def _summary(self, job_id: str) -> dict[str, Any]:
        whole = self._object(job_id)
        told = {name: whole[name] for name in ("id", "status", "workflow_id", "error", "tags")}
        return told | {"create_time": whole["created_at"], "outputs_count": len(whole["outputs"])}

    def _asset(self, seen: Seen) -> Answer:
        head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
        parts = list(BytesParser(policy=HTTP).parsebytes(head + seen.body).iter_parts())
        [file] = [one for one in parts if one.get_filename()]
        content = file.get_payload(decode=True)
        assert isinstance(content, bytes)
        return _ok(self._keep(content, file.get_filename() or ""), 201)

    def _keep(self, content: bytes, name: str) -> dict[str, Any]:
        asset_id = hashlib.sha256(content).hexdigest()[:8]
        self.assets[asset_id] = content
        return {"id": asset_id, "file_path": name, "size_bytes": len(content)}

    def _upload(self, seen: Seen) -> Answer:
        asked = seen.json()
        number = asked["sha256"]
        if number[:8] in self.assets:
            return _ok({"id": number, "upload": None, "asset": self._keep(self.assets[number[:8]], asked["filename"])})
        self.uploads[number] = asked
        address = f"{self.url.removesuffix('/api')}/bucket/inputs/{number}?signed=1"
        upload = {"method": "PUT", "url": address, "headers": {"x-checked": number}}
        return _ok({"id": number, "upload": upload, "asset": None}, 201)

    def _complete(self, _seen: Seen, number: str) -> Answer:
        asked = self.uploads[number]
        assert hashlib.sha256(asked["content"]).hexdigest() == asked["sha256"]
        return _ok(self._keep(asked["content"], asked["filename"]))

    def _bucket(self, method: str, path: str, seen: Seen) -> Answer:
        assert "authorization" not in seen.headers, "the bucket is not told our key"
        assert seen.query == {"signed": "1"}
        if method == "PUT":
            self.uploads[path.rsplit("/", 1)[1]]["content"] = seen.body
            return 200, {}, b""
        return 200, {}, b'{"kind":"run","large":true}\n' if "/runs/" in path else self.picture

    def _object(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        asked, is_done = job["asked"], job["status"] == "succeeded"
        number = int(asked.get("inputs", {}).get("pictures", 1))
        picture = {
            "name": "fox.png",
            "type": "image",
            "content_type": "image/png",
            "size_bytes": len(PICTURE),
            "sha256": hashlib.sha256(PICTURE).hexdigest(),
            "node_id": "9",
        }
        error = {
            "code": "oom",
            "message": "The GPU's memory is full. Make it smaller.",
            "node_id": "6",
            "class_type": "KSampler",
        }
        return {
            "id": job_id,
            "status": job["status"],
            "created_at": "2026-11-21T10:00:00.000Z",
            "workflow_id": asked.get("workflow_id", ""),
            "inputs": {**asked.get("inputs", {}), "seed": 7},
            "progress": {"value": 0.5, "current_node": "6", "current_node_class": "KSampler", "step": 3, "steps": 6}
            if job["status"] == "running"
            else None,
            "queue_position": None,
            "outputs": [picture | {"url": f"{self.url}/o/{job_id}/{n}?t=secret"} for n in range(number)]
            if is_done
            else [],
            "error": error if job["status"] == "failed" else None,
            "metrics": {"queue_ms": 1, "execution_ms": 2, "upload_ms": 3},
            "tags": asked.get("tags", []),
        }


_ENDS = ("succeeded", "failed", "canceled")
_WORKFLOW = {
    "id": "colour",
    "name": "One colour",
    "description": "A picture of one colour.",
    "parameters": [{"name": "color", "type": "color", "default": "#1e88e5"}],
}


def _ok(body: object, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def _error(status: int, code: str, message: str, details: object = None) -> Answer:
    return _ok({"error": {"code": code, "message": message, "details": details}}, status)


def _handler(server: JobsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            address = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(address.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            seen = Seen(f"{self.command} {address.path}", headers, body, query)
            with server.changed:
                server.seen.append(seen)
                fault = _taken(server.faults, seen.line)
                server.changed.notify_all()
            if fault and isinstance(fault.how, int):
                self._say((fault.how, fault.headers, b""))
            elif fault and fault.how == "drop":
                self.close_connection = True
            else:
                answer = server.answer(self.command, address.path, seen)
                if fault and fault.how == "lose":
                    self.close_connection = True
                else:
                    self._say(answer, str(fault.how) if fault else "")

        def _say(self, answer: Answer, how: str = "") -> None:
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if how == "cut":
                body, self.close_connection = body[: len(body) // 2], True
            self.wfile.write(bytes(len(body)) if how == "twist" else body)

        do_GET = do_POST = do_PUT = do_DELETE = _do

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


def _taken(faults: list[Fault], line: str) -> Fault | None:
    for fault in faults:
        if fault.times > 0 and re.search(fault.where, line):
            fault.times -= 1
            return fault
    return None


@contextmanager
def jobs_server() -> Iterator[JobsServer]:
    """Serve for a test."""
    with JobsServer() as server:
        yield server
