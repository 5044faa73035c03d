"""S13: whoever holds a worker's key can take jobs and add files, and nothing else; what he writes opens nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import Shape
from botocore.session import Session

from chalicelib.api_parts import Call
from chalicelib.contract.job import Output
from infra.package import ROOT
from sandbox.world import World
from tests.gallery.desk import TOKEN, Desk, ended_job
from tests.jobs import output
from tests.security.figures import Note, of_size
from tests.security.two_tenants import BY_NAME, LINK_BASE, Office, Tenant
from tests.unit.test_assets import Depot

pytestmark = pytest.mark.timeout(400)

POLICY = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())["Resources"]["WorkerPolicy"]["Properties"]
MAY = {
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"),
    *("sqs:SendMessage", "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:PutItem", "dynamodb:DeleteItem"),
    *("dynamodb:Scan", "s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "events:PutEvents"),
}
"""What a worker may, on resources that the policy names one by one."""
SERVICES = (
    *("dynamodb", "dynamodbstreams", "sqs", "s3", "s3control", "events", "scheduler", "ssm", "secretsmanager", "kms"),
    *("iam", "sts", "lambda", "logs", "cloudwatch", "cloudformation", "ec2", "autoscaling", "sns", "apigateway"),
    *("resourcegroupstaggingapi", "organizations", "cloudtrail", "ecr", "pipes", "stepfunctions"),
)
PREFIXES = {"dynamodbstreams": "dynamodb", "s3control": "s3", "resourcegroupstaggingapi": "tag"}
ASKED_OF_THE_ENGINE = ("dynamodb", "sqs", "s3", "events", "ssm", "secretsmanager", "iam", "lambda", "logs", "sts")
OPEN_TO_ALL = {"sts:GetCallerIdentity", "sts:GetSessionToken"}
"""IAM lets every user ask who he is, and for short-lived keys that may no more than he (IAM user guide)."""
UNKNOWN_ACTIONS = {"sqs:SendMessageBatch", "sqs:DeleteMessageBatch", "events:PutEvents"}
"""The sandbox opens these besides, for what its engine asks beyond AWS (sandbox.cloud)."""
UNCHECKED_MOST = 7
"""MiniStack 1.5.33 asks no policy about seven actions of Lambda; that it asks about the others is to be seen."""


def test_every_other_action_is_denied_by_the_policy(note: Note) -> None:
    """All operations that boto3 knows of these services, against the policy's text; no wildcard, no `*` resource."""
    allowed = {action for one in POLICY["PolicyDocument"]["Statement"] for action in one["Action"]}
    resources = json.dumps([one["Resource"] for one in POLICY["PolicyDocument"]["Statement"]])
    assert allowed == MAY and '"*"' not in resources and not any("*" in action for action in allowed)
    session, tried, through = Session(), 0, []
    for service in SERVICES:
        model = session.get_service_model(service)
        prefix = {"dynamodbstreams": "dynamodb", "s3control": "s3", "resourcegroupstaggingapi": "tag"}.get(
            service, service
        )
        for operation in model.operation_names:
            action = f"{prefix}:{operation}"
            if action in MAY:
                continue
            tried += 1
            through += [action] if any(fnmatchcase(action, pattern) for pattern in allowed) else []
    note("S13", "other actions that a worker's policy allows", tried, through, services=len(SERVICES))


def test_every_other_action_is_denied_to_a_workers_key(stack: World, note: Note) -> None:
    """Asked of the running stack with a worker's own key, at what is there: its tables, queues, files, secrets."""
    variables = stack.cloud.worker_env("thief")
    worker = boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    nobody, outputs = _nobody(stack), stack.cloud.outputs
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=10)
    tried, denied, through, unchecked, other = 0, 0, [], [], []
    for service in ASKED_OF_THE_ENGINE:
        client, nobodys = (
            each.client(service, endpoint_url=variables["AWS_ENDPOINT_URL"], config=config) for each in (worker, nobody)
        )
        model = Session().get_service_model(service)
        for operation in list(model.operation_names)[:: of_size(6, 1)]:
            action = f"{service}:{operation}"
            if action in MAY | OPEN_TO_ALL | UNKNOWN_ACTIONS:
                continue
            tried += 1
            shape = model.operation_model(operation).input_shape
            given = _filled(shape, outputs) if shape else {}
            answer = _answer(client, operation, given)
            if answer:
                denied += "AccessDenied" in answer
                other += [] if "AccessDenied" in answer else [f"{action} {answer}"]
            elif _answer(nobodys, operation, given):
                through.append(action)
            else:
                unchecked.append(action)
    what = "other actions that a worker's key could do in the local cloud"
    note("S13", what, tried, through, denied=denied, unchecked=" ".join(unchecked))
    assert denied > tried / 2, other
    assert len(unchecked) <= UNCHECKED_MOST and all(each.startswith("lambda:") for each in unchecked), unchecked


