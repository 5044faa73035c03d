"""
Each function's policy, and the worker's, allows exactly what the code can ask for: no more, no less, and on what.

What the code asks for is derived from the source (`aws_calls`). What cannot be read
there stands below, a reason a line.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pytest
import yaml
from botocore import xform_name
from botocore.session import Session

from chalicelib.contract.job import JobError, Progress, Timings
from chalicelib.contract.ports import Lease
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import item_of
from chalicelib.settings import Settings
from infra import template
from tests.house.aws_calls import CLIENTS, ROOT, Call, Source, calls_of, read_source
from tests.jobs import new_job, output

RESOURCES: Final = yaml.safe_load((ROOT / "infra" / "resources.yaml").read_text())
ROOTS: Final = {
    "api": ("app._serve", "chalicelib.operations"),
    "completion": ("app.on_completion",),
    "delivery": ("app.on_delivery",),
    "sweep": ("app.on_sweep",),
    "scale": ("app.on_scale",),
    "worker": ("worker.daemon.main", "worker.doctor.main"),
}
"""Where the work of each begins. A name that is a package stands for all that its modules say."""

NAMED_BY: Final = {
    "jobs_table": "JobsTable",
    "keys_table": "KeysTable",
    "nonces_table": "NoncesTable",
    "rates_table": "RatesTable",
    "sheets_table": "SheetsTable",
    "webhooks_table": "WebhooksTable",
    "workers_table": "WorkersTable",
    "jobs_queue_url": "JobsQueue",
    "jobs_dlq_url": "JobsDeadLetters",
    "completions_queue_url": "CompletionsQueue",
    "completions_dlq_url": "CompletionsDeadLetters",
    "deliveries_queue_url": "DeliveriesQueue",
    "deliveries_dlq_url": "DeliveriesDeadLetters",
    "bus_name": "Bus",
    "bucket": "Bucket",
}
"""Which resource each setting names; a test holds it against what the functions are really given."""

KEYS: Final = {
    "chalicelib.assets.Assets": ["inputs/*"],  # asset_key, hash_key
    "chalicelib.batches.Batches": ["batches/*"],  # record_key, _cancel_key
    "chalicelib.catalog.Catalog": ["workflows/*"],  # the index, base.json, by-hash/
    "chalicelib.link_api.LinkApi": ["outputs/*"],  # the keys that workers' manifests name
    "chalicelib.programs.Programs": ["workflows/by-hash/*"],  # document_key: a program's own graph
    "chalicelib.programs.Programs.again": ["workflows/by-hash/*"],
    "chalicelib.prompting.wildcards": ["workflows/wildcards/*"],  # FOLDER
    "chalicelib.publish.Publisher": ["workflows/by-hash/*", "workflows/index.json"],  # document_key, INDEX_KEY
    "chalicelib.records.Records": ["runs/*"],  # run_key
    "chalicelib.sent_graph.SentGraphs": ["runs/*"],  # run_key
    "worker.deliver.Courier": ["outputs/*"],  # output_prefix
    "worker.settle._Settlement": ["runs/*"],  # run_key
    "worker.pantry.Pantry": ["inputs/*"],  # the asset's key in the job
    "worker.templates.Templates": ["workflows/*"],  # by-hash/
    "worker.doctor.get_object": ["workflows/*"],  # the index
    "worker.doctor.put_object": ["outputs/*"],  # a file of the doctor's own
}
"""Below which keys of the bucket each user of it reads and writes: keys are put together as the program runs."""

SECRETS: Final = {
    "chalicelib.keys.Keys": "sheet-keys",
    "chalicelib.keymaker.KeyMaker": "sheet-keys",
    "chalicelib.webhook_secrets.WebhookSecrets": "webhook-secrets",
}
"""Below which path each reader of SSM works: it is put together likewise."""

SINGLE: Final = {"chalicelib.runpod.Shelf": ("runpod-key", "runpod-order")}
"""Which single secrets each other reader of SSM reads: KEY_PARAMETER, ORDER_PARAMETER."""

NEVER: Final = {
    # work_through is handed world.completions; the queue of deliveries has the same method and would fit as well.
    ("completion", "sqs:DeleteMessage", "DeliveriesQueue"),
    ("completion", "sqs:ChangeMessageVisibility", "DeliveriesQueue"),
    ("completion", "sqs:SendMessage", "DeliveriesDeadLetters"),
    # SheetApi asks Nonces.is_new; Accounts.is_new looks alike. It is asked where jobs end, which is not in the API.
    ("api", "dynamodb:PutItem", "RatesTable"),
    # The doctor says of these two queues that it may not look, which is how it should be.
    ("worker", "sqs:GetQueueAttributes", "CompletionsQueue"),
    ("worker", "sqs:GetQueueAttributes", "JobsDeadLetters"),
}
"""What the derivation finds and is never asked for, or need not be allowed."""

GROUPS: Final = "autoScalingGroup:*:autoScalingGroupName/"
"""What stands before a group's name in its ARN: the sign that only AWS knows, and a constant."""
_TAKES: Final = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
UNSEEN: Final = {
    # Lambda writes the logs and polls the queues with the function's own role (Lambda developer guide).
    *(
        (name, f"logs:{action}", f"{name.title()}Logs")
        for name in ("api", "completion", "delivery", "sweep", "scale")
        for action in ("CreateLogStream", "PutLogEvents")
    ),
    *(("completion", action, "CompletionsQueue") for action in _TAKES),
    *(("delivery", action, "DeliveriesQueue") for action in _TAKES),
    # The client of EC2 Auto Scaling has a protocol of our own (ec2_pool.AutoScaling), which is not followed.
    *(
        ("scale", f"autoscaling:{action}", f"{GROUPS}{group}")
        for action in ("SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup")
        for group in ("${WorkerGroup}", "${WorkerGroupFallback}")
    ),
    # Without it S3 answers 403, not 404, when there is no such file.
    ("api", "s3:ListBucket", "Bucket"),
    ("completion", "s3:ListBucket", "Bucket"),
}
"""What no line of ours asks for."""

