"""Judge the catalog: found by id or name, fresh within seconds, old versions kept, damage told."""

from __future__ import annotations

import json

import pytest

from chalicelib.catalog import INDEX_S, Catalog, document_key
from chalicelib.catalog_index import INDEX_KEY
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.manifest import Workflow
from infra.workflow_files import read_folder
from tests.catalog_fakes import Clock, MemoryBlobs, push
from tests.catalog_fakes import version as make_version


def version(name: str, size: int = 1, workflow_id: str = "demo") -> Workflow:
    return make_version(size, workflow_id, name)


def test_a_workflow_is_found_by_id_or_name_in_any_case() -> None:
    """A Workflow cell may hold either; case, spaces and underscores do not count."""
    shelf = MemoryBlobs()
    push(shelf, read_folder())
    catalog = Catalog(shelf, Clock())
    for cell in ("flux-schnell", " Flux Schnell", "FLUX_schnell", "flux.1 SCHNELL"):
        assert catalog.find(cell).id == "flux-schnell"
    with pytest.raises(Rejected, match="Did you mean flux-schnell") as refused:
        catalog.find("flux-schnel")
    assert refused.value.code == "unknown_workflow"
    assert [workflow.id for workflow in catalog.list()] == [workflow.id for workflow in read_folder()]


def test_documents_are_written_before_the_index_that_names_them() -> None:
    """Whoever reads the index finds what it names."""
    shelf = MemoryBlobs()
    assert push(shelf, [version("A"), version("B", workflow_id="other")]) == ["demo", "other"]
    assert shelf.written[-1] == INDEX_KEY
    assert len(shelf.written) == 3


def test_a_second_push_of_the_same_writes_nothing() -> None:
    """Pushing is repeatable; what others pushed stays."""
    shelf = MemoryBlobs()
    push(shelf, [version("A"), version("B", workflow_id="other")])
    shelf.written.clear()
    assert push(shelf, [version("A")]) == []
    assert shelf.written == []
    assert set(json.loads(shelf.kept[INDEX_KEY])) == {"demo", "other"}


def test_a_push_is_seen_when_the_index_grows_stale_and_old_versions_stay_readable() -> None:
    """A new version counts within seconds; a job that was made with the old one still finds it."""
    shelf, clock = MemoryBlobs(), Clock()
    old, new = version("A", 1), version("A", 2)
    push(shelf, [old])
    catalog = Catalog(shelf, clock)
    assert catalog.find("demo").hash == old.hash
    push(shelf, [new])
    clock.now_s += INDEX_S - 0.1
    assert catalog.find("demo").hash == old.hash
    clock.now_s += 0.2
    assert catalog.find("demo").hash == new.hash
    assert Catalog(shelf, clock).by_hash(old.hash) == old


def test_an_index_is_read_once_for_many_rows() -> None:
    """A request of a hundred rows costs one read of the index and one of each document."""
    shelf = MemoryBlobs()
    push(shelf, [version("A")])
    shelf.read.clear()
    catalog = Catalog(shelf, Clock())
    for _ in range(100):
        catalog.find("demo")
    assert len(shelf.read) == 2


def test_an_empty_bucket_has_no_workflow() -> None:
    """Before the first push every name is unknown, and that is said."""
    with pytest.raises(Rejected, match="There are: none"):
        Catalog(MemoryBlobs(), Clock()).find("demo")


def test_a_document_that_is_not_there_yet_is_worth_another_try() -> None:
    """The index may be ahead of what a reader sees."""
    shelf = MemoryBlobs()
    push(shelf, [version("A")])
    del shelf.kept[document_key(version("A").hash)]
    with pytest.raises(Unavailable):
        Catalog(shelf, Clock()).find("demo")


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_document_is_refused_and_mended_by_a_push(content: bytes) -> None:
    """What does not match its hash is never used; the remedy in the sentence works."""
    shelf = MemoryBlobs()
    push(shelf, [version("A"), version("B", workflow_id="other")])
    shelf.kept[document_key(version("A").hash)] = content
    with pytest.raises(Rejected, match="Push the workflows again") as refused:
        Catalog(shelf, Clock()).find("demo")
    assert refused.value.code == "workflow_damaged"
    assert push(shelf, [version("A")]) == ["demo"]
    assert Catalog(shelf, Clock()).find("demo") == version("A")


def test_a_document_of_another_version_is_refused() -> None:
    """A document under the wrong hash is damage, too."""
    shelf = MemoryBlobs()
    push(shelf, [version("A", 1), version("B", 2, workflow_id="other")])
    shelf.kept[document_key(version("A", 1).hash)] = shelf.kept[document_key(version("B", 2, "other").hash)]
    with pytest.raises(Rejected, match="damaged"):
        Catalog(shelf, Clock()).find("demo")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"demo": 5}', b'{"demo": {}}', b'{"demo": {"hash": 1}}'])
def test_a_damaged_index_is_told(content: bytes) -> None:
    """A broken index is a sentence with a remedy, not a crash."""
    shelf = MemoryBlobs()
    shelf.kept[INDEX_KEY] = content
    with pytest.raises(Rejected, match="push the workflows again") as refused:
        Catalog(shelf, Clock()).find("demo")
    assert refused.value.code == "catalog_damaged"