def _nobody(stack: World) -> boto3.Session:
    """Make a user without any policy: what the engine lets him do it checks for no one."""
    iam: Any = stack.cloud.session().client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")


def _answer(client: Any, operation: str, given: Any) -> str:
    """Ask, and give the code of what was refused; empty: it was done."""
    try:
        client._make_api_call(operation, given)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except (BotoCoreError, ValueError, TypeError, AttributeError) as error:
        return type(error).__name__
    return ""


def _filled(shape: Shape, outputs: dict[str, str], depth: int = 0) -> Any:
    """Fill in what an operation must be given: names of what is there, where its name says what it wants."""
    if shape.type_name == "structure":
        return {name: _value(name, shape.members[name], outputs, depth) for name in shape.required_members}
    if shape.type_name == "list":
        return [_filled(shape.member, outputs, depth + 1)] if depth < 6 else []
    if shape.type_name == "map":
        return {}
    plain: dict[str, Any] = {"integer": 1, "long": 1, "boolean": False, "blob": b"x", "timestamp": 0, "double": 1.0}
    return plain.get(shape.type_name, (getattr(shape, "enum", None) or ["x"])[0])


def _value(name: str, shape: Shape, outputs: dict[str, str], depth: int) -> Any:
    known = {
        "TableName": outputs["KeysTable"],
        "QueueUrl": outputs["CompletionsQueueUrl"],
        "Bucket": outputs["Bucket"],
        "Name": f"{outputs['SecretsPrefix']}/sheet-keys/x",
        "FunctionName": "comfysheet-local-api",
        "UserName": "thief",
        "UploadId": "x",
    }
    if shape.type_name == "string" and name in known:
        return known[name]
    return _filled(shape, outputs, depth + 1)


def test_a_workers_own_actions_reach_no_other_resource(town: tuple[Office, Tenant, Tenant], note: Note) -> None:
    """What it may do at the jobs queue it may not at another, and so on, with every table, queue and folder."""
    office, east, _ = town
    variables = office.cloud.worker_env("thief")
    worker = boto3.Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    through: list[str] = []
    tried = 0
    for what, call in _elsewhere(worker, variables["AWS_ENDPOINT_URL"], office.outputs, east):
        tried += 1
        try:
            call()
            through.append(what)
        except ClientError as error:
            if "AccessDenied" not in error.response["Error"]["Code"]:
                through.append(f"{what}: {error}")
    note("S13", "a worker's own actions on what is not its own", tried, through)


def _elsewhere(worker: Any, endpoint: str, outputs: dict[str, str], them: Tenant) -> Iterator[tuple[str, Any]]:
    def client(name: str) -> Any:
        return worker.client(name, endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))

    dynamodb, sqs, s3 = client("dynamodb"), client("sqs"), client("s3")
    key = {"key_id": {"S": them.key.split("_")[1]}}
    for name in ("KeysTable", "NoncesTable", "RatesTable", "SheetsTable", "WebhooksTable", "WorkersTable", "JobsTable"):
        table = outputs[name]
        if name != "JobsTable":
            yield f"GetItem {name}", lambda table=table: dynamodb.get_item(TableName=table, Key=key)
            yield f"UpdateItem {name}", lambda table=table: dynamodb.update_item(TableName=table, Key=key)
        if name != "WorkersTable":
            yield f"PutItem {name}", lambda table=table: dynamodb.put_item(TableName=table, Item=key)
            yield f"DeleteItem {name}", lambda table=table: dynamodb.delete_item(TableName=table, Key=key)
            yield f"Scan {name}", lambda table=table: dynamodb.scan(TableName=table)
        yield f"Query {name}", lambda table=table: dynamodb.query(TableName=table, KeyConditionExpression="a = :a")
    for name in ("CompletionsQueueUrl", "DeliveriesQueueUrl", "JobsDeadLettersUrl", "EventsQueueUrl"):
        url = outputs[name]
        yield f"ReceiveMessage {name}", lambda url=url: sqs.receive_message(QueueUrl=url)
        yield f"PurgeQueue {name}", lambda url=url: sqs.purge_queue(QueueUrl=url)
        yield f"DeleteMessage {name}", lambda url=url: sqs.delete_message(QueueUrl=url, ReceiptHandle="x")
    yield "SendMessage JobsQueue", lambda: sqs.send_message(QueueUrl=outputs["JobsQueueUrl"], MessageBody="x")
    bucket = outputs["Bucket"]
    job_id = them.ids["job_id"][1]
    for folder in (
        f"outputs/{them.name}/{job_id}/1/0-a.png",
        f"runs/{them.name}/{job_id}/1.jsonl",
        "batches/x",
        "backups/x",
    ):
        yield f"GetObject {folder}", lambda key=folder: s3.get_object(Bucket=bucket, Key=key)
        yield f"DeleteObject {folder}", lambda key=folder: s3.delete_object(Bucket=bucket, Key=key)
    for folder in ("workflows/index.json", f"inputs/{them.name}/x", "batches/x", "x", "outputs", "runs"):
        yield f"PutObject {folder}", lambda key=folder: s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    yield "ListBucket", lambda: s3.list_objects_v2(Bucket=bucket)


