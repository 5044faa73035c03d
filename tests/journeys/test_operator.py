"""An operator's day at one deployed stage: every verb as it is typed, on the local cloud."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from chalicelib.contract.job import Job, JobError
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import Parked
from chalicelib.contract.states import State
from infra.__main__ import main
from infra.deployed import Deployed, now_ms
from infra.package import ROOT
from infra.stack import WORKER_VARIABLES
from infra.standing import QUEUES, queue_counts, read_standing
from infra.tail import Logs, follow
from sandbox.waiting import wait_until
from sandbox.world import CLIENT, Wishes, World
from tests.journeys.line import Person
from tests.waiting import until


@dataclass(frozen=True)
class Said:
    """Hold what a verb answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Operator:
    """Type verbs, in the environment of whoever runs the local cloud."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.there = Deployed(world.cloud.session(), "local")
        self.key = self.there.keys.new_api("studio-a")

    def says(self, *words: str, environment: Mapping[str, str] | None = None) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for name, value in {**self.world.cloud.env(), "COLUMNS": "80", **(environment or {})}.items():
                patch.setenv(name, value)
            code = main([*words, "--stage", "local"])
        return Said(code, out.getvalue(), err.getvalue())

    def submit(self) -> Job:
        """Have a program's job made."""
        asked = {"workflow_id": "empty-color", "inputs": {"color": "teal"}}
        headers = {"Authorization": f"Bearer {self.key}"}
        made = requests.post(f"{self.world.cloud.api_url}/api/v2/jobs", json=asked, headers=headers, timeout=60)
        assert made.status_code == 201, made.text
        return self.job(made.json()["id"])

    def job(self, job_id: str) -> Job:
        job = self.there.ledger.get(job_id)
        assert job is not None
        return job

    def has_ended_well(self, job_id: str) -> bool:
        return wait_until(lambda: self.job(job_id).state is State.SUCCEEDED)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """Run one world for this module; its worker comes later (`worker`)."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=0, start_worker=False)) as world:
        yield Operator(world)


@pytest.fixture(scope="module")
def worker(operator: Operator) -> None:
    """Start a worker, from its first test on."""
    operator.world.start_worker()


def test_a_stage_that_is_well_fits_on_one_screen(operator: Operator) -> None:
    """Without troubles the exit code is 0; no line is wider than 80 columns; the JSON says the same."""
    said = operator.says("status")
    assert (said.code, said.err) == (0, ""), said.out
    assert "Nothing rings." in said.out and "none was heard within the last hour" in said.out
    assert "as in dist/" in said.out or "not what dist/ holds" in said.out
    assert max(map(len, said.out.splitlines())) <= 80 and len(said.out.splitlines()) <= 24
    told = operator.says("status", "--json", "--count").document
    assert [queue["name"] for queue in told["queues"]] == ["jobs", "completions", "deliveries"]
    assert (told["needs_you"], told["counted"], told["jobs"]["queued"]) == ([], {}, 0)


def test_a_look_never_reads_the_whole_job_table(operator: Operator) -> None:
    """With 100,000 jobs it would take minutes: every scan of that table is one of a sparse index."""
    there = Deployed(operator.world.cloud.session(), "local")
    scanned: list[str] = []

    def note(params: Mapping[str, Any], **_: object) -> None:
        if params["TableName"] == there.outputs["JobsTable"]:
            scanned.append(str(params.get("IndexName")))

    there.client("dynamodb").meta.events.register("before-parameter-build.dynamodb.Scan", note)
    read_standing(there, ROOT / "dist")
    assert sorted(scanned) == ["dirty", "line"]


def test_a_failed_job_is_found_explained_and_repeated(operator: Operator) -> None:
    """`jobs` lists it, `show` says why it failed, `retry` makes a new job of it; another one is cancelled."""
    ledger, job = operator.there.ledger, operator.submit()
    claimed = ledger.claim(job.job_id, job.seq, owner="gpu-7", token="t", now=now_ms(), lease_ms=60_000)
    assert isinstance(claimed, Claimed)
    fault = JobError(code="out_of_memory", text="The GPU ran out of memory.", hint="Choose a smaller size.")
    assert ledger.fail(claimed.lease, now=now_ms(), error=fault)

    listed = operator.says("jobs", "--state", "failed")
    assert job.job_id in listed.out and "The GPU ran out of memory. Choose a smaller size." in listed.out
    assert max(map(len, listed.out.splitlines())) <= 80
    one = operator.says("jobs", "list", "--state", "failed", "--client", "studio-a", "--json").document
    assert (one["job_id"], one["worker"], one["error"]["code"]) == (job.job_id, "gpu-7", "out_of_memory")
    page = operator.says("jobs", "show", job.job_id)
    assert all(word in page.out for word in ("out_of_memory", "gpu-7", "Timeline", "run record", job.view_token))
    assert "Inputs" not in page.out and "Inputs\ncolor" in operator.says("jobs", "show", job.job_id, "--inputs").out
    told = operator.says("jobs", "show", job.job_key, "--json").document
    assert told["job_id"] == job.job_id and "claim_token" not in told and "inputs" not in told

    again = operator.says("jobs", "retry", job.job_id, "--json").document
    other = operator.job(again["job_id"])
    assert (other.retry_of, other.inputs, other.target) == (job.job_id, job.inputs, None)
    assert operator.says("jobs", "cancel", other.job_id).code == 0
    assert operator.job(other.job_id).state is State.CANCELED
    said = operator.says("jobs", "cancel", job.job_id)
    assert (said.code, "had failed before" in said.out) == (1, True)
    said = operator.says("jobs", "show", "nothing-like-it")
    assert (said.code, said.out) == (1, "") and "There is no job nothing-like-it." in said.err


def test_a_dead_letter_is_seen_understood_and_sent_back(
    operator: Operator, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """
    Of a waiting job's message and a stranger's: the first is sent back and the job is rendered; the second cannot be
    read, is left, and is written down before it is dropped.
    """
    sqs: Any = operator.there.client("sqs")
    outputs = operator.there.outputs
    sqs.purge_queue(QueueUrl=outputs["JobsQueueUrl"])
    job = operator.submit()
    taken: list[Any] = []

    def is_taken() -> bool:
        taken.extend(sqs.receive_message(QueueUrl=outputs["JobsQueueUrl"], WaitTimeSeconds=1).get("Messages", []))
        return bool(taken)

    assert wait_until(is_taken)
    sqs.delete_message(QueueUrl=outputs["JobsQueueUrl"], ReceiptHandle=taken[0]["ReceiptHandle"])
    why = {"reason": {"DataType": "String", "StringValue": "the body is no job message (missing)"}}
    sqs.send_message(QueueUrl=outputs["JobsDeadLettersUrl"], MessageBody=taken[0]["Body"])
    sqs.send_message(QueueUrl=outputs["JobsDeadLettersUrl"], MessageBody='{"hello": 1}', MessageAttributes=why)

    said = operator.says("status")
    assert said.code == 3 and "2 dead letters of jobs: look with `dlq show jobs`." in said.out
    listed = operator.says("dlq", "list", "--json").document["queues"]
    assert [(each["queue"], each["dead"]) for each in listed] == [("jobs", 2), ("completions", 0), ("deliveries", 0)]
    shown = operator.says("dlq", "show", "jobs").out
    assert f"{job.job_id}  queued, of studio-a" in shown
    assert "a worker put it there: the body is no job message (missing)" in shown
    letters = operator.says("dlq", "show", "jobs", "--json").document["letters"]
    assert sorted(letter["receives"] for letter in letters) == [3, 3], "each look counts, and none keeps it"
    assert operator.says("dlq", "redrive", "jobs", "--all", "--dry-run", "--json").document["moved"] == 0

    said = operator.says("dlq", "redrive", "jobs", "--all")
    assert "Back in jobs: 1 letter." in said.out and "Left: 1 letter that nobody can read." in said.out
    assert operator.says("dlq", "drop", "jobs", "--all").code == 1, "it asks, and nobody is there to say yes"
    file = tmp_path / "dropped.jsonl"
    dropped = operator.says("dlq", "drop", "jobs", "--all", "--yes", "--to", str(file), "--json").document
    assert (dropped["dropped"], json.loads(file.read_text())["body"]) == (1, '{"hello": 1}')
    assert operator.says("dlq", "list").out.endswith("There are no dead letters.\n")
    request.getfixturevalue("worker")
    assert operator.has_ended_well(job.job_id)


def test_dead_news_is_sent_back_in_its_group(operator: Operator) -> None:
    """A hint from the FIFO dead letters reaches completion, which takes it from its queue."""
    sqs: Any = operator.there.client("sqs")
    source, dead = (operator.there.outputs[name] for name in QUEUES["completions"])
    job = next(iter(operator.there.ledger.of_client("studio-a", since=0, until=2**53, limit=1)))
    body = json.dumps({"ended": job.job_id, "client_id": "studio-a"})
    sqs.send_message(QueueUrl=dead, MessageBody=body, MessageGroupId="ended:studio-a", MessageDeduplicationId="1")
    (letter,) = operator.says("dlq", "show", "completions", "--json").document["letters"]
    assert (letter["group"], letter["jobs"]) == ("ended:studio-a", {job.job_id: "succeeded"})
    assert operator.says("dlq", "redrive", "completions", "--id", "00000000-none").code == 1
    said = operator.says("dlq", "redrive", "completions", "--id", letter["id"][:13], "--json").document
    assert said == {"queue": "completions", "moved": 1, "unreadable": 0, "unseen": 0, "not_found": 0, "by": "hand"}

    def is_read() -> bool:
        return not any(sum(queue_counts(operator.there, url).values()) for url in (dead, source))

    assert wait_until(is_read)


def test_a_parked_sheet_is_seen_and_its_rows_follow_when_it_is_not(operator: Operator, worker: None) -> None:
    """While it is parked its row lags; `unpark` has completion try at once, and `tail` tells of that job alone."""
    world, person = operator.world, Person(operator.world)
    sheet_id = world.book.spreadsheet_id
    now = now_ms()
    reason = "The spreadsheet is not shared with the service account as an editor."
    operator.there.registry.park(sheet_id, Parked(reason=reason, since=now, until=now + 3_600_000))
    first, _ = person.sheet.data_extent()
    person.generate(person.type_rows(first, [{"Prompt": "", "Workflow": "empty-color"}]))
    assert wait_until(lambda: bool(person.text(first, "Job ID")))
    job = person.job(first)
    assert operator.has_ended_well(job.job_id), (operator.job(job.job_id), operator.world.workers[0].tail())

    status = operator.says("status", "--json")
    assert status.code == 3 and status.document["parked"][0]["reason"] == reason
    assert f"is parked: {reason}" in operator.says("sheets", "list", "--parked").out
    shown = operator.says("sheets", "show", sheet_id, "--json").document
    assert (shown["client"], shown["rows_behind"], shown["parked"]["reason"]) == (CLIENT, 1, reason)
    said = operator.says("sheets", "unpark", f"https://docs.google.com/spreadsheets/d/{sheet_id}/edit#gid=0")
    assert said.out.startswith("It is not parked any more.") and "1 row behind" in said.out
    assert until(world.book, lambda: person.text(first, "Status") == "done"), person.text(first, "Status")
    assert operator.says("sheets", "list", "--parked").out.startswith("There is no such spreadsheet.")
    by_row = operator.says("jobs", "show", person.text(first, "Job ID"), "--client", CLIENT)
    assert job.job_id in by_row.out and "it says done" in by_row.out

    groups = {"completion": operator.there.functions["completion"].log_group}
    logs = Logs(operator.there.client("logs"), groups, job.job_id)
    assert wait_until(lambda: any(line.fields.get("action") == "shown" for line in logs.since(now)), look_s=0.2)
    assert f"[shown] {job.job_id}" in operator.says("tail", "--job", job.job_id, "--function", "completion").out
    lines = operator.says("tail", "--job", job.job_id, "--level", "DEBUG", "--json").out.splitlines()
    assert lines and all(job.job_id in line for line in lines)
    followed = next(follow(logs, now, now_ms, lambda _pause: None))
    assert followed.function == "completion" and job.job_id in followed.text


def test_keys_are_made_used_rotated_and_ended_by_commands(operator: Operator) -> None:
    """The printed key opens the API, and so does the rotated one; a list shows neither."""

    def opens(key: str) -> bool:
        url, headers = f"{operator.world.cloud.api_url}/api/v2/me", {"Authorization": f"Bearer {key}"}
        return requests.get(url, headers=headers, timeout=60).status_code == 200

    key = operator.says("keys", "create", "--client", "studio-b", "--scopes", "read", "--note", "n8n").out.strip()
    assert opens(key)
    # A container knows a key for half a minute: of the one that is rotated it has not heard yet.
    key = operator.says("keys", "create", "--client", "studio-b", "--scopes", "read", "--note", "n8n").out.strip()
    key_id = key.split("_")[1]
    listed = [each for each in operator.says("keys", "list", "--json").document["keys"] if each["key_id"] == key_id]
    assert (listed[0]["client"], listed[0]["scopes"], listed[0]["note"]) == ("studio-b", "read", "n8n")
    table = operator.says("keys", "list").out
    assert key_id in table and key.split("_", 2)[2] not in table and max(map(len, table.splitlines())) <= 80
    rotated = operator.says("keys", "rotate", key_id).out.splitlines()[0]
    assert rotated != key and opens(rotated) and opens(key), "the former one lives on for a while"
    assert operator.says("keys", "revoke", key_id).code == 0
    assert operator.says("keys", "rotate", key_id).err == f"There is no key {key_id} of a program or a sheet.\n"
    wrong = operator.says("keys", "create", "--client", "Studio B")
    assert (wrong.code, wrong.err) == (1, "A client's name has 1 to 40 lower-case letters, digits and hyphens.\n")


def test_lists_are_told_to_scripts(operator: Operator) -> None:
    """Outputs and workflows as JSON, by stable names; as a process of its own, too."""
    outputs = operator.says("outputs", "--json").document
    assert outputs == dict(operator.there.outputs)
    assert set(operator.says("outputs", "--env", "--json").document) == {*WORKER_VARIABLES, "AWS_REGION"}
    listed = operator.says("workflows", "list", "--json").document["workflows"]
    assert {each["workflow_id"] for each in listed} >= {"empty-color", "txt2img-sdxl"}
    assert "empty-color" in operator.says("workflows", "list", "--all").out
    process = subprocess.run(
        [sys.executable, "-m", "infra", "workflows", "list", "--json", "--stage", "local"],
        cwd=ROOT,
        env={**os.environ, **operator.world.cloud.env()},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(process.stdout)["workflows"] == listed


def test_the_cost_is_added_up_from_jobs(operator: Operator) -> None:
    """Every ended job counts, failed ones too; AWS's part says that it is estimated."""
    bill = operator.says("cost", "--days", "1", "--by", "sheet", "--price", "3.6", "--json").document
    jobs = [job for client in ("studio-a", CLIENT) for job in _jobs(operator, client)]
    assert (bill["total"]["jobs"], bill["total"]["failed"]) == (len(jobs), 1)
    assert bill["total"]["gpu_usd"] == pytest.approx(bill["total"]["gpu_s"] / 1000)
    assert set(bill["groups"]) == {"no sheet (programs)", operator.world.book.spreadsheet_id}
    assert bill["aws"]["is_estimated"] and bill["aws"]["usd"] > 0
    assert bill["aws"]["standing_usd"] < 0.1, "the stage is some minutes old, not a day"
    said = operator.says("cost")
    assert "1,000 images: $" in said.out and "The bill is AWS's." in said.out


