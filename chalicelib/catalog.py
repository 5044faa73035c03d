"""
Find workflows in the bucket.

`workflows/by-hash/<hash>.json` holds a version for ever, so that old jobs keep the one they were made with;
`workflows/index.json` says which version each id means now. A push is seen within `INDEX_S` seconds, without a deploy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.inputs import unknown_workflow
from chalicelib.contract.manifest import Workflow, from_document, to_document
from chalicelib.contract.words import fold

INDEX_KEY: Final = "workflows/index.json"
INDEX_S: Final = 15
_KEPT: Final = 200


class Store(Protocol):
    """Keep documents by key (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none."""

    def put(self, key: str, content: bytes) -> None:
        """Write a document."""


def document_key(workflow_hash: str) -> str:
    """Name the document of one version."""
    return f"workflows/by-hash/{workflow_hash}.json"


class Catalog:
    """Look workflows up by id or name. *clock_s* is monotonic."""

    def __init__(self, store: Store, clock_s: Callable[[], float]) -> None:
        self._store = store
        self._clock_s = clock_s
        self._index: dict[str, str] = {}
        self._fresh_until = float("-inf")
        self._known: dict[str, Workflow] = {}

    def find(self, name: str) -> Workflow:
        """Answer the workflow of this id or name; raise `Rejected` (unknown_workflow) with the nearest names."""
        index = self._read_index()
        wanted = fold(name)
        for workflow_id, workflow_hash in index.items():
            if fold(workflow_id) == wanted:
                return self.by_hash(workflow_hash)
        for workflow in self.list():
            if fold(workflow.name) == wanted:
                return workflow
        raise unknown_workflow(name, index)

    def list(self) -> list[Workflow]:
        """Answer all workflows, by id."""
        return [self.by_hash(workflow_hash) for _, workflow_hash in sorted(self._read_index().items())]

    def by_hash(self, workflow_hash: str) -> Workflow:
        """
        Answer one version.

        Raise `Unavailable` when the index names a document that is not there (yet), `Rejected` when it is damaged.
        """
        known = self._known.get(workflow_hash)
        if known is None:
            document = self._store.get(document_key(workflow_hash))
            if document is None:
                raise Unavailable("The workflow catalog is being changed. Try again in a moment.")
            known = _read(document, workflow_hash)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[workflow_hash] = known
        return known

    def _read_index(self) -> dict[str, str]:
        now = self._clock_s()
        if now >= self._fresh_until:
            self._index = read_index(self._store)
            self._fresh_until = now + INDEX_S
        return self._index


def read_index(store: Store) -> dict[str, str]:
    """Read which version (hash) each workflow id means now; empty when nothing was ever pushed."""
    return {workflow_id: entry["hash"] for workflow_id, entry in _entries(store).items()}


def _entries(store: Store) -> dict[str, dict[str, Any]]:
    content = store.get(INDEX_KEY)
    try:
        entries = {} if content is None else json.loads(content)
        if all(isinstance(entry["hash"], str) for entry in entries.values()):
            return dict(entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise Rejected(
        "catalog_damaged", f"The workflow catalog is damaged. Delete {INDEX_KEY} and push the workflows again."
    )


def _read(document: bytes, workflow_hash: str) -> Workflow:
    try:
        workflow = from_document(json.loads(document))
    except ValueError:
        workflow = None
    if workflow is None or workflow.hash != workflow_hash:
        raise Rejected("workflow_damaged", "The stored workflow is damaged. Push the workflows again.")
    return workflow


def push(store: Store, workflows: Iterable[Workflow]) -> list[str]:
    """
    Publish workflows beside what is there; answer the ids whose version changed.

    Documents first, then the index: whoever reads the index finds what it names.
    """
    index = _entries(store)
    changed = []
    for workflow in workflows:
        key, content = document_key(workflow.hash), json.dumps(to_document(workflow), ensure_ascii=False).encode()
        is_stored = store.get(key) == content
        if is_stored and index.get(workflow.id, {}).get("hash") == workflow.hash:
            continue
        if not is_stored:
            store.put(key, content)
        index[workflow.id] = {"hash": workflow.hash, "name": workflow.name, "description": workflow.description}
        changed.append(workflow.id)
    if changed:
        store.put(INDEX_KEY, json.dumps(index, ensure_ascii=False, sort_keys=True).encode())
    return changed
