"""Answer as AWS's services do when they have enough: for `Kind.ANSWER` of the fault proxy."""

from __future__ import annotations

import json

from faults.orders import Fault, Kind, Match

_JSON_10 = {"Content-Type": "application/x-amz-json-1.0"}


def dynamodb_throttled(match: Match, *, nth: int = 1, times: int | None = None, share: float = 1) -> Fault:
    """Make DynamoDB say that the table's capacity is spent (400, as for a provisioned table)."""
    kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
    body = _refusal(kind, "The level of configured provisioned throughput for the table was exceeded.")
    return Fault(Kind.ANSWER, match, nth=nth, times=times, share=share, status=400, headers=_JSON_10, body=body)


def sqs_throttled(match: Match, *, nth: int = 1, times: int | None = None, share: float = 1) -> Fault:
    """Make SQS refuse for too many requests (400 RequestThrottled, as its FIFO queues do)."""
    headers = {**_JSON_10, "x-amzn-query-error": "RequestThrottled;Sender"}
    body = _refusal("com.amazonaws.sqs#RequestThrottled", "The request was denied due to request throttling.")
    return Fault(Kind.ANSWER, match, nth=nth, times=times, share=share, status=400, headers=headers, body=body)


def sqs_away(match: Match, *, nth: int = 1, times: int | None = None, share: float = 1) -> Fault:
    """Make SQS say that it is unavailable (503)."""
    body = _refusal("ServiceUnavailable", "Service is unavailable; try again later.")
    return Fault(Kind.ANSWER, match, nth=nth, times=times, share=share, status=503, headers=_JSON_10, body=body)


def s3_slow_down(match: Match, *, nth: int = 1, times: int | None = None, share: float = 1) -> Fault:
    """Make S3 ask for fewer requests (503 SlowDown)."""
    body = (
        b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    )
    headers = {"Content-Type": "application/xml"}
    return Fault(Kind.ANSWER, match, nth=nth, times=times, share=share, status=503, headers=headers, body=body)


def throttled(name: str, service: str, *, nth: int = 1, times: int | None = None, share: float = 1) -> Fault:
    """Throttle the calls that are named like *name* as their *service* (dynamodb, sqs, s3) does it itself."""
    make = {"dynamodb": dynamodb_throttled, "sqs": sqs_throttled, "s3": s3_slow_down}[service]
    return make(Match(name=name), nth=nth, times=times, share=share)


def _refusal(kind: str, message: str) -> bytes:
    return json.dumps({"__type": kind, "message": message}).encode()
