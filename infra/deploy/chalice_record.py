"""Keep what Chalice noted of its last run on a stage, and whether that run came to its end, in the artefact bucket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from infra import stack

if TYPE_CHECKING:
    from boto3.session import Session


@dataclass(frozen=True)
class Record:
    """Find what Chalice noted of its last run: on this machine, else the copy in the artefact bucket."""

    session: Session
    stage: str
    project: Path

    @property
    def path(self) -> Path:
        return self.project / ".chalice" / "deployed" / f"{self.stage}.json"

    def find(self) -> dict[str, Any] | None:
        """Read it; None: there is none."""
        if self.path.exists():
            return dict(json.loads(self.path.read_text()))
        copy = self._read(".json")
        return None if copy is None else dict(json.loads(copy))

    def fetch(self) -> bool:
        """Bring it to where Chalice looks; False when there is none."""
        found = self.find()
        if found is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(found, indent=2))
        return found is not None

    def keep(self) -> None:
        """Copy it to the artefact bucket, which the first template or zip made."""
        bucket, key = self._place(".json")
        stack.make_bucket(self.session.client("s3"), bucket, str(self.session.region_name))
        self.session.client("s3").put_object(Bucket=bucket, Key=key, Body=self.path.read_bytes())

    def begin(self) -> None:
        """Take back that a run came to its end: from now on another is under way, or was cut short."""
        bucket, key = self._place(".finished")
        stack.make_bucket(self.session.client("s3"), bucket, str(self.session.region_name))
        self.session.client("s3").delete_object(Bucket=bucket, Key=key)

    def finish(self, mark: str) -> None:
        """Note beside the record's copy that a run came to its end, and with what."""
        bucket, key = self._place(".finished")
        self.session.client("s3").put_object(Bucket=bucket, Key=key, Body=mark.encode())

    def finished(self) -> str:
        """Return what was noted; empty: no run came to its end since the last began."""
        return (self._read(".finished") or b"").decode()

    def drop(self) -> None:
        """Forget it, here and there."""
        self.path.unlink(missing_ok=True)
        for ending in (".json", ".finished"):
            bucket, key = self._place(ending)
            self.session.client("s3").delete_object(Bucket=bucket, Key=key)

    def api_id(self) -> str:
        """Say which API Chalice made; empty: none."""
        resources = (self.find() or {}).get("resources", [])
        return next((str(one["rest_api_id"]) for one in resources if one.get("resource_type") == "rest_api"), "")

    def _read(self, ending: str) -> bytes | None:
        bucket, key = self._place(ending)
        try:
            return self.session.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket"):
                return None
            raise

    def _place(self, ending: str) -> tuple[str, str]:
        account = self.session.client("sts").get_caller_identity()["Account"]
        return stack.artefacts(account, str(self.session.region_name)), f"chalice/{self.stage}{ending}"
