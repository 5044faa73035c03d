"""Do what each method of the Sheets API v4 does: one function each, from what was asked to the answer's JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandbox.judge import Judge
from sandbox.sheets_cells import spreadsheet
from sandbox.sheets_errors import GoogleError
from sandbox.sheets_fields import Mask, read_mask
from sandbox.sheets_metadata import find
from sandbox.sheets_ranges import a1_of, read_a1, read_filter
from sandbox.sheets_requests import apply_all
from sandbox.sheets_values import Rendering, Written, append, value_range, write
from sandbox.workbook import Area, Sheet, Workbook


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold one judged request."""

    path: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    body: Mapping[str, Any]
    judge: Judge
    origin: str

    def option(self, name: str) -> str | None:
        """Give a query parameter, or None."""
        return dict(self.query).get(name)

    def options(self, name: str) -> list[str]:
        """Give a query parameter that may repeat."""
        return [text for one, text in self.query if one == name]

    @property
    def mask(self) -> Mask:
        """Give the response mask; empty means everything."""
        fields = self.option("fields")
        return read_mask(fields) if fields else {}

    @property
    def range(self) -> str:
        """Give the range in the path."""
        return self.path["range"]


Answer = dict[str, Any]


# -- spreadsheets --------------------------------------------------------------------------------------------------


def _get(book: Workbook, asked: Asked) -> Answer:
    ranges = [read_a1(book, text) for text in asked.options("ranges")]
    return _shown_by_mask(book, ranges or None, asked.option("includeGridData") == "true", asked)


def _get_by_filter(book: Workbook, asked: Asked) -> Answer:
    ranges = [place for one in asked.body.get("dataFilters") or [] for place in read_filter(book, one)]
    return _shown_by_mask(book, ranges or None, bool(asked.body.get("includeGridData")), asked)


def _shown_by_mask(book: Workbook, ranges: list[tuple[Sheet, Area]] | None, told: bool, asked: Asked) -> Answer:
    """Show the workbook; a response mask decides over includeGridData (*told*), as in the API."""
    mask = asked.mask
    if asked.option("fields"):
        below = mask.get("sheets", {} if not mask else None)
        told = below is not None and (not below or "data" in below)
    return _shown(book, ranges, told, mask, asked)


def _shown(
    book: Workbook, ranges: list[tuple[Sheet, Area]] | None, with_grid: bool, mask: Mask, asked: Asked
) -> Answer:
    address = f"{asked.origin}/spreadsheets/d/{book.spreadsheet_id}/edit"
    return spreadsheet(book, ranges, with_grid=with_grid, mask=mask, address=address)


def _batch_update(book: Workbook, asked: Asked) -> Answer:
    body = asked.body
    answer: Answer = {"spreadsheetId": book.spreadsheet_id}
    answer["replies"] = apply_all(book, body.get("requests") or [], asked.judge.refuse_mask)
    if body.get("includeSpreadsheetInResponse"):
        ranges = [read_a1(book, text) for text in body.get("responseRanges") or []]
        mask = asked.mask.get("updatedSpreadsheet", {})
        answer["updatedSpreadsheet"] = _shown(
            book, ranges or None, bool(body.get("responseIncludeGridData")), mask, asked
        )
    return answer


def _search_metadata(book: Workbook, asked: Asked) -> Answer:
    matched = []
    for one in asked.body.get("dataFilters") or []:
        lookup = one.get("developerMetadataLookup")
        if lookup is None:
            raise GoogleError(501, "Searching metadata by range is not emulated.")
        matched += [{"developerMetadata": placed.to_json(), "dataFilters": [one]} for placed in find(book, lookup)]
    return {"matchedDeveloperMetadata": matched} if matched else {}


def _get_metadata(book: Workbook, asked: Asked) -> Answer:
    found = find(book, {"metadataId": int(asked.path["metadataId"])})
    if not found:
        raise GoogleError(404)
    return found[0].to_json()


# -- reading values ------------------------------------------------------------------------------------------------


def _values_get(book: Workbook, asked: Asked) -> Answer:
    return value_range(*read_a1(book, asked.range), Rendering.of(dict(asked.query)))


def _values_batch_get(book: Workbook, asked: Asked) -> Answer:
    how = Rendering.of(dict(asked.query))
    ranges = [value_range(*read_a1(book, text), how) for text in asked.options("ranges")]
    answer: Answer = {"spreadsheetId": book.spreadsheet_id}
    return {**answer, "valueRanges": ranges} if ranges else answer


def _values_batch_get_by_filter(book: Workbook, asked: Asked) -> Answer:
    how = Rendering.of(asked.body)
    matched = [
        {"valueRange": value_range(*place, how), "dataFilters": [one]}
        for one in asked.body.get("dataFilters") or []
        for place in read_filter(book, one)
    ]
    answer: Answer = {"spreadsheetId": book.spreadsheet_id}
    return {**answer, "valueRanges": matched} if matched else answer


# -- writing values ------------------------------------------------------------------------------------------------


