"""
Keep the catalog's index: which version each workflow id means now, who pushed it, and what it meant before.

A workflow is everybody's, or one client's own: then its place in the index is "<client>/<id>". A removed workflow stays
in the index for a while, so that it can be brought back. Everything here is pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter

from chalicelib.contract.errors import Rejected
from chalicelib.contract.manifest import Workflow

INDEX_KEY: Final = "workflows/index.json"
EVERYBODY: Final = ""
KEPT_VERSIONS: Final = 10
KEPT_REMOVED: Final = 100


class _Kept(BaseModel):
    # What a newer version of this program wrote besides is left out, not refused: two of them run during a deployment.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Version(_Kept):
    """Name a version: its hash, when it was pushed (ms since the epoch; 0: nobody knows) and by whom."""

    hash: str
    pushed_at: int = 0
    pushed_by: str = ""


class Entry(Version):
    """Say what an id means now; *former* are the versions before it, the newest first."""

    name: str = ""
    description: str = ""
    former: tuple[Version, ...] = ()
    removed_at: int | None = None
    removed_by: str = ""

    @property
    def versions(self) -> tuple[Version, ...]:
        """Give the version that counts now and those before it."""
        return (Version(hash=self.hash, pushed_at=self.pushed_at, pushed_by=self.pushed_by), *self.former)


Index = Mapping[str, Entry]
Visible = Mapping[str, tuple[str, Entry]]
"""Owner and entry by workflow id."""
_SHAPE: Final = TypeAdapter(dict[str, Entry])


def place_of(workflow_id: str, owner: str = EVERYBODY) -> str:
    """Give the place in the index of *owner*'s workflow."""
    return f"{owner}/{workflow_id}" if owner else workflow_id


def split_place(place: str) -> tuple[str, str]:
    """Take a place apart into owner and id."""
    owner, _, workflow_id = place.rpartition("/")
    return owner, workflow_id


def read(content: bytes | None) -> dict[str, Entry]:
    """Read the index; empty when nothing was ever pushed. Raise `Rejected` (catalog_damaged)."""
    try:
        return {} if content is None else _SHAPE.validate_json(content)
    except ValueError:
        raise Rejected(
            "catalog_damaged", f"The workflow catalog is damaged. Delete {INDEX_KEY} and push the workflows again."
        ) from None


def written(index: Index) -> bytes:
    """Write the index; `read` gives it back."""
    fields = {place: entry.model_dump(mode="json", exclude_defaults=True) for place, entry in index.items()}
    return json.dumps(fields, ensure_ascii=False, sort_keys=True).encode()


def visible(index: Index, client_id: str) -> Visible:
    """Give what a client may use. Its own workflow hides everybody's of the same id."""
    found: dict[str, tuple[str, Entry]] = {}
    for owner in dict.fromkeys((EVERYBODY, client_id)):
        for place, entry in index.items():
            its_owner, workflow_id = split_place(place)
            if its_owner == owner and entry.removed_at is None:
                found[workflow_id] = (owner, entry)
    return dict(sorted(found.items()))


def with_version(index: Index, workflow: Workflow, owner: str, *, by: str, now_ms: int) -> dict[str, Entry]:
    """Let an id mean *workflow*; what it meant before is remembered. The same index when it means that already."""
    place = place_of(workflow.id, owner)
    there = index.get(place)
    if there is not None and there.hash == workflow.hash and there.removed_at is None:
        return dict(index)
    entry = Entry(
        hash=workflow.hash,
        pushed_at=now_ms,
        pushed_by=by,
        name=workflow.name,
        description=workflow.description,
        former=_before(there, workflow.hash),
    )
    return {**index, place: entry}


def without(index: Index, workflow_id: str, owner: str, *, by: str, now_ms: int) -> dict[str, Entry]:
    """Take a workflow out; the same index when it is not there."""
    place = place_of(workflow_id, owner)
    there = index.get(place)
    if there is None or there.removed_at is not None:
        return dict(index)
    changed = {**index, place: there.model_copy(update={"removed_at": now_ms, "removed_by": by})}
    removed = sorted((entry.removed_at, place) for place, entry in changed.items() if entry.removed_at is not None)
    for _, oldest in removed[:-KEPT_REMOVED]:
        del changed[oldest]
    return changed


def version_of(index: Index, workflow_id: str, owner: str, prefix: str) -> Version:
    """
    Find the version of a workflow whose hash begins with *prefix*; empty: the one to go back to.

    That is the last one of a removed workflow, and the one before of any other. Raise `Rejected` (not_found).
    """
    there = index.get(place_of(workflow_id, owner))
    if there is None:
        raise Rejected("not_found", f"There never was a workflow {workflow_id}, or it was removed long ago.")
    known = there.versions
    if prefix:
        found = [version for version in known if version.hash.startswith(prefix)]
    else:
        found = list(known[:1] if there.removed_at is not None else known[1:2])
    if len({version.hash for version in found}) != 1:
        hashes = ", ".join(version.hash[:12] for version in known)
        raise Rejected("not_found", f"Say which version of {workflow_id} is meant. There are {hashes}.")
    return found[0]


def _before(there: Entry | None, new_hash: str) -> tuple[Version, ...]:
    """Give what is remembered when a new version comes: each former one once, the newest first."""
    if there is None:
        return ()
    return tuple(version for version in there.versions if version.hash != new_hash)[:KEPT_VERSIONS]
