"""Set up this sheet: adds what is missing, changes nothing that is there, and may be run again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sandbox.apps_script import ScriptError
from sandbox.workbook_areas import Area, ConditionalFormat
from tests.script_world import HEADERS, SCRIPT, Person, ScriptWorld, refusal

RUN = "setUpThisSheet"
NEW = (
    "Prompt", "Workflow", "Steps", "CFG", "Width", "Height", "Seed", "Status", "Preview", "Output URL", "Started at",
    "Finished at", "Error", "Job ID",
)  # fmt: skip


def no_to(*words: str) -> Any:
    """Answer yes, but no to a question with one of these words."""
    return lambda text: "NO" if any(word in text for word in words) else "YES"


def fresh(tmp_path: Path, headers: tuple[str, ...] = (), *, answer: Any = None) -> ScriptWorld:
    script = tmp_path / "script"
    if not script.exists():
        shutil.copytree(SCRIPT, script)
        (script / "Columns.html").write_text("<p>Columns</p>")
    world = ScriptWorld(headers, rows=50, script=script)
    world.person.answer = answer or no_to("checkboxes", "parameter columns")
    return world


def kept(world: ScriptWorld) -> dict[str, Any]:
    """Give all that a file of the workbook would hold."""
    return {**world.book.to_json(), "version": 0}


def rule(world: ScriptWorld, header: str, row: int = 2) -> dict[str, Any]:
    return world.sheet.cell(row - 1, world.column(header)).validation or {}


def choices(world: ScriptWorld, header: str) -> list[str]:
    return [one["userEnteredValue"] for one in rule(world, header)["condition"]["values"]]


def test_an_empty_sheet_becomes_ready(tmp_path: Path) -> None:
    """Headers, a first row to start from, frozen panes, room for pictures."""
    world = fresh(tmp_path)
    world.run(RUN)
    assert tuple(world.headers()) == NEW
    assert (world.text(2, "Prompt"), world.text(2, "Workflow")) == (
        "A red fox in fresh snow, morning light",
        "flux-schnell",
    )
    assert world.statuses(2) == [""] and world.sheet.data_extent()[0] == 2
    assert (world.sheet.frozen_rows, world.sheet.frozen_cols) == (1, 1)
    assert world.sheet.row_heights[5] == 96
    assert world.person.told[0].startswith("This sheet is ready: added Prompt, Workflow")
    world.run("generateAllPending", (2, 2))
    assert [row["workflow"] for row in world.api.rows()] == ["flux-schnell"]


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """Not a rule, colour, guard, mark, note, filter or width too many."""
    world = fresh(tmp_path, answer=no_to("parameter columns"))
    world.run(RUN)
    before = kept(world)
    world.run(RUN)
    assert kept(world) == before
    assert world.person.told[-1] == "This sheet is ready: nothing was missing."


def test_what_people_made_stays(tmp_path: Path) -> None:
    """Their columns, values, notes, rules, colours, widths and frozen panes."""
    world = fresh(tmp_path, ("Notes", "positive", "state", "Steps"))
    world.put(2, Notes="mine", positive="p", Steps=7)
    world.sheet.set_cell(0, 1, "positive", note="my note")
    own = {"condition": {"type": "TEXT_CONTAINS", "values": [{"userEnteredValue": "x"}]}}
    for row in range(1, 51):
        world.sheet.set_cell(row, 2, validation=own)
    world.sheet.freeze(rows=2, cols=3)
    world.sheet.set_dimension("COLUMNS", 0, 1, pixel_size=222)
    theirs = {"condition": {"type": "NOT_BLANK"}, "format": {"backgroundColor": {"red": 1.0}}}
    world.sheet.conditional_formats[:] = [ConditionalFormat((Area(1, 0, 3, 4),), {"booleanRule": theirs})]
    before = world.cells()
    world.run(RUN)
    assert world.headers()[:4] == ["Notes", "positive", "state", "Steps"]
    after = world.cells()
    assert all(after[place][0] == text for place, (text, _) in before.items())
    assert after[0, 1] == ("positive", "my note")
    assert rule(world, "state") == own and "NUMBER_BETWEEN" in str(rule(world, "Steps"))
    assert (world.sheet.frozen_rows, world.sheet.frozen_cols, world.sheet.column_widths[0]) == (2, 3, 222)
    first, *ours = world.sheet.conditional_formats
    assert first.rule["booleanRule"]["condition"] == theirs["condition"] and len(ours) == 5


def test_dropdowns_and_bounds_come_from_the_catalog(tmp_path: Path) -> None:
    """They warn and never reject; where workflows differ, what one of them takes is right."""
    world = fresh(tmp_path, (*HEADERS, "CFG scale", "Sampler", "LoRA", "Colour"))
    world.run(RUN)
    assert choices(world, "Workflow") == ["flux-schnell", "empty-color"]
    assert choices(world, "Status") == ["pending", "queued", "processing", "done", "error", "cancelled"]
    assert choices(world, "Sampler") == ["euler", "heun"]
    assert choices(world, "LoRA") == ["None", "ink.safetensors"]
    assert choices(world, "Steps") == ["1", "150"] and choices(world, "CFG scale") == ["0", "10"]
    assert rule(world, "Colour") == {} == rule(world, "Seed") == rule(world, "Prompt")
    for header in ("Workflow", "Status", "Sampler", "LoRA", "Steps", "CFG scale"):
        assert not rule(world, header).get("strict"), header
        assert rule(world, header, row=51) == rule(world, header)
    assert "flux-schnell = FLUX.1 schnell" in rule(world, "Workflow")["inputMessage"]


def test_the_catalogs_news_reach_the_dropdowns(tmp_path: Path) -> None:
    """Our own rules are renewed by the next run."""
    world = fresh(tmp_path, HEADERS)
    world.run(RUN)
    more = [*world.api.answers["/v1/sheets/workflows"]({})["workflows"], {"id": "new", "name": "New", "parameters": []}]
    world.api.answers["/v1/sheets/workflows"] = lambda body: {"workflows": more}
    world.run(RUN)
    assert choices(world, "Workflow") == ["flux-schnell", "empty-color", "new"]


def test_rows_are_coloured_by_status(tmp_path: Path) -> None:
    """Over the whole width, five words, dark text on a light ground."""
    world = fresh(tmp_path, HEADERS)
    world.run(RUN)
    rules = world.sheet.conditional_formats
    formulas = [one.rule["booleanRule"]["condition"]["values"][0]["userEnteredValue"] for one in rules]
    assert formulas == [f'=$E2="{word}"' for word in ("queued", "processing", "done", "error", "cancelled")]
    for one in rules:
        assert one.areas == (Area(1, 0, 51, 11),)
        form = one.rule["booleanRule"]["format"]
        ground = form.get("backgroundColor") or form["backgroundColorStyle"]["rgbColor"]
        assert min(ground.get(part, 0) for part in ("red", "green", "blue")) > 0.85


def test_our_columns_warn_and_nobody_is_locked_out(tmp_path: Path) -> None:
    """A hard protection would make the script fail for colleagues."""
    world = fresh(tmp_path, HEADERS)
    world.run(RUN)
    guards = world.sheet.protected
    assert {one.description for one in guards} == {
        f"ComfySheet writes {header}"
        for header in ("Preview", "Output URL", "Started at", "Finished at", "Error", "Job ID")
    }
    assert all(one.warning_only for one in guards)
    world.put(2, Prompt="p")
    world.run("generateSelectedRows", (2, 2), by=world.project_of(Person(), "colleague@example.com"))
    assert world.statuses(2) == ["queued"]


def test_the_filter_covers_all_columns_and_stays_so(tmp_path: Path) -> None:
    """Columns that are added later too; one that hides rows is left alone and named."""
    world = fresh(tmp_path, HEADERS)
    world.run(RUN)
    assert world.sheet.basic_filter is not None
    world.run("columnsAdd", args=["flux-schnell"])
    area = world.sheet.basic_filter
    assert (area.top, area.left, area.right) == (0, 0, len(HEADERS) + 3)
    world.sheet.set_cell(0, len(HEADERS) + 3, "One more")
    world.fill(5)
    world.sheet.hide_rows(3, by="filter")
    world.run(RUN)
    assert world.sheet.basic_filter == area
    assert "The filter: it hides rows and does not cover all columns." in world.person.told[-1]


def test_marks_follow_the_header_that_counts(tmp_path: Path) -> None:
    """A header typed over another column means that one; its mark moves there."""
    world = fresh(tmp_path, (*HEADERS, "Notes"))
    world.run(RUN)
    world.sheet.set_cell(0, world.column("Status"), "Was Status")
    world.sheet.set_cell(0, world.column("Notes"), "Status")
    world.run(RUN)
    world.sheet.set_cell(0, world.column("Status"), "How far")
    world.put(2, Prompt="p")
    world.run("generateSelectedRows", (2, 2))
    assert (world.text(2, "How far"), world.text(2, "Was Status")) == ("queued", "")


def test_a_mark_does_not_make_one_column_two(tmp_path: Path) -> None:
    """Where Status stood stands Preview now, in words: there is no Status, whatever the mark says."""
    world = fresh(tmp_path, HEADERS)
    world.run(RUN)
    world.sheet.set_cell(0, world.column("Preview"), "Old pictures")
    world.sheet.set_cell(0, world.column("Status"), "Preview")
    world.put(2, Prompt="p")
    world.person.answer = "NO"
    world.run("generateSelectedRows", (2, 2))
    assert "no header Status." in world.person.asked[-1] and world.text(2, "Preview") == ""


def test_headers_are_explained_in_notes(tmp_path: Path) -> None:
    """Ours and the workflow's."""
    world = fresh(tmp_path, HEADERS)
    world.run(RUN)
    assert world.note(1, "Job ID").startswith("Ties this row to its job")
    assert world.note(1, "Steps") == "whole number. More steps are slower and finer. 1 to 50. Blank means 4."


