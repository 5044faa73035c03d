"""Make jobs for tests."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from chalicelib.contract.job import JOB_LIFETIME_MS, QUEUED_LOST_MS, Job, Output, Target, job_id_of, prompt_fingerprint
from chalicelib.contract.states import State

NOW = 1_800_000_000_000


def target(spreadsheet_id: str = "sheet-1", sheet_id: int = 0, prompt: str = "a fox") -> Target:
    """Name a row."""
    return Target(spreadsheet_id=spreadsheet_id, sheet_id=sheet_id, prompt_hash=prompt_fingerprint(prompt))


def new_job(**fields: Any) -> Job:
    """Make a queued job with a fresh key; any field can be set."""
    key = fields.pop("job_key", str(uuid4()))
    client = fields.pop("client_id", "client-1")
    now = fields.pop("now", NOW)
    defaults: dict[str, Any] = {
        "job_id": job_id_of(client, key),
        "client_id": client,
        "job_key": key,
        "state": State.QUEUED,
        "submit_token": uuid4().hex,
        "workflow_id": "empty-color",
        "workflow_hash": "0" * 64,
        "inputs": {"prompt": "a fox", "seed": 2**64 - 1, "cfg": 7.5},
        "input_hash": "h" * 32,
        "target": target(),
        "view_token": "v" * 22,
        "created_at": now,
        "enqueued_at": now,
        "deadline": now + JOB_LIFETIME_MS,
        "due_at": now + QUEUED_LOST_MS,
    }
    return Job(**(defaults | fields))


def output(key: str = "outputs/client-1/x/1/0-abcdef12.png") -> Output:
    """Describe a picture."""
    return Output(
        key=key,
        filename="x_00001_.png",
        content_type="image/png",
        size_bytes=3,
        sha256="a" * 64,
        node="9",
        kind="image",
        width_px=64,
        height_px=64,
    )
