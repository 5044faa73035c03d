"""
Say what to ask the API for and how to read what it answers. Plans only (`comfysheet._plan`): nothing here sends.

The wire is the Comfy API v2 with ComfySheet's own fields: {"error": {code, message, details}}, `?wait=`, `workflow_id`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx

from comfysheet._plan import Lost, Patience, Pause, Plan, Reply, Send, Surroundings, repeat
from comfysheet.errors import ComfySheetError, NotConfigured, ServerError, Timeout, Unreachable, refused
from comfysheet.values import JobInfo, Json, WorkflowInfo

HOLD_S: Final = 20
"""How long the server may hold a question for a job's end: the most that it allows."""
PACE_S: Final = 1.0
"""How often a job is asked for when somebody watches its progress."""
_ANSWER_S: Final = 30.0
_SLOW_PACE_S: Final = 5.0

Shape = TypeVar("Shape")
Watch = Callable[[JobInfo], None]


@dataclass(frozen=True)
class Asked:
    """Ask for one job: a workflow of the catalog with inputs, or a raw *graph*; the rest is optional."""

    workflow: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    graph: Mapping[str, Any] | None = None
    priority: int | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    webhook_url: str | None = None

    def body(self) -> dict[str, Any]:
        """Give the request's body; what is not said is left out."""
        what: dict[str, Any] = {"workflow": self.graph}
        if self.graph is None:
            what = {"workflow_id": self.workflow, "inputs": dict(self.inputs)}
        extra = {
            "priority": self.priority,
            "tags": list(self.tags) or None,
            "metadata": dict(self.metadata) or None,
            "webhook_url": self.webhook_url,
        }
        return what | {name: value for name, value in extra.items() if value is not None}


def new_key() -> str:
    """Make an idempotency key: before the first try, so that no try can make a second job."""
    return str(uuid4())


