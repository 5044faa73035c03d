"""The judge knows Google's discovery document and lets nothing else pass, neither in requests nor in answers."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import googleapiclient
import pytest
import requests

from sandbox.judge import Judge
from sandbox.sheets_errors import GoogleError
from sandbox.sheets_fields import cut, merged, read_mask
from tests.edges.sheets_world import BOOK, World

DOCUMENT = Path(googleapiclient.__file__).parent / "discovery_cache/documents/sheets.v4.json"


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge()


@pytest.fixture
def world() -> Iterator[World]:
    with World() as one:
        yield one


@pytest.mark.parametrize(
    ("http_method", "path", "found", "range_"),
    [
        ("GET", "v4/spreadsheets/abc", "spreadsheets.get", None),
        ("POST", "v4/spreadsheets/abc:batchUpdate", "spreadsheets.batchUpdate", None),
        ("GET", "v4/spreadsheets/abc/values/%27My%20tab%27%21A1%3AB2", "spreadsheets.values.get", "'My tab'!A1:B2"),
        ("GET", "v4/spreadsheets/abc/values/A1:B2", "spreadsheets.values.get", "A1:B2"),
        ("POST", "v4/spreadsheets/abc/values/A1:B2:append", "spreadsheets.values.append", "A1:B2"),
        ("POST", "v4/spreadsheets/abc/values:batchGetByDataFilter", "spreadsheets.values.batchGetByDataFilter", None),
    ],
)
def test_a_path_leads_to_its_method(judge: Judge, http_method: str, path: str, found: str, range_: str | None) -> None:
    """Routes come from flatPath; a range is decoded and may hold colons."""
    route = judge.route(http_method, path)
    assert route is not None
    assert (route.id, route.path.get("range")) == (found, range_)


def test_a_path_that_google_does_not_know_has_no_method(judge: Judge) -> None:
    """A wrong verb or a wrong path is no route."""
    assert judge.route("DELETE", "v4/spreadsheets/abc") is None
    assert judge.route("GET", "v4/spreadsheets/abc/cells") is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            {"requests": [{"updateCells": {"foo": 1}}]},
            "Invalid JSON payload received. Unknown name \"foo\" at 'requests[0].update_cells': Cannot find field.",
        ),
        (
            {"requests": [{"updateCells": {"start": {"sheetId": "0"}}}]},
            "Invalid value at 'requests[0].update_cells.start.sheet_id' (TYPE_INT32), \"0\"",
        ),
        (
            {"requests": [{"sortRange": {"sortSpecs": [{"sortOrder": "UP"}]}}]},
            "Invalid value at 'requests[0].sort_range.sort_specs[0].sort_order' (TYPE_ENUM), \"UP\"",
        ),
        ({"requests": {}}, "Invalid value at 'requests' (TYPE_LIST), {}"),
        ({"includeSpreadsheetInResponse": 1}, "Invalid value at 'include_spreadsheet_in_response' (TYPE_BOOL), 1"),
    ],
)
def test_a_body_beyond_the_document_is_refused(world: World, body: dict[str, Any], sentence: str) -> None:
    """Unknown names and wrong types are 400 with the place in Google's words, and with fieldViolations."""
    answer = world.refused(world.api.batchUpdate(spreadsheetId=BOOK, body=body))
    assert answer == (400, sentence)


def test_null_counts_as_absent(judge: Judge, world: World) -> None:
    """A field that is null is not there, also where the schema wants something else."""
    route = judge.route("POST", f"v4/spreadsheets/{BOOK}:batchUpdate")
    assert route is not None
    judge.refuse_request(route, {"requests": None, "responseRanges": None})
    world.batch({"updateCells": None, "addSheet": {"properties": {"title": "New", "index": None}}})
    assert [sheet.title for sheet in world.book.sheets] == ["Renders", "New"]


@pytest.mark.parametrize("query", ["foo=1", "includeGridData=maybe", "fields=sheets.title", "fields=a(b", "alt=xml"])
def test_a_query_beyond_the_document_is_refused(world: World, query: str) -> None:
    """Unknown parameters, wrong booleans and enums and masks that name no field are 400."""
    world.api.get(spreadsheetId=BOOK).execute()
    token = next(iter(world.auth._grants))
    url = f"{world.served.url}/v4/spreadsheets/{BOOK}?{query}"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=5)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_an_answer_against_the_document_is_a_500_that_says_so() -> None:
    """Were the endpoint to answer what Google never would, the caller is told loudly."""
    document = json.loads(DOCUMENT.read_text("utf-8"))
    altered = copy.deepcopy(document)
    del altered["schemas"]["ValueRange"]["properties"]["majorDimension"]
    with World(judge=Judge(altered)) as world:
        status, sentence = world.refused(world.api.values().get(spreadsheetId=BOOK, range="A1"))
    assert status == 500
    assert 'Unknown name "majorDimension"' in sentence


@pytest.mark.parametrize(
    ("mask", "tree"),
    [
        ("a,b.c", {"a": {}, "b": {"c": {}}}),
        ("a(b,c/d),e", {"a": {"b": {}, "c": {"d": {}}}, "e": {}}),
        ("a.b,a.c", {"a": {"b": {}, "c": {}}}),
        ("a,a.b", {"a": {}}),
        ("a.b,a", {"a": {}}),
        ("*", {}),
        ("a.*", {"a": {}}),
        ("a.b(c.d,e).f", None),
        ("a..b", None),
        ("", None),
        ("a,", None),
    ],
)
def test_a_mask_is_read_as_a_tree(mask: str, tree: dict[str, Any] | None) -> None:
    """Commas, dots, slashes and parentheses; the wider of two overlapping parts wins; the rest is no mask."""
    if tree is None:
        with pytest.raises(GoogleError, match="Invalid field selection"):
            read_mask(mask)
    else:
        assert read_mask(mask) == tree


def test_masks_cut_answers_and_merge_updates() -> None:
    """Cutting keeps what is named; merging takes what is named from the new, or clears it."""
    value = {"a": [{"b": 1, "c": 2}, {"c": 3}], "d": 4}
    assert cut(value, read_mask("a.b")) == {"a": [{"b": 1}, {}]}
    old = {"note": "n", "format": {"bold": True, "size": 9}}
    assert merged(old, {"format": {"size": 10}}, read_mask("format.size,note")) == {
        "format": {"bold": True, "size": 10}
    }
    assert merged({"note": "n"}, {}, read_mask("note")) is None
