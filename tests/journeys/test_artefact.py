"""The package in dist/ itself, deployed as one stack into the local cloud and called over HTTP."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.group_book import DynamoGroups
from chalicelib.ledger import DynamoLedger
from infra.functions import FUNCTIONS, SCALE, SWEEP
from infra.package import ROOT, build, wheels_run_here
from infra.stack import StackFailed, deploy, environment, read_outputs
from sandbox.cloud import LocalCloud
from sandbox.waiting import wait_until
from tests.jobs import new_job
from tests.sizes import before_release

RESOURCES = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())["Resources"]
ANCHORS = {
    each["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("comfysheet-${Stage}-")
    for each in RESOURCES.values()
    if each["Type"] == "AWS::CloudWatch::Alarm" and "Condition" not in each
}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give dist/; where its Linux wheels do not load, the same app with this machine's dependencies."""
    if wheels_run_here():
        return build(ROOT / "dist").folder
    return build(tmp_path_factory.mktemp("dist"), host_deps=True).folder


@pytest.fixture(scope="module")
def deployed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with LocalCloud() as cloud:
        cloud.start(tmp_path_factory.mktemp("artefact"))
        cloud.deploy(dist)
        yield cloud


def test_the_deployed_app_answers_over_http(deployed: LocalCloud) -> None:
    """GET /health goes through the API to the function and comes back 200 as JSON."""
    with urllib.request.urlopen(f"{deployed.api_url}/health", timeout=60) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("application/json")
        assert isinstance(json.load(answer), dict)


def test_the_completion_reads_its_fifo_queue_and_reports_single_failures(deployed: LocalCloud) -> None:
    """The mapping exists as deployed: enabled, ten a batch, ReportBatchItemFailures on."""
    found = deployed.session().client("lambda").list_event_source_mappings()["EventSourceMappings"]
    (mapping,) = [one for one in found if one["FunctionArn"].endswith(":comfysheet-local-completion")]
    assert mapping["EventSourceArn"].endswith(":comfysheet-local-completions.fifo")
    assert (mapping["State"], mapping["BatchSize"]) == ("Enabled", 10)
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_sweeper_runs_each_minute_and_the_autoscaler_does_not(deployed: LocalCloud) -> None:
    """Both have a rule of one minute; the autoscaler's is off until a pool is named."""
    rules = deployed.session().client("events").list_rules()["Rules"]
    assert {rule["ScheduleExpression"] for rule in rules} == {"rate(1 minute)"}
    assert sorted(rule["State"] for rule in rules) == ["DISABLED", "ENABLED"]


def test_events_are_archived_and_those_of_ended_jobs_reach_the_queue(deployed: LocalCloud) -> None:
    """The rule's pattern lets ends through and nothing else; the archive keeps them for two weeks."""
    session = deployed.session()
    events, sqs = session.client("events"), session.client("sqs")
    for kind in ("Job Started", "Job Failed", "Node Executing"):
        entry = {"Source": "comfyui.monitor", "DetailType": kind, "Detail": json.dumps({"job_id": "j1"})}
        answer = events.put_events(Entries=[{**entry, "EventBusName": deployed.outputs["BusName"]}])
        assert answer["FailedEntryCount"] == 0
    heard = []
    assert wait_until(lambda: heard.extend(_received(sqs, deployed.outputs["EventsQueueUrl"])) or bool(heard))
    assert [event["detail-type"] for event in heard] == ["Job Failed"]
    archive = events.describe_archive(ArchiveName="comfysheet-local")
    assert (archive["RetentionDays"], archive["EventSourceArn"].split("/")[-1]) == (14, "comfysheet-local")


def _received(sqs: Any, url: str) -> list[dict[str, Any]]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def test_the_alarms_and_the_dashboard_stand_as_written(deployed: LocalCloud) -> None:
    """Every alarm of the template is there, with its topic, but those for which there has to be a budget."""
    cloudwatch = deployed.session().client("cloudwatch")
    named = {alarm["AlarmName"]: alarm for alarm in cloudwatch.describe_alarms(MaxRecords=100)["MetricAlarms"]}
    assert set(named) == {f"comfysheet-local-{anchor}" for anchor in ANCHORS}
    assert {tuple(alarm["AlarmActions"]) for alarm in named.values()} == {(deployed.outputs["AlarmTopicArn"],)}
    assert json.loads(cloudwatch.get_dashboard(DashboardName="comfysheet-local")["DashboardBody"])["widgets"]


def test_functions_find_the_stack_by_their_environment(deployed: LocalCloud) -> None:
    """Every function's variables name the resources that the outputs name."""
    functions = deployed.session().client("lambda")
    for function in FUNCTIONS:
        found = functions.get_function_configuration(FunctionName=function.name("local"))
        variables = found["Environment"]["Variables"]
        named = environment(deployed.outputs).items()
        assert {key: value for key, value in named if key in variables} == {
            key: value for key, value in variables.items() if key in environment(deployed.outputs)
        }
        assert variables["PUBLIC_URL"] == deployed.api_url


def test_a_sweep_ends_before_the_next_begins(deployed: LocalCloud) -> None:
    """The sweeper's time limit is below its minute."""
    found = deployed.session().client("lambda").get_function_configuration(FunctionName=SWEEP.name("local"))
    assert found["Timeout"] < 60


def test_deploying_the_same_again_changes_nothing(deployed: LocalCloud, dist: Path) -> None:
    """The second deployment says so and gives the same outputs."""
    lines: list[str] = []
    before = dict(deployed.outputs)
    assert deployed.deploy(dist, say=lines.append) == before
    assert lines == ["comfysheet-local is up to date"]


