"""
`python -m infra deploy` and `destroy` as an operator runs them, against the local cloud.

One stage lives through this module, in the order of the tests: planned, made, used, upgraded, taken away, taken over.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from infra.functions import API
from infra.package import ROOT
from sandbox.cloud import LocalCloud
from sandbox.comfy import ComfyStandIn
from sandbox.waiting import wait_until
from tests.journeys.stage_maker import Operator, Program
from tests.sizes import before_release

STAGE = "local"
KEPT = ["jobs", "keys", "rates", "sheets", "webhooks"]


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Give an operator with a clone and an empty cloud."""
    with LocalCloud() as cloud:
        cloud.start(tmp_path_factory.mktemp("cloud"))
        yield Operator(tmp_path_factory.mktemp("operator"), cloud)


@pytest.fixture(scope="module")
def printed(operator: Operator) -> str:
    """Make the stage; return what was printed, its only key with it."""
    text = operator.deploy(STAGE, "--client", "studio-a")
    operator.cloud.meet(STAGE)
    return text


@pytest.fixture(scope="module")
def program(operator: Operator, printed: str) -> Program:
    return Program(operator.cloud.api_url, key_in(printed))


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyStandIn]:
    with ComfyStandIn(tmp_path_factory.mktemp("comfy"), step_ms=15) as running:
        yield running


def key_in(printed: str) -> str:
    (key,) = re.findall(r"ck_[0-9a-f]{12}_[\w-]{43}", printed)
    return str(key)


def worker(operator: Operator, comfy: ComfyStandIn, command: str) -> subprocess.Popen[str]:
    """Start a worker with the policy of the stage."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    own = {"COMFY_URL": comfy.url, "WAIT_S": "2", "WORKER_NAME": "worker-1"}
    environment = {**kept, **operator.cloud.worker_env(), **own}
    return subprocess.Popen([sys.executable, "-m", "worker", command], cwd=ROOT, env=environment)


def tables(operator: Operator) -> list[str]:
    return sorted(operator.cloud.session().client("dynamodb").list_tables()["TableNames"])


def buckets(operator: Operator) -> list[str]:
    return [bucket["Name"] for bucket in operator.cloud.session().client("s3").list_buckets()["Buckets"]]


def unchanged(printed: str) -> list[str]:
    return re.findall(r"^(\w+) +unchanged$", printed, re.MULTILINE)


def test_a_plan_of_a_new_stage_touches_nothing(operator: Operator) -> None:
    """It says what would be made, and the cloud is as empty as before."""
    text = operator.deploy(STAGE, "--plan")
    assert "create comfysheet-local: " in text and "push txt2img-sdxl" in text and "make the first key" in text
    assert text.rstrip().endswith("nothing was done")
    assert (tables(operator), buckets(operator)) == ([], [])
    text = operator.run("destroy", "--stage", STAGE, "--yes", code=1)
    assert "There is no stage local" in text and "left:" not in text, "nothing was there to leave"
    assert json.loads((operator.clone / ".chalice/config.json").read_text())["stages"] == {}


def test_a_job_goes_round_through_a_deployed_stage(operator: Operator, program: Program, comfy: ComfyStandIn) -> None:
    """The printed key submits over HTTP, a worker with the stage's policy renders, the API tells the end."""
    job_id = program.submit("a fox in the snow")
    assert worker(operator, comfy, "once").wait(90) == 0
    job = program.job(job_id)
    assert (job["status"], len(job["outputs"])) == ("succeeded", 1), job


def test_names_are_written_down_and_no_secret(operator: Operator, printed: str) -> None:
    """`.chalice/config.json` has the stage's outputs; neither key nor code."""
    text = (operator.clone / ".chalice/config.json").read_text()
    section = json.loads(text)["stages"][STAGE]
    assert section["outputs"] == operator.cloud.outputs
    code = re.search(r"cc_[0-9a-f]{12}_([\w-]{43})", printed)
    assert code is not None and code[1] not in text and key_in(printed).split("_", 2)[2] not in text


