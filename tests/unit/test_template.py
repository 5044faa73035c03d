"""What infra/template.py makes of Chalice's template, and what the policies say."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from chalicelib.asset import DAY_MS, KEPT_MS
from chalicelib.contract.job import RETENTION_MS, Job, JobError, Progress, Timings
from chalicelib.contract.ports import Lease
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import item_of
from infra.functions import FUNCTIONS, Function
from infra.stack import VARIABLES
from infra.template import TemplateConflict, environment, finish, merge
from tests.jobs import new_job

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())


def function(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "./deployment.zip", **properties}}


# The shape of what `chalice package` (1.34) writes for an app with a route, a queue handler and a schedule.
PACKAGED: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Transform": "AWS::Serverless-2016-10-31",
    "Outputs": {"RestAPIId": {"Value": {"Ref": "RestAPI"}}},
    "Resources": {
        "APIHandler": function(Timeout=20, Environment={"Variables": {"COMPLETIONS_QUEUE_NAME": "literal"}}),
        "Completion": function(
            Events={
                "CompletionSqsEventSource": {
                    "Type": "SQS",
                    "Properties": {
                        "Queue": {"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:literal"},
                        "BatchSize": 10,
                        "MaximumBatchingWindowInSeconds": 0,
                    },
                }
            }
        ),
        "Delivery": function(
            Events={
                "DeliverySqsEventSource": {
                    "Type": "SQS",
                    "Properties": {"Queue": "literal", "BatchSize": 1, "MaximumBatchingWindowInSeconds": 0},
                }
            }
        ),
        "Sweep": function(Events={"SweepEvent": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 minute)"}}}),
        "Scale": function(Events={"ScaleEvent": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 minute)"}}}),
        "RestAPI": {
            "Type": "AWS::Serverless::Api",
            "Properties": {
                "StageName": "api",
                "DefinitionBody": {"swagger": "2.0", "x-amazon-apigateway-binary-media-types": ["image/png"]},
            },
        },
    },
}


def finished() -> dict[str, Any]:
    return finish(PACKAGED, RESOURCES)


def completion_source() -> dict[str, Any]:
    events = finished()["Resources"]["OnCompletion"]["Properties"]["Events"]
    return dict(events["OnCompletionSqsEventSource"]["Properties"])


def test_a_failed_row_does_not_lose_the_batch() -> None:
    """A queue handler's batchItemFailures count only when the mapping asks for them."""
    assert completion_source()["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_event_source_waits_for_the_queue_of_the_same_stack() -> None:
    """The queue is named by reference, so CloudFormation makes it first."""
    assert completion_source()["Queue"] == {"Fn::GetAtt": ["CompletionsQueue", "Arn"]}


def test_a_fifo_source_has_no_batching_window() -> None:
    """SQS refuses a batching window on FIFO queues, and Chalice always writes one."""
    assert "MaximumBatchingWindowInSeconds" not in completion_source()
    assert completion_source()["BatchSize"] == 10


@pytest.mark.parametrize("name", [function.logical for function in FUNCTIONS])
def test_every_function_gets_the_same_environment_by_reference(name: str) -> None:
    """No name of a resource is written by hand in a function's environment."""
    variables = finished()["Resources"][name]["Properties"]["Environment"]["Variables"]
    assert set(variables) == {*environment(), "PUBLIC_URL"}
    assert all(isinstance(value, dict) for value in variables.values())


def test_who_posts_to_strangers_knows_no_secret_of_sheets() -> None:
    """The delivering function reads jobs and the secrets of webhooks: no Google key, no sheet's key, no file."""
    text = json.dumps(policies()["delivery"])
    assert "secretsmanager" not in text and "sheet-keys" not in text and "s3:" not in text
    source = finished()["Resources"]["OnDelivery"]["Properties"]["Events"]["OnDeliverySqsEventSource"]["Properties"]
    assert source["Queue"] == {"Fn::GetAtt": ["DeliveriesQueue", "Arn"]}
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "DeliveryConcurrency"}}


def test_the_api_function_does_not_refer_to_its_own_api() -> None:
    """The API's definition names the function, so the function naming the API would be a circle."""
    variables = finished()["Resources"]["APIHandler"]["Properties"]["Environment"]["Variables"]
    assert "RestAPI" not in json.dumps(variables)


