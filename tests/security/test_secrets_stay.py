"""
S11, S12: one stack, a person at the sheet, a program, a worker that fails and succeeds; then every place is searched.

What somebody typed stays text in every cell, and no secret of ours is anywhere but in its own store.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest
import requests

from chalicelib.contract.job import JobError, Output, Timings, job_id_of, output_prefix
from chalicelib.contract.ports import Claimed
from chalicelib.queues import CompletionQueue
from infra.__main__ import main
from infra.functions import FUNCTIONS
from infra.google import Safe
from sandbox.waiting import wait_until
from sandbox.workbook import Formula
from sandbox.world import CLIENT, World
from tests.edges.https_site import Receiver, receiving, says
from tests.journeys.line import Person
from tests.journeys.log_lines import raw_lines
from tests.security.figures import IS_WHOLE, Note
from tests.security.hostile import lines_of
from tests.security.two_tenants import lambdas_of

pytestmark = pytest.mark.timeout(600)

FORMULAS = lines_of("formulas.txt")[:: 1 if IS_WHOLE else 4]
PROMPT = "canary-prompt a heron at dusk"
TOKEN = "canary-token-of-an-input"
HOOK_TOKEN = "canary-token-of-a-hook"
SIGNED = "X-Amz-Signature"
FIRST_ROW = 40
SMALL = {"Workflow": "txt2img-sdxl", "Width": "64", "Height": "64", "Steps": "1"}
TABLES = ("JobsTable", "KeysTable", "NoncesTable", "RatesTable", "SheetsTable", "WebhooksTable", "WorkersTable")
OPERATORS = ("keys list", "sheets list", "status", "dlq list", "jobs list", "workflows list")


@pytest.fixture(scope="module")
def person(stack: World) -> Person:
    stack.cloud.session().client("sqs").purge_queue(QueueUrl=stack.cloud.outputs["JobsQueueUrl"])
    return Person(stack)


def test_whatever_is_typed_or_told_no_cell_becomes_a_formula(stack: World, person: Person, note: Note) -> None:
    """Prompts by the real script; errors, hints, names of nodes and files as a worker tells them, by the completion."""
    rows = range(FIRST_ROW, FIRST_ROW + len(FORMULAS))
    typed = [{"Prompt": f"'{text}", **SMALL} for text in FORMULAS]
    person.type_rows(rows[0], typed)
    wrong = person.type_rows(rows[-1] + 1, [{"Prompt": "x", "Workflow": f"'{text}"} for text in FORMULAS])
    for first in range(rows[0], wrong[-1] + 1, 20):  # above a few dozen rows the script asks first
        person.generate(range(first, min(first + 20, wrong[-1] + 1)))
    completions = CompletionQueue(stack.cloud.session().client("sqs"), stack.cloud.outputs["CompletionsQueueUrl"])
    named = {job_id_of(CLIENT, person.text(row, "Job ID")): number for number, row in enumerate(rows)}
    # A row that was refused at once says why already.
    left = {job.job_id: named[job.job_id] for job in person.ledger.get_many([*named])}

    def all_told() -> bool:
        """End those that may go; of the others the completion lets go as these end (a client's window)."""
        for job_id in [*left]:
            if _ended_by_a_worker(person, job_id, FORMULAS[left[job_id]], is_well=left[job_id] % 2 == 0):
                job = person.ledger.get(job_id)
                assert job is not None
                completions.hint(job)
                del left[job_id]
        return not left

    assert wait_until(all_told, 240, 0.5), left
    is_over = person.all_ended(2 * len(FORMULAS), 120)
    assert is_over, [(person.text(row, "Prompt"), person.text(row, "Status")) for row in (*rows, *wrong)]
    cells = [(row, column, cell) for sheet in stack.book.sheets for row, column, cell in _cells(sheet)]
    found = [
        (row, column, cell.user_entered.text) for row, column, cell in cells if isinstance(cell.user_entered, Formula)
    ]
    ours = f'=IMAGE("{stack.cloud.api_url}/o/'
    note(
        "S11",
        "cells that became a formula which is not ours",
        len(cells),
        [one for one in found if not one[2].startswith(ours)],
    )
    shown = [person.sheet.cell(row, person.column("Error")).formatted for row in (*rows, *wrong)]
    assert sum(bool(text) for text in shown) >= len(FORMULAS), "errors were told"
    pairs = [(text, person.text(row, "Prompt")) for text, row in zip(FORMULAS, rows, strict=True)]
    note("S11", "prompts that are another text after the run", len(pairs), [one for one in pairs if one[0] != one[1]])


def _ended_by_a_worker(person: Person, job_id: str, text: str, *, is_well: bool) -> bool:
    """Do what a worker does, with *text* in everything that it may say; False: the job is held back, or is none."""
    now, job = time.time_ns() // 1_000_000, person.ledger.get(job_id)
    if job is None:
        return False
    claimed = person.ledger.claim(job_id, job.seq, owner=text, token="t", now=now, lease_ms=60_000)
    if not isinstance(claimed, Claimed):
        return False
    if is_well:
        return person.ledger.commit(claimed.lease, now=now, outputs=[_named(job_id, text)], timings=Timings())
    error = JobError(code="x", text=text, hint=text, node=text, node_class=text)
    return person.ledger.fail(claimed.lease, now=now, error=error)


def _named(job_id: str, text: str) -> Output:
    return Output(
        key=f"{output_prefix(CLIENT, job_id, 1)}0-a.png",
        filename=text,
        content_type="image/png",
        size_bytes=1,
        sha256="0" * 64,
        node=text,
        kind="image",
        thumbnail_key=f"{output_prefix(CLIENT, job_id, 1)}0-thumb.png",
    )


def _cells(sheet: Any) -> Iterator[tuple[int, int, Any]]:
    last, _ = sheet.data_extent()
    for row in range(last):
        for column, cell in sheet.row_cells(row).items():
            yield row, column, cell


@dataclass
class Spread:
    """Hold secrets by what they are, and every text that was found, by its place."""

    secrets: dict[str, str] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)


