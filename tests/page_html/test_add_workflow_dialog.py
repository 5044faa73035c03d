"""The dialog that adds a workflow: give the exported file, look at what is proposed, add it, add its columns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.page_html.conftest import HOLD, Opener, Panel, fail, give

GRAPH = '{"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "seed": 18446744073709551615}}}'
PROPOSAL: dict[str, Any] = {
    "id": "red-fox",
    "manifest": {
        "name": "Red fox",
        "parameters": {
            "prompt": {"type": "string", "sets": [{"node": "1", "input": "text"}]},
            "steps": None,
            "seed": {"type": "seed", "default": "random"},
        },
        "overrides": {"seed": {"label": "Seed"}},
    },
    "parameters": [
        {"name": "prompt", "header": "Prompt", "kind": "text", "hint": "What to draw.", "preset": ""},
        {"name": "steps", "header": "Steps", "kind": "whole number", "hint": "1 to 150.", "preset": "20"},
        {"name": "seed", "header": "Seed", "kind": "seed", "hint": "", "preset": "random"},
    ],
    "notes": ["The prompt is what the positive input of node 1 comes from."],
    "faults": [],
}
ADDED = {"taken": False, "message": "Added. Rows whose Workflow cell says red-fox use it now.", "missing": ["Prompt"]}


def open_dialog(load: Opener, *, scheme: str = "light", **replies: Any) -> Panel:
    return load("AddWorkflow.html", replies, width=520, height=600, scheme=scheme)


def proposed(load: Opener, proposal: dict[str, Any] = PROPOSAL, **more: Any) -> Panel:
    """Open the dialog and come to the proposal."""
    panel = open_dialog(load, addWorkflowInfer=[give(proposal)], **more)
    panel.page.get_by_label("Exported workflow (JSON)").fill(GRAPH)
    button(panel, "Next").click()
    expect(panel.page.get_by_role("heading", name="What rows may set")).to_be_visible()
    return panel


def button(panel: Panel, name: str) -> Locator:
    return panel.page.get_by_role("button", name=name, exact=True)


def said(panel: Panel) -> Locator:
    return panel.page.get_by_role("contentinfo").get_by_role("status")


def test_what_is_pasted_goes_to_the_script_as_it_is(load: Opener) -> None:
    """As text: read as a number here, a seed would lose digits."""
    panel = open_dialog(load, addWorkflowInfer=[HOLD])
    panel.page.get_by_label("Exported workflow (JSON)").fill(f"\n {GRAPH} \n")
    panel.page.get_by_label("Name (may be left empty)").fill(" Red fox ")
    button(panel, "Next").click()
    button(panel, "Looking …").press("Enter")
    assert panel.calls() == [["addWorkflowInfer", GRAPH, "Red fox"]]
    expect(button(panel, "Looking …")).to_have_attribute("aria-disabled", "true")


def test_a_file_is_read_and_names_the_workflow(load: Opener) -> None:
    """Its text is shown before anything is sent; a file that is called as ComfyUI calls all of them names nothing."""
    panel = open_dialog(load, addWorkflowInfer=[give(PROPOSAL)])
    for name, called in (("workflow_api.json", ""), ("Red fox.json", "Red fox")):
        file = {"name": name, "mimeType": "application/json", "buffer": GRAPH.encode()}
        panel.page.get_by_label("File", exact=True).set_input_files([file])  # type: ignore[list-item]
        expect(panel.page.get_by_label("Exported workflow (JSON)")).to_have_value(GRAPH)
        expect(panel.page.get_by_label("Name (may be left empty)")).to_have_value(called)
    assert panel.calls() == []


def test_nothing_given_is_told(load: Opener) -> None:
    """No call is made for it."""
    panel = open_dialog(load)
    button(panel, "Next").click()
    expect(said(panel)).to_have_text("Pick the exported file, or paste what it holds.")
    expect(panel.page.get_by_label("Exported workflow (JSON)")).to_be_focused()


def test_the_editors_format_is_told_how_to_export_the_right_one(load: Opener) -> None:
    """The API's sentence stands in the dialog; what was pasted stays, and another try is one press away."""
    sentence = (
        "The workflow cannot be run: this is the format of ComfyUI's editor. Export it with Workflow > Export (API)."
    )
    panel = open_dialog(load, addWorkflowInfer=[fail(sentence), give(PROPOSAL)])
    panel.page.get_by_label("Exported workflow (JSON)").fill('{"nodes": []}')
    button(panel, "Next").click()
    expect(said(panel)).to_have_text(sentence)
    button(panel, "Next").click()
    expect(button(panel, "Add")).to_be_visible()


def test_a_proposal_is_shown_with_its_parameters_and_notes(load: Opener) -> None:
    """Each parameter with its kind, hint, column and default."""
    page = proposed(load).page
    items = page.get_by_role("list", name="What rows may set").get_by_role("listitem")
    expect(items).to_have_count(3)
    expect(items.nth(1)).to_contain_text("Stepswhole number1 to 150.")
    expect(page.get_by_label("Blank means, for Steps")).to_have_value("20")
    expect(page.get_by_label("Column of Seed")).to_have_value("Seed")
    expect(page.get_by_role("list", name="Notes")).to_contain_text("The prompt is what the positive input")
    expect(page.get_by_label("What a Workflow cell says")).to_have_value("red-fox")


