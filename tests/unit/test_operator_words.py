"""What `deploy`, `destroy` and their neighbours say before they do anything, and when they cannot."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.deploy.config_step import recorded_region
from infra.deploy.preflight import region_fault
from infra.package import ROOT
from infra.stack import VARIABLES, WORKER_VARIABLES, StackFailed, read_outputs, worker_environment


class Nowhere:
    """Be a session, and the CloudFormation, of a region without stacks."""

    region_name = "eu-west-1"

    def client(self, _name: str, **_: Any) -> Nowhere:
        return self

    def describe_stacks(self, StackName: str) -> None:
        told = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
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
