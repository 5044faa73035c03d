"""
Read the secret that lets us into Google Sheets: a service account's JSON key, or a keyless configuration (workload
identity federation: AWS vouches for completion's role, and Google lets it act as a service account).

A configuration names addresses that are asked for tokens, and Google's library asks whichever stand there ("externally
sourced credentials" in Google's documentation). So it is rebuilt from what we know: AWS as the source, Google's hosts.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.cells import Unreachable
from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

log = logging.getLogger(__name__)

READ_AGAIN_S: Final = 300
"""A new version of the secret is taken up after this time at the latest."""
VERIFICATION_URL: Final = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
TOKEN_URL: Final = "https://sts.googleapis.com/v1/token"
_METADATA_HOSTS: Final = frozenset({"169.254.169.254", "[fd00:ec2::254]"})
"""What gcloud writes for EC2; a Lambda has no such thing, and we leave it out."""
_SOURCE_FIELDS: Final = frozenset(
    {"environment_id", "regional_cred_verification_url", "region_url", "url", "imdsv2_session_token_url"}
)
_AUDIENCE: Final = re.compile(
    r"//iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+"
)
_EMAIL: Final = r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+\.gserviceaccount\.com"
_IMPERSONATION: Final = re.compile(rf"/v1/projects/-/serviceAccounts/({_EMAIL}):generateAccessToken")
_REMEDY: Final = "The operator puts it right with python -m infra google."


@dataclass(frozen=True)
class GoogleKey:
    """Hold a checked secret: what google-auth is given, and the service account's address."""

    kind: Literal["service_account", "external_account"]
    email: str
    info: Mapping[str, Any]


def read_key(text: str, *, may_be_local: bool = False) -> GoogleKey:
    """
    Check a secret's text. Raise `Unreachable` with a sentence that never holds any of it.

    *may_be_local*: its addresses may be on this machine (a stage whose Sheets API is).
    """
    if not text.strip():
        raise _fault("is empty")
    try:
        told = json.loads(text)
    except ValueError:
        raise _fault("is no JSON") from None
    if not isinstance(told, dict):
        raise _fault("is no JSON object")
    match told.get("type"):
        case "service_account":
            return _service_account(told, may_be_local)
        case "external_account":
            return _external_account(told, may_be_local)
        case kind:
            named = kind if isinstance(kind, str) and re.fullmatch(r"[a-z_]{1,40}", kind) else "unknown"
            raise _fault(f"is of the type {named}; it must be service_account or external_account")


def is_local(address: str) -> bool:
    """Say whether an address is on this machine."""
    return urlsplit(address).hostname in ("127.0.0.1", "localhost")


def _service_account(told: Mapping[str, Any], may_be_local: bool) -> GoogleKey:
    for name in ("client_email", "private_key", "token_uri"):
        if not isinstance(told.get(name), str) or not told[name]:
            raise _fault(f"has no {name}")
    if not re.fullmatch(_EMAIL, told["client_email"]):
        raise _fault("has a client_email that is no service account's address")
    if "-----BEGIN PRIVATE KEY-----" not in told["private_key"]:
        raise _fault("has a private_key that is no key")
    _google("token_uri", told["token_uri"], {"oauth2.googleapis.com", "accounts.google.com"}, may_be_local)
    names = ("type", "client_email", "private_key", "private_key_id", "token_uri", "project_id")
    return GoogleKey("service_account", told["client_email"], {name: told[name] for name in names if name in told})


def _external_account(told: Mapping[str, Any], may_be_local: bool) -> GoogleKey:
    source = told.get("credential_source")
    if not isinstance(source, dict) or source.get("environment_id") != "aws1" or set(source) - _SOURCE_FIELDS:
        raise _fault("must have AWS as its only credential_source (environment_id aws1)")
    for name in sorted(set(source) - {"environment_id", "regional_cred_verification_url"}):
        parts = urlsplit(str(source[name]))
        if parts.netloc not in _METADATA_HOSTS or parts.scheme != "http":
            raise _fault(f"names another place than EC2's own for {name}")
    if source.get("regional_cred_verification_url") != VERIFICATION_URL:
        raise _fault("must have AWS's own address as regional_cred_verification_url")
    if told.get("subject_token_type") != "urn:ietf:params:aws:token-type:aws4_request":
        raise _fault("must have the subject_token_type of AWS")
    if not _AUDIENCE.fullmatch(str(told.get("audience"))):
        raise _fault("has an audience that is no provider of a workload identity pool")
    impersonated = str(told.get("service_account_impersonation_url", ""))
    found = _IMPERSONATION.fullmatch(urlsplit(impersonated).path)
    if found is None:
        raise _fault("names no service account to act as: sheets are shared with one")
    _google("token_url", str(told.get("token_url")), {"sts.googleapis.com"}, may_be_local)
    _google("service_account_impersonation_url", impersonated, {"iamcredentials.googleapis.com"}, may_be_local)
    info = {
        "type": "external_account",
        "audience": told["audience"],
        "subject_token_type": told["subject_token_type"],
        "token_url": told["token_url"],
        "service_account_impersonation_url": impersonated,
        "credential_source": {"environment_id": "aws1", "regional_cred_verification_url": VERIFICATION_URL},
    }
    return GoogleKey("external_account", found.group(1), info)


def _google(name: str, address: str, hosts: set[str], may_be_local: bool) -> None:
    parts = urlsplit(address)
    if not (parts.scheme == "https" and parts.netloc in hosts) and not (may_be_local and is_local(address)):
        raise _fault(f"names another place than Google for {name}")


def _fault(what: str) -> Unreachable:
    return Unreachable(f"The secret with Google's key {what}. {_REMEDY}", may_heal=True)


class KeyRing:
    """Keep the key, and read it again every few minutes and when Google refuses it. One thread uses it."""

    def __init__(
        self, secrets: SecretsManagerClient, secret_id: str, clock_s: Callable[[], float], *, may_be_local: bool = False
    ) -> None:
        self._secrets = secrets
        self._secret_id = secret_id
        self._clock_s = clock_s
        self._may_be_local = may_be_local
        self._text: str | None = None
        self._read_at_s = 0.0

    def key(self) -> GoogleKey:
        """Give the key. Raise `Unreachable` when there is none that is good, `Unavailable` when nobody can say."""
        if self._text is None or self._clock_s() >= self._read_at_s + READ_AGAIN_S:
            self.renew()
        return read_key(self._text or "", may_be_local=self._may_be_local)

    def renew(self) -> bool:
        """Read the secret again; say whether it holds something else now. Raise as `key`."""
        before = self._text
        try:
            self._text = str(self._secrets.get_secret_value(SecretId=self._secret_id).get("SecretString", ""))
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
                self._text = None
                reason = f"There is no secret with Google's key yet. {_REMEDY}"
                raise Unreachable(reason, may_heal=True) from error
            if before is None:
                raise Unavailable("The secret with Google's key cannot be read just now.") from error
            log.warning("google key kept", extra={"action": "google key", "reason": type(error).__name__})
        self._read_at_s = self._clock_s()
        return before != self._text
