"""
Be RunPod's REST API v2 on the loopback interface, made from its public schema (tests/data/runpod/v2.json).

Every request is judged by the schema, as the real one does (an unknown field is a 422), and so is every answer of its
own. Faults are switched on from outside: see `Site`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

from jsonschema import Draft202012Validator

SCHEMA = json.loads((Path(__file__).parent / "data/runpod/v2.json").read_text())
KEY = "rpa_stand_in_0123456789"
ACTIONS = {
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
}
COLUMNS = ("id", "memory", "secure", "community", "stock")
CATALOG = [
    dict(zip(COLUMNS, row, strict=True))
    for row in (
        ("NVIDIA GeForce RTX 4090", 24, 0.69, 0.34, "HIGH"),
        ("NVIDIA L4", 24, 0.39, 0.0, "LOW"),
        ("NVIDIA H100 PCIe", 80, 2.39, 1.99, "MEDIUM"),
        ("NVIDIA RTX A5000", 24, 0.27, 0.16, "NONE"),
    )
]


@dataclass
class Site:
    """Hold the account: its pods and templates, what is asked of it, and the faults that are switched on."""

    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    """Method, path and body of each."""
    key: str = KEY
    room: dict[str, int] = field(default_factory=dict)
    """How many more pods of a type can be placed; a type that is not here: as many as you like."""
    extra_cost: float = 0.0
    """How much more a pod costs than the catalog says."""
    next_answers: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    """Method, status and headers of answers that are given instead, each once; 0 cuts the connection."""
    answers_after: list[int] = field(default_factory=list)
    """Status of an answer that is given once after a pod was made nevertheless; 0 cuts the connection."""
    on_made: Callable[[dict[str, Any]], None] = lambda _: None
    """Is told of each pod that was ordered: what its container would do."""
    hides_env: bool = False
    locked: set[str] = field(default_factory=set)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, *, status: str = "RUNNING", env: dict[str, str] | None = None, cost: float = 0.69) -> str:
        """Put a pod there; answer its id."""
        body = {"name": name, "image": "somebody/something", "gpu": {"id": CATALOG[0]["id"]}, "env": env or {}}
        pod = self._made(body, cost)
        self.become(str(pod["id"]), status)
        return str(pod["id"])

    def become(self, pod_id: str, status: str) -> None:
        """Change a pod's state."""
        pod = self.pods[pod_id]
        pod.update(status=status, actions=ACTIONS[status], startedAt=pod["createdAt"])
        if status in ("EXITED", "ERROR"):
            pod.update(cost=0.0, runtime=None)

    def orders(self) -> list[dict[str, Any]]:
        """List the bodies of the pods that were ordered."""
        return [body for method, path, body in self.requests if (method, path) == ("POST", "/v2/pods")]

    def _made(self, body: dict[str, Any], cost: float) -> dict[str, Any]:
        made_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        pod = {
            "id": uuid4().hex[:14],
            "name": body["name"],
            "image": body.get("image", ""),
            "args": body.get("args", ""),
            "disk": body.get("disk", 20),
            "ports": body.get("ports", []),
            "env": body.get("env", {}),
            "registry": body.get("registry"),
            "status": "PROVISIONING",
            "actions": ACTIONS["PROVISIONING"],
            "mounts": body.get("mounts", {}),
            "gpu": {"id": body["gpu"]["id"], "count": body["gpu"].get("count", 1)},
            "cloud": body.get("cloud", "SECURE"),
            "dataCenterId": next(iter(body.get("dataCenterIds", [])), "US-KS-2"),
            "cudaVersion": "12.8",
            "ssh": {"proxy": None, "direct": None},
            "template": None,
            "cost": cost,
            "locked": False,
            "globalNetworking": {"enabled": False},
            "runtime": {},
            "createdAt": made_at,
            "startedAt": None,
        }
        self.pods[str(pod["id"])] = pod
        return pod

    def answer(self, method: str, path: str, question: dict[str, str], body: Any) -> tuple[int, Any]:
        """Answer one request that has a good key."""
        place, _, last = path.rpartition("/")
        if path == "/v2/pods" and method == "GET":
            shown = [{**pod, "env": {}} if self.hides_env else pod for pod in self.pods.values()]
            return 200, {"pods": shown}
        if path == "/v2/pods" and method == "POST":
            return self._create(body)
        if place == "/v2/pods" and method == "DELETE":
            return self._delete(unquote(last))
        if path == "/v2/catalog/gpus" and method == "GET":
            return self._catalog(question)
        if path == "/v2/templates" and method == "GET":
            return 200, {"templates": list(self.templates.values())}
        if path == "/v2/templates" and method == "POST":
            return 201, self._template(f"tpl{len(self.templates)}", {}, body)
        if place == "/v2/templates" and method == "PATCH":
            if last not in self.templates:
                return _problem(404, "resource not found")
            return 200, self._template(last, self.templates[last], body)
        return _problem(404, "no such path")

    def _create(self, body: Any) -> tuple[int, Any]:
        wanted = body.get("gpu")
        if (wanted is None) == ("cpu" not in body):
            return _problem(400, "exactly one of gpu or cpu must be set")
        gpu = next((each for each in CATALOG if each["id"] == wanted["id"]), None)
        price = gpu[body.get("cloud", "SECURE").lower()] if gpu else 0
        if not gpu or not price:
            return _problem(400, "this GPU type is not offered")
        if self.room.get(gpu["id"], 1) < 1:
            return _problem(400, "There are no instances currently available")
        if gpu["id"] in self.room:
            self.room[gpu["id"]] -= 1
        pod = self._made(body, round(price * wanted.get("count", 1) + self.extra_cost, 4))
        self.on_made(pod)
        return 201, pod

    def _delete(self, pod_id: str) -> tuple[int, Any]:
        if pod_id not in self.pods:
            return _problem(404, "resource not found")
        if pod_id in self.locked:
            return _problem(400, "the pod is locked")
        del self.pods[pod_id]
        return 204, None

    def _catalog(self, question: dict[str, str]) -> tuple[int, Any]:
        if ("include" in question) != ("product" in question):
            return _problem(400, "include=AVAILABILITY requires product")
        return 200, {"gpus": [_shown(gpu) for gpu in CATALOG]}

    def _template(self, template_id: str, present: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        usual = {
            "args": "",
            "disk": 20,
            "mounts": {},
            "ports": [],
            "env": {},
            "registry": None,
            "serverless": False,
            "public": False,
            "category": "NVIDIA",
            "startSsh": True,
            "startJupyter": True,
            "allowedCudaVersions": [],
        }
        self.templates[template_id] = {**usual, **present, **body, "id": template_id}
        return self.templates[template_id]


def _shown(gpu: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": gpu["id"],
        "name": gpu["id"].removeprefix("NVIDIA "),
        "pool": None,
        "manufacturer": "NVIDIA",
        "memory": gpu["memory"],
        "secure": gpu["secure"] > 0,
        "community": gpu["community"] > 0,
        "price": {"secure": gpu["secure"], "community": gpu["community"]},
        "maxCount": {"secure": 8, "community": 4},
        "availability": gpu["stock"],
    }


def _problem(status: int, detail: str, errors: list[str] | None = None) -> tuple[int, Any]:
    return status, {"title": "Problem", "status": status, "detail": detail, **({"errors": errors} if errors else {})}


def faults(kind: str, value: Any) -> list[str]:
    check = Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})
    return [f"{error.json_path}: {error.message}" for error in check.iter_errors(value)]


