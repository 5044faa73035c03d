"""Judge changes of the catalog: two at once lose nothing, what was can be brought back, a client's own is its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib import catalog_index
from chalicelib.catalog import BASE_KEY, INDEX_S, Catalog, document_key
from chalicelib.catalog_index import INDEX_KEY, KEPT_REMOVED, KEPT_VERSIONS, Entry
from chalicelib.contract.documents import Look
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.publish import Publisher
from tests.catalog_fakes import PUSHED_AT, Clock, MemoryBlobs, push, version


def publisher(store: MemoryBlobs, now_ms: int = PUSHED_AT) -> Publisher:
    return Publisher(store, lambda: now_ms)


def entries(store: MemoryBlobs) -> dict[str, Entry]:
    return catalog_index.read(store.kept[INDEX_KEY])


def ids(store: MemoryBlobs, client_id: str = "") -> list[str]:
    return [workflow.id for workflow in Catalog(store, Clock()).list(client_id)]


def test_pushes_at_once_lose_nothing() -> None:
    """Twenty people push one workflow each at the same moment: the index has all twenty."""
    store = MemoryBlobs()
    names = [f"w{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        pushed = list(pool.map(lambda name: push(store, [version(1, name)]), names))
    assert pushed == [[name] for name in names]
    assert ids(store) == sorted(names)


class Meddled(MemoryBlobs):
    """Let somebody else in between reading the index and writing it, *times* times."""

    def __init__(self, times: int, meddle: Callable[[MemoryBlobs], Any]) -> None:
        super().__init__()
        self.times = times
        self.meddle = meddle

    def look(self, key: str, known: str) -> Look:
        seen = super().look(key, known)
        if key == INDEX_KEY and self.times:
            self.times, before = 0, self.times
            self.meddle(self)
            self.times = before - 1
        return seen


def test_a_push_that_somebody_overtakes_is_made_upon_what_is_there_then() -> None:
    """The one who was in between keeps what he pushed, and is not told of it."""
    store = Meddled(1, lambda store: push(store, [version(1, "theirs")]))
    assert push(store, [version(1, "ours")]) == ["ours"]
    assert ids(store) == ["ours", "theirs"]


def test_a_push_that_is_always_overtaken_ends_in_a_sentence() -> None:
    """It does not go on for ever."""
    counter = iter(range(1000))
    store = Meddled(1000, lambda store: store.put(INDEX_KEY, json.dumps({f"w{next(counter)}": {"hash": "h"}}).encode()))
    with pytest.raises(Unavailable, match="at this very moment"):
        push(store, [version(1, "ours")])


def test_the_index_says_who_pushed_what_and_when() -> None:
    """Each version once, the newest first; pushing the same again is no news."""
    store = MemoryBlobs()
    publisher(store, 1000).push([version(1)], by="alice")
    publisher(store, 2000).push([version(2)], by="bob")
    publisher(store, 3000).push([version(2)], by="carol")
    told = [(one.hash, one.pushed_at, one.pushed_by) for one in entries(store)["demo"].versions]
    assert told == [(version(2).hash, 2000, "bob"), (version(1).hash, 1000, "alice")]


def test_only_the_last_versions_are_remembered() -> None:
    """The index stays small however often a workflow is changed."""
    store = MemoryBlobs()
    for size in range(KEPT_VERSIONS + 5):
        push(store, [version(size)])
    former = entries(store)["demo"].former
    assert [one.hash for one in former] == [version(size).hash for size in range(KEPT_VERSIONS + 3, 3, -1)]


def test_a_removed_workflow_is_found_no_more_and_its_versions_stay() -> None:
    """No new job can be made of it; a job that exists finds the version it was made with."""
    store = MemoryBlobs()
    push(store, [version(1), version(1, "other")])
    assert publisher(store).remove("demo", by="alice")
    catalog = Catalog(store, Clock())
    with pytest.raises(Rejected, match="There is no workflow called"):
        catalog.find("demo")
    assert ids(store) == ["other"]
    assert catalog.by_hash(version(1).hash) == version(1)
    assert not publisher(store).remove("demo", by="alice")
    assert not publisher(store).remove("never", by="alice")


def test_a_removed_workflow_is_brought_back_as_it_was() -> None:
    """Without a hash it is what it was when it was removed."""
    store = MemoryBlobs()
    for size in (1, 2):
        push(store, [version(size)])
    publisher(store).remove("demo", by="alice")
    assert publisher(store).restore("demo", by="bob").hash == version(2).hash
    assert Catalog(store, Clock()).find("demo") == version(2)
    assert [one.hash for one in entries(store)["demo"].versions] == [version(2).hash, version(1).hash]


def test_a_former_version_is_brought_back() -> None:
    """The one before, or the one whose hash is begun; and back again."""
    store = MemoryBlobs()
    for size in (1, 2, 3):
        push(store, [version(size)])
    assert publisher(store).restore("demo", by="a").hash == version(2).hash
    assert publisher(store).restore("demo", version(1).hash[:12], by="a").hash == version(1).hash
    assert Catalog(store, Clock()).find("demo") == version(1)
    assert {one.hash for one in entries(store)["demo"].versions} == {version(size).hash for size in (1, 2, 3)}


@pytest.mark.parametrize(
    ("workflow_id", "prefix", "says"),
    [
        ("never", "", "There never was a workflow never"),
        ("demo", "", "Say which version of demo is meant"),
        ("demo", "zz", f"There are {version(1).hash[:12]}"),
    ],
)
def test_what_the_index_does_not_remember_cannot_be_brought_back(workflow_id: str, prefix: str, says: str) -> None:
    """The sentence has the versions that there are."""
    store = MemoryBlobs()
    push(store, [version(1)])
    with pytest.raises(Rejected, match=says) as refused:
        publisher(store).restore(workflow_id, prefix, by="a")
    assert refused.value.code == "not_found"


def test_a_version_whose_document_is_gone_is_not_brought_back() -> None:
    """An index that names nothing would break every row of this workflow."""
    store = MemoryBlobs()
    for size in (1, 2):
        push(store, [version(size)])
    del store.kept[document_key(version(1).hash)]
    with pytest.raises(Rejected, match="is gone"):
        publisher(store).restore("demo", by="a")
    assert Catalog(store, Clock()).find("demo") == version(2)


def test_removed_workflows_are_forgotten_at_last() -> None:
    """The oldest first: whoever adds and removes for ever does not fill the index."""
    store = MemoryBlobs()
    push(store, [version(1, f"w{number:03}") for number in range(KEPT_REMOVED + 3)])
    for number in range(KEPT_REMOVED + 3):
        publisher(store, PUSHED_AT + number).remove(f"w{number:03}", by="a")
    assert sorted(entries(store)) == [f"w{number:03}" for number in range(3, KEPT_REMOVED + 3)]


def test_a_clients_own_workflow_is_seen_by_nobody_else() -> None:
    """Neither in a list nor by id, name or what is suggested instead."""
    store = MemoryBlobs()
    push(store, [version(1, "shared")])
    push(store, [version(2, "secret-poster", "Secret Poster")], owner="studio-a")
    catalog = Catalog(store, Clock())
    assert ids(store, "studio-a") == ["secret-poster", "shared"]
    assert ids(store, "studio-b") == ids(store) == ["shared"]
    assert catalog.find("SECRET poster", "studio-a") == version(2, "secret-poster", "Secret Poster")
    for name in ("secret-poster", "Secret Poster", "studio-a/secret-poster"):
        with pytest.raises(Rejected) as refused:
            catalog.find(name, "studio-b")
        assert refused.value.message.endswith("There are: shared.")
    assert catalog.held("secret-poster", "studio-b") is None


def test_a_clients_own_counts_before_everybodys() -> None:
    """By id and by name; removing it shows everybody's again."""
    store = MemoryBlobs()
    push(store, [version(1, "poster", "Poster"), version(3, "a-first", "Same")])
    push(store, [version(2, "poster", "Mine"), version(4, "z-last", "Same")], owner="studio-a")
    catalog = Catalog(store, Clock())
    assert catalog.find("poster", "studio-a") == version(2, "poster", "Mine")
    assert catalog.find("same", "studio-a") == version(4, "z-last", "Same")
    assert catalog.find("poster", "studio-b") == version(1, "poster", "Poster")
    publisher(store).remove("poster", by="a", owner="studio-a")
    assert Catalog(store, Clock()).find("poster", "studio-a") == version(1, "poster", "Poster")


