"""
Every secret is changed while work goes on: nothing that was asked for is lost, and nothing secret lies about.

Drilled on the packaged app in the local cloud, each function under its own role.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from chalicelib.contract.errors import Rejected
from chalicelib.keys import LOOK_AGAIN_S
from infra.google import Safe
from infra.worker_keys import WorkerKeys
from sandbox.google_auth import make_service_account
from sandbox.waiting import wait_until
from sandbox.world import Wishes, World
from tests.journeys.line import Person

pytestmark = pytest.mark.timeout(240)
CANARIES: dict[str, str] = {}
"""Every secret that the drills have made, by what it is; the last test looks for them where none may be."""

# What a worker that ends has just been sent is seen again by the next one after VISIBILITY_S.
QUICK = {"WAIT_S": "1", "LEASE_S": "8", "HEARTBEAT_S": "2", "CLOCK_SKEW_S": "1", "VISIBILITY_S": "10"}
SMALL = {"Workflow": "txt2img-sdxl", "Width": "64", "Height": "64", "Steps": "1"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module."""
    wishes = Wishes(home=tmp_path_factory.mktemp("world"), step_ms=0, start_worker=False, worker_env=QUICK)
    with World(wishes) as world:
        world.start_worker(world.cloud.outputs["WorkerUser"])  # with what the engine asks beyond AWS
        safe = Safe(world.cloud.session(), "local")
        CANARIES["Google's first key"] = middle(safe.text() or "")
        CANARIES["the sheet's first key"] = secret_of(world.properties.document["SHEET_KEY"])
        yield world


@pytest.fixture(scope="module")
def person(world: World) -> Person:
    return Person(world)


def middle(account: str) -> str:
    """Take a line out of a private key."""
    return str(json.loads(account)["private_key"]).splitlines()[5]


def secret_of(key: str) -> str:
    return key.split("_", 2)[2]


def rendered(person: Person, first: int, prompt: str) -> list[str]:
    """Type two rows, generate them, and give their Status when all have ended."""
    before = len(person.bound_rows())
    rows = person.type_rows(first, [{"Prompt": f"{prompt} {number}", **SMALL} for number in range(2)])
    person.generate(rows)
    assert person.all_ended(before + 2, 90)
    return [person.text(row, "Status") + person.text(row, "Error") for row in rows]


def test_google_s_key_is_changed_and_rows_are_written(world: World, person: Person) -> None:
    """A new version in the secret, the old key dead at once: completion takes it up, nothing is deployed anew."""
    assert rendered(person, 20, "before") == ["done", "done"]
    safe = Safe(world.cloud.session(), "local")
    old = json.loads(safe.text() or "")
    new = make_service_account(old["token_uri"], email=old["client_email"])
    world.google.register(new)
    assert "is kept" in safe.put(json.dumps(new)) and "already" in safe.put(json.dumps(new))
    world.google.delete_key(old)
    CANARIES["Google's new key"] = middle(json.dumps(new))
    assert rendered(person, 22, "after") == ["done", "done"]
    assert world.google.keys_of(new["client_email"]) == {new["private_key_id"]}


def test_a_program_s_key_is_changed_and_no_request_fails(world: World) -> None:
    """The old key goes on, the new one opens at once: of all requests before, during and after, none fails."""
    first = world.keys.maker.new_api("studio-r")
    keys, answers, over = [first], [], threading.Event()

    def stream() -> None:
        with requests.Session() as session:
            while not over.is_set():
                for key in list(keys):
                    asked = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "x", "width": 64, "height": 64}}
                    headers = {"Authorization": f"Bearer {key}"}
                    address = f"{world.cloud.api_url}/api/v2/jobs"
                    answers.append(session.post(address, json=asked, headers=headers, timeout=20).status_code)

    sender = threading.Thread(target=stream)
    sender.start()
    try:
        assert wait_until(lambda: bool(answers))
        # Once the containers have known the key for a second: below that they do not look again.
        known_at = time.monotonic()
        assert wait_until(lambda: len(answers) >= 6 and time.monotonic() > known_at + LOOK_AGAIN_S)
        keys.append(world.keys.maker.rotate(first.split("_")[1], 3600))
        assert wait_until(lambda: len(answers) >= 20)
    finally:
        over.set()
        sender.join()
    assert set(answers) == {201}, answers
    CANARIES.update({"a program's first key": secret_of(keys[0]), "a program's new key": secret_of(keys[1])})


def test_a_sheet_s_key_is_changed_and_no_row_is_refused(world: World, person: Person) -> None:
    """Rows of a script that has the old key, and then of one that has the new key, are rendered."""
    old = world.properties.document["SHEET_KEY"]
    new = world.keys.maker.rotate(old.split("_")[1], 3600)
    CANARIES["the sheet's new key"] = secret_of(new)
    assert rendered(person, 24, "old key") == ["done", "done"]
    world.properties.document["SHEET_KEY"] = new
    assert rendered(person, 26, "new key") == ["done", "done"]


def test_a_worker_s_key_is_changed_and_no_job_is_lost(world: World, person: Person) -> None:
    """The stack's own user has two keys for a while; when the old one ends, a worker with the new one does the work."""
    session = world.cloud.session()
    user = world.cloud.outputs["WorkerUser"]
    keys = WorkerKeys(session, user)
    (old,) = keys.all()
    made = keys.new()
    CANARIES["a worker's new key"] = made["AWS_SECRET_ACCESS_KEY"]
    with pytest.raises(Rejected, match="two keys already"):
        keys.new()
    second = world.start_worker("worker-2", **made)
    assert rendered(person, 28, "both worker keys") == ["done", "done"]
    world.workers[0].stop()
    keys.end(old)
    with pytest.raises(Rejected, match="only key"):
        keys.end(made["AWS_ACCESS_KEY_ID"])
    assert rendered(person, 30, "new worker key") == ["done", "done"]
    assert list(keys.all()) == [made["AWS_ACCESS_KEY_ID"]]
    assert second.process.poll() is None


def test_no_secret_lies_in_settings_templates_or_logs(world: World) -> None:
    """
    Environments of functions, the template, its parameters and outputs, and every log line: none holds a secret.

    What is looked for are the secrets of the drills above, and a webhook's.
    """
    session, outputs = world.cloud.session(), world.cloud.outputs
    told = requests.post(
        f"{world.cloud.api_url}/api/v2/webhooks",
        json={"url": "https://127.0.0.1:9/hook", "events": ["job.succeeded"]},
        headers={"Authorization": f"Bearer {world.keys.maker.new_api('studio-w', {'scopes': 'read submit admin'})}"},
        timeout=20,
    )
    assert told.status_code == 201, told.text
    CANARIES["a webhook's secret"] = told.json()["secret"]
    assert len(CANARIES) == 8, sorted(CANARIES)
    functions, formation, logs = session.client("lambda"), session.client("cloudformation"), session.client("logs")
    stack = formation.describe_stacks(StackName="comfysheet-local")["Stacks"][0]
    places: dict[str, Any] = {
        "template": formation.get_template(StackName="comfysheet-local")["TemplateBody"],
        "stack": stack,
        "functions": functions.list_functions()["Functions"],
        "worker logs": [path.read_text() for path in world.wishes.home.glob("*.log")],
        "logs": [],
    }
    for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/comfysheet-local")["logGroups"]:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        places["logs"] += [event["message"] for page in pages for event in page["events"]]
    assert len(places["functions"]) >= 4 and len(places["logs"]) > 20 and outputs["WorkerUser"]
    for place, held in places.items():
        text = json.dumps(held, default=str)
        assert not [what for what, secret in CANARIES.items() if secret in text], place
