"""Starting rows from the menu: which rows, what is asked, what is written, and that each row goes out once."""

from __future__ import annotations

import random
import sys
import threading
from typing import Any

import pytest

from sandbox.apps_script import Pace
from sandbox.workbook import OPEN, Area
from tests.script_world import HEADERS, Killed, Person, ScriptWorld, refusal


def world_of(count: int, **cells: Any) -> ScriptWorld:
    world = ScriptWorld()
    world.fill(count, **cells)
    return world


# -- what is asked ---------------------------------------------------------------------------------------------------


def test_a_few_new_rows_start_without_a_question() -> None:
    """Twenty rows that were never started are no large thing."""
    world = world_of(20)
    world.run("generateSelectedRows", (1, 21))
    assert world.person.asked == [] and world.person.told == ["20 rows queued"]
    assert world.statuses(*range(2, 22)) == ["queued"] * 20


def test_one_selected_cell_is_its_row() -> None:
    """Whatever column it is in."""
    world = world_of(3)
    world.run("generateSelectedRows", (3, 3))
    assert [row["row"] for row in world.api.rows()] == [3]


def test_something_large_is_said_first_and_a_no_changes_nothing() -> None:
    """Counts by kind; nothing is written, nothing is sent, and the next click is not held up."""
    world = world_of(30)
    world.fill(6, first=32, Status="done")
    world.fill(2, first=38)
    world.sheet.hide_rows(37, 2, by="filter")
    before = world.cells()
    world.person.answer = "NO"
    world.run("generateSelectedRows", (2, 39))
    assert world.person.asked == [
        '38 rows: 30 new, 6 again, 2 skipped (hidden). "Again" are rows that are done: their result is replaced by the '
        "new one. Start 36 rows now?"
    ]
    assert world.cells() == before and world.api.requests == [] and world.person.told == []
    assert [name for name in world.document if name.startswith("RUN_")] == []


def test_a_done_row_is_asked_about_even_alone() -> None:
    """Its picture would be replaced."""
    world = world_of(1, Status="Done")
    world.run("generateSelectedRows", (2, 2))
    assert len(world.person.asked) == 1 and "1 again" in world.person.asked[0]
    assert world.statuses(2) == ["queued"]


def test_failed_rows_are_no_reason_to_ask() -> None:
    """There is nothing to lose; they are named when something else is asked."""
    world = world_of(2, Status="error")
    world.run("generateSelectedRows", (2, 3))
    assert world.person.asked == [] and len(world.api.rows()) == 2


def test_what_changed_while_the_question_stood_is_left_alone() -> None:
    """The person agreed to what was there then: rows that were edited, sorted or started since are not taken."""
    world = world_of(25)

    def meanwhile(question: str) -> str:
        world.put(3, Prompt="another prompt")
        world.put(4, Status="done")
        world.put(5, Status="processing")
        return "YES"

    world.person.answer = meanwhile
    world.run("generateSelectedRows", (2, 26))
    assert sorted(row["row"] for row in world.api.rows()) == [2, *range(6, 27)]
    assert world.person.told[-1] == "22 rows queued, 3 skipped (1 already under way, 2 changed meanwhile)"


# -- which rows ------------------------------------------------------------------------------------------------------


def test_all_pending_takes_the_whole_tab_and_nothing_else() -> None:
    """Blank and pending; not done, failed, cancelled or under way, and no row without anything to render."""
    world = ScriptWorld([*HEADERS, "Run"])
    words = ["", "pending", "Pending ", "done", "error", "cancelled", "queued", "processing"]
    for row, word in enumerate(words, start=2):
        world.put(row, Prompt=f"p{row}", Status=word)
    world.put(11, Status="pending")
    world.put(12, Run=False)
    world.put(13, Steps=20)
    world.put(14, Prompt="hidden")
    world.sheet.hide_rows(13, by="filter")
    world.run("generateAllPending", (1, 1))
    assert [row["row"] for row in world.api.rows()] == [2, 3, 4, 13]
    assert world.person.told == ["4 rows queued, 1 skipped (hidden)"]


def test_nothing_pending_is_said() -> None:
    """No request for nothing."""
    world = world_of(2, Status="done")
    world.run("generateAllPending", (2, 3))
    assert world.api.requests == [] and world.person.told[0].startswith("Nothing is pending on this tab")


