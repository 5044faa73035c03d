"""What people have set up survives the loss of its tables and of the catalog."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, Timings
from chalicelib.contract.ports import Claimed, Lease
from chalicelib.ledger import DynamoLedger
from infra.backup import Vault, open_backup
from infra.keys import Doorkeeper
from tests.conftest import make_table
from tests.jobs import NOW, new_job, output


@pytest.fixture
def outputs(aws: boto3.Session, resources: dict[str, Any]) -> dict[str, str]:
    return new_stage(aws, resources)


def new_stage(aws: boto3.Session, resources: dict[str, Any]) -> dict[str, str]:
    """Make empty tables and a bucket of the deployed shape, under names of their own."""
    names = ("KeysTable", "SheetsTable", "RatesTable", "WebhooksTable")
    tables = {name: make_table(aws.client("dynamodb"), resources[name]["Properties"]) for name in names}
    bucket = f"backup-{uuid4().hex[:10]}"
    aws.client("s3").create_bucket(Bucket=bucket)
    return {**tables, "Bucket": bucket, "SecretsPrefix": f"/test/{uuid4().hex[:8]}"}


def furnish(aws: boto3.Session, outputs: dict[str, str]) -> None:
    """Leave in a stage what its people would have: a key, a sheet, a webhook with a delivery, a workflow."""
    keeper = Doorkeeper(aws, outputs)
    keeper.maker.new_api("studio-a", {"scopes": "read", "note": "nightly"})
    keeper.new_sheet("studio-a", "sheet-1")
    keeper.registry.set_auto("sheet-1", 0, on=True)
    dynamodb = aws.client("dynamodb")
    endpoint = {"pk": {"S": "E#studio-a"}, "sk": {"S": "wh_1"}, "url": {"S": "https://example.com/"}, "n": {"N": "1"}}
    delivery = {"pk": {"S": "D#studio-a#wh_1"}, "sk": {"S": "d1"}, "ttl": {"N": "1"}}
    for item in (endpoint, delivery):
        dynamodb.put_item(TableName=outputs["WebhooksTable"], Item=item)
    put(aws, outputs, "workflows/by-hash/aa.json", b'{"id": "a"}')
    put(aws, outputs, "workflows/index.json", b'{"a": "aa"}')
    put(aws, outputs, "outputs/studio-a/1.png", b"picture")


def put(aws: boto3.Session, outputs: dict[str, str], key: str, content: bytes) -> None:
    aws.client("s3").put_object(Bucket=outputs["Bucket"], Key=key, Body=content)


def rows(aws: boto3.Session, table: str) -> list[str]:
    items = aws.client("dynamodb").scan(TableName=table, ConsistentRead=True)["Items"]
    return sorted(json.dumps(item, sort_keys=True) for item in items if "ttl" not in item)


def test_a_stage_comes_back_in_empty_tables(
    aws: boto3.Session, resources: dict[str, Any], outputs: dict[str, str], tmp_path: Path
) -> None:
    """Every item and workflow file is as it was; pictures and what expires are not in the file, nor is any secret."""
    furnish(aws, outputs)
    file = tmp_path / "b.zip"
    assert Vault(aws, outputs).save(file, "prod") == {
        "KeysTable": 2,
        "SheetsTable": 1,
        "WebhooksTable": 1,
        "workflow files": 2,
    }
    assert file.stat().st_mode & 0o777 == 0o600
    elsewhere = new_stage(aws, resources)
    with open_backup(file) as zipped:
        assert not [name for name in zipped.namelist() if "outputs/" in name]
        told = Vault(aws, elsewhere).restore(zipped, write=False, replace=False)
        assert told["KeysTable"].missing == 2 and rows(aws, elsewhere["KeysTable"]) == []
        Vault(aws, elsewhere).restore(zipped, write=True, replace=False)
        text = b"".join(zipped.read(name) for name in zipped.namelist())
    for name in ("KeysTable", "SheetsTable", "WebhooksTable"):
        assert rows(aws, elsewhere[name]) == rows(aws, outputs[name]) != []
    s3 = aws.client("s3")
    assert s3.get_object(Bucket=elsewhere["Bucket"], Key="workflows/index.json")["Body"].read() == b'{"a": "aa"}'
    kept = aws.client("ssm").get_parameters_by_path(Path=outputs["SecretsPrefix"], Recursive=True, WithDecryption=True)
    secrets = [each["Value"].encode() for each in kept["Parameters"]]
    assert secrets and not [secret for secret in secrets if secret in text]


def test_a_restore_puts_back_what_is_missing_and_leaves_what_is_newer(
    aws: boto3.Session, outputs: dict[str, str], tmp_path: Path
) -> None:
    """What changed since stays, unless --replace asks for the file's; what is new stays in any case; twice is once."""
    furnish(aws, outputs)
    vault, table = Vault(aws, outputs), outputs["WebhooksTable"]
    vault.save(tmp_path / "b.zip", "prod")
    before = rows(aws, table)
    dynamodb, key = aws.client("dynamodb"), {"pk": {"S": "E#studio-a"}, "sk": {"S": "wh_1"}}
    dynamodb.put_item(TableName=table, Item={**key, "url": {"S": "https://new.example.com/"}})
    dynamodb.put_item(TableName=table, Item={**key, "sk": {"S": "wh_2"}})
    changed = rows(aws, table)
    aws.client("s3").delete_object(Bucket=outputs["Bucket"], Key="workflows/by-hash/aa.json")
    with open_backup(tmp_path / "b.zip") as zipped:
        for _ in range(2):
            count = vault.restore(zipped, write=True, replace=False)["WebhooksTable"]
            assert (count.missing, count.different, count.same) == (0, 1, 0)
            assert rows(aws, table) == changed
        assert vault.restore(zipped, write=False, replace=False)["workflow files"].missing == 0
        vault.restore(zipped, write=True, replace=True)
    assert set(rows(aws, table)) == {*before, json.dumps({**key, "sk": {"S": "wh_2"}}, sort_keys=True)}