def test_a_push_instead_of_another_version_is_refused_when_that_is_not_there() -> None:
    """Whoever read an old version does not write over what somebody else has made meanwhile."""
    store = MemoryBlobs()
    push(store, [version(1)])
    push(store, [version(2)])
    with pytest.raises(Rejected, match=f"it is version {version(2).hash[:12]} now") as refused:
        publisher(store).push([version(3)], by="a", instead_of=version(1).hash)
    assert refused.value.code == "changed_meanwhile"
    with pytest.raises(Rejected, match="is not what you think"):
        publisher(store).push([version(3)], by="a", instead_of="")
    with pytest.raises(Rejected, match="there is none now"):
        publisher(store).remove("other", by="a", instead_of=version(1).hash)
    assert publisher(store).push([version(3)], by="a", instead_of=version(2).hash) == ["demo"]
    assert publisher(store).push([version(1, "new")], by="a", instead_of="") == ["new"]
    assert publisher(store).push([version(1, "new")], by="a", instead_of="") == [], "a repeated one is no other"


def test_the_index_of_an_older_program_is_read() -> None:
    """Entries that were written before there was a history count, and a push gives them one."""
    store = MemoryBlobs()
    push(store, [version(1)])
    store.kept[INDEX_KEY] = json.dumps({"demo": {"hash": version(1).hash, "name": "Name of demo"}}).encode()
    assert Catalog(store, Clock()).find("name of demo") == version(1)
    push(store, [version(2)])
    assert [one.hash for one in entries(store)["demo"].versions] == [version(2).hash, version(1).hash]