def test_retry_takes_the_selected_failures_or_else_all() -> None:
    """Status error and cancelled; done rows are never in it."""
    for selected, rows in (((3, 4), [3]), ((2, 2), [3, 5])):
        world = world_of(4)
        for row, word in ((2, "done"), (3, "error"), (4, "done"), (5, "cancelled")):
            world.put(row, Status=word)
        world.run("retryFailed", selected)
        assert [row["row"] for row in world.api.rows()] == rows
        assert world.person.asked == []


def test_retry_says_when_nothing_failed() -> None:
    """In a sentence."""
    world = world_of(2, Status="done")
    world.run("retryFailed", (2, 3))
    assert world.person.told == ["Nothing to retry: no row of this tab has Status error or cancelled."]


def test_a_ticked_box_is_unticked_when_its_row_starts() -> None:
    """Else auto mode would start it once more; other boxes stay."""
    world = ScriptWorld([*HEADERS, "Run"])
    world.fill(3)
    for row in (2, 4):
        world.put(row, Run=True)
    world.run("generateSelectedRows", (2, 3))
    assert [world.text(row, "Run") for row in (2, 3, 4)] == ["FALSE", "", "TRUE"]
    assert "Run" not in str(world.api.rows())


def test_who_submitted_is_written_where_the_sheet_asks_for_it() -> None:
    """Only with such a column; it is never sent."""
    world = ScriptWorld([*HEADERS, "Submitted by"])
    world.fill(2)
    world.run("generateSelectedRows", (2, 2), by=world.project_of(world.person, "ann@example.com"))
    assert [world.text(row, "Submitted by") for row in (2, 3)] == ["ann@example.com", ""]
    assert "ann@" not in str(world.api.rows())


# -- errors in the cell ----------------------------------------------------------------------------------------------


def test_a_refused_row_holds_a_sentence_and_the_details() -> None:
    """Sentence in the cell, code and Job ID in the note; the next start takes both away."""
    world = world_of(2)
    world.put(3, Steps="many")
    world.run("generateSelectedRows", (2, 3))
    assert world.statuses(2, 3) == ["queued", "error"]
    assert world.text(3, "Error") == "Steps must be a whole number."
    assert "invalid_input" in world.note(3, "Error") and world.text(3, "Job ID") in world.note(3, "Error")
    world.put(3, Steps=20)
    world.run("retryFailed", (3, 3))
    assert (world.text(3, "Error"), world.note(3, "Error"), *world.statuses(3)) == ("", "", "queued")


def test_what_must_fail_is_told_before_anything_is_sent() -> None:
    """A formula that shows an error: its row says so at once, with the details in the note; the others go."""
    world = world_of(2)
    world.put(3, Prompt="#REF!")
    world.run("generateSelectedRows", (2, 3))
    assert [row["row"] for row in world.api.rows()] == [2] and world.statuses(2, 3) == ["queued", "error"]
    assert world.text(3, "Error").startswith("Prompt shows #REF!.")
    assert world.text(3, "Job ID") in world.note(3, "Error")
    assert "1 refused (row 3: Prompt shows #REF!." in world.person.told[-1]


def test_a_long_sentence_is_cut_in_the_cell_and_whole_in_the_note() -> None:
    """200 characters at most in Error."""
    world = world_of(1)
    long = "The workflow says no. " * 30
    world.api.before = lambda path, body: refusal(400, long)
    world.run("generateSelectedRows", (2, 2))
    assert len(world.text(2, "Error")) <= 200 and long in world.note(2, "Error")


def test_columns_that_the_workflow_lacks_are_told_once_and_are_no_error() -> None:
    """One sentence however many rows; a column that one row can use is not named."""
    world = ScriptWorld([*HEADERS, "Mood", "LoRA"])
    world.fill(3, Mood="happy", LoRA="ink")
    taken = world.api.answers["/v1/sheets/jobs"]

    def odd(body: dict[str, Any]) -> Any:
        answer = taken(body)
        for one in answer["results"]:
            one["ignored"] = ["Mood", "LoRA"]
        answer["results"][1]["ignored"] = ["Mood"]
        return answer

    world.api.answers["/v1/sheets/jobs"] = odd
    world.run("generateSelectedRows", (2, 4))
    assert world.person.told == ["3 rows queued. Not used, because the workflow has no such parameter: Mood."]
    assert world.text(2, "Error") == ""


