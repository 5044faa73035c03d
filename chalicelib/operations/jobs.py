"""The routes of jobs: the Comfy API v2, and what it has besides."""

from __future__ import annotations

from typing import Final

from chalicelib.job_list import JobPage, JobsQuery
from chalicelib.job_view import JobView
from chalicelib.jobs_api import LogQuery, WaitQuery, WorkflowView
from chalicelib.operation import Operation
from chalicelib.programs import JobRequest

_JOBS: Final = "/api/v2/jobs"
_JOB: Final = f"{_JOBS}/{{job_id}}"
_TAG: Final = "Jobs"
_KEYED: Final = {"Idempotency-Key": "A word of your own: the same key and request are the same job."}

JOBS: Final = (
    Operation(
        "POST",
        _JOBS,
        "createJob",
        "Submit a job: a workflow of the catalog with its inputs, or a graph.",
        lambda world, call: world.jobs_api.create(call),
        tag=_TAG,
        scope="submit",
        body=JobRequest,
        query=WaitQuery,
        headers=_KEYED,
        answers={201: JobView},
    ),
    Operation(
        "GET",
        _JOBS,
        "listJobs",
        "List your jobs, newest first.",
        lambda world, call: world.jobs_api.list(call),
        tag=_TAG,
        scope="read",
        query=JobsQuery,
        answers={200: JobPage},
        refusals=frozenset({400}),
    ),
    Operation(
        "GET",
        _JOB,
        "getJob",
        "Show a job, now or as soon as it has ended.",
        lambda world, call: world.jobs_api.get(call),
        tag=_TAG,
        scope="read",
        query=WaitQuery,
        answers={200: JobView},
        refusals=frozenset({400}),
    ),
    Operation(
        "POST",
        f"{_JOB}/cancel",
        "cancelJob",
        "Cancel a job.",
        lambda world, call: world.jobs_api.cancel(call),
        tag=_TAG,
        scope="submit",
        answers={200: JobView},
    ),
    Operation(
        "POST",
        f"{_JOB}/retry",
        "retryJob",
        "Make an ended job once more, as a new job with the same inputs.",
        lambda world, call: world.jobs_api.retry(call),
        tag=_TAG,
        scope="submit",
        query=WaitQuery,
        headers=_KEYED,
        answers={201: JobView},
        refusals=frozenset({400, 409, 422}),
    ),
    Operation(
        "GET",
        f"{_JOB}/workflow",
        "getJobWorkflow",
        "Give the graph as ComfyUI got it.",
        lambda world, call: world.jobs_api.workflow(call),
        tag=_TAG,
        scope="read",
        answers={200: WorkflowView},
        refusals=frozenset({422}),
    ),
    Operation(
        "GET",
        f"{_JOB}/events",
        "getJobEvents",
        "Wait up to 15 seconds for news of a job, and tell them as server-sent events.",
        lambda world, call: world.jobs_api.events(call),
        tag=_TAG,
        scope="read",
        answers={200: "text/event-stream"},
    ),
    Operation(
        "GET",
        f"{_JOB}/log",
        "getJobLog",
        "Give the run record of an attempt.",
        lambda world, call: world.jobs_api.log(call),
        tag=_TAG,
        scope="read",
        query=LogQuery,
        answers={200: "application/x-ndjson", 302: None},
    ),
)
