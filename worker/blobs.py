"""
Keep files in S3. Every key is written once: a second write finds the first and leaves it.

Up to 64 MB a file is one PUT, which is all or nothing; above, it goes up in parts, a few at a time, and is there when
they are put together. S3 checks the SHA-256 of each.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Rejected, Unavailable
from worker.aws import renamed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef, GetObjectOutputTypeDef

WHAT: Final = "The bucket"
SINGLE_BYTES: Final = 64 * 1024 * 1024
PART_BYTES: Final = 8 * 1024 * 1024
"""S3 takes parts from 5 MB, and 10,000 of them: 80 GB."""
PARTS_AT_ONCE: Final = 4
"""Each is held in memory while it is sent."""
_CHUNK: Final = 1024 * 1024
_SHOWN_INLINE: Final = ("image/", "video/", "audio/", "text/plain")


class S3Blobs:
    """Read and create files in one bucket. Several threads may use it: boto3's clients allow it."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def get(self, key: str) -> bytes | None:
        """Read a file; None: it is not there (S3 says AccessDenied instead to those who may not list)."""
        with renamed(WHAT):
            answer = self._answer(key)
            return answer["Body"].read() if answer is not None else None

    def get_into(self, key: str, into: BinaryIO, limit_bytes: int) -> bool:
        """Copy a file to *into*; False: it is not there. `Rejected` when it is larger than *limit_bytes*."""
        with renamed(WHAT):
            answer = self._answer(key)
            if answer is None:
                return False
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] > limit_bytes:
                    raise Rejected("too_large", "An input file is larger than this worker accepts (MAX_INPUT_MB).")
                for part in body.iter_chunks(_CHUNK):
                    into.write(part)
        return True

    def put(self, key: str, content: bytes, content_type: str) -> None:
        """Create a file; that it is there already (a repeated write of ours) is fine."""
        self._put(key, content, hashlib.sha256(content), content_type)

    def put_stream(self, key: str, content: BinaryIO, size_bytes: int, content_type: str) -> None:
        """Create a file from *content* (read from its start), in parts when it is large."""
        content.seek(0)
        if size_bytes > SINGLE_BYTES:
            with renamed(WHAT):
                self._put_parts(key, content, content_type)
            return
        checked = hashlib.sha256()
        for part in _chunks(content, _CHUNK):
            checked.update(part)
        content.seek(0)
        self._put(key, content, checked, content_type)

    def _answer(self, key: str) -> GetObjectOutputTypeDef | None:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404", "AccessDenied"):
                return None
            raise

    def _put(self, key: str, content: bytes | BinaryIO, checked: hashlib._Hash, content_type: str) -> None:
        with renamed(WHAT), _written_once():
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType=content_type,
                ContentDisposition=_disposition(content_type),
                IfNoneMatch="*",
                ChecksumSHA256=_base64(checked),
            )

    def _put_parts(self, key: str, content: BinaryIO, content_type: str) -> None:
        begun = self._client.create_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            ContentType=content_type,
            ContentDisposition=_disposition(content_type),
            ChecksumAlgorithm="SHA256",
        )
        upload_id, is_complete = begun["UploadId"], False
        try:
            parts = self._send_parts(key, upload_id, content)
            # boto3's own transfers (s3transfer 0.19) cannot say IfNoneMatch; hence the parts are ours.
            with _written_once():
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                    IfNoneMatch="*",
                )
                is_complete = True
        finally:
            if not is_complete:
                # What this cannot remove, the bucket's rule for unfinished uploads does after a day.
                with contextlib.suppress(ClientError, BotoCoreError):
                    self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    def _send_parts(self, key: str, upload_id: str, content: BinaryIO) -> list[CompletedPartTypeDef]:
        """Send all parts, a few at a time; the first failure ends it."""

        def send(number: int, part: bytes) -> CompletedPartTypeDef:
            checksum = _base64(hashlib.sha256(part))
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=part,
                ChecksumSHA256=checksum,
            )
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

        sent: list[CompletedPartTypeDef] = []
        with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="parts") as pool:
            under_way: list[Future[CompletedPartTypeDef]] = []
            for number, part in enumerate(_chunks(content, PART_BYTES), start=1):
                if len(under_way) == PARTS_AT_ONCE:
                    sent.append(under_way.pop(0).result())
                under_way.append(pool.submit(send, number, part))
            return sent + [each.result() for each in under_way]


@contextlib.contextmanager
def _written_once() -> Iterator[None]:
    """Take "it is there already" for done: the key holds attempt and hash, so it is our own write, unheard of."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ConditionalRequestConflict":
            raise Unavailable("The bucket is busy with the same file.", retry_in_s=1) from error
        if code != "PreconditionFailed":
            raise


def _chunks(content: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    while part := content.read(size_bytes):
        yield part


def _disposition(content_type: str) -> str:
    return "inline" if content_type.startswith(_SHOWN_INLINE) else "attachment"


def _base64(checked: hashlib._Hash) -> str:
    return base64.b64encode(checked.digest()).decode()