ACTIONS: Final = {
    # Service authorization reference: these operations have no action of their own name.
    "sqs:SendMessageBatch": ("sqs:SendMessage",),
    "sqs:DeleteMessageBatch": ("sqs:DeleteMessage",),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:CopyObject": ("s3:GetObject", "s3:PutObject"),
    "s3:CreateMultipartUpload": ("s3:PutObject",),
    "s3:UploadPart": ("s3:PutObject",),
    "s3:CompleteMultipartUpload": ("s3:PutObject",),
}

Allowed = set[tuple[str, str]]
"""Actions, each with what it is allowed on."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return read_source(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="module")
def operations() -> Mapping[str, Mapping[str, str]]:
    """Give the API's name of each method of each client."""
    session = Session()
    return {
        service: {xform_name(name): name for name in session.get_service_model(service).operation_names}
        for service in CLIENTS
    }


def needed(name: str, source: Source, operations: Mapping[str, Mapping[str, str]]) -> Allowed:
    """Say what *name* asks for."""
    modules = source.result.files
    roots = [
        each
        for root in ROOTS[name]
        for each in (
            [root]
            if root in source.functions
            else sorted(module for module in modules if module == root or module.startswith(f"{root}."))
        )
    ]
    asked: Allowed = set()
    for call in calls_of(source, *roots):
        own = f"{call.service}:{operations[call.service][call.operation]}"
        for action in ACTIONS.get(own, (own,)):
            asked |= {(action, on) for on in places(call)}
    unknown = {each[1:] for each in NEVER if each[0] == name} - asked
    assert not unknown, f"NEVER names what is not derived any more: {unknown}"
    return (asked - {each[1:] for each in NEVER if each[0] == name}) | {each[1:] for each in UNSEEN if each[0] == name}


def places(call: Call) -> Iterator[str]:
    """Say on what a call is made, in the words of the template."""
    if call.service == "s3":
        for key in keys_of(call):
            yield f"Bucket/{key}"
    elif call.owner in SINGLE:
        yield from (f"parameter/{name}" for name in SINGLE[call.owner])
    elif call.service == "ssm":
        yield f"parameter/{SECRETS[call.owner]}/*"
    elif call.service == "secretsmanager":
        yield "secret/google"
    else:
        yield NAMED_BY[call.setting] + (f"/index/{call.index}" if call.index else "")


def keys_of(call: Call) -> Iterable[str]:
    """Find the most particular entry of KEYS for who makes the call."""
    owner = call.by.rsplit(".", 1)[0]
    for name in (f"{owner}.{call.operation}", call.by, owner, owner.rsplit(".", 1)[0]):
        if name in KEYS:
            return KEYS[name]
    raise LookupError(f"Below which keys does {call.by} reach the bucket? Say so in KEYS.")


def allowed(statements: Iterable[Mapping[str, Any]]) -> Allowed:
    """Say what a policy allows."""
    found: Allowed = set()
    for statement in statements:
        assert statement["Effect"] == "Allow"
        resources = statement["Resource"]
        for resource in resources if isinstance(resources, list) else [resources]:
            found |= {(action, plain(resource)) for action in statement["Action"]}
    return found