FOREIGN_KEYS = [
    *("workflows/index.json", "workflows/by-hash/x.json", "batches/rival/x.json", "inputs/rival/" + "a" * 64),
    *("outputs/rival/JOB/1/0-a.png", "outputs/client-1/another-job/1/0-a.png", "runs/rival/JOB/1.jsonl", "backups/x"),
    *(
        "outputs/client-1/JOB",
        "outputs/client-1/JOBx/1/0-a.png",
        "outputs/client-1/../rival/JOB/1/0-a.png",
        "",
        "/",
        "..",
    ),
    *("/outputs/client-1/JOB/1/0-a.png", "outputs//client-1/JOB/1/0-a.png", "OUTPUTS/client-1/JOB/1/0-a.png"),
]
"""What a thief might write into his job as its output."""


def test_no_file_is_lent_that_is_not_the_jobs_own(note: Note) -> None:
    """The list of outputs is a worker's word: link, thumbnail, page, asset and input are held to the job's folder."""
    lent: list[str] = []
    tried = 0
    for key in FOREIGN_KEYS:
        for way in ("file", "thumbnail"):
            tried += 1
            desk = Desk()
            job = ended_job()
            own = f"outputs/client-1/{job.job_id}/1/0-a.txt"
            foreign = key.replace("JOB", job.job_id)
            desk.kept = {own: b"mine", foreign: b"canary"}
            named = (
                {"key": foreign, "thumbnail_key": foreign} if way == "file" else {"key": own, "thumbnail_key": foreign}
            )
            shown = output().model_copy(
                update={**named, "thumbnail_type": "text/html", "kind": "text", "size_bytes": 6}
            )
            desk.take(job.model_copy(update={"outputs": (shown,)}))
            lent += _lent_by_links(desk, job.job_id)
            lent += _lent_as_an_asset(shown, foreign, job.job_key)
    note("S13", "files lent or read that a worker named and that are not its job's", tried, lent)


def _lent_by_links(desk: Desk, job_id: str) -> list[str]:
    found = []
    for name, path in (("output", {"index": "0"}), ("thumbnail", {"index": "0"}), ("gallery", {})):
        there: Any = type("Lambdas", (), {"link_api": desk.api})()
        call = Call({}, b"", LINK_BASE, {"job_id": job_id, **path}, {"t": TOKEN})
        try:
            answer = BY_NAME[name].answer(there, call)
        except Exception:  # refused: nothing is lent
            continue
        text = str(answer.body) + json.dumps(answer.headers)
        if "canary" in text or answer.status == 302 or (name == "thumbnail" and answer.status == 200):
            found.append(f"{name}: {text[:200]}")
    return found


def _lent_as_an_asset(shown: Output, foreign: str, job_key: str) -> list[str]:
    depot = Depot()
    job = ended_job([shown], job_key=job_key)
    depot.ledger.submit(job)
    depot.store.write(foreign, b"canary")
    asset_id = f"{job.job_id}.{foreign.split('/')[-2] if foreign.count('/') else ''}.0"
    found = [
        depot.assets.find("client-1", asset_id),
        depot.ask("content", asset_id=asset_id, client="client-1").headers,
    ]
    return [str(one) for one in found if one]
