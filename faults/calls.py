"""Name the calls that pass a fault proxy after what they are in a job's life: `dynamodb claim`, `s3 put output`."""

from __future__ import annotations

import re
from typing import Final

from faults.orders import Request, call_name

_VERBS: Final = (
    ("claim", b":set_claim_token"),
    ("commit", b":set_committed_attempt"),
    ("fail", b":set_error"),
    ("retry", b":set_last_error"),
    ("release", b":add_budget_left"),
    ("resend", b":add_seq"),
    ("synced", b":set_synced_version"),
    ("heartbeat", b":set_lease_until"),
)
"""What the ledger's updates bind and no later one does."""
OWN_WRITES: Final = frozenset(f"dynamodb {verb}" for verb in ("heartbeat", "commit", "fail", "retry", "release"))
"""What only the holder of a lease may write."""
_FOLDERS: Final = {"outputs": "output", "runs": "record", "workflows": "workflow"}
_JOB: Final = re.compile(rb'"Key": ?\{"job_id": ?\{"S": ?"([0-9a-f-]{36})"\}\}')
_ATTEMPT: Final = re.compile(rb'":attempt": ?\{"N": ?"(\d+)"\}')
_PROMPT: Final = re.compile(rb'"prompt_id": ?"([0-9a-f-]{36})"')


def call_of(request: Request) -> str:
    """Name a call by what it means to a job; `faults.orders.call_name` where it means nothing of its own."""
    name = call_name(request)
    if name == "dynamodb.UpdateItem":
        return "dynamodb " + next((verb for verb, mark in _VERBS if mark in request.body), "update")
    if name.startswith("s3."):
        folder = "".join(request.path.split("/")[2:3])
        kind = "thumbnail" if "-thumb." in request.path else _FOLDERS.get(folder, "file")
        return f"s3 {request.method.lower()} {kind}"
    if re.fullmatch(r"(sqs|dynamodb|events|ssm|secretsmanager)\..*", name):
        return name.replace(".", " ")
    # Ids out of the paths of ComfyUI, and the API's own root.
    path = re.sub(r"/[0-9a-f-]{36}\b", "/ID", request.path)
    return f"{request.method} {re.sub(r'^/restapis/.*/_user_request_', '', path)}"


def about_job(request: Request) -> str:
    """Note which job's update it is, and of which attempt (`ID 2`); of a prompt sent to ComfyUI its id."""
    if job := _JOB.search(request.body):
        attempt = _ATTEMPT.search(request.body)
        return f"{job.group(1).decode()} {attempt.group(1).decode() if attempt else ''}".strip()
    if request.method == "POST" and request.path == "/prompt" and (prompt := _PROMPT.search(request.body)):
        return prompt.group(1).decode()
    return ""
