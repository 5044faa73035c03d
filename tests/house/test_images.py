"""The images, built without Docker in a bare folder and started there with nothing but what was copied into it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests

from sandbox.waiting import wait_until
from tests.conftest import make_table
from tests.image import ROOT, Image, Wrong, build, may_build
from worker.__main__ import COMMANDS

if TYPE_CHECKING:
    from sandbox.cloud import LocalCloud

SETTINGS = {
    "JOBS_QUEUE_URL": "http://127.0.0.1:9/1/jobs",
    "COMPLETIONS_QUEUE_URL": "http://127.0.0.1:9/1/done.fifo",
    "JOBS_TABLE": "jobs",
    "S3_BUCKET": "bucket",
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "AKIACANARY",
    "AWS_SECRET_ACCESS_KEY": "canary-secret",
    "AWS_MAX_ATTEMPTS": "1",
    "METRICS_PORT": "0",
    "MAX_OUTPUT_MB": "1",
}
pytestmark = pytest.mark.skipif(not may_build(), reason="chroot and mounts need Linux and root")


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(ROOT / "worker/Dockerfile", tmp_path_factory.mktemp("worker"))


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(ROOT / "infra/runpod/Dockerfile", tmp_path_factory.mktemp("pod"))


class Running:
    """Hold a started image and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)

    def said(self) -> str:
        return "".join(self.lines)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(5)
        return code


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("which", ["worker", "pod"])
def test_an_image_has_all_that_the_worker_imports(which: str, request: pytest.FixtureRequest) -> None:
    """Each command loads its modules; wrong settings are sentences and exit code 2, as Docker's log will show them."""
    image: Image = request.getfixturevalue(which)
    modules = ", ".join(module for module, _ in COMMANDS.values())
    loaded = image.shell(f"python -c 'import {modules}'")
    assert loaded.returncode == 0, loaded.stderr
    told = image.run("queue", "--help", GPUS="")
    assert told.returncode == 0 and "python -m worker queue" in told.stdout, told.stderr
    told = image.run(GPUS="")
    assert told.returncode == 2 and "JOBS_TABLE is not set" in told.stderr
    assert "S3_BUCKET is not set" in told.stderr and "Traceback" not in told.stderr


@pytest.mark.parametrize("which", ["worker", "pod"])
def test_an_image_holds_no_secret_and_nothing_of_the_clone_but_the_worker(
    which: str, request: pytest.FixtureRequest
) -> None:
    """What is copied is what the worker needs; no settings file, no Lambda code, no tests."""
    image: Image = request.getfixturevalue(which)
    app = {path.relative_to(image.folder / "app").as_posix() for path in (image.folder / "app").rglob("*")}
    assert "worker/loop.py" in app and "chalicelib/ledger/dynamo.py" in app
    assert not [path for path in app if ".env" in Path(path).name and not path.endswith(".example")]
    assert not [path for path in app if path.startswith(("chalicelib/keys", "chalicelib/sheet", "tests", "infra"))]
    assert not [name for name in image.environment if "KEY" in name or "SECRET" in name]


def test_the_worker_image_runs_as_nobody_special_and_ends_on_sigterm(worker: Image) -> None:
    """Its account may not write its own code; docker stop's signal reaches it without a shell in between."""
    assert worker.user == "worker" and worker.stop_signal == "SIGTERM" and worker.entrypoint[0] == "python"
    assert worker.shell("id -u").stdout.strip() == "10001"
    assert worker.shell("touch /app/worker/loop.py").returncode != 0
    told = worker.run("doctor", "--json", **{**SETTINGS, "COMFY_URL": f"http://127.0.0.1:{free_port()}"})
    assert told.returncode == 1, told.stderr
    findings = json.loads(told.stdout)
    assert "Traceback" not in told.stderr and findings
    running = Running(worker.start(**SETTINGS, COMFY_URL=f"http://127.0.0.1:{free_port()}"))
    assert wait_until(lambda: "health" in running.said(), 60), running.said()
    assert running.end() == 0


