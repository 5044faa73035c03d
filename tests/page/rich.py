"""Fill the served workbook as "Set up this sheet" leaves it: rules, colours, notes, protections, filters."""

from __future__ import annotations

from typing import Any

from sandbox.workbook import Area, ConditionalFormat, FilterView, Protected, colour_of
from tests.page.alone import Alone

HEADERS = ("Run", "Prompt", "Workflow", "Steps", "Seed", "Status", "Preview", "Error")
WORKFLOWS = ("txt2img-sdxl", "flux-schnell", "empty-color")
STATES = ("", "pending", "queued", "processing", "done", "error", "cancelled", "done", "error")
RUN, PROMPT, WORKFLOW, STEPS, SEED, STATUS, PREVIEW, ERROR = range(8)
#: State, colour of the paper, colour of the words.
COLOURS = (
    ("done", "#e6f4ea", "#137333"),
    ("error", "#fce8e6", "#b3261e"),
    ("processing", "#e8f0fe", "#0b57d0"),
    ("queued", "#f1f3f4", None),
    ("cancelled", "#fef3dc", "#8a5300"),
)


def one_of(*values: str, strict: bool) -> dict[str, Any]:
    """Make a rule of choices."""
    condition = {"type": "ONE_OF_LIST", "values": [{"userEnteredValue": value} for value in values]}
    return {"condition": condition, "showCustomUi": True, "strict": strict}


def between(low: int, high: int, words: str) -> dict[str, Any]:
    """Make a rule that warns about a number."""
    values = [{"userEnteredValue": str(low)}, {"userEnteredValue": str(high)}]
    return {"condition": {"type": "NUMBER_BETWEEN", "values": values}, "strict": False, "inputMessage": words}


def enrich(alone: Alone, rows: int = 29) -> None:
    """Write *rows* rows below the header; a page that is open sees it all come."""
    sheet, book = alone.sheet, alone.book
    box = {"condition": {"type": "BOOLEAN"}, "strict": True}
    workflow, status = one_of(*WORKFLOWS, strict=True), one_of(*filter(None, STATES), strict=False)
    steps = between(1, 150, "Steps is a whole number from 1 to 150.")
    with book.editing("person"):
        for column, words in enumerate(HEADERS):
            form = {"textFormat": {"bold": True}, "backgroundColor": colour_of("#eceff1")}
            sheet.set_cell(0, column, words, format=form)
        for row in range(1, rows + 1):
            sheet.set_cell(row, RUN, row % 3 == 0, validation=box)
            sheet.set_cell(row, PROMPT, f"prompt number {row}, in some words")
            sheet.set_cell(row, WORKFLOW, WORKFLOWS[row % 2], validation=workflow)
            sheet.set_cell(row, STEPS, 900 if row == 3 else 20, validation=steps)
            sheet.set_cell(row, SEED, 1234 * row)
            sheet.set_cell(row, STATUS, STATES[row % 9] or None, validation=status)
        red = {"textFormat": {"foregroundColor": colour_of("#b3261e")}}
        sheet.set_cell(6, ERROR, "The model is not there.", note="Job 123\nThe details of it.", format=red)
        for column, width in {RUN: 56, PROMPT: 260, WORKFLOW: 130, STATUS: 110, ERROR: 220}.items():
            sheet.set_dimension("COLUMNS", column, 1, pixel_size=width)
        sheet.change(lambda: sheet.conditional_formats.extend(_colour(*one) for one in COLOURS))
        ours = Protected(book.new_id(), Area(0, PREVIEW, right=ERROR + 1), "ours", warning_only=True)
        sheet.change(lambda: sheet.protected.append(ours))
        sheet.set_filter(Area(0, 0, sheet.rows, len(HEADERS)))
        failed = {STATUS: {"condition": {"type": "TEXT_EQ", "values": [{"userEnteredValue": "error"}]}}}
        view = FilterView(book.new_id(), "Failed", Area(0, 0, sheet.rows, len(HEADERS)), failed)
        sheet.change(lambda: sheet.filter_views.append(view))


def _colour(word: str, paper: str, ink: str | None) -> ConditionalFormat:
    form: dict[str, Any] = {"backgroundColor": colour_of(paper)}
    if ink:
        form["textFormat"] = {"foregroundColor": colour_of(ink)}
    condition = {"type": "CUSTOM_FORMULA", "values": [{"userEnteredValue": f'=$F2="{word}"'}]}
    rule = {"booleanRule": {"condition": condition, "format": form}}
    return ConditionalFormat((Area(1, 0, 1000, len(HEADERS)),), rule)
