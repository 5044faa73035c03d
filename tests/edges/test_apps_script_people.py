"""The script among people: double clicks, dialogs, odd text, and an API that is unwell."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from sandbox.apps_script_run import FetchResponse, Selection
from tests.edges.test_apps_script import HEADERS, Quiet, Scene, accepted, reply


class Answering(Quiet):
    """Be a person who gives these answers in turn."""

    def __init__(self, *answers: tuple[str, str]) -> None:
        super().__init__()
        self.answers = list(answers)

    def alert(self, title: str, text: str, buttons: str) -> str:
        self.said.append(text)
        return self.answers.pop(0)[0] if self.answers and buttons != "OK" else "OK"

    def prompt(self, title: str, text: str, buttons: str) -> tuple[str, str]:
        self.said.append(text)
        return self.answers.pop(0)


def scene_of(*prompts: str, headers: list[str] | None = None) -> Scene:
    scene = Scene(headers)
    for row, prompt in enumerate(prompts, start=1):
        scene.type(row, prompt=prompt, workflow="w")
    return scene


def with_ui(scene: Scene, ui: Quiet) -> Scene:
    scene.ui = ui
    scene.project._ui = ui
    return scene


def refusing(status: int, message: str) -> Any:
    body = json.dumps({"error": {"code": "x", "message": message}}).encode()
    return lambda _: FetchResponse(status, body)


def test_a_double_click_submits_each_row_once() -> None:
    """The second click, while the first one's request is under way, finds the rows queued."""
    scene = scene_of("a", "b", "c")
    posting, go_on = threading.Event(), threading.Event()

    def slow(body: dict[str, Any]) -> FetchResponse:
        posting.set()
        assert go_on.wait(30)
        return reply(body)

    scene.answer = slow
    first = threading.Thread(target=scene.generate, args=((1, 0, 3, 0),))
    first.start()
    assert posting.wait(30)
    scene.generate((1, 0, 3, 0))
    go_on.set()
    first.join(30)
    assert sorted(row["inputs"]["prompt"] for row in scene.sent()) == ["a", "b", "c"]
    assert "0 rows queued, 3 skipped (already under way)" in scene.ui.said


def test_two_clicks_at_the_same_moment_submit_each_row_once() -> None:
    """
    Both start together; the document lock lets one of them read and mark first.

    Without the lock both would read the rows as new before either has marked them.
    """
    scene = scene_of(*(f"p{n}" for n in range(8)))
    at_once = threading.Barrier(2)

    def click() -> None:
        at_once.wait(30)
        scene.generate((1, 0, 8, 0))

    clicks = [threading.Thread(target=click) for _ in range(2)]
    for one in clicks:
        one.start()
    for one in clicks:
        one.join(30)
    assert sorted(row["inputs"]["prompt"] for row in scene.sent()) == sorted(f"p{n}" for n in range(8))


def test_columns_that_move_while_the_request_is_under_way_are_found_again() -> None:
    """Headers are read anew before anything is written."""
    scene = scene_of("bad", "good")

    def moves(body: dict[str, Any]) -> FetchResponse:
        scene.sheet.insert_rows(1, 1)
        scene.sheet.move_cols(0, 2, 8)  # Notes and STATUS go behind Seed
        return reply(body, result="rejected", message="Steps must be a number.")

    scene.answer = moves
    scene.generate((1, 0, 1, 0))
    scene.headers = [scene.sheet.cell(0, col).formatted for col in range(8)]
    assert (scene.text(1, "prompt"), scene.text(2, "status")) == ("", "error")
    assert scene.text(2, "error") == "Steps must be a number." and scene.text(3, "error") == ""


def test_long_and_odd_prompts_arrive_unharmed() -> None:
    """8,000 characters with emoji, text that looks like a formula, and every kind of quote and line."""
    odd = ["🦊狐é" * 2_667, '=IMPORTXML("http://x","//y")', "+1girl, @home", 'a "b"\n\\c\t\u2028 \x7f', "-"]
    scene = Scene()
    for row, prompt in enumerate(odd, start=1):
        scene.sheet.set_cell(row, HEADERS.index("prompt"), prompt)
    before = [scene.sheet.cell(row, HEADERS.index("prompt")) for row in range(1, 6)]
    scene.generate((1, 0, 5, 0))
    assert [row["inputs"]["prompt"] for row in scene.sent()] == odd
    assert [scene.sheet.cell(row, HEADERS.index("prompt")) for row in range(1, 6)] == before


