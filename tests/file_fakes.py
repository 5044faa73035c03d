"""Stand in for the bucket where clients' files and batches lie: twins of `AssetStore` and of `Blobs.create`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from chalicelib.asset_store import Stored


@dataclass(frozen=True)
class _File:
    content: bytes
    content_type: str
    facts: Mapping[str, str]
    modified_ms: int


class MemoryAssetStore:
    """Keep files in a dictionary; *now_ms* says when they are written."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.files: dict[str, _File] = {}
        self._now_ms = now_ms

    def look(self, key: str) -> Stored | None:
        file = self.files.get(key)
        if file is None:
            return None
        sha256 = hashlib.sha256(file.content).hexdigest()
        return Stored(len(file.content), file.content_type, sha256, file.facts, file.modified_ms)

    def read(self, key: str) -> bytes | None:
        return self.files[key].content if key in self.files else None

    def create(self, key: str, content: bytes, sha256: str, content_type: str, facts: Mapping[str, str]) -> bool:
        assert hashlib.sha256(content).hexdigest() == sha256
        if key in self.files:
            return False
        self.files[key] = _File(content, content_type, dict(facts), self._now_ms())
        return True

    def write(self, key: str, content: bytes) -> None:
        self.files[key] = _File(content, "text/plain", {}, self._now_ms())

    def copy(self, source: str, key: str, content_type: str, facts: Mapping[str, str]) -> bool:
        if source not in self.files:
            return False
        self.files[key] = _File(self.files[source].content, content_type, dict(facts), self._now_ms())
        return True

    def delete(self, key: str) -> None:
        self.files.pop(key, None)

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        return f"https://files/{key}?{content_type}&{quote(disposition)}"

    def lend_upload(
        self, key: str, *, size_bytes: int, sha256: str, content_type: str, facts: Mapping[str, str], lifetime_s: int
    ) -> tuple[str, dict[str, str]]:
        return f"https://files/{key}?upload", {"Content-Length": str(size_bytes), "Content-Type": content_type}


class MemoryShelf:
    """Keep documents, some of which are written once."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def create(self, key: str, content: bytes) -> bool:
        if key in self.kept:
            return False
        self.kept[key] = content
        return True

    def put(self, key: str, content: bytes) -> None:
        self.kept[key] = content