@pytest.mark.usefixtures("printed")
def test_the_second_run_changes_nothing(operator: Operator) -> None:
    """Every step says so, no second key is made, and a plan finds no change."""
    again = operator.deploy(STAGE, "--client", "studio-a")
    assert unchanged(again) == ["package", "data", "stack", "config", "workflows", "keys"]
    assert "ck_" not in again and "cc_" not in again
    assert operator.deploy(STAGE, "--plan").rstrip().endswith("no change")


@pytest.mark.usefixtures("printed")
def test_a_plan_of_a_change_leaves_no_trace(operator: Operator) -> None:
    """What would change is named, the function keeps its settings, and no change set or template stays behind."""
    session = operator.cloud.session()
    before = session.client("lambda").get_function_configuration(FunctionName=API.name(STAGE))
    (artefacts,) = [name for name in buckets(operator) if "artefacts" in name]
    kept = [one["Key"] for one in session.client("s3").list_objects_v2(Bucket=artefacts)["Contents"]]
    text = operator.deploy(STAGE, "--plan", "--set", "LogLevel=DEBUG")
    assert "modify APIHandler (AWS::Lambda::Function)" in text
    after = session.client("lambda").get_function_configuration(FunctionName=API.name(STAGE))
    assert after["Environment"] == before["Environment"]
    assert session.client("cloudformation").list_change_sets(StackName="comfysheet-local")["Summaries"] == []
    assert [one["Key"] for one in session.client("s3").list_objects_v2(Bucket=artefacts)["Contents"]] == kept


@pytest.mark.usefixtures("printed")
def test_all_faults_are_named_at_once(operator: Operator) -> None:
    """Wrong values, an unknown name and too much concurrency: three sentences, and nothing is done."""
    wrong = ["LogLevel=LOUD", "Colour=red", "ApiReservedConcurrency=100000"]
    text = operator.deploy(STAGE, *(part for one in wrong for part in ("--set", one)), code=1)
    assert "Nothing was done" in text
    for sentence in ("LogLevel=LOUD: must be one of", "no parameter Colour", "this account can spare"):
        assert sentence in text
    assert "deployed with --via-cloudformation" in operator.deploy(STAGE, "--via-chalice", code=1)


@pytest.mark.usefixtures("printed")
def test_another_region_must_be_said(operator: Operator) -> None:
    """Where a stage is stands in `.chalice/config.json`: elsewhere it would be made a second time, without a word."""
    path = operator.clone / ".chalice/config.json"
    written = path.read_text()
    section = json.loads(written)
    section["stages"][STAGE]["region"] = "eu-south-2"
    path.write_text(json.dumps(section))
    assert "Go on there with --region eu-south-2" in operator.deploy(STAGE, "--plan", code=1)
    path.write_text(written)


@before_release
@pytest.mark.timeout(300)
def test_an_upgrade_loses_no_job_in_flight(operator: Operator, program: Program, comfy: ComfyStandIn) -> None:
    """New code is deployed while jobs run and wait, and more come in: every one of them ends with its picture."""
    functions = operator.cloud.session().client("lambda")
    before = functions.get_function_configuration(FunctionName=API.name(STAGE))["CodeSha256"]
    jobs = [program.submit(f"before {number}", steps=60) for number in range(4)]
    working = worker(operator, comfy, "queue")
    try:
        assert wait_until(lambda: any(program.job(job)["status"] != "queued" for job in jobs), look_s=0.3)
        with (operator.clone / "app.py").open("a") as source:
            source.write("\n# A newer release.\n")
        with operator.start("deploy", "--stage", STAGE) as upgrade:
            while not wait_until(lambda: upgrade.poll() is not None, patience_s=2, look_s=0.1) and len(jobs) < 16:
                jobs.append(program.submit(f"meanwhile {len(jobs)}"))
            text, _ = upgrade.communicate(timeout=180)
        assert upgrade.returncode == 0, text
        assert "modify APIHandler" in text and "replace" not in text and "remove" not in text
        assert functions.get_function_configuration(FunctionName=API.name(STAGE))["CodeSha256"] != before
        jobs.append(program.submit("after"))
        open_jobs = set(jobs)

        def all_ended() -> bool:
            open_jobs.difference_update([job for job in open_jobs if program.job(job)["status"] == "succeeded"])
            return not open_jobs

        assert wait_until(all_ended, patience_s=200, look_s=0.5), [program.job(job) for job in open_jobs]
    finally:
        working.send_signal(signal.SIGTERM)
        working.wait(30)
    assert len(jobs) > 5, "some came in while the upgrade went on"


