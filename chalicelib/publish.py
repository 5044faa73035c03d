"""
Change the catalog: push, remove and bring back workflows, and keep the definitions that they share.

Documents first, then the index: whoever reads the index finds what it names. The index is written only when it is still
the one that was read, so that two who push at once lose nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from chalicelib import catalog_index
from chalicelib.catalog import BASE_KEY, document_key
from chalicelib.catalog_index import EVERYBODY, INDEX_KEY, Entry, Index, Version, place_of
from chalicelib.contract.documents import Look
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.manifest import Workflow, to_document

ANY: Final = "*"
"""Whatever the id means now."""
_TRIES: Final = 50


class Store(Protocol):
    """Keep documents by key (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none."""

    def look(self, key: str, known: str) -> Look:
        """Read a document and its tag; without its content when *known* is still its tag."""

    def put(self, key: str, content: bytes) -> None:
        """Write a document."""

    def replace(self, key: str, content: bytes, tag: str) -> bool:
        """Write a document if its tag is still *tag* (empty: there is none); False when it is not."""


class Publisher:
    """Write to the catalog; *by* says who does it, *owner* whose the workflow is."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms

    def push(
        self, workflows: Iterable[Workflow], *, by: str, owner: str = EVERYBODY, instead_of: str = ANY
    ) -> list[str]:
        """
        Publish workflows beside what is there; answer the ids whose version changed.

        *instead_of* is the hash that the id must mean now (empty: none); raise `Rejected` (changed_meanwhile) if not.
        A push that was made already, and is repeated because its answer got lost, is no change and is not refused.
        """
        pushed = list(workflows)
        stored = {workflow.id for workflow in pushed if self._stored(workflow)}

        def change(index: Index) -> dict[str, Entry]:
            changed = dict(index)
            for workflow in pushed:
                _check_meant(index, workflow.id, owner, instead_of, workflow.hash)
                changed = catalog_index.with_version(changed, workflow, owner, by=by, now_ms=self._now_ms())
            return changed

        before, after = self._change(change)
        places = {workflow.id: place_of(workflow.id, owner) for workflow in pushed}
        return [one for one, place in places.items() if one in stored or before.get(place) != after.get(place)]

    def remove(self, workflow_id: str, *, by: str, owner: str = EVERYBODY, instead_of: str = ANY) -> bool:
        """Take a workflow out; False when it is not there. Its versions stay, for the jobs made of it."""

        def change(index: Index) -> dict[str, Entry]:
            _check_meant(index, workflow_id, owner, instead_of, None)
            return catalog_index.without(index, workflow_id, owner, by=by, now_ms=self._now_ms())

        before, after = self._change(change)
        return before != after

    def restore(self, workflow_id: str, prefix: str = "", *, by: str, owner: str = EVERYBODY) -> Version:
        """
        Let an id mean a former version again, or a removed one what it meant; answer that version.

        Raise `Rejected` (not_found) when the index does not remember it.
        """
        content = self._store.look(INDEX_KEY, "").content
        version = catalog_index.version_of(catalog_index.read(content), workflow_id, owner, prefix)
        document = self._store.get(document_key(version.hash))
        if document is None:
            raise Rejected(
                "not_found", f"The document of version {version.hash[:12]} is gone. Push the workflow again."
            )
        self.push([Workflow.model_validate_json(document)], by=by, owner=owner)
        return version

    def keep_base(self, definitions: Mapping[str, Any]) -> bool:
        """Keep the shared definitions of parameters; False when they are there already."""
        content = json.dumps(definitions, ensure_ascii=False, sort_keys=True).encode()
        if self._store.get(BASE_KEY) == content:
            return False
        self._store.put(BASE_KEY, content)
        return True

    def _stored(self, workflow: Workflow) -> bool:
        """Write a version's document; False when it was there, whole."""
        key, content = document_key(workflow.hash), json.dumps(to_document(workflow), ensure_ascii=False).encode()
        if self._store.get(key) == content:
            return False
        self._store.put(key, content)
        return True

    def _change(self, change: Callable[[Index], dict[str, Entry]]) -> tuple[Index, Index]:
        """Change the index from what it is at that very moment; answer what it was and what it is."""
        for _ in range(_TRIES):
            seen = self._store.look(INDEX_KEY, "")
            before = catalog_index.read(seen.content)
            after = change(before)
            if after == before or self._store.replace(INDEX_KEY, catalog_index.written(after), seen.tag):
                return before, after
        raise Unavailable("Many change the workflow catalog at this very moment. Try again in a moment.")


def _check_meant(index: Index, workflow_id: str, owner: str, instead_of: str, wanted: str | None) -> None:
    there = index.get(place_of(workflow_id, owner))
    meant = "" if there is None or there.removed_at is not None else there.hash
    if instead_of not in (ANY, meant) and meant != wanted:
        now = f"it is version {meant[:12]} now" if meant else "there is none now"
        raise Rejected(
            "changed_meanwhile", f"The workflow {workflow_id} is not what you think: {now}. Read it again, then repeat."
        )
