"""`python -m infra runpod …` against RunPod's stand-in; the stage's stack and its workers' cards on the local cloud."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
import requests

from chalicelib.contract.card import ServerCard, written
from chalicelib.contract.kit import packed_kits
from chalicelib.runpod import MARK, Shelf
from infra import stack
from infra.__main__ import main
from infra.deploy.destroy import destroy
from infra.deploy.steps import Stopped
from infra.runpod import farm as farms
from infra.runpod.up import wait_for_workers
from tests.conftest import make_table
from tests.runpod_site import KEY, Site, runpod_site

if TYPE_CHECKING:
    from sandbox.cloud import LocalCloud

STAGE = f"rp{uuid4().hex[:6]}"


class Shop:
    """Hold RunPod, the stage and its workers; run verbs and read what they print."""

    def __init__(self, site: Site, aws: boto3.Session, table: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.site = site
        self.aws = aws
        self._table = table
        self._capsys = capsys

    def card(self, worker: str, *, running: int = 0, age_s: float = 0, closed: str = "") -> None:
        """Be a worker that shows itself."""
        server = ServerCard(name="http://127.0.0.1:8188", running=running, closed=closed)
        seen_at = int((time.time() - age_s) * 1000)
        item = {
            "worker": {"S": worker},
            "seen_at": {"N": str(seen_at)},
            "servers": {"S": written([server])},
            "kits": {"S": packed_kits([])},
            "jobs_done": {"N": "7"},
        }
        self.aws.client("dynamodb").put_item(TableName=self._table, Item=item)

    def pod(self, number: int, **told: Any) -> str:
        return self.site.add(f"comfysheet-{STAGE}-{number:08x}", env={MARK: STAGE}, **told)

    def run(self, *arguments: str) -> tuple[int, str]:
        code = main(["runpod", *arguments, "--stage", STAGE])
        said = self._capsys.readouterr()
        return code, said.out + said.err


@pytest.fixture(scope="module")
def table(cloud: LocalCloud, aws: boto3.Session, resources: dict[str, Any]) -> str:
    """Make a stack that has the outputs of ours."""
    made = make_table(aws.client("dynamodb"), resources["WorkersTable"]["Properties"])
    outputs = {name: f"the-{name}" for name in stack.VARIABLES.values()}
    outputs |= {
        "WorkersTable": made,
        "SecretsPrefix": f"/comfysheet/{STAGE}",
        "WorkerPolicyArn": "arn:aws:iam::1:policy/w",
    }
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    formation = aws.client("cloudformation")
    formation.create_stack(StackName=stack.stack_name(STAGE), TemplateBody=json.dumps(template))
    formation.get_waiter("stack_create_complete").wait(
        StackName=stack.stack_name(STAGE), WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    return made


@pytest.fixture
def shop(
    cloud: LocalCloud,
    aws: boto3.Session,
    table: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    with runpod_site() as site:
        told = {**cloud.env(), "RUNPOD_API_URL": site.url, "RUNPOD_API_KEY": KEY}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        yield Shop(site, aws, table, capsys)
    ssm = aws.client("ssm")
    ssm.delete_parameters(Names=[f"/comfysheet/{STAGE}/runpod-{name}" for name in ("key", "order")])


def test_up_orders_tells_the_price_and_waits_for_the_workers(shop: Shop) -> None:
    """Each pod with its price, the sum, and the end as soon as each worker takes jobs."""

    def boots(pod: dict[str, Any]) -> None:
        shop.site.become(pod["id"], "RUNNING")
        shop.card(pod["id"])

    shop.site.on_made = boots
    code, said = shop.run("up", "--count=2", "--image=me/worker:1", "--gpu=NVIDIA L4", "--wait-minutes=0.1")
    assert code == 0
    ids = list(shop.site.pods)
    assert all(f"ordered {pod_id}" in said and f"{pod_id}: idle" in said for pod_id in ids)
    assert "$0.39 an hour" in said and "Together $0.78 an hour" in said
    (first, _second) = shop.site.orders()
    assert first["env"]["JOBS_TABLE"] == "the-JobsTable" and first["env"]["AWS_REGION"]
    assert "KEYS_TABLE" not in first["env"] and "SECRETS_PREFIX" not in first["env"]
    assert first["env"]["AWS_ACCESS_KEY_ID"].startswith("{{ RUNPOD_SECRET_comfysheet_rp")


def test_dear_orders_are_asked_for_first(shop: Shop) -> None:
    """Above two dollars an hour in all; nobody there to answer means no."""
    dear = ("up", "--count", "1", "--image", "i", "--gpu", "NVIDIA H100 PCIe", "--no-wait")
    code, said = shop.run(*dear)
    assert code == 1 and "may cost $2.39 an hour" in said and "--yes says so" in said and not shop.site.pods
    assert shop.run(*dear, "--yes")[0] == 0 and len(shop.site.pods) == 1
    shop.site.pods.clear()
    code, said = shop.run(*dear, "--max-price", "1")
    assert code == 1 and "more than $1.00" in said and "0 of 1 pods were ordered" in said and not shop.site.pods


def test_a_dry_run_orders_nothing_and_shows_what_would_be(shop: Shop) -> None:
    """The very request, with references instead of secrets."""
    code, said = shop.run("up", "--image", "i", "--volume", "vol1", "--data-center", "EU-RO-1", "--dry-run")
    assert code == 0 and '"volumeId": "vol1"' in said and "{{ RUNPOD_SECRET_" in said
    assert not shop.site.orders()


def test_fewer_pods_than_asked_for_is_a_failure_that_is_explained(shop: Shop) -> None:
    """Those that came are told: they cost."""
    shop.site.room = {"NVIDIA L4": 1}
    code, said = shop.run("up", "--count", "2", "--image", "i", "--gpu", "NVIDIA L4", "--no-wait", "--json")
    told = json.loads(said)
    assert code == 1 and len(told["pods"]) == 1 and "no instances" in told["refusals"][0]


def test_a_pod_that_came_from_a_later_choice_is_no_refusal(shop: Shop) -> None:
    """The first type was not free and the second was: what was asked for is there, and nothing was "not ordered"."""
    code, said = shop.run(
        "up", "--image", "i", "--gpu", "NVIDIA RTX A5000", "--gpu", "NVIDIA L4", "--no-wait", "--max-price", "1"
    )
    assert code == 0 and "ordered" in said and "not ordered" not in said, said


def test_status_shows_pods_beside_their_workers(shop: Shop) -> None:
    """Busy, idle, closed, silent, not there, ended; what they cost together."""
    states = {shop.pod(1): "renders", shop.pod(2): "idle", shop.pod(3): "takes no jobs", shop.pod(4): "silent"}
    busy, idle, closed, silent = states
    shop.card(f"{busy}-gpu0", running=1)
    shop.card(idle)
    shop.card(closed, closed="ComfyUI is starting.")
    shop.card(silent, age_s=120)
    states |= {shop.pod(5): "not there yet", shop.pod(6, status="EXITED"): "ended"}
    shop.site.add("somebody-elses")
    code, said = shop.run("status", "--json")
    found = {pod["id"]: pod for pod in json.loads(said)["pods"]}
    assert code == 0 and {pod_id: pod["worker"] for pod_id, pod in found.items()} == states
    assert found[busy]["jobs_done"] == 7 and found[busy]["hour_price"] == 0.69
    code, said = shop.run("status")
    assert code == 0 and all(word in said for word in ("renders", "silent", "Together $3.45 an hour"))


def test_down_takes_only_ours_and_asks_before_work_is_lost(shop: Shop) -> None:
    """A busy pod, or a mute one, is removed when somebody says so; idle ones with --idle; strangers never."""
    busy, idle, mute, other = shop.pod(1), shop.pod(2), shop.pod(3), shop.site.add("somebody-elses")
    shop.card(busy, running=1)
    shop.card(idle)
    code, said = shop.run("down", other)
    assert code == 1 and f"has no pod {other}" in said
    code, said = shop.run("down")
    assert code == 1 and "2 of 3 pods render, or do not say" in said and len(shop.site.pods) == 4
    code, said = shop.run("down", "--idle", "--dry-run")
    assert code == 0 and f"would remove {idle}" in said and busy not in said and mute not in said
    assert shop.run("down", "--idle")[0] == 0 and set(shop.site.pods) == {busy, mute, other}
    assert shop.run("down", "--yes")[0] == 0 and set(shop.site.pods) == {other}
    code, said = shop.run("down")
    assert code == 0 and "nothing to remove" in said and shop.run("status")[1].strip() == f"Stage {STAGE} has no pods."


def test_a_stage_with_pods_is_not_taken_away(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would cost on; where RunPod cannot be asked the stage stays as well, and without any key that is said."""

    def asked(question: str, _word: str) -> bool:
        raise AssertionError(question)

    def away(stage: str = STAGE, said: Callable[[str], None] = lambda _: None) -> None:
        destroy(shop.aws, stage, tmp_path, with_data=False, ask=asked, say=said)

    pod = shop.pod(1)
    with pytest.raises(Stopped, match=f"they cost: {pod}. First: python -m infra runpod down --stage {STAGE}"):
        away()
    shop.site.key = "another"
    with pytest.raises(Stopped, match="cannot be known: RunPod refused the API key"):
        away()
    monkeypatch.delenv("RUNPOD_API_KEY")
    said: list[str] = []
    with pytest.raises(Stopped, match="There is no stage no-such-stage"):
        away("no-such-stage", said.append)
    assert said[0].startswith("RunPod was not asked")


