"""Cells behave as in Sheets: lists of choices, checkboxes, rules that warn, notes, colours."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.workbook import Area, ConditionalFormat, colour_of
from tests.page.alone import Alone, cell, opened, shows
from tests.page.rich import ERROR, PROMPT, RUN, STATUS, STEPS, WORKFLOW, enrich
from tests.waiting import until


@pytest.fixture
def page(chromium: Browser, alone: Alone) -> Iterator[Page]:
    """Open a sheet that has been set up."""
    enrich(alone)
    with opened(chromium, alone.url) as page:
        shows(page, 9, PROMPT, "prompt number 8, in some words")
        yield page


def value(alone: Alone, number: int, column: int) -> object:
    return alone.sheet.cell(number - 1, column).user_entered


def becomes(alone: Alone, number: int, column: int, wanted: object) -> bool:
    return until(alone.book, lambda: value(alone, number, column) == wanted, 20)


@pytest.mark.parametrize("how", ["arrow", "Enter", "Alt+ArrowDown"])
def test_a_list_of_choices_opens_and_is_chosen_from(page: Page, alone: Alone, how: str) -> None:
    """Arrow, Enter and Alt with arrow down open the list; arrows and Enter choose."""
    if how == "arrow":
        cell(page, 2, WORKFLOW).locator(".arrow").click()
    else:
        cell(page, 2, WORKFLOW).click()
        page.keyboard.press(how)
    choices = page.get_by_role("listbox", name="Choices")
    expect(choices.get_by_role("option")).to_have_text(["txt2img-sdxl", "flux-schnell", "empty-color"])
    expect(choices.get_by_role("option", selected=True)).to_have_text("flux-schnell")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert becomes(alone, 2, WORKFLOW, "empty-color")
    shows(page, 2, WORKFLOW, "empty-color")
    expect(choices).to_have_count(0)


def test_a_choice_is_clicked(page: Page, alone: Alone) -> None:
    """A click on a choice writes it."""
    cell(page, 3, WORKFLOW).locator(".arrow").click()
    page.get_by_role("option", name="empty-color").click()
    assert becomes(alone, 3, WORKFLOW, "empty-color")


def test_typing_narrows_the_choices(page: Page, alone: Alone) -> None:
    """Letters filter the list; Enter takes the first that fits."""
    cell(page, 2, WORKFLOW).click()
    page.keyboard.type("sdx")
    expect(page.get_by_role("option")).to_have_text(["txt2img-sdxl"])
    page.keyboard.press("Enter")
    assert becomes(alone, 2, WORKFLOW, "txt2img-sdxl")


def test_a_strict_rule_rejects_with_googles_dialog(page: Page, alone: Alone) -> None:
    """A value that a strict list does not have is refused and the cell stays."""
    cell(page, 2, WORKFLOW).click()
    page.keyboard.type("nonsense")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("There was a problem")
    expect(page.get_by_role("dialog")).to_contain_text("C2 violates the data validation rules")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert value(alone, 2, WORKFLOW) == "flux-schnell"


def test_a_rule_that_warns_lets_it_stand_with_a_red_corner(page: Page, alone: Alone) -> None:
    """A wrong value in a list that only warns stays; the cell is marked and says why."""
    cell(page, 2, STATUS).click()
    page.keyboard.type("maybe")
    page.keyboard.press("Enter")
    assert becomes(alone, 2, STATUS, "maybe")
    expect(cell(page, 2, STATUS)).to_have_class(re.compile(r"\binvalid\b"))
    cell(page, 2, STATUS).click()
    expect(page.get_by_role("tooltip")).to_contain_text("Invalid: Input must be an item on the specified list")


def test_the_help_of_a_number_rule_shows_on_hover_and_on_focus(page: Page) -> None:
    """The rule's own words show with the pointer and with the keyboard; a screen reader gets them too."""
    expect(cell(page, 4, STEPS)).to_have_attribute("aria-invalid", "true")
    expect(cell(page, 4, STEPS)).to_have_attribute(
        "aria-description", "Invalid: Steps is a whole number from 1 to 150."
    )
    cell(page, 4, STEPS).hover()
    expect(page.get_by_role("tooltip")).to_contain_text("Steps is a whole number from 1 to 150.")
    cell(page, 3, STEPS).click()
    expect(page.get_by_role("tooltip")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("tooltip")).to_contain_text("Invalid: Steps is a whole number from 1 to 150.")


def test_a_note_shows_on_hover_and_on_focus(page: Page) -> None:
    """A note shows beside its cell, with its lines."""
    cell(page, 7, ERROR).hover()
    expect(page.locator("#note-words")).to_have_text("Job 123\nThe details of it.")
    expect(page.locator("#note-fault")).to_be_hidden()
    cell(page, 9, ERROR).click()
    expect(page.get_by_role("tooltip")).to_be_hidden()
    cell(page, 8, ERROR).click()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("tooltip")).to_contain_text("The details of it.")
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip")).to_be_hidden()