def _operation(method: str, path: str) -> dict[str, Any] | None:
    place, _, _last = path.rpartition("/")
    for known in (path, f"{place}/{{id}}"):
        if method.lower() in SCHEMA["paths"].get(known, {}):
            return dict(SCHEMA["paths"][known][method.lower()])
    return None


@contextmanager
def runpod_site() -> Iterator[Site]:
    """Serve it; `url` says where."""
    site = Site()
    wrong: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with site.lock:
                body = json.loads(raw) if raw else None
                site.requests.append((self.command, parts.path, body))
                planned = next((each for each in site.next_answers if each[0] == self.command), None)
                if planned:
                    site.next_answers.remove(planned)
                    self._send(planned[1], _problem(planned[1], "planned")[1], planned[2])
                    return
                status, answer = self._judged(parts.path, dict(parse_qsl(parts.query)), body)
                if status == 201 and site.answers_after:
                    status = site.answers_after.pop(0)
                    answer = _problem(status, "after all")[1]
            self._send(status, answer, {})

        def _judged(self, path: str, question: dict[str, str], body: Any) -> tuple[int, Any]:
            if self.headers.get("Authorization") != f"Bearer {site.key}":
                return _problem(401, "missing bearer token")
            operation = _operation(self.command, path)
            if operation is None:
                return _problem(404, "no such path")
            known = {each["name"] for each in operation.get("query", [])}
            errors = [f"query: {name} is not known" for name in question if name not in known]
            if "body" in operation:
                errors += faults(operation["body"], body)
            if errors:
                return _problem(422, "Request validation failed.", errors)
            status, answer = site.answer(self.command, path, question, body)
            kind = operation["responses"].get(str(status), "ErrorResponse")
            wrong.extend(faults(kind, answer) if kind else [])
            return status, answer

        def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
            if status == 0:
                self.close_connection = True
                self.connection.shutdown(2)
                return
            body = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = do_PATCH = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert not wrong, f"the stand-in itself left the schema: {wrong}"
