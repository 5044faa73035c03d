"""The script as Google would run it: what it reads, what it sends, and what it may write."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib import signature
from chalicelib.cells import COLUMNS
from chalicelib.contract.words import fold
from sandbox.apps_script import ScriptProject
from sandbox.apps_script_run import FetchRequest, FetchResponse, PropertyStore, Selection
from sandbox.workbook import Sheet, Workbook

SCRIPT = Path(__file__).resolve().parent.parent.parent / "apps_script"
SECRET = bytes(range(100, 132))
KEY = "ck_0123456789ab_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM"
HEADERS = ["Notes", "STATUS", "prompt", "Workflow", "steps", "Error", "job_id", "Seed"]


class Quiet:
    """Be a person who lets rows start, closes every other dialog, and remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def alert(self, title: str, text: str, buttons: str) -> str:
        if re.search(r"Start [0-9,]+ rows? now\?$", text):
            return "YES"
        self.said.append(text)
        return "CLOSE"

    def prompt(self, title: str, text: str, buttons: str) -> tuple[str, str]:
        self.said.append(text)
        return "CLOSE", ""

    def toast(self, message: str, title: str, seconds: float) -> None:
        self.said.append(message)

    def sidebar(self, title: str, html: str) -> None:
        raise AssertionError("no sidebar yet")

    def dialog(self, title: str, html: str, width: int | None = None, height: int | None = None) -> None:
        raise AssertionError("no dialog of its own yet")

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        return None


