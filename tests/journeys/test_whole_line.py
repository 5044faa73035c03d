"""From the menu to the picture, with everything real in between."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from PIL import Image

from chalicelib.contract.counts import Metric
from chalicelib.contract.job import job_id_of
from chalicelib.contract.states import State
from infra.functions import API, COMPLETION, FUNCTIONS, SWEEP
from sandbox.waiting import wait_until
from sandbox.workbook import OPEN, Area, Formula
from sandbox.world import CLIENT, Wishes, World
from tests.journeys.line import Person
from tests.journeys.log_lines import Line, lines_of, metrics_of, raw_lines, worker_lines

CANARY = "canary: a heron at dusk"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module, its tabs added as the tests need them."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=15)) as world:
        yield world


@pytest.fixture
def person(world: World) -> Person:
    """Give a person in front of an empty tab with the example's headers."""
    person = Person(world)
    sheet = person.sheet
    last, _ = sheet.data_extent()
    with world.book.editing("person"):
        sheet.clear(Area(1, 0, OPEN, OPEN))
    assert last >= 1
    return person


def rows(count: int) -> list[dict[str, str]]:
    return [
        {
            "Prompt": f"picture {number}",
            "Workflow": "txt2img-sdxl",
            "Width": "128",
            "Height": "96",
            "Steps": "6",
        }
        for number in range(count)
    ]


def assert_own_results(person: Person, count: int) -> None:
    """Every bound row shows exactly the outputs of its own job, for its own prompt."""
    bound = person.bound_rows()
    assert len(bound) == count
    for row in bound:
        job = person.job(row)
        assert job.state is State.SUCCEEDED, job.error
        assert job.inputs["prompt"] == person.sheet.cell(row, person.column("Prompt")).user_entered
        assert job.job_id in person.text(row, "Output URL")
        assert job.job_id in str(person.sheet.cell(row, person.column("Preview")).image_url)
        assert person.text(row, "Seed") == str(job.inputs["seed"])
        assert person.text(row, "Started at") <= person.text(row, "Finished at")
    urls = [person.text(row, "Output URL") for row in bound]
    assert len(set(urls)) == count


def test_selected_rows_become_pictures(person: Person) -> None:
    """Links lead to files of the recorded size and hash, previews decode, seeds are written back."""
    person.generate(person.type_rows(1, rows(4)))
    assert person.all_ended(4)
    assert_own_results(person, 4)
    for row in person.bound_rows():
        output = person.job(row).outputs[0]
        file = requests.get(person.text(row, "Output URL"), timeout=20)
        assert (len(file.content), hashlib.sha256(file.content).hexdigest()) == (output.size_bytes, output.sha256)
        thumbnail = requests.get(str(person.sheet.cell(row, person.column("Preview")).image_url), timeout=20)
        assert thumbnail.headers["Content-Type"] in ("image/jpeg", "image/png")
        with Image.open(io.BytesIO(thumbnail.content)) as picture:
            picture.load()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_results_find_their_rows_whatever_people_do(person: Person, seed: int) -> None:
    """Rows are sorted, inserted above and copied down, columns moved, the tab renamed, while jobs run."""
    dice = random.Random(seed)
    book, sheet = person.world.book, person.sheet
    count = 12
    person.generate(person.type_rows(1, rows(count)))
    edited = threading.Event()

    def meddle() -> None:
        for turn in range(25):
            with book.editing("person"):
                last, columns = sheet.data_extent()
                deed = dice.choice(["sort", "insert", "move", "rename", "delete blank"])
                if deed == "sort":
                    sheet.sort(Area(1, 0, last, OPEN), person.column("Prompt"), dice.random() < 0.5)
                elif deed == "insert":
                    sheet.insert_rows(dice.randrange(1, last))
                elif deed == "move":
                    sheet.move_cols(dice.randrange(columns), 1, dice.randrange(columns))
                elif deed == "rename":
                    book.rename_sheet(sheet.gid, f"Tab {seed} {turn}")
                else:
                    blank = [
                        row for row in range(1, last) if not any(c.formatted for c in sheet.row_cells(row).values())
                    ]
                    if blank:
                        sheet.delete_rows(blank[0])
            edited.wait(0.12)

    meddler = threading.Thread(target=meddle)
    meddler.start()
    ended = person.all_ended(count)
    meddler.join()
    assert ended, person.statuses()
    assert_own_results(person, count)


