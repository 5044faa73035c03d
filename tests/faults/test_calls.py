"""A proxy calls what passes by what it is in a job's life: the ledger's own calls are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.contract.job import JobError, Timings
from chalicelib.contract.ports import Lease
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import item_of
from faults.calls import about_job, call_of
from faults.orders import Request
from tests.jobs import NOW, new_job, output

JOB = new_job(view_token="v")
LEASE = Lease(JOB.job_id, 3, "token")
ERROR = JobError(code="c", text="It broke.")
SIGNED = "AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/{}/aws4_request, Signature=1"


class Wire:
    """Be a client of DynamoDB that answers with the job, and keeps what it was asked as it stands on the wire."""

    def __init__(self) -> None:
        self.request: Request

    def update_item(self, **asked: Any) -> dict[str, Any]:
        self.request = signed("dynamodb", "POST", "/", json.dumps(asked), "DynamoDB_20120810.UpdateItem")
        return {"Attributes": item_of(JOB)}


def signed(service: str, method: str, target: str, body: str = "", operation: str = "") -> Request:
    headers = {"authorization": SIGNED.format(service)} | ({"x-amz-target": operation} if operation else {})
    return Request(method, target, headers, body.encode())


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("claim", lambda ledger: ledger.claim(JOB.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1)),
        ("heartbeat", lambda ledger: ledger.heartbeat(LEASE, until=NOW, phase="p", progress=None)),
        ("commit", lambda ledger: ledger.commit(LEASE, now=NOW, outputs=[output()], timings=Timings())),
        ("fail", lambda ledger: ledger.fail(LEASE, now=NOW, error=ERROR)),
        ("retry", lambda ledger: ledger.retry(LEASE, now=NOW, not_before=NOW, error=ERROR)),
        ("release", lambda ledger: ledger.release(LEASE, now=NOW)),
        ("resend", lambda ledger: ledger.resend(JOB, now=NOW)),
        ("synced", lambda ledger: ledger.mark_synced(JOB)),
    ],
)
def test_a_write_of_the_ledger_has_its_verbs_name(name: str, act: Callable[[DynamoLedger], object]) -> None:
    """And the log notes which job it is about; of a holder's writes the attempt too."""
    wire = Wire()
    act(DynamoLedger(wire, "jobs"))  # type: ignore[arg-type]
    assert call_of(wire.request) == f"dynamodb {name}"
    own = name in ("heartbeat", "commit", "fail", "retry", "release")
    assert about_job(wire.request) == (f"{JOB.job_id} 3" if own else JOB.job_id)


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (signed("sqs", "POST", "/", "{}", "AmazonSQS.ReceiveMessage"), "sqs ReceiveMessage"),
        (signed("s3", "PUT", "/bucket/outputs/c/j/1/0-ab.png"), "s3 put output"),
        (signed("s3", "PUT", "/bucket/outputs/c/j/1/0-thumb.jpg"), "s3 put thumbnail"),
        (signed("s3", "PUT", "/bucket/runs/c/j/1.jsonl"), "s3 put record"),
        (signed("s3", "GET", "/bucket/workflows/by-hash/a.json"), "s3 get workflow"),
        (Request("GET", f"/history/{JOB.job_id}", {}, b""), "GET /history/ID"),
        (Request("POST", "/restapis/ab/local/_user_request_/api/v2/jobs", {}, b""), "POST /api/v2/jobs"),
    ],
)
def test_other_calls_are_named_by_what_they_carry(request_: Request, name: str) -> None:
    """Files by their folder, ComfyUI's and the API's routes without ids."""
    assert call_of(request_) == name
