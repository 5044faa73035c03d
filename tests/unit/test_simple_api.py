"""The simple forms of older gateways: the same jobs in other words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, JobError, Progress, Timings
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.ports import Claimed, Lease
from chalicelib.keys import ApiKey
from chalicelib.programs import Programs, Surroundings
from chalicelib.simple_api import SimpleApi
from chalicelib.submit import Submit
from infra.workflow_files import read_folder
from tests.fakes import MemoryLedger
from tests.file_fakes import MemoryShelf
from tests.jobs import NOW, output

SHIPPED = {workflow.id: workflow for workflow in read_folder()}
ASKED = {"workflow_id": "txt2img-sdxl", "params": {"prompt": "a fox", "seed": 7}}


class Counter:
    """Hold the simple API on fakes."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.sent: list[str] = []
        submit = Submit(self.ledger, self, self, lambda: NOW)
        self.api = SimpleApi(Programs(submit, self.ledger, Surroundings(shelf=MemoryShelf())), self.ledger)

    def find(self, name: str, client_id: str) -> Workflow:
        if name not in SHIPPED:
            raise Rejected("unknown_workflow", f"There is no workflow called {name}.")
        return SHIPPED[name]

    def send(self, jobs: Sequence[Job]) -> int:
        self.sent += [job.job_id for job in jobs]
        return len(jobs)

    def generate(self, body: Any, key: str | None = None) -> Answer:
        headers = {} if key is None else {"idempotency-key": key}
        call = replace(self.call(), headers=headers, body=json.dumps(body).encode())
        return guarded(lambda: self.api.generate(call))

    def task(self, task_id: str, client: str = "a") -> Answer:
        call = replace(self.call(client), path={"task_id": task_id})
        return guarded(lambda: self.api.task(call))

    def call(self, client: str = "a") -> Call:
        return Call({}, b"", "https://host/api", key=ApiKey("k", client, frozenset({"read", "submit"})))

    def claim(self, task_id: str) -> Lease:
        claimed = self.ledger.claim(task_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
        assert isinstance(claimed, Claimed)
        return claimed.lease


@pytest.fixture
def counter() -> Counter:
    return Counter()


def test_a_task_is_a_job(counter: Counter) -> None:
    """202 with its id; the job lies in the ledger and its message is sent."""
    answer = counter.generate(ASKED)
    task_id = answer.body["task_id"]
    assert (answer.status, answer.body) == (202, {"task_id": task_id, "status": "PENDING"})
    job = counter.ledger.get(task_id)
    assert job is not None and (job.inputs["seed"], counter.sent) == (7, [task_id])


def test_the_same_key_is_the_same_task(counter: Counter) -> None:
    """Also for older gateways' clients, if they say so; without a key each request is a task of its own."""
    first, again = counter.generate(ASKED, "k"), counter.generate(ASKED, "k")
    assert (first.status, again.status, again.body) == (202, 200, first.body)
    other = counter.generate({**ASKED, "params": {"prompt": "a cat"}}, "k")
    assert other.body["error"]["code"] == "idempotency_key_reuse"
    assert counter.generate(ASKED).body != counter.generate(ASKED).body


def test_a_task_goes_through_the_four_words(counter: Counter) -> None:
    """PENDING, STARTED with its progress, SUCCESS with a link that needs no key."""
    task_id = counter.generate(ASKED).body["task_id"]
    empty = {"task_id": task_id, "progress": None, "result": None, "error": None}
    assert counter.task(task_id).body == {**empty, "status": "PENDING"}
    lease = counter.claim(task_id)
    counter.ledger.heartbeat(lease, until=NOW + 1, phase="rendering", progress=Progress(fraction=0.5))
    assert counter.task(task_id).body == {**empty, "status": "STARTED", "progress": 0.5}
    counter.ledger.commit(lease, now=NOW, outputs=[output(), output()], timings=Timings())
    done = counter.task(task_id).body
    job = counter.ledger.get(task_id)
    assert job is not None
    link = f"https://host/api/o/{task_id}/0?t={job.view_token}"
    assert (done["status"], done["error"]) == ("SUCCESS", None)
    assert (done["result"]["download_url"], done["result"]["params"]["seed"]) == (f"{link}&download=1", 7)
    assert [file["url"] for file in done["result"]["files"]] == [link, link.replace("/0?", "/1?")]


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        (
            lambda ledger, lease: ledger.fail(
                lease, now=NOW, error=JobError(code="x", text="No memory.", hint="Less.")
            ),
            "No memory. Less.",
        ),
        (lambda ledger, lease: ledger.cancel(lease.job_id, now=NOW), "It was cancelled."),
    ],
)
def test_what_did_not_work_is_a_failure_with_its_sentence(
    counter: Counter, end: Callable[[MemoryLedger, Lease], object], sentence: str
) -> None:
    """A cancelled job as well: older clients know no fifth word."""
    task_id = counter.generate(ASKED).body["task_id"]
    end(counter.ledger, counter.claim(task_id))
    shown = counter.task(task_id).body
    assert (shown["status"], shown["result"], shown["error"]) == ("FAILURE", None, sentence)


def test_a_task_that_made_no_file_succeeds_without_a_link(counter: Counter) -> None:
    """download_url is null then."""
    task_id = counter.generate(ASKED).body["task_id"]
    counter.ledger.commit(counter.claim(task_id), now=NOW, outputs=[], timings=Timings())
    assert counter.task(task_id).body["result"]["download_url"] is None


def test_other_clients_tasks_look_like_none(counter: Counter) -> None:
    """404, as for an id that nobody has."""
    task_id = counter.generate(ASKED).body["task_id"]
    for answer in (counter.task(task_id, "b"), counter.task("nonsense")):
        assert (answer.status, answer.body["error"]["message"]) == (404, "There is no task of this id.")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"workflow_id": "txt2img-sdxl", "inputs": {}}, 400),
        ({"workflow_id": "nowhere"}, 422),
        ({"workflow_id": "txt2img-sdxl", "params": {"prompt": "a", "steps": 0}}, 422),
    ],
)
def test_a_wish_that_cannot_be_is_refused(counter: Counter, body: Any, status: int) -> None:
    """In the envelope of all other errors."""
    answer = counter.generate(body)
    assert (answer.status, bool(answer.body["error"]["message"]), counter.sent) == (status, True, [])
