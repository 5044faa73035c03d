"""Make the sheet that a newcomer sees first: a dozen rows over all shipped workflows."""

from __future__ import annotations

from typing import Final

from sandbox.workbook import Sheet, Workbook

SPREADSHEET_ID: Final = "comfysheet-demo"

HEADERS: Final = (
    "Prompt", "Workflow", "Steps", "CFG", "Width", "Height", "Seed", "Color", "Status", "Preview", "Output URL",
    "Started at", "Finished at", "Error", "Job ID",
)  # fmt: skip

_WIDTHS: Final = {
    "Prompt": 280, "Workflow": 110, "Steps": 56, "CFG": 56, "Width": 60, "Height": 60, "Seed": 96, "Color": 76,
    "Status": 90, "Preview": 130, "Output URL": 150, "Started at": 136, "Finished at": 136, "Error": 220, "Job ID": 120,
}  # fmt: skip

ROWS: Final[tuple[dict[str, str | int | float], ...]] = (
    {"Prompt": "a red fox in fresh snow, morning light", "Workflow": "txt2img-sdxl", "Steps": 20, "Seed": 7},
    {"Prompt": "lighthouse on a cliff, oil painting", "Workflow": "txt2img-sdxl", "Steps": 15, "CFG": 6.5},
    {"Prompt": "a market street in the rain, neon signs", "Workflow": "txt2img-sdxl", "Steps": 20},
    {"Prompt": "portrait of an astronaut, studio light", "Workflow": "txt2img-sdxl", "Steps": 18, "Seed": 1234},
    {"Prompt": "a paper boat on a green lake", "Workflow": "flux-schnell"},
    {"Prompt": "ein Garten hinter dem Haus, Aquarell 🌿", "Workflow": "flux-schnell", "Steps": 6},
    {"Prompt": "desert road at dusk, long exposure", "Workflow": "flux-schnell", "Seed": 99},
    {"Prompt": "a cosy reading corner with two cats", "Workflow": "flux-schnell"},
    {"Prompt": "(names the row only: this workflow has no prompt)", "Workflow": "empty-color", "Color": "teal"},
    {"Prompt": "a colour by its code", "Workflow": "empty-color", "Color": "#f06292"},
    {"Prompt": "blue and orange, mixed", "Workflow": "image-ops", "Color": "blue"},
    {"Prompt": "purple and orange, mixed", "Workflow": "image-ops", "Color": "purple"},
)


def fill_example(book: Workbook) -> Sheet:
    """Add the example tab to *book*, as a person would have typed it, with pictures allowed."""
    sheet = book.add_sheet("Renders")
    with book.editing("person"):
        for column, header in enumerate(HEADERS):
            sheet.enter(0, column, header)
            if header in _WIDTHS:
                sheet.set_dimension("COLUMNS", column, 1, pixel_size=_WIDTHS[header])
        for number, row in enumerate(ROWS, start=1):
            size = {"Width": 768, "Height": 512} if row["Workflow"] != "empty-color" else {"Width": 384, "Height": 256}
            for header, value in {**size, **row}.items():
                sheet.enter(number, HEADERS.index(header), str(value))
        sheet.freeze(rows=1)
        # A person pressed "Allow access" once; the page has the button for sheets where nobody did.
        book.allow_external_images()
    return sheet


def header_columns(sheet: Sheet) -> dict[str, int]:
    """Say where each header of row 1 is now."""
    _, columns = sheet.data_extent()
    return {str(sheet.cell(0, column).formatted): column for column in range(columns)}
