"""What all routes share: the request, the answer, strict parsing, and errors as sentences.

Bodies are limited and parsed by pydantic from the raw bytes: the standard library's parser takes NaN, duplicate keys
and lone surrogates, and fails on depth. Errors have the Comfy API v2's envelope: {"error": {code, message, details}}.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from chalicelib.contract.counts import Counts, Metric
from chalicelib.contract.errors import Exhausted, Rejected, Unavailable
from chalicelib.keys import ApiKey
from chalicelib.settings import MAX_BODY_BYTES

STATUS: Final[dict[str, int]] = {
    "bad_request": 400,
    "bad_signature": 401,
    "unauthorized": 401,
    "unknown_code": 401,
    "blob_not_found": 404,
    "bound": 403,
    "code_used": 403,
    "forbidden": 403,
    "hash_mismatch": 409,
    "invalid_cursor": 400,
    "invalid_metadata_filter": 400,
    "not_ended": 409,
    "not_found": 404,
    "name_taken": 409,
    "replayed": 409,
    "changed_meanwhile": 412,
    "too_large": 413,
    "upload_incomplete": 409,
}
"""HTTP status by error code; every other rejection is a 422: understood, and refused for what it says."""

MAX_KEY: Final = 255
"""Characters of an Idempotency-Key."""

_TYPES: Final = frozenset({"str", "int", "float", "bool", "none", "constrained-str", "constrained-int"})

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Answer:
    """Hold an HTTP answer; *body* is JSON-able, text that goes out as it is, or bytes for a picture."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """
    Hold what a route needs of a request; header names are lower case.

    *path* holds the parts of the address that vary, *query* what stands behind its question mark (the last of several
    values). *key* is there once the gate has let a program in.
    """

    headers: Mapping[str, str]
    body: bytes
    link_base: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    key: ApiKey | None = None

    @property
    def caller(self) -> ApiKey:
        """Answer the key of the program that asks; a route that needs none has none."""
        if self.key is None:
            raise TypeError("this route was served without passing the gate")
        return self.key


def guarded(answer: Callable[[], Answer]) -> Answer:
    """Turn the two families of errors into answers; anything else is a bug and rises."""
    try:
        return answer()
    except Rejected as no:
        return _error(STATUS.get(no.code, 422), no.code, no.message, details=no.details)
    except Exhausted as spent:
        return _error(429, spent.code, spent.message, spent.retry_in_s)
    except Unavailable as later:
        return _error(503, "unavailable", later.message, later.retry_in_s or 2)


def count_answer(status: int, counts: Counts) -> None:
    """Count an answer that was no yes, by whose turn it is: theirs to change it, theirs to wait, ours."""
    if status >= 500:
        counts.add(Metric.REQUESTS_FAILED)
    elif status == 429:
        counts.add(Metric.REQUESTS_TURNED_AWAY)
    elif status >= 400:
        counts.add(Metric.REQUESTS_REFUSED)


def check_size(body: bytes, most: int = MAX_BODY_BYTES, remedy: str = "Send fewer rows at once.") -> None:
    """Refuse a body of more than *most* bytes, before it is parsed."""
    if len(body) > most:
        raise Rejected("too_large", f"The request has more than {most // 1024} KiB. {remedy}")


def idempotency_key(call: Call) -> str | None:
    """Read the Idempotency-Key; None: the request is to make something new each time."""
    key = call.headers.get("idempotency-key")
    if key is not None and not (1 <= len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
        raise Rejected("bad_request", f"Idempotency-Key must have 1 to {MAX_KEY} printable ASCII characters.")
    return key


def parse(shape: type[Body], body: bytes) -> Body:
    """Read a body; raise `Rejected` (bad_request) with the first thing that is wrong."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise _misshapen(error, "the body") from None


def parse_query(shape: type[Body], query: Mapping[str, Any]) -> Body:
    """Read what stands behind the question mark; raise `Rejected` (bad_request) with the first thing that is wrong."""
    try:
        return shape.model_validate_strings(dict(query))
    except ValidationError as error:
        raise _misshapen(error, "the address") from None


def _misshapen(error: ValidationError, whole: str) -> Rejected:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Of a value that may be of several types pydantic names the type, too, as if it were a part of the place.
    where = ".".join(str(part) for part in fault["loc"] if part not in _TYPES) or whole
    text = f"The request is not well formed: {where}: {fault['msg']}. The API's page docs shows what is right there."
    return Rejected("bad_request", text)


def _error(
    status: int,
    code: str,
    message: str,
    retry_in_s: float | None = None,
    details: Mapping[str, object] | None = None,
) -> Answer:
    headers = {} if retry_in_s is None else {"Retry-After": str(max(1, math.ceil(retry_in_s)))}
    return Answer(status, {"error": {"code": code, "message": message, "details": details}}, headers)
