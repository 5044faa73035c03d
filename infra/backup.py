"""
The verbs `backup` and `restore`: what people have set up in a stage, in one file.

That is what cannot be made again from this clone: the keys (hashes of programs' secrets), who owns which spreadsheet,
the webhooks, and the workflow catalog with all its versions. Not in the file: jobs and pictures (they expire; the jobs
table has point-in-time recovery), counters, what expires by itself, and every secret (they stay in Parameter Store and
Secrets Manager, whatever becomes of the tables).

The file is a zip: `about.json`, `tables/<name>.jsonl` (an item a line, in DynamoDB's JSON), `bucket/<key>`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from chalicelib.contract.errors import Rejected
from infra import stack
from infra.release import add_stage_options, session

if TYPE_CHECKING:
    from boto3.session import Session

    Verbs = argparse._SubParsersAction[Any]

    Item = dict[str, Any]

FORMAT: Final = 1
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "KeysTable": ("key_id",),
    "SheetsTable": ("spreadsheet_id",),
    "WebhooksTable": ("pk", "sk"),
}
"""Output of the stack -> its table's key."""
FOLDER: Final = "workflows/"


@dataclass
class Count:
    """Count what a restore finds: put back, there already as it was, there but different."""

    missing: int = 0
    same: int = 0
    different: int = 0

    def told(self, *, wrote: bool, replaced: bool) -> str:
        """Say it in a line, as what was done or as what would be."""
        there = f"{self.same} as they were"
        if not wrote:
            return f"{self.missing} missing, {self.different} different, {there}"
        put = self.missing + (self.different if replaced else 0)
        return f"{put} put back, {self.different if not replaced else 0} left though different, {there}"