def test_a_sheet_that_cannot_be_written_is_told_when_rows_start() -> None:
    """The rows are queued all the same; the sentence says why nothing will appear."""
    world = ScriptWorld(HEADERS)
    world.fill(2)
    taken = world.api.answers["/v1/sheets/jobs"]
    reason = "The spreadsheet is not shared with the service account as an editor."
    parked = {"reason": reason, "since": "2026-11-21T08:00:00Z"}
    world.api.answers["/v1/sheets/jobs"] = lambda body: {**taken(body), "parked": parked}  # type: ignore[dict-item]
    world.run("generateSelectedRows", (2, 2))
    [told] = world.person.told
    assert told.startswith("1 row queued. Results cannot be written just now: The spreadsheet is not shared")


# -- 1,000 rows ------------------------------------------------------------------------------------------------------


def test_a_thousand_rows_go_out_in_few_calls(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten requests; one call a row asks for the filter, all others do not grow with the rows."""
    world = world_of(1000)
    world.project = world.project_of(world.person, pace=Pace(fetch_s=1.0))
    world.run("generateSelectedRows", (2, 1001))
    execution = world.last()
    with capsys.disabled():
        sys.stdout.write(
            f"\n1,000 rows: {execution.host_calls} host calls, {len(execution.fetches)} fetches, "
            f"about {execution.emulated_s:.0f} s at Google's with a second for each request\n"
        )
    assert len({row["job_key"] for row in world.api.rows()}) == 1000 and len(world.api.sent()) == 10
    assert set(world.statuses(*range(2, 1002))) == {"queued"}
    assert world.person.asked == ["1,000 rows: 1,000 new. Start 1,000 rows now?"]
    assert "300 of 1,000 rows sent" in world.person.told and world.person.told[-1] == "1,000 rows queued"
    assert all(call.unflushed == 0 for call in execution.fetches)
    assert len(execution.fetches) == 10 and execution.host_calls < 1_400 and execution.emulated_s < 90


def test_a_script_that_dies_half_way_is_resumed() -> None:
    """What was accepted says queued, the rest pending; once the dead run counts as over, each of those goes once."""
    world = world_of(1000)

    def die(path: str, body: dict[str, Any]) -> None:
        if len(world.api.sent()) == 4:
            raise Killed

    world.api.before = die
    with pytest.raises(Killed):
        world.run("generateSelectedRows", (2, 1001))
    accepted = set(world.api.jobs)
    assert len(accepted) == 300
    said = {world.text(row, "Job ID"): world.text(row, "Status") for row in range(2, 1002)}
    assert all(said[key] == "queued" for key in accepted)
    # The hundred on their way when it died cannot be known; all others wait.
    assert list(said.values()).count("queued") == 400 and list(said.values()).count("pending") == 600

    world.api.before = lambda path, body: None
    world.run("generateAllPending", (1, 1))
    assert world.person.told[-1] == "0 rows queued, 600 skipped (already under way)"
    [run] = [name for name in world.document if name.startswith("RUN_")]
    world.document[run] = "0"  # some minutes later
    world.run("generateAllPending", (1, 1))
    assert world.person.told[-1] == "600 rows queued" and len(world.api.jobs) == 900
    assert [name for name in world.document if name.startswith("RUN_")] == []
    world.run("fetchMissingResults", (1, 1))
    world.run("generateAllPending", (1, 1))
    assert len(world.api.jobs) == 1000
    assert sorted(row["inputs"]["Prompt"] for row in world.api.wishes.values()) == sorted(
        f"p{row}" for row in range(2, 1002)
    )


def test_rows_that_are_sorted_between_requests_keep_their_own() -> None:
    """Each row says queued under the key that its own prompt was sent with."""
    world = world_of(250)

    def sort(path: str, body: dict[str, Any]) -> None:
        world.sheet.sort(Area(1, 0, 251, OPEN), 0, ascending=len(world.api.sent()) % 2 == 0)

    world.api.before = sort
    world.run("generateSelectedRows", (2, 251))
    prompts = {row["job_key"]: row["inputs"]["Prompt"] for row in world.api.rows()}
    assert len(prompts) == 250 and len(set(prompts.values())) == 250
    assert {world.text(row, "Job ID"): world.text(row, "Prompt") for row in range(2, 252)} == prompts
    assert set(world.statuses(*range(2, 252))) == {"queued"}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_people_do_meanwhile_each_row_goes_once_under_its_own_key(seed: int) -> None:
    """Sorting, inserting, deleting, moving columns, renaming the tab, typing, and other people's clicks."""
    dice = random.Random(seed)
    world = ScriptWorld([*HEADERS, "Notes"], rows=700)
    world.fill(320, Notes="mine")
    helper = world.project_of(Person(), "bob@example.com")
    busy: list[bool] = []

    def meddle(path: str, body: dict[str, Any]) -> None:
        if busy:
            return
        busy.append(True)
        with world.book.editing("person"):
            last, columns = world.sheet.data_extent()
            for deed in dice.choices(["sort", "insert", "move", "rename", "type", "delete"], k=4):
                row = dice.randrange(2, last)
                if deed == "sort":
                    world.sheet.sort(Area(1, 0, last, OPEN), world.column("Prompt"), ascending=dice.random() < 0.5)
                elif deed == "insert":
                    world.sheet.insert_rows(row)
                elif deed == "move":
                    world.sheet.move_cols(dice.randrange(columns), 1, dice.randrange(columns))
                elif deed == "rename":
                    world.book.rename_sheet(world.sheet.gid, f"Tab {dice.random()}")
                elif deed == "type":
                    world.put(row, Notes=f"typed {dice.random()}")
                elif not world.text(row, "Prompt"):
                    world.sheet.delete_rows(row - 1, 1)
        world.run(dice.choice(["generateAllPending", "retryFailed", "fetchMissingResults"]), (1, 1), by=helper)
        busy.clear()

    world.api.before = meddle
    world.run("generateSelectedRows", (2, 321))
    world.api.before = lambda path, body: None
    world.run("generateAllPending", (1, 1))
    prompts = {row["job_key"]: row["inputs"]["Prompt"] for row in world.api.rows()}
    assert sorted(prompts.values()) == sorted(f"p{row}" for row in range(2, 322))
    last = world.sheet.data_extent()[0]
    bound = {world.text(row, "Job ID"): world.text(row, "Prompt") for row in range(2, last + 1)}
    assert {key: prompt for key, prompt in bound.items() if key} == prompts
    assert {world.text(row, "Status") for row in range(2, last + 1) if world.text(row, "Prompt")} == {"queued"}


def test_rows_that_somebody_took_back_are_not_sent() -> None:
    """Between two requests a row is deleted, one is cancelled by hand, one gets another Job ID."""
    world = world_of(150)

    def meddle(path: str, body: dict[str, Any]) -> None:
        if len(world.api.sent()) == 1:
            world.put(150, Status="cancelled")
            world.put(149, Job_ID="mine")
            world.sheet.delete_rows(150, 1)

    world.api.before = meddle
    world.run("generateSelectedRows", (2, 151))
    assert len(world.api.rows()) == 147
    assert world.statuses(150, 149) == ["cancelled", "pending"]
    assert world.person.told[-1] == "147 rows queued, 3 left alone (changed by somebody meanwhile)"


def test_nothing_else_in_the_sheet_changes() -> None:
    """Only Status, Error and Job ID of the chosen rows; a colleague's edit during the run stays."""
    world = ScriptWorld([*HEADERS, "Notes"], rows=400)
    world.fill(300, Notes="mine")
    for row in range(2, 302, 3):
        world.put(row, Status="done", Output_URL="https://x", Error="old")
    before = world.cells()

    def type_(path: str, body: dict[str, Any]) -> None:
        world.put(350, Notes="hello")

    world.api.before = type_
    world.run("generateAllPending", (1, 1))
    after = world.cells()
    ours = {world.column(name) for name in ("Status", "Job ID")}
    changed = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
    started = {row for row in range(2, 302) if (row - 2) % 3}
    assert changed == {(row - 1, col) for row in started for col in ours} | {(349, world.column("Notes"))}


def test_an_api_that_stops_answering_leaves_the_rest_pending() -> None:
    """Its own hundred are as before with a sentence; the others are not touched, and are said to be pending."""
    world = world_of(250)
    world.api.before = lambda path, body: refusal(503) if len(world.api.sent()) > 1 else None
    world.run("generateSelectedRows", (2, 251))
    assert world.statuses(2, 101, 102, 201, 202, 251) == ["queued", "queued", "", "", "pending", "pending"]
    assert world.text(102, "Error") and world.text(202, "Error") == ""
    assert world.person.told[-1].startswith("100 rows queued, 100 not started: The API has a fault (code 503).")
    assert "50 rows are still pending: ComfySheet > Generate all pending goes on with them." in world.person.told[-1]
    world.api.before = lambda path, body: None
    world.run("generateAllPending", (1, 1))
    assert len(world.api.jobs) == 250


def test_a_failure_of_google_sheets_ends_the_run_and_not_its_summary() -> None:
    """Between two requests: what was sent is told, the rest is pending."""
    world = world_of(250)

    def fail(path: str, body: dict[str, Any]) -> None:
        if len(world.api.sent()) == 2:
            world.project.faults.spreadsheet_failures = 2  # the toast, and the next look at the sheet

    world.api.before = fail
    world.run("generateSelectedRows", (2, 251))
    assert len(world.api.rows()) == 200 and world.statuses(102, 202) == ["queued", "pending"]
    assert world.person.told[-1].startswith("200 rows queued. 50 rows are still pending (Google Sheets said: Service")
    world.run("generateAllPending", (1, 1))
    assert len(world.api.jobs) == 250


def test_there_is_an_end_before_google_makes_one(tmp_path: Any) -> None:
    """After four and a half minutes no request is begun; here after none at all."""
    source = ScriptWorld().script
    for file in source.iterdir():
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace("LAST_SEND_MS_ = 270000", "LAST_SEND_MS_ = -1"))
    world = ScriptWorld(script=tmp_path)
    world.fill(250)
    world.run("generateSelectedRows", (2, 251))
    assert len(world.api.rows()) == 100 and world.statuses(102, 251) == ["pending", "pending"]
    assert "150 rows are still pending (Google lets a script run for six minutes only)" in world.person.told[-1]


