"""
`deploy --via-chalice` against the local cloud, as far as that goes.

MiniStack 1.5.33 drops the body of ImportRestApi, so the API has no routes, and it knows no PutRestApi, which Chalice
sends from the second time on. Roles, functions, mappings and settings are what AWS would have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from infra.functions import COMPLETION, FUNCTIONS, SCALE, SWEEP
from sandbox.cloud import LocalCloud
from tests.journeys.stage_maker import Operator
from tests.sizes import before_release

pytestmark = before_release
STAGE = "trial"


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Give an operator whose stage was deployed by Chalice."""
    with LocalCloud() as cloud:
        cloud.start(tmp_path_factory.mktemp("cloud"))
        operator = Operator(tmp_path_factory.mktemp("operator"), cloud)
        printed = operator.deploy(STAGE, "--via-chalice", "--set", "SweepReservedConcurrency=1")
        assert "Reusing existing deployment package" in printed, "both ways deploy the same zip"
        yield operator


def test_functions_have_their_names_roles_and_variables(operator: Operator) -> None:
    """Each has the name, policy and environment that the one-stack way gives it, by name instead of by reference."""
    outputs = json.loads(operator.run("outputs", "--stage", STAGE, "--json"))
    functions, iam = operator.cloud.session().client("lambda"), operator.cloud.session().client("iam")
    for function in FUNCTIONS:
        found = functions.get_function_configuration(FunctionName=function.name(STAGE))
        assert found["Environment"]["Variables"]["JOBS_TABLE"] == outputs["JobsTable"]
        assert (found["Environment"]["Variables"]["PUBLIC_URL"] == outputs["ApiUrl"]) is (function.word != "api")
        role = found["Role"].rsplit("/", 1)[1]
        (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
        text = json.dumps(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
        assert f"log-group:/aws/lambda/{function.name(STAGE)}" in text and "Fn::" not in text
    reserved = functions.get_function_concurrency(FunctionName=SWEEP.name(STAGE))
    assert reserved["ReservedConcurrentExecutions"] == 1


def test_what_chalice_cannot_say_is_set(operator: Operator) -> None:
    """Single messages are reported, so many at once, every type is binary, and the throttle holds."""
    session = operator.cloud.session()
    (mapping,) = session.client("lambda").list_event_source_mappings(FunctionName=COMPLETION.name(STAGE))[
        "EventSourceMappings"
    ]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert (mapping["ScalingConfig"], mapping["BatchSize"]) == ({"MaximumConcurrency": 5}, 10)
    api = session.client("apigateway")
    (found,) = api.get_rest_apis()["items"]
    every = api.get_stage(restApiId=found["id"], stageName=STAGE)["methodSettings"]["*/*"]
    assert (every["throttlingRateLimit"], every["throttlingBurstLimit"]) == (100, 200)
    assert "413" in str(api.get_gateway_response(restApiId=found["id"], responseType="REQUEST_TOO_LARGE"))


def test_the_second_run_changes_nothing_also_from_another_clone(operator: Operator) -> None:
    """What Chalice noted is found in the cloud when this machine has lost it."""
    (operator.clone / ".chalice" / "deployed" / f"{STAGE}.json").unlink()
    again = operator.deploy(STAGE, "--via-chalice")
    steps = re.findall(r"^(\w+) +unchanged$", again, re.MULTILINE)
    assert len(steps) == 10 and {"stack", "functions", "address", "settings", "keys"} < set(steps)
    assert "--via-chalice" in operator.deploy(STAGE, code=1), "the other way is refused by a sentence"


def test_a_setting_that_only_outputs_tell_reaches_its_function(operator: Operator) -> None:
    """No resource of the stack changes by it; the stack is updated all the same, and then the queue's mapping."""
    printed = operator.deploy(STAGE, "--via-chalice", "--set", "CompletionConcurrency=4")
    assert "no resource changes" in printed
    lambdas = operator.cloud.session().client("lambda")
    (mapping,) = lambdas.list_event_source_mappings(FunctionName=COMPLETION.name(STAGE))["EventSourceMappings"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 4}
    again = operator.deploy(STAGE, "--via-chalice", "--set", "CompletionConcurrency=4")
    assert re.search(r"^stack +unchanged$", again, re.MULTILINE)


def test_no_secret_is_written_down(operator: Operator) -> None:
    """The stage's section and its policies hold names and addresses."""
    folder = operator.clone / ".chalice"
    texts = [path.read_text() for path in [folder / "config.json", *(folder / "stages" / STAGE).iterdir()]]
    assert len(texts) == 1 + len(FUNCTIONS)
    assert not any(re.search(r"c[kc]_[0-9a-f]{12}_", text) or "PRIVATE KEY" in text for text in texts)


def test_a_policy_that_changes_reaches_its_role(operator: Operator) -> None:
    """Policies name parameters, so a setting alone changes them. The engine lets Chalice come as far as the API."""
    assert "`chalice deploy` failed" in operator.deploy(STAGE, "--via-chalice", "--set", "WorkerGroup=gpus", code=1)
    session = operator.cloud.session()
    found = session.client("lambda").get_function_configuration(FunctionName=SCALE.name(STAGE))
    role, iam = found["Role"].rsplit("/", 1)[1], session.client("iam")
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    text = json.dumps(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
    assert "autoScalingGroupName/gpus" in text


def test_what_was_cut_short_at_the_api_is_done_again(operator: Operator) -> None:
    """The functions are all there, of these sources: that says nothing of the API, which Chalice makes after them."""
    plan = operator.deploy(STAGE, "--via-chalice", "--plan")
    assert all(f"update {function.name(STAGE)}\n" in plan for function in FUNCTIONS)


def test_nothing_is_destroyed_while_functions_would_stay(operator: Operator) -> None:
    """When what Chalice noted is lost, destroy stops and says how it is found again. With it, all goes."""
    session = operator.cloud.session()
    noted = operator.clone / ".chalice" / "deployed" / f"{STAGE}.json"
    text = noted.read_text()
    noted.unlink()
    s3 = session.client("s3")
    (artefacts,) = [one["Name"] for one in s3.list_buckets()["Buckets"] if "artefacts" in one["Name"]]
    s3.delete_object(Bucket=artefacts, Key=f"chalice/{STAGE}.json")
    refused = operator.run("destroy", "--stage", STAGE, "--yes", code=1)
    assert COMPLETION.name(STAGE) in refused and f"deploy --stage {STAGE} --via-chalice" in refused
    assert session.client("cloudformation").describe_stacks(StackName=f"comfysheet-{STAGE}")["Stacks"]
    noted.write_text(text)
    assert f"stage {STAGE} is gone" in operator.run("destroy", "--stage", STAGE, "--yes")
    assert session.client("lambda").list_functions()["Functions"] == []
    assert "chalice/" not in str(s3.list_objects_v2(Bucket=artefacts).get("Contents"))


def test_a_stage_with_functions_and_no_stack_is_not_gone(operator: Operator) -> None:
    """Whoever deleted the stack by hand is told what is left to delete."""
    session = operator.cloud.session()
    role = session.client("iam").create_role(RoleName="left", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    session.client("lambda").create_function(
        FunctionName=SWEEP.name(STAGE),
        Runtime="python3.12",
        Handler="app.sweep",
        Role=role,
        Code={"ZipFile": (operator.clone / "dist" / "deployment.zip").read_bytes()},
    )
    told = operator.run("destroy", "--stage", STAGE, "--yes", code=1)
    assert f"aws lambda delete-function --function-name {SWEEP.name(STAGE)}" in told
