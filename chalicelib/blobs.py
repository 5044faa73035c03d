"""Reach the bucket: read and write small documents, and lend out addresses of large files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.documents import Look
from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING: Final = frozenset({"NoSuchKey", "404"})
_UNCHANGED: Final = frozenset({"304", "NotModified"})
# 409: another conditional write of the same key is under way.
_CHANGED: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404"})


class Blobs:
    """Keep bytes by key in one bucket. The client must sign with SigV4: boto3 1.44 presigns with SigV2 unless told."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none. Raise `Unavailable` when the bucket cannot be reached."""
        return self.look(key, "").content

    def look(self, key: str, known: str) -> Look:
        """
        Read a document and its tag (ETag); without its content when *known* is still its tag.

        Raise `Unavailable` when the bucket cannot be reached.
        """
        condition = {"IfNoneMatch": known} if known else {}
        with _reaching():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, **condition)  # type: ignore[arg-type]
                return Look(answer["ETag"], answer["Body"].read())
            except ClientError as error:
                if error.response["Error"]["Code"] in _MISSING:
                    return Look("")
                if error.response["Error"]["Code"] in _UNCHANGED:
                    return Look(known)
                raise

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        """Write a document, replacing what was there. Raise `Unavailable` when the bucket cannot be reached."""
        with _reaching():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)

    def replace(self, key: str, content: bytes, tag: str) -> bool:
        """
        Write a document if its tag is still *tag* (empty: there is none); False when it is not.

        S3 judges and writes in one (conditional writes: If-Match since 2024-11, If-None-Match since 2024-08).
        """
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        with _reaching():
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=content,
                    ContentType="application/json",
                    **condition,  # type: ignore[arg-type]
                )
            except ClientError as error:
                if error.response["Error"]["Code"] in _CHANGED:
                    return False
                raise
        return True

    def create(self, key: str, content: bytes) -> bool:
        """Write a document where none is; False: there is one. Raise `Unavailable`."""
        return self.replace(key, content, "")

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        """Give an address that serves *key* to anyone for *lifetime_s*."""
        return self._client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ResponseContentType": content_type,
                "ResponseContentDisposition": disposition,
            },
            ExpiresIn=lifetime_s,
        )

    def delete(self, key: str) -> None:
        """Take a document away; none: nothing happens."""
        with _reaching():
            self._client.delete_object(Bucket=self._bucket, Key=key)


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Make `Unavailable` of what the network or the bucket does to us."""
    try:
        yield
    except ClientError as error:
        raise Unavailable("The file store does not answer. Try again in a moment.") from error
    except BotoCoreError as error:
        raise Unavailable("The file store cannot be reached. Try again in a moment.") from error
