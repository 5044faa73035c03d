"""What `deploy`, `destroy` and their neighbours say before they do anything, and when they cannot."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from infra.__main__ import parser
from infra.aws_words import note_service, sentence
from infra.deploy.config_step import recorded_region
from infra.deploy.destroy import own_settings
from infra.deploy.preflight import region_fault
from infra.package import ROOT
from infra.stack import VARIABLES, WORKER_VARIABLES, StackFailed, address_of, read_outputs, worker_environment


class Nowhere:
    """Be a session, and the CloudFormation, of a region without stacks."""

    region_name = "eu-west-1"

    def client(self, _name: str, **_: Any) -> Nowhere:
        return self

    def describe_stacks(self, StackName: str) -> None:
        told: Any = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
        raise ClientError({"Error": told}, "DescribeStacks")


def test_a_stage_is_not_made_twice_by_a_wrong_region(tmp_path: Path) -> None:
    """The region of the last deployment is written down; another one must be said."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"stages": {"prod": {"region": "eu-west-1"}}}))
    recorded = recorded_region(path, "prod")
    fault = region_fault("prod", "us-east-1", recorded)
    assert "--region eu-west-1" in fault and "--region us-east-1" in fault
    assert region_fault("prod", "eu-west-1", recorded) == ""
    assert region_fault("two", "us-east-1", recorded_region(path, "two")) == "", "a new stage may be anywhere"


def test_where_no_stack_was_found_is_said() -> None:
    """The sentence names the region that was looked in."""
    nowhere: Any = Nowhere()
    with pytest.raises(StackFailed, match=r"no stack comfysheet-prod in eu-west-1\. .*--region"):
        read_outputs(nowhere, "prod")


def test_a_worker_is_told_what_it_reads_and_no_more() -> None:
    """The first block of worker/.env.example, the region with it; nothing that only functions or operators use."""
    block = (ROOT / "worker/.env.example").read_text().split("# --- credentials")[0]
    told = worker_environment(dict.fromkeys(VARIABLES.values(), "x"), "eu-west-1")
    assert set(told) == set(re.findall(r"^([A-Z0-9_]+)=", block, re.MULTILINE)) == {*WORKER_VARIABLES, "AWS_REGION"}
    assert told["AWS_REGION"] == "eu-west-1"


def test_settings_that_go_with_a_stage_are_told() -> None:
    """Only what somebody set: neither a default nor what the deployment tells."""
    declared: dict[str, dict[str, Any]] = {"Stage": {}, "CodeKey": {}}
    declared |= {"LogLevel": {"Default": "INFO"}, "OutputsExpireDays": {"Default": 90}}
    told = {"Stage": "prod", "CodeKey": "x", "LogLevel": "INFO", "OutputsExpireDays": "365", "Former": "1"}
    there = {"Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in told.items()]}
    assert own_settings(there, declared) == {"OutputsExpireDays": "365"}
    assert own_settings({}, declared) == {}


def test_a_python_without_our_requirements_names_the_right_one() -> None:
    """A sentence, and no traceback: `-S` is a Python without any package."""
    bare = [sys.executable, "-S", "-m", "infra", "status"]
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "type .venv/bin/python -m infra" in done.stderr and "Traceback" not in done.stderr


def test_the_address_that_is_told_is_the_one_that_people_use() -> None:
    """`deploy`, `sheet push` and every verb: the domain of PublicUrl where there is one."""
    own = {"Outputs": [{"OutputKey": "ApiUrl", "OutputValue": "https://x.execute-api.eu-west-1.amazonaws.com/prod"}]}
    named = {**own, "Parameters": [{"ParameterKey": "PublicUrl", "ParameterValue": "https://pictures.example.com"}]}
    unnamed = {**own, "Parameters": [{"ParameterKey": "PublicUrl", "ParameterValue": ""}]}
    assert [address_of(each) for each in (named, unnamed, own)] == [
        "https://pictures.example.com",
        own["Outputs"][0]["OutputValue"],
        own["Outputs"][0]["OutputValue"],
    ]
    assert address_of({}) == ""


def test_a_setting_without_a_value_is_no_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """`--set NAME` would empty it: the command line makes no sense (2). `--set NAME=` says that it is meant."""
    with pytest.raises(SystemExit) as end:
        parser().parse_args(["deploy", "--set", "OutputsExpireDays"])
    assert end.value.code == 2 and "an empty value is OutputsExpireDays=" in capsys.readouterr().err
    assert parser().parse_args(["deploy", "--set", "A=", "--set", "B=c=d"]).set == [("A", ""), ("B", "c=d")]


def test_a_missing_permission_is_named_with_its_service() -> None:
    """SQS says only "Access is denied": the call alone would send nobody to the right policy."""
    session = Session("x", "x", region_name="eu-west-1")
    note_service(session)
    sqs = session.client("sqs")
    with Stubber(sqs) as stubbed:
        stubbed.add_client_error("get_queue_attributes", "AccessDenied", "Access to the resource is denied.", 403)
        with pytest.raises(ClientError) as refused:
            sqs.get_queue_attributes(QueueUrl="https://sqs.eu-west-1.amazonaws.com/1/q")
    told = sentence(refused.value)
    assert "the permission sqs:GetQueueAttributes is missing, or a policy forbids it" in told
