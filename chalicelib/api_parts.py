"""What all routes share: the request, the answer, strict parsing, and errors as sentences.

Bodies are limited and parsed by pydantic from the raw bytes: the standard library's parser takes NaN, duplicate keys
and lone surrogates, and fails on depth. Errors have the Comfy API v2's envelope: {"error": {code, message, details}}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.settings import MAX_BODY_BYTES

STATUS: Final[dict[str, int]] = {
    "bad_request": 400,
    "bad_signature": 401,
    "unauthorized": 401,
    "unknown_code": 401,
    "bound": 403,
    "code_used": 403,
    "forbidden": 403,
    "not_found": 404,
    "replayed": 409,
    "too_large": 413,
}
"""HTTP status by error code; every other rejection is a 422: understood, and refused for what it says."""

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Answer:
    """Hold an HTTP answer; *body* is JSON-able, text that goes out as it is, or bytes for a picture."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """Hold what a route needs of a request; header names are lower case."""

    headers: Mapping[str, str]
    body: bytes
    link_base: str


def guarded(answer: Callable[[], Answer]) -> Answer:
    """Turn the two families of errors into answers; anything else is a bug and rises."""
    try:
        return answer()
    except Rejected as no:
        return _error(STATUS.get(no.code, 422), no.code, no.message)
    except Unavailable as later:
        wait_s = max(1, round(later.retry_in_s or 2))
        refusal = _error(503, "unavailable", later.message)
        return Answer(refusal.status, refusal.body, {"Retry-After": str(wait_s)})


def check_size(body: bytes) -> None:
    """Refuse a body that is too large, before it is parsed."""
    if len(body) > MAX_BODY_BYTES:
        raise Rejected("too_large", f"The request has more than {MAX_BODY_BYTES // 1024} KiB. Send fewer rows at once.")


def parse(shape: type[Body], body: bytes) -> Body:
    """Read a body; raise `Rejected` (bad_request) with the first thing that is wrong."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the body"
        raise Rejected("bad_request", f"The request is not well formed: {where}: {fault['msg']}.") from None


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"error": {"code": code, "message": message, "details": None}})