def test_a_table_of_another_time_is_read_by_its_ending(
    aws: boto3.Session, outputs: dict[str, str], tmp_path: Path
) -> None:
    """What DynamoDB restored beside the live table goes back into it item by item, as operating.md says."""
    furnish(aws, outputs)
    dynamodb, names = aws.client("dynamodb"), ("KeysTable", "SheetsTable", "WebhooksTable")
    kept = {name: rows(aws, outputs[name]) for name in names}
    for name in names:
        table = outputs[name]
        dynamodb.restore_table_to_point_in_time(
            SourceTableName=table, TargetTableName=f"{table}-restored", UseLatestRestorableTime=True
        )
    for item in dynamodb.scan(TableName=outputs["KeysTable"])["Items"]:
        dynamodb.delete_item(TableName=outputs["KeysTable"], Key={"key_id": item["key_id"]})
    then = {**outputs, **{name: f"{outputs[name]}-restored" for name in names}}
    Vault(aws, then).save(tmp_path / "b.zip", "prod")
    with open_backup(tmp_path / "b.zip") as zipped:
        count = Vault(aws, outputs).restore(zipped, write=True, replace=False)["KeysTable"]
    assert count.told(wrote=True, replaced=False) == "2 put back, 0 left though different, 0 as they were"
    assert {name: rows(aws, outputs[name]) for name in names} == kept
    with pytest.raises(Rejected, match=r"There is no table .*-other\."):
        Vault(aws, {**outputs, "KeysTable": f"{outputs['KeysTable']}-other"}).save(tmp_path / "c.zip", "prod")
    assert not (tmp_path / "c.zip").exists()


def test_the_jobs_table_comes_back_under_its_own_name(aws: boto3.Session, resources: dict[str, Any]) -> None:
    """
    The way of operating.md: restored beside, backed up, deleted, restored in place; nothing that workers need is lost.

    Jobs that were waiting or under way then are still on the sweeper's list, and are claimed and committed as ever.
    """
    dynamodb = aws.client("dynamodb")
    table = make_table(dynamodb, resources["JobsTable"]["Properties"])
    ledger = DynamoLedger(dynamodb, table)
    waiting, running = (ledger.submit(new_job()).job for _ in range(2))
    lease = claimed(ledger, running)
    dynamodb.restore_table_to_point_in_time(
        SourceTableName=table, TargetTableName=f"{table}-then", UseLatestRestorableTime=True
    )
    later = ledger.submit(new_job()).job
    arn = dynamodb.create_backup(TableName=f"{table}-then", BackupName="then")["BackupDetails"]["BackupArn"]
    dynamodb.delete_table(TableName=table)
    dynamodb.restore_table_from_backup(TargetTableName=table, BackupArn=arn)
    assert ledger.get(later.job_id) is None
    assert set(ledger.due(NOW + 3_600_000, 10)) == {waiting.job_id, running.job_id}
    assert ledger.commit(lease, now=NOW + 1, outputs=[output()], timings=Timings())
    assert ledger.commit(claimed(ledger, waiting), now=NOW + 1, outputs=[output()], timings=Timings())


def claimed(ledger: DynamoLedger, job: Job) -> Lease:
    answer = ledger.claim(job.job_id, job.seq, owner="worker-1", token="t", now=NOW, lease_ms=60_000)
    assert isinstance(answer, Claimed)
    return answer.lease


def test_what_is_no_backup_is_told(tmp_path: Path) -> None:
    """No file, another file, another format: a sentence each."""
    with pytest.raises(Rejected, match=r"There is no file .*none\.zip"):
        open_backup(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(Rejected, match=r"text\.zip is no backup"):
        open_backup(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as zipped:
        zipped.writestr("about.json", '{"format": 2}')
    with pytest.raises(Rejected, match=r"is of format 2; this clone reads 1"):
        open_backup(tmp_path / "new.zip")
