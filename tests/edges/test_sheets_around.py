"""spreadsheets.batchUpdate beside the cells: filter views, conditional formats, protections, metadata, and refusals."""

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.workbook import OPEN, Area, Books, Metadata, Protected
from tests.edges.sheets_world import BOOK, World, cells, text

DONE = {"booleanRule": {"condition": {"type": "TEXT_EQ", "values": [{"userEnteredValue": "done"}]},
                        "format": {"backgroundColor": {"green": 1}}}}  # fmt: skip
PROTECTED = (
    "You are trying to edit a protected cell or object. "
    "Please contact the spreadsheet owner to remove protection if you need to edit."
)


@pytest.fixture
def world() -> Iterator[World]:
    with World() as one:
        yield one


def column(col: int) -> dict[str, int]:
    """A whole column as the API writes it."""
    return {"sheetId": 0, "startRowIndex": 0, "startColumnIndex": col, "endColumnIndex": col + 1}


def seen(world: World, part: str) -> list[Any]:
    """Read one part of the first tab."""
    found: list[Any] = world.api.get(spreadsheetId=BOOK, fields=f"sheets({part})").execute()["sheets"][0].get(part, [])
    return found


def test_filter_views_are_added_changed_and_deleted(world: World) -> None:
    """What was saved is shown, follows moved columns, and is changed by mask."""
    hidden = {"hiddenValues": ["done"]}
    grid = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 50, "startColumnIndex": 0, "endColumnIndex": 4}
    given = {"title": "To do", "range": grid, "filterSpecs": [{"columnIndex": 1, "filterCriteria": hidden}]}
    sorting = [{"dimensionIndex": 1, "sortOrder": "DESCENDING"}]
    answer = world.batch({"addFilterView": {"filter": {**given, "sortSpecs": sorting}}})
    added = answer["replies"][0]["addFilterView"]["filter"]
    assert seen(world, "filterViews") == [added]
    assert added == {
        **given, "filterViewId": added["filterViewId"], "sortSpecs": sorting, "criteria": {"1": hidden}
    }  # fmt: skip
    world.sheet.move_cols(1, 1, 0)
    new = {"filterViewId": added["filterViewId"], "title": "Not done"}
    world.batch({"updateFilterView": {"filter": new, "fields": "title"}})
    [view] = seen(world, "filterViews")
    assert (view["title"], view["filterSpecs"][0]["columnIndex"]) == ("Not done", 0)
    failed = [{"columnIndex": 2, "filterCriteria": {"condition": {"type": "TEXT_EQ", "values": []}}}]
    world.batch({"updateFilterView": {"filter": {**new, "filterSpecs": failed}, "fields": "filterSpecs"}})
    assert seen(world, "filterViews")[0]["criteria"] == {"2": failed[0]["filterCriteria"]}
    world.batch({"updateFilterView": {"filter": {**new, "criteria": {"3": hidden}}, "fields": "criteria"}})
    assert seen(world, "filterViews")[0]["filterSpecs"] == [{"columnIndex": 3, "filterCriteria": hidden}]
    world.batch({"deleteFilterView": {"filterId": added["filterViewId"]}})
    assert seen(world, "filterViews") == []
    gone = world.api.batchUpdate(spreadsheetId=BOOK, body={"requests": [{"deleteFilterView": {"filterId": 77}}]})
    assert world.refused(gone) == (400, "Invalid requests[0].deleteFilterView: No filter view with id: 77")


