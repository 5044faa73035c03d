"""
Do one row of a `map`, and say which failures are the row's own: the same for both clients.

A row's idempotency key is made of the caller's key and the row's content, so that a table can be run again after
anything: what has succeeded is found, what failed or was cancelled before is made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any, Final

from comfysheet._api import Api, Asked, new_key
from comfysheet._facts import check_success
from comfysheet._inputs import prepare
from comfysheet._plan import Plan
from comfysheet._uploads import Uploads
from comfysheet.errors import ComfySheetError, DownloadFailed, JobCanceled, JobFailed, NotFound, Rejected, Timeout
from comfysheet.values import JobInfo

OF_THE_ROW: Final = (JobFailed, JobCanceled, Rejected, NotFound, Timeout, DownloadFailed)
"""What befalls one row; all other errors would befall each of them, and end the map."""

_MADE_ANEW: Final = ("failed", "canceled", "expired")
_RUNS: Final = 50
"""How often a row that keeps failing is made anew under one key, over all runs of its table."""


class RowKeys:
    """Name each row: *key*, a hash of what it asks for, and which of several equal rows it is."""

    def __init__(self, key: str | None) -> None:
        if key == "":
            raise ValueError("key must have a character at least.")
        self._key = key
        self._seen: Counter[str] = Counter()
        self._lock = Lock()

    def mark(self, row: Mapping[str, Any]) -> int:
        """Say how many equal rows were there before this one; rows are to be marked in their order."""
        text = repr(sorted((name, str(value)) for name, value in row.items()))
        with self._lock:
            self._seen[text] += 1
            return self._seen[text] - 1

    def name(self, asked: Asked, nth: int) -> str:
        """Give a row's idempotency key."""
        if self._key is None:
            return new_key()
        text = json.dumps(asked.body(), sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(f"{self._key}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
        return f"map:{digest[:32]}:{nth}"


def check_in_flight(in_flight: int) -> None:
    """Raise `ValueError` for what is no number of jobs."""
    if not 1 <= in_flight <= 100:
        raise ValueError("in_flight must be 1 to 100.")


def submit_row(
    api: Api,
    uploads: Uploads,
    asked: Asked,
    keys: RowKeys,
    nth: int,
    *,
    patience_s: float,
    submitted: Callable[[JobInfo], None],
) -> Plan[JobInfo]:
    """Submit a row; tell *submitted* of its job."""
    inputs = yield from prepare(asked.inputs, uploads)
    ready = replace(asked, inputs=inputs)
    name = keys.name(ready, nth)
    for run in range(1, _RUNS + 1):
        job = yield from api.submit(ready, name if run == 1 else f"{name}:{run}", patience_s=patience_s)
        # A job that has failed already is of an earlier run of its table.
        if job.status not in _MADE_ANEW:
            break
    submitted(job)
    return job


def do_row(
    api: Api,
    uploads: Uploads,
    asked: Asked,
    keys: RowKeys,
    nth: int,
    *,
    timeout_s: float | None,
    patience_s: float,
    submitted: Callable[[JobInfo], None],
) -> Plan[JobInfo | ComfySheetError]:
    """Submit a row and wait for its end: its job, or what went wrong with this row alone."""
    try:
        job = yield from submit_row(api, uploads, asked, keys, nth, patience_s=patience_s, submitted=submitted)
        if not job.is_ended:
            job = yield from api.wait(job.id, timeout_s)
        check_success(job)
    except OF_THE_ROW as error:
        return error
    return job