def test_the_index_of_a_newer_program_is_read() -> None:
    """Two versions of this program run during a deployment."""
    store = MemoryBlobs()
    push(store, [version(1)])
    known = json.loads(store.kept[INDEX_KEY])
    store.kept[INDEX_KEY] = json.dumps({"demo": {**known["demo"], "colour": "teal"}}).encode()
    assert Catalog(store, Clock()).find("demo") == version(1)


def test_an_unchanged_index_is_not_sent_again() -> None:
    """Asking each second and a half costs an answer without a body."""
    store, clock = MemoryBlobs(), Clock()
    push(store, [version(1)])
    catalog = Catalog(store, clock)
    store.read.clear()
    store.sent.clear()
    for _ in range(10):
        catalog.find("demo")
        clock.now_s += INDEX_S
    assert store.read.count(INDEX_KEY) == 10
    assert store.sent.count(INDEX_KEY) == 1


def test_an_index_that_was_taken_away_is_empty() -> None:
    """An operator who deletes it, as the sentence about damage says, starts anew."""
    store, clock = MemoryBlobs(), Clock()
    push(store, [version(1)])
    catalog = Catalog(store, clock)
    catalog.find("demo")
    del store.kept[INDEX_KEY]
    clock.now_s += INDEX_S
    assert catalog.list() == []


def test_whoever_changes_the_catalog_sees_it_at_once() -> None:
    """The container that wrote does not wait until its knowledge is stale."""
    store = MemoryBlobs()
    push(store, [version(1)])
    catalog = Catalog(store, Clock())
    assert catalog.find("demo") == version(1)
    push(store, [version(2)])
    assert catalog.find("demo") == version(1)
    catalog.look_anew()
    assert catalog.find("demo") == version(2)


def test_what_is_shown_is_never_stale() -> None:
    """Lists and single workflows are rare questions: each asks the bucket whether something has changed."""
    store = MemoryBlobs()
    catalog = Catalog(store, Clock())
    for size in (1, 2):
        push(store, [version(size)])
        held = catalog.held("demo")
        assert held is not None and held.workflow == version(size)
    push(store, [version(1, "other")])
    assert [one.id for one in catalog.list()] == ["demo", "other"]


def test_a_name_that_was_added_a_moment_ago_is_found() -> None:
    """An unknown name has the index looked at anew, once for all rows of a request."""
    store, clock = MemoryBlobs(), Clock()
    catalog = Catalog(store, clock)
    with pytest.raises(Rejected):
        catalog.find("demo")
    push(store, [version(1)])
    clock.now_s += 0.5
    assert catalog.find("demo") == version(1)
    store.read.clear()
    for _ in range(100):
        with pytest.raises(Rejected):
            catalog.find("nobody")
        clock.now_s += 0.001
    assert store.read.count(INDEX_KEY) <= 1


def test_shared_definitions_are_kept_and_read() -> None:
    """They go to the bucket with the folder; the same again is no write; damage is told."""
    store = MemoryBlobs()
    assert Catalog(store, Clock()).base() == {}
    assert publisher(store).keep_base({"steps": {"type": "integer"}})
    assert not publisher(store).keep_base({"steps": {"type": "integer"}})
    assert Catalog(store, Clock()).base() == {"steps": {"type": "integer"}}
    for damage in (b"{", b"5", b"\xff"):
        store.kept[BASE_KEY] = damage
        with pytest.raises(Rejected, match="damaged"):
            Catalog(store, Clock()).base()
