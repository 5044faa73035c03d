"""
Keep the input files of clients: content-addressed, deduplicated per client, gone a week after they were last asked for.

- An asset's id *is* the SHA-256 of its bytes, so `asset:<id>` in a job's inputs is what a worker reads
  (`inputs/<client>/<sha256>`). The same bytes are the same asset, whoever sends them again, under its first name.
- v2 names contents by blake3: a small document per hash says which file it is.
- What a job made is an asset too, under the id of its output (`output_id`); as another job's input it is copied over.
- An asset that is used again is kept longer: it never ends before a job that was given it today.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import quote

from blake3 import blake3

from chalicelib.asset import (
    DAY_MS,
    INLINE_BYTES,
    KEPT_MS,
    Asset,
    Lent,
    Stored,
    asset_key,
    hash_key,
    made,
    path_of,
    too_large,
    type_of,
    uploaded,
)
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, Output
from chalicelib.links import LINK_LIFETIME_S, job_id_in, output_of

FOUND_MS: Final = 10_000
FOUND_MOST: Final = 1_000
UPLOAD_S: Final = 3600
"""How long a lent upload may begin."""

NO_ASSET: Final = Rejected(
    "not_found", "There is no asset of this id. Uploads are kept for 8 days after their last use."
)

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HASH: Final = re.compile(r"(blake3|sha256):([0-9a-f]{64})", re.IGNORECASE)


class Store(Protocol):
    """Reach the bucket (`chalicelib.asset_store.AssetStore`)."""

    def look(self, key: str) -> Stored | None:
        """Say what is known of a file."""

    def read(self, key: str) -> bytes | None:
        """Read a small document."""

    def create(self, key: str, content: bytes, sha256: str, content_type: str, facts: Mapping[str, str]) -> bool:
        """Put a file where none is."""

    def write(self, key: str, content: bytes) -> None:
        """Put a small document."""

    def copy(self, source: str, key: str, content_type: str, facts: Mapping[str, str]) -> bool:
        """Copy a file."""

    def delete(self, key: str) -> None:
        """Remove a file."""

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        """Give a short-lived address of a file."""

    def lend_upload(
        self, key: str, *, size_bytes: int, sha256: str, content_type: str, facts: Mapping[str, str], lifetime_s: int
    ) -> tuple[str, dict[str, str]]:
        """Give a short-lived address that takes a file, and the headers that must come with it."""


class Jobs(Protocol):
    """Look jobs up (a ledger does)."""

    def get(self, job_id: str) -> Job | None:
        """Read one job."""


class Assets:
    """Keep assets. *limit_bytes* is the largest one; every method raises `Unavailable` when the bucket is away."""

    def __init__(self, store: Store, jobs: Jobs, limit_bytes: int, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._jobs = jobs
        self._limit_bytes = limit_bytes
        self._now_ms = now_ms
        self._found: dict[tuple[str, str], tuple[str, int]] = {}
        """What was found when: the jobs of a batch ask for the same file a hundred times."""

    def find(self, client_id: str, asset_id: str) -> str | None:
        """
        Answer the SHA-256 under which a worker finds the asset (`asset:<sha256>`), and keep it for another week.

        *asset_id* may be that of an upload or of an output. None: this client has no such asset.
        """
        known = self._found.get((client_id, asset_id))
        if known is not None and self._now_ms() - known[1] < FOUND_MS:
            return known[0]
        sha256 = self._looked_up(client_id, asset_id)
        if sha256 is not None:
            if len(self._found) >= FOUND_MOST:
                self._found.clear()
            self._found[client_id, asset_id] = (sha256, self._now_ms())
        return sha256

    def get(self, client_id: str, asset_id: str) -> Asset:
        """Describe an asset, uploaded or made by a job. Raise `Rejected` (not_found)."""
        if _SHA256.fullmatch(asset_id):
            stored = self._store.look(asset_key(client_id, asset_id))
            if stored is not None:
                return uploaded(client_id, asset_id, stored)
        elif (found := self._output(client_id, asset_id)) is not None:
            return made(asset_id, *found)
        raise NO_ASSET

    def address(self, asset: Asset) -> str:
        """Lend the address of an asset's bytes."""
        name = quote((asset.file_path or asset.asset_id).rsplit("/", 1)[-1], safe="")
        return self._store.lend(
            asset.key,
            lifetime_s=LINK_LIFETIME_S,
            content_type=asset.content_type if asset.is_shown else "application/octet-stream",
            disposition=f"{'inline' if asset.is_shown else 'attachment'}; filename*=UTF-8''{name}",
        )

    def keep(
        self, client_id: str, content: bytes, *, file_path: str, content_type: str, expected_hash: str = ""
    ) -> tuple[Asset, bool]:
        """
        Keep *content*; answer the asset, and whether these bytes are new.

        Raise `Rejected`: hash_mismatch, too_large, bad_input (a name or type that cannot be).
        """
        if len(content) > min(INLINE_BYTES, self._limit_bytes):
            raise too_large(len(content), self._limit_bytes)
        sha256, hashed = hashlib.sha256(content).hexdigest(), blake3(content).hexdigest()
        if expected_hash and expected_hash.lower() not in (f"blake3:{hashed}", f"sha256:{sha256}"):
            raise Rejected("hash_mismatch", "The bytes that came have another hash than you said. Send them again.")
        facts = {"file-path": path_of(file_path), "blake3": hashed}
        created = self._store.create(asset_key(client_id, sha256), content, sha256, type_of(content_type), facts)
        self._store.write(hash_key(client_id, hashed), sha256.encode())
        stored = self._store.look(asset_key(client_id, sha256))
        if stored is None:
            raise NO_ASSET
        return self._kept_longer(client_id, sha256, stored, blake3=hashed), created

    def by_hash(self, client_id: str, named: str) -> Asset | None:
        """Find an asset by `blake3:…` or `sha256:…`; None: this client has none."""
        match = _HASH.fullmatch(named)
        if match is None:
            return None
        sha256 = match[2].lower()
        if match[1].lower() == "blake3":
            told = self._store.read(hash_key(client_id, sha256))
            sha256 = "" if told is None else told.decode("ascii", "replace")
        stored = self._store.look(asset_key(client_id, sha256)) if _SHA256.fullmatch(sha256) else None
        return None if stored is None else uploaded(client_id, sha256, stored)

    def again(self, client_id: str, named: str) -> Asset:
        """Take what is there already once more, by its hash, and keep it longer. Raise `Rejected` (blob_not_found)."""
        asset = self.by_hash(client_id, named)
        stored = None if asset is None else self._store.look(asset.key)
        if asset is None or stored is None:
            raise Rejected("blob_not_found", "There is nothing of this hash. Upload it.")
        return self._kept_longer(client_id, asset.sha256, stored)

    def delete(self, client_id: str, asset_id: str) -> None:
        """Remove an uploaded asset. Raise `Rejected` (not_found); what a job made goes with its job alone."""
        asset = self.get(client_id, asset_id)
        self._found.clear()
        if asset.job_id is not None:
            raise Rejected("bad_input", "What a job made is kept with the job; only uploads can be deleted.")
        self._store.delete(asset.key)
        if asset.blake3 is not None:
            self._store.delete(hash_key(client_id, asset.blake3))

    def lend_upload(
        self, client_id: str, *, sha256: str, size_bytes: int, file_path: str, content_type: str
    ) -> Asset | Lent:
        """
        Lend an upload for a file of that hash and size; the asset itself when its bytes are here already.

        Raise `Rejected`: too_large, bad_input.
        """
        if size_bytes > self._limit_bytes:
            raise too_large(size_bytes, self._limit_bytes)
        facts = {"file-path": path_of(file_path)}
        stored = self._store.look(asset_key(client_id, sha256))
        if stored is not None and stored.size_bytes == size_bytes:
            return self._kept_longer(client_id, sha256, stored)
        url, headers = self._store.lend_upload(
            asset_key(client_id, sha256),
            size_bytes=size_bytes,
            sha256=sha256,
            content_type=type_of(content_type),
            facts=facts,
            lifetime_s=UPLOAD_S,
        )
        return Lent(url, headers, self._now_ms() + UPLOAD_S * 1000)

    def complete(self, client_id: str, asset_id: str) -> Asset:
        """
        Answer the asset whose bytes went up by a lent upload.

        Raise `Rejected`: upload_incomplete (nothing came), hash_mismatch (S3 noted other bytes; they are removed).
        """
        stored = self._store.look(asset_key(client_id, asset_id)) if _SHA256.fullmatch(asset_id) else None
        if stored is None:
            raise Rejected(
                "upload_incomplete",
                "The file has not come yet. PUT its bytes to the upload's address, with the headers, and try again.",
            )
        if (stored.sha256 and stored.sha256 != asset_id) or stored.size_bytes > self._limit_bytes:
            self._store.delete(asset_key(client_id, asset_id))
            raise Rejected(
                "hash_mismatch", "The bytes that came have another hash than you said. Upload the file again."
            )
        return uploaded(client_id, asset_id, stored)

    def _looked_up(self, client_id: str, asset_id: str) -> str | None:
        if _SHA256.fullmatch(asset_id):
            stored = self._store.look(asset_key(client_id, asset_id))
            if stored is None:
                return None
            self._kept_longer(client_id, asset_id, stored)
            return asset_id
        found = self._output(client_id, asset_id)
        return None if found is None else self._copied(client_id, *found)

    def _kept_longer(self, client_id: str, sha256: str, stored: Stored, blake3: str = "") -> Asset:
        """Write an asset anew that nobody used for a day, or whose blake3 is news; answer it."""
        asset, now = uploaded(client_id, sha256, stored), self._now_ms()
        facts = dict(stored.facts) | ({"blake3": blake3} if blake3 else {}) | {"created-at": str(asset.created_at)}
        is_news = bool(blake3) and asset.blake3 is None
        if not is_news and now - stored.modified_ms < DAY_MS:
            return asset
        if not self._store.copy(asset.key, asset.key, asset.content_type, facts):
            raise NO_ASSET
        if "blake3" in facts:
            self._store.write(hash_key(client_id, facts["blake3"]), sha256.encode())
        return replace(asset, blake3=facts.get("blake3"), expires_at=now + KEPT_MS)

    def _output(self, client_id: str, asset_id: str) -> tuple[Job, Output] | None:
        job = self._jobs.get(job_id_in(asset_id))
        output = None if job is None or job.client_id != client_id else output_of(job, asset_id)
        return None if job is None or output is None else (job, output)

    def _copied(self, client_id: str, job: Job, output: Output) -> str | None:
        """Have what a job made lie where a worker reads inputs; None: it is gone, or too large to be one."""
        key = asset_key(client_id, output.sha256)
        stored = self._store.look(key)
        if stored is not None:
            self._kept_longer(client_id, output.sha256, stored)
            return output.sha256
        if output.size_bytes > self._limit_bytes:
            return None
        facts = {"file-path": output.filename, "created-at": str(job.finished_at or self._now_ms())}
        return output.sha256 if self._store.copy(output.key, key, output.content_type, facts) else None
