"""Hold a table, queues, a bucket, an exact ComfyUI stand-in and one worker process, for the worker's figures."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from chalicelib.contract.job import Job, job_id_of
from chalicelib.contract.manifest import Workflow, to_document
from chalicelib.contract.parameter import Parameter, Place
from chalicelib.contract.states import State
from chalicelib.ledger import DynamoLedger
from sandbox.cloud import LocalCloud
from sandbox.comfy import ComfyStandIn
from sandbox.world import ROOT

PATIENCE_S = 300.0


class Relayed:
    """Run the relay before the cloud."""

    def __init__(self, cloud: LocalCloud, delay_ms: float) -> None:
        port = cloud.endpoint_url.rpartition(":")[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.relay", "--to", port, "--delay-ms", str(delay_ms)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def calls(self) -> dict[str, int]:
        """Give the calls by kind since the last time."""
        return self._ask()["calls"]

    def answered_ns(self, kind: str, after_ns: int) -> int:
        """Say when the last call of *kind* was answered; that of before *after_ns* does not count and is waited for."""
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE_S
        while (answered := self._ask()["answered"].get(kind, 0)) < after_ns:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {kind} was answered in time")
            pause.wait(0.01)
        return answered

    def _ask(self) -> dict[str, dict[str, int]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told: dict[str, dict[str, int]] = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Farm:
    """Hold everything for one measurement; jobs are put straight into the table and the queue."""

    def __init__(self, cloud: LocalCloud, comfy: ComfyStandIn, home: Path) -> None:
        self.comfy = comfy
        self._cloud = cloud
        self._home = home
        session = cloud.session()
        self._sqs: Any = session.client("sqs")
        self._s3: Any = session.client("s3")
        dynamodb: Any = session.client("dynamodb")
        name = uuid4().hex[:10]
        self.table, self.bucket = f"jobs-{name}", f"bucket-{name}"
        shape = _shape()
        dynamodb.create_table(TableName=self.table, **shape)
        self.ledger = DynamoLedger(dynamodb, self.table)
        self._s3.create_bucket(Bucket=self.bucket)
        self.queue = self._sqs.create_queue(QueueName=f"jobs-{name}")["QueueUrl"]
        self.done = self._sqs.create_queue(QueueName=f"done-{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    def put(self, graph: dict[str, Any], count: int) -> list[str]:
        """Queue *count* jobs that run *graph*, each with a seed of its own in its node 2; their ids."""
        seed = Parameter(name="seed", type="seed", sets=(Place(node="2", input="seed"),))
        workflow = Workflow(id="bench", name="Bench", graph=graph, parameters=(seed,))
        document = json.dumps(to_document(workflow)).encode()
        self._s3.put_object(Bucket=self.bucket, Key=f"workflows/by-hash/{workflow.hash}.json", Body=document)
        now, ids = int(time.time() * 1000), []
        for _ in range(count):
            key = str(uuid4())
            job = Job(
                job_id=job_id_of("bench", key),
                client_id="bench",
                job_key=key,
                state=State.QUEUED,
                workflow_id="bench",
                workflow_hash=workflow.hash,
                inputs={"seed": random.randrange(1 << 30)},
                input_hash="0" * 32,
                view_token="t",
                created_at=now,
                enqueued_at=now,
                deadline=now + 86_400_000,
            )
            self.ledger.submit(job)
            ids.append(job.job_id)
        for begin in range(0, len(ids), 10):
            entries = [
                {"Id": str(place), "MessageBody": json.dumps({"job_id": job_id, "seq": 1})}
                for place, job_id in enumerate(ids[begin : begin + 10])
            ]
            self._sqs.send_message_batch(QueueUrl=self.queue, Entries=entries)
        return ids

    @contextmanager
    def worker(self, relayed: Relayed | None = None, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker process for the block."""
        environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **self._cloud.env(),
            **({"AWS_ENDPOINT_URL": relayed.url} if relayed else {}),
            "COMFY_URL": self.comfy.url,
            "JOBS_QUEUE_URL": self._moved(self.queue, relayed),
            "COMPLETIONS_QUEUE_URL": self._moved(self.done, relayed),
            "JOBS_TABLE": self.table,
            "S3_BUCKET": self.bucket,
            "WORKER_HOME": str(self._home),
            "MAX_OUTPUT_MB": "64",
            "LOG_LEVEL": "warning",
            **settings,
        }
        log = (self._home / "worker.log").open("ab")
        process = subprocess.Popen([sys.executable, "-m", "worker", "queue"], cwd=ROOT, env=environment, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)
            log.close()

    @contextmanager
    def cloud_in_environment(self) -> Iterator[None]:
        """Let this process's clients find the cloud, for the block."""
        before = dict(os.environ)
        os.environ.update(self._cloud.env())
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _moved(self, url: str, relayed: Relayed | None) -> str:
        """Send what goes to a queue's own address through the relay too."""
        return url if relayed is None else url.replace(self._cloud.endpoint_url, relayed.url)

    def wait(self, runs: int) -> list[tuple[str, int, int]]:
        """Wait until ComfyUI has run so many prompts more than at the start; what ran."""
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE_S
        while len(self.comfy.spans) < runs:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.comfy.spans)} of {runs} prompts ran in time")
            pause.wait(0.02)
        return self.comfy.spans

    def settled(self, ids: list[str]) -> list[Job]:
        """Wait until all jobs have ended; the jobs."""
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE_S
        left = set(ids)
        while left:
            some = sorted(left)[:100]
            left -= {job.job_id for job in self.ledger.get_many(some) if job.state is State.SUCCEEDED}
            if left and time.monotonic() > deadline:
                raise TimeoutError(f"{len(left)} jobs have not ended")
            pause.wait(0.05)
        return [job for begin in range(0, len(ids), 100) for job in self.ledger.get_many(ids[begin : begin + 100])]


@contextmanager
def farm(*, delay_ms: float | None = None) -> Iterator[tuple[Farm, Relayed | None]]:
    """Start a cloud, a stand-in and (with *delay_ms*) a relay for the block."""
    with tempfile.TemporaryDirectory(prefix="comfysheet-farm-") as home, LocalCloud() as cloud:
        cloud.start(Path(home) / "cloud", keep=False)
        with ComfyStandIn(Path(home) / "comfy", instant=True, test_nodes=True) as comfy:
            relayed = Relayed(cloud, delay_ms) if delay_ms is not None else None
            try:
                yield Farm(cloud, comfy, Path(home)), relayed
            finally:
                if relayed is not None:
                    relayed.close()


def _shape() -> dict[str, Any]:
    """Read the jobs table's shape as it is deployed."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda _loader, suffix, _node: {suffix: None})
    told = yaml.load((ROOT / "infra" / "resources.yaml").read_text(), Loader)
    shape = told["Resources"]["JobsTable"]["Properties"]
    return {
        name: shape[name]
        for name in ("BillingMode", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes")
        if name in shape
    }
