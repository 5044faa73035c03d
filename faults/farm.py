"""
Run the whole for scenarios: one world with short leases, a program's client of its API, and a judge of what became of
the jobs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar
from uuid import uuid4

import requests

from chalicelib.contract.events import JobMessage
from chalicelib.contract.job import Job, job_id_of
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.states import TERMINAL, State
from chalicelib.keymaker import KeyMaker
from chalicelib.ledger import DynamoLedger
from chalicelib.publish import Publisher
from faults.files import unlike_record
from faults.lines import LedCloud
from faults.proxy import Proxy
from faults.report import Tally
from infra.workflows import open_blobs
from sandbox.waiting import wait_until
from sandbox.world import Child, Wishes, World

T = TypeVar("T")

TENANT: Final = "studio"
SHORT: Final[Mapping[str, str]] = {
    "LEASE_S": "2",
    "HEARTBEAT_S": "0.5",
    "VISIBILITY_S": "4",
    "CLOCK_SKEW_S": "1.5",
    "WAIT_S": "1",
    "POLL_UP_S": "1",
}
"""The worker's times, seconds here, minutes in production; the order of things is the same."""


@dataclass
class Asked:
    """Remember one submission: its key, what was asked, and what was answered (None: no answer arrived)."""

    key: str
    client: str
    body: dict[str, Any]
    status: int | None = None
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def job_id(self) -> str:
        return job_id_of(self.client, self.key)

    @property
    def is_acknowledged(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Farm:
    """Hold a running world. A context manager: everything that it started ends with it."""

    def __init__(self, home: Path, *, step_ms: int = 20, worker_env: Mapping[str, str] = SHORT) -> None:
        self.world = World(
            Wishes(home=home, step_ms=step_ms, worker_env=dict(worker_env), start_worker=False, test_nodes=True)
        )
        self.world.cloud = self._cloud = LedCloud()
        self.home = home
        self._tokens: dict[str, str] = {}
        self._names = 0
        self._kept: dict[type, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Farm:
        self.world.__enter__()
        session = self.world.cloud.session()
        self.outputs = self.world.cloud.outputs
        self.dynamodb: Any = session.client("dynamodb")
        self.ledger = DynamoLedger(self.dynamodb, self.outputs["JobsTable"])
        self.s3: Any = session.client("s3")
        self.sqs: Any = session.client("sqs")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()
        self.world.__exit__(kind, error, at)

    @property
    def functions(self) -> Proxy:
        """Give the proxy that all AWS calls of the functions pass through."""
        return self._cloud.functions

    def keep(self, kind: type[T], make: Callable[[], T]) -> T:
        """Give the one *kind* of this farm that several scenarios use; it is made at the first call, ends with us."""
        if kind not in self._kept:
            made = make()
            self._kept[kind] = self._stack.enter_context(made) if isinstance(made, AbstractContextManager) else made
        kept: T = self._kept[kind]
        return kept

    # -- workers ------------------------------------------------------------------------------------------------

    def worker(self, *, command: Sequence[str] = ("worker", "queue"), **settings: str) -> Child:
        """Start a worker process under a name of its own; *command*: by another program than its own."""
        self._names += 1
        return self.world.start_worker(f"worker-{self._names}", command=command, **settings)

    def said(self, worker: Child) -> str:
        """Give all that a worker has logged."""
        return (self.world.wishes.home / f"{worker.name}.log").read_text(errors="replace")

    def polls_over(self) -> None:
        """Wait until no worker that has gone can be given a message: its last poll goes on without it for a while."""
        threading.Event().wait(float(SHORT["WAIT_S"]))

    # -- programs -----------------------------------------------------------------------------------------------

    def token(self, client: str = TENANT) -> str:
        """Give the API key of *client*, made at the first call, with bounds that no scenario meets by chance."""
        if client not in self._tokens:
            session = self.world.cloud.session()
            maker = KeyMaker(
                session.client("dynamodb"),
                session.client("ssm"),
                self.outputs["KeysTable"],
                self.outputs["SecretsPrefix"],
            )
            self._tokens[client] = maker.new_api(client, {})
        return self._tokens[client]

    def ask(
        self,
        *,
        client: str = TENANT,
        key: str = "",
        api: str = "",
        timeout_s: float = 30,
        workflow: str = "txt2img-sdxl",
        **inputs: Any,
    ) -> Asked:
        """
        Submit one job and remember what was answered; no answer is no error.

        *api*: another address than the world's own (a proxy before it).
        """
        small = {"steps": 4, "width": 64, "height": 64} if workflow == "txt2img-sdxl" else {}
        asked = Asked(
            key or str(uuid4()), client, {"workflow_id": workflow, "inputs": {"prompt": "a fox", **small, **inputs}}
        )
        self.ask_again(asked, api=api, timeout_s=timeout_s)
        return asked

    def ask_again(self, asked: Asked, *, api: str = "", timeout_s: float = 30) -> None:
        """Repeat a submission with its key."""
        headers = {"Authorization": f"Bearer {self.token(asked.client)}", "Idempotency-Key": asked.key}
        try:
            answer = requests.post(
                f"{api or self.world.cloud.api_url}/api/v2/jobs", json=asked.body, headers=headers, timeout=timeout_s
            )
        except requests.RequestException:
            return
        asked.status = answer.status_code
        if asked.is_acknowledged:
            asked.answers.append(answer.json())

    def submit(self, workflow: str, client: str = TENANT, **inputs: Any) -> Asked:
        """Submit one job with these inputs and no others, again until it is acknowledged."""
        return self.insist(Asked(str(uuid4()), client, {"workflow_id": workflow, "inputs": inputs}))

    def insist(self, asked: Asked, patience_s: float = 90) -> Asked:
        """Repeat a submission until it is acknowledged, as a program does. Raises RuntimeError when it never is."""
        if not asked.is_acknowledged and not wait_until(lambda: self._again(asked), patience_s, look_s=0.5):
            raise RuntimeError(f"a job was not accepted within {patience_s:.0f} s (last answer: {asked.status})")
        return asked

    def _again(self, asked: Asked) -> bool:
        self.ask_again(asked)
        return asked.is_acknowledged

    def call(
        self, method: str, path: str, *, client: str = TENANT, timeout_s: float = 30, **more: Any
    ) -> requests.Response:
        """Call the API as a program of *client*: `call("GET", "/api/v2/jobs")`. Without an answer requests' error."""
        headers = {"Authorization": f"Bearer {self.token(client)}", **more.pop("headers", {})}
        url = f"{self.world.cloud.api_url}{path}"
        return requests.request(method, url, headers=headers, timeout=timeout_s, **more)

    def publish(self, workflows: Sequence[Workflow]) -> None:
        """Add workflows to everybody's catalog."""
        blobs = open_blobs(self.world.cloud.session(), self.outputs["Bucket"])
        Publisher(blobs, lambda: time.time_ns() // 1_000_000).push(workflows, by="a scenario")

    def hurry(self, job_ids: Sequence[str]) -> None:
        """Let the pauses between attempts of these jobs be over now, as the sweeper does when they are."""
        now = time.time_ns() // 1_000_000
        for job in self.ledger.get_many(job_ids):
            if job.state is not State.QUEUED or job.not_before <= now:
                continue
            self.dynamodb.update_item(
                TableName=self.outputs["JobsTable"],
                Key={"job_id": {"S": job.job_id}},
                UpdateExpression="SET not_before = :now",
                ExpressionAttributeValues={":now": {"N": str(now)}},
            )
            seq = self.ledger.resend(job, now=now)
            if seq is not None:
                message = JobMessage(job_id=job.job_id, seq=seq).model_dump_json()
                self.sqs.send_message(QueueUrl=self.outputs["JobsQueueUrl"], MessageBody=message)

    def job(self, asked: Asked) -> Job | None:
        """Read the job that a submission made."""
        return self.ledger.get(asked.job_id)

    def all_ended(self, asked: Sequence[Asked], patience_s: float = 60) -> bool:
        """
        Wait until every job of *asked* that was acknowledged, or exists all the same, has ended.

        When none of them exists nothing has ended: the answer is no.
        """
        ids = [one.job_id for one in asked]
        promised = {one.job_id for one in asked if one.is_acknowledged}

        def over() -> bool:
            jobs = self.ledger.get_many(ids)
            there = {job.job_id for job in jobs}
            return promised <= there and bool(there or not ids) and all(job.state in TERMINAL for job in jobs)

        return wait_until(over, patience_s)

    # -- the judge ----------------------------------------------------------------------------------------------

    def judge(self, asked: Sequence[Asked], *, ends: State = State.SUCCEEDED) -> tuple[Tally, list[str]]:
        """
        Count what became of *asked*, all of which should have ended as *ends*; with a sentence for each breach.

        Every file of every job is read: its length and SHA-256 must be those of the record (P16), its key the
        committed attempt's own (P4), and its thumbnail a picture. When none was acknowledged nothing was judged, and
        that is a breach.
        """
        wrong: list[str] = []
        lost = unexpected = duplicated = recovered = again = 0
        for one in asked:
            job = self.job(one)
            if len({answer["id"] for answer in one.answers} | ({job.job_id} if job else set())) > 1:
                duplicated += 1
                wrong.append(f"key {one.key} was answered with several jobs")
            if job is None or job.state is not ends:
                if one.is_acknowledged:
                    lost += 1
                    wrong.append(f"job {one.job_id} was acknowledged and is {_plainly(job)}")
                continue
            recovered += not one.is_acknowledged
            again += job.attempt > 1
            breaches = unlike_record(job, self._read)
            unexpected += bool(breaches)
            wrong += breaches
        acknowledged = sum(one.is_acknowledged for one in asked)
        if asked and not acknowledged:
            last = sorted({str(one.status or "nothing") for one in asked})
            wrong.append(f"none of {len(asked)} submissions was accepted; they were answered {', '.join(last)}")
        return Tally(len(asked), acknowledged, lost, unexpected, duplicated, recovered, again), wrong

    def _read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.outputs["Bucket"], Key=key)["Body"].read()
        return body


def _plainly(job: Job | None) -> str:
    if job is None:
        return "not there"
    return f"{job.state}: {job.error.text}" if job.error else str(job.state)
