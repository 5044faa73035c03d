"""Say no in Google's words: the error bodies of the Sheets API v4, as seen in recorded traffic and vendor pages."""

from collections.abc import Sequence
from typing import Any, Final

_STATUS: Final = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip
_DEFAULT: Final = {
    403: "The caller does not have permission",
    404: "Requested entity was not found.",
    500: "Internal error encountered.",
    502: "Bad Gateway",
    503: "The service is currently unavailable.",
    504: "Deadline expired before operation could complete.",
}


class GoogleError(Exception):
    """Carry one refusal: HTTP *code*, sentence and details."""

    def __init__(self, code: int, message: str | None = None, details: Sequence[Any] = ()) -> None:
        """Use Google's standard sentence of *code* when there is no *message*."""
        self.code = code
        self.message = message or _DEFAULT.get(code, "Unknown Error.")
        self.details = list(details)
        super().__init__(f"{code}: {self.message}")

    @property
    def body(self) -> dict[str, Any]:
        """Give the JSON body."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "status": _STATUS.get(self.code, "UNKNOWN"),
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}

    def within(self, place: str) -> "GoogleError":
        """Say where in the request it was: `Invalid requests[0].updateCells: ...`; only a 400 gets a place."""
        if self.code != 400 or self.message.startswith("Invalid "):
            return self
        return GoogleError(self.code, f"Invalid {place}: {self.message}", self.details)


def bad_fields(violations: Sequence[tuple[str, str]]) -> GoogleError:
    """Refuse a request for its (field, description) pairs, as the JSON parser of Google's front end does."""
    found = [{"field": field, "description": text} if field else {"description": text} for field, text in violations]
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": found}]
    return GoogleError(400, "\n".join(text for _, text in violations), details)


def unauthenticated(*, missing: bool) -> GoogleError:
    """Refuse a call whose token is missing or not (or no longer) good."""
    expected = (
        "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
        "See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    if missing:
        return GoogleError(401, f"Request is missing required authentication credential. {expected}")
    return GoogleError(401, f"Request had invalid authentication credentials. {expected}")


def insufficient_scopes() -> GoogleError:
    """Refuse a call whose token was made for other scopes."""
    reason = {"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "domain": "googleapis.com"}
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **reason}]
    return GoogleError(403, "Request had insufficient authentication scopes.", details)


def quota_exceeded(kind: str, per_minute: int) -> GoogleError:
    """Refuse a call of *kind* (read, write) above *per_minute* calls of one user."""
    word = kind.capitalize()
    limit = f"{word}RequestsPerMinutePerUser"
    metadata = {
        "service": "sheets.googleapis.com",
        "quota_metric": f"sheets.googleapis.com/{kind}_requests",
        "quota_limit": limit,
        "quota_limit_value": str(per_minute),
        "quota_location": "global",
        "quota_unit": "1/min/{project}/{user}",
        "consumer": "projects/1000",
    }
    info = {"reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com", "metadata": metadata}
    return GoogleError(
        429,
        f"Quota exceeded for quota metric '{word} requests' and limit '{word} requests per minute per user' "
        "of service 'sheets.googleapis.com' for consumer 'project_number:1000'.",
        [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **info}],
    )
