"""What the sidebar, the menu and Settings are told."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.contract.job import Job, JobError, Progress, Timings, job_id_of
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import ErrandNote, Parked
from chalicelib.contract.states import State
from tests.jobs import NOW, new_job, target
from tests.sheet_fakes import Crowd
from tests.unit.test_api import Desk, signed

SHEET = "sheet-1"


def ask(desk: Desk, route: str, *, status: int = 200, **fields: Any) -> dict[str, Any]:
    from chalicelib.api_parts import Call, guarded

    body = json.dumps({"spreadsheet_id": SHEET, **fields}).encode()
    answer = guarded(lambda: getattr(desk.sheet_api, route)(Call(signed(body), body, "https://host/api")))
    assert answer.status == status, answer.body
    told: dict[str, Any] = answer.body
    return told


def queued(desk: Desk, at: int = NOW, **fields: Any) -> Job:
    key = str(uuid4())
    job = new_job(job_key=key, client_id="studio", target=target(SHEET), now=at, link_base="https://h", **fields)
    return desk.ledger.submit(job).job


def running(desk: Desk, *, began: int, fraction: float, **fields: Any) -> Job:
    job = queued(desk, **fields)
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=began, lease_ms=1_000_000)
    assert isinstance(claimed, Claimed)
    progress = Progress(fraction=fraction, node="3", node_class="KSampler", step=5, steps=20)
    assert desk.ledger.heartbeat(claimed.lease, until=NOW + 60_000, phase="rendering", progress=progress)
    return job


def test_progress_tells_node_step_place_and_time() -> None:
    """Running rows by how far they are, waiting ones by their place in the line."""
    desk = Desk()
    desk.books.pace = {"0" * 64: 10_000}
    second, first = queued(desk, NOW - 10), queued(desk, NOW - 20)
    at_work = running(desk, began=NOW - 4000, fraction=0.25)
    told = ask(desk, "progress", job_keys=[second.job_key, first.job_key, at_work.job_key, "nobody"])
    by_key = {each["job_key"]: each for each in told["jobs"]}
    busy = by_key[at_work.job_key]
    assert (busy["state"], busy["fraction"], busy["node"], busy["step"], busy["steps"]) == (
        "running", 0.25, "KSampler", 5, 20,
    )  # fmt: skip
    assert busy["eta_s"] == 6 and busy["position"] is None
    assert [by_key[job.job_key]["position"] for job in (first, second)] == [1, 2]
    assert [by_key[job.job_key]["eta_s"] for job in (first, second)] == [16, 26]
    assert by_key["nobody"] == {"job_key": "nobody", "state": "unknown"}
    assert told["poll_s"] == 3 and told["workers"] == 1


def test_more_workers_shorten_the_line() -> None:
    """Two workers: half the wait."""
    desk = Desk()
    desk.books.pace = {"0" * 64: 10_000}
    desk.crowd._alive = 2
    first, second = queued(desk, NOW - 20), queued(desk, NOW - 10)
    told = ask(desk, "progress", job_keys=[first.job_key, second.job_key])
    assert [each["eta_s"] for each in told["jobs"]] == [5, 10]


def test_a_workflow_that_never_ran_is_guessed_by_its_progress_or_not_at_all() -> None:
    """Nothing is invented."""
    desk = Desk()
    fast, fresh = running(desk, began=NOW - 5000, fraction=0.5), running(desk, began=NOW - 5000, fraction=0.01)
    waits = queued(desk)
    told = ask(desk, "progress", job_keys=[fast.job_key, fresh.job_key, waits.job_key])
    assert [each["eta_s"] for each in told["jobs"]] == [5, None, None]


def test_ended_rows_tell_their_error_and_their_page() -> None:
    """The page with all outputs and the sentence of the failure."""
    desk = Desk()
    job = queued(desk)
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    desk.ledger.fail(claimed.lease, now=NOW, error=JobError(code="x", text="It broke.", hint="Mend it."))
    told = ask(desk, "progress", job_keys=[job.job_key])
    assert told["jobs"][0]["error"] == "It broke. Mend it." and f"/o/{job.job_id}?t=" in told["jobs"][0]["page"]
    assert told["poll_s"] == 10


def test_rows_are_cancelled_each_by_itself() -> None:
    """Open ones are cancelled, ended ones told, unknown ones too."""
    desk = Desk()
    job, done = queued(desk), queued(desk)
    claimed = desk.ledger.claim(done.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    desk.ledger.commit(claimed.lease, now=NOW, outputs=[], timings=Timings())
    told = ask(desk, "cancel", job_keys=[job.job_key, done.job_key, "nobody"])
    assert [(each["result"], each["state"]) for each in told["results"]] == [
        ("cancelled", "canceled"),
        ("ended", "succeeded"),
        ("unknown", None),
    ]
    assert desk.post_box.hinted == [(job.job_id, None)]


def test_missing_results_are_written_once_more() -> None:
    """Ended: coming; open: under way; unknown: said; results without a row are looked for; a parked sheet is tried."""
    desk = Desk()
    done, open_, gone = (queued(desk) for _ in range(3))
    for job in (done, gone):
        claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(claimed, Claimed)
        desk.ledger.commit(claimed.lease, now=NOW, outputs=[], timings=Timings())
    ended = desk.ledger.get(gone.job_id)
    assert ended is not None and desk.ledger.mark_synced(ended, gone=True)
    desk.registry.park(SHEET, Parked(reason="Not shared.", since=NOW, until=NOW + 9))
    told = ask(desk, "fetch", job_keys=[done.job_key, open_.job_key, "nobody"])
    assert [each["result"] for each in told["results"]] == ["coming", "under_way", "unknown"]
    assert desk.post_box.again == [done.job_id] and told["gone"] == 1
    assert [errand.errand for errand in desk.post_box.errands] == ["relink"]
    there = desk.ledger.get(done.job_id)
    assert there is not None and not there.is_shown and desk.registry.get(SHEET).parked is None


def test_results_that_were_shown_a_moment_ago_are_looked_for() -> None:
    """Their rows may be deleted, and no row of the sheet would ask for them. Later the second look has told."""
    desk = Desk()
    job = queued(desk)
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    desk.ledger.commit(claimed.lease, now=NOW, outputs=[], timings=Timings())
    ended = desk.ledger.get(job.job_id)
    assert ended is not None and desk.ledger.mark_synced(ended, look_at=NOW + 600_000)
    assert ask(desk, "fetch", job_keys=[]) == {"results": [], "gone": 0, "fresh": 1}
    assert [errand.errand for errand in desk.post_box.errands] == ["relink"]
    assert desk.ledger.mark_synced(ended)
    assert ask(desk, "fetch", job_keys=[]) == {"results": [], "gone": 0, "fresh": 0}
    assert len(desk.post_box.errands) == 1


def test_other_spreadsheets_jobs_are_unknown_here() -> None:
    """Even of the same client: a key is for one spreadsheet."""
    desk = Desk()
    key = str(uuid4())
    desk.ledger.submit(new_job(job_key=key, client_id="studio", target=target("another")))
    assert ask(desk, "progress", job_keys=[key])["jobs"] == [{"job_key": key, "state": "unknown"}]
    assert ask(desk, "fetch", job_keys=[key])["results"][0]["result"] == "unknown"
    told = ask(desk, "connection", spreadsheet_id="another", status=403)
    assert "another spreadsheet" in told["error"]["message"]


def test_connection_tells_how_things_stand() -> None:
    """Host and secrets aside: everything that Settings shows."""
    desk = Desk()
    desk.registry.note_account("robot@google")
    desk.registry.park(SHEET, Parked(reason="Not shared.", since=NOW, until=NOW + 9))
    desk.registry.set_auto(SHEET, 0, on=True)
    desk.books.noted = ["x"] * 100
    told = ask(desk, "connection")
    assert (told["client"], told["key_id"], told["service_account"]) == ("studio", "0123456789ab", "robot@google")
    assert told["parked"] == {"reason": "Not shared.", "since": "2027-01-15T08:00:00Z"} and told["auto"] is True
    assert told["usage"] == {"images": 100, "gpu_s": 3600.0, "cost": "$0.50"}


def test_who_starts_rows_is_told_that_the_sheet_is_parked() -> None:
    """The rows are accepted all the same: their results are kept."""
    desk = Desk()
    row = {"job_key": "k1", "workflow": "empty-color", "inputs": {}}
    assert desk.rows(row).body["parked"] is None
    desk.registry.park(SHEET, Parked(reason="Not shared.", since=NOW, until=NOW + 9))
    answer = desk.rows({**row, "job_key": "k2"})
    assert answer.body["results"][0]["result"] == "accepted" and answer.body["parked"]["reason"] == "Not shared."


def test_auto_mode_and_the_lease() -> None:
    """Switched by tab; one holder at a time."""
    desk = Desk()
    assert ask(desk, "auto", sheet_id=7, on=True) == {"on": True}
    assert desk.registry.get(SHEET).auto_tabs == (7,)
    assert ask(desk, "auto", sheet_id=7, on=False) == {"on": False}
    assert desk.registry.get(SHEET).auto_tabs == ()
    assert ask(desk, "claims", token="a" * 32, hold=True) == {"held": True, "wait_s": 0}
    assert ask(desk, "claims", token="b" * 32, hold=True) == {"held": False, "wait_s": 3}
    ask(desk, "claims", token="a" * 32, hold=False)
    assert ask(desk, "claims", token="b" * 32, hold=True)["held"]


def test_errands_are_sent_and_looked_after() -> None:
    """Waiting until completion notes what came of it; a newer errand takes the older one's place."""
    desk = Desk()
    name = ask(desk, "errands", what="prepare", sheet_id=4, allow_images=True)["id"]
    [errand] = desk.post_box.errands
    assert (errand.errand, errand.sheet_id, errand.allow_images, errand.id) == ("prepare", 4, True, name)
    assert ask(desk, "look_at_errand", id=name)["state"] == "waiting"
    desk.registry.note_errand(SHEET, ErrandNote(id=name, state="done", message="It is done."))
    assert ask(desk, "look_at_errand", id=name) == {"state": "done", "message": "It is done."}
    ask(desk, "errands", what="check")
    assert ask(desk, "look_at_errand", id=name)["state"] == "failed"