def _response_of(options: Mapping[str, Any], wanted: object) -> Rendering | None:
    """Say how written values are read back; None when nobody asked for them."""
    return Rendering.of(options, "response") if wanted in (True, "true") else None


def _values_update(book: Workbook, asked: Asked) -> Answer:
    given = asked.body.get("range")
    if given is not None and given != asked.range:
        raise GoogleError(400, f"Requested writing within range [{asked.range}], but the body's range is [{given}]")
    written = write(*read_a1(book, asked.range), asked.body, asked.option("valueInputOption"))
    response = _response_of(dict(asked.query), asked.option("includeValuesInResponse"))
    return written.to_json(book.spreadsheet_id, response)


def _values_batch_update(book: Workbook, asked: Asked) -> Answer:
    ranges = [(read_a1(book, one.get("range") or ""), one) for one in asked.body.get("data") or []]
    return _write_batch(book, asked, [(*place, one, None) for place, one in ranges])


def _values_batch_update_by_filter(book: Workbook, asked: Asked) -> Answer:
    ranges = [
        (*place, one, data_filter)
        for one in asked.body.get("data") or []
        for data_filter in [one.get("dataFilter") or {}]
        for place in read_filter(book, data_filter)
    ]
    return _write_batch(book, asked, ranges)


def _write_batch(
    book: Workbook, asked: Asked, ranges: list[tuple[Sheet, Area, Mapping[str, Any], Mapping[str, Any] | None]]
) -> Answer:
    option = asked.body.get("valueInputOption")
    response = _response_of(asked.body, asked.body.get("includeValuesInResponse"))
    answers: list[Answer] = []
    written: list[Written] = []
    for at, (sheet, area, one, data_filter) in enumerate(ranges):
        try:
            written.append(write(sheet, area, one, option))
        except (ValueError, GoogleError) as error:
            wrong = error if isinstance(error, GoogleError) else GoogleError(400, str(error))
            raise wrong.within(f"data[{at}]") from error
        shown = written[-1].to_json(book.spreadsheet_id, response)
        if data_filter is not None:  # this answer names the filter instead of the spreadsheet
            shown = {name: part for name, part in shown.items() if name != "spreadsheetId"} | {
                "dataFilter": data_filter
            }
        answers.append(shown)
    totals = {
        "totalUpdatedRows": sum(one.rows for one in written),
        "totalUpdatedColumns": sum(one.cols for one in written),
        "totalUpdatedCells": sum(one.cells for one in written),
        "totalUpdatedSheets": len({one.sheet.gid for one in written}),
        "responses": answers,
    }
    return {"spreadsheetId": book.spreadsheet_id, **{name: part for name, part in totals.items() if part}}


def _values_append(book: Workbook, asked: Asked) -> Answer:
    insert = asked.option("insertDataOption") == "INSERT_ROWS"
    place = read_a1(book, asked.range)
    table, written = append(*place, asked.body, asked.option("valueInputOption"), insert=insert)
    response = _response_of(dict(asked.query), asked.option("includeValuesInResponse"))
    answer: Answer = {"spreadsheetId": book.spreadsheet_id}
    if table is not None:
        answer["tableRange"] = table
    return {**answer, "updates": written.to_json(book.spreadsheet_id, response)}


def _values_clear(book: Workbook, asked: Asked) -> Answer:
    return {"spreadsheetId": book.spreadsheet_id, "clearedRange": _clear(*read_a1(book, asked.range))}


def _values_batch_clear(book: Workbook, asked: Asked) -> Answer:
    places = [read_a1(book, text) for text in asked.body.get("ranges") or []]
    return {"spreadsheetId": book.spreadsheet_id, "clearedRanges": [_clear(*place) for place in places]}


def _values_batch_clear_by_filter(book: Workbook, asked: Asked) -> Answer:
    places = [place for one in asked.body.get("dataFilters") or [] for place in read_filter(book, one)]
    return {"spreadsheetId": book.spreadsheet_id, "clearedRanges": [_clear(*place) for place in places]}


def _clear(sheet: Sheet, area: Area) -> str:
    sheet.clear(area)
    return a1_of(sheet, area)


METHODS: Final[Mapping[str, Callable[[Workbook, Asked], Answer]]] = {
    "spreadsheets.get": _get,
    "spreadsheets.getByDataFilter": _get_by_filter,
    "spreadsheets.batchUpdate": _batch_update,
    "spreadsheets.developerMetadata.get": _get_metadata,
    "spreadsheets.developerMetadata.search": _search_metadata,
    "spreadsheets.values.get": _values_get,
    "spreadsheets.values.batchGet": _values_batch_get,
    "spreadsheets.values.batchGetByDataFilter": _values_batch_get_by_filter,
    "spreadsheets.values.update": _values_update,
    "spreadsheets.values.batchUpdate": _values_batch_update,
    "spreadsheets.values.batchUpdateByDataFilter": _values_batch_update_by_filter,
    "spreadsheets.values.append": _values_append,
    "spreadsheets.values.clear": _values_clear,
    "spreadsheets.values.batchClear": _values_batch_clear,
    "spreadsheets.values.batchClearByDataFilter": _values_batch_clear_by_filter,
}
