"""Judge large files on the local cloud's S3: in parts, written once, copied without being held in memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from chalicelib.contract.errors import Rejected, Unavailable
from worker.blobs import PART_BYTES, S3Blobs

LARGE_BYTES = 70_000_000
KEY = "outputs/c/j/1/0-abcdef12.mp4"


@pytest.fixture
def bucket(aws: boto3.Session) -> str:
    name = f"bucket-{uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a file of 70 MB whose parts differ."""
    path = tmp_path_factory.mktemp("large") / "large.mp4"
    with path.open("wb") as file:
        for number in range(LARGE_BYTES // 1_000_000):
            file.write(bytes([number]) * 1_000_000)
    return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Tally:
    """Count a client's calls by operation, and fail one of them when told."""

    def __init__(self, client: Any) -> None:
        self.calls: list[str] = []
        self.failing: Callable[[str, dict[str, Any]], bool] = lambda _call, _params: False
        client.meta.events.register("before-parameter-build.s3", self._note)

    def _note(self, params: dict[str, Any], model: Any, **_: object) -> None:
        self.calls.append(model.name)
        if self.failing(model.name, params):
            error: Any = {"Error": {"Code": "InternalError", "Message": "no"}}
            raise ClientError(error, model.name)


def test_a_large_file_goes_up_in_parts_and_comes_back_whole(aws: boto3.Session, bucket: str, large: Path) -> None:
    """Type and disposition as with a small one; the memory for it stays that of a few parts."""
    client = aws.client("s3")
    tally, blobs = Tally(client), S3Blobs(client, bucket)
    with large.open("rb") as file:
        file.seek(77)
        tracemalloc.start()
        try:
            blobs.put_stream(KEY, file, LARGE_BYTES, "video/mp4")
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert tally.calls.count("UploadPart") == -(-LARGE_BYTES // PART_BYTES)
    assert peak_bytes < 0.7 * LARGE_BYTES
    head = client.head_object(Bucket=bucket, Key=KEY)
    assert (head["ContentLength"], head["ContentType"], head["ContentDisposition"]) == (
        LARGE_BYTES, "video/mp4", "inline",
    )  # fmt: skip
    copy = large.with_name("copy")
    with copy.open("wb") as into:
        assert blobs.get_into(KEY, into, LARGE_BYTES)
    assert sha256_of(copy) == sha256_of(large)


def test_a_repeated_write_of_a_large_file_is_no_error(aws: boto3.Session, bucket: str, large: Path) -> None:
    """What is there stays, and no unfinished upload is left behind."""
    client = aws.client("s3")
    tally, blobs = Tally(client), S3Blobs(client, bucket)
    blobs.put(KEY, b"the first", "video/mp4")
    with large.open("rb") as file:
        blobs.put_stream(KEY, file, LARGE_BYTES, "video/mp4")
    assert blobs.get(KEY) == b"the first"
    assert tally.calls[-2] == "AbortMultipartUpload"
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_an_upload_that_breaks_is_taken_back(aws: boto3.Session, bucket: str, large: Path) -> None:
    """One part fails: the file is not there, nor are its parts; another attempt may work."""
    client = aws.client("s3")
    tally, blobs = Tally(client), S3Blobs(client, bucket)
    tally.failing = lambda call, params: call == "UploadPart" and params["PartNumber"] == 3
    with large.open("rb") as file, pytest.raises(Unavailable):
        blobs.put_stream(KEY, file, LARGE_BYTES, "video/mp4")
    assert tally.calls[-1] == "AbortMultipartUpload"
    assert blobs.get(KEY) is None
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_stream_of_middle_size_is_one_put(aws: boto3.Session, bucket: str) -> None:
    """All or nothing, written once, checked by its hash."""
    client = aws.client("s3")
    tally, blobs = Tally(client), S3Blobs(client, bucket)
    content = bytes(range(256)) * 40_000
    for body in (content, b"x" * len(content)):
        stream = BytesIO(body)
        stream.seek(5)
        blobs.put_stream("outputs/a.bin", stream, len(content), "application/octet-stream")
    assert tally.calls == ["PutObject", "PutObject"]
    assert blobs.get("outputs/a.bin") == content


def test_copying_keeps_to_its_limit(aws: boto3.Session, bucket: str) -> None:
    """A file that is too large is refused before it is read; one that is not there is told."""
    blobs, into = S3Blobs(aws.client("s3"), bucket), BytesIO()
    blobs.put("inputs/a.png", b"12345", "image/png")
    with pytest.raises(Rejected):
        blobs.get_into("inputs/a.png", into, 4)
    assert into.getvalue() == b""
    assert blobs.get_into("inputs/a.png", into, 5)
    assert into.getvalue() == b"12345"
    assert not blobs.get_into("inputs/none.png", into, 5)
