"""Adding a workflow from the sheet: what the dialog is told, what goes to the API, and what becomes of the tab."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.apps_script import ScriptError
from tests.script_world import WORKFLOWS, ScriptWorld, refusal

GRAPH = '{"1": {"class_type": "SaveImage", "inputs": {"seed": 18446744073709551615}}}'
FOX: dict[str, Any] = {
    "id": "red-fox",
    "name": "Red fox",
    "description": "",
    "parameters": [
        {"name": "prompt", "label": "Prompt", "type": "string", "required": True},
        {"name": "fox_size", "label": "Size", "type": "size", "default": "512x512", "choices": ["Square 512x512"]},
    ],
}
PROPOSED: dict[str, Any] = {"id": "red-fox", "manifest": {"name": "Red fox"}, "notes": ["A note."], "faults": []}


def world_with_catalog() -> ScriptWorld:
    """Make a world whose API takes workflows."""
    world = ScriptWorld()
    catalog = [*WORKFLOWS]

    def workflows(body: dict[str, Any]) -> Any:
        if "manifest" not in body:
            return {"workflows": catalog}
        if FOX in catalog and not body["replace"]:
            return refusal(409, "There is a workflow red-fox already.", "name_taken")
        catalog.append(FOX)
        return {"workflow": FOX, "created": True}

    world.api.answers["/v1/sheets/workflows"] = workflows
    world.api.answers["/v1/sheets/workflows/infer"] = lambda body: {**PROPOSED, "parameters": FOX["parameters"]}
    return world


def test_the_menu_opens_the_dialog() -> None:
    """And tells whoever is not connected how to become it."""
    world = world_with_catalog()
    world.run("addWorkflow")
    [(title, html)] = world.person.pages
    assert title == "Add a workflow" and "Export (API)" in html
    world.document.clear()
    world.run("addWorkflow")
    assert len(world.person.pages) == 1
    assert "not connected" in world.person.insisted[0]


def test_a_proposal_is_told_as_a_person_reads_it() -> None:
    """Header, kind, hint and default of each parameter; the file goes on as its own text."""
    world = world_with_catalog()
    told = world.run("addWorkflowInfer", args=[GRAPH, "Red fox"])
    assert world.api.sent("/v1/sheets/workflows/infer") == [
        {"spreadsheet_id": "sheet-1", "graph": GRAPH, "name": "Red fox"}
    ]
    assert told == {
        **PROPOSED,
        "parameters": [
            {"name": "prompt", "header": "Prompt", "kind": "text", "hint": "", "preset": ""},
            {"name": "fox_size", "header": "Size", "kind": "size", "hint": "One of Square 512x512.",
             "preset": "512x512"},
        ],
    }  # fmt: skip


def test_what_the_api_refuses_is_the_dialogs_sentence() -> None:
    """An editor's export is told how to export the right one."""
    world = world_with_catalog()
    world.api.answers["/v1/sheets/workflows/infer"] = lambda body: refusal(
        422, "Export it with Workflow > Export (API)."
    )
    with pytest.raises(ScriptError, match=r"Export it with Workflow > Export \(API\)"):
        world.run("addWorkflowInfer", args=["{}", ""])


def test_an_added_workflow_is_in_the_dropdown_at_once() -> None:
    """The list of the Workflow column is renewed, and the columns that the tab lacks are named."""
    world = world_with_catalog()
    said = world.run("addWorkflowAdd", args=["red-fox", {"name": "Red fox"}, GRAPH, False])
    assert said["taken"] is False and said["missing"] == ["Size"]
    assert said["message"] == "Added. Rows whose Workflow cell says red-fox use it now."
    assert "red-fox" in str(world.sheet.cell(1, world.column("Workflow")).validation)
    assert world.run("columnsAdd", args=["red-fox"])["message"].startswith("Added Size.")
    assert world.headers()[-1] == "Size"


def test_one_that_is_there_is_told_and_replaced_when_asked() -> None:
    """A conflict is no fault: the dialog offers to replace it."""
    world = world_with_catalog()
    world.run("addWorkflowAdd", args=["red-fox", {}, GRAPH, False])
    said = world.run("addWorkflowAdd", args=["red-fox", {}, GRAPH, False])
    assert said["taken"] is True
    assert said["message"].startswith("There is a workflow red-fox already. Press Replace")
    assert world.run("addWorkflowAdd", args=["red-fox", {}, GRAPH, True])["message"].startswith("Replaced.")


def test_a_list_that_cannot_be_renewed_does_not_undo_what_was_added() -> None:
    """The sentence says both."""
    world = world_with_catalog()
    answer = world.api.answers["/v1/sheets/workflows"]
    world.api.answers["/v1/sheets/workflows"] = lambda body: answer(body) if "manifest" in body else refusal(403, "No.")
    said = world.run("addWorkflowAdd", args=["red-fox", {}, GRAPH, False])
    assert said["message"].startswith("Added. ")
    assert "The list of workflows was not renewed: No." in said["message"]
