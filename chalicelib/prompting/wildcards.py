"""
Keep the lists of wildcards in the catalog's bucket.

`workflows/wildcards/<name>.txt` holds one choice a line; `#` begins a comment, a line may have a weight (`2::red`) and
marks of its own. `workflows/wildcards/index.json` says which lists there are, and by its hash which text each has now.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.prompting.marks import weighed

FOLDER: Final = "workflows/wildcards/"
INDEX_KEY: Final = f"{FOLDER}index.json"
FRESH_S: Final = 15
MAX_BYTES: Final = 256 * 1024
MAX_LINES: Final = 10_000
_KEPT: Final = 200
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9./-]|_(?!_)){0,79}(?<![_./-])")


class Store(Protocol):
    """Keep documents by key (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none."""

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        """Write a document."""


class Bin(Store, Protocol):
    """Keep documents, and take them away."""

    def delete(self, key: str) -> None:
        """Take a document away; none: nothing happens."""


@dataclass(frozen=True)
class Lines:
    """Hold a list: what may be chosen, and how much each line weighs (`marks.WEIGHT_UNIT`)."""

    texts: tuple[str, ...]
    weights: tuple[int, ...]


class WildcardBook:
    """Look lists up by name. *clock_s* is monotonic; a change is seen after `FRESH_S`."""

    def __init__(self, store: Store, clock_s: Callable[[], float]) -> None:
        self._store = store
        self._clock_s = clock_s
        self._index: dict[str, str] = {}
        self._fresh_until = float("-inf")
        self._known: dict[tuple[str, str], Lines] = {}

    def names(self) -> list[str]:
        """Name all lists."""
        now = self._clock_s()
        if now >= self._fresh_until:
            self._index = read_index(self._store)
            self._fresh_until = now + FRESH_S
        return sorted(self._index)

    def find(self, name: str) -> Lines | None:
        """Answer a list; None when there is none of this name. Raise `Unavailable` while it is being changed."""
        if name not in self.names():
            return None
        version = (name, self._index[name])
        if version not in self._known:
            content = self._store.get(key_of(name))
            if content is None:
                raise Unavailable("The lists of wildcards are being changed. Try again in a moment.")
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[version] = lines_of(content.decode("utf-8", "replace"))
        return self._known[version]


def key_of(name: str) -> str:
    """Name the document of a list."""
    return f"{FOLDER}{name}.txt"


def lines_of(text: str) -> Lines:
    """Read a list: empty lines and comments are left out."""
    lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
    chosen = [weighed(line) for line in lines if line and not line.startswith("#")]
    return Lines(tuple(line.strip() for _, line in chosen), tuple(weight for weight, _ in chosen))


def faults_of(name: str, content: bytes) -> list[str]:
    """Say what is wrong with a list, as sentences of the form "name: fault"."""
    faults = []
    if not _NAME.fullmatch(name):
        faults.append(f"{name}: a name has a-z, 0-9 and single _ . - / between them, 80 at most")
    if len(content) > MAX_BYTES:
        return [*faults, f"{name}: has {len(content)} bytes; {MAX_BYTES} are allowed"]
    try:
        lines = lines_of(content.decode())
    except UnicodeDecodeError:
        return [*faults, f"{name}: is no UTF-8 text"]
    if not any(lines.weights):
        faults.append(f"{name}: holds no line to choose")
    if len(lines.texts) > MAX_LINES:
        faults.append(f"{name}: has {len(lines.texts)} lines; {MAX_LINES} are allowed")
    return faults


def read_index(store: Store) -> dict[str, str]:
    """Read the hash of each list by its name; empty when nothing was ever pushed."""
    content = store.get(INDEX_KEY)
    try:
        told = {} if content is None else json.loads(content)
        if isinstance(told, dict) and all(isinstance(version, str) for version in told.values()):
            return told
    except ValueError:
        pass
    raise Rejected(
        "catalog_damaged", f"The index of wildcards is damaged. Delete {INDEX_KEY} and push the lists again."
    )


def push(store: Store, lists: Mapping[str, bytes]) -> list[str]:
    """Publish lists beside what is there, documents before the index; answer the names whose text changed."""
    index = read_index(store)
    versions = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in lists.items()}
    changed = sorted(name for name, version in versions.items() if index.get(name) != version)
    for name in changed:
        store.put(key_of(name), lists[name], "text/plain; charset=utf-8")
    if changed:
        _write(store, index | versions)
    return changed


def remove(store: Bin, names: Iterable[str]) -> list[str]:
    """Take lists away, from the index first; answer the names that were there."""
    index = read_index(store)
    gone = sorted(set(names) & index.keys())
    if gone:
        _write(store, {name: version for name, version in index.items() if name not in gone})
    for name in gone:
        store.delete(key_of(name))
    return gone


def _write(store: Store, index: Mapping[str, str]) -> None:
    store.put(INDEX_KEY, json.dumps(index, sort_keys=True).encode())
