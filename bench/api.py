"""
Measure the API of programs in this process over the local cloud: how fast it answers, how that grows with the table,
and what a cold start costs, by dependency.

Growth: the same calls on a table of 100, 1,000, … jobs; the exponent is the slope of the medians in a log-log plot (0:
the table's size does not matter; 1: twice the jobs take twice as long). Beside the time, in which the local cloud's own
search is contained, the items that DynamoDB looks at for one answer are counted: they are the API's doing alone.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from bench.figures import Figure, single, spread
from bench.line import cloud_in_environment, timed
from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.contract.job import RETENTION_MS, Job, fingerprint, job_id_of
from chalicelib.contract.states import State
from chalicelib.ledger.item import item_of
from chalicelib.operations import OPERATIONS
from sandbox.world import ROOT, Wishes, World

CLIENT: Final = "bench"
_BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
_IMPORT: Final = re.compile(r"import time:\s+\d+ \|\s+(\d+) \|( +)(\S+)")
DEPENDENCIES: Final = (
    "chalice",
    "boto3",
    "botocore",
    "pydantic",
    "aws_lambda_powertools",
    "standardwebhooks",
    "requests",
    "jinja2",
    "blake3",
)

Note = Callable[[str, Figure], None]


def measure(note: Note, *, quick: bool) -> None:
    """Measure all of it; *quick*: up to 1,000 jobs in the table instead of 100,000, and few samples."""
    sizes, times = ((100, 1_000), 15) if quick else ((100, 1_000, 10_000, 100_000), 40)
    with (
        tempfile.TemporaryDirectory(prefix="comfysheet-bench-") as home,
        World(Wishes(home=Path(home), step_ms=0, start_worker=False)) as world,
        cloud_in_environment(world),
    ):
        caller = Caller(world)
        known = _growth(world, caller, note, sizes, times)
        _cold_start(note, 3 if quick else 10, known, caller.key)


class Caller:
    """Call operations as app.py does, and count what DynamoDB is asked for meanwhile."""

    def __init__(self, world: World) -> None:
        from chalicelib.wiring import World as Lambdas

        self._lambdas = Lambdas(os.environ)
        self.key = world.keys.maker.new_api(CLIENT)
        self.scanned: list[str] = []
        self.looked_at = 0
        events = self._lambdas._dynamodb.meta.events
        events.register("before-parameter-build.dynamodb.Scan", self._note_scan)
        events.register("after-call.dynamodb", self._note)

    def _note_scan(self, params: dict[str, Any], **_: Any) -> None:
        self.scanned.append(params["TableName"])

    def _note(self, parsed: dict[str, Any], **_: Any) -> None:
        # BatchGetItem answers by table, a query counts, and every other call is about one item.
        several = sum(len(items) for items in parsed["Responses"].values()) if "Responses" in parsed else 1
        self.looked_at += int(parsed.get("ScannedCount", several))

    def call(self, name: str, body: bytes = b"", **path: str) -> Answer:
        """Answer operation *name*; raise when it is refused."""
        operation = _BY_NAME[name]
        headers = {"authorization": f"Bearer {self.key}", "idempotency-key": str(uuid4())}
        call = Call(headers, body, "https://bench/api", path)
        answer = guarded(lambda: operation.answer(self._lambdas, self._lambdas.gate.admitted(call, operation.scope)))
        if answer.status >= 400:
            raise RuntimeError(f"{name} was refused: {answer.body}")
        return answer


def _growth(world: World, caller: Caller, note: Note, sizes: Sequence[int], times: int) -> str:
    """Call the same on a table that grows; answer the id of a job."""
    table: str = world.cloud.outputs["JobsTable"]
    dynamodb: Any = world.cloud.session().client("dynamodb")
    body = json.dumps({"workflow_id": "empty-color", "inputs": {"color": "teal"}}).encode()
    known = str(caller.call("createJob", body).body["id"])
    asked: dict[str, Callable[[], object]] = {
        "get_job": lambda: caller.call("getJob", job_id=known),
        "list_jobs": lambda: caller.call("listJobs"),
        "create_job": lambda: caller.call("createJob", body),
    }
    for what in asked.values():
        what()
    medians: dict[str, list[float]] = {name: [] for name in asked}
    looked: dict[str, list[int]] = {name: [] for name in asked}
    there = 0
    for size in sizes:
        fill(dynamodb, table, range(there, size))
        there = size
        for name, what in asked.items():
            before = caller.looked_at
            samples = [timed(what) for _ in range(times)]
            looked[name].append((caller.looked_at - before) // times)
            medians[name].append(statistics.median(samples))
            if size == sizes[-1]:
                note(f"{name}_ms", spread(samples, "ms"))
    for name in asked:
        note(
            f"{name}_growth_exponent", single(exponent(sizes, medians[name]), f"{sizes[0]} to {sizes[-1]} jobs", times)
        )
        note(f"{name}_items_looked_at", single(looked[name][-1], f"items, of {sizes[-1]} jobs", times))
    note("get_job_per_s", single(1000 / medians["get_job"][-1], "calls/s", times))
    note("jobs_table_scans", single(caller.scanned.count(table), "scans of the jobs table", times))
    return known


def exponent(sizes: Sequence[int], medians: Sequence[float]) -> float:
    """Fit the slope of log(median) over log(size) by least squares."""
    xs, ys = [math.log(size) for size in sizes], [math.log(median) for median in medians]
    return float(statistics.linear_regression(xs, ys).slope)


def fill(dynamodb: Any, table: str, numbers: range) -> None:
    """Put ended jobs of one client into the table."""
    now = time.time_ns() // 1_000_000

    def item(number: int) -> dict[str, Any]:
        key = f"filled-{number}"
        job = Job(
            job_id=job_id_of(CLIENT, key),
            client_id=CLIENT,
            job_key=key,
            state=State.SUCCEEDED,
            version=3,
            attempt=1,
            workflow_id="empty-color",
            workflow_hash="0" * 64,
            inputs={"color": number},
            input_hash=fingerprint({"color": number}),
            view_token="t" * 22,
            created_at=now - number * 1000 - 3_600_000,
            enqueued_at=now,
            deadline=now,
            started_at=now,
            finished_at=now,
            synced_version=3,
        )
        return {**item_of(job), "ttl": {"N": str((now + RETENTION_MS) // 1000)}}

    def put(begin: int) -> None:
        requests = [{"PutRequest": {"Item": item(number)}} for number in range(begin, min(begin + 25, numbers.stop))]
        left: dict[str, Any] = {table: requests}
        while left:
            left = dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems", {})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, numbers[::25]))


def _cold_start(note: Note, times: int, job_id: str, key: str) -> None:
    """Start interpreters that import app: what each dependency takes, and until the first job is shown."""
    first = f"""
import app
from chalice.test import Client
with Client(app.app) as client:
    answer = client.http.get("/api/v2/jobs/{job_id}", headers={{"Authorization": "Bearer {key}"}})
    assert answer.status_code == 200
"""
    bare = statistics.median(_python_ms("pass") for _ in range(times))
    note("app_import_ms", spread([_python_ms("import app") - bare for _ in range(times)], "ms"))
    note("first_request_ms", spread([_python_ms(first) - bare for _ in range(times)], "ms"))
    found: dict[str, list[float]] = {name: [] for name in DEPENDENCIES}
    for _ in range(times):
        for name, took_ms in _imports():
            if name in found:
                found[name].append(took_ms)
    for name, samples in found.items():
        if samples:
            note(f"import_{name}_ms", spread(samples, "ms"))


def _imports() -> Iterator[tuple[str, float]]:
    """List what `import app` imports, each with what it took in all (ms; the stopwatch itself costs something)."""
    command = [sys.executable, "-X", "importtime", "-c", "import app"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    for line in run.stderr.splitlines():
        if match := _IMPORT.match(line):
            yield match[3], int(match[1]) / 1000


def _python_ms(code: str) -> float:
    return timed(lambda: subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True))