def test_the_basic_filter_hides_rows_by_value(world: World) -> None:
    """Criteria hide at once; clearing shows everything again."""
    world.fill(("Status",), ("done",), ("pending",), (None,))
    criteria = [{"columnIndex": 0, "filterCriteria": {"hiddenValues": ["done", ""]}}]
    grid = {"sheetId": 0, "startRowIndex": 0, "endRowIndex": 4, "startColumnIndex": 0, "endColumnIndex": 2}
    world.batch({"setBasicFilter": {"filter": {"range": grid, "filterSpecs": criteria}}})
    assert world.sheet.hidden_rows("filter") == {1, 3}
    shown = world.api.get(spreadsheetId=BOOK, fields="sheets.basicFilter").execute()["sheets"][0]["basicFilter"]
    assert (shown["range"], shown["filterSpecs"]) == (grid, criteria)
    world.batch({"clearBasicFilter": {"sheetId": 0}})
    assert (world.sheet.hidden_rows(), world.sheet.basic_filter) == (set(), None)


def test_conditional_formats_are_replaced_moved_and_deleted(world: World) -> None:
    """By index; an index that is not there is refused."""
    for col in range(2):
        rule = {"ranges": [column(col)], **DONE}
        world.batch({"addConditionalFormatRule": {"rule": rule, "index": col}})
    changed = {"ranges": [column(5)], **DONE}
    reply = world.batch({"updateConditionalFormatRule": {"index": 0, "rule": changed}})["replies"][0]
    assert reply["updateConditionalFormatRule"]["oldRule"]["ranges"] == [column(0)]
    world.batch({"updateConditionalFormatRule": {"index": 0, "newIndex": 1, "sheetId": 0}})
    assert [one["ranges"] for one in seen(world, "conditionalFormats")] == [[column(1)], [column(5)]]
    reply = world.batch({"deleteConditionalFormatRule": {"index": 1, "sheetId": 0}})["replies"][0]
    assert reply["deleteConditionalFormatRule"]["rule"]["ranges"] == [column(5)]
    body = {"requests": [{"deleteConditionalFormatRule": {"index": 1, "sheetId": 0}}]}
    status, said = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body=body))
    assert status == 400 and said.endswith("No conditional format on sheet: 0 at index: 1")


def test_a_hard_protection_of_somebody_else_stops_the_service_account(world: World) -> None:
    """updateCells and values.update are 400 and write nothing; a warning stops nobody."""
    world.sheet.protected = [Protected(1, Area(0, 1, OPEN, 2), warning_only=False)]
    body = {"requests": [cells(0, 0, text("a")), cells(0, 1, text("b"))]}
    refused = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body=body))
    assert refused == (400, f"Invalid requests[1].updateCells: {PROTECTED}")
    write = world.api.values().update(spreadsheetId=BOOK, range="B2", valueInputOption="RAW", body={"values": [["x"]]})
    assert world.refused(write) == (400, PROTECTED)
    assert world.sheet.row_cells(0) == {} and world.sheet.row_cells(1) == {}
    rows = {"deleteDimension": {"range": {"sheetId": 0, "dimension": "ROWS", "startIndex": 0, "endIndex": 1}}}
    assert world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body={"requests": [rows]}))[0] == 400
    assert seen(world, "protectedRanges") == [{"protectedRangeId": 1, "range": column(1)}]
    world.sheet.protected = [Protected(1, Area(0, 1, OPEN, 2), editors=(world.account["client_email"],))]
    world.batch(cells(0, 1, text("b")))
    assert world.sheet.cell(0, 1).user_entered == "b"


def test_a_protection_that_the_service_account_makes_keeps_it_in(world: World) -> None:
    """Whoever protects may edit; the warning is switched by mask."""
    world.batch({"addProtectedRange": {"protectedRange": {"range": column(1)}}})
    world.batch(cells(0, 1, text("ours")))
    [one] = seen(world, "protectedRanges")
    assert one["requestingUserCanEdit"] and world.account["client_email"] in one["editors"]["users"]
    soft = {"protectedRangeId": one["protectedRangeId"], "warningOnly": True, "description": "ours"}
    world.batch({"updateProtectedRange": {"protectedRange": soft, "fields": "warningOnly,description"}})
    assert [(p.warning_only, p.description, p.area) for p in world.sheet.protected] == [
        (True, "ours", Area(0, 1, OPEN, 2))
    ]