def plain(resource: Mapping[str, Any]) -> str:
    """Write a resource shortly: `JobsTable/index/line`, `Bucket/inputs/*`, `parameter/sheet-keys/*`."""
    if "Fn::GetAtt" in resource:
        name, attribute = resource["Fn::GetAtt"]
        assert attribute == "Arn"
        return str(name)
    text = str(resource["Fn::Sub"])
    text = re.sub(r"^arn:\$\{AWS::Partition\}:\w+:\$\{AWS::Region\}:\$\{AWS::AccountId\}:", "", text)
    text = text.replace("${JobsTable.Arn}", "JobsTable").replace("${WebhooksTable.Arn}", "WebhooksTable")
    text = text.replace("${Bucket.Arn}", "Bucket").replace("parameter/comfysheet/${Stage}/", "parameter/")
    return text.replace("secret:comfysheet/${Stage}/google-??????", "secret/google")


def statements_of(name: str) -> list[dict[str, Any]]:
    if name == "worker":
        document = RESOURCES["Resources"]["WorkerPolicy"]["Properties"]["PolicyDocument"]
    else:
        document = json.loads((ROOT / ".chalice" / f"policy-{name}.json").read_text())
    statements: list[dict[str, Any]] = document["Statement"]
    return statements


@pytest.mark.parametrize("name", ROOTS)
def test_a_policy_allows_what_the_code_asks_for_and_nothing_else(
    name: str, source: Source, operations: Mapping[str, Mapping[str, str]]
) -> None:
    """What a function or a worker can ask AWS for is allowed, on just that thing; nothing else is."""
    asked, may = needed(name, source, operations), allowed(statements_of(name))
    covered = {each for each in asked if any(covers(one, each) for one in may)}
    used = {one for one in may if any(covers(one, each) for each in asked)}
    assert (sorted(asked - covered), sorted(may - used)) == ([], []), "lacks, exceeds"


def covers(one: tuple[str, str], asked: tuple[str, str]) -> bool:
    """Say whether what is allowed holds what is asked: the same, or a folder above."""
    return one[0] == asked[0] and (one[1] == asked[1] or (one[1].endswith("/*") and asked[1].startswith(one[1][:-1])))


def test_every_function_has_a_policy_that_is_looked_at() -> None:
    """No policy file is left out of this comparison."""
    there = {path.stem.removeprefix("policy-") for path in (ROOT / ".chalice").glob("policy-*.json")}
    assert there == set(ROOTS) - {"worker"}


def test_settings_name_the_resources_that_are_compared() -> None:
    """The functions are given the very resources that the table above names."""
    told = template.environment()
    for name, field in Settings.model_fields.items():
        if name in NAMED_BY:
            assert told[str(field.alias)] == {"Ref": NAMED_BY[name]}


def policies() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ROOTS:
        for statement in statements_of(name):
            yield name, statement


def test_no_policy_names_everything() -> None:
    """
    No action holds a star, and no resource is one: at most the end of a path, the six signs of a secret, or the sign
    of its own that AWS puts before a named group.
    """
    for name, statement in policies():
        assert not [action for action in statement["Action"] if "*" in action], name
        resources = statement["Resource"]
        for resource in resources if isinstance(resources, list) else [resources]:
            assert re.fullmatch(r"[^*]+(/\*)?", plain(resource).removeprefix(GROUPS)), (name, resource)


class _Recording:
    """Be a DynamoDB client that notes which attributes an update names."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.item = item
        self.named: set[str] = set()

    def update_item(self, **call: Any) -> dict[str, Any]:
        names = call.get("ExpressionAttributeNames", {})
        text = f"{call['UpdateExpression']} {call['ConditionExpression']}"
        words = re.findall(r"(?<![:\w#])#?[a-z_]+\b(?!\()", text)
        self.named |= {names.get(word, word) for word in words} | set(call["Key"])
        return {"Attributes": dict(self.item)}


def test_a_worker_may_write_the_attributes_that_its_moves_name_and_no_other() -> None:
    """The policy's list is what claim, heartbeat, release, retry, commit, fail and give-up touch."""
    job = new_job()
    client = _Recording(item_of(job))
    ledger, lease = DynamoLedger(client, "jobs"), Lease(job.job_id, 1, "token")  # type: ignore[arg-type]
    error = JobError(code="x", text="x")
    shown = output()
    ledger.claim(job.job_id, 1, owner="w", token="token", now=1, lease_ms=1)
    ledger.heartbeat(lease, until=1, phase="x", progress=Progress.model_construct(), outputs=[shown], spent_ms=1)
    ledger.release(lease, now=1, given_back=1)
    ledger.retry(lease, now=1, not_before=1, error=error)
    ledger.commit(lease, now=1, outputs=[shown], timings=Timings.model_construct())
    ledger.fail(lease, now=1, error=error)
    ledger.give_up(job, now=1, error=error)
    (write,) = [each for each in statements_of("worker") if each["Action"] == ["dynamodb:UpdateItem"]]
    listed = write["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"]
    assert sorted(client.named) == sorted(listed)
    assert not client.named & {"client_id", "target", "inputs", "templates", "webhook", "synced_version"}
