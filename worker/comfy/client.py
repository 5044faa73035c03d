"""
Speak HTTP with one ComfyUI server (2024-03 to 0.38) and rename what can go wrong.

Nothing here waits for a picture or decides what a job does next. Every thread keeps its own kept-alive connection.
A lost answer of POST /prompt says nothing (the prompt may be running): that is `InDoubt`, and never repeated here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import NewConnectionError
from urllib3.util.retry import Retry

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import JobError
from worker.comfy.faults import TOO_LARGE, GraphRefused, choices_of, refusal
from worker.comfy.history import Entry, Place, ServerFacts, Whereabouts, read_entry
from worker.comfy.outputs import OutputFile
from worker.ports import ComfyAway, FileGone, InDoubt

CONNECT_S: Final = 3
SUBMIT_S: Final = 30
ASK_S: Final = 5
VIEW_S: Final = 120
CATALOGUE_S: Final = 30
_CHUNK: Final = 1 << 20
_AWAY: Final = (502, 503, 504)
"""What a proxy in front of a server answers that is not there."""


class ComfyClient:
    """Call one server's routes. Threads may share it. `ComfyAway` when the server cannot be reached."""

    def __init__(self, url: str, *, ask_s: float = ASK_S) -> None:
        self.url = url
        self._ask_s = ask_s
        self._local = threading.local()

    def facts(self) -> ServerFacts:
        """Ask who the server is. An answer does not mean that it renders: a dead executor leaves HTTP alive."""
        told = self._get("/system_stats")
        system, devices = told.get("system"), told.get("devices")
        first = devices[0] if isinstance(devices, list) and devices else None
        device = first.get("name") if isinstance(first, dict) else None
        version = system.get("comfyui_version") if isinstance(system, dict) else None
        argv = system.get("argv") if isinstance(system, dict) else None
        return ServerFacts(
            version=str(version or "unknown"),
            device=str(device or "unknown"),
            argv=tuple(str(each) for each in argv) if isinstance(argv, list) else (),
            vram_total_bytes=_bytes_of(first, "vram_total"),
            vram_free_bytes=_bytes_of(first, "vram_free"),
        )

    def submit(self, graph: Mapping[str, Any], prompt_id: str, client_id: str | None) -> str:
        """
        Queue *graph* and return its id: *prompt_id*, or the server's own before 0.3.45.

        Raise `GraphRefused` (also for the 200 whose node_errors say that a branch was dropped: the rest then runs, so
        cancel it), `InDoubt`, or `ComfyAway` when it certainly did not arrive.
        """
        # `number` is never sent: twice the same id and number kills the executor thread (all versions).
        body: dict[str, Any] = {"prompt": graph, "prompt_id": prompt_id, "extra_data": {"preview_method": "none"}}
        if client_id is not None:
            body["client_id"] = client_id
        try:
            answer = self._session.post(f"{self.url}/prompt", json=body, timeout=(CONNECT_S, SUBMIT_S))
        except requests.RequestException as error:
            if _never_sent(error):
                raise _unreachable(error) from error
            raise InDoubt("ComfyUI did not answer when the workflow was sent.") from error
        if answer.status_code in _AWAY:
            raise InDoubt(f"ComfyUI answered {answer.status_code} when the workflow was sent.")
        if answer.status_code == 413:
            text = "The workflow is larger than ComfyUI accepts: shorten its texts."
            raise GraphRefused(JobError(code="too_large", text=text))
        told = _json_of(answer)
        if not isinstance(told, dict):
            # 500 in text/plain is the answer to a prompt of the wrong shape (0.28); it would be the same again.
            text = f"ComfyUI could not read the workflow (HTTP {answer.status_code})."
            hint = "Export it with Workflow > Export (API)."
            raise GraphRefused(JobError(code="invalid_graph", text=text, hint=hint))
        if answer.status_code != 200 or told.get("node_errors"):
            raise refusal(told, graph)
        return str(told.get("prompt_id") or prompt_id)

    def where(self, prompt_id: str) -> Whereabouts:
        """Look for a prompt: in the queue first, then in the history, so that one that ends meanwhile is seen."""
        queue = self._get("/queue")
        running, pending = _ids(queue, "queue_running"), _ids(queue, "queue_pending")
        if prompt_id in running:
            return Whereabouts(Place.RUNNING)
        if prompt_id in pending:
            return Whereabouts(Place.PENDING, is_idle=not running)
        entry = self.ended(prompt_id)
        return Whereabouts(Place.ENDED if entry else Place.NOWHERE, entry, is_idle=not running and not pending)

    def ended(self, prompt_id: str) -> Entry | None:
        """Read the prompt's history; None while it runs, waits, or is unknown."""
        told = self._get(f"/history/{quote(prompt_id, safe='')}")
        raw = told.get(prompt_id)
        return read_entry(raw) if isinstance(raw, dict) else None

    def fetch(self, file: OutputFile, limit_bytes: int, into: BinaryIO) -> None:
        """
        Copy a file through /view to *into*.

        `FileGone` when it is not there (a cached node can name a file that was deleted); `Rejected` when it is
        larger than *limit_bytes* or the server will not give it.
        """
        asked = {"filename": file.filename, "subfolder": file.subfolder, "type": file.folder}
        with (
            _renamed(),
            self._session.get(f"{self.url}/view", params=asked, stream=True, timeout=(CONNECT_S, VIEW_S)) as answer,
        ):
            if answer.status_code == 404:
                raise FileGone("ComfyUI named an output file that is not there.", retry_in_s=1)
            if answer.status_code in (400, 403):
                text = "ComfyUI named an output file that it will not give: another workflow may do better."
                raise Rejected("bad_output", text)
            _check(answer)
            size = 0
            for part in answer.iter_content(_CHUNK):
                size += len(part)
                if size > limit_bytes:
                    raise Rejected("too_large", TOO_LARGE)
                into.write(part)

    def upload(self, name: str, content: BinaryIO, subfolder: str) -> str:
        """
        Put a file into the server's input folder; what a loading node calls it: "subfolder/name".

        The server may rename it (same name, other content): the returned name counts. `Rejected` when it will not take
        the file (413: larger than its --max-upload-size), `ComfyAway` when it cannot be reached.
        """
        content.seek(0)
        # The encoder reads the file into memory once; inputs are bounded by MAX_INPUT_MB.
        files = {"image": (name, content, "application/octet-stream")}
        form = {"type": "input", "subfolder": subfolder, "overwrite": "true"}
        with _renamed():
            answer = self._session.post(f"{self.url}/upload/image", files=files, data=form, timeout=(CONNECT_S, VIEW_S))
        if answer.status_code == 413:
            text = "An input file is larger than ComfyUI accepts (its --max-upload-size): use a smaller one."
            raise Rejected("too_large", text)
        if answer.status_code == 400:
            raise Rejected("bad_input", "ComfyUI did not take an input file: use another one.")
        _check(answer)
        told = _json_of(answer)
        if not isinstance(told, dict) or not isinstance(told.get("name"), str):
            raise Unavailable("ComfyUI took an input file and did not say under which name.")
        folder = told.get("subfolder")
        return f"{folder}/{told['name']}" if isinstance(folder, str) and folder else told["name"]

    def object_info(self) -> Mapping[str, Any]:
        """Read the whole node catalogue: class name to its definition (0.28: 585 nodes, 663 KB, 0.07 s)."""
        return self._get("/object_info", CATALOGUE_S)

    def queue_length(self) -> int:
        """Count the prompts that run or wait on the server, ours and others'."""
        info = self._get("/prompt").get("exec_info")
        left = info.get("queue_remaining") if isinstance(info, dict) else None
        return left if isinstance(left, int) else 0

    def cancel(self, prompt_id: str) -> None:
        """
        Stop a prompt, waiting or running, without touching any other.

        The jobs route (0.26+) is atomic. Before it: delete it from the queue, and interrupt only what is seen running,
        for servers before 0.3.57 ignore the id and stop whatever runs.
        """
        answer = self._post(f"/api/jobs/{quote(prompt_id, safe='')}/cancel", None)
        if answer.status_code == 200:
            return
        self._post("/queue", {"delete": [prompt_id]})
        if self.where(prompt_id).place is Place.RUNNING:
            self._post("/interrupt", {"prompt_id": prompt_id})

    def forget(self, prompt_id: str) -> None:
        """Drop the history entry: each holds a whole graph in the server's memory."""
        self._post("/history", {"delete": [prompt_id]})

    def free(self) -> None:
        """Ask the server to unload its models and empty its cache when it is idle."""
        self._post("/free", {"unload_models": True, "free_memory": True})

    def choices(self, node_class: str, name: str) -> list[str]:
        """List the values that an input allows on this server (model files, samplers); empty when it is no list."""
        node = self._get(f"/object_info/{quote(node_class, safe='')}").get(node_class)
        inputs = node.get("input") if isinstance(node, dict) else None
        for group in inputs.values() if isinstance(inputs, dict) else []:
            if isinstance(group, dict) and name in group:
                return choices_of(group[name])
        return []

    @property
    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # no proxy and no .netrc stand between a worker and its ComfyUI
            # A kept-alive connection that the server closed meanwhile is tried once more; only GET repeats safely.
            once_more = Retry(total=1, status=0, allowed_methods={"GET"}, backoff_factor=0)
            session.mount(self.url, HTTPAdapter(pool_connections=1, pool_maxsize=2, max_retries=once_more))
        return session

    def _get(self, path: str, within_s: float | None = None) -> dict[str, Any]:
        """Ask for an object; all that is asked for here is one. What is none says nothing: `Unavailable`."""
        with _renamed():
            answer = self._session.get(self.url + path, timeout=(CONNECT_S, within_s or self._ask_s))
        _check(answer)
        told = _json_of(answer)
        if not isinstance(told, dict):
            raise _unreadable()
        return told

    def _post(self, path: str, body: object) -> requests.Response:
        """Post something that does no harm when it arrives twice. `Unavailable` when no answer comes, or a late one."""
        with _renamed():
            try:
                return self._session.post(self.url + path, json=body, timeout=(CONNECT_S, self._ask_s))
            except requests.ConnectionError:
                # A kept-alive connection that the server closed meanwhile.
                return self._session.post(self.url + path, json=body, timeout=(CONNECT_S, self._ask_s))