def test_what_is_too_large_for_a_lambda_is_told_the_other_way() -> None:
    """API Gateway refuses it before the app sees it, in the app's own envelope."""
    body = finished()["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    told = body["x-amazon-apigateway-gateway-responses"]["REQUEST_TOO_LARGE"]
    error = json.loads(told["responseTemplates"]["application/json"])["error"]
    assert (told["statusCode"], error["code"]) == (413, "too_large")
    assert "/api/v2/assets/uploads" in error["message"]


def test_what_api_gateway_refuses_by_itself_is_a_sentence_and_a_time() -> None:
    """Beyond the stage's rate, or with no function to take it: the app's envelope and Retry-After, no bare words."""
    body = finished()["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    for kind, status, code in (("THROTTLED", 429, "too_many_requests"), ("DEFAULT_5XX", None, "unavailable")):
        told = body["x-amazon-apigateway-gateway-responses"][kind]
        error = json.loads(told["responseTemplates"]["application/json"])["error"]
        assert (told.get("statusCode"), error["code"]) == (status, code)
        assert error["message"].endswith(".") and set(error) == {"code", "message", "details"}
        # A text in quotes is itself; without them API Gateway looks for a variable of that name.
        assert told["responseParameters"] == {"gatewayresponse.header.Retry-After": "'2'"}


def test_batches_and_inputs_are_kept_as_long_as_is_promised() -> None:
    """A batch as long as its jobs; an input for the days that the API tells as its end."""
    rules = RESOURCES["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    days = {rule["Id"]: rule.get("ExpirationInDays") for rule in rules}
    assert days["batches"] * DAY_MS == RETENTION_MS
    assert days["inputs"] * DAY_MS == KEPT_MS


def test_functions_keep_their_resources_from_release_to_release() -> None:
    """A new logical name would be a second function, and a second mapping, beside the first: AWS refuses both."""
    resources = finished()["Resources"]
    assert {
        name: set(resources[name]["Properties"].get("Events", ()))
        for name in resources
        if "CodeUri" in str(resources[name])
    } == {
        "APIHandler": set(),
        "OnCompletion": {"OnCompletionSqsEventSource"},
        "OnDelivery": {"OnDeliverySqsEventSource"},
        "OnSweep": {"OnSweepEvent"},
        "OnScale": {"OnScaleEvent"},
    }


def test_the_autoscaler_sleeps_until_a_pool_is_named() -> None:
    """Without one its minute never strikes, and nothing is paid for it; the sweeper's always does."""
    resources = finished()["Resources"]
    (event,) = resources["OnScale"]["Properties"]["Events"].values()
    assert event["Properties"]["State"] == {"Fn::If": ["Scales", "ENABLED", "DISABLED"]}
    (sweep,) = resources["OnSweep"]["Properties"]["Events"].values()
    assert "State" not in sweep["Properties"]
    assert RESOURCES["Parameters"]["ScalePool"]["Default"] == ""


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.word)
def test_a_function_logs_under_its_name(function: Function) -> None:
    """The log group is the one that Lambda would choose, so both are found by one name."""
    resources = finished()["Resources"]
    name = resources[function.logical]["Properties"]["FunctionName"]["Fn::Sub"]
    assert resources[function.logical]["Properties"]["LoggingConfig"] == {"LogGroup": {"Ref": f"{function.title}Logs"}}
    assert resources[f"{function.title}Logs"]["Properties"]["LogGroupName"] == {"Fn::Sub": f"/aws/lambda/{name}"}


def test_the_zip_is_told_by_parameters() -> None:
    """The template is deployed byte for byte; where the code lies is a parameter."""
    properties = finished()["Resources"]["OnSweep"]["Properties"]
    assert properties["CodeUri"] == {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}}


def test_a_name_in_both_is_refused() -> None:
    """A resource that the app and resources.yaml both define is a conflict, not a silent overwrite."""
    with pytest.raises(TemplateConflict, match=r"Resources.*: Bus"):
        merge({"Resources": {"Bus": {}}}, {"Resources": {"Bus": {}, "Other": {}}})


def test_an_app_without_its_handlers_is_refused() -> None:
    """The finished template is for this app: a missing handler is said by name."""
    without = deepcopy(PACKAGED)
    del without["Resources"]["Sweep"]
    with pytest.raises(TemplateConflict, match="no Sweep"):
        finish(without, RESOURCES)


def test_finishing_changes_no_argument() -> None:
    """The step is pure: what went in is as it was."""
    packaged, resources = deepcopy(PACKAGED), deepcopy(RESOURCES)
    finish(packaged, resources)
    assert (packaged, resources) == (PACKAGED, RESOURCES)


def test_every_output_that_a_worker_needs_exists() -> None:
    """The variables of stack.environment are all outputs of the template."""
    assert set(VARIABLES.values()) <= set(finished()["Outputs"])


def references(value: Any) -> set[str]:
    """Return the logical names that *value* refers to."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return {value["Ref"]}
        if set(value) == {"Fn::GetAtt"}:
            return {value["Fn::GetAtt"][0]}
        return set().union(*map(references, value.values()), set())
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def policies() -> dict[str, list[dict[str, Any]]]:
    found = {
        path.stem.removeprefix("policy-"): json.loads(path.read_text())["Statement"]
        for path in (ROOT / ".chalice").glob("policy-*.json")
    }
    worker = RESOURCES["Resources"]["WorkerPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    return {**found, "worker": worker}


@pytest.mark.parametrize("who", ["api", "completion", "delivery", "sweep", "scale", "worker"])
def test_no_policy_says_everything(who: str) -> None:
    """Every statement names its actions, and a resource that is ours."""
    for statement in policies()[who]:
        assert all("*" not in action for action in statement["Action"]), statement["Sid"]
        listed = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for resource in listed:
            text = resource.get("Fn::Sub", "") if isinstance(resource, dict) else resource
            assert text != "*", statement["Sid"]
            assert references(resource) & set(RESOURCES["Resources"]) or "${" in text, statement["Sid"]


def test_what_each_may_do_is_written_here_too() -> None:
    """A wider policy is a decision: it changes this list as well."""
    actions = {who: sorted({action for s in found for action in s["Action"]}) for who, found in policies().items()}
    assert actions == json.loads((ROOT / "tests/data/infra/actions.json").read_text())


def test_a_worker_cannot_reach_prompts_of_others_or_delete() -> None:
    """A stolen worker key lists nothing, deletes no file or job, and reads no finished picture."""
    allowed = {action for statement in policies()["worker"] for action in statement["Action"]}
    of_jobs = {
        action
        for statement in policies()["worker"]
        if "WorkersTable" not in json.dumps(statement["Resource"])
        for action in statement["Action"]
    }
    assert not of_jobs & {"dynamodb:Scan", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:DeleteItem"}
    assert not allowed & {"s3:ListBucket", "s3:DeleteObject"}
    reads = [s["Resource"] for s in policies()["worker"] if "s3:GetObject" in s["Action"]]
    assert "outputs" not in json.dumps(reads)


class RecordingTable:
    """Answer every update with the job as it was, and note which attributes the call names."""

    def __init__(self, job: Job) -> None:
        self.item = item_of(job)
        self.touched: set[str] = set()

    def update_item(self, **call: Any) -> dict[str, Any]:
        text = f"{call['UpdateExpression']} {call['ConditionExpression']}"
        names = call.get("ExpressionAttributeNames", {})
        for word in re.findall(r"[#:]?\w+", text):
            if word.startswith("#"):
                self.touched.add(names[word])
            elif re.fullmatch(r"[a-z_]+", word) and not word.startswith("attribute_"):
                self.touched.add(word)
        self.touched |= set(call["Key"])
        return {"Attributes": self.item}


def test_a_worker_writes_the_attributes_of_its_moves_and_no_others() -> None:
    """The worker's policy lists exactly what claim, heartbeat, release, retry, commit, fail and give-up touch."""
    job = new_job()
    table = RecordingTable(job)
    ledger = DynamoLedger(cast(Any, table), "jobs")
    lease, error = Lease(job.job_id, 1, "token"), JobError(code="x", text="y")
    ledger.claim(job.job_id, job.seq, owner="me", token="token", now=1, lease_ms=1)
    ledger.heartbeat(lease, until=1, phase="rendering", progress=Progress(fraction=0.5), spent_ms=1)
    ledger.release(lease, now=1, given_back=1)
    ledger.retry(lease, now=1, not_before=2, error=error)
    ledger.commit(lease, now=1, outputs=[], timings=Timings())
    ledger.fail(lease, now=1, error=error)
    ledger.give_up(job, now=1, error=error)
    (write,) = [s for s in policies()["worker"] if "dynamodb:UpdateItem" in s["Action"]]
    assert sorted(table.touched) == write["Condition"]["ForAllValues:StringEquals"]["dynamodb:Attributes"]
    assert not table.touched & {"client_id", "target", "created_at", "workflow_hash", "inputs"}


def queues() -> dict[str, dict[str, Any]]:
    every = RESOURCES["Resources"].items()
    return {name: resource["Properties"] for name, resource in every if resource["Type"] == "AWS::SQS::Queue"}


def test_every_queue_is_kept_encrypted_and_refuses_plain_http() -> None:
    """14 days of retention, encryption at rest, and a policy that denies requests without TLS."""
    refusing = set()
    for resource in RESOURCES["Resources"].values():
        if resource["Type"] == "AWS::SQS::QueuePolicy":
            first = resource["Properties"]["PolicyDocument"]["Statement"][0]
            first = first["Fn::If"][1] if "Fn::If" in first else first
            (queue,) = resource["Properties"]["Queues"]
            if first["Effect"] == "Deny" and first["Resource"]["Fn::GetAtt"][0] == queue["Ref"]:
                refusing.add(queue["Ref"])
    assert refusing == set(queues())
    assert len(queues()) == 8
    for name, queue in queues().items():
        days = 4 if name == "EventsQueue" else 14  # a queue of copies, which nobody may read
        assert (queue["MessageRetentionPeriod"], queue["SqsManagedSseEnabled"]) == (days * 86400, True), name


def test_truth_and_pictures_outlive_the_stack() -> None:
    """Deleting or replacing the stack's resources leaves jobs, keys and files."""
    for name in ("JobsTable", "KeysTable", "RatesTable", "WebhooksTable", "Bucket"):
        resource = RESOURCES["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
