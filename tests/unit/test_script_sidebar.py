"""What the sidebar is told, and what its buttons do."""

from __future__ import annotations

import json
from typing import Any

from tests.script_world import HEADERS, ScriptWorld, refusal

WORDS = ("pending", "queued", "processing", "done", "error", "cancelled")


def world_of(*rows: tuple[str, str]) -> ScriptWorld:
    """Hold rows of (Status, Job ID); what is queued or processing is so for the API too."""
    world = ScriptWorld()
    world.fill(len(rows))
    for row, (status, key) in enumerate(rows, start=2):
        world.put(row, Status=status, Job_ID=key)
        if status in ("queued", "processing"):
            world.api.jobs[key] = "queued" if status == "queued" else "running"
    return world


def test_counts_are_the_cells_own_words() -> None:
    """A blank Status with something to render counts as pending; other words and blank rows do not count."""
    world = world_of(*((word, f"k{n}") for n, word in enumerate([*WORDS, "Done", "later", ""])))
    world.put(20, Status="pending")
    news = world.run("sidebarNews")
    assert news["counts"] == {"pending": 3, "queued": 1, "processing": 1, "done": 2, "error": 1, "cancelled": 1}
    assert (news["connected"], news["tab"], news["message"], news["pollS"]) == (True, "Tab", "", 3)
    assert news["cost"] == {"images": 12, "gpuSeconds": 34.5, "text": "12 images, 35 s of GPU time, $0.42"}
    assert (news["workers"], news["waiting"], news["auto"], news["lost"]) == (1, 3, False, 0)


def test_jobs_come_processing_first_then_by_place_in_the_queue() -> None:
    """With what the API says of each."""
    world = world_of(("queued", "a"), ("queued", "b"), ("processing", "c"))

    def live(body: dict[str, Any]) -> dict[str, Any]:
        assert body["job_keys"] == ["c", "a", "b"]
        blank = {"fraction": None, "node": None, "step": None, "steps": None, "position": None, "eta_s": None}
        jobs = [
            {**blank, "job_key": "c", "state": "running", "fraction": 0.5, "node": "KSampler", "step": 10, "steps": 20},
            {**blank, "job_key": "a", "state": "queued", "position": 4, "eta_s": 90},
            {**blank, "job_key": "b", "state": "running", "eta_s": 30},
        ]
        return {"jobs": jobs, **world.api.connection, "poll_s": 5}

    world.api.answers["/v1/sheets/progress"] = live
    news = world.run("sidebarNews")
    assert [(job["key"], job["state"], job["row"]) for job in news["jobs"]] == [
        ("c", "processing", 4), ("b", "processing", 3), ("a", "queued", 2),
    ]  # fmt: skip
    assert news["jobs"][0] == {
        "key": "c", "row": 4, "title": "p4", "state": "processing", "fraction": 0.5, "node": "KSampler", "step": 10,
        "steps": 20, "position": None, "etaS": None,
    }  # fmt: skip
    assert (news["etaS"], news["pollS"]) == (90, 5)


def test_many_rows_cost_one_read_and_one_request() -> None:
    """A hundred keys are asked for, thirty jobs shown; host calls do not grow with the rows."""
    world = world_of(*(("queued", f"k{n}") for n in range(400)))
    news = world.run("sidebarNews")
    [body] = world.api.sent("/v1/sheets/progress")
    assert len(body["job_keys"]) == 100 and len(news["jobs"]) == 30 and news["counts"]["queued"] == 400
    assert world.last().host_calls < 30


def test_errors_are_listed_with_their_sentences() -> None:
    """Twenty at most, titles cut."""
    world = world_of(*(("error", f"k{n}") for n in range(25)))
    world.put(2, Prompt="x" * 500, Error="Steps must be a whole number.")
    news = world.run("sidebarNews")
    assert len(news["errors"]) == 20 and news["counts"]["error"] == 25
    first = news["errors"][0]
    assert (first["key"], first["row"], first["sentence"]) == ("k0", 2, "Steps must be a whole number.")
    assert len(first["title"]) == 80


