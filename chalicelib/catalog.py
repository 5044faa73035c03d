"""
Find workflows in the bucket.

`workflows/by-hash/<hash>.json` holds a version for ever, so that old jobs keep the one they were made with;
`workflows/index.json` says which version each id means now (`chalicelib.catalog_index`). A container asks at most every
`INDEX_S` seconds whether the index has changed; nearly always the bucket answers that it has not, without sending it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

from chalicelib import catalog_index
from chalicelib.catalog_index import EVERYBODY, INDEX_KEY, Entry, Visible, visible
from chalicelib.contract.documents import Look
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.inputs import unknown_workflow
from chalicelib.contract.manifest import Workflow, from_document
from chalicelib.contract.words import fold

BASE_KEY: Final = "workflows/base.json"
"""What base.yaml holds: the definitions that many workflows share."""
INDEX_S: Final = 1.5
_AGAIN_S: Final = 0.2
"""An unknown name has the index looked at anew, though not for each row of a request."""
KEPT: Final = 2_000
"""Versions that a container remembers, some 20 KB each: more than a client sees, or each list would read them all."""
_READS_AT_ONCE: Final = 8


class Store(Protocol):
    """Keep documents by key (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none."""

    def look(self, key: str, known: str) -> Look:
        """Read a document and its tag; without its content when *known* is still its tag."""


@dataclass(frozen=True)
class Held:
    """Hold a workflow as the catalog has it: whose it is (EVERYBODY or a client), and what is known of its pushes."""

    workflow: Workflow
    owner: str
    entry: Entry


def document_key(workflow_hash: str) -> str:
    """Name the document of one version."""
    return f"workflows/by-hash/{workflow_hash}.json"


class Catalog:
    """Look workflows up by id or name. *clock_s* is monotonic; *kept* versions are remembered."""

    def __init__(self, store: Store, clock_s: Callable[[], float], kept: int = KEPT) -> None:
        self._kept = kept
        self._store = store
        self._clock_s = clock_s
        self._index: dict[str, Entry] = {}
        self._seen_by: dict[str, Visible] = {}
        self._tag = ""
        self._looked_at = self._fresh_until = float("-inf")
        self._known: dict[str, Workflow] = {}

    def find(self, name: str, client_id: str = EVERYBODY) -> Workflow:
        """
        Answer the workflow of this id or name, the client's own before everybody's.

        Raise `Rejected` (unknown_workflow) with the nearest names.
        """
        entry = _meant(self._visible(client_id), name, client_id)
        if entry is None and self._clock_s() >= self._looked_at + _AGAIN_S:
            # It may have been added a moment ago, by way of another container.
            self.look_anew()
            entry = _meant(self._visible(client_id), name, client_id)
        if entry is None:
            raise unknown_workflow(name, self._visible(client_id))
        return self.by_hash(entry.hash)

    def list(self, client_id: str = EVERYBODY) -> list[Workflow]:
        """Answer all workflows that a client may use, by id, as it is at this moment."""
        return [held.workflow for held in self.shelf(client_id)]

    def shelf(self, client_id: str = EVERYBODY) -> tuple[Held, ...]:
        """Answer them with whose they are, as it is at this moment."""
        self.look_anew()
        found = list(self._visible(client_id).values())
        workflows = self._all_of(entry.hash for _, entry in found)
        return tuple(Held(workflow, owner, entry) for workflow, (owner, entry) in zip(workflows, found, strict=True))

    def held(self, workflow_id: str, client_id: str = EVERYBODY) -> Held | None:
        """Answer the one of exactly this id, as it is at this moment; None when there is none."""
        self.look_anew()
        found = self._visible(client_id).get(workflow_id)
        return None if found is None else Held(self.by_hash(found[1].hash), *found)

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
            self._known[workflow_hash] = known
            if len(self._known) > self._kept:
                for oldest in [*self._known][: self._kept // 2]:
                    self._known.pop(oldest, None)
        return known

    def base(self) -> dict[str, Any]:
        """Answer the shared definitions of parameters, by name."""
        content = self._store.get(BASE_KEY)
        try:
            return {} if content is None else dict(json.loads(content))
        except (ValueError, TypeError):
            raise Rejected("catalog_damaged", "The shared definitions are damaged. Push the workflows again.") from None

    def look_anew(self) -> None:
        """Have the index asked for at the next question, however fresh it is."""
        self._fresh_until = float("-inf")

    def _all_of(self, hashes: Iterable[str]) -> tuple[Workflow, ...]:
        wanted = tuple(hashes)
        if sum(one not in self._known for one in wanted) <= 1:
            return tuple(self.by_hash(one) for one in wanted)
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            return tuple(pool.map(self.by_hash, wanted))

    def _visible(self, client_id: str) -> Visible:
        index = self._read_index()
        if client_id not in self._seen_by:
            self._seen_by[client_id] = visible(index, client_id)
        return self._seen_by[client_id]

    def _read_index(self) -> dict[str, Entry]:
        now = self._clock_s()
        if now >= self._fresh_until:
            seen = self._store.look(INDEX_KEY, self._tag)
            if seen.content is not None or not seen.tag:
                self._index = catalog_index.read(seen.content)
                self._seen_by = {}
            self._tag = seen.tag
            self._looked_at, self._fresh_until = now, now + INDEX_S
        return self._index


def _meant(index: Visible, name: str, client_id: str) -> Entry | None:
    """Find what a name means: an id counts before a name, a client's own before everybody's."""
    wanted = fold(name)
    for workflow_id, (_, entry) in index.items():
        if fold(workflow_id) == wanted:
            return entry
    for _, entry in sorted(index.values(), key=lambda found: found[0] != client_id):
        if fold(entry.name) == wanted:
            return entry
    return None


def _read(document: bytes, workflow_hash: str) -> Workflow:
    try:
        workflow = from_document(json.loads(document))
    except ValueError:
        workflow = None
    if workflow is None or workflow.hash != workflow_hash:
        raise Rejected("workflow_damaged", "The stored workflow is damaged. Push the workflows again.")
    return workflow