def test_pods_are_seen_and_ended_when_their_stage_is_gone(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """No stack, no table of cards, no saved key: RUNPOD_API_KEY is enough. Orders need the stack."""
    ours = shop.site.add("comfysheet-gone-00000001", env={MARK: "gone"})
    other = shop.pod(2)
    assert main(["runpod", "status", "--stage", "gone"]) == 0
    assert ours in capsys.readouterr().out
    assert main(["runpod", "down", "--stage", "gone", "--yes"]) == 0 and set(shop.site.pods) == {other}
    assert main(["runpod", "up", "--stage", "gone", "--image", "i"]) == 1
    assert "There is no stack comfysheet-gone" in capsys.readouterr().err


def test_an_order_is_saved_once_for_up_and_for_the_autoscaler(shop: Shop) -> None:
    """Options lie over it; what is wrong is named and not saved."""
    code, said = shop.run("order", "--save", "--image", "me/worker:1", "--gpu", "NVIDIA L4", "--env", "GPUS=0")
    assert code == 0 and "Saved" in said
    assert shop.run("up", "--no-wait")[0] == 0
    assert shop.run("up", "--no-wait", "--image", "me/worker:2")[0] == 0
    first, second = shop.site.orders()
    assert (first["image"], second["image"]) == ("me/worker:1", "me/worker:2")
    assert first["env"]["GPUS"] == second["env"]["GPUS"] == "0" and first["gpu"]["id"] == "NVIDIA L4"
    for wrong, says in (
        (("--env", "HF_TOKEN=hf_123"), "looks like a secret"),
        (("--env", "nonsense"), "NAME=VALUE"),
        (("--cloud", "community", "--volume", "v"), "secure cloud only"),
        (("--disk-gb", "0"), "disk_gb"),
    ):
        code, said = shop.run("order", "--save", *wrong)
        assert code == 1 and says in said
    ssm, prefix = shop.aws.client("ssm"), f"/comfysheet/{STAGE}"
    ssm.put_parameter(Name=f"{prefix}/runpod-key", Value=KEY, Type="SecureString", Overwrite=True)
    assert Shelf(ssm, prefix).pool(STAGE, requests.Session(), shop.site.url).start(1) == 1
    assert {**shop.site.orders()[-1], "name": ""} == {**first, "name": ""}
    code, said = shop.run("order", "--json")
    assert json.loads(said)["image"] == "me/worker:1" and "HF_TOKEN" not in said


def test_the_key_is_tried_before_it_is_saved_and_then_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong one is not kept; a kept one is encrypted and never printed."""
    monkeypatch.delenv("RUNPOD_API_KEY")
    code, said = shop.run("status")
    assert code == 1 and "set RUNPOD_API_KEY" in said
    for typed, good in (("rpa_typo\n", False), (f"{KEY}\n", True)):
        command = [sys.executable, "-m", "infra", "runpod", "key", "--stage", STAGE]
        done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode == 0) is good and typed.strip() not in done.stdout + done.stderr
    kept = shop.aws.client("ssm").describe_parameters()["Parameters"]
    assert [each["Type"] for each in kept if each["Name"] == f"/comfysheet/{STAGE}/runpod-key"] == ["SecureString"]
    assert shop.run("status")[0] == 0


def test_the_template_is_made_once_and_then_changed(shop: Shop) -> None:
    """By its name; it opens no port and starts neither SSH nor Jupyter, which RunPod would by itself."""
    assert shop.run("template", "push", "--image", "me/worker:1")[1].startswith("Created template")
    assert shop.run("template", "push", "--image", "me/worker:2")[1].startswith("Changed template")
    (template,) = shop.site.templates.values()
    assert template["image"] == "me/worker:2" and template["name"] == f"comfysheet-{STAGE}"
    assert template["startSsh"] is False and template["startJupyter"] is False and template["ports"] == []
    assert template["public"] is False and "RUNPOD_SECRET_" in template["env"]["AWS_SECRET_ACCESS_KEY"]


def test_what_is_missing_is_said(shop: Shop) -> None:
    """No image, a count out of bounds, a wrong key: a sentence and exit code 1."""
    assert "docs/runpod.md" in shop.run("up")[1]
    assert "from 1 to 50" in shop.run("up", "--count", "0", "--image", "i")[1]
    shop.site.key = "another"
    code, said = shop.run("up", "--image", "i")
    assert code == 1 and "refused the API key" in said


def test_gpus_and_secrets_are_listed(shop: Shop) -> None:
    """The cheapest first; the names that RunPod must know."""
    listed = json.loads(shop.run("gpus", "--json", "--cloud", "community")[1])["gpus"]
    assert [gpu["hour_price"] for gpu in listed] == [0.16, 0.34, 1.99]
    said = shop.run("secrets")[1]
    assert f"comfysheet_{STAGE}_aws_secret_access_key" in said and "arn:aws:iam::1:policy/w" in said


def test_waiting_ends_when_a_pod_has_ended_or_the_time_is_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are told with what to do; RunPod's own stutter is waited out."""
    farm, said, now = farms.Farm(shop.aws, STAGE), list[str](), [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    ids = [shop.pod(1), shop.pod(2)]
    pods = farm.pods()
    wanted = tuple(pods.pods())
    shop.site.next_answers = [("GET", 500, {})]
    assert not wait_for_workers(farm, pods, wanted, 12, say=said.append, pause=pause, clock_s=lambda: now[0])
    assert "Still not there" in said[-1] and now[0] == 15
    shop.site.become(ids[0], "EXITED")
    assert not wait_for_workers(farm, pods, wanted, 12, say=said.append, pause=pause, clock_s=lambda: now[0])
    assert ids[0] in said[-1] and "console" in said[-1]
