"""The endpoint's plain values behave as the Sheets API v4 does, seen through the real Google client."""

from collections.abc import Iterator

import pytest

from chalicelib.sheet import Sheets
from sandbox.workbook import Formula, Picture
from tests.edges.sheets_world import BOOK, World


@pytest.fixture
def world() -> Iterator[World]:
    with World() as one:
        yield one


@pytest.mark.parametrize(
    ("asked", "echoed"),
    [
        ("'Renders'!B2", "Renders!B2"),
        ("A:A", "Renders!A1:A50"),
        ("2:3", "Renders!A2:J3"),
        ("B2:A1", "Renders!A1:B2"),
        ("Renders", "Renders!A1:J50"),
        ("A2:B", "Renders!A2:B50"),
        ("$A$1:$B$2", "Renders!A1:B2"),
        ("R2C1:R3C2", "Renders!A2:B3"),
        ("A1:ZZ9999", "Renders!A1:J50"),
    ],
)
def test_a_range_is_echoed_normalised(world: World, asked: str, echoed: str) -> None:
    """The answer names the range in full, cut to the grid, without needless quotes."""
    assert world.api.values().get(spreadsheetId=BOOK, range=asked).execute()["range"] == echoed


@pytest.mark.parametrize(
    ("title", "echoed"),
    [
        ("My tab", "'My tab'!A1"),
        ("It's", "'It''s'!A1"),
        ("AB12", "'AB12'!A1"),
        ("a/b:c", "'a/b:c'!A1"),
        ("Ünder", "'Ünder'!A1"),
    ],
)
def test_a_title_is_quoted_only_when_it_needs_it(world: World, title: str, echoed: str) -> None:
    """Titles with anything but plain word characters, or that look like a cell, come back quoted."""
    world.book.rename_sheet(0, title)
    assert world.api.values().get(spreadsheetId=BOOK, range=echoed).execute()["range"] == echoed


def test_trailing_blanks_are_cut_and_an_empty_range_has_no_values(world: World) -> None:
    """Rows end at their last value, the list at its last row; blanks within are ""."""
    world.fill(("a", None, "c", None), (), ("d",))
    assert world.api.values().get(spreadsheetId=BOOK, range="A1:E9").execute()["values"] == [["a", "", "c"], [], ["d"]]
    assert "values" not in world.api.values().get(spreadsheetId=BOOK, range="A5:E9").execute()
    columns = world.api.values().get(spreadsheetId=BOOK, range="A1:E9", majorDimension="COLUMNS").execute()
    assert columns["values"] == [["a", "", "d"], [], ["c"]]


def test_raw_keeps_text_and_user_entered_reads_it_as_typing_does(world: World) -> None:
    """Only USER_ENTERED can make a formula, a number or a date of a text."""
    row = ['=IMPORTXML("http://x","//y")', "+1girl", "00123", "1/2/2026", "TRUE", "'=1"]
    for option, range_ in (("RAW", "A1"), ("USER_ENTERED", "A2")):
        body = {"values": [row]}
        world.api.values().update(spreadsheetId=BOOK, range=range_, valueInputOption=option, body=body).execute()
    assert world.shown(1, 6) == [row]
    typed = [world.sheet.cell(1, col) for col in range(6)]
    assert [cell.user_entered for cell in typed] == [
        Formula(row[0]), Formula("=+1girl"), 123.0, 46024.0, True, "=1",
    ]  # fmt: skip
    assert [cell.formatted for cell in typed] == ["#REF!", "#ERROR!", "123", "1/2/2026", "TRUE", "=1"]


def test_null_leaves_a_cell_alone_and_an_empty_text_clears_it(world: World) -> None:
    """In written values null means "as it is", "" means "empty"."""
    world.fill(("a", "b", "c"))
    answer = (
        world.api.values()
        .update(spreadsheetId=BOOK, range="A1:C1", valueInputOption="RAW", body={"values": [[None, "", "z"]]})
        .execute()
    )
    assert world.shown(1, 3) == [["a", "", "z"]]
    assert answer == {
        "spreadsheetId": BOOK, "updatedRange": "Renders!A1:C1",
        "updatedRows": 1, "updatedColumns": 2, "updatedCells": 2,
    }  # fmt: skip


def test_render_options_show_value_formula_and_date(world: World) -> None:
    """FORMATTED_VALUE is what a person sees, UNFORMATTED_VALUE the value, FORMULA what was entered."""
    world.sheet.enter(0, 0, "2026-11-21")
    world.fill((46347.0, 5, 0.25, True))
    world.sheet.set_cell(0, 4, Formula('=IMAGE("http://127.0.0.1/a.png")'))

    def read(**options: str) -> list[object]:
        values = world.api.values().get(spreadsheetId=BOOK, range="A1:E1", **options).execute()["values"][0]
        return list(values)

    assert read() == ["2026-11-21", "5", "0.25", "TRUE", "#REF!"]
    assert read(valueRenderOption="UNFORMATTED_VALUE") == [46347, 5, 0.25, True, "#REF!"]
    formatted = read(valueRenderOption="UNFORMATTED_VALUE", dateTimeRenderOption="FORMATTED_STRING")
    assert formatted[:2] == ["2026-11-21", 5]
    assert read(valueRenderOption="FORMULA")[4] == '=IMAGE("http://127.0.0.1/a.png")'


