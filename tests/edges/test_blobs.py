"""Judge the file store's conditional reads and writes, on the twin in memory and on S3's protocol."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from uuid import uuid4

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from chalicelib import catalog_index
from chalicelib.blobs import Blobs
from chalicelib.contract.documents import Look
from chalicelib.contract.errors import Unavailable
from chalicelib.publish import Publisher
from tests.catalog_fakes import MemoryBlobs, version

Store = Blobs | MemoryBlobs
KEY = "workflows/index.json"


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    """Give the twin, then S3's protocol."""
    if request.param == "memory":
        return MemoryBlobs()
    client = request.getfixturevalue("aws").client("s3", config=Config(signature_version="s3v4"))
    bucket = f"bucket-{uuid4().hex[:10]}"
    client.create_bucket(Bucket=bucket)
    return Blobs(client, bucket)


def test_a_document_that_is_not_there_has_no_tag(store: Store) -> None:
    """Nothing to read, and nothing to compare with."""
    assert store.get(KEY) is None
    assert store.look(KEY, "") == store.look(KEY, '"abc"') == Look("")


def test_a_document_is_sent_only_to_whom_it_is_news(store: Store) -> None:
    """A reader that names the tag it knows is told that nothing has changed; after a change it gets the whole."""
    store.put(KEY, b"1")
    first = store.look(KEY, "")
    assert first.content == b"1" and first.tag
    assert store.look(KEY, first.tag) == Look(first.tag)
    store.put(KEY, b"2")
    second = store.look(KEY, first.tag)
    assert second.content == b"2" and second.tag != first.tag
    assert store.get(KEY) == b"2"


def test_a_document_is_made_once(store: Store) -> None:
    """An empty tag means: only if there is none."""
    assert store.replace(KEY, b"1", "")
    assert not store.replace(KEY, b"2", "")
    assert store.get(KEY) == b"1"


def test_a_document_is_replaced_only_as_it_was_seen(store: Store) -> None:
    """Whoever comes second with the same tag changes nothing, and neither does one who saw what is not there."""
    assert not store.replace(KEY, b"0", '"0cc175b9c0f1b6a831c399e269772661"')
    store.put(KEY, b"1")
    seen = store.look(KEY, "").tag
    assert store.replace(KEY, b"2", seen)
    assert not store.replace(KEY, b"3", seen)
    assert store.get(KEY) == b"2"


def test_of_many_who_replace_at_once_one_wins(store: Store) -> None:
    """The store judges and writes in one."""
    store.put(KEY, b"start")
    tag = store.look(KEY, "").tag
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.replace(KEY, str(number).encode(), tag), range(8)))
    assert won.count(True) == 1
    assert store.get(KEY) == str(won.index(True)).encode()


def test_of_many_who_push_at_once_nobody_loses_anything(store: Store) -> None:
    """What the conditional write is for: the index has what each of them pushed."""
    names = [f"w{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: Publisher(store, lambda: 1).push([version(1, name)], by="me"), names))
    assert sorted(catalog_index.read(store.get(KEY))) == names


class Broken:
    """Be a client whose every call ends in *error*."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def get_object(self, **_: Any) -> Any:
        raise self.error

    put_object = get_object


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://s3"),
        ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "GetObject"),
        ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "PutObject"),
    ],
)
def test_a_store_that_does_not_answer_is_worth_another_try(error: Exception) -> None:
    """Reads and writes alike: nobody is told that a document is missing when it could not be asked for."""
    blobs = Blobs(cast(Any, Broken(error)), "bucket")
    for ask in (
        lambda: blobs.get(KEY),
        lambda: blobs.look(KEY, "tag"),
        lambda: blobs.put(KEY, b""),
        lambda: blobs.replace(KEY, b"", "tag"),
    ):
        with pytest.raises(Unavailable):
            ask()
