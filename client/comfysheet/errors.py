"""
Name what can go wrong, by what the caller can do about it. Every text is a sentence that says so.

    ComfySheetError
    ├── NotConfigured           no address or key, or one that cannot be
    ├── Unreachable             nobody answers, or only faults come back; asking again later may work
    ├── ServerError             the server answered 500: a bug of its own
    ├── Refused                 the server understood and says no
    │   ├── Unauthorized        401: the key is not known
    │   ├── Forbidden           403: the key may not do this
    │   ├── NotFound            404: no such job, workflow or file for this key
    │   ├── RateLimited         429: too much for now (`retry_after_s`)
    │   └── Rejected            any other 4xx: what was asked for cannot be done
    ├── JobFailed, JobCanceled  how a job ended (`job`)
    ├── Timeout                 a job has not ended in time (`job`); it goes on
    └── DownloadFailed          a file did not arrive whole
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfysheet.values import JobInfo


class ComfySheetError(Exception):
    """Be what all errors of this package have in common: a sentence, *message*."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotConfigured(ComfySheetError):
    """Say which setting is missing or cannot be."""


class Unreachable(ComfySheetError):
    """Say that no usable answer came, however patiently it was asked for."""


class ServerError(ComfySheetError):
    """Say that the server failed in a way of its own."""


class Refused(ComfySheetError):
    """Carry the server's refusal: HTTP *status*, *code* (a snake_case word) and *details* (JSON) for programs."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details


class Unauthorized(Refused):
    """Say that the key is missing, wrong or revoked."""


class Forbidden(Refused):
    """Say that the key lacks a right."""


class NotFound(Refused):
    """Say that what was asked for is not there, or is somebody else's."""


class RateLimited(Refused):
    """Say that the key has used up its share for now; *retry_after_s* is the server's own advice."""

    retry_after_s: float | None = None


class Rejected(Refused):
    """Say that the request cannot be done as it is; the message names the remedy."""


class JobFailed(ComfySheetError):
    """Say why a job failed. `job.error` has code, node and hint."""

    def __init__(self, job: JobInfo) -> None:
        super().__init__(f"Job {job.id} failed: {job.error.sentence() if job.error else 'it does not say why.'}")
        self.job = job


_ENDS = {"canceled": "cancelled", "expired": "not made in time"}


class JobCanceled(ComfySheetError):
    """Say that a job was cancelled, or that its time was over before it was made."""

    def __init__(self, job: JobInfo) -> None:
        super().__init__(f"Job {job.id} was {_ENDS[job.status]}. Submit it again, or retry it, if it is still wanted.")
        self.job = job


class Timeout(ComfySheetError, TimeoutError):
    """Say that a job has not ended in time. It goes on: wait again, or cancel it."""

    def __init__(self, job: JobInfo, timeout_s: float) -> None:
        super().__init__(
            f"Job {job.id} is still {job.status} after {timeout_s:g} s. It goes on: wait for it again, or cancel it."
        )
        self.job = job


class DownloadFailed(ComfySheetError):
    """Say that a file did not arrive as it was made; nothing is left on disk."""


_BY_STATUS: dict[int, type[Refused]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 429: RateLimited}


def refused(
    status: int, code: str, message: str, details: Mapping[str, Any] | None, retry_after_s: float | None
) -> Refused:
    """Make the error of a 4xx answer."""
    error = _BY_STATUS.get(status, Rejected)(status, code, message, details)
    if isinstance(error, RateLimited):
        error.retry_after_s = retry_after_s
    return error