def test_data_filters_find_cells_by_sheet_id_and_by_a1(world: World) -> None:
    """gridRange needs no title, so a renamed tab does not matter; each answer names its filter."""
    world.fill(("Job ID", "Status"), ("j_1", "queued"))
    world.book.rename_sheet(0, "Another name")
    filters = [{"gridRange": {"sheetId": 0, "startColumnIndex": 0, "endColumnIndex": 1}}, {"a1Range": "B1:B2"}]
    answer = world.api.values().batchGetByDataFilter(spreadsheetId=BOOK, body={"dataFilters": filters}).execute()
    found = answer["valueRanges"]
    assert [one["dataFilters"] for one in found] == [[one] for one in filters]
    assert [one["valueRange"]["range"] for one in found] == ["'Another name'!A1:A50", "'Another name'!B1:B2"]
    assert [one["valueRange"]["values"] for one in found] == [[["Job ID"], ["j_1"]], [["Status"], ["queued"]]]


def test_batches_write_all_ranges_or_none(world: World) -> None:
    """One wrong range of a batch leaves every cell as it was."""
    data = [{"range": "A1", "values": [["new"]]}, {"range": "Gone!A1", "values": [["x"]]}]
    world.fill(("old",))
    body = {"valueInputOption": "RAW", "data": data}
    refused = world.refused(world.api.values().batchUpdate(spreadsheetId=BOOK, body=body))
    assert refused == (400, "Unable to parse range: Gone!A1")
    overflowing = {"valueInputOption": "RAW", "data": [data[0], {"range": "A2:A2", "values": [["x" * 50_001]]}]}
    status, sentence = world.refused(world.api.values().batchUpdate(spreadsheetId=BOOK, body=overflowing))
    assert (status, "50000 characters" in sentence) == (400, True)
    assert world.shown(1, 1) == [["old"]]


def test_a_batch_by_filter_answers_for_each_filter(world: World) -> None:
    """values:batchUpdateByDataFilter writes where the filter points and counts what it wrote."""
    one = {"dataFilter": {"gridRange": {"sheetId": 0, "startRowIndex": 1, "endRowIndex": 2}}, "values": [["a", "b"]]}
    body = {"valueInputOption": "RAW", "data": [one], "includeValuesInResponse": True}
    answer = world.api.values().batchUpdateByDataFilter(spreadsheetId=BOOK, body=body).execute()
    assert (answer["totalUpdatedCells"], answer["totalUpdatedRows"]) == (2, 1)
    assert answer["responses"][0]["dataFilter"] == one["dataFilter"]
    assert answer["responses"][0]["updatedData"]["values"] == [["a", "b"]]


def test_writing_beyond_the_named_range_is_refused(world: World) -> None:
    """A range of more than one cell is a fence for what is written."""
    request = world.api.values().update(
        spreadsheetId=BOOK, range="A1:B1", valueInputOption="RAW", body={"values": [[1, 2, 3]]}
    )
    expected = "Requested writing within range [Renders!A1:B1], but tried writing to column [C]"
    assert world.refused(request) == (400, expected)


def test_append_goes_below_the_table_and_grows_the_grid(world: World) -> None:
    """Rows are appended after the table that the range touches, also past the last row of the grid."""
    world.fill(*[(f"j_{at}", "done") for at in range(50)])
    answer = (
        world.api.values()
        .append(spreadsheetId=BOOK, range="A1", valueInputOption="RAW", body={"values": [["j_50", "new"]]})
        .execute()
    )
    assert answer["tableRange"] == "Renders!A1:B50"
    assert answer["updates"]["updatedRange"] == "Renders!A51:B51"
    assert (world.sheet.rows, world.sheet.cell(50, 1).formatted) == (51, "new")


def test_clear_empties_values_and_keeps_notes(world: World) -> None:
    """values.clear takes values only."""
    world.fill(("a", "b"))
    world.sheet.set_cell(0, 0, note="keep me")
    answer = world.api.values().clear(spreadsheetId=BOOK, range="A1:B1", body={}).execute()
    assert answer["clearedRange"] == "Renders!A1:B1"
    assert (world.shown(1, 2), world.sheet.cell(0, 0).note) == ([["", ""]], "keep me")


def test_a_picture_has_no_text(world: World) -> None:
    """Once the gate is open an IMAGE cell reads as an empty text."""
    world.book.allow_external_images()
    world.sheet.enter(0, 0, '=IMAGE("https://x.test/a.png", 2)')
    world.fill((Formula('=IMAGE("https://x.test/a.png", 2)'), "after"))
    assert world.sheet.cell(0, 0).effective == Picture("https://x.test/a.png", 2)
    assert world.api.values().get(spreadsheetId=BOOK, range="A1:B1").execute()["values"] == [["", "after"]]


@pytest.mark.parametrize("grid", [{"startRowIndex": 50}, {"endRowIndex": 51}, {"startColumnIndex": 10}, {"sheetId": 7}])
def test_a_grid_range_beyond_the_grid_is_refused(world: World, grid: dict[str, int]) -> None:
    """A column that was deleted, or a tab that is gone, makes the whole read invalid."""
    body = {"dataFilters": [{"gridRange": {"sheetId": 0}}, {"gridRange": grid}]}
    status, _ = world.refused(world.api.values().batchGetByDataFilter(spreadsheetId=BOOK, body=body))
    assert status == 400


def test_a_date_is_worth_what_it_shows_and_a_number_its_number(world: World) -> None:
    """Sheets keeps both as numbers; only the cell's format tells which is which, not how it is written."""
    for column, typed in enumerate(("x", "2026-11-21", "12:30", "7", "=3+4", "$7.00", "7-8-9/x")):
        world.sheet.enter(1, column, typed)
    tab = Sheets(lambda: world.client()).read(BOOK, 0, with_values=True)
    worth = {tab.texts[place]: value for place, value in tab.values.items() if "numberValue" in value}
    assert worth.keys() == {"7", "$7.00"}
    assert {value["numberValue"] for value in worth.values()} == {7}
