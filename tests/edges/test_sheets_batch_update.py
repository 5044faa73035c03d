"""spreadsheets.batchUpdate over the workbook: typed cells, field masks, atomicity, and proof in its own answer."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.workbook import Area, Formula
from tests.edges.sheets_world import BOOK, World, cells, text


@pytest.fixture
def world() -> Iterator[World]:
    with World() as one:
        yield one


def test_typed_cells_are_not_parsed(world: World) -> None:
    """A stringValue stays text whatever it starts with; only formulaValue makes a formula."""
    hostile = '=IMPORTXML("http://x","//y")'
    image = '=IMAGE("http://127.0.0.1/thumb.jpg")'
    number: dict[str, Any] = {"userEnteredValue": {"numberValue": 12}}
    world.batch(cells(1, 0, text(hostile), {"userEnteredValue": {"formulaValue": image}}, number))
    assert [world.sheet.cell(1, col).user_entered for col in range(3)] == [hostile, Formula(image), 12.0]
    assert {edit.who for edit in world.book.last_changes} == {"api"}


def test_the_fields_mask_decides_what_is_touched_and_an_absent_masked_field_is_cleared(world: World) -> None:
    """Unmasked parts stay, masked parts that the request lacks go."""
    world.sheet.set_cell(0, 0, "old", note="old note")
    world.batch(cells(0, 0, {**text("new"), "note": "ignored"}))
    assert (world.sheet.cell(0, 0).formatted, world.sheet.cell(0, 0).note) == ("new", "old note")
    world.batch(cells(0, 0, text("newer"), fields="userEnteredValue,note"))
    assert (world.sheet.cell(0, 0).formatted, world.sheet.cell(0, 0).note) == ("newer", None)
    world.batch(cells(0, 0, {"note": "only"}, fields="*"))
    assert (world.sheet.cell(0, 0).user_entered, world.sheet.cell(0, 0).note) == (None, "only")


def test_a_mask_below_a_format_changes_that_part_only(world: World) -> None:
    """userEnteredFormat.numberFormat leaves the background."""
    red = {"backgroundColor": {"red": 1}}
    world.sheet.set_cell(0, 0, 46347.5, format=red)
    number_format = {"type": "DATE_TIME", "pattern": "yyyy-mm-dd hh:mm"}
    given = {"userEnteredFormat": {"numberFormat": number_format}}
    world.batch(cells(0, 0, given, fields="userEnteredFormat(numberFormat)"))
    cell = world.sheet.cell(0, 0)
    assert (cell.formatted, cell.background, cell.is_date) == ("2026-11-21 12:00", "#ff0000", True)


def test_a_range_that_the_rows_do_not_cover_is_cleared(world: World) -> None:
    """With `range` instead of `start` the masked fields of every uncovered cell go."""
    world.fill(("a", "b"), ("c", "d"))
    grid = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 2, "startColumnIndex": 0, "endColumnIndex": 2}
    world.batch({"updateCells": {"range": grid, "rows": [{"values": [text("x")]}], "fields": "userEnteredValue"}})
    assert world.shown(2, 2) == [["x", ""], ["", ""]]


def test_the_answer_proves_where_the_write_landed(world: World) -> None:
    """includeSpreadsheetInResponse + responseRanges + fields show the ids beside the written cells, in one call."""
    world.fill(("Job ID", "Status"), ("j_1", ""), ("j_2", ""))
    answer = (
        world.api.batchUpdate(
            spreadsheetId=BOOK,
            body={
                "requests": [cells(1, 1, text("done")), cells(2, 1, text("error"))],
                "includeSpreadsheetInResponse": True,
                "responseRanges": ["Renders!A2:A3"],
                "responseIncludeGridData": True,
            },
            fields="replies,updatedSpreadsheet.sheets(properties.sheetId,data(startRow,rowData.values.effectiveValue))",
        )
    ).execute()
    ids = [{"values": [{"effectiveValue": {"stringValue": id_}}]} for id_ in ("j_1", "j_2")]
    sheets = [{"properties": {"sheetId": 0}, "data": [{"startRow": 1, "rowData": ids}]}]
    assert answer == {"replies": [{}, {}], "updatedSpreadsheet": {"sheets": sheets}}


def test_a_batch_is_all_or_nothing(world: World) -> None:
    """A refused request undoes those before it, structure included, and nobody is told of anything."""
    world.fill(("a",))
    heard: list[object] = []
    world.book.listen(heard.append)
    before = world.book.to_json()
    rows = {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 3}
    requests = [
        cells(0, 0, text("b")),
        {"insertDimension": {"range": rows}},
        {"addSheet": {"properties": {"title": "Results"}}},
        {"updateCells": {"start": {"sheetId": 99}, "rows": [], "fields": "note"}},
    ]
    refused = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body={"requests": requests}))
    assert refused == (400, "Invalid requests[3].updateCells: No grid with id: 99")
    assert (world.book.to_json(), heard) == (before, [])
    assert [edit.who for edit in world.book.last_changes] == ["person"]


def test_one_batch_is_one_notice(world: World) -> None:
    """However many cells a batch writes, listeners hear once."""
    heard: list[Any] = []
    world.book.listen(heard.append)
    world.batch(*[cells(row, 0, text("x")) for row in range(20)])
    assert [(one.sheet_id, len(one.cells)) for one in heard] == [(0, 20)]


def test_rows_and_columns_move_with_what_hangs_on_them(world: World) -> None:
    """Insert, delete, move: cells, notes, protections and metadata follow."""
    world.fill(("h1", "h2", "h3"), ("a", "b", "c"))
    column = {"sheetId": 0, "startColumnIndex": 1, "endColumnIndex": 2}
    world.batch({"addProtectedRange": {"protectedRange": {"range": column, "warningOnly": True}}})
    location = {"dimensionRange": {"sheetId": 0, "dimension": "ROWS", "startIndex": 1, "endIndex": 2}}
    metadata = {"metadataKey": "job", "metadataValue": "j_1", "visibility": "DOCUMENT", "location": location}
    world.batch({"createDeveloperMetadata": {"developerMetadata": metadata}})
    world.batch(
        {"insertDimension": {"range": {"sheetId": 0, "dimension": "ROWS", "startIndex": 1, "endIndex": 3}}},
        {"moveDimension": {"source": {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 1, "endIndex": 2},
                           "destinationIndex": 0}},
        {"deleteDimension": {"range": {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 2, "endIndex": 3}}},
    )  # fmt: skip
    assert world.shown(4, 3) == [["h2", "h1", ""], ["", "", ""], ["", "", ""], ["b", "a", ""]]
    assert (world.sheet.rows, world.sheet.cols) == (52, 9)
    assert [(one.area.left, one.area.right, one.warning_only) for one in world.sheet.protected] == [(0, 1, True)]
    lookup = {"dataFilters": [{"developerMetadataLookup": {"metadataKey": "job"}}]}
    found = world.api.values().batchGetByDataFilter(spreadsheetId=BOOK, body=lookup).execute()["valueRanges"]
    assert found[0]["valueRange"]["values"] == [["b", "a"]]


def test_sort_range_moves_rows_of_cells(world: World) -> None:
    """sortRange orders by several keys; empty cells are last in both directions."""
    world.fill(("b", 1), ("a", 2), (None, 3), ("a", 1))
    grid = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 4}
    specs = [{"dimensionIndex": 0, "sortOrder": "DESCENDING"}, {"dimensionIndex": 1, "sortOrder": "ASCENDING"}]
    world.batch({"sortRange": {"range": grid, "sortSpecs": specs}})
    assert world.shown(4, 2) == [["b", "1"], ["a", "1"], ["a", "2"], ["", "3"]]


def test_the_image_gate_opens_once_and_for_good(world: World) -> None:
    """IMAGE is #REF! until importFunctionsExternalUrlAccessAllowed is set; it cannot be unset."""
    world.sheet.set_cell(0, 0, Formula('=IMAGE("http://127.0.0.1/a.jpg")'))
    assert world.sheet.cell(0, 0).formatted == "#REF!"

    def gate(open_: bool) -> dict[str, Any]:
        name = "importFunctionsExternalUrlAccessAllowed"
        return {"updateSpreadsheetProperties": {"properties": {name: open_}, "fields": name}}

    world.batch(gate(True))
    assert world.sheet.cell(0, 0).image_url == "http://127.0.0.1/a.jpg"
    shown = world.api.get(spreadsheetId=BOOK, fields="properties.importFunctionsExternalUrlAccessAllowed").execute()
    assert shown == {"properties": {"importFunctionsExternalUrlAccessAllowed": True}}
    shut = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body={"requests": [gate(False)]}))
    assert shut[0] == 400
    assert world.book.external_images_allowed


