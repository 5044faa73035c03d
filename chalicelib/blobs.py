"""Reach the bucket: read and write small documents, and lend out addresses of large files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Blobs:
    """Keep bytes by key in one bucket. The client must sign with SigV4: boto3 1.44 presigns with SigV2 unless told."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none. Raise `Unavailable` when the bucket cannot be reached."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise Unavailable("The file store does not answer. Try again in a moment.") from error
        except BotoCoreError as error:
            raise Unavailable("The file store cannot be reached. Try again in a moment.") from error

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        """Write a document, replacing what was there."""
        self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)

    def create(self, key: str, content: bytes) -> bool:
        """Write a document where none is; False: there is one. Raise `Unavailable`."""
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=content, ContentType="application/json", IfNoneMatch="*"
            )
        except ClientError as error:
            # 409: somebody else writes it at this moment (S3 user guide, "conditional writes").
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise Unavailable("The file store does not answer. Try again in a moment.") from error
        except BotoCoreError as error:
            raise Unavailable("The file store cannot be reached. Try again in a moment.") from error
        return True

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
