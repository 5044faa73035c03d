"""infra/ec2: the template as it is sent, and the release that its machines fetch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract.counts import Metric
from infra.ec2 import fleet, release

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = fleet.template(4)["Resources"]
    return found


def test_cloudformation_finds_no_fault(tmp_path: Path) -> None:
    """cfn-lint is silent, however many instance types there are."""
    sent = [tmp_path / f"workers-{types}.json" for types in (1, 4)]
    for types, each in zip((1, 4), sent, strict=True):
        each.write_text(json.dumps(fleet.template(types)))
        assert len(each.read_bytes()) < 51_200, "more is not taken in the request itself"
    linter = Path(sys.executable).with_name("cfn-lint")
    told = subprocess.run([linter, *sent], capture_output=True, text=True, timeout=100)
    assert (told.returncode, told.stdout) == (0, "")


def statements(found: object) -> Iterator[dict[str, Any]]:
    if isinstance(found, dict):
        if "Effect" in found:
            yield found
        for each in found.values():
            yield from statements(each)
    elif isinstance(found, list):
        for each in found:
            yield from statements(each)


def test_no_right_is_for_everything(resources: dict[str, Any]) -> None:
    """Each statement names its actions, and its resources down to our own names."""
    seen = 0
    for statement in statements(resources):
        if "Principal" in statement:
            continue
        seen += 1
        assert "*" not in json.dumps(statement["Action"])
        places = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        for place in places:
            assert re.search(r"comfysheet-\$\{Stage\}-workers|\$\{ReleaseKey\}|\$\{ModelsBucket\}", place["Fn::Sub"])
    assert seen == 4


def test_nobody_comes_in_and_credentials_do_not_go_out(resources: dict[str, Any]) -> None:
    """No ingress, no key pair, IMDSv2 with one hop, disks encrypted and gone with the machine."""
    assert "SecurityGroupIngress" not in resources["Network"]["Properties"]
    data = resources["Machine"]["Properties"]["LaunchTemplateData"]
    assert "KeyName" not in data
    assert data["MetadataOptions"] == {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
    }
    disks = json.dumps(data["BlockDeviceMappings"])
    assert disks.count('"Encrypted": true') == disks.count('"DeleteOnTermination": true') == disks.count('"Ebs"') == 2


def test_groups_begin_with_none_and_an_update_never_says_how_many(resources: dict[str, Any]) -> None:
    """Nothing costs before somebody orders; machines are protected from everybody but those who know what they do."""
    for name in ("Spot", "OnDemand"):
        group = resources[name]["Properties"]
        assert group["MinSize"] == "0" and "DesiredCapacity" not in group
        assert group["NewInstancesProtectedFromScaleIn"] is True
        [hook] = group["LifecycleHookSpecificationList"]
        assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
        assert f"--lifecycle-hook-name {hook['LifecycleHookName']} " in (ROOT / "infra/ec2/leave.sh").read_text()


def test_no_policy_makes_a_group_smaller(resources: dict[str, Any]) -> None:
    """Machines go by themselves when they are idle: a policy cannot know which one is."""
    policies = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::AutoScaling::ScalingPolicy"]
    assert len(policies) == 3
    for policy in policies:
        steps = [step["ScalingAdjustment"] for step in policy.get("StepAdjustments", [])]
        assert all(step > 0 for step in steps)
        assert steps or policy["TargetTrackingConfiguration"]["DisableScaleIn"] is True


def test_what_machines_are_ordered_by_is_counted_by_somebody(resources: dict[str, Any]) -> None:
    """A metric of ours under a name that nobody emits would never order a machine."""
    metrics = re.findall(r'"Namespace": "ComfySheet", "MetricName": "(\w+)"', json.dumps(resources))
    assert metrics and set(metrics) <= {metric.value for metric in Metric}


def test_what_the_user_data_hands_over_its_script_takes(resources: dict[str, Any]) -> None:
    """Each variable of the one is read by the other, and the first lines fit into what EC2 takes."""
    [text, more] = resources["Machine"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"]
    assert set(more) == {"Sha256", "Models"} and len(text) < 4000
    told = set(re.findall(r"\b([A-Z][A-Z0-9_]+)='", text))
    script = (ROOT / "infra/ec2/userdata.sh").read_text()
    assert told == {name for name in told if f"${name}" in script or f"${{{name}" in script}
    assert subprocess.run(["bash", "-n", "-c", text.replace("${", "x{")]).returncode == 0


def test_the_release_holds_what_the_image_holds_and_runs(tmp_path: Path) -> None:
    """The same parts as worker/Dockerfile; unpacked in a bare folder the worker answers; twice the same bytes."""
    copied = set(re.findall(r"^COPY (\S+) ", (ROOT / "worker/Dockerfile").read_text(), re.MULTILINE))
    assert copied - {"worker/requirements.txt", "worker"} == set(release.PARTS)
    made = release.build(ROOT, tmp_path / "one", "JOBS_TABLE=mine\n")
    assert made.read_bytes() == release.build(ROOT, tmp_path / "two", "JOBS_TABLE=mine\n").read_bytes()
    app = tmp_path / "app"
    with zipfile.ZipFile(made) as packed:
        packed.extractall(app)
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "worker", "once"],
        cwd=app,
        env={"PYTHONPATH": str(app), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2 and "JOBS_TABLE is not set" in ran.stderr
    assert (app / "worker.env").read_text() == "JOBS_TABLE=mine\n"


def test_its_settings_are_those_a_worker_reads_and_no_secret() -> None:
    """Tables of keys and the like are no business of a worker."""
    told = release.settings(ROOT, {"JOBS_TABLE": "a", "KEYS_TABLE": "b", "GOOGLE_SECRET_ID": "c"}, "eu-west-1")
    assert told == "AWS_REGION=eu-west-1\nJOBS_TABLE=a\n"