@contextmanager
def _renamed() -> Iterator[None]:
    """Turn a failed connection into `ComfyAway`."""
    try:
        yield
    except requests.RequestException as error:
        raise _unreachable(error) from error


def _unreachable(error: Exception) -> ComfyAway:
    return ComfyAway(f"ComfyUI cannot be reached ({type(error).__name__}).")


def _unreadable() -> Unavailable:
    """Say that an answer came and is not ComfyUI's: a proxy's page, or half of one. Prompts may well be running."""
    return Unavailable("ComfyUI answers what cannot be read: does something else answer at its address?")


def _ids(queue: Mapping[str, Any], name: str) -> set[str]:
    """Read the prompt ids of one half of /queue: its items are lists, the id is the second thing in each."""
    items = queue.get(name)
    if not isinstance(items, list) or not all(isinstance(item, list) and len(item) > 1 for item in items):
        raise _unreadable()
    return {str(item[1]) for item in items}


def _never_sent(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _check(answer: requests.Response) -> None:
    if answer.status_code >= 400:
        raise (ComfyAway if answer.status_code in _AWAY else Unavailable)(f"ComfyUI answered {answer.status_code}.")


def _json_of(answer: requests.Response) -> Any:
    """Parse an answer; None when it is not JSON."""
    try:
        return answer.json()
    except ValueError:
        return None


def _bytes_of(device: object, name: str) -> int | None:
    told = device.get(name) if isinstance(device, dict) else None
    return int(told) if isinstance(told, int | float) and told >= 0 else None
