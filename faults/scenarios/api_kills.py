"""
Kill the API's function at each call it makes, while it takes a job, rows, a batch, a cancellation, a file.

Whoever asked got no answer. Half of them ask again, with the same key (P2, P3): exactly what they asked for is there,
once. The others never come back: what is there of their request ends all the same (P1), by the sweeper.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import uuid4

from chalicelib.contract.job import job_id_of
from chalicelib.contract.states import TERMINAL, State
from faults.farm import Asked, Farm
from faults.functions import Functions, answered, api_event
from faults.kills import End, by_deed, points_of, sample, until_dead
from faults.report import Outcome
from faults.rows import ROUTE, Rows
from faults.scenario import Scenario, Size
from faults.victim import Point
from sandbox.waiting import wait_until

AT_ONCE: Final = 2
SAMPLES: Final = 2
"""Of each request, at size ci."""
AHEAD_S: Final = 400.0
"""A message counts as lost after five minutes."""
SWEEPS: Final = 3
GIVEN: Final = {"prompt": "killed", "steps": 4, "width": 64, "height": 64}
ALL: Final = 2_000_000_000_000


class Request(Protocol):
    """Be one request of one caller, that may be sent more than once."""

    def send(self, point: Point | None = None) -> End:
        """Have the API answer it, or die of it."""

    def breaches(self, *, repeated: bool) -> list[str]:
        """Say, when all has ended, what is not as it should be."""


@dataclass
class Bench:
    """Hold what requests need."""

    farm: Farm
    functions: Functions
    rows: Rows

    def headers(self, client: str, key: str, kind: str = "application/json") -> dict[str, str]:
        """Make a program's headers."""
        told = {"authorization": f"Bearer {self.farm.token(client)}", "content-type": kind}
        return {**told, "idempotency-key": key} if key else told

    def open_jobs(self, client: str) -> list[str]:
        """Say what is wrong with jobs of *client*: they should have ended well."""
        wrong = []
        for spot in self.farm.ledger.of_client(client, since=0, until=ALL, limit=100):
            job = self.farm.ledger.get(spot.job_id)
            if job is None or job.state is not State.SUCCEEDED:
                wrong.append(f"job {spot.job_id} of {client} is {job.state if job else 'gone'}")
        return wrong

    def count(self, client: str) -> int:
        """Count the jobs of *client*."""
        return len(self.farm.ledger.of_client(client, since=0, until=ALL, limit=100))


@dataclass
class OneJob:
    """Submit one job."""

    bench: Bench
    asked: Asked = field(default_factory=lambda: Asked(str(uuid4()), f"api-{uuid4().hex[:12]}", {}))

    def send(self, point: Point | None = None) -> End:
        body = json.dumps({"workflow_id": "txt2img-sdxl", "inputs": GIVEN}).encode()
        headers = self.bench.headers(self.asked.client, self.asked.key)
        end = self.bench.functions.ask(api_event("POST", "/api/v2/jobs", headers, body), point)
        status, told = answered(end)
        self.asked.status = status or self.asked.status
        if status in (200, 201, 202):
            self.asked.answers.append(told)
        return end

    def breaches(self, *, repeated: bool) -> list[str]:
        wrong = self.bench.open_jobs(self.asked.client)
        count = self.bench.count(self.asked.client)
        if count > 1 or (repeated and count != 1):
            wrong.append(f"key {self.asked.key} made {count} jobs")
        if repeated and not self.asked.is_acknowledged:
            wrong.append(f"key {self.asked.key} was answered {self.asked.status} when it was repeated")
        named = {answer["id"] for answer in self.asked.answers}
        if named - {job_id_of(self.asked.client, self.asked.key)}:
            wrong.append(f"key {self.asked.key} was answered with another's job")
        return wrong


@dataclass
class ThreeRows:
    """Submit three rows in one signed request."""

    bench: Bench
    typed: list[Asked] = field(default_factory=list)

    def send(self, point: Point | None = None) -> End:
        self.typed = self.typed or self.bench.rows.type(3)
        headers, body = self.bench.rows.request(self.typed)
        end = self.bench.functions.ask(api_event("POST", ROUTE, headers, body), point)
        status, told = answered(end)
        self.bench.rows.note(self.typed, status, told)
        return end

    def breaches(self, *, repeated: bool) -> list[str]:
        wrong = []
        for one in self.typed:
            job = self.bench.farm.job(one)
            if job is None and repeated:
                wrong.append(f"the row of key {one.key} was answered {one.status} and has no job")
            elif job is not None and job.state is not State.SUCCEEDED:
                wrong.append(f"job {job.job_id} of a row is {job.state}")
        return wrong + self.bench.rows.breaches(self.typed)


