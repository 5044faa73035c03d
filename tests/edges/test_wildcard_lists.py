"""Judge the lists of wildcards: in memory and in a bucket, fresh within seconds, pushed and removed by the operator."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.blobs import Blobs
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.prompting.wildcards import (
    FRESH_S,
    INDEX_KEY,
    MAX_LINES,
    WildcardBook,
    faults_of,
    key_of,
    push,
    remove,
)
from infra.wildcards import read_lists, register_below


class Shelf:
    """Keep documents in memory and note each call."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []

    def get(self, key: str) -> bytes | None:
        self.calls.append(("get", key))
        return self.kept.get(key)

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        self.calls.append(("put", key))
        self.kept[key] = content

    def delete(self, key: str) -> None:
        self.calls.append(("delete", key))
        self.kept.pop(key, None)


class Clock:
    """Tell the seconds that the test says."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["memory", "bucket"])
def store(request: pytest.FixtureRequest) -> Any:
    """Give the twin, then the real thing."""
    if request.param == "memory":
        return Shelf()
    session: boto3.Session = request.getfixturevalue("aws")
    client: Any = session.client("s3")
    bucket = f"lists-{uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    return Blobs(client, bucket)


def test_a_list_is_found_by_its_name(store: Any) -> None:
    """Its lines without comments and blanks, with what they weigh."""
    assert push(store, {"colors": b"\xef\xbb\xbf# warm\r\nred \r\n\r\n2::yellow\n", "a/b": "雪".encode()}) == [
        "a/b",
        "colors",
    ]
    book = WildcardBook(store, Clock())
    found = book.find("colors")
    assert found is not None and found.texts == ("red", "yellow") and found.weights == (10_000, 20_000)
    assert book.names() == ["a/b", "colors"]
    assert book.find("a/b") is not None and book.find("colours") is None


def test_a_change_is_seen_within_seconds(store: Any) -> None:
    """And what others pushed stays."""
    clock = Clock()
    book = WildcardBook(store, clock)
    assert book.names() == []
    push(store, {"a": b"1", "b": b"2"})
    clock.now_s += FRESH_S
    assert book.find("a").texts == ("1",)  # type: ignore[union-attr]
    assert push(store, {"a": b"3", "b": b"2"}) == ["a"] and push(store, {"a": b"3"}) == []
    assert book.find("a").texts == ("1",)  # type: ignore[union-attr]
    clock.now_s += FRESH_S
    assert book.find("a").texts == ("3",)  # type: ignore[union-attr]
    assert remove(store, ["a", "nothing"]) == ["a"] and store.get(key_of("a")) is None
    clock.now_s += FRESH_S
    assert book.names() == ["b"]


def test_a_list_is_read_once_for_many_rows() -> None:
    """A request of a hundred rows costs one read of the index and one of each list."""
    shelf = Shelf()
    push(shelf, {"a": b"1"})
    shelf.calls.clear()
    book = WildcardBook(shelf, Clock())
    for _ in range(100):
        book.find("a")
    assert shelf.calls == [("get", INDEX_KEY), ("get", key_of("a"))]


def test_whoever_reads_the_index_finds_what_it_names() -> None:
    """Lists before the index when they come, after it when they go."""
    shelf = Shelf()
    push(shelf, {"a": b"1"})
    remove(shelf, ["a"])
    assert [call for call in shelf.calls if call[0] != "get"] == [
        ("put", key_of("a")),
        ("put", INDEX_KEY),
        ("put", INDEX_KEY),
        ("delete", key_of("a")),
    ]
    push(shelf, {"a": b"1"})
    del shelf.kept[key_of("a")]
    with pytest.raises(Unavailable):
        WildcardBook(shelf, Clock()).find("a")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_damaged_index_is_told(content: bytes) -> None:
    """With the way out."""
    shelf = Shelf()
    shelf.kept[INDEX_KEY] = content
    with pytest.raises(Rejected, match="push the lists again"):
        WildcardBook(shelf, Clock()).names()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("Colors", b"x", "a name has"),
        ("a__b", b"x", "a name has"),
        ("../a", b"x", "a name has"),
        ("a/", b"x", "a name has"),
        ("a", b"# only\n\n", "no line to choose"),
        ("a", b"0::x", "no line to choose"),
        ("a", b"\xff\xfe", "no UTF-8 text"),
        ("a", b"x\n" * (MAX_LINES + 1), "lines"),
        ("a", b"x" * 300_000, "bytes"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(name: str, content: bytes, fault: str) -> None:
    """Before it is pushed."""
    [told] = faults_of(name, content)
    assert told.startswith(f"{name}: ") and fault in told


def run(store: Any, *arguments: str) -> int:
    """Call the verb as `python -m infra workflows` does."""
    parser = argparse.ArgumentParser()
    register_below(parser.add_subparsers(), lambda _: store)
    chosen = parser.parse_args(["wildcards", *arguments])
    return int(chosen.run(chosen))


def test_the_operator_pushes_lists_shows_and_removes_them(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files by their names; those of a folder with their way from it."""
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "Cats.txt").write_text("tabby\nginger\n")
    (tmp_path / "colors.txt").write_text("red\n")
    assert set(read_lists([tmp_path / "colors.txt", tmp_path])) == {"colors", "pets/cats"}
    assert run(store, "push", str(tmp_path)) == 0
    assert capsys.readouterr().out == "pushed: colors, pets/cats\n"
    assert run(store, "push", str(tmp_path / "colors.txt")) == 0
    assert capsys.readouterr().out == "nothing has changed\n"
    assert run(store, "list") == 0
    assert capsys.readouterr().out == "__colors__  1 lines\n__pets/cats__  2 lines\n"
    assert run(store, "show", "pets/cats") == 0
    assert capsys.readouterr().out == "tabby\nginger\n"
    assert run(store, "show", "nothing") == 1
    assert run(store, "remove", "colors", "nothing") == 1
    assert "removed: colors; there was no nothing" in capsys.readouterr().out
    assert json.loads(store.get(INDEX_KEY)).keys() == {"pets/cats"}


def test_a_push_with_a_fault_publishes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All faults are named at once."""
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b c.txt").write_text("x")
    (tmp_path / "good.txt").write_text("x")
    shelf = Shelf()
    assert run(shelf, "push", str(tmp_path)) == 1 and run(shelf, "push", str(tmp_path / "gone.txt")) == 1
    told = capsys.readouterr().out
    assert "a: holds no line" in told and "b c: a name has" in told and "gone.txt: cannot be read" in told
    assert shelf.kept == {}