ALLOWED = {
    # A ComfyUI that is not ours to start writes its graph into its pictures (no --disable-metadata): its owner's own.
    "the prompt": ("table JobsTable", "cells", "files runs/", "files batches/", "files outputs/", "own answers"),
    "a webhook's secret": ("own answers",),
    "the token of an input": ("table JobsTable", "files runs/", "own answers"),
    "the token of a hook": ("table JobsTable", "table WebhooksTable", "own answers"),
    "a lent address": ("own answers",),
}
"""Where what is private, and no secret, may stand: with its owner. Secrets of ours stand nowhere."""


def test_no_secret_is_found_anywhere(stack: World, person: Person, note: Note) -> None:
    """Logs, cells, files, tables, events, posts, run records, errors, operators' JSON: all of it is searched."""
    spread = Spread()
    with receiving() as receiver:
        receiver.answer = says(200)
        _live_a_day(stack, person, receiver, spread)
        spread.places["posts"] = [body.decode() for _, _, body in receiver.received]
    assert len(spread.places["posts"]) >= 2
    _search(stack, spread)
    looked = sum(len(texts) for texts in spread.places.values())
    found = [
        (what, place, next(text for text in texts if secret in text)[:300])
        for what, secret in spread.secrets.items()
        for place, texts in spread.places.items()
        if place not in ALLOWED.get(what, ()) and any(secret in text for text in texts)
    ]
    assert all(texts for texts in spread.places.values()), {place: len(texts) for place, texts in spread.places.items()}
    note(
        "S12",
        "secrets found outside their own place",
        len(spread.secrets) * looked,
        found,
        secrets=len(spread.secrets),
        places=len(spread.places),
        texts=looked,
    )


