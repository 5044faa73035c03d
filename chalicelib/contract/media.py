"""
Name where an input file comes from: an https URL, an asset that was uploaded here, or a data URI.

A value never names a file on the server itself: it could then read what other jobs or the machine left there
(ComfyUI before 0.27.1 joins any path). The file is fetched by the worker, not here.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from chalicelib.contract.addresses import https_url

MEDIA: Final = frozenset({"image", "mask", "audio", "video"})
"""Parameter types whose value is a file."""
MAX_DATA_CHARS: Final = 190_000
"""A request has at most 256 KiB, a job's item in the table 400 KB."""

_ASSET: Final = re.compile(r"asset:([0-9a-f]{64})")
_DATA: Final = re.compile(r"data:(image|audio|video)/[a-z0-9.+-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """Hold where a file comes from: *place* is the URL, the asset's id (its sha256), or the data URI's base64."""

    kind: Literal["https", "asset", "data"]
    place: str

    @property
    def host(self) -> str:
        """Name a URL's host, for people; empty for the others."""
        return (urlsplit(self.place).hostname or "") if self.kind == "https" else ""


def source_of(value: str) -> Source:
    """Read where a file comes from; raise ValueError with the rest of a sentence that begins with the column's name."""
    text = value.strip()
    if asset := _ASSET.fullmatch(text):
        return Source("asset", asset[1])
    if text[:5].lower() == "data:":
        return _data(text)
    if text[:6].lower() == "asset:":
        raise ValueError("must name an asset by its 64 hex digits, like asset:0f3a…")
    return _url(text)


def _data(text: str) -> Source:
    begin = _DATA.match(text)
    if begin is None:
        raise ValueError("must be a data URI of a picture, sound or film in base64, like data:image/png;base64,…")
    if len(text) > MAX_DATA_CHARS:
        raise ValueError(f"is too large for a data URI ({MAX_DATA_CHARS:,} characters): upload it, or give its address")
    body = text[begin.end() :]
    try:
        base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is a data URI whose base64 is damaged") from None
    return Source("data", body)


def _url(text: str) -> Source:
    wish = "must be an address like https://example.com/picture.png, an asset:… or a data URI"
    return Source("https", https_url(text, wish))
