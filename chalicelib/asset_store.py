"""
Keep input files in the bucket, each under its client and the SHA-256 of what is in it.

What is known of a file stands in its object's own metadata, so that a file and its facts come and go together.

S3's metadata is plain ASCII (S3 user guide, "user-defined object metadata"), so values are percent-encoded.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ABSENT: Final = frozenset({"NoSuchKey", "NotFound", "404"})
_THERE_ALREADY: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


@dataclass(frozen=True)
class Stored:
    """Say what the bucket knows of a file; *sha256* in hex, "" when S3 was told none."""

    size_bytes: int
    content_type: str
    sha256: str
    facts: Mapping[str, str]
    modified_ms: int


class AssetStore:
    """Reach the bucket. The client must sign with SigV4: only then a lent upload is bound to its size and hash."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def look(self, key: str) -> Stored | None:
        """Say what is known of a file; None: there is none."""
        try:
            with _renamed():
                answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise
        facts = {name: unquote(value) for name, value in answer.get("Metadata", {}).items()}
        checksum = base64.b64decode(answer.get("ChecksumSHA256", "")).hex()
        modified_ms = int(answer["LastModified"].timestamp() * 1000)
        return Stored(answer["ContentLength"], answer.get("ContentType", ""), checksum, facts, modified_ms)

    def read(self, key: str) -> bytes | None:
        """Read a small document; None: there is none."""
        try:
            with _renamed():
                return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise

    def create(self, key: str, content: bytes, sha256: str, content_type: str, facts: Mapping[str, str]) -> bool:
        """Put a file where none is; False: there is one already. S3 checks *sha256* (hex)."""
        try:
            with _renamed():
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=content,
                    ContentType=content_type,
                    ChecksumSHA256=_base64(sha256),
                    Metadata=_ascii(facts),
                    IfNoneMatch="*",
                )
        except ClientError as error:
            if _code(error) in _THERE_ALREADY:
                return False
            raise
        return True

    def write(self, key: str, content: bytes) -> None:
        """Put a small document, whatever was there."""
        with _renamed():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType="text/plain")

    def copy(self, source: str, key: str, content_type: str, facts: Mapping[str, str]) -> bool:
        """Copy a file within the bucket (onto itself: it counts as new again); False: *source* is gone."""
        try:
            with _renamed():
                self._client.copy_object(
                    Bucket=self._bucket,
                    Key=key,
                    CopySource={"Bucket": self._bucket, "Key": source},
                    ContentType=content_type,
                    Metadata=_ascii(facts),
                    MetadataDirective="REPLACE",
                    ChecksumAlgorithm="SHA256",
                )
        except ClientError as error:
            if _code(error) in _ABSENT:
                return False
            raise
        return True

    def delete(self, key: str) -> None:
        """Remove a file; that there is none is fine."""
        with _renamed():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        """Give an address that serves *key* to anyone for *lifetime_s*."""
        asked = {
            "Bucket": self._bucket,
            "Key": key,
            "ResponseContentType": content_type,
            "ResponseContentDisposition": disposition,
        }
        return self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=lifetime_s)

    def lend_upload(
        self, key: str, *, size_bytes: int, sha256: str, content_type: str, facts: Mapping[str, str], lifetime_s: int
    ) -> tuple[str, dict[str, str]]:
        """
        Give an address that takes a file by PUT for *lifetime_s*, and the headers that must come with it.

        They are signed: S3 takes no other size or type, and refuses bytes that have another SHA-256.
        """
        asked: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": key,
            "ContentLength": size_bytes,
            "ContentType": content_type,
            "ChecksumSHA256": _base64(sha256),
            "Metadata": _ascii(facts),
        }
        url = self._client.generate_presigned_url("put_object", Params=asked, ExpiresIn=lifetime_s)
        headers = {
            "Content-Length": str(size_bytes),
            "Content-Type": content_type,
            "x-amz-checksum-sha256": _base64(sha256),
        }
        return url, headers | {f"x-amz-meta-{name}": value for name, value in _ascii(facts).items()}


def _ascii(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: quote(value, safe=" /:.") for name, value in facts.items()}


def _base64(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode()


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


@contextmanager
def _renamed() -> Iterator[None]:
    """Let what the bucket says rise, and what it cannot say become `Unavailable`."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _ABSENT | _THERE_ALREADY:
            raise
        raise Unavailable("The file store does not answer. Try again in a moment.") from error
    except BotoCoreError as error:
        raise Unavailable("The file store cannot be reached. Try again in a moment.") from error
