"""The larder: files by what is in them, whole or not at all, and no more than fit."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from chalicelib.contract.errors import Unavailable
from worker.larder import Known, Larder


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def keep(larder: Larder, content: bytes) -> str:
    return larder.put(lambda into: (into.write(content), None)[1])


def read(larder: Larder, name: str) -> bytes | None:
    file = larder.open(name)
    if file is None:
        return None
    with file:
        return file.read()


def test_what_is_put_comes_out_by_its_hash(tmp_path: Path) -> None:
    """The same content twice is one file."""
    larder = Larder(tmp_path, 10**6)
    assert keep(larder, b"a fox") == keep(larder, b"a fox") == sha(b"a fox")
    assert read(larder, sha(b"a fox")) == b"a fox"
    assert read(larder, sha(b"a cat")) is None
    assert len(list((tmp_path / "files").iterdir())) == 1


def test_a_torn_file_is_never_served(tmp_path: Path) -> None:
    """Hashed again when it is read; what differs is removed."""
    larder = Larder(tmp_path, 10**6)
    name = keep(larder, b"a fox in the snow")
    (tmp_path / "files" / name).write_bytes(b"a fox in")
    assert read(larder, name) is None
    assert not (tmp_path / "files" / name).exists()


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither a file nor half of one."""
    larder = Larder(tmp_path, 10**6)

    def fails(into: BinaryIO) -> None:
        into.write(b"half")
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        larder.put(fails)
    assert list((tmp_path / "files").iterdir()) == []


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """Another worker may have room."""

    def full(_into: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="disk is full"):
        Larder(tmp_path, 10**6).put(full)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    """The bound holds; a file in use stays readable for whoever has it open."""
    larder = Larder(tmp_path, 2500)
    names = [keep(larder, bytes([number]) * 1000) for number in range(2)]
    for age, name in ((100, names[0]), (50, names[1])):
        path = tmp_path / "files" / name
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    held = larder.open(names[0])
    assert held is not None
    newest = keep(larder, b"\x07" * 1000)
    left = {path.name for path in (tmp_path / "files").iterdir()}
    assert left == {names[0], newest}
    with held:
        assert held.read() == b"\x00" * 1000


def test_an_address_is_remembered_only_with_its_file(tmp_path: Path) -> None:
    """The index holds no address in clear: it may carry a key."""
    larder = Larder(tmp_path, 10**6)
    url = "https://pictures.example/a.png?key=secret"
    assert larder.known(url) is None
    name = keep(larder, b"a fox")
    larder.note(url, Known(name, '"1"', ""))
    assert Larder(tmp_path, 10**6).known(url) == Known(name, '"1"', "")
    assert not [path for path in tmp_path.rglob("*") if "secret" in path.name or "pictures" in path.name]
    (tmp_path / "files" / name).unlink()
    assert larder.known(url) is None
    keep(larder, b"a fox")
    for path in (tmp_path / "index").iterdir():
        path.write_text("{")
    assert larder.known(url) is None


def test_what_a_killed_worker_left_half_written_goes_after_an_hour(tmp_path: Path) -> None:
    """Parts that nobody writes to any more are removed, and do not push out whole files; another worker's stay."""
    larder = Larder(tmp_path, 2500)
    kept = keep(larder, b"a" * 1000)
    larder.note("https://example.com/", Known(kept, '"1"', ""))
    past = (tmp_path / "files" / kept).stat().st_mtime - 7200
    torn = [tmp_path / "files" / ".x1.part", tmp_path / "index" / "abc.7-8.part"]
    under_way = tmp_path / "files" / ".x2.part"
    for path in [*torn, under_way]:
        path.write_bytes(b"b" * 400)
    torn[0].write_bytes(b"b" * 2000)
    for path in torn:
        os.utime(path, (past, past))
    keep(Larder(tmp_path, 2500), b"c" * 1000)
    assert not any(path.exists() for path in torn)
    assert under_way.exists()
    assert read(larder, kept) == b"a" * 1000