def _jobs(operator: Operator, client: str) -> list[str]:
    return [spot.job_id for spot in operator.there.ledger.of_client(client, since=0, until=2**53, limit=100)]


def test_the_doctor_names_what_is_broken_and_what_to_do(operator: Operator, worker: None) -> None:
    """
    The engine's CloudFormation leaves TTL and backups off, which is seen; put right, nothing is at fault; and a queue
    that nobody reads is.
    """
    assert {each["name"] for each in _faults(operator)} == {"expiry", "backups"}
    dynamodb: Any = operator.there.client("dynamodb")
    for output, name in operator.there.outputs.items():
        if output.endswith("Table"):
            ttl = {"AttributeName": "ttl", "Enabled": True}
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
            recovery = {"PointInTimeRecoveryEnabled": True}
            dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
    said = operator.says("doctor")
    assert said.code == 0 and "✗" not in said.out and "All is well." in said.out, said.out

    functions: Any = operator.there.client("lambda")
    name = operator.there.functions["completion"].name
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    (fault,) = _faults(operator)
    assert fault["name"] == "event sources" and "completion's queue is Disabled" in fault["seen"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def _faults(operator: Operator) -> list[dict[str, str]]:
    findings = operator.says("doctor", "--json").document["findings"]
    return [each for each in findings if each["verdict"] == "fault"]


def test_whoever_may_not_is_told_which_permission_lacks(operator: Operator) -> None:
    """In a sentence, without a trace; and a stage that is not there is named."""
    poor = operator.world.cloud.worker_env("poor")
    said = operator.says("status", environment=poor)
    assert said.code == 1
    assert "You may not do that: the permission cloudformation:DescribeStacks is missing, or a policy" in said.err
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name, value in operator.world.cloud.env().items():
            patch.setenv(name, value)
        assert main(["sheets", "list", "--stage", "nowhere"]) == 1
    assert "infra deploy --stage nowhere" in err.getvalue()