def test_the_script_makes_no_formula_whatever_it_is_told() -> None:
    """Neither an error sentence nor a restored status becomes one."""
    scene = scene_of("a", "b")
    for row, status in ((1, "=later"), (2, "@me")):
        scene.sheet.set_cell(row, HEADERS.index("STATUS"), status)
    scene.answer = refusing(400, '=IMPORTXML("http://x")')
    scene.generate((1, 0, 2, 0))
    written = [scene.sheet.cell(row, col) for row in (1, 2) for col in range(len(HEADERS))]
    assert [cell.formula for cell in written if cell.formula] == []
    assert [scene.text(row, "status") for row in (1, 2)] == ["=later", "@me"]


def test_a_status_formula_comes_back_as_a_formula() -> None:
    """What stood in Status before a failure stands there again, not what it showed."""
    scene = scene_of("a")
    scene.sheet.enter(1, HEADERS.index("STATUS"), "=TODO()")
    scene.answer = refusing(401, "No.")
    scene.generate((1, 0, 1, 0))
    assert scene.sheet.cell(1, HEADERS.index("STATUS")).formula == "=TODO()"


@pytest.mark.parametrize(
    ("prompt", "word"), [("#REF!", "formula"), ("cut \ud83d emoji", "emoji"), ("x" * 49_000 + "狐" * 1_000, None)]
)
def test_a_row_that_must_fail_is_refused_before_it_is_sent(prompt: str, word: str | None) -> None:
    """A broken formula and half an emoji are named in the row; the other rows go."""
    scene = scene_of("good")
    scene.sheet.set_cell(2, HEADERS.index("prompt"), prompt)
    scene.generate((1, 0, 2, 0))
    assert scene.text(1, "status") == "queued"
    assert scene.text(2, "status") == ("error" if word else "queued")
    assert (word or "") in scene.text(2, "error")


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "Settings"), (403, "Settings"), (404, "address"), (500, "minute"), (400, "broken")]
)
def test_a_refused_request_says_what_to_do(status: int, remedy: str) -> None:
    """The row is as before and Error holds a sentence with a remedy; the toast says it too."""
    scene = scene_of("a")
    scene.answer = refusing(status, "The request is broken.")
    scene.generate((1, 0, 1, 0))
    assert scene.text(1, "status") == "" and remedy in scene.text(1, "error")
    assert scene.ui.said[-1].startswith("0 rows queued, 1 not started: ") and remedy in scene.ui.said[-1]


def test_a_dead_api_is_not_asked_for_every_chunk() -> None:
    """After three tries its rows are as before with a sentence; those of the other requests wait as pending."""
    scene = scene_of(*(f"p{n}" for n in range(120)))
    scene.answer = refusing(503, "")
    scene.generate((1, 0, 120, 0))
    assert len(scene.requests) == 3
    assert all(scene.text(row, "status") == "" and scene.text(row, "error") for row in range(1, 101))
    assert all(scene.text(row, "status") == "pending" and not scene.text(row, "error") for row in range(101, 121))


def test_one_bad_chunk_does_not_stop_the_next() -> None:
    """A request that the API calls malformed is about its own rows only."""
    scene = scene_of(*(f"p{n}" for n in range(120)))
    bad = refusing(400, "Row 3 is odd.")
    scene.answer = lambda body: bad(body) if len(body["rows"]) == 100 else reply(body)
    scene.generate((1, 0, 120, 0))
    assert [scene.text(row, "status") for row in (1, 100, 101, 120)] == ["", "", "queued", "queued"]


def test_an_answer_that_leaves_rows_out_is_no_answer() -> None:
    """The request is repeated; in the end the rows come back."""
    scene = scene_of("a", "b")
    scene.answer = lambda body: reply({"rows": body["rows"][:1]})
    scene.generate((1, 0, 2, 0))
    assert len(scene.requests) == 3 and scene.text(2, "status") == ""


def test_a_refusal_leaves_a_status_that_is_no_longer_ours() -> None:
    """Somebody who typed over "queued" meanwhile keeps what was typed, in Error too."""
    scene = scene_of("a")

    def overtaken(body: dict[str, Any]) -> FetchResponse:
        scene.type(1, status="cancelled")
        return reply(body, result="rejected", message="No.")

    scene.answer = overtaken
    scene.generate((1, 0, 1, 0))
    assert (scene.text(1, "status"), scene.text(1, "error")) == ("cancelled", "")