def test_hostile_and_huge_text_goes_round_unharmed(person: Person) -> None:
    """A formula-like prompt stays text, 8,000 characters with emoji arrive whole, and no formula but ours appears."""
    formula = '=IMPORTXML("http://x","//y")'
    huge = ("🦊 Füchse im Schnee, 雪の中の狐 " * 400)[:7_990] + "the end…!!"
    wanted = rows(2)
    wanted[0]["Prompt"], wanted[1]["Prompt"] = f"'{formula}", huge
    person.generate(person.type_rows(1, wanted))
    assert person.all_ended(2)
    assert_own_results(person, 2)
    assert [person.job(row).inputs["prompt"] for row in (1, 2)] == [formula, huge]
    entered = [cell.user_entered for row in (1, 2) for cell in person.sheet.row_cells(row).values()]
    formulas = [value.text for value in entered if isinstance(value, Formula)]
    assert len(formulas) == 2 and all(text.startswith('=IMAGE("http') for text in formulas)


def test_wrong_values_are_told_in_their_rows_and_the_others_run(person: Person) -> None:
    """abc, -1 and 9999 steps, an unknown workflow: sentences; their neighbours become pictures."""
    wanted = rows(5)
    for row, steps in zip(wanted, ("abc", "-1", "9999"), strict=False):
        row["Steps"] = steps
    wanted[3]["Workflow"] = "txt2img-sdlx"
    person.generate(person.type_rows(1, wanted))
    assert person.all_ended(5)
    assert [person.text(row, "Status") for row in range(1, 6)] == ["error"] * 4 + ["done"]
    for row, value in zip((1, 2, 3), ("abc", "-1", "9999"), strict=True):
        assert person.text(row, "Error") == f'Steps must be a whole number from 1 to 150, not "{value}".'
    assert "Did you mean txt2img-sdxl" in person.text(4, "Error")


def test_pressing_twice_submits_once(person: Person) -> None:
    """Two presses at the same time: each row gets one job, and only one."""
    wanted = person.type_rows(1, rows(3))
    before = len(person.world.project.log)
    presses = [threading.Thread(target=person.generate, args=(wanted,)) for _ in range(2)]
    for press in presses:
        press.start()
    for press in presses:
        press.join()
    assert person.all_ended(3)
    assert_own_results(person, 3)
    made = list(map(person.job, person.bound_rows()))
    assert [job.attempt for job in made] == [1, 1, 1]
    assert len(person.world.project.log) == before + 2


def test_a_program_submits_polls_replays_and_cancels(person: Person) -> None:
    """The jobs API: created, replayed, refused with another body, shown, and cancelled for good."""
    api = person.world.cloud.api_url
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {person.world.keys.maker.new_api('studio-a')}"
    asked = {
        "workflow_id": "txt2img-sdxl",
        "inputs": {"prompt": "from a program", "steps": 150, "width": 128, "height": 96},
    }
    first = session.post(f"{api}/api/v2/jobs", json=asked, headers={"Idempotency-Key": "k1"}, timeout=20)
    again = session.post(f"{api}/api/v2/jobs", json=asked, headers={"Idempotency-Key": "k1"}, timeout=20)
    other = session.post(
        f"{api}/api/v2/jobs", json=asked | {"workflow_id": "empty-color"}, headers={"Idempotency-Key": "k1"}, timeout=20
    )
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first.json()["id"] == again.json()["id"]
    assert other.json()["error"]["code"] == "idempotency_key_reuse"
    job_id = first.json()["id"]
    cancelled = session.post(f"{api}/api/v2/jobs/{job_id}/cancel", timeout=20)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "canceled")
    assert session.get(f"{api}/api/v2/jobs/{job_id}", timeout=20).json()["status"] == "canceled"
    stranger = requests.get(
        f"{api}/api/v2/jobs/{job_id}",
        headers={"Authorization": f"Bearer {person.world.keys.maker.new_api('studio-b')}"},
        timeout=20,
    )
    assert stranger.status_code == 404
    assert requests.get(f"{api}/api/v2/jobs/{job_id}", timeout=20).status_code == 401


