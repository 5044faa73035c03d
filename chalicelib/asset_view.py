"""
Show an asset to a program: the Comfy API v2's Asset object (comfy-sdk 0.5.0 reads it), and what asks for one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.asset import MAX_PATH_CHARS, Asset, Lent
from chalicelib.submit import Request


class AssetObject(BaseModel):
    """Describe an asset; *url* serves its bytes to anyone until *url_expires_at*."""

    model_config = ConfigDict(frozen=True)

    id: str
    hash: str | None
    """`blake3:…`; null for what did not come through a form."""
    sha256: str
    size_bytes: int
    content_type: str
    file_path: str | None
    created_at: datetime
    url: str
    url_expires_at: datetime
    expires_at: datetime
    job_id: str | None = None
    created_new: bool | None = None
    """Whether these bytes are new here; only told where an asset is made."""


class AssetForm(BaseModel):
    """Hold a file in a form (multipart/form-data); only *file* must be there."""

    file: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]
    file_path: str = ""
    """Its name, for people; left out: the file's own."""
    content_type: str = ""
    expected_hash: str = ""
    """`blake3:…` or `sha256:…`: refuse anything else."""
    tags: list[str] = []
    """Taken for the sake of v2, and not kept."""


class HashRequest(Request):
    """Ask for what is there already, by its hash."""

    hash: str = Field(max_length=100)
    """`blake3:…` or `sha256:…`."""
    file_path: str = Field(default="", max_length=MAX_PATH_CHARS)
    tags: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=20)


class UploadRequest(Request):
    """Ask for an upload of its own: for files that are too large for a form."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)
    content_type: str = Field(default="application/octet-stream", max_length=130)
    filename: str = Field(min_length=1, max_length=MAX_PATH_CHARS)


class UploadAddress(BaseModel):
    """Say how the bytes go up: *method* to *url*, with exactly these *headers*, before *expires_at*."""

    model_config = ConfigDict(frozen=True)

    method: str = "PUT"
    url: str
    headers: dict[str, str]
    expires_at: datetime


class UploadObject(BaseModel):
    """Answer the wish to upload: *upload* says how, or *asset* is there already. *complete_url* ends it."""

    model_config = ConfigDict(frozen=True)

    id: str
    upload: UploadAddress | None = None
    asset: AssetObject | None = None
    complete_url: str | None = None


def asset_object(asset: Asset, address: str, url_expires_at: int, *, created_new: bool | None = None) -> AssetObject:
    """Give the Asset object, with a short-lived *address* of the bytes."""
    return AssetObject(
        id=asset.asset_id,
        hash=None if asset.blake3 is None else f"blake3:{asset.blake3}",
        sha256=asset.sha256,
        size_bytes=asset.size_bytes,
        content_type=asset.content_type,
        file_path=asset.file_path,
        created_at=_time(asset.created_at),
        url=address,
        url_expires_at=_time(url_expires_at),
        expires_at=_time(asset.expires_at),
        job_id=asset.job_id,
        created_new=created_new,
    )


def upload_object(asset_id: str, lent: Lent, complete_url: str) -> UploadObject:
    """Give the way for a file's bytes to go up."""
    address = UploadAddress(url=lent.url, headers=dict(lent.headers), expires_at=_time(lent.expires_at))
    return UploadObject(id=asset_id, upload=address, complete_url=complete_url)


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
