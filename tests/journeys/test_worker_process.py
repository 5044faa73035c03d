"""
Follow the worker as a process, on the local cloud and the ComfyUI stand-in: killed, stopped, fed twice, poisoned.

Leases are seconds here, minutes in production; the order of things is the same.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
import requests
from PIL import Image

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import JobMessage
from chalicelib.contract.job import Job, prompt_id_of
from chalicelib.contract.manifest import Workflow, to_document
from chalicelib.contract.states import State
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import document
from sandbox.comfy import ComfyStandIn
from tests.conftest import make_table
from tests.jobs import new_job
from tests.sizes import before_release
from worker.comfy.client import ComfyClient
from worker.comfy.history import Place

if TYPE_CHECKING:
    from sandbox.cloud import LocalCloud

ROOT = Path(__file__).resolve().parents[2]


def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something holds, looking often."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.05)


class Shop:
    """Hold a table, queues and a bucket of their own, a stand-in, and the workers started on them."""

    def __init__(self, cloud: LocalCloud, aws: boto3.Session, resources: dict[str, Any], comfy: ComfyStandIn) -> None:
        self.comfy = comfy
        self.sqs: Any = aws.client("sqs")
        self.s3: Any = aws.client("s3")
        dynamodb: Any = aws.client("dynamodb")
        self.table = make_table(dynamodb, resources["JobsTable"]["Properties"])
        self.ledger = DynamoLedger(dynamodb, self.table)
        name = uuid4().hex[:12]
        self.bucket = f"bucket-{name}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.queue = self.sqs.create_queue(QueueName=f"jobs-{name}")["QueueUrl"]
        self.dlq = self.sqs.create_queue(QueueName=f"dlq-{name}")["QueueUrl"]
        fifo = {"FifoQueue": "true"}
        self.completions = self.sqs.create_queue(QueueName=f"done-{name}.fifo", Attributes=fifo)["QueueUrl"]
        self.environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ},
            **cloud.env(),
            "COMFY_URL": comfy.url,
            "JOBS_QUEUE_URL": self.queue,
            "COMPLETIONS_QUEUE_URL": self.completions,
            "JOBS_DLQ_URL": self.dlq,
            "JOBS_TABLE": self.table,
            "S3_BUCKET": self.bucket,
            "LEASE_S": "2",
            "HEARTBEAT_S": "0.5",
            "VISIBILITY_S": "4",
            "CLOCK_SKEW_S": "1.5",
            "WAIT_S": "2",
            "POLL_UP_S": "1",
        }
        self.workers: list[subprocess.Popen[str]] = []

    def start(self, command: str = "queue", **changes: str) -> subprocess.Popen[str]:
        """Start a worker process."""
        worker = subprocess.Popen(
            [sys.executable, "-m", "worker", command],
            cwd=ROOT,
            env={**self.environment, "WORKER_NAME": f"worker-{len(self.workers)}", **changes},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.workers.append(worker)
        return worker

    def once(self, **changes: str) -> str:
        """Empty the queue; what the worker logged."""
        worker = self.start("once", **changes)
        _, log = worker.communicate(timeout=60)
        assert worker.returncode == 0, log
        return log

    def submit(self, seconds: float = 0.0, **fields: Any) -> str:
        """Queue a job whose workflow sleeps so long, then saves a picture."""
        workflow = Workflow(id="slow", name="Slow", graph=graph(seconds))
        key = f"workflows/by-hash/{workflow.hash}.json"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=document(to_document(workflow)).encode())
        job = new_job(workflow_hash=workflow.hash, inputs={}, now=time.time_ns() // 1_000_000, **fields)
        self.ledger.submit(job)
        self.send(job.job_id)
        return job.job_id

    def send(self, job_id: str, seq: int = 1) -> None:
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=JobMessage(job_id=job_id, seq=seq).model_dump_json())

    def job(self, job_id: str) -> Job:
        job = self.ledger.get(job_id)
        assert job is not None
        return job

    def renders(self, job_id: str) -> None:
        """Wait until ComfyUI works on the job's present attempt."""
        client = ComfyClient(self.comfy.url)
        until(lambda: client.where(prompt_id_of(job_id, self.job(job_id).attempt)).place is Place.RUNNING)

    def ends(self, job_id: str, seconds: float = 30.0) -> Job:
        until(lambda: self.job(job_id).state not in (State.QUEUED, State.RUNNING), seconds)
        return self.job(job_id)

    def hints(self) -> list[str]:
        """Take all hints that were sent, as bodies."""
        bodies: list[str] = []
        while True:
            messages = self.sqs.receive_message(
                QueueUrl=self.completions, MaxNumberOfMessages=10, WaitTimeSeconds=0
            ).get("Messages", [])
            if not messages:
                return bodies
            for message in messages:
                bodies.append(message["Body"])
                self.sqs.delete_message(QueueUrl=self.completions, ReceiptHandle=message["ReceiptHandle"])

    def waiting(self, queue: str) -> int:
        """Count messages, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(value) for value in told.values())

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.communicate()


def graph(seconds: float) -> dict[str, Any]:
    picture = {"width": 700, "height": 500, "batch_size": 1, "color": 65_280}
    sleep = {"image": ["1", 0], "seconds": seconds, "steps": 50, "preview": False, "seed": uuid4().int % 2**32}
    return {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "2": {"class_type": "TestSleep", "inputs": sleep},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }


@pytest.fixture
def shop(cloud: LocalCloud, aws: boto3.Session, resources: dict[str, Any], tmp_path: Path) -> Iterator[Shop]:
    with ComfyStandIn(tmp_path, test_nodes=True) as comfy:
        shop = Shop(cloud, aws, resources, comfy)
        yield shop
        shop.close()


def test_once_renders_what_waits_and_ends(shop: Shop) -> None:
    """Four jobs through two slots: files and thumbnails in the bucket, hints sent, queue empty, exit code 0."""
    jobs = [shop.submit() for _ in range(4)]
    log = shop.once()
    for job_id in jobs:
        job = shop.job(job_id)
        assert job.state is State.SUCCEEDED, log
        (output,) = job.outputs
        content = shop.s3.get_object(Bucket=shop.bucket, Key=output.key)["Body"].read()
        assert len(content) == output.size_bytes
        assert Image.open(BytesIO(content)).size == (700, 500)
        small = shop.s3.get_object(Bucket=shop.bucket, Key=output.thumbnail_key)["Body"].read()
        assert Image.open(BytesIO(small)).size == (512, 366)
    assert shop.waiting(shop.queue) == 0
    hints = shop.hints()
    assert all(any(job_id in hint and '"version":3' in hint for hint in hints) for job_id in jobs)
    # That a job was begun is told only if it does not end at once.
    assert 4 <= len([hint for hint in hints if '"version"' in hint]) <= 8
    assert requests.get(f"{shop.comfy.url}/history", timeout=5).json() == {}


@before_release
def test_a_worker_killed_in_the_middle_is_followed_by_another(shop: Shop) -> None:
    """
    SIGKILL while ComfyUI renders: the second worker takes the prompt over, the row gets one result.

    The lease dies, the message comes back, the claim finds attempt 2; ComfyUI never renders the picture twice.
    """
    job_id = shop.submit(seconds=3)
    first = shop.start()
    shop.renders(job_id)
    first.kill()
    first.wait(10)
    assert shop.job(job_id).state is State.RUNNING
    shop.start()
    job = shop.ends(job_id)
    assert (job.state, job.attempt, job.committed_attempt) == (State.SUCCEEDED, 2, 2)
    assert job.owner == "worker-1"
    listed = shop.s3.list_objects_v2(Bucket=shop.bucket, Prefix="outputs/")["Contents"]
    assert {item["Key"].split("/")[3] for item in listed} == {"2"}
    assert [prompt_id for prompt_id, _, _ in shop.comfy.spans] == [prompt_id_of(job_id, 1)]
    until(lambda: not [path for path in shop.comfy.folders.output.rglob("*.png") if job_id in str(path)])
    until(lambda: shop.waiting(shop.queue) == 0)


@before_release
def test_a_worker_and_its_comfyui_killed_together_lose_nothing(shop: Shop, tmp_path: Path) -> None:
    """The machine is gone with all that it knew: another renders anew."""
    job_id = shop.submit(seconds=1)
    first = shop.start()
    shop.renders(job_id)
    first.kill()
    first.wait(10)
    with ComfyStandIn(tmp_path / "other", test_nodes=True) as other:
        shop.start(COMFY_URL=other.url)
        job = shop.ends(job_id)
    assert (job.state, job.committed_attempt) == (State.SUCCEEDED, 2)


@before_release
def test_sigterm_hands_the_job_back_within_two_seconds(shop: Shop) -> None:
    """Queued again with its budget whole, visible at once, stopped on ComfyUI; the next worker renders it."""
    job_id = shop.submit(seconds=20)
    first = shop.start(LEASE_S="60", HEARTBEAT_S="15", VISIBILITY_S="90")
    shop.renders(job_id)
    begun = time.monotonic()
    first.send_signal(signal.SIGTERM)
    assert first.wait(5) == 0
    assert time.monotonic() - begun < 2.5
    job = shop.job(job_id)
    assert (job.state, job.attempt, job.budget_left) == (State.QUEUED, 1, 3)
    client = ComfyClient(shop.comfy.url)
    until(lambda: client.where(prompt_id_of(job_id, 1)).place is not Place.RUNNING)
    shop.start()
    shop.renders(job_id)
    assert shop.job(job_id).attempt == 2


def test_a_second_signal_ends_at_once(shop: Shop) -> None:
    """Even while the cloud does not answer: no third Ctrl-C is ever needed."""
    worker = shop.start(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert worker.stderr is not None
    until(lambda: "worker starts" in worker.stderr.readline())  # type: ignore[union-attr]
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(5) in (0, 128 + signal.SIGINT)


@before_release
def test_duplicates_render_once(shop: Shop) -> None:
    """The same message five times, two workers: one attempt, one result, an empty queue."""
    job_id = shop.submit(seconds=1)
    for _ in range(4):
        shop.send(job_id)
    shop.start()
    shop.start()
    job = shop.ends(job_id)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)
    until(lambda: shop.waiting(shop.queue) == 0)
    assert shop.job(job_id).version == job.version


@before_release
def test_a_poison_message_stops_nobody_and_ends_in_the_dead_letter_queue(shop: Shop) -> None:
    """Three receives, then it is buried with its reason; jobs run all the while."""
    shop.sqs.send_message(QueueUrl=shop.queue, MessageBody="<poison/>")
    for _ in range(2):  # two receivers before us gave it back
        answer = shop.sqs.receive_message(QueueUrl=shop.queue, WaitTimeSeconds=5, VisibilityTimeout=0)
        assert answer["Messages"][0]["Body"] == "<poison/>"
    jobs = [shop.submit() for _ in range(2)]
    shop.once()
    assert all(shop.job(job_id).state is State.SUCCEEDED for job_id in jobs)
    assert shop.waiting(shop.queue) == 0
    (buried,) = shop.sqs.receive_message(QueueUrl=shop.dlq, WaitTimeSeconds=5, MessageAttributeNames=["All"])[
        "Messages"
    ]
    assert buried["Body"] == "<poison/>"
    assert "no job message" in buried["MessageAttributes"]["reason"]["StringValue"]


@before_release
def test_a_cancelled_job_leaves_comfyui(shop: Shop) -> None:
    """The row says cancelled at once; the prompt stops at the next heartbeat, its message goes."""
    job_id = shop.submit(seconds=30)
    shop.start()
    shop.renders(job_id)
    shop.ledger.cancel(job_id, now=time.time_ns() // 1_000_000)
    client = ComfyClient(shop.comfy.url)
    until(lambda: client.where(prompt_id_of(job_id, 1)).place is not Place.RUNNING)
    until(lambda: shop.waiting(shop.queue) == 0)
    assert shop.job(job_id).state is State.CANCELED


def test_wrong_settings_are_told_all_at_once(shop: Shop) -> None:
    """Exit code 2 and one line for each fault; no traceback."""
    worker = subprocess.run(
        [sys.executable, "-m", "worker", "once"], cwd=ROOT, env={"PATH": os.defpath}, capture_output=True, text=True
    )
    assert worker.returncode == 2
    assert worker.stderr.count("\n- ") == 5
    assert "Traceback" not in worker.stderr


def test_a_stop_with_grace_lets_a_job_end_that_is_nearly_done(shop: Shop) -> None:
    """Its steps say that it ends in time: it is finished, committed and told, and only then the worker ends."""
    job_id = shop.submit(seconds=8)
    worker = shop.start(GRACE_S="30")

    def has_told_steps() -> bool:
        progress = shop.job(job_id).progress
        return progress is not None and (progress.step or 0) >= 3

    until(has_told_steps)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(40) == 0
    job = shop.job(job_id)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)
    assert any(job_id in body for body in shop.hints())


MAIN = """
import sys
sys.path.insert(0, {root!r})
from sandbox.comfy.__main__ import main
port = sys.argv[sys.argv.index("--port") + 1]
raise SystemExit(main(["--port", port, "--dir", {folder!r}, "--instant", "--test-nodes"]))
"""


def managed(shop: Shop, folder: Path) -> dict[str, str]:
    """Make a ComfyUI folder whose main.py is the stand-in, and settings that manage it."""
    folder.mkdir()
    (folder / "main.py").write_text(MAIN.format(root=str(ROOT), folder=str(folder)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"COMFY_DIR": str(folder), "COMFY_PORT": str(port), "COMFY_PYTHON": sys.executable}


def test_a_managed_comfyui_is_started_used_and_ended(shop: Shop, tmp_path: Path) -> None:
    """`once` waits until it is ready, renders, and leaves nothing that listens."""
    settings = managed(shop, tmp_path / "ComfyUI")
    job_id = shop.submit()
    shop.once(**settings)
    assert shop.job(job_id).state is State.SUCCEEDED
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(settings["COMFY_PORT"]))) != 0


@before_release
def test_a_managed_comfyui_that_dies_mid_job_is_started_again(shop: Shop, tmp_path: Path) -> None:
    """Killed while it renders: the worker starts it anew, and the job is made by its second attempt."""
    settings = managed(shop, tmp_path / "ComfyUI")
    job_id = shop.submit(seconds=5)
    worker = shop.start(**settings)
    client = ComfyClient(f"http://127.0.0.1:{settings['COMFY_PORT']}")

    def renders() -> bool:
        try:
            return client.queue_length() == 1
        except Unavailable:
            return False

    until(renders)
    [child] = _children(worker.pid)
    os.kill(child, signal.SIGKILL)
    # Ten seconds to believe it, thirty at most of backoff, and the run.
    job = shop.ends(job_id, 80)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)


def _children(pid: int) -> list[int]:
    """List the processes that *pid* started, by any of its threads."""
    told = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for each in told for child in each]


def test_one_worker_serves_two_servers(shop: Shop, tmp_path: Path) -> None:
    """Two jobs of a second each run side by side, one on each ComfyUI."""
    with ComfyStandIn(tmp_path / "second", test_nodes=True) as second:
        ids = [shop.submit(seconds=2.0 + number / 100) for number in range(2)]
        shop.start(COMFY_URL=f"{shop.comfy.url},{second.url}")
        until(lambda: all(ComfyClient(each.url).queue_length() == 1 for each in (shop.comfy, second)))
        for job_id in ids:
            assert shop.ends(job_id).state is State.SUCCEEDED
        assert len(second.spans) == 1
