"""Say in a sentence what AWS refused, and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.model import OperationModel

_DENIED: Final = re.compile(r"AccessDenied|Unauthorized|NotAuthorized|AuthorizationError|^Forbidden$|^403$")
_EXPIRED: Final = re.compile(
    r"ExpiredToken|InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId|SignatureDoesNot"
)
_BUSY: Final = re.compile(r"Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|ServiceUnavailable")


def sentence(error: ClientError | BotoCoreError) -> str:
    """Word *error* for the person who called a verb."""
    if isinstance(error, BotoCoreError):
        return f"AWS cannot be reached: {error}. Check --profile, --region and the network."
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    if is_denied(error):
        return (
            f"You may not do that: the permission {permission_of(error)} is missing, or a policy forbids it. "
            "Ask whoever runs the AWS account for it, or name another profile with --profile."
        )
    if _EXPIRED.search(code):
        return f"AWS does not take these credentials ({code}). Log in again, or name another profile with --profile."
    if _BUSY.search(code):
        return f"AWS is busy ({code}, {error.operation_name}). Try again in a moment."
    return f"AWS refused {error.operation_name}: {message or code}"


def is_denied(error: ClientError) -> bool:
    """Say whether it was for want of a permission."""
    return bool(_DENIED.search(str(error.response.get("Error", {}).get("Code", ""))))


def permission_of(error: ClientError) -> str:
    """Name the permission that lacks, as IAM writes it; where AWS does not say, the call."""
    match = re.search(r"not authorized to perform:? \[?([\w-]+:\w+)", str(error.response.get("Error", {})))
    if match:
        return match[1]
    service = error.response.get("Error", {}).get("Service", "")
    return f"{service}:{error.operation_name}" if service else error.operation_name


def note_service(made: Session) -> None:
    """Have every refusal that clients of this session meet tell its service: botocore's error names the call alone."""

    def note(parsed: dict[str, Any], model: OperationModel, **_: object) -> None:
        if "Error" in parsed:
            parsed["Error"]["Service"] = model.service_model.service_name

    made.events.register("after-call", note)
