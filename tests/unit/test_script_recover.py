"""Cancelling rows, and getting results that did not arrive."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.workbook import OPEN, Area
from tests.script_world import HEADERS, Person, ScriptWorld, refusal


def world_under_way(**states: str) -> ScriptWorld:
    """Hold rows that the API knows in these states, by Job ID; Status says queued."""
    world = ScriptWorld()
    world.fill(len(states), Status="queued")
    for row, (key, state) in enumerate(states.items(), start=2):
        world.put(row, Job_ID=key)
        if state != "lost":
            world.api.jobs[key] = state
    return world


def a_run_is_alive(world: ScriptWorld, key: str) -> None:
    world.document[f"RUN_{key[:8]}"] = "99999999999999"


# -- cancel ----------------------------------------------------------------------------------------------------------


def test_cancel_stops_what_is_under_way_and_says_how_many() -> None:
    """Ended rows are left to their result; rows that the API never got go back to pending."""
    world = world_under_way(a="queued", b="running", c="succeeded", d="lost")
    world.put(3, Status="processing")
    world.run("cancelSelected", (1, 5))
    assert world.api.sent("/v1/sheets/cancel") == [{"spreadsheet_id": "sheet-1", "job_keys": ["a", "b", "c", "d"]}]
    assert world.statuses(2, 3, 4, 5) == ["cancelled", "cancelled", "queued", "pending"]
    assert world.person.told == ["2 rows cancelled, 1 had ended already, 1 never sent, now pending again."]


def test_cancel_takes_only_the_selected_rows() -> None:
    """And none that is not under way."""
    world = world_under_way(a="queued", b="queued", c="queued")
    world.put(4, Status="done")
    world.run("cancelSelected", (3, 4))
    assert world.statuses(2, 3, 4) == ["queued", "cancelled", "done"]
    world.run("cancelSelected", (4, 4))
    assert world.person.told[-1] == "Nothing to cancel: none of these rows is queued or processing."
    assert len(world.api.requests) == 1


def test_with_auto_mode_a_row_that_never_was_sent_ends_cancelled() -> None:
    """Pending would start it within a minute."""
    world = world_under_way(a="lost")
    world.document["AUTO"] = "on"
    world.run("cancelSelected", (2, 2))
    assert world.statuses(2) == ["cancelled"]


def test_a_row_that_is_being_sent_just_now_is_not_given_back() -> None:
    """Its request may arrive a moment later; as pending it would be started twice."""
    world = world_under_way(abcdefgh1="lost")
    a_run_is_alive(world, "abcdefgh1")
    world.run("cancelSelected", (2, 2))
    world.run("fetchMissingResults", (2, 2))
    assert world.statuses(2) == ["queued"]
    assert world.person.told == [
        "0 rows cancelled, 1 being sent just now: cancel again in a minute.",
        "1 row is still under way.",
    ]


@pytest.mark.parametrize("item", ["cancelSelected", "fetchMissingResults"])
def test_a_run_that_ends_just_after_the_answer_still_counts(item: str) -> None:
    """The API does not know the row yet, then its request arrives, then the run ends: the row is under way."""
    world = world_under_way(abcdefgh1="lost")
    a_run_is_alive(world, "abcdefgh1")

    def arrive(path: str, body: dict[str, Any]) -> None:
        world.document.pop("RUN_abcdefgh", None)

    world.api.before = arrive
    world.run(item, (2, 2))
    assert world.statuses(2) == ["queued"]


def test_cancelled_rows_are_found_where_they_are_by_then() -> None:
    """Sorted while the request was under way; a result that came meanwhile stays."""
    world = world_under_way(a="queued", b="queued", c="queued")

    def meanwhile(path: str, body: dict[str, Any]) -> None:
        world.put(3, Status="done")
        world.sheet.sort(Area(1, 0, 4, OPEN), 0, ascending=False)

    world.api.before = meanwhile
    world.run("cancelSelected", (2, 3))
    assert {world.text(row, "Job ID"): world.text(row, "Status") for row in (2, 3, 4)} == {
        "a": "cancelled",
        "b": "done",
        "c": "queued",
    }


def test_many_rows_are_cancelled_in_hundreds() -> None:
    """The API takes no more keys at once."""
    world = world_under_way(**{f"k{n}": "queued" for n in range(250)})
    world.run("cancelSelected", (2, 251))
    assert [len(body["job_keys"]) for body in world.api.sent("/v1/sheets/cancel")] == [100, 100, 50]
    assert world.person.told == ["250 rows cancelled."]


def test_a_long_run_can_be_stopped_half_way() -> None:
    """Rows that it has not come to are cancelled in the sheet, and it leaves them alone."""
    world = ScriptWorld()
    world.fill(250)
    other = Person()
    project = world.project_of(other)

    def stop(path: str, body: dict[str, Any]) -> None:
        if path.endswith("/jobs") and len(world.api.sent()) == 2:
            world.run("cancelSelected", (2, 251), by=project)

    world.api.before = stop
    world.run("generateSelectedRows", (2, 251))
    assert len(world.api.rows()) == 200 and world.statuses(2, 101, 102, 202, 251) == [
        "cancelled", "cancelled", "queued", "cancelled", "cancelled",
    ]  # fmt: skip
    assert other.told == ["150 rows cancelled, 100 being sent just now: cancel again in a minute."]
    assert world.person.told[-1] == "200 rows queued, 50 left alone (changed by somebody meanwhile)"


def test_cancel_says_why_it_did_not_work() -> None:
    """Nothing changes then."""
    world = world_under_way(a="queued")
    world.api.before = lambda path, body: refusal(503)
    world.run("cancelSelected", (2, 2))
    assert world.statuses(2) == ["queued"] and world.person.insisted[0].startswith("The API has a fault (code 503).")


# -- fetch missing results -------------------------------------------------------------------------------------------


def test_fetch_asks_for_every_row_that_waits_for_something() -> None:
    """Queued, processing, and done without an Output URL; not done with one, not failed, not without a Job ID."""
    world = world_under_way(a="succeeded", b="running", c="lost", d="succeeded", e="succeeded", f="failed", g="lost")
    world.put(3, Status="processing")
    world.put(5, Status="done")
    world.put(6, Status="done", Output_URL="https://x")
    world.put(7, Status="error")
    world.put(8, Status="done")
    world.put(9, Status="queued", Prompt="no Job ID")
    world.api.gone = 2
    before = world.cells()
    world.run("fetchMissingResults", (1, 1))
    assert world.api.sent("/v1/sheets/fetch") == [
        {"spreadsheet_id": "sheet-1", "sheet_id": world.sheet.gid, "job_keys": ["a", "b", "c", "d", "g"]}
    ]
    assert world.person.told == [
        "2 results are coming within seconds. 1 row is still under way. "
        "1 row never reached the API and says pending again: ComfySheet > Generate all pending starts it. "
        "1 row has a Job ID that the API does not know: generate it again. "
        "2 results have no row any more and go to the tab Results."
    ]
    after = world.cells()
    assert {place for place in after if before.get(place) != after[place]} == {(3, world.column("Status"))}
    assert world.statuses(4, 8) == ["pending", "done"]


@pytest.mark.parametrize(
    ("function", "route"), [("fetchMissingResults", "fetch"), ("cancelSelected", "cancel"), ("sidebarNews", "progress")]
)
def test_what_somebody_typed_as_a_job_id_spoils_no_other_row(function: str, route: str) -> None:
    """The API refuses a request that names what can be no Job ID: such a row is unknown, and not asked for."""
    world = world_under_way(a="queued", b="queued", c="lost")
    world.put(3, Job_ID="mine! really")
    world.run(function, (2, 4))
    (request,) = world.api.sent(f"/v1/sheets/{route}")
    assert request["job_keys"] == ["a", "c"]


def test_fetch_takes_the_selected_rows_if_any_of_them_waits() -> None:
    """Else the whole tab."""
    world = world_under_way(a="succeeded", b="succeeded", c="succeeded")
    world.put(4, Status="done", Output_URL="https://x")
    for selected, keys in (((3, 4), ["b"]), ((4, 4), ["a", "b"])):
        world.run("fetchMissingResults", selected)
        assert world.api.sent("/v1/sheets/fetch")[-1]["job_keys"] == keys


def test_fetch_with_nothing_missing_still_looks_for_rows_that_are_gone() -> None:
    """One request without keys."""
    world = ScriptWorld()
    world.run("fetchMissingResults", (1, 1))
    assert [body["job_keys"] for body in world.api.sent("/v1/sheets/fetch")] == [[]]
    assert world.person.told == ["Nothing is missing: every row of this tab that was sent has its result."]
    world.api.fresh = 3
    world.run("fetchMissingResults", (1, 1))
    assert world.person.told[-1] == (
        "Nothing is missing: every row of this tab that was sent has its result. "
        "If a row was deleted within the last ten minutes, its result comes to the tab Results."
    )
    world.api.gone = 1
    world.run("fetchMissingResults", (1, 1))
    assert world.person.told[-1] == "1 result has no row any more and goes to the tab Results."


@pytest.mark.parametrize("word", ["processing", "done", "error"])
def test_a_row_that_moved_on_meanwhile_is_not_set_back(word: str) -> None:
    """Pending is written only over queued."""
    world = world_under_way(a="lost")

    def meanwhile(path: str, body: dict[str, Any]) -> None:
        world.put(2, Status=word)

    world.api.before = meanwhile
    world.run("fetchMissingResults", (1, 1))
    assert world.statuses(2) == [word]


def test_a_renamed_header_is_still_found() -> None:
    """By the mark on its column; and text wins over a mark."""
    world = ScriptWorld(HEADERS)
    world.person.answer = "NO"
    world.run("setUpThisSheet", (1, 1))
    for old, new in (("Job ID", "Nummer"), ("Status", "Wie weit"), ("Prompt", "Idee")):
        world.sheet.set_cell(0, world.column(old), new)
    world.sheet.set_cell(1, world.column("Idee"), "a fox")
    world.run("generateSelectedRows", (2, 2))
    [row] = world.api.rows()
    assert row["inputs"] == {"Prompt": "a fox"}
    assert (world.text(2, "Wie weit"), world.text(2, "Nummer")) == ("queued", row["job_key"])