def test_a_workflow_is_added_as_it_is_proposed(load: Opener) -> None:
    """Untouched, the manifest goes as it came; then its columns are offered, and added with one press."""
    panel = proposed(load, addWorkflowAdd=[give(ADDED)], columnsAdd=[give({"message": "Added Prompt."})])
    button(panel, "Add").click()
    expect(said(panel)).to_have_text(ADDED["message"])
    [[_, workflow_id, manifest, graph, replace]] = panel.calls("addWorkflowAdd")
    assert (workflow_id, graph, replace) == ("red-fox", GRAPH, False)
    assert manifest == {
        **PROPOSAL["manifest"],
        "parameters": {**PROPOSAL["manifest"]["parameters"], "steps": {}},
    }
    expect(button(panel, "Add 1 column")).to_be_focused()
    button(panel, "Add 1 column").press("Enter")
    expect(said(panel)).to_have_text("Added Prompt.")
    assert panel.calls("columnsAdd") == [["columnsAdd", "red-fox"]]


def test_a_person_chooses_names_and_defaults(load: Opener) -> None:
    """What is unticked stays as it is in the workflow; a typed default of a number is a number."""
    panel = proposed(load, addWorkflowAdd=[give({**ADDED, "missing": []})])
    page = panel.page
    page.get_by_label("Name", exact=True).fill("Fox in the snow")
    page.get_by_label("What a Workflow cell says").fill("fox")
    page.get_by_role("checkbox", name="Seed").uncheck()
    expect(page.get_by_label("Column of Seed")).to_be_hidden()
    page.get_by_label("Column of Prompt").fill("Subject")
    page.get_by_label("Blank means, for Steps").fill("25")
    button(panel, "Add").click()
    expect(button(panel, "Close")).to_be_focused()
    [[_, workflow_id, manifest, _, _]] = panel.calls("addWorkflowAdd")
    assert workflow_id == "fox"
    assert manifest["name"] == "Fox in the snow"
    assert manifest["parameters"] == {
        "prompt": {**PROPOSAL["manifest"]["parameters"]["prompt"], "label": "Subject"},
        "steps": {"default": 25},
    }
    assert manifest["overrides"] == {}


def test_one_that_is_there_is_replaced_only_when_that_is_pressed(load: Opener) -> None:
    """The button says Replace then; typing another id makes it Add again."""
    taken = {"taken": True, "message": "There is a workflow red-fox already. Press Replace.", "missing": []}
    panel = proposed(load, addWorkflowAdd=[give(taken), give(taken), give(ADDED)])
    button(panel, "Add").click()
    expect(said(panel)).to_contain_text("already")
    panel.page.get_by_label("What a Workflow cell says").fill("fox-2")
    button(panel, "Add").click()
    expect(button(panel, "Replace")).to_be_visible()
    button(panel, "Replace").click()
    expect(said(panel)).to_have_text(ADDED["message"])
    assert [(call[1], call[4]) for call in panel.calls("addWorkflowAdd")] == [
        ("red-fox", False),
        ("fox-2", False),
        ("fox-2", True),
    ]


def test_a_workflow_with_faults_cannot_be_added(load: Opener) -> None:
    """What must be changed in ComfyUI is listed; there is a way back, with what was pasted still there."""
    fault = "red-fox: graph: no node saves anything"
    panel = proposed(load, {**PROPOSAL, "parameters": [], "faults": [fault]})
    expect(panel.page.get_by_role("list", name="This must be changed in ComfyUI first")).to_have_text(fault)
    expect(button(panel, "Add")).to_be_hidden()
    button(panel, "Back").click()
    expect(panel.page.get_by_label("Exported workflow (JSON)")).to_have_value(GRAPH)


def test_adding_that_fails_says_why(load: Opener) -> None:
    """The button is ready for the next try."""
    panel = proposed(load, addWorkflowAdd=[fail("The workflow has a fault. x: name: is missing.")])
    button(panel, "Add").click()
    expect(said(panel)).to_have_text("The workflow has a fault. x: name: is missing.")
    expect(button(panel, "Add")).not_to_have_attribute("aria-disabled", "true")


def test_what_comes_from_elsewhere_is_text(load: Opener) -> None:
    """Whatever looks like HTML is shown as it is, and nothing makes the dialog wider."""
    bad = "<img src=x onerror=window.hacked=1>" + "x" * 500
    parameters = [{"name": "x", "header": bad, "kind": bad, "hint": bad, "preset": bad}]
    told = {**PROPOSAL, "id": bad, "parameters": parameters, "notes": [bad], "faults": [bad]}
    panel = proposed(load, told)
    expect(panel.page.get_by_role("list", name="Notes")).to_contain_text(bad)
    assert panel.page.locator("img").count() == 0
    assert panel.page.evaluate("window.hacked") is None
    assert panel.page.evaluate("document.documentElement.scrollWidth") <= 520


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(load: Opener, scheme: str) -> None:
    """Contrast, names, roles and landmarks hold at each step, in both schemes."""
    panel = open_dialog(
        load, scheme=scheme, addWorkflowInfer=[give({**PROPOSAL, "faults": []})], addWorkflowAdd=[give(ADDED)]
    )
    button(panel, "Next").click()
    assert panel.violations() == []
    panel.page.get_by_label("Exported workflow (JSON)").fill(json.dumps({}))
    button(panel, "Next").click()
    expect(button(panel, "Add")).to_be_visible()
    assert panel.violations() == []
    button(panel, "Add").click()
    expect(button(panel, "Add 1 column")).to_be_visible()
    assert panel.violations() == []