class Still:
    """Be a clock that does not make anybody wait."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class Scene:
    """Hold a sheet, its script, and an API that answers as told."""

    def __init__(self, headers: list[str] | None = None) -> None:
        self.book = Workbook("sheet-1", "Test")
        self.sheet: Sheet = self.book.add_sheet("Tab")
        self.headers = HEADERS if headers is None else headers
        for column, header in enumerate(self.headers):
            self.sheet.enter(0, column, header)
        self.ui = Quiet()
        self.requests: list[FetchRequest] = []
        self.answer: Callable[[dict[str, Any]], FetchResponse] = accepted
        self.project = ScriptProject(
            SCRIPT,
            self.book,
            properties=PropertyStore({"document": {"API_URL": "https://api.example/prod", "SHEET_KEY": KEY}}),
            ui=self.ui,
            fetch=self._fetch,
            clock=Still(),
        )

    def _fetch(self, request: FetchRequest) -> FetchResponse:
        if not request.url.endswith("/v1/sheets/jobs"):
            return FetchResponse(503, b"{}")
        self.requests.append(request)
        return self.answer(json.loads(request.body))

    def type(self, row: int, **cells: str) -> None:
        for header, value in cells.items():
            self.sheet.enter(row, [fold(h) for h in self.headers].index(fold(header)), value)

    def text(self, row: int, header: str) -> str:
        return self.sheet.cell(row, [fold(h) for h in self.headers].index(fold(header))).formatted

    def generate(self, *ranges: tuple[int, int, int, int]) -> None:
        self.project.run("generateSelectedRows", Selection(self.sheet.gid, ranges))

    def sent(self) -> list[dict[str, Any]]:
        return [row for request in self.requests for row in json.loads(request.body)["rows"]]


def reply(body: dict[str, Any], **verdict: Any) -> FetchResponse:
    results = [{"job_key": row["job_key"], "job_id": "x", "result": "accepted", **verdict} for row in body["rows"]]
    return FetchResponse(200, json.dumps({"results": results}).encode())


def accepted(body: dict[str, Any]) -> FetchResponse:
    return reply(body)


def test_both_sides_know_the_same_headers() -> None:
    """Every word that the completion recognises leads the script to the same column, and the other way round."""
    for name, words in COLUMNS.items():
        if name in ("status", "job_id", "prompt", "workflow", "error", "seed"):
            continue
        for word in words:
            scene = Scene([*HEADERS, word.upper()])
            scene.type(1, prompt="p", workflow="w")
            scene.sheet.enter(1, len(HEADERS), "must not be sent")
            scene.generate((1, 0, 1, 0))
            assert "must not be sent" not in str(scene.sent()), word


def test_requests_are_signed_as_the_server_checks_them() -> None:
    """Emoji and Chinese characters included: signed are the bytes."""
    scene = Scene()
    scene.type(1, prompt="狐狸 🦊 é", workflow="w")
    scene.generate((1, 0, 1, 0))
    [request] = scene.requests
    headers = {name.lower(): value for name, value in request.headers.items()}
    # The script's Date is the real time, so the tolerance holds.
    assert signature.verify(headers, request.body, [SECRET]) == headers["webhook-id"]
    assert headers["x-key-id"] == "0123456789ab" and request.url == "https://api.example/prod/v1/sheets/jobs"


def test_any_selection_comes_down_to_rows_with_something_to_do() -> None:
    """Overlaps, the header, rows beyond the data, blank and filter-hidden rows: each wanted row once."""
    scene = Scene()
    for row in (1, 2, 4, 5):
        scene.type(row, prompt=f"p{row}", workflow="w")
    scene.sheet.hide_rows(4, by="filter")
    scene.generate((0, 0, 2, 3), (2, 5, 2, 5), (1, 1, 5, 1), (900, 0, 999, 3))
    assert [row["inputs"]["prompt"] for row in scene.sent()] == ["p1", "p2", "p5"]
    assert [row["row"] for row in scene.sent()] == [2, 3, 6]
    assert "hidden" in scene.ui.said[-1]


def test_cells_go_as_what_they_are() -> None:
    """Numbers as numbers, text as text, and no column of ours but prompt and seed."""
    scene = Scene()
    scene.type(1, prompt="'=IMPORTXML(1)", workflow="flux", steps="20", seed="random", notes="TRUE", error="old")
    scene.generate((1, 0, 1, 0))
    [row] = scene.sent()
    assert row["inputs"] == {"prompt": "=IMPORTXML(1)", "steps": 20, "Seed": "random", "Notes": True}
    assert row["workflow"] == "flux" and scene.text(1, "error") == ""


def test_the_row_is_bound_before_anything_is_sent() -> None:
    """When the request leaves, Job ID and "queued" stand in the sheet."""
    scene = Scene()
    scene.type(1, prompt="p", workflow="w")
    seen: list[tuple[str, str]] = []

    def look(body: dict[str, Any]) -> FetchResponse:
        seen.append((scene.text(1, "status"), scene.text(1, "job id")))
        return reply(body)

    scene.answer = look
    scene.generate((1, 0, 1, 0))
    assert seen == [("queued", scene.sent()[0]["job_key"])]


def test_a_fast_workers_done_is_never_overwritten() -> None:
    """After the answer the script writes nothing into rows that went well."""
    scene = Scene()
    scene.type(1, prompt="p", workflow="w")

    def fast(body: dict[str, Any]) -> FetchResponse:
        scene.type(1, status="done")
        return reply(body)

    scene.answer = fast
    scene.generate((1, 0, 1, 0))
    assert scene.text(1, "status") == "done"


def test_a_refusal_finds_its_row_after_a_sort() -> None:
    """Rows that moved while the request was under way are found by Job ID."""
    scene = Scene()
    scene.type(1, prompt="b bad", workflow="w", steps="abc")
    scene.type(2, prompt="a good", workflow="w")

    def sorts(body: dict[str, Any]) -> FetchResponse:
        from sandbox.workbook import OPEN, Area

        scene.sheet.sort(Area(1, 0, 3, OPEN), 2)
        results = [{"job_key": row["job_key"], "job_id": "x", "result": "accepted"} for row in body["rows"]]
        results[0] |= {"result": "rejected", "code": "invalid_input", "message": "=Steps must be a number"}
        return FetchResponse(200, json.dumps({"results": results}).encode())

    scene.answer = sorts
    scene.generate((1, 0, 2, 0))
    assert (scene.text(1, "prompt"), scene.text(1, "status"), scene.text(1, "error")) == ("a good", "queued", "")
    assert scene.text(2, "status") == "error" and scene.text(2, "error").endswith("=Steps must be a number")
    assert scene.sheet.cell(2, 5).formula is None


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_silent_server_is_asked_again_with_the_same_keys(status: int) -> None:
    """Repeating is safe, so passing trouble does not reach the person."""
    scene = Scene()
    scene.type(1, prompt="p", workflow="w")
    answers = [FetchResponse(status, b"{}"), FetchResponse(status, b"")]
    scene.answer = lambda body: answers.pop() if answers else reply(body)
    scene.generate((1, 0, 1, 0))
    assert len({row["job_key"] for row in scene.sent()}) == 1 and len(scene.requests) == 3
    assert scene.text(1, "status") == "queued"
    ids = {{n.lower(): v for n, v in request.headers.items()}["webhook-id"] for request in scene.requests}
    assert len(ids) == 3


def test_a_dead_server_gives_the_row_back_with_a_sentence() -> None:
    """The old status returns, Error says what to do."""
    scene = Scene()
    scene.type(1, prompt="p", workflow="w", status="pending")

    def dead(body: dict[str, Any]) -> FetchResponse:
        raise OSError("no route")

    scene.answer = dead
    scene.generate((1, 0, 1, 0))
    assert scene.text(1, "status") == "pending" and scene.text(1, "error")


def test_rows_under_way_are_not_submitted_again() -> None:
    """Queued and processing rows are skipped; done rows may run again under a new key."""
    scene = Scene()
    for row, status in enumerate(("queued", "processing", "done"), start=1):
        scene.type(row, prompt=f"p{row}", workflow="w", status=status)
    scene.generate((1, 0, 3, 0))
    assert [row["inputs"]["prompt"] for row in scene.sent()] == ["p3"]


def test_many_rows_go_in_chunks() -> None:
    """No request holds more than 100 rows or 200 KB."""
    scene = Scene()
    for row in range(1, 121):
        scene.type(row, prompt=f"p{row} " + "x" * 3_000, workflow="w")
    scene.generate((1, 0, 120, 0))
    assert len(scene.sent()) == 120 and len({row["job_key"] for row in scene.sent()}) == 120
    assert all(len(json.loads(request.body)["rows"]) <= 100 for request in scene.requests)
    assert all(len(request.body) <= 200_000 for request in scene.requests)


def test_a_sheet_without_settings_is_told_where_they_are() -> None:
    """No key, no request, nothing written."""
    scene = Scene()
    scene.project.properties.document.clear()
    scene.type(1, prompt="p", workflow="w")
    scene.generate((1, 0, 1, 0))
    assert scene.requests == [] and scene.text(1, "status") == ""
    assert any("Settings" in words for words in scene.ui.said)


def test_set_up_adds_what_is_missing_and_moves_nothing() -> None:
    """Safe to run again: the person's columns stay, aliases count as present."""
    scene = Scene(["Notes", "prompt", "state"])
    scene.type(1, notes="mine", prompt="p")
    for _ in range(2):
        scene.project.run("setUpThisSheet", Selection(scene.sheet.gid, ((0, 0, 0, 0),)))
    _, columns = scene.sheet.data_extent()
    header = [scene.sheet.cell(0, column).formatted for column in range(columns)]
    assert header[:3] == ["Notes", "prompt", "state"]
    folded = [fold(word) for word in header]
    assert "status" not in folded and folded.count("prompt") == 1 and len(set(folded)) == len(folded)
    assert {"workflow", "preview", "output url", "error", "job id"} <= set(folded)
    assert scene.sheet.cell(1, 0).formatted == "mine" and scene.sheet.frozen_rows == 1


def test_the_menu_is_what_the_readme_says() -> None:
    """Nine entries, verbs first."""
    labels = [getattr(entry, "label", None) for entry in Scene().project.menu()]
    assert [label for label in labels if label] == [
        "Generate selected rows", "Generate all pending", "Cancel selected", "Retry failed", "Fetch missing results",
        "Show progress", "Set up this sheet", "Add workflow…", "Settings",
    ]  # fmt: skip