# -- two at once -----------------------------------------------------------------------------------------------------


def test_a_second_click_during_a_long_run_takes_nothing() -> None:
    """By the same person or another one: pending rows of a run that is alive are under way."""
    world = world_of(250)
    second = Person()
    other = world.project_of(second, "bob@example.com")

    def click(path: str, body: dict[str, Any]) -> None:
        if len(world.api.sent()) == 2:
            world.run("generateAllPending", (1, 1), by=other)

    world.api.before = click
    world.run("generateSelectedRows", (2, 251))
    assert second.told == ["0 rows queued, 50 skipped (already under way)"]
    assert sorted(row["inputs"]["Prompt"] for row in world.api.rows()) == sorted(f"p{row}" for row in range(2, 252))


def test_rows_that_were_taken_over_are_not_sent_twice() -> None:
    """Should a run be taken for dead and live on, its rows have other Job IDs by then, and it leaves them alone."""
    world = world_of(250)
    second = Person()
    other = world.project_of(second, "bob@example.com")

    def click(path: str, body: dict[str, Any]) -> None:
        if len(world.api.sent()) == 2:
            for name in [one for one in world.document if one.startswith("RUN_")]:
                del world.document[name]
            world.run("generateAllPending", (1, 1), by=other)

    world.api.before = click
    world.run("generateSelectedRows", (2, 251))
    assert second.told[-1] == "50 rows queued"
    assert world.person.told[-1] == "200 rows queued, 50 left alone (changed by somebody meanwhile)"
    assert sorted(row["inputs"]["Prompt"] for row in world.api.rows()) == sorted(f"p{row}" for row in range(2, 252))


def test_two_people_at_the_same_moment_submit_each_row_once() -> None:
    """Both press at once with 120 rows each, overlapping."""
    world = world_of(160)
    people = [(Person(), (2, 121)), (Person(), (42, 161))]
    at_once = threading.Barrier(2)

    def click(person: Person, rows: tuple[int, int]) -> None:
        project = world.project_of(person)
        at_once.wait(30)
        world.run("generateSelectedRows", rows, by=project)

    threads = [threading.Thread(target=click, args=one) for one in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(row["inputs"]["Prompt"] for row in world.api.rows()) == sorted(f"p{row}" for row in range(2, 162))


# -- not connected ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "item", ["generateSelectedRows", "generateAllPending", "retryFailed", "cancelSelected", "fetchMissingResults"]
)
def test_a_copied_spreadsheet_is_not_connected(item: str) -> None:
    """Even when it took the properties along: its rows would land in the original."""
    world = world_of(1)
    world.document["SPREADSHEET_ID"] = "the-original"
    world.run(item, (2, 2))
    assert world.api.requests == [] and "copy" in world.person.insisted[0]
    world.document.clear()
    world.run(item, (2, 2))
    assert world.api.requests == [] and "Settings" in world.person.insisted[1]