def test_requests_are_measured_in_bytes() -> None:
    """Chinese prompts make three bytes of a character: fewer rows go in one request."""
    scene = scene_of(*("狐" * 4_000 for _ in range(40)))
    scene.generate((1, 0, 40, 0))
    assert len(scene.sent()) == 40 and len(scene.requests) == 3
    assert all(150_000 < len(request.body) <= 200_000 for request in scene.requests[:2])


def test_prompts_and_dates_go_as_they_are_shown() -> None:
    """A prompt that is a number, and a date in any column, are what the person sees."""
    scene = scene_of("a")
    number = {"numberFormat": {"type": "NUMBER", "pattern": "0.00"}}
    scene.sheet.set_cell(1, HEADERS.index("prompt"), 7.5, format=number)
    scene.sheet.enter(1, HEADERS.index("Notes"), "2026-11-21")
    scene.sheet.set_cell(1, HEADERS.index("steps"), 7.5, format=number)
    scene.generate((1, 0, 1, 0))
    assert scene.sent()[0]["inputs"] == {"prompt": "7.50", "Notes": "2026-11-21", "steps": 7.5}


def test_everything_is_flushed_before_the_request() -> None:
    """Nobody else sees a write before the flush, and the worker may be fast."""
    scene = scene_of("a")
    scene.generate((1, 0, 1, 0))
    assert [call.unflushed for call in scene.project.log[-1].fetches] == [0]


def test_the_toast_counts() -> None:
    """Queued, skipped with the reason, refused with the first sentence."""
    scene = scene_of("a", "b", "c", "d")
    scene.sheet.hide_rows(2, by="filter")

    def second_is_bad(body: dict[str, Any]) -> FetchResponse:
        results = json.loads(accepted(body).body)["results"]
        results[1] |= {"result": "rejected", "message": "Steps must be a number."}
        return FetchResponse(200, json.dumps({"results": results}).encode())

    scene.answer = second_is_bad
    scene.generate((1, 0, 4, 0))
    assert scene.ui.said == ["2 rows queued, 1 skipped (hidden), 1 refused (row 4: Steps must be a number.)"]


def test_unticked_boxes_do_not_make_a_row() -> None:
    """A column of checkboxes reaches far below the data."""
    scene = scene_of("a")
    for row in range(2, 10):
        scene.sheet.set_cell(row, HEADERS.index("Notes"), False)
    scene.generate((0, 0, 20, 7))
    assert len(scene.sent()) == 1


def test_a_sheet_without_our_columns_is_set_up_when_the_person_agrees() -> None:
    """The question comes first; a no changes nothing, a yes goes on to submit."""
    for answer, sent in (("NO", 0), ("YES", 1)):
        scene = with_ui(scene_of("a", headers=["prompt", "workflow"]), Answering((answer, "")))
        scene.generate((1, 0, 1, 0))
        assert "no header Status and no header Job ID" in scene.ui.said[0]
        assert len(scene.sent()) == sent and scene.sheet.data_extent()[1] == (10 if sent else 2)


def test_an_empty_sheet_gets_every_header_and_text_stays_text() -> None:
    """A prompt typed below the new header is never read as a number or a date."""
    scene = Scene([])
    scene.project.run("setUpThisSheet", Selection(scene.sheet.gid, ()))
    assert ", ".join(scene.sheet.cell(0, col).formatted for col in range(14)) == (
        "Prompt, Workflow, Steps, CFG, Width, Height, Seed, Status, Preview, Output URL, Started at, Finished at, "
        "Error, Job ID"
    )
    for row, typed in enumerate(("1984", "1/2", "+1girl"), start=1):
        scene.sheet.enter(row, 0, typed)
        assert scene.sheet.cell(row, 0).user_entered == typed


def test_set_up_makes_room_and_leaves_what_a_person_chose() -> None:
    """A full grid grows; frozen rows, widths and heights are not changed by a second run."""
    scene = Scene([f"h{n}" for n in range(26)])
    scene.sheet.freeze(rows=3)
    run = ("setUpThisSheet", Selection(scene.sheet.gid, ()))
    scene.project.run(*run)
    scene.sheet.set_dimension("ROWS", 1, 5, pixel_size=300)
    kept = scene.book.to_json()
    scene.project.run(*run)
    assert {**scene.book.to_json(), "version": 0} == {**kept, "version": 0}
    assert (scene.sheet.frozen_rows, scene.sheet.cols) == (3, 36)
