"""Keep files in S3. Every key is written once: a second write finds the first and leaves it."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, BinaryIO, Final

from botocore.exceptions import ClientError

from chalicelib.contract.errors import Rejected
from worker.aws import renamed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WHAT: Final = "The bucket"
_SHOWN_INLINE: Final = ("image/", "video/", "audio/", "text/plain")


class S3Blobs:
    """Read and create files in one bucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def get(self, key: str) -> bytes | None:
        """Read a file; None: it is not there (S3 says AccessDenied instead to those who may not list)."""
        with renamed(WHAT):
            try:
                return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] in ("NoSuchKey", "404", "AccessDenied"):
                    return None
                raise

    def put(self, key: str, content: bytes, content_type: str) -> None:
        """Create a file; that it is there already (a repeated write of ours) is fine."""
        inline = content_type.startswith(_SHOWN_INLINE)
        with renamed(WHAT):
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=content,
                    ContentType=content_type,
                    ContentDisposition="inline" if inline else "attachment",
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(hashlib.sha256(content).digest()).decode(),
                )
            except ClientError as error:
                # The key holds attempt and hash: what is there is what we wrote and lost the answer of.
                if error.response["Error"]["Code"] != "PreconditionFailed":
                    raise

    def put_stream(self, key: str, content: BinaryIO, size_bytes: int, content_type: str) -> None:
        """Create a file from *content* (read from its start), in parts when it is large."""
        content.seek(0)
        self.put(key, content.read(size_bytes), content_type)

    def get_into(self, key: str, into: BinaryIO, limit_bytes: int) -> bool:
        """Copy a file to *into*; False: it is not there. `Rejected` when it is larger than *limit_bytes*."""
        content = self.get(key)
        if content is None:
            return False
        if len(content) > limit_bytes:
            raise Rejected("too_large", "An input file is larger than this worker accepts (MAX_INPUT_MB).")
        into.write(content)
        return True
