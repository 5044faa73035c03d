"""
Write one JSON line per event worth counting to standard output, where Lambda's runtime takes it to CloudWatch.

Only the fields named here get through, as in the worker's log (worker/logs.py): a prompt's text, a signed link or a key
cannot slip into a line by accident. Of an exception that is not ours only its kind and its trace are told, for its text
may hold what somebody sent (pydantic's does). Each line names the call that it belongs to: Lambda's request, API
Gateway's, and the trace id that AWS draws for every request (X-Amzn-Trace-Id, read from the environment).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from chalicelib.contract.errors import Unavailable

FIELDS: Final = frozenset(
    {"action", "job_id", "attempt", "seq", "client_id", "version", "state", "reason", "code", "error", "workflow"}
    | {"batch_id", "key_id", "group", "lane", "delivery_id", "message_id", "worker", "account", "status"}
    | {
        "duration_ms",
        "count",
        "jobs",
        "rows",
        "accepted",
        "lanes",
        "receives",
        "machines",
        "before",
        "after",
        "dollars",
        "needed",
        "day_dollars",
        "month_dollars",
        "pool",
        "pod",
        "why",
    }
)
"""What a line may hold beside its message, time, level, place, trace and the ids of its call."""

MAX_TEXT: Final = 500
_LOGGERS: Final = ("chalicelib", "comfysheet")
"""Ours, and Chalice's own, which is called as the app and tells faults that no route has caught."""
_KNOWN_AT_BIRTH: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_call: dict[str, str] = {}


def ids_of(event: object) -> dict[str, str | None]:
    """
    Name the call by *event*, as Chalice hands it to a middleware: Lambda's request, and API Gateway's.

    Chalice's Request has API Gateway's part in `context` and Lambda's in `lambda_context`; other events have Lambda's
    in `context`.
    """
    of_api, of_lambda = getattr(event, "context", None), getattr(event, "lambda_context", None)
    if isinstance(of_api, dict):
        return {"request_id": getattr(of_lambda, "aws_request_id", None), "api_request_id": of_api.get("requestId")}
    return {"request_id": getattr(of_api, "aws_request_id", None)}


@contextmanager
def named_call(ids: Mapping[str, str | None]) -> Iterator[None]:
    """Have every line within name *ids* (empty ones are left out). A container serves one call at a time."""
    before = dict(_call)
    _call.update({name: value for name, value in ids.items() if value})
    try:
        yield
    finally:
        _call.clear()
        _call.update(before)


class Lines(logging.Formatter):
    """Write a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Answer the line."""
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": _clean(record.getMessage()),
            "location": f"{record.module}:{record.funcName}:{record.lineno}",
        }
        given = {name: value for name, value in vars(record).items() if name not in _KNOWN_AT_BIRTH}
        line |= {
            name.replace(" ", "_"): _clean(given[name]) for name in given if name in FIELDS or _is_count(given[name])
        }
        line |= _call
        if trace := os.environ.get("_X_AMZN_TRACE_ID"):
            line["trace_id"] = trace.split(";")[0].removeprefix("Root=")
        if record.exc_info and record.exc_info[1] is not None:
            line["exception_name"] = type(record.exc_info[1]).__name__
            line["exception"] = told(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def told(error: BaseException) -> str:
    """Give an exception's trace, with its causes; of texts only that of `Unavailable`, which quotes nobody."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        text = f": {_clean(str(seen))}" if isinstance(seen, Unavailable) else ""
        frames = "".join(traceback.StackSummary.from_list(traceback.extract_tb(seen.__traceback__)).format())
        parts.append(f"{frames}{type(seen).__qualname__}{text}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\nwhile handling:\n".join(parts)


def log_as_json(level: str) -> None:
    """Write our lines, and Chalice's, to standard output, without touching anybody else's loggers."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Lines())
    for name in _LOGGERS:
        log = logging.getLogger(name)
        log.handlers = [handler]
        log.setLevel(level)
        log.propagate = False


def _is_count(value: object) -> bool:
    """Say whether a field is a plain number: the sweeper names what it did by the number of times."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _clean(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = re.sub(r"(https?://)(?:[^/\s@]*@)?([^\s?#]*)[?#]\S*", r"\1\2", value)
    return re.sub(r"(https?://)[^/\s@]+@", r"\1", text)[:MAX_TEXT]
