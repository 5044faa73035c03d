"""
Bring files to the server: content-addressed, each content once.

A small file goes through the API itself (Comfy API v2's form); of a larger one the API is asked by its hash, and what
is not there goes straight to the bucket, along an address that the API signs for this very content.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import httpx

from comfysheet._api import Api, new_key
from comfysheet._plan import Plan, Send, Work
from comfysheet.errors import ComfySheetError, Rejected
from comfysheet.values import Asset, Json

INLINE_BYTES: Final = 256 * 1024
"""Up to here a form is one request for a file; beyond, asking first may save the whole upload."""
_CHUNK_BYTES: Final = 256 * 1024
_PUT_TIMEOUT: Final = httpx.Timeout(120.0, connect=10.0)


@dataclass(frozen=True)
class Source:
    """Be a file to upload, wherever its bytes are; *open* gives them from the start."""

    name: str
    content_type: str
    open: Callable[[], BinaryIO] = field(repr=False)

    @classmethod
    def of_path(cls, path: Path, name: str | None = None) -> Source:
        """Take a file on disk."""
        return cls(name or path.name, _type_of(name or path.name), lambda: path.open("rb"))

    @classmethod
    def of_bytes(cls, content: bytes, name: str) -> Source:
        """Take bytes in memory."""
        return cls(name, _type_of(name), lambda: BytesIO(content))

    def measure(self) -> tuple[str, int]:
        """Give SHA-256 (hex) and size in bytes."""
        with self.open() as file:
            digest, size = hashlib.sha256(), 0
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
        return digest.hexdigest(), size

    def read(self) -> bytes:
        """Give the content."""
        with self.open() as file:
            return file.read()


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Send a file piece by piece, whichever way the client works."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        with self._source.open() as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


class Uploads:
    """Upload files and remember what is there already."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, Asset] = {}

    def upload(self, source: Source) -> Plan[Asset]:
        """Bring a file to the server, unless this client did so before; raise what the API refuses."""
        sha256, size_bytes = yield Work(source.measure)
        if sha256 not in self._known:
            if size_bytes <= INLINE_BYTES:
                self._known[sha256] = yield from self._inline(source)
            else:
                self._known[sha256] = yield from self._direct(source, sha256, size_bytes)
        return self._known[sha256]

    def _inline(self, source: Source) -> Plan[Asset]:
        content = yield Work(source.read)
        asset, _, _ = yield from self._api.ask(
            "POST",
            "assets",
            Asset.read,
            key=new_key(),
            timeout_s=60.0,
            data={"content_type": source.content_type, "file_path": source.name},
            files={"file": (source.name, content, source.content_type)},
        )
        return asset

    def _direct(self, source: Source, sha256: str, size_bytes: int) -> Plan[Asset]:
        wanted = {
            "sha256": sha256,
            "size_bytes": size_bytes,
            "content_type": source.content_type,
            "filename": source.name,
        }
        told, _, _ = yield from self._api.ask("POST", "assets/uploads", dict, body=wanted, key=new_key())
        if told.get("asset"):
            return Asset.read(told["asset"])
        yield from self._put(told["upload"], source, size_bytes)
        asset, _, _ = yield from self._api.ask("POST", f"assets/uploads/{told['id']}/complete", Asset.read)
        return asset

    def _put(self, told: Json, source: Source, size_bytes: int) -> Plan[None]:
        # With a stream of its own, httpx 0.28 leaves both of these to us.
        own = {"Host": httpx.URL(told["url"]).netloc.decode("ascii"), "Content-Length": str(size_bytes)}
        headers = {**told.get("headers", {}), **own}

        def make() -> Send:
            extensions: dict[str, Any] = {"timeout": _PUT_TIMEOUT.as_dict()}
            # No key: the address is signed, and the bucket is somebody else.
            return Send(httpx.Request("PUT", told["url"], headers=headers, stream=_Body(source), extensions=extensions))

        try:
            yield from self._api.talk(make)
        except Rejected as no:
            raise _not_taken(source, no) from no


def _not_taken(source: Source, no: Rejected) -> ComfySheetError:
    return Rejected(
        no.status, "upload_refused", f"The bucket did not take {source.name} (HTTP {no.status}). Try again."
    )


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