@pytest.mark.parametrize("what", ["prove", "relink", "auto"])
def test_a_script_may_not_ask_for_everything(what: str) -> None:
    """Only what Settings offers."""
    ask(Desk(), "errands", what=what, status=400)


def test_a_file_that_no_worker_has_is_told_before_any_gpu_wakes() -> None:
    """With the nearest name; what live workers have is what the dropdown offers."""
    desk = Desk()
    desk.crowd = Crowd(model=("sd_xl_base_1.0.safetensors", "dreamshaper_8.safetensors"))
    answer = desk.rows({"job_key": "k1", "workflow": "txt2img-sdxl", "inputs": {"Prompt": "x", "Model": "dreamshaper"}})
    [result] = answer.body["results"]
    assert result["result"] == "rejected" and "dreamshaper_8.safetensors" in result["message"]
    assert desk.sent == [] and desk.ledger.get(job_id_of("studio", "k1")) is None
    desk.crowd = Crowd(alive=0)
    answer = desk.rows({"job_key": "k2", "workflow": "txt2img-sdxl", "inputs": {"Prompt": "x"}})
    assert answer.body["results"][0]["result"] == "accepted"
    there = desk.ledger.get(job_id_of("studio", "k2"))
    assert there is not None and there.state is State.QUEUED