def test_a_killed_deployment_is_gone_on_with(operator: Operator) -> None:
    """SIGKILL while the stack is being made: the next run waits for what is under way, and does the rest."""
    with operator.start("deploy", "--stage", "cut-short", "--set", "RequireTls=false") as first:
        assert first.stdout is not None
        assert any("create complete" in line for line in first.stdout), "the stack was begun"
        os.kill(first.pid, signal.SIGKILL)
    again = operator.deploy("cut-short")
    assert "ck_" in again and "API  " in again
    assert unchanged(operator.deploy("cut-short")) == ["package", "data", "stack", "config", "workflows", "keys"]


def test_destroying_asks_and_keeps_the_data(operator: Operator, program: Program) -> None:
    """Without a yes nothing happens; with it tables and pictures stay, and the next deployment takes them over."""
    job_id = program.submit("kept")
    cloudformation = operator.cloud.session().client("cloudformation")
    topic = {"Resources": {"It": {"Type": "AWS::SNS::Topic"}}}
    cloudformation.create_stack(StackName="comfysheet-local-workers", TemplateBody=json.dumps(topic))
    assert "infra ec2 down --stage local" in operator.run("destroy", "--stage", STAGE, "--yes", code=1)
    cloudformation.delete_stack(StackName="comfysheet-local-workers")
    assert "Nobody can be asked here" in operator.run("destroy", "--stage", STAGE, code=1)
    assert program.job(job_id)["id"] == job_id
    text = operator.run("destroy", "--stage", STAGE, "--yes")
    assert [name for name in tables(operator) if "-local-" in name] == [f"comfysheet-local-{one}" for one in KEPT]
    assert text.count("left: the table") == len(KEPT) and "left: the bucket comfysheet-local-" in text
    assert STAGE not in json.loads((operator.clone / ".chalice/config.json").read_text())["stages"]
    assert text.splitlines()[-1].endswith("python -m infra deploy --stage local --set RequireTls=false")
    plan = operator.deploy(STAGE, "--plan")
    assert "take over the table comfysheet-local-jobs" in plan and "all are the defaults unless --set" in plan
    assert "push " not in plan and "make the first key" not in plan, "workflows and keys are taken over as well"
    again = operator.deploy(STAGE)
    assert "ck_" not in again, "the stage has a key already"
    operator.cloud.meet(STAGE)
    program.address = operator.cloud.api_url  # the API is a new one, the key the old one
    assert program.job(job_id)["id"] == job_id


def test_data_goes_only_when_asked_for(operator: Operator) -> None:
    """--with-data drops tables, pictures and secrets of this stage, and of no other."""
    operator.cloud.session().client("ssm").put_parameter(
        Name=f"/comfysheet/{STAGE}/sheet-keys/x", Value="secret", Type="SecureString"
    )
    operator.run("destroy", "--stage", STAGE, "--yes", "--with-data")
    assert not [name for name in [*tables(operator), *buckets(operator)] if "-local-" in name]
    assert operator.cloud.session().client("ssm").describe_parameters()["Parameters"] == []
    assert len([name for name in tables(operator) if "-cut-short-" in name]) == 7
    logs = operator.cloud.session().client("logs").describe_log_groups()["logGroups"]
    assert not [group["logGroupName"] for group in logs if "comfysheet-local" in group["logGroupName"]]
    text = operator.run("destroy", "--stage", STAGE, "--yes", code=1)
    assert "There is no stage local in " in text and "left: the table" not in text