def test_set_up_requests_reach_the_model_and_are_shown_again(world: World) -> None:
    """Headers, frozen row, widths, dropdowns, rules and tabs go in and come back in spreadsheets.get."""
    rule = {"condition": {"type": "ONE_OF_LIST", "values": [{"userEnteredValue": "done"}]}, "showCustomUi": True}
    column = {"sheetId": 0, "startRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 1}
    colour = {"booleanRule": {"condition": {"type": "TEXT_EQ", "values": [{"userEnteredValue": "done"}]},
                              "format": {"backgroundColor": {"green": 1}}}}  # fmt: skip
    bold = {"userEnteredFormat": {"textFormat": {"bold": True}}}
    header = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 1}
    frozen = {"sheetId": 0, "title": "Queue", "gridProperties": {"frozenRowCount": 1}}
    width = {"sheetId": 0, "dimension": "COLUMNS", "startIndex": 0, "endIndex": 1}
    answer = world.batch(
        {"setDataValidation": {"range": column, "rule": rule}},
        {"addConditionalFormatRule": {"rule": {"ranges": [column], **colour}, "index": 0}},
        {"repeatCell": {"range": header, "cell": bold, "fields": "userEnteredFormat.textFormat.bold"}},
        {"updateSheetProperties": {"properties": frozen, "fields": "title,gridProperties.frozenRowCount"}},
        {"updateDimensionProperties": {"range": width, "properties": {"pixelSize": 300}, "fields": "pixelSize"}},
        {"appendDimension": {"sheetId": 0, "dimension": "COLUMNS", "length": 2}},
        {"addSheet": {"properties": {"title": "Results", "gridProperties": {"rowCount": 5, "columnCount": 3}}}},
    )
    assert answer["replies"][6]["addSheet"]["properties"]["sheetId"] == 1
    first, second = world.api.get(spreadsheetId=BOOK, includeGridData=True).execute()["sheets"]
    assert first["properties"]["title"] == "Queue"
    assert first["properties"]["gridProperties"] == {"rowCount": 50, "columnCount": 12, "frozenRowCount": 1}
    assert first["data"][0]["columnMetadata"][0]["pixelSize"] == 300
    assert first["data"][0]["rowData"][1]["values"][0]["dataValidation"] == rule
    assert first["data"][0]["rowData"][0]["values"][0]["userEnteredFormat"]["textFormat"] == {"bold": True}
    assert first["conditionalFormats"][0]["ranges"] == [column]
    assert second["properties"]["gridProperties"] == {"rowCount": 5, "columnCount": 3}
    world.batch({"deleteSheet": {"sheetId": 1}})
    assert [sheet.title for sheet in world.book.sheets] == ["Queue"]


