"""Judge where clients' files lie, on the twin and on S3's protocol: one suite for both."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any
from uuid import uuid4

import pytest
import requests
from botocore.config import Config

from chalicelib.asset_store import AssetStore
from chalicelib.assets import Store
from chalicelib.blobs import Blobs
from tests.file_fakes import MemoryAssetStore, MemoryShelf

CONTENT = b"\x00\x01 picture \xff"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FACTS = {"file-path": "dir/Füchs 100% #1.png", "blake3": "ab" * 32}


def bucket_of(aws: Any) -> tuple[Any, str]:
    """Make a bucket; signed as the app signs."""
    client = aws.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "path"}))
    name = f"files-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    return client, name


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Give the twin, then S3's protocol."""
    if request.param == "memory":
        return MemoryAssetStore(lambda: time.time_ns() // 1_000_000)
    return AssetStore(*bucket_of(request.getfixturevalue("aws")))


def test_a_file_and_its_facts_come_back(store: Store) -> None:
    """Size, type, hash, names in any letters, and when it was written."""
    assert store.create("k", CONTENT, SHA256, "image/png", FACTS)
    stored = store.look("k")
    assert stored is not None
    assert (stored.size_bytes, stored.content_type, stored.sha256) == (len(CONTENT), "image/png", SHA256)
    assert dict(stored.facts) == FACTS
    assert abs(stored.modified_ms - time.time() * 1000) < 60_000
    assert store.read("k") == CONTENT


def test_what_is_not_there_is_none(store: Store) -> None:
    """To look, to read, to copy; to delete it is fine."""
    assert store.look("nothing") is None and store.read("nothing") is None
    assert not store.copy("nothing", "k", "image/png", {})
    store.delete("nothing")


def test_a_file_is_created_once(store: Store) -> None:
    """The second finds the first and leaves it."""
    assert store.create("k", CONTENT, SHA256, "image/png", FACTS)
    assert not store.create("k", b"other", hashlib.sha256(b"other").hexdigest(), "text/plain", {})
    assert store.read("k") == CONTENT


def test_a_copy_onto_itself_takes_new_facts(store: Store) -> None:
    """That is how an asset is kept longer; bytes and hash stay."""
    store.create("k", CONTENT, SHA256, "image/png", {})
    assert store.copy("k", "k", "image/png", FACTS) and store.copy("k", "l", "image/webp", {})
    stored, other = store.look("k"), store.look("l")
    assert stored is not None and other is not None
    assert (dict(stored.facts), stored.content_type, store.read("k")) == (FACTS, "image/png", CONTENT)
    assert (dict(other.facts), other.content_type, store.read("l")) == ({}, "image/webp", CONTENT)


def test_a_deleted_file_is_gone(store: Store) -> None:
    """And a small document is written over."""
    store.write("k", b"1")
    store.write("k", b"2")
    assert store.read("k") == b"2"
    store.delete("k")
    assert store.look("k") is None


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_document_is_created_once(request: pytest.FixtureRequest, kind: str) -> None:
    """A batch's record: the second writer learns that there is one."""
    shelf = MemoryShelf() if kind == "memory" else Blobs(*bucket_of(request.getfixturevalue("aws")))
    assert shelf.create("k", b"1")
    assert not shelf.create("k", b"2")
    assert shelf.get("k") == b"1" and shelf.get("other") is None


def lent(aws: Any) -> tuple[AssetStore, str, dict[str, str]]:
    store = AssetStore(*bucket_of(aws))
    url, headers = store.lend_upload(
        "k", size_bytes=len(CONTENT), sha256=SHA256, content_type="image/png", facts=FACTS, lifetime_s=60
    )
    return store, url, headers


def test_a_lent_upload_takes_the_file(aws: Any) -> None:
    """PUT with the headers that were named, and nothing else."""
    store, url, headers = lent(aws)
    answer = requests.put(url, data=CONTENT, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    stored = store.look("k")
    assert stored is not None and (stored.size_bytes, stored.content_type) == (len(CONTENT), "image/png")
    assert dict(stored.facts) == FACTS
    assert stored.sha256 == SHA256
    address = store.lend("k", lifetime_s=60, content_type="image/png", disposition="inline")
    assert requests.get(address, timeout=10).content == CONTENT


def test_a_lent_upload_is_bound_to_what_was_said(aws: Any) -> None:
    """Size, type, hash and name are part of the signature (SigV4)."""
    _, url, headers = lent(aws)
    signed = url.split("X-Amz-SignedHeaders=")[1].split("&")[0].split("%3B")
    assert {name.lower() for name in headers} | {"host"} == set(signed)
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(bytes.fromhex(SHA256)).decode()
    for change in ({"Content-Type": "text/html"}, {"x-amz-checksum-sha256": "A" * 43 + "="}):
        answer = requests.put(url, data=CONTENT, headers=headers | change, timeout=10)
        assert answer.status_code == 403, (change, answer.text)


def test_other_bytes_are_refused_by_the_store_itself(aws: Any) -> None:
    """S3 hashes what comes (BadDigest)."""
    store, url, headers = lent(aws)
    answer = requests.put(url, data=b"x" * len(CONTENT), headers=headers, timeout=10)
    assert answer.status_code == 400, answer.text
    assert store.look("k") is None