def test_a_proof_that_a_script_leaves_on_the_spreadsheet_is_found(world: World) -> None:
    """Search by key and place; what the script's project keeps for itself is not seen."""
    world.book.metadata = (
        Metadata(5, "comfysheet-proof", "p-1", "DOCUMENT", "script"),
        Metadata(6, "comfysheet-proof", "hidden", "PROJECT", "script"),
    )
    lookup = {"metadataKey": "comfysheet-proof", "metadataLocation": {"spreadsheet": True}}
    search = world.api.developerMetadata().search(
        spreadsheetId=BOOK, body={"dataFilters": [{"developerMetadataLookup": lookup}]}
    )
    [found] = search.execute()["matchedDeveloperMetadata"]
    assert found["developerMetadata"]["metadataValue"] == "p-1"
    assert world.api.developerMetadata().get(spreadsheetId=BOOK, metadataId=5).execute()["metadataValue"] == "p-1"
    whole = world.api.get(spreadsheetId=BOOK, fields="developerMetadata.metadataValue").execute()
    assert whole == {"developerMetadata": [{"metadataValue": "p-1"}]}
    by_key = {"developerMetadataLookup": {"metadataKey": "comfysheet-proof"}}
    new = {"developerMetadata": {"metadataValue": "p-2"}, "fields": "metadataValue", "dataFilters": [by_key]}
    world.batch({"updateDeveloperMetadata": new})
    assert [entry.value for entry in world.book.metadata] == ["p-2", "hidden"]
    world.batch({"deleteDeveloperMetadata": {"dataFilter": by_key}})
    assert [entry.value for entry in world.book.metadata] == ["hidden"]


def test_a_strict_validation_does_not_judge_the_api(world: World) -> None:
    """USER_ENTERED parses as typing does, but only people and scripts are judged."""
    rule = {"condition": {"type": "ONE_OF_LIST", "values": [{"userEnteredValue": "done"}]}, "strict": True}
    world.batch({"setDataValidation": {"range": column(0), "rule": rule}})
    body = {"values": [["odd"]]}
    world.api.values().update(spreadsheetId=BOOK, range="A1", valueInputOption="USER_ENTERED", body=body).execute()
    assert world.sheet.cell(0, 0).user_entered == "odd"


def test_a_tab_has_a_colour(world: World) -> None:
    """The API writes and shows it; the page reads #rrggbb."""
    properties = {"sheetId": 0, "tabColorStyle": {"rgbColor": {"red": 1}}}
    world.batch({"updateSheetProperties": {"properties": properties, "fields": "tabColorStyle"}})
    shown = world.api.get(spreadsheetId=BOOK, fields="sheets.properties.tabColor").execute()
    assert world.sheet.tab_color == "#ff0000"
    assert shown["sheets"][0]["properties"]["tabColor"] == {"red": 1.0, "green": 0.0, "blue": 0.0}


def test_a_spreadsheet_that_is_gone_unshared_or_lost_its_tab(world: World) -> None:
    """404, 403, and 400 for the tab: three troubles that ask for three different answers."""
    write = {"requests": [cells(0, 0, text("x"))]}
    world.book.add_sheet("Other")
    world.book.delete_sheet(0)
    refused = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body=write))
    assert refused == (400, "Invalid requests[0].updateCells: No grid with id: 0")
    assert world.refused(world.api.values().get(spreadsheetId=BOOK, range="Renders!A1")) == (
        400, "Unable to parse range: Renders!A1",
    )  # fmt: skip
    world.book.shared_with.clear()
    assert world.refused(world.api.get(spreadsheetId=BOOK)) == (403, "The caller does not have permission")
    books: Books = world.endpoint.books
    books.remove(BOOK)
    assert world.refused(world.api.get(spreadsheetId=BOOK)) == (404, "Requested entity was not found.")
