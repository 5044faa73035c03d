"""Judge the catalog's corners: nearest names, a full memory, and a push that breaks off (see test_catalog_store)."""

from __future__ import annotations

import pytest

from chalicelib.catalog import INDEX_S, Catalog, document_key
from chalicelib.catalog_index import INDEX_KEY, read
from chalicelib.contract.errors import Rejected, Unavailable
from infra.workflow_files import read_folder
from tests.catalog_fakes import Clock, MemoryBlobs, push, version


@pytest.mark.parametrize(
    ("cell", "near"),
    [
        ("flux", "flux-schnell"),
        ("FLUX SCHNEL", "flux-schnell"),
        ("sdxl", "txt2img-sdxl"),
        ("txt2image_sdxl", "txt2img-sdxl"),
        ("emptycolor", "empty-color"),
        ("imageops", "image-ops"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(cell: str, near: str) -> None:
    """The sentence that stands in the row names what was meant."""
    shelf = MemoryBlobs()
    push(shelf, read_folder())
    with pytest.raises(Rejected) as refused:
        Catalog(shelf, Clock()).find(cell)
    assert refused.value.code == "unknown_workflow"
    assert near in refused.value.message


def test_a_push_that_breaks_off_changes_nothing_for_readers() -> None:
    """Only the index, written last, makes a version count; pushing again completes it."""
    shelf, old, new = MemoryBlobs(), version(1), version(2)
    push(shelf, [old])
    shelf.writes_left = 1
    with pytest.raises(Unavailable):
        push(shelf, [new])
    assert document_key(new.hash) in shelf.kept
    assert Catalog(shelf, Clock()).find("demo") == old
    shelf.writes_left = 1
    assert push(shelf, [new]) == ["demo"]
    assert Catalog(shelf, Clock()).find("demo") == new


def test_the_index_is_fresh_to_the_second() -> None:
    """It is read again when INDEX_S seconds have gone by, not before; a quiet clock starts with a read."""
    shelf, clock = MemoryBlobs(), Clock()
    clock.now_s = 0.0
    push(shelf, [version(1)])
    catalog = Catalog(shelf, clock)
    shelf.read.clear()
    for now_s, reads in ((0, 1), (INDEX_S - 0.001, 1), (INDEX_S, 2), (INDEX_S + 1, 2), (10 * INDEX_S, 3)):
        clock.now_s = now_s
        catalog.find("demo")
        assert shelf.read.count(INDEX_KEY) == reads, now_s


def test_going_back_to_an_old_version_is_a_push() -> None:
    """The folder says what counts; the old document lies there already."""
    shelf = MemoryBlobs()
    for pushed in (version(1), version(2), version(1)):
        assert push(shelf, [pushed]) == ["demo"]
        assert read(shelf.kept[INDEX_KEY])["demo"].hash == pushed.hash
    assert len(shelf.kept) == 3


def test_a_long_life_does_not_fill_the_memory_and_forgets_no_version() -> None:
    """A container that saw hundreds of versions still answers each of them."""
    shelf, versions = MemoryBlobs(), [version(size) for size in range(450)]
    for one in versions:
        push(shelf, [one])
    catalog = Catalog(shelf, Clock(), kept=200)
    shelf.read.clear()
    for one in (*versions, *versions[:5]):
        assert catalog.by_hash(one.hash) == one
    assert len(shelf.read) > len(versions), "nothing was ever dropped"


def test_an_id_counts_before_a_name() -> None:
    """Names are for people and may change; an id that reads like another's name still finds its own workflow."""
    shelf = MemoryBlobs()
    push(shelf, [version(1, "a"), version(2, "name-of-a")])
    assert Catalog(shelf, Clock()).find("Name of a").id == "name-of-a"


def test_two_hundred_workflows_and_more_are_remembered() -> None:
    """A client's list of all of them asks the bucket for the index alone, the second time."""
    shelf = MemoryBlobs()
    push(shelf, [version(size, f"w{size}") for size in range(1, 301)])
    catalog = Catalog(shelf, Clock())
    for _ in range(2):
        shelf.read.clear()
        assert len(catalog.list()) == 300
    assert shelf.read == [INDEX_KEY]


def test_a_large_catalog_is_read_once() -> None:
    """Who lists it again reads the index alone, also when more versions were seen than are remembered."""
    shelf = MemoryBlobs()
    push(shelf, [version(size, f"w{size}") for size in range(1, 21)])
    catalog = Catalog(shelf, Clock(), kept=60)
    assert len(catalog.list()) == 20
    for size in range(100, 200):
        push(shelf, [one := version(size, "other")])
        catalog.by_hash(one.hash)
        catalog.list()
    catalog.list()
    shelf.read.clear()
    assert len(catalog.list()) == 21
    assert shelf.read == [INDEX_KEY]
