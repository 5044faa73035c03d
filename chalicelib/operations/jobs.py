"""The routes of jobs: the Comfy API v2, and what it has besides."""

from __future__ import annotations

from typing import Final

from chalicelib.operation import Operation
from chalicelib.submit import JobRequest

_JOB: Final = "/api/v2/jobs/{job_id}"

JOBS: Final = (
    Operation(
        "POST",
        "/api/v2/jobs",
        "createJob",
        "Submit a job.",
        lambda world, call: world.jobs_api.create(call),
        tag="Jobs",
        scope="submit",
        body=JobRequest,
    ),
    Operation(
        "GET", _JOB, "getJob", "Show a job.", lambda world, call: world.jobs_api.get(call), tag="Jobs", scope="read"
    ),
    Operation(
        "POST",
        f"{_JOB}/cancel",
        "cancelJob",
        "Cancel a job.",
        lambda world, call: world.jobs_api.cancel(call),
        tag="Jobs",
        scope="submit",
    ),
    Operation(
        "GET",
        f"{_JOB}/log",
        "getJobLog",
        "Give the run record of an attempt.",
        lambda world, call: world.jobs_api.log(call),
        tag="Jobs",
        scope="read",
    ),
)