def test_an_edit_between_two_calls_is_seen_by_the_next(world: World) -> None:
    """The API, the script and the page share one workbook: a person's sort is there at the next read."""
    world.fill(("Job ID",), ("j_2",), ("j_1",))
    world.sheet.sort(Area(1, 0, 3), 0)
    assert world.api.values().get(spreadsheetId=BOOK, range="A2:A3").execute()["values"] == [["j_1"], ["j_2"]]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"updateCells": {"start": {"sheetId": 0}, "rows": []}}, "At least one field must be listed in 'fields'."),
        (cells(50, 0, text("x")), "Attempting to write row: 50, beyond the last requested row of: 49"),
        (cells(0, 10, text("x")), "Attempting to write column: 10, beyond the last requested column of: 9"),
        (cells(0, 0, text("x" * 50_001)), "more than the maximum of 50000 characters in a single cell."),
        (cells(0, 0, {"userEnteredValue": {"formulaValue": "IMAGE()"}}), "formulaValue must start with '='."),
        (cells(0, 0, text("x"), fields="userEnteredValu"), "Invalid field selection userEnteredValu"),
        ({"addSheet": {"properties": {"title": "renders"}}}, 'A sheet with the name "renders" already exists.'),
        ({"deleteSheet": {"sheetId": 0}}, "You can't remove all the sheets in a document."),
        ({}, "Invalid requests[0]: No request set."),
    ],
)
def test_a_request_that_google_refuses_is_refused(world: World, request_: dict[str, Any], sentence: str) -> None:
    """Wrong requests are 400 INVALID_ARGUMENT with a sentence that says what was wrong."""
    status, reason = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body={"requests": [request_]}))
    assert status == 400
    assert sentence in reason


def test_what_is_not_emulated_says_so(world: World) -> None:
    """An unknown kind of request is refused with its name, never ignored."""
    body = {"requests": [{"addNamedRange": {"namedRange": {"name": "x"}}}]}
    assert world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body=body)) == (
        501, "The request addNamedRange is not emulated.",
    )  # fmt: skip