def test_a_checkbox_is_ticked_by_click_and_by_space(page: Page, alone: Alone) -> None:
    """A checkbox writes TRUE and FALSE; Space turns all that are selected."""
    cell(page, 2, RUN).get_by_role("checkbox").click()
    assert becomes(alone, 2, RUN, True)
    expect(cell(page, 2, RUN).get_by_role("checkbox")).to_be_checked()
    page.keyboard.press("Space")
    assert becomes(alone, 2, RUN, False)
    cell(page, 5, RUN).click(position={"x": 3, "y": 3})
    cell(page, 7, RUN).click(modifiers=["Shift"], position={"x": 3, "y": 3})
    page.keyboard.press("Space")
    assert until(alone.book, lambda: [value(alone, row, RUN) for row in (5, 6, 7)] == [True] * 3, 20)


def test_typing_replaces_and_enter_goes_down(page: Page, alone: Alone) -> None:
    """A letter begins to edit with that letter; Enter keeps it and goes to the cell below, Tab to the right."""
    cell(page, 2, PROMPT).click()
    page.keyboard.type("new words")
    page.keyboard.press("Enter")
    assert becomes(alone, 2, PROMPT, "new words")
    expect(page.locator("#where")).to_have_value("B3")
    page.keyboard.type("more")
    page.keyboard.press("Tab")
    assert becomes(alone, 3, PROMPT, "more")
    expect(page.locator("#where")).to_have_value("C3")


def paint(page: Page, number: int, column: int) -> tuple[str, str]:
    return tuple(
        cell(page, number, column).evaluate(
            "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
        )
    )


def test_rows_take_the_colour_of_their_status(page: Page, alone: Alone) -> None:
    """A formula over the row colours all its cells, and again when the status changes."""
    assert paint(page, 5, PROMPT) == ("rgb(230, 244, 234)", "rgb(19, 115, 51)")
    alone.sheet.enter(4, STATUS, "error")
    shows(page, 5, STATUS, "error")
    expect(cell(page, 5, PROMPT)).to_have_css("background-color", "rgb(252, 232, 230)")
    alone.sheet.enter(4, STATUS, "pending")
    shows(page, 5, STATUS, "pending")
    expect(cell(page, 5, PROMPT)).to_have_css("background-color", "rgba(0, 0, 0, 0)")


CONTRAST = """element => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => {
      const one = part / 255;
      return one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const isClear = (one) => getComputedStyle(one).backgroundColor === 'rgba(0, 0, 0, 0)';
  let behind = element;
  while (isClear(behind)) behind = behind.parentElement;
  const paper = light(getComputedStyle(behind).backgroundColor);
  const [high, low] = [light(getComputedStyle(element).color), paper].sort((a, b) => b - a);
  return [(high + 0.05) / (low + 0.05), paper];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_legible_on_either_paper(chromium: Browser, alone: Alone, scheme: str) -> None:
    """Every state's row has a contrast of 4.5 at least, and in the dark the paper is dark."""
    enrich(alone)
    with opened(chromium, alone.url, color_scheme=scheme) as page:
        for number in range(1, 10):
            contrast, paper = cell(page, number, PROMPT).evaluate(CONTRAST)
            assert contrast >= 4.5, (number, contrast)
            assert (paper < 0.2) == (scheme == "dark")


@pytest.mark.parametrize(
    ("kind", "values", "rows"),
    [
        ("TEXT_EQ", ["FIG"], {2}),
        ("TEXT_CONTAINS", ["e"], {1, 3, 4, 6, 7}),
        ("NOT_BLANK", [], {1, 2, 3, 4, 5, 6, 7}),
        ("CUSTOM_FORMULA", ['=AND(LEN($A1)=5, NOT($A1="apple"))'], {4}),
        ("CUSTOM_FORMULA", ['=OR(A1="fig", $A1 & "!" = "date!")'], {2, 6}),
        ("CUSTOM_FORMULA", ["=SOMETHING(A1)"], set()),
    ],
)
def test_conditions_hold_where_they_should(
    chromium: Browser, alone: Alone, kind: str, values: list[str], rows: set[int]
) -> None:
    """Each kind of condition colours the cells that fulfil it and no other; an unknown formula colours nothing."""
    condition = {"type": kind, "values": [{"userEnteredValue": one} for one in values]}
    rule = {"booleanRule": {"condition": condition, "format": {"backgroundColor": colour_of("#ff0000")}}}
    area = ConditionalFormat((Area(0, 0, 20, 1),), rule)
    alone.sheet.change(lambda: alone.sheet.conditional_formats.append(area))
    with opened(chromium, alone.url) as page:
        shows(page, 7, 0, "cherry")
        painted = {number for number in range(1, 12) if paint(page, number, 0)[0] == "rgb(255, 0, 0)"}
        assert painted == rows