def test_rows_that_the_api_never_got_are_counted_as_lost() -> None:
    """But not while their own run may be sending them."""
    world = world_of(("queued", "lost0001-a"), ("queued", "live0001-b"))
    world.api.jobs.clear()
    world.document["RUN_live0001"] = "99999999999999"
    news = world.run("sidebarNews")
    assert news["lost"] == 1 and news["jobs"] == []


def test_the_sidebar_says_why_it_knows_little() -> None:
    """Not connected, a copy, an API that is unwell: counts are there all the same."""
    world = world_of(("queued", "a"), ("done", "b"))
    world.api.before = lambda path, body: refusal(503)
    news = world.run("sidebarNews")
    assert news["connected"] and news["message"].startswith("The API has a fault") and news["counts"]["done"] == 1
    assert [job["key"] for job in news["jobs"]] == ["a"]
    world.document["SPREADSHEET_ID"] = "the-original"
    news = world.run("sidebarNews")
    assert not news["connected"] and "copy" in news["message"] and news["counts"]["queued"] == 1
    assert ScriptWorld(["Notes"]).run("sidebarNews")["message"].startswith("This tab has no Status column.")


def test_parked_and_auto_are_passed_on() -> None:
    """As the API has them."""
    world = world_of(("queued", "a"))
    world.api.connection |= {"parked": {"reason": "Not shared.", "since": "2026-11-21T08:00:00Z"}, "auto": True}
    news = world.run("sidebarNews")
    assert news["parked"] == {"reason": "Not shared.", "since": "2026-11-21T08:00:00Z"}
    assert news["auto"] and world.document["AUTO"] == "on"


def test_go_to_shows_the_row_wherever_it_is_by_now() -> None:
    """Also on another tab; a row that is gone is said to be."""
    world = world_of(("queued", "a"), ("queued", "b"))
    other = world.book.add_sheet("Other")
    for col, header in enumerate(HEADERS):
        other.enter(0, col, header)
    other.set_cell(4, HEADERS.index("Job ID"), "c")
    assert world.run("sidebarGoTo", args=["b"]) == {"found": True}
    assert world.run("sidebarGoTo", args=["c"]) == {"found": True}
    assert world.run("sidebarGoTo", args=["gone"]) == {"found": False}
    assert world.run("sidebarGoTo", args=[""]) == {"found": False}
    assert world.person.shown == [(world.sheet.gid, 3), (other.gid, 5)]


def test_cancel_and_retry_are_about_their_rows_only() -> None:
    """Whatever is selected; nothing is asked."""
    world = world_of(("queued", "a"), ("queued", "b"), ("error", "c"), ("error", "d"))
    assert world.run("sidebarCancel", (3, 3), args=[["a"]]) == {"message": "1 row cancelled."}
    assert world.statuses(2, 3) == ["cancelled", "queued"]
    assert world.run("sidebarRetry", (5, 5), args=[["c"]]) == {"message": "1 row queued"}
    assert world.statuses(4, 5) == ["queued", "error"] and world.text(4, "Job ID") != "c"
    message = world.run("sidebarRetry", (5, 5), args=[["b"]])["message"]
    assert message == "Nothing to retry: these rows are not failed any more." and world.person.asked == []


def test_an_empty_key_means_no_row() -> None:
    """Not every row that has none."""
    world = world_of(("error", ""), ("queued", ""))
    world.run("sidebarRetry", args=[[""]])
    world.run("sidebarCancel", args=[[""]])
    assert world.statuses(2, 3) == ["error", "queued"] and world.api.requests == []


def test_fetch_gives_the_summary() -> None:
    """The same as the menu's."""
    world = world_of(("queued", "a"))
    assert world.run("sidebarFetch") == {"message": "1 row is still under way."}


def test_everything_is_plain_json() -> None:
    """google.script.run cannot carry dates, and a key never travels."""
    world = world_of(("error", "a"))
    text = json.dumps(world.run("sidebarNews"))
    assert "ck_" not in text and "$date" not in text