def test_a_parameter_that_is_not_given_keeps_its_value(deployed: LocalCloud, dist: Path) -> None:
    """An update with one parameter leaves the stage's others as they are."""
    deploy(dist, stage="local", session=deployed.session(), parameters={"LogLevel": "DEBUG"})
    functions = deployed.session().client("lambda")
    variables = functions.get_function_configuration(FunctionName="comfysheet-local")["Environment"]["Variables"]
    assert (variables["LOG_LEVEL"], variables["PUBLIC_URL"]) == ("DEBUG", deployed.api_url)


def test_a_failed_deployment_says_which_resource_and_why(dist: Path, deployed: LocalCloud) -> None:
    """A bucket name that is taken fails the stack, and the sentence names the bucket's resource."""
    name = deployed.outputs["Bucket"].replace("-local-", "-other-")
    deployed.session().client("s3").create_bucket(Bucket=name)
    with pytest.raises(StackFailed, match=r"Bucket \(AWS::S3::Bucket\): "):
        deploy(dist, stage="other", session=deployed.session())


def test_a_wrong_parameter_is_refused_by_name(dist: Path, deployed: LocalCloud) -> None:
    """A misspelt parameter deploys nothing and lists those that exist."""
    with pytest.raises(StackFailed, match=r"no parameter Loglevel; it has .*LogLevel"):
        deploy(dist, stage="local", session=deployed.session(), parameters={"Loglevel": "INFO"})


def test_a_stage_that_does_not_exist_is_named(deployed: LocalCloud) -> None:
    """Asking for the outputs of no stack tells how to make it."""
    with pytest.raises(StackFailed, match="infra deploy --stage nowhere"):
        read_outputs(deployed.session(), "nowhere")


def test_a_worker_is_held_to_its_policy(deployed: LocalCloud) -> None:
    """With the worker's own key the jobs queue can be read, and the jobs table not listed."""
    from boto3.session import Session

    variables = deployed.worker_env()
    worker = Session(variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    endpoint = variables["AWS_ENDPOINT_URL"]
    sqs = worker.client("sqs", endpoint_url=endpoint)
    assert "Messages" not in sqs.receive_message(QueueUrl=variables["JOBS_QUEUE_URL"], WaitTimeSeconds=0)
    dynamodb = worker.client("dynamodb", endpoint_url=endpoint)
    with pytest.raises(dynamodb.exceptions.ClientError, match="AccessDenied"):
        dynamodb.scan(TableName=variables["JOBS_TABLE"])


@before_release
def test_a_kept_cloud_answers_at_the_same_address_after_a_kill(dist: Path, tmp_path: Path) -> None:
    """Links in cells outlive the sandbox: port, API, functions and tables come back, also after SIGKILL."""
    with LocalCloud() as cloud:
        cloud.start(tmp_path, keep=True)
        outputs, address = cloud.deploy(dist), cloud.api_url
        cloud.session().client("dynamodb").put_item(TableName=outputs["JobsTable"], Item={"job_id": {"S": "kept"}})
        cloud.wait_until_saved()
        cloud.kill()
        cloud.start(tmp_path, keep=True)
        assert cloud.deploy(dist) == outputs
        assert cloud.api_url == address
        with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
            assert answer.status == 200
        found = cloud.session().client("dynamodb").scan(TableName=outputs["JobsTable"])
        assert found["Items"] == [{"job_id": {"S": "kept"}}]


def event(kind: str, **detail: str) -> bytes:
    """Write what EventBridge gives a function."""
    about = {"version": "0", "id": "1", "account": "0", "region": "r", "time": "", "source": "aws.x", "resources": []}
    return json.dumps({**about, "detail-type": kind, "detail": detail}).encode()


def test_the_autoscaler_asks_the_workers_group_for_machines(deployed: LocalCloud, dist: Path) -> None:
    """Turned on by parameters: a minute with jobs that wait orders an instance, and its launch is noted."""
    session = deployed.session()
    ledger = DynamoLedger(session.client("dynamodb"), deployed.outputs["JobsTable"])
    for _ in range(3):
        ledger.submit(new_job(now=time.time_ns() // 1_000_000))
    groups: Any = session.client("autoscaling")
    launched_as: dict[str, Any] = {
        "LaunchTemplate": {"LaunchTemplateName": "worker"},
        "AvailabilityZones": ["us-east-1a"],
    }
    groups.create_auto_scaling_group(AutoScalingGroupName="gpu", MinSize=0, MaxSize=4, **launched_as)
    # Its real minute may strike at any time from here on: it finds the jobs too.
    wanted = {
        "ScalePool": "ec2",
        "WorkerGroup": "gpu",
        "ScaleMax": "3",
        "ScaleHourPrice": "0.5",
        "ScaleDayDollars": "9",
    }
    outputs = deploy(dist, stage="local", session=session, parameters=wanted)
    assert all(rule["State"] == "ENABLED" for rule in session.client("events").list_rules()["Rules"])
    functions = session.client("lambda")
    call = {"FunctionName": SCALE.name("local")}
    answer = functions.invoke(**call, Payload=event("Scheduled Event"))
    assert "FunctionError" not in answer, answer["Payload"].read()
    (group,) = groups.describe_auto_scaling_groups(AutoScalingGroupNames=["gpu"])["AutoScalingGroups"]
    assert group["DesiredCapacity"] == 1
    (launched,) = group["Instances"]
    told = {"AutoScalingGroupName": "gpu", "EC2InstanceId": launched["InstanceId"], "StartTime": "2026-11-21T10:00:00Z"}
    answer = functions.invoke(**call, Payload=event("EC2 Instance Launch Successful", **told))
    assert "FunctionError" not in answer, answer["Payload"].read()
    known = DynamoGroups(session.client("dynamodb"), outputs["RatesTable"]).read("gpu")
    assert list(known.instances) == [launched["InstanceId"]] and known.desired == 1
