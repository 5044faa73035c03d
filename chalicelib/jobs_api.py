"""
Answer programs about their jobs: parse strictly, call one use case. Whose key it is, the gate has seen to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.api_parts import Answer, Call, check_size, idempotency_key, parse, parse_query
from chalicelib.cancel import Hints, cancel
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger, Seats, Submitted
from chalicelib.contract.states import TERMINAL, State
from chalicelib.job_list import JobsQuery, folded, list_jobs
from chalicelib.job_view import View, job_view
from chalicelib.job_watch import EVENTS_WAIT_S, MAX_WAIT_S, Clock, events_of, wait_for_end, waiting_room
from chalicelib.programs import JobRequest, Programs
from chalicelib.records import Records, attempt_of
from chalicelib.sent_graph import SentGraphs

COUNTED: Final = 200
"""How far back in its client's line a queued job is told its place."""


class WaitQuery(BaseModel):
    """Say how long the answer may wait for the job's end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)] = 0
    """Seconds; the answer comes at once when the job has ended."""


class LogQuery(BaseModel):
    """Say which attempt is meant."""

    attempt: str = ""
    """Its number; left out: the one whose results count, or the last one."""


class WorkflowView(View):
    """Give the graph behind a job, in ComfyUI's API format."""

    workflow: dict[str, Any]
    format: Literal["api"] = "api"


@dataclass(frozen=True)
class Desk:
    """Hand over what the jobs API stands on."""

    programs: Programs
    ledger: Ledger
    records: Records
    graphs: SentGraphs
    hints: Hints
    seats: Seats
    clock: Clock
    now_ms: Callable[[], int]


class JobsApi:
    """Answer below /api/v2/jobs. Each method raises `Rejected` or `Unavailable`; `guarded` makes answers of them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def create(self, call: Call) -> Answer:
        """POST /api/v2/jobs: a new job, or the one that this key stands for."""
        check_size(call.body)
        patience_s = parse_query(WaitQuery, call.query).wait
        request = parse(JobRequest, call.body)
        outcome = self._desk.programs.one(call.caller, idempotency_key(call), request, call.link_base)
        return self._made(outcome, patience_s)

    def retry(self, call: Call) -> Answer:
        """POST /api/v2/jobs/{id}/retry: an ended job once more, as a new job."""
        patience_s = parse_query(WaitQuery, call.query).wait
        job_id = call.path["job_id"]
        outcome = self._desk.programs.again(call.caller, job_id, idempotency_key(call), call.link_base)
        return self._made(outcome, patience_s)

    def list(self, call: Call) -> Answer:
        """GET /api/v2/jobs: newest first, a page at a time."""
        page = list_jobs(self._desk.ledger, call.caller.client_id, parse_query(JobsQuery, folded(call.query)))
        return Answer(200, page.model_dump(mode="json", exclude={"next_cursor"} if page.next_cursor is None else None))

    def get(self, call: Call) -> Answer:
        """GET /api/v2/jobs/{id}: as it is, or (wait) as soon as it has ended."""
        patience_s = parse_query(WaitQuery, call.query).wait
        job = self._wait(self._own(call), patience_s)
        return Answer(200, job_view(job, self._place(job)).model_dump(mode="json"))

    def cancel(self, call: Call) -> Answer:
        """POST /api/v2/jobs/{id}/cancel: the job as it stands then; repeating it changes nothing."""
        desk, client_id = self._desk, call.caller.client_id
        job = cancel(call.path["job_id"], client_id, ledger=desk.ledger, hints=desk.hints, now_ms=desk.now_ms)
        return Answer(200, _shown(job))

    def workflow(self, call: Call) -> Answer:
        """GET /api/v2/jobs/{id}/workflow: the graph as ComfyUI got it, or will get it."""
        graph = self._desk.graphs.give(self._own(call))
        return Answer(200, WorkflowView(workflow=graph).model_dump(mode="json"))

    def events(self, call: Call) -> Answer:
        """GET /api/v2/jobs/{id}/events: the next piece of the stream of its news."""
        job = self._own(call)
        wanted_s = 0.0 if job.state in TERMINAL else EVENTS_WAIT_S
        with waiting_room(self._desk.seats, job.client_id, wanted_s, self._desk.now_ms) as patience_s:
            text = events_of(job, lambda: self._desk.ledger.get(job.job_id), self._desk.clock, patience_s)
        return Answer(200, text, {"Content-Type": "text/event-stream", "Cache-Control": "no-store"})

    def log(self, call: Call) -> Answer:
        """GET /api/v2/jobs/{id}/log: the run record of an attempt (the committed or last one), as JSON lines."""
        job = self._own(call)
        number = attempt_of(job, parse_query(LogQuery, call.query).attempt)
        earlier = " Earlier ones may have theirs: add ?attempt=NUMBER." if number > 1 else ""
        return self._desk.records.give(job, number, content_type="application/x-ndjson", else_try=earlier)

    def _made(self, outcome: Submitted, patience_s: float) -> Answer:
        """
        Answer a submission: 201 for a replay too, which the header tells.

        comfy-sdk 0.5.0 takes nothing but a 201 for an answer to POST /jobs (docs/decisions/0014).
        """
        job = self._wait(outcome.job, patience_s)
        headers = {"Location": job_view(job).urls.self}
        if not outcome.created:
            headers["Idempotent-Replayed"] = "true"
        return Answer(201, _shown(job), headers)

    def _wait(self, job: Job, patience_s: float) -> Job:
        wanted_s = 0.0 if job.state in TERMINAL else patience_s
        with waiting_room(self._desk.seats, job.client_id, wanted_s, self._desk.now_ms) as allowed_s:
            return wait_for_end(job, lambda: self._desk.ledger.get(job.job_id), self._desk.clock, allowed_s)

    def _place(self, job: Job) -> int | None:
        """Say where a queued job stands; None: it is not queued, or too far back to be counted at each look."""
        if job.state is not State.QUEUED:
            return None
        line = self._desk.ledger.line(job.client_id, COUNTED)
        if job.job_id in line.sent:
            return 1
        return len(line.sent) + line.held.index(job.job_id) + 1 if job.job_id in line.held else None

    def _own(self, call: Call) -> Job:
        job = self._desk.ledger.get(call.path["job_id"])
        if job is None or job.client_id != call.caller.client_id:
            raise Rejected("not_found", "There is no job of this id.")
        return job


def _shown(job: Job) -> dict[str, Any]:
    return job_view(job).model_dump(mode="json")