class Vault:
    """Copy a stage's settled things out and back."""

    def __init__(self, made: Session, outputs: Mapping[str, str]) -> None:
        self._dynamodb = made.client("dynamodb")
        self._s3 = made.client("s3")
        self._outputs = outputs

    def save(self, file: Path, stage: str) -> dict[str, int]:
        """
        Write everything into *file*, readable by its owner alone; say how much of each. Raises `Rejected`.

        The tables are read one after another while the stage runs: what changes meanwhile may be in or not.
        """
        counts: dict[str, int] = {}
        partial = file.with_name(file.name + ".part")
        with (
            os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw,
            zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as zipped,
        ):
            for name in TABLES:
                items = sorted(json.dumps(item, sort_keys=True) for item in self._items(name))
                zipped.writestr(f"tables/{name}.jsonl", "".join(f"{item}\n" for item in items))
                counts[name] = len(items)
            keys = sorted(self._keys())
            for key in keys:
                zipped.writestr(f"bucket/{key}", self._object(key) or b"")
            counts["workflow files"] = len(keys)
            about = {"format": FORMAT, "stage": stage, "made": datetime.now(UTC).isoformat(timespec="seconds")}
            zipped.writestr("about.json", json.dumps({**about, "counts": counts}, indent=1))
        partial.replace(file)
        return counts

    def restore(self, zipped: zipfile.ZipFile, *, write: bool, replace: bool) -> dict[str, Count]:
        """
        Put back what is missing, and with *replace* also what is different; without *write* only count.

        Nothing is deleted. Repeating it is harmless.
        """
        counts = {name: self._restore_table(name, zipped, write=write, replace=replace) for name in TABLES}
        files = counts["workflow files"] = Count()
        # The indexes last: they never name a version that is not there yet.
        names = sorted(
            (name for name in zipped.namelist() if name.startswith(f"bucket/{FOLDER}")),
            key=lambda name: (name.endswith("/index.json"), name),
        )
        for name in names:
            key, content = name.removeprefix("bucket/"), zipped.read(name)
            there = self._object(key)
            _count(files, there, content)
            if write and (there is None or (replace and there != content)):
                kind = "application/json" if key.endswith(".json") else "text/plain"
                self._s3.put_object(Bucket=self._outputs["Bucket"], Key=key, Body=content, ContentType=kind)
        return counts

    def _restore_table(self, name: str, zipped: zipfile.ZipFile, *, write: bool, replace: bool) -> Count:
        count = Count()
        there = {_key(name, item): item for item in self._items(name)}
        for line in zipped.read(f"tables/{name}.jsonl").decode().splitlines():
            item: Item = json.loads(line)
            present = there.get(_key(name, item))
            _count(count, present, item)
            if write and (present is None or (replace and present != item)):
                self._put(name, item, only_missing=present is None)
        return count

    def _put(self, name: str, item: Item, *, only_missing: bool) -> None:
        request: dict[str, Any] = {"TableName": self._outputs[name], "Item": item}
        if only_missing:  # what was made since we looked is newer than the file
            request["ConditionExpression"] = f"attribute_not_exists({TABLES[name][0]})"
        try:
            self._dynamodb.put_item(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def _items(self, name: str) -> Iterator[Item]:
        """Yield a table's items but those that expire by themselves (deliveries, the book of who waits)."""
        table = self._outputs[name]
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        try:
            for page in pages:
                yield from (dict(item) for item in page["Items"] if "ttl" not in item)
        except self._dynamodb.exceptions.ResourceNotFoundException:
            raise Rejected("no_table", f"There is no table {table}.") from None

    def _keys(self) -> Iterator[str]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._outputs["Bucket"], Prefix=FOLDER):
            yield from (entry["Key"] for entry in page.get("Contents", []))

    def _object(self, key: str) -> bytes | None:
        try:
            return self._s3.get_object(Bucket=self._outputs["Bucket"], Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None


def _key(name: str, item: Item) -> str:
    return json.dumps([item[part] for part in TABLES[name]])


def _count(count: Count, there: object, kept: object) -> None:
    if there is None:
        count.missing += 1
    elif there == kept:
        count.same += 1
    else:
        count.different += 1


def register(verbs: Verbs) -> None:
    """Add the verbs."""
    save = verbs.add_parser("backup", help="write keys, sheets, webhooks and workflows of a stage into one file")
    save.add_argument("file", nargs="?", type=Path, help="default: comfysheet-STAGE-DATE.zip")
    save.add_argument(
        "--suffix", default="", help="read tables of this ending instead, e.g. --suffix=-restored (see operating.md)"
    )
    save.set_defaults(run=_backup)
    back = verbs.add_parser(
        "restore", help="put back what a backup has and the stage lacks; tells first what it would do"
    )
    back.add_argument("file", type=Path, help="what `backup` wrote")
    back.add_argument("--replace", action="store_true", help="also put back what is there but different")
    back.add_argument("--yes", action="store_true", help="do it")
    back.set_defaults(run=_restore)
    for verb in (save, back):
        add_stage_options(verb)


def _vault(arguments: argparse.Namespace, suffix: str = "") -> Vault:
    made = session(arguments)
    outputs = stack.read_outputs(made, arguments.stage)
    return Vault(made, {**outputs, **{name: outputs[name] + suffix for name in TABLES}})


def _backup(arguments: argparse.Namespace) -> int:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    file: Path = arguments.file or Path(f"comfysheet-{arguments.stage}-{today}.zip")
    if not file.parent.is_dir():
        raise Rejected("no_folder", f"There is no folder {file.parent}.")
    for name, count in _vault(arguments, arguments.suffix).save(file, arguments.stage).items():
        print(f"{count:7} {name}")
    print(f"{file}: {file.stat().st_size / 1024:.0f} KB, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}")
    print("It names your clients and spreadsheets, and holds no secret. Keep it private.")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    with open_backup(arguments.file) as zipped:
        about = json.loads(zipped.read("about.json"))
        print(f"{arguments.file}: stage {about['stage']}, made {about['made']}")
        counts = _vault(arguments).restore(zipped, write=arguments.yes, replace=arguments.replace)
    for name, count in counts.items():
        print(f"{name:15} {count.told(wrote=arguments.yes, replaced=arguments.replace)}")
    if not arguments.yes:
        print("Nothing was written. Add --yes to put back what is missing (--replace: also what is different).")
    elif counts["KeysTable"].missing:
        print("A key that was revoked after the backup lives again: look at `python -m infra keys list`.")
    return 0


def open_backup(file: Path) -> zipfile.ZipFile:
    """Open what `backup` wrote. Raises `Rejected` for anything else."""
    try:
        zipped = zipfile.ZipFile(file)
        about = json.loads(zipped.read("about.json"))
    except FileNotFoundError:
        raise Rejected("no_file", f"There is no file {file}.") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise Rejected("no_backup", f"{file} is no backup of ComfySheet.") from None
    if about.get("format") != FORMAT:
        raise Rejected("other_format", f"{file} is of format {about.get('format')}; this clone reads {FORMAT}.")
    return zipped
