"""
Lay a job out as a DynamoDB item and read it back.

Nested values are JSON text: exact for 64-bit seeds and fractions, and one attribute each for an IAM condition.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.contract.job import Job
from chalicelib.contract.states import OPEN

Attributes = dict[str, Any]

GONE: Final = "gone#"
"""What stands before the spreadsheet's id in the `dirty` index while a job's row cannot be found."""

FRESH: Final = "fresh#"
"""What stands there while a result that a row showed waits for the second look at that row."""

DUE_SHARDS: Final = 4
"""Partitions of the `due` index, so that the sweeper's index never is one hot key."""

SENT: Final = "0"
"""The place, in its client's line, of every job that was sent: before all that are held."""

_INTEGERS: Final = frozenset(
    {"version", "attempt", "budget_left", "seq", "created_at", "enqueued_at", "deadline", "not_before", "due_at"}
    | {"priority", "started_at", "finished_at", "lease_until", "committed_attempt", "synced_version", "spent_ms"}
    | {"given_back"}
)
_DOCUMENTS: Final = frozenset(
    {"inputs", "templates", "tags", "metadata", "target", "progress", "outputs", "error", "last_error", "timings"}
)
"""Fields kept as JSON text."""


def value_of(name: str, value: Any) -> dict[str, str]:
    if isinstance(value, bool) or value is None:
        raise TypeError(f"{name}: the ledger keeps no {type(value).__name__}")
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, str):
        return {"S": str(value)}
    return {"S": document(value)}


def document(value: Any) -> str:
    def plain(part: Any) -> Any:
        return part.model_dump(exclude_none=True)

    return json.dumps(value, default=plain, ensure_ascii=False, separators=(",", ":"))


def item_of(job: Job) -> Attributes:
    """Turn a job into an item; None is left out, `sheet` and the sparse index keys are added."""
    item: Attributes = {}
    for name in Job.model_fields:
        value = getattr(job, name)
        if value is None:
            continue
        item[name] = value_of(name, value)
    # Every move copies `sheet` to the sparse key `dirty_sheet`. A job without a row names no sheet that exists;
    # spread over 256 words, so that API traffic is not one hot key of the index.
    sheet = job.target.spreadsheet_id if job.target else f"-{job.job_id[:2]}"
    item["sheet"] = {"S": sheet}
    if not job.is_shown:
        item["dirty_sheet"] = {"S": sheet}
    if job.due_at is not None:
        item["due_shard"] = {"S": due_shard(job.job_id)}
    if job.state in OPEN:
        item["line"] = {"S": job.client_id}
        item["place"] = {"S": place_of(job)}
    return item


def place_of(job: Job) -> str:
    """Say where an open job stands in its client's line: those held by priority, then by age."""
    return f"1#{100 - job.priority:03}#{job.created_at:013}#{job.job_id}" if job.is_held else SENT


def made_at_of(place: str) -> int:
    """Say when a job was made (ms) that is held at *place*."""
    return int(place.split("#")[2])


def due_shard(job_id: str) -> str:
    """Name the partition of the `due` index that a job is in."""
    return str(int(job_id[:8], 16) % DUE_SHARDS)


def job_of(item: Mapping[str, Any]) -> Job:
    """Turn an item back into a job; attributes that are not the job's own (index keys, ttl) are left out."""
    fields: dict[str, Any] = {}
    for name, value in item.items():
        if name not in Job.model_fields:
            continue
        if name in _DOCUMENTS:
            fields[name] = json.loads(value["S"])
        elif name in _INTEGERS:
            fields[name] = int(value["N"])
        else:
            fields[name] = value["S"]
    return Job.model_validate(fields)