def _live_a_day(stack: World, person: Person, receiver: Receiver, spread: Spread) -> None:
    """Have rows and jobs made, some of which fail, and everything rotated once."""
    cloud, maker = stack.cloud, stack.keys.maker
    thief = cloud.worker_env("keeper")
    key = maker.new_api(CLIENT, {"scopes": "read submit raw"})
    new = maker.rotate(key.split("_")[1], 3600)
    sheet_key = stack.properties.document["SHEET_KEY"]
    google = json.loads(Safe(cloud.session(), "local").text() or "{}")["private_key"].splitlines()[5]
    headers = {"Authorization": f"Bearer {new}"}

    def ask(method: str, path: str, body: object = None) -> Any:
        answer = requests.request(method, f"{cloud.api_url}/api/v2/{path}", json=body, headers=headers, timeout=30)
        assert answer.ok, answer.text
        spread.places.setdefault("own answers", []).append(answer.text)
        return answer.json()

    hook = ask("POST", "webhooks", {"url": f"http://127.0.0.1:{receiver.port}/hook?token={HOOK_TOKEN}"})
    spread.secrets = {
        "a worker's AWS key": thief["AWS_SECRET_ACCESS_KEY"],
        "a program's key": key.split("_", 2)[2],
        "a program's new key": new.split("_", 2)[2],
        "the sheet's key": sheet_key.split("_", 2)[2],
        "a webhook's secret": hook["secret"].removeprefix("whsec_"),
        "Google's key": google,
        "the prompt": PROMPT,
        "the token of an input": TOKEN,
        "the token of a hook": HOOK_TOKEN,
        "a lent address": SIGNED,
    }
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    stack.start_worker("keeper-1", **{name: thief[name] for name in names})
    rows = person.type_rows(5, [{"Prompt": PROMPT, **SMALL}])
    before = len(person.bound_rows())
    person.generate(rows)
    small = {"width": 64, "height": 64, "steps": 1}
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    made = [ask("POST", "jobs", {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": PROMPT, **small}})]
    for address in (f"https://localhost/x.png?token={TOKEN}", f"https://[::1]/{TOKEN}/x.png#{TOKEN}"):
        loaded = {"1": {"class_type": "LoadImage", "inputs": {"image": address}}, "2": save}
        made.append(ask("POST", "jobs", {"workflow": loaded}))
    nodes = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "TestRaise", "inputs": {"image": ["1", 0], "kind": "ValueError", "seed": 1}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    made.append(ask("POST", "jobs", {"workflow": nodes, "metadata": {"note": "mine"}}))
    made.append(ask("POST", "jobs", {"workflow": {**nodes, "2": {**nodes["2"], "class_type": "NoSuchNode"}}}))
    batch = {"jobs": [{"workflow_id": "txt2img-sdxl", "inputs": {"prompt": PROMPT, **small}}], "tags": ["t"]}
    ask("POST", "batches", batch)
    assert person.all_ended(before + 1, 120), [worker.tail() for worker in stack.workers]
    for one in made:
        assert wait_until(lambda one=one: ask("GET", f"jobs/{one['id']}")["completed_at"] is not None, 120, 0.5), one
    ask("POST", f"webhooks/{hook['id']}/test")
    ask("POST", f"webhooks/{hook['id']}/rotate")
    for one in made:
        told = ask("GET", f"jobs/{one['id']}")
        spread.places.setdefault("errors", []).append(json.dumps(told.get("error") or "none"))
    requests.get(
        f"{cloud.api_url}/api/v2/jobs?token={TOKEN}", headers={"Authorization": f"Bearer {key[:-1]}"}, timeout=30
    )
    wait_until(lambda: len(receiver.received) >= len(made), 60)


def _search(stack: World, spread: Spread) -> None:
    """Read every place."""
    cloud = stack.cloud
    session, outputs, places = cloud.session(), cloud.outputs, spread.places
    places["function logs"] = [line for function in FUNCTIONS for line in raw_lines(stack, function)]
    places["worker logs"] = [path.read_text() for path in stack.wishes.home.glob("*.log")]
    places["cells"] = [
        json.dumps([str(cell.user_entered), str(cell.formatted), str(getattr(cell, "note", ""))], ensure_ascii=False)
        for sheet in stack.book.sheets
        for _, _, cell in _cells(sheet)
    ]
    s3: Any = session.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=outputs["Bucket"]):
        for one in page.get("Contents", []):
            answer = s3.get_object(Bucket=outputs["Bucket"], Key=one["Key"])
            text = answer["Body"].read().decode("latin-1") + json.dumps(answer.get("Metadata", {})) + one["Key"]
            places.setdefault(f"files {one['Key'].split('/')[0]}/", []).append(text)
    dynamodb: Any = session.client("dynamodb")
    for name in TABLES:
        pages = dynamodb.get_paginator("scan").paginate(TableName=outputs[name])
        places[f"table {name}"] = [
            json.dumps(item, default=str, ensure_ascii=False) for page in pages for item in page["Items"]
        ]
    places["events"] = _events(session.client("sqs"), outputs["EventsQueueUrl"])
    places["operators' JSON"] = [_told(stack, *words.split()) for words in OPERATORS]


def _told(stack: World, *words: str) -> str:
    """Give what an operator's command says as JSON; of a job its inputs are the operator's to see."""
    with lambdas_of(stack), redirect_stdout(StringIO()) as told:
        main([*words, "--json", "--stage", "local"])
    return told.getvalue()


def _events(sqs: Any, url: str) -> list[str]:
    found: list[str] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        found += [message["Body"] for message in messages]
    return found