def test_boxes_are_added_only_when_wanted(tmp_path: Path) -> None:
    """As a rule, not as values: blank rows stay blank."""
    world = fresh(tmp_path, HEADERS, answer=no_to("parameter columns"))
    world.run(RUN)
    assert rule(world, "Run")["condition"]["type"] == "BOOLEAN" and world.sheet.data_extent()[0] == 1
    assert "checkboxes" not in "".join(world.person.asked[2:])
    world = fresh(tmp_path, HEADERS)
    world.run(RUN)
    assert "Run" not in world.headers()


def test_pictures_are_allowed_only_after_a_question(tmp_path: Path) -> None:
    """Once: a yes and a no are both remembered, and what cannot be undone is said."""
    for answer, allowed, word in ((no_to("pictures", "checkboxes", "parameter"), False, "no"), (None, True, "yes")):
        world = fresh(tmp_path, HEADERS, answer=answer)
        world.run(RUN)
        assert any("cannot be undone" in text for text in world.person.asked)
        assert [body["allow_images"] for body in world.api.sent("/v1/sheets/errands")] == [allowed]
        assert world.document["IMAGES"] == word
        asked = len(world.person.asked)
        world.run(RUN)
        assert not any("cannot be undone" in text for text in world.person.asked[asked:])
        assert [body["what"] for body in world.api.sent("/v1/sheets/errands")] == ["prepare", "prepare"]