def test_a_pod_gives_comfyui_an_account_that_sees_no_secret(pod: Image) -> None:
    """
    ComfyUI runs custom nodes: another account, none of our variables, and the worker's are closed to it.

    It writes into its own folders, which the worker may clean; and both are gone after SIGTERM.
    """
    volume = pod.folder / "workspace"
    (volume / "models/checkpoints").mkdir(parents=True)
    (volume / "models/checkpoints/a.safetensors").write_bytes(b"x")
    (volume / "custom_nodes/some-node").mkdir(parents=True)
    port = free_port()
    told = {**SETTINGS, "GPUS": "", "COMFY_PORT": str(port), "RUNPOD_POD_ID": "pod123", "RUNPOD_API_KEY": "canary-key"}
    running = Running(pod.start(**told))
    url = f"http://127.0.0.1:{port}/system_stats"
    try:
        assert wait_until(lambda: answers(url), 60), running.said()
        seen = requests.get(url, timeout=5).json()["told"]
        assert seen["uid"] == 10002 and seen["worker"] == "PermissionError"
        assert "canary" not in json.dumps(seen) and "AKIA" not in json.dumps(seen)
        assert seen["environment"]["HOME"] == "/home/comfy"
        listens = seen["argv"].index("--listen")
        assert seen["argv"][listens + 1] == "127.0.0.1" and seen["argv"][-2:] == ["--base-directory", "/comfy"]
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        assert "Uid:\t10001\t10001\t10001\t10001" in status and "NoNewPrivs:\t1" in status
        child = Path(f"/proc/{seen['pid']}/status").read_text()
        assert "CapPrm:\t0000000000000000" in child and "CapEff:\t0000000000000000" in child
        assert wait_until(lambda: '"pod123"' in running.said(), 60), running.said()
        assert "1 files" in running.said()
    finally:
        code = running.end()
    assert code == 0 and not Path(f"/proc/{seen['pid']}").exists()
    assert (pod.folder / "comfy/models").readlink() == Path("/workspace/models")
    assert (pod.folder / "comfy/custom_nodes/some-node").readlink() == Path("/workspace/custom_nodes/some-node")
    assert (pod.folder / "comfy/output").stat().st_mode & 0o7777 == 0o2775


def test_a_pods_worker_is_known_by_the_pods_id(
    pod: Image, cloud: LocalCloud, aws: boto3.Session, resources: dict[str, Any]
) -> None:
    """Its card on the table carries RUNPOD_POD_ID: so the autoscaler and `runpod status` tell which pod works."""
    dynamodb: Any = aws.client("dynamodb")
    table = make_table(dynamodb, resources["WorkersTable"]["Properties"])
    told = {**SETTINGS, **cloud.env(), "WORKERS_TABLE": table, "GPUS": "", "COMFY_PORT": str(free_port())}
    told["JOBS_TABLE"] = make_table(dynamodb, resources["JobsTable"]["Properties"])
    told["JOBS_QUEUE_URL"] = aws.client("sqs").create_queue(QueueName=f"jobs-{table}")["QueueUrl"]
    running = Running(pod.start(**told, RUNPOD_POD_ID="7h9k2m4n6p"))
    cards: list[str] = []

    def is_shown() -> bool:
        cards[:] = [item["worker"]["S"] for item in dynamodb.scan(TableName=table)["Items"]]
        return bool(cards)

    try:
        assert wait_until(is_shown, 30, look_s=0.2), running.said()
    finally:
        running.end()
    assert cards == ["7h9k2m4n6p"]


def test_comfyui_is_gone_when_a_pods_worker_is_killed(pod: Image) -> None:
    """Changing the account would have undone what the kernel was told; the wrapper tells it again."""
    port = free_port()
    running = Running(pod.start(**SETTINGS, GPUS="", COMFY_PORT=str(port)))
    try:
        assert wait_until(lambda: answers(f"http://127.0.0.1:{port}/system_stats"), 60), running.said()
    finally:
        running.end(signal.SIGKILL)
    assert wait_until(lambda: not answers(f"http://127.0.0.1:{port}/system_stats"), 5)


def test_a_secret_that_runpod_does_not_have_is_named(pod: Image) -> None:
    """Its reference would else go to AWS as a key."""
    told = pod.run(GPUS="", AWS_SECRET_ACCESS_KEY="{{ RUNPOD_SECRET_comfysheet_prod_x }}")
    assert told.returncode == 2 and "no secret for AWS_SECRET_ACCESS_KEY" in told.stderr
    assert "JOBS_TABLE" not in told.stderr


def test_a_pod_image_is_pinned_and_opens_nothing(pod: Image) -> None:
    """The base by digest, ComfyUI by tag, torch by version; no port."""
    assert "@sha256:" in pod.base and "--branch v0.28.0" in pod.cloned[0]
    assert all("==" in package or package.endswith("requirements.txt") for package in pod.pip)
    assert "EXPOSE" not in (ROOT / "infra/runpod/Dockerfile").read_text()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("COPY tests/conftest.py x.py", "dockerignore"),
        ("COPY worker/no-such-file x", "not there"),
        ("RUN false", "RUN failed"),
        ("USER somebody\nRUN true", "no user somebody"),
        ("ADD a b", "ADD is not known"),
    ],
)
def test_what_docker_would_refuse_is_refused(line: str, says: str, tmp_path: Path) -> None:
    """Else the builder here would prove nothing."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM scratch-like\n{line}\n")
    with pytest.raises(Wrong, match=says):
        build(dockerfile, tmp_path / "root")


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).status_code == 200
    except requests.RequestException:
        return False
