"""The dialog for a workflow's columns says what each parameter is and adds those that the sheet lacks."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.page_html.conftest import HOLD, Opener, Panel, fail, give

FLUX = {
    "id": "flux-schnell",
    "name": "FLUX.1 schnell",
    "description": "Fast pictures from a prompt, 4 steps.",
    "missing": ["Guidance", "LoRA strength"],
    "parameters": [
        {"header": "Prompt", "type": "text", "hint": "What to draw."},
        {"header": "Steps", "type": "whole number, 1 to 50", "hint": "More steps take longer. Blank means 4."},
        {"header": "Guidance", "type": "number, 0 to 10", "hint": "How closely to follow the prompt."},
        {"header": "LoRA strength", "type": "number", "hint": ""},
    ],
}
UPSCALE = {"id": "upscale", "name": "Upscale", "description": "", "missing": [], "parameters": []}
STATE = {"workflows": [FLUX, UPSCALE]}
ADDED = {"workflows": [{**FLUX, "missing": []}, UPSCALE]}


def open_columns(load: Opener, *states: dict[str, Any], scheme: str = "light", **replies: Any) -> Panel:
    line = [give(state) for state in states]
    panel = load("Columns.html", {"columnsState": line, **replies}, width=420, height=480, scheme=scheme)
    expect(panel.page.get_by_text("Looking up the workflows …")).to_be_hidden()
    return panel


def button(panel: Panel, name: str) -> Locator:
    return panel.page.get_by_role("button", name=name, exact=True)


def test_a_workflow_is_told_with_its_parameters(load: Opener) -> None:
    """Description, then each parameter's header, type and hint, and which of them the sheet lacks."""
    page = open_columns(load, STATE).page
    expect(page.get_by_label("Workflow", exact=True)).to_have_value("flux-schnell")
    expect(page.get_by_text("Fast pictures from a prompt, 4 steps.")).to_be_visible()
    items = page.get_by_role("list", name="Parameters").get_by_role("listitem")
    expect(items).to_have_count(4)
    expect(items.nth(1)).to_have_text("Stepswhole number, 1 to 50More steps take longer. Blank means 4.")
    expect(items.nth(2)).to_contain_text("not in the sheet")
    expect(items.filter(has_text="not in the sheet")).to_have_count(2)


def test_choosing_another_workflow_shows_that_one(load: Opener) -> None:
    """One without parameters says so, and there is nothing to add."""
    panel = open_columns(load, STATE)
    panel.page.get_by_label("Workflow", exact=True).select_option("Upscale")
    expect(panel.page.get_by_text("This workflow has no parameters.")).to_be_visible()
    expect(button(panel, "The sheet has them all")).to_have_attribute("aria-disabled", "true")
    button(panel, "The sheet has them all").press("Enter")
    assert panel.calls("columnsAdd") == []


def test_adding_asks_for_the_chosen_workflow_and_looks_again(load: Opener) -> None:
    """One call; meanwhile no second press; afterwards the sentence and the new state, with the focus where it was."""
    panel = open_columns(load, STATE, ADDED, columnsAdd=[HOLD])
    button(panel, "Add 2 columns").press("Enter")
    expect(button(panel, "Adding …")).to_be_focused()
    button(panel, "Adding …").press("Enter")
    assert panel.calls("columnsAdd") == [["columnsAdd", "flux-schnell"]]
    panel.release(give({"message": "2 columns were added at the right."}))
    expect(panel.page.get_by_text("2 columns were added at the right.")).to_be_visible()
    expect(button(panel, "The sheet has them all")).to_be_focused()
    expect(panel.page.get_by_text("not in the sheet")).to_have_count(0)


def test_a_column_that_is_no_parameter_is_listed_too(load: Opener) -> None:
    """The button adds what it counts: nothing comes as a surprise."""
    panel = open_columns(load, {"workflows": [{**FLUX, "missing": ["guidance", "Workflow"]}]})
    marked = panel.page.get_by_role("listitem").filter(has_text="not in the sheet")
    expect(marked).to_have_count(2)
    expect(marked.nth(1)).to_contain_text("Workflow")
    expect(button(panel, "Add 2 columns")).to_be_visible()


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("Row 1 is protected. Ask its owner.", "Row 1 is protected. Ask its owner."),
        ("Authorization is required to perform that action.", "Google mixes up your accounts in this window."),
    ],
)
def test_adding_that_fails_says_why(load: Opener, message: str, words: str) -> None:
    """The button is ready for the next try."""
    panel = open_columns(load, STATE, columnsAdd=[fail(message)])
    button(panel, "Add 2 columns").click()
    expect(panel.page.get_by_role("contentinfo")).to_contain_text(words)
    expect(button(panel, "Add 2 columns")).not_to_have_attribute("aria-disabled", "true")


def test_workflows_that_cannot_be_had_are_asked_for_again(load: Opener) -> None:
    """A sentence and a button, not an empty dialog."""
    panel = load("Columns.html", {"columnsState": [fail("No luck."), give(STATE)]}, width=420, height=480)
    expect(panel.page.get_by_text("No luck.")).to_be_visible()
    button(panel, "Try again").click()
    expect(button(panel, "Add 2 columns")).to_be_visible()
    expect(panel.page.get_by_text("No luck.")).to_have_count(0)


def test_no_workflows_at_all_is_told(load: Opener) -> None:
    """Then the operator has something to do."""
    panel = open_columns(load, {"workflows": []})
    expect(panel.page.get_by_text("The service has no workflows yet.")).to_be_visible()


def test_what_comes_from_elsewhere_is_text(load: Opener) -> None:
    """Whatever looks like HTML is shown as it is, and nothing makes the dialog wider."""
    bad = "<img src=x onerror=window.hacked=1>" + "x" * 500
    parameters = [{"header": bad, "type": bad, "hint": bad}]
    told = {"id": bad, "name": bad, "description": bad, "missing": [bad], "parameters": parameters}
    panel = open_columns(load, {"workflows": [told]}, columnsAdd=[fail(bad)])
    button(panel, "Add 1 column").click()
    expect(panel.page.get_by_role("listitem")).to_contain_text(bad)
    expect(panel.page.get_by_role("contentinfo")).to_contain_text(bad)
    assert panel.page.locator("img").count() == 0
    assert panel.page.evaluate("window.hacked") is None
    assert panel.page.evaluate("document.documentElement.scrollWidth") <= 420


def test_the_keyboard_is_enough(load: Opener) -> None:
    """Choose, add, close, each with the focus to be seen."""
    panel = open_columns(load, STATE, ADDED, columnsAdd=[give({"message": "Added."})])
    stops = []
    for _ in range(3):
        panel.page.keyboard.press("Tab")
        element = panel.page.locator(":focus")
        assert element.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
        stops.append(element.get_attribute("id"))
    assert stops == ["workflow", "add", "close"]
    panel.page.keyboard.press("Enter")
    assert panel.page.evaluate("window.closes") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("chosen", ["flux-schnell", "upscale"])
def test_axe_finds_nothing_serious(load: Opener, chosen: str, scheme: str) -> None:
    """Contrast, names, roles and landmarks hold in both schemes."""
    panel = open_columns(load, STATE, scheme=scheme, columnsAdd=[fail("No luck.")])
    panel.page.get_by_label("Workflow", exact=True).select_option(chosen)
    if chosen == "flux-schnell":
        button(panel, "Add 2 columns").click()
    assert panel.violations() == []