@dataclass(frozen=True)
class Api:
    """Know the server's address and our key (never shown), and how patient to be."""

    url: str
    key: str = field(repr=False)
    patience: Patience = field(default_factory=Patience)
    around: Surroundings = field(default_factory=Surroundings)
    agent: str = "comfysheet-client"

    # -- asking ---------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        key: str | None = None,
        timeout_s: float = _ANSWER_S,
        **more: Any,
    ) -> httpx.Request:
        """Make a request of the API; *path* follows /api/v2/, *key* is an idempotency key."""
        headers = {"Authorization": f"Bearer {self.key}", "User-Agent": self.agent, "Accept": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if body is not None:
            headers["Content-Type"] = "application/json"
            more["content"] = _json(body)
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        timeouts = httpx.Timeout(timeout_s, connect=10.0).as_dict()
        return httpx.Request(
            method, f"{self.url}/api/v2/{path}", params=asked, headers=headers, extensions={"timeout": timeouts}, **more
        )

    def ask(
        self, method: str, path: str, read: Callable[[Json], Shape], *, patience_s: float | None = None, **more: Any
    ) -> Plan[tuple[Shape, int, int]]:
        """
        Ask and *read* the JSON answer: what was read, the status, and how often it was asked for.

        Raise `Refused`, `ServerError` or `Unreachable`.
        """
        heard = yield from self.talk(
            lambda: Send(self.request(method, path, **more)),
            is_whole=lambda reply: not reply.status < 300 or reply.json() is not None,
            patience_s=patience_s,
        )
        told = heard.reply.json()
        try:
            return read(told if told is not None else {}), heard.reply.status, heard.tries
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ServerError(f"{self.url} answers in an unknown way ({error!r}). Is it a ComfySheet API?") from error

    def talk(
        self,
        make: Callable[[], Send],
        *,
        is_whole: Callable[[Reply], bool] = lambda _reply: True,
        patience_s: float | None = None,
    ) -> Plan[Any]:
        """Send until a lasting answer comes; raise what an answer of 300 and more means."""
        patience = self.patience if patience_s is None else replace(self.patience, total_s=patience_s)
        heard = yield from repeat(make, patience=patience, around=self.around, give_up=self.give_up, is_whole=is_whole)
        if heard.reply.status >= 300:
            raise self.fault(heard.reply)
        return heard

    # -- jobs -----------------------------------------------------------------------------------------------------

    def submit(self, asked: Asked, key: str, *, patience_s: float | None = None) -> Plan[JobInfo]:
        """Submit a job under its idempotency *key*: a new job, or the one that the key stands for."""
        check_key(key)
        job, _, _ = yield from self.ask("POST", "jobs", JobInfo.read, body=asked.body(), key=key, patience_s=patience_s)
        return job

    def show(self, job_id: str, *, hold_s: int = 0, patience_s: float | None = None) -> Plan[JobInfo]:
        """Show a job; the server may hold its answer for *hold_s* until the job has ended."""
        query = {"wait": hold_s or None}
        job, _, _ = yield from self.ask(
            "GET", _job(job_id), JobInfo.read, query=query, timeout_s=hold_s + _ANSWER_S, patience_s=patience_s
        )
        return job

    def wait(self, job_id: str, timeout_s: float | None = None, watch: Watch | None = None) -> Plan[JobInfo]:
        """Wait until a job has ended, however; tell *watch* what changes. Raise `Timeout`."""
        began = self.around.now()
        pace_s, most_s = 0.5, PACE_S if watch else _SLOW_PACE_S
        seen: JobInfo | None = None
        while True:
            left_s = HOLD_S if timeout_s is None else began + timeout_s - self.around.now()
            hold_s = max(0, min(int(left_s), int(PACE_S) if watch else HOLD_S))
            asked = self.around.now()
            job = yield from self.show(job_id, hold_s=hold_s)
            if watch and job != seen:
                watch(job)
            seen = job
            if job.is_ended:
                return job
            left_s = HOLD_S if timeout_s is None else began + timeout_s - self.around.now()
            if timeout_s is not None and left_s <= 0:
                raise Timeout(job, timeout_s)
            if self.around.now() - asked >= hold_s / 2 > 0:
                continue
            # The server does not hold questions: be the one that waits.
            yield Pause(min(pace_s, most_s, left_s))
            pace_s = min(pace_s * 1.5, most_s)

    def cancel(self, job_id: str, *, patience_s: float | None = None) -> Plan[JobInfo]:
        """Cancel a job; one that has ended stays as it is."""
        job, _, _ = yield from self.ask("POST", f"{_job(job_id)}/cancel", JobInfo.read, patience_s=patience_s)
        return job

    def retry(self, job_id: str, key: str) -> Plan[JobInfo]:
        """Make a new job of an ended one."""
        job, _, _ = yield from self.ask("POST", f"{_job(job_id)}/retry", JobInfo.read, key=key)
        return job

    def page(self, cursor: str | None, **filters: Any) -> Plan[tuple[list[JobInfo], str | None]]:
        """List jobs, newest first: a page of them, and the cursor of the next one (None: it was the last)."""
        page, _, _ = yield from self.ask("GET", "jobs", _page, query={**filters, "cursor": cursor})
        return page

    # -- the catalog ----------------------------------------------------------------------------------------------

    def workflows(self) -> Plan[tuple[WorkflowInfo, ...]]:
        """List the workflows that may be asked for."""

        def read(told: Json) -> tuple[WorkflowInfo, ...]:
            return tuple(WorkflowInfo.read(one) for one in told["data"])

        found, _, _ = yield from self.ask("GET", "workflows", read)
        return found

    def workflow(self, workflow_id: str) -> Plan[WorkflowInfo]:
        """Show one workflow."""
        found, _, _ = yield from self.ask("GET", f"workflows/{quote(workflow_id, safe='')}", WorkflowInfo.read)
        return found

    # -- faults ---------------------------------------------------------------------------------------------------

    def fault(self, reply: Reply) -> ComfySheetError:
        """Say what an answer means that is no success."""
        told = (reply.json() or {}).get("error")
        if isinstance(told, Mapping) and told.get("message"):
            code, message, details = str(told.get("code", "")), str(told["message"]), told.get("details")
            if reply.status < 500:
                return refused(reply.status, code, message, details, reply.retry_after_s())
            return (Unreachable if reply.status in (502, 503, 504) else ServerError)(message)
        if 300 <= reply.status < 400:
            return NotConfigured(f"{self.url} leads to another address. Set COMFYSHEET_URL to the API's own.")
        if reply.status >= 500:
            shape = Unreachable if reply.status in (502, 503, 504) else ServerError
            return shape(f"{self.url} answers with HTTP {reply.status}. Try again in a while.")
        message = (
            f"{self.url} answers HTTP {reply.status} and does not say why. Is it the API's address, stage included?"
        )
        return refused(reply.status, "", message, None, reply.retry_after_s())

    def give_up(self, last: Reply | Lost) -> ComfySheetError:
        """Say why nobody answered, however patiently we asked."""
        if isinstance(last, Reply):
            return self.fault(last)
        return Unreachable(f"{self.url} does not answer ({last}). Check the address and the network, or try again.")


def pages(fetch: Callable[[str | None], tuple[list[JobInfo], str | None]]) -> Iterator[JobInfo]:
    """Go through all pages that *fetch* gets."""
    cursor: str | None = None
    while True:
        jobs, cursor = fetch(cursor)
        yield from jobs
        if not cursor:
            return


def check_key(key: str) -> None:
    """Raise `ValueError` for what cannot be an idempotency key."""
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise ValueError("An idempotency key has 1 to 255 printable ASCII characters.")


def job_path(job_id: str) -> str:
    """Write a job's place below /api/v2/."""
    return f"jobs/{quote(job_id, safe='')}"


_job = job_path


def _page(told: Json) -> tuple[list[JobInfo], str | None]:
    return [JobInfo.read(one) for one in told["jobs"]], told.get("next_cursor")


def _json(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