@dataclass
class Batch:
    """Submit a batch of three."""

    bench: Bench
    client: str = field(default_factory=lambda: f"batch-{uuid4().hex[:12]}")
    status: int = 0

    def send(self, point: Point | None = None) -> End:
        asked = {"job": {"workflow_id": "txt2img-sdxl", "inputs": GIVEN}, "expand": {"steps": [2, 3, 4]}}
        headers = self.bench.headers(self.client, "the-batch")
        end = self.bench.functions.ask(api_event("POST", "/api/v2/batches", headers, json.dumps(asked).encode()), point)
        self.status = answered(end)[0] or self.status
        return end

    def breaches(self, *, repeated: bool) -> list[str]:
        wrong = self.bench.open_jobs(self.client)
        count = self.bench.count(self.client)
        if count > 3 or (repeated and count != 3):
            wrong.append(f"a batch of three made {count} jobs")
        if repeated and self.status not in (200, 201, 202):
            wrong.append(f"a batch was answered {self.status} when it was repeated")
        return wrong


@dataclass
class Cancel:
    """Cancel a job; it may be that a worker was quicker."""

    bench: Bench
    asked: Asked = field(default_factory=lambda: Asked(str(uuid4()), f"cancel-{uuid4().hex[:12]}", {}))
    status: int = 0
    said: str = ""
    """The state that the last answer told."""

    def send(self, point: Point | None = None) -> End:
        if not self.asked.answers:
            self.asked.body = {"workflow_id": "txt2img-sdxl", "inputs": {**GIVEN, "steps": 60}}
            for _ in range(3):  # a machine that is busy with other things may take longer than a caller waits
                if not self.asked.is_acknowledged:
                    self.bench.farm.ask_again(self.asked)
        headers = self.bench.headers(self.asked.client, "")
        event = api_event("POST", "/api/v2/jobs/{job_id}/cancel", headers, job_id=self.asked.job_id)
        end = self.bench.functions.ask(event, point)
        status, told = answered(end)
        if status:
            self.status, self.said = status, str(told.get("status", ""))
        return end

    def breaches(self, *, repeated: bool) -> list[str]:
        job = self.bench.farm.job(self.asked)
        state = job.state if job else None
        # An ended job is answered as it is, with 200 too: the state tells whether the cancellation came in time.
        if repeated and (self.status, self.said) != (200, state):
            return [
                f"job {self.asked.job_id} is {state}, and its cancellation was answered {self.status} “{self.said}”"
            ]
        if state not in (State.CANCELED, State.SUCCEEDED):
            return [f"job {self.asked.job_id} is {state} after a cancellation that nobody repeated"]
        return [] if job is None or job.is_shown else [f"the end of {job.job_id} was never told"]


@dataclass
class Upload:
    """Upload a file as a form."""

    bench: Bench
    client: str = field(default_factory=lambda: f"upload-{uuid4().hex[:12]}")
    status: int = 0
    content: bytes = field(default_factory=lambda: f"a note {uuid4()}".encode())

    def send(self, point: Point | None = None) -> End:
        head = 'Content-Disposition: form-data; name="file"; filename="note.txt"\r\nContent-Type: text/plain\r\n\r\n'
        body = f"--x\r\n{head}".encode() + self.content + b"\r\n--x--\r\n"
        headers = self.bench.headers(self.client, "", "multipart/form-data; boundary=x")
        end = self.bench.functions.ask(api_event("POST", "/api/v2/assets", headers, body), point)
        self.status = answered(end)[0] or self.status
        return end

    def breaches(self, *, repeated: bool) -> list[str]:
        prefix = f"inputs/{self.client}/"
        farm, digest = self.bench.farm, hashlib.sha256(self.content).hexdigest()
        listed = farm.s3.list_objects_v2(Bucket=farm.outputs["Bucket"], Prefix=prefix).get("Contents", [])
        wrong = []
        for each in listed:
            if each["Key"] == f"{prefix}{digest}":
                kept = farm.s3.get_object(Bucket=farm.outputs["Bucket"], Key=each["Key"])["Body"].read()
                wrong += [] if kept == self.content else [f"an upload holds {len(kept)} other bytes"]
        if repeated and (self.status not in (200, 201) or not listed):
            wrong.append(f"an upload was answered {self.status} when it was repeated, and {len(listed)} files are kept")
        return wrong


