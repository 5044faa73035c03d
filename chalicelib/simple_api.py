"""
Answer in the words of older gateways: /generate makes a task, /tasks/{id} tells of it (Celery's states).

A task is a job: the same keys, the same ids; whatever else is asked of it is found below /api/v2/jobs.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.api_parts import Answer, Call, check_size, idempotency_key, parse
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger
from chalicelib.contract.states import State
from chalicelib.links import download_link, output_link
from chalicelib.programs import JobRequest, Programs
from chalicelib.submit import Request, Scalar

TaskStatus = Literal["PENDING", "STARTED", "SUCCESS", "FAILURE"]

_STATUS: Final[dict[State, TaskStatus]] = {
    State.QUEUED: "PENDING",
    State.RUNNING: "STARTED",
    State.SUCCEEDED: "SUCCESS",
    State.FAILED: "FAILURE",
    State.CANCELED: "FAILURE",
}


class GenerateRequest(Request):
    """Ask for one job: *params* are its inputs."""

    workflow_id: str = Field(min_length=1, max_length=200)
    params: dict[str, Scalar] = Field(default_factory=dict, max_length=200)


class Task(BaseModel):
    """Name the task that was made."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    status: TaskStatus


class TaskFile(BaseModel):
    """Describe a file that a task made."""

    model_config = ConfigDict(frozen=True)

    filename: str
    content_type: str
    size_bytes: int
    url: str
    """Shows it."""
    download_url: str
    """Has a browser keep it; needs no key."""


class TaskResult(BaseModel):
    """Say what a task made: *download_url* leads to its first file (null: it made none)."""

    model_config = ConfigDict(frozen=True)

    download_url: str | None
    files: list[TaskFile]
    params: dict[str, Any]
    """The inputs as they were resolved, with the seed that was drawn."""


class TaskView(BaseModel):
    """Show a task; *result* is there on SUCCESS, *error* on FAILURE (of a cancelled job too)."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    status: TaskStatus
    progress: float | None
    result: TaskResult | None
    error: str | None


class SimpleApi:
    """Answer /generate and /tasks. Each method raises `Rejected` or `Unavailable`."""

    def __init__(self, programs: Programs, ledger: Ledger) -> None:
        self._programs = programs
        self._ledger = ledger

    def generate(self, call: Call) -> Answer:
        """POST /generate: 202 for a new task, 200 for a replay under the same Idempotency-Key."""
        check_size(call.body)
        asked = parse(GenerateRequest, call.body)
        request = JobRequest(workflow_id=asked.workflow_id, inputs=asked.params)
        outcome = self._programs.one(call.caller, idempotency_key(call), request, call.link_base)
        task = Task(task_id=outcome.job.job_id, status=_STATUS[outcome.job.state])
        return Answer(202 if outcome.created else 200, task.model_dump(mode="json"))

    def task(self, call: Call) -> Answer:
        """GET /tasks/{id}."""
        job = self._ledger.get(call.path["task_id"])
        if job is None or job.client_id != call.caller.client_id:
            raise Rejected("not_found", "There is no task of this id.")
        return Answer(200, task_view(job).model_dump(mode="json"))


def task_view(job: Job) -> TaskView:
    """Give a job in the words of a task."""
    error = job.error.sentence() if job.error else None
    if job.state is State.CANCELED:
        error = "It was cancelled."
    return TaskView(
        task_id=job.job_id,
        status=_STATUS[job.state],
        progress=job.progress.fraction if job.progress else None,
        result=_result(job) if job.state is State.SUCCEEDED else None,
        error=error,
    )


def _result(job: Job) -> TaskResult:
    files = [
        TaskFile(
            filename=output.filename,
            content_type=output.content_type,
            size_bytes=output.size_bytes,
            url=output_link(job, number),
            download_url=download_link(job, number),
        )
        for number, output in enumerate(job.outputs)
    ]
    return TaskResult(download_url=files[0].download_url if files else None, files=files, params=dict(job.inputs))
