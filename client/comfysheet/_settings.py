"""Read where the API is and the key to it: from arguments, else COMFYSHEET_URL and COMFYSHEET_KEY."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from comfysheet._api import Api
from comfysheet._plan import Patience, Surroundings
from comfysheet.errors import NotConfigured


def configured(
    url: str | None, key: str | None, environ: Mapping[str, str], *, patience_s: float, around: Surroundings
) -> Api:
    """Make the `Api`; raise `NotConfigured` with every fault at once."""
    where = (url or environ.get("COMFYSHEET_URL", "")).strip().rstrip("/")
    secret = (key or environ.get("COMFYSHEET_KEY", "")).strip()
    faults = [fault for fault in (_of_url(where), _of_key(secret)) if fault]
    if faults:
        raise NotConfigured(" ".join(faults))
    return Api(where.removesuffix("/api/v2"), secret, Patience(patience_s), around)


def _of_url(url: str) -> str:
    if not url:
        return "The API's address is not known: set COMFYSHEET_URL, or give url."
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return f"The API's address cannot be read: {url[:200]!r}."
    if parts.scheme not in ("http", "https") or not parts.host:
        return f"The API's address must begin with https:// (or http://): {url[:200]!r}."
    if parts.userinfo or parts.query or parts.fragment:
        return "The API's address must have no user, no question mark and no #."
    return ""


def _of_key(key: str) -> str:
    if not key:
        return "The API key is not known: set COMFYSHEET_KEY, or give key."
    if not key.isascii() or not key.isprintable() or " " in key:
        # A header takes nothing else; the key itself is never shown.
        return "The API key has characters that no key has: copy it again, alone."
    return ""