KINDS: Final[dict[str, Callable[[Bench], Request]]] = {
    "a job": OneJob,
    "three rows": ThreeRows,
    "a batch": Batch,
    "a cancellation": Cancel,
    "a file": Upload,
}


def killed_api(farm: Farm, size: Size) -> Outcome:
    """Kill the API at its calls; a worker is at work meanwhile."""
    sent: list[tuple[Request, bool]] = []
    ends: list[End] = []
    wrong: list[str] = []
    with Rows(farm, "Killed API") as rows:
        bench = Bench(farm, farm.keep(Functions, lambda: Functions(farm)), rows)
        worker = farm.worker()
        try:
            lives: dict[str, list[Point]] = {}
            whole = {name: kind(bench) for name, kind in KINDS.items()}
            for name, request in whole.items():
                lives[name] = points_of(request.send(), "network")
            wrong += [f"nobody killed the API, and yet: {each}" for each in _after(list(whole.values()))]
            orders: list[tuple[Callable[[Bench], Request], Point, bool]] = []
            for name, life in lives.items():
                if size is Size.ALL:
                    orders += [(KINDS[name], point, again) for point in life for again in (True, False)]
                else:
                    orders += [(KINDS[name], point, turn % 2 == 0) for turn, point in enumerate(sample(life, SAMPLES))]

            def one(order: tuple[Callable[[Bench], Request], Point, bool]) -> None:
                kind, point, again = order
                tried: list[Request] = []

                def send() -> End:
                    tried.append(kind(bench))
                    return tried[-1].send(point)

                ends.append(until_dead(send))
                if again:
                    tried[-1].send()
                sent.append((tried[-1], again))

            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(one, orders))
            recovery_s = _recovered(farm, bench, sent)
        finally:
            worker.stop()
        for request, again in sent:
            wrong += request.breaches(repeated=again)
    asked = [each for request, _ in sent for each in _jobs_of(request)]
    tally, lost = farm.judge(asked)
    dead = [end for end in ends if end.is_dead]
    if len(dead) < 0.8 * len(ends):
        wrong.append(f"{len(ends) - len(dead)} of {len(ends)} calls did not meet the point at which they were to die")
    return Outcome(
        tally,
        {
            **{f"calls for {name}": len(life) for name, life in lives.items()},
            "killed": len(dead),
            "by deed": by_deed(dead),
            "asked again": sum(again for _, again in sent),
            "sweeper ended the rest in s": round(recovery_s, 1),
        },
        tuple(wrong + lost),
    )


def _after(requests: Iterable[Request]) -> list[str]:
    """Say what is wrong with requests that nobody disturbed, when their jobs have had time to end."""
    wrong: list[str] = []

    def settled() -> bool:
        wrong[:] = [each for request in requests for each in request.breaches(repeated=True)]
        return not wrong

    wait_until(settled, 90, look_s=0.5)
    return wrong


def _recovered(farm: Farm, bench: Bench, sent: Sequence[tuple[Request, bool]]) -> float:
    """Let the sweeper's minutes pass until all jobs have ended; how many seconds that took."""
    begun = time.monotonic()
    jobs = [each for request, _ in sent for each in _jobs_of(request)]
    jobs += [request.asked for request, _ in sent if isinstance(request, Cancel)]
    clients = {request.client for request, _ in sent if isinstance(request, Batch)}

    def over() -> bool:
        ids = [each.job_id for each in jobs]
        ids += [
            spot.job_id for client in clients for spot in farm.ledger.of_client(client, since=0, until=ALL, limit=10)
        ]
        return all(job.state in TERMINAL and job.is_shown for job in farm.ledger.get_many(ids))

    for number in range(SWEEPS):
        if wait_until(over, 3 if number == 0 else 10, look_s=0.3):
            break
        bench.functions.sweep(ahead_s=AHEAD_S * (number + 1))
    wait_until(over, 60, look_s=0.3)
    return time.monotonic() - begun


def _jobs_of(request: Request) -> list[Asked]:
    if isinstance(request, OneJob):
        return [request.asked]
    return request.typed if isinstance(request, ThreeRows) else []


SCENARIOS = (Scenario("F3", "the API is killed at its calls", ("P1", "P2", "P3", "P4"), killed_api),)