def test_a_copied_sheets_key_is_refused(person: Person) -> None:
    """A key writes to the one spreadsheet it was made for; the row says what to do."""
    kept = person.world.properties.document["SHEET_KEY"]
    person.world.properties.document["SHEET_KEY"] = person.world.keys.new_sheet("somebody", "another-spreadsheet")
    try:
        person.generate(person.type_rows(1, rows(1)))
    finally:
        person.world.properties.document["SHEET_KEY"] = kept
    assert "belongs to another spreadsheet" in person.text(1, "Error")
    assert person.text(1, "Status") != "queued"


def test_a_jobs_id_leads_from_its_cell_through_all_logs(person: Person) -> None:
    """
    The cell's Job ID gives the job's id; API, worker and completion tell of it, and of the calls in which they did.

    What they count comes out of the real functions as embedded metric format.
    """
    world, (wanted,) = person.world, rows(1)
    wanted["Prompt"] = CANARY
    person.generate(person.type_rows(1, [wanted]))
    assert person.all_ended(1)
    job_id = job_id_of(CLIENT, person.text(1, "Job ID"))
    assert wait_until(lambda: any(line.get("action") == "shown" for line in of(job_id, lines_of(world, COMPLETION))))

    (accepted,) = of(job_id, lines_of(world, API))
    assert (accepted["action"], accepted["client_id"]) == ("accepted", CLIENT)
    assert accepted["request_id"] and accepted["api_request_id"], "Lambda's call and API Gateway's"
    steps = {line["event"] for line in of(job_id, worker_lines(world))}
    assert len(steps) > 1, "the worker's log carries the same id"
    shown = of(job_id, lines_of(world, COMPLETION))
    assert [line["action"] for line in shown if line["action"] != "taken"][-1] == "shown"
    assert all(line["message_id"] for line in shown if line["action"] == "taken"), "which message brought it"
    assert all(line["request_id"] for line in shown)

    minute = dict.fromkeys(("version", "account", "region", "id", "source", "time", "detail-type"), "")
    functions, answers = world.cloud.session().client("lambda"), list[Any]()

    def swept() -> bool:
        payload = json.dumps({**minute, "detail": {}, "resources": []}).encode()
        with contextlib.suppress(functions.exceptions.TooManyRequestsException):  # its own minute has just come
            answers.append(functions.invoke(FunctionName=SWEEP.name("local"), Payload=payload))
        return bool(answers)

    assert wait_until(swept, 30)
    assert "FunctionError" not in answers[0], raw_lines(world, SWEEP)
    counted = {
        name: values
        for function in (API, COMPLETION, SWEEP)
        for name, values in metrics_of(lines_of(world, function)).items()
    }
    assert sum(counted["JobsAccepted"]) >= 1 <= sum(counted["RowsWritten"])
    assert len(counted["CommitToCellMs"]) == sum(counted["RowsWritten"]), "each is one value of a percentile"
    assert 0 < max(counted["CommitToCellMs"]) < 60_000
    assert sum(counted["Sweeps"]) >= 1 and max(counted["WorkersAlive"]) == 1 and counted["JobsStuck"][-1] == 0
    assert max(counted["GpuSecondsToday"]) > 0 and "GpuBudgetUsedPercent" not in counted, "no budget, no share"
    assert set(counted) <= {metric.value for metric in Metric}


def test_no_log_holds_what_is_nobodys_business(person: Person) -> None:
    """Neither prompts nor signed links nor keys are in any line that the run above has left anywhere."""
    world = person.world
    secret = world.properties.document["SHEET_KEY"]
    everything = [line for function in FUNCTIONS for line in raw_lines(world, function)]
    everything += (world.wishes.home / "worker-1.log").read_text().splitlines()
    assert len(everything) > 10
    for line in everything:
        for hidden in (CANARY, "X-Amz-Signature", "PRIVATE KEY", secret, secret.rsplit("_", 1)[-1]):
            assert hidden not in line


def of(job_id: str, lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.get("job_id") == job_id]
