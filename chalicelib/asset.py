"""
Describe an asset: a file that a client uploaded, or that one of its jobs made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import RETENTION_MS, Job, Output
from chalicelib.contract.values import one_line

INLINE_BYTES: Final = 4_400_000
"""What a request can carry: a Lambda takes 6 MB (Lambda quotas), in which API Gateway writes bytes as base64."""
DAY_MS: Final = 24 * 3600 * 1000
KEPT_MS: Final = 8 * DAY_MS
"""How long the bucket keeps an input after it was written (infra/resources.yaml, rule `inputs`)."""
MAX_PATH_CHARS: Final = 255
MAX_PATH_BYTES: Final = 1500
"""In percent signs, as it is kept: all metadata of an S3 object has 2 KB."""

Scalar = str | int | float | bool | None

_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,60}", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"asset:([0-9a-f]{64}|[0-9a-f-]{36}\.[0-9]{1,9}\.[0-9]{1,9})")
_SHOWN: Final = ("image/png", "image/jpeg", "image/webp", "image/gif", "video/", "audio/")


class Stored(Protocol):
    """Say what the bucket knows of a file (`chalicelib.asset_store.Stored`)."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def content_type(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, str]: ...
    @property
    def modified_ms(self) -> int: ...


@dataclass(frozen=True)
class Asset:
    """Describe a file of a client; times in milliseconds. *blake3* in hex, None: nobody has told us yet."""

    asset_id: str
    key: str
    sha256: str
    blake3: str | None
    size_bytes: int
    content_type: str
    file_path: str | None
    created_at: int
    expires_at: int
    job_id: str | None = None

    @property
    def is_shown(self) -> bool:
        """Say whether a browser may show the file by itself; what could carry a script is only kept as a file."""
        return self.content_type.startswith(_SHOWN)


@dataclass(frozen=True)
class Lent:
    """Lend an upload: PUT the bytes to *url* with *headers* before *expires_at*, then say that it is complete."""

    url: str
    headers: Mapping[str, str]
    expires_at: int


def too_large(size_bytes: int, limit_bytes: int) -> Rejected:
    """Say that a file is too large, for a request or altogether."""
    if size_bytes > limit_bytes:
        return Rejected("too_large", f"The file is larger than {limit_bytes / 1e6:g} MB, which is the most here.")
    return Rejected(
        "too_large",
        f"A request carries files of up to {INLINE_BYTES / 1e6:g} MB. Ask for an upload of its own "
        "(POST /api/v2/assets/uploads), PUT the file to the address that it names, and say that it is complete.",
    )


def path_of(text: str) -> str:
    """Judge the name that a client gives a file: it is a label and never names a file anywhere."""
    parts = text.split("/")
    if not text or len(text) > MAX_PATH_CHARS or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise Rejected("bad_input", f"file_path must be a name of 1 to {MAX_PATH_CHARS} characters, like photo.png.")
    if text.startswith("/") or "\\" in text or ".." in parts or not text.isprintable():
        raise Rejected("bad_input", "file_path must be a plain name like photo.png; it cannot lead elsewhere.")
    if len(quote(text)) > MAX_PATH_BYTES:
        raise Rejected("bad_input", "file_path is too long for its letters: use a name of fewer characters.")
    return text


def type_of(text: str) -> str:
    """Judge a content type: without parameters; what is none is plain bytes."""
    plain = text.split(";", 1)[0].strip().lower()
    return plain if _TYPE.fullmatch(plain) else "application/octet-stream"


def asset_key(client_id: str, sha256: str) -> str:
    return f"inputs/{client_id}/{sha256}"


def hash_key(client_id: str, blake3_hex: str) -> str:
    return f"inputs/{client_id}/by-blake3/{blake3_hex}"


def uploaded(client_id: str, sha256: str, stored: Stored) -> Asset:
    told = stored.facts.get("created-at", "")
    return Asset(
        asset_id=sha256,
        key=asset_key(client_id, sha256),
        sha256=sha256,
        blake3=stored.facts.get("blake3"),
        size_bytes=stored.size_bytes,
        content_type=stored.content_type,
        file_path=stored.facts.get("file-path"),
        created_at=int(told) if told.isdigit() else stored.modified_ms,
        expires_at=stored.modified_ms + KEPT_MS,
    )


def made(asset_id: str, job: Job, output: Output) -> Asset:
    return Asset(
        asset_id=asset_id,
        key=output.key,
        sha256=output.sha256,
        blake3=None,
        size_bytes=output.size_bytes,
        content_type=output.content_type,
        file_path=output.filename,
        created_at=job.finished_at or job.created_at,
        expires_at=job.created_at + RETENTION_MS,
        job_id=job.job_id,
    )


def with_assets(given: Mapping[str, Scalar], find: Callable[[str], str | None]) -> dict[str, Scalar]:
    """
    Write each `asset:<id>` among the inputs as workers read it; *find* answers an asset's SHA-256.

    Raise `Rejected` (missing_asset) for one that is not there: better now than on a GPU.
    """
    named: dict[str, Scalar] = {}
    for name, value in given.items():
        match = _REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            named[name] = value
            continue
        sha256 = find(match[1])
        if sha256 is None:
            raise Rejected("missing_asset", f"{one_line(name)}: there is no such asset. Upload it again.")
        named[name] = f"asset:{sha256}"
    return named