def test_it_works_without_a_connection(tmp_path: Path) -> None:
    """As far as it can; nothing is asked of the API, and the person is told what is missing."""
    world = fresh(tmp_path, HEADERS)
    world.document.clear()
    world.run(RUN)
    assert world.api.requests == [] and rule(world, "Status") and not rule(world, "Workflow")
    assert "No dropdowns for workflows and parameters: not connected yet." in world.person.told[-1]
    assert all("undone" not in text and "parameter columns" not in text for text in world.person.asked)


def test_an_api_that_is_down_does_not_stop_it(tmp_path: Path) -> None:
    """It says so."""
    world = fresh(tmp_path, HEADERS)
    world.api.before = lambda path, body: refusal(503)
    world.run(RUN)
    assert (
        rule(world, "Status")
        and "No dropdowns for workflows and parameters: The API has a fault" in world.person.told[-1]
    )


def test_a_workflows_columns_are_offered_at_the_end(tmp_path: Path) -> None:
    """In a dialog of their own."""
    world = fresh(tmp_path, HEADERS, answer=no_to("checkboxes"))
    world.run(RUN)
    assert world.person.pages == [("Columns for workflow", "<p>Columns</p>")]


def test_the_dialog_is_told_what_each_workflow_lacks(tmp_path: Path) -> None:
    """By header, name, label or alias; a prompt under any of its names is there."""
    world = fresh(tmp_path, ("positive", "cfg_scale", "Status"))
    flux, colour = world.run("columnsState")["workflows"]
    assert flux["missing"] == ["Seed", "Steps", "Sampler", "LoRA"] and colour["missing"] == ["Color", "Steps"]
    assert flux["parameters"][2] == {
        "header": "Steps", "type": "whole number",
        "hint": "More steps are slower and finer. 1 to 50. Blank means 4.",
    }  # fmt: skip


def test_a_workflows_columns_are_added_at_the_right(tmp_path: Path) -> None:
    """With notes, rules and colours; a second time there is nothing to add."""
    world = fresh(tmp_path, (*HEADERS, "Notes"))
    world.put(2, Notes="mine")
    assert world.run("columnsAdd", args=["flux-schnell"]) == {"message": "Added CFG, Sampler, LoRA."}
    assert world.headers() == [*HEADERS, "Notes", "CFG", "Sampler", "LoRA"] and world.text(2, "Notes") == "mine"
    assert world.note(1, "Sampler") == "one of a list. One of euler, heun. Blank means euler."
    assert choices(world, "Sampler") == ["euler", "heun"]
    before = kept(world)
    assert world.run("columnsAdd", args=["flux-schnell"]) == {"message": "This tab has all columns of FLUX.1 schnell."}
    assert kept(world) == before
    with pytest.raises(ScriptError, match="no such workflow any more"):
        world.run("columnsAdd", args=["gone"])
