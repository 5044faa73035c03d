"""
Stand in for Google's token endpoint: service accounts trade a signed assertion for an access token.

Production code uses google-auth unchanged: the service account's JSON names this endpoint as its `token_uri`.
Only service accounts that were registered here get tokens (RFC 7523; texts as Google answers them).
"""

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: google-auth puts this audience into every assertion, whatever the token_uri (google/oauth2/service_account.py 2.62).
AUDIENCE: Final = "https://oauth2.googleapis.com/token"
TOKEN_LIFE_S: Final = 3599
_SKEW_S: Final = 300
_NOT_TIMELY: Final = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)


@dataclass(frozen=True, slots=True)
class Grant:
    """Say whom a token stands for and what it may be used for."""

    email: str
    scopes: frozenset[str]
    expires_at: float


class _Refused(Exception):
    def __init__(self, error: str, description: str) -> None:
        self.body = {"error": error, "error_description": description}
        super().__init__(description)


def make_service_account(
    token_uri: str,
    *,
    email: str = "comfysheet@sandbox-project.iam.gserviceaccount.com",
    project: str = "sandbox-project",
) -> dict[str, str]:
    """Make a service account with a fresh RSA key, in the format of the JSON file that Google's console gives."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": secrets.token_hex(20),
        "private_key": pem,
        "client_email": email,
        "client_id": str(10**20 + secrets.randbelow(10**20)),
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_uri,
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": f"https://www.googleapis.com/robot/v1/metadata/x509/{quote(email, safe='')}",
        "universe_domain": "googleapis.com",
    }


class GoogleAuth:
    """Keep the registered service accounts and the tokens they got."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """Start without accounts; *now* gives seconds since 1970."""
        self._now = now
        self._keys: dict[str, dict[str, rsa.RSAPublicKey]] = {}
        self._grants: dict[str, Grant] = {}
        #: Audiences that an assertion may name; a test world adds its own token_uri here when it signs for it.
        self.audiences = {AUDIENCE}

    def register(self, account: Mapping[str, str]) -> None:
        """Know the service account of this JSON (also one that was made in an earlier run)."""
        private = serialization.load_pem_private_key(account["private_key"].encode("ascii"), password=None)
        public = private.public_key()
        if not isinstance(public, rsa.RSAPublicKey):
            raise ValueError(f"the key of {account['client_email']} is no RSA key")
        self._keys.setdefault(account["client_email"], {})[account["private_key_id"]] = public
        self.audiences.add(account["token_uri"])

    def grant_of(self, token: str) -> Grant | None:
        """Say what *token* stands for; None when it is unknown, expired or revoked."""
        grant = self._grants.get(token)
        return grant if grant and grant.expires_at > self._now() else None

    def revoke_all(self) -> None:
        """Make every token that was given out invalid, as a key rotation does."""
        self._grants.clear()

    def delete_key(self, account: Mapping[str, str]) -> None:
        """Know a service account's key no more, and end the tokens that were given out, as after the hour they live."""
        self._keys.get(account["client_email"], {}).pop(account["private_key_id"], None)
        self.revoke_all()

    def keys_of(self, email: str) -> set[str]:
        """Name the keys of an account."""
        return set(self._keys.get(email, {}))

    def give(self, email: str, scopes: frozenset[str]) -> str:
        """Give out a token for an account, whoever vouched for it."""
        token = f"ya29.sandbox.{secrets.token_urlsafe(48)}"
        self._grants[token] = Grant(email, scopes, self._now() + TOKEN_LIFE_S)
        return token

    def add_to(self, app: web.Application) -> None:
        """Serve POST /token in *app*."""
        app.router.add_post("/token", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        form = await request.post()
        try:
            return web.json_response(self.issue(str(form.get("grant_type", "")), str(form.get("assertion", ""))))
        except _Refused as refused:
            return web.json_response(refused.body, status=400)

    def issue(self, grant_type: str, assertion: str) -> dict[str, Any]:
        """Trade a signed *assertion* for {access_token, expires_in, token_type}."""
        if grant_type != GRANT_TYPE:
            raise _Refused("unsupported_grant_type", f"Invalid grant_type: {grant_type}")
        claims = self._claims(assertion)
        now = self._now()
        if claims.get("aud") not in self.audiences:
            raise _Refused("invalid_grant", "Invalid JWT: Failed audience check.")
        issued, expires = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int | float) or not isinstance(expires, int | float):
            raise _Refused("invalid_grant", "Invalid JWT: Token must have 'iat' and 'exp' fields.")
        if not issued - _SKEW_S <= now <= expires or expires - issued > 3600:
            raise _Refused("invalid_grant", _NOT_TIMELY)
        scopes = frozenset(str(claims.get("scope", "")).split())
        if not scopes:
            raise _Refused("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = self.give(str(claims["iss"]), scopes)
        return {"access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "Bearer"}

    def _claims(self, assertion: str) -> dict[str, Any]:
        """Read the claims of an RS256 JWT that one of our accounts signed."""
        try:
            signed, _, signature = assertion.rpartition(".")
            header, claims = (json.loads(_unbase64(part)) for part in signed.split("."))
            keys = self._keys.get(str(claims["iss"]), {})
        except (ValueError, KeyError, TypeError) as error:
            raise _Refused("invalid_grant", "Invalid JWT: the assertion cannot be read.") from error
        if not keys:
            raise _Refused("invalid_grant", "Invalid grant: account not found")
        key = keys.get(str(header.get("kid")))
        if header.get("alg") != "RS256" or key is None:
            raise _Refused("invalid_grant", "Invalid JWT Signature.")
        try:
            key.verify(_unbase64(signature), signed.encode("ascii"), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError) as error:
            raise _Refused("invalid_grant", "Invalid JWT Signature.") from error
        return dict(claims)


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
