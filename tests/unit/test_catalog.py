"""Judge the catalog's corners: nearest names, a full memory, and a push that breaks off (see test_catalog_store)."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.catalog import INDEX_KEY, INDEX_S, Catalog, document_key, push, read_index
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.manifest import Workflow, parse_workflow
from infra.workflow_files import read_folder


class Shelf:
    """Keep documents in memory; refuse writes beyond *writes_left*."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reads: list[str] = []
        self.writes_left = 10_000

    def get(self, key: str) -> bytes | None:
        self.reads.append(key)
        return self.kept.get(key)

    def put(self, key: str, content: bytes) -> None:
        if not self.writes_left:
            raise Unavailable("The store is away.")
        self.writes_left -= 1
        self.kept[key] = content


class Clock:
    """Tell the seconds that the test says."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def version(size: int, workflow_id: str = "demo") -> Workflow:
    """Make a small workflow."""
    graph: dict[str, Any] = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "size": size}}}
    return parse_workflow(workflow_id, {"name": f"Name of {workflow_id}"}, {}, graph, file="demo.yaml")


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
    shelf = Shelf()
    push(shelf, read_folder())
    with pytest.raises(Rejected) as refused:
        Catalog(shelf, Clock()).find(cell)
    assert refused.value.code == "unknown_workflow"
    assert near in refused.value.message


def test_a_push_that_breaks_off_changes_nothing_for_readers() -> None:
    """Only the index, written last, makes a version count; pushing again completes it."""
    shelf, old, new = Shelf(), version(1), version(2)
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
    shelf, clock = Shelf(), Clock()
    push(shelf, [version(1)])
    catalog = Catalog(shelf, clock)
    shelf.reads.clear()
    for now_s, reads in ((0, 1), (INDEX_S - 0.001, 1), (INDEX_S, 2), (INDEX_S + 1, 2), (10 * INDEX_S, 3)):
        clock.now_s = now_s
        catalog.find("demo")
        assert shelf.reads.count(INDEX_KEY) == reads, now_s


def test_going_back_to_an_old_version_is_a_push() -> None:
    """The folder says what counts; the old document lies there already."""
    shelf = Shelf()
    for pushed in (version(1), version(2), version(1)):
        assert push(shelf, [pushed]) == ["demo"]
        assert read_index(shelf) == {"demo": pushed.hash}
    assert len(shelf.kept) == 3


def test_a_long_life_does_not_fill_the_memory_and_forgets_no_version() -> None:
    """A container that saw hundreds of versions still answers each of them."""
    shelf, versions = Shelf(), [version(size) for size in range(450)]
    for one in versions:
        push(shelf, [one])
    catalog = Catalog(shelf, Clock())
    shelf.reads.clear()
    for one in (*versions, *versions[:5]):
        assert catalog.by_hash(one.hash) == one
    assert len(shelf.reads) > len(versions), "nothing was ever dropped"


def test_an_id_counts_before_a_name() -> None:
    """Names are for people and may change; an id that reads like another's name still finds its own workflow."""
    shelf = Shelf()
    push(shelf, [version(1, "a"), version(2, "name-of-a")])
    assert Catalog(shelf, Clock()).find("Name of a").id == "name-of-a"
