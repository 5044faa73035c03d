"""What a program may ask of its jobs, and what it is answered."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from comfy_low.models import Job as SdkJob
from comfy_low.models import JobWorkflowResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.catalog import document_key
from chalicelib.contract.job import JobError, Progress, run_key
from chalicelib.contract.ports import Submitted
from chalicelib.programs import JobRequest
from tests.jobs import output
from tests.program_fakes import KEYS, RED, ProgramDesk
from tests.sizes import examples

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def test_a_program_sees_its_own_jobs_alone() -> None:
    """Create, look, cancel, retry, workflow, events, log: a stranger is told that there is no such job."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    for name in ("getJob", "cancelJob", "retryJob", "getJobWorkflow", "getJobEvents", "getJobLog"):
        assert desk.ask(name, key="b", job_id=job_id).status == 404, name
        assert desk.ask(name, key="nobody", job_id=job_id).status == 401, name
    cancelled = [desk.ask("cancelJob", job_id=job_id) for _ in range(2)]
    assert [(answer.status, answer.body["status"]) for answer in cancelled] == [(200, "canceled")] * 2
    assert desk.ask("getJob", key="a2", job_id=job_id).body["status"] == "canceled", "another key of the same client"


def test_comfy_sdk_reads_every_state_of_a_job() -> None:
    """The official client's own model takes the Job object: queued, running, succeeded, failed, canceled."""
    desk = ProgramDesk()
    done, failed, gone = (desk.submit().body["id"] for _ in range(3))
    assert SdkJob.model_validate(desk.ask("getJob", job_id=done).body).status.value == "queued"
    claimed = desk.run(done)
    half = Progress(fraction=0.5, nodes_done=1, nodes_total=2, node="3", node_class="KSampler", step=4, steps=8)
    desk.ledger.heartbeat(claimed.lease, until=desk.now + 9, phase="rendering", progress=half)
    running = desk.ask("getJob", job_id=done).body
    assert SdkJob.model_validate(running).status.value == "running"
    assert (running["progress"]["value"], running["progress"]["message"]) == (0.5, "KSampler 4/8")
    desk.ledger.fail(
        desk.run(failed).lease, now=desk.now, error=JobError(code="x", text="No.", node="7", node_class="K")
    )
    told = desk.ask("getJob", job_id=failed).body
    assert SdkJob.model_validate(told).status.value == "failed"
    assert told["error"] == {"code": "x", "message": "No.", "node_id": "7", "class_type": "K", "traceback": None}
    desk.ask("cancelJob", job_id=gone)
    assert SdkJob.model_validate(desk.ask("getJob", job_id=gone).body).status.value == "canceled"


def test_an_ended_job_tells_its_outputs_and_what_it_took() -> None:
    """Outputs with links and ids that stay, metrics in milliseconds, addresses of what can be asked next."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    desk.now += 5000
    desk.end(job_id, [output(f"outputs/studio/{job_id}/1/{n}-abcdef12.png") for n in range(2)])
    told = desk.ask("getJob", job_id=job_id).body
    assert SdkJob.model_validate(told).outputs[1].id == f"{job_id}.1.1"
    assert told["metrics"] == {"queue_ms": 5000, "execution_ms": 1200, "upload_ms": 80, "gpu_ms": 1200}
    assert told["urls"]["retry"] == f"https://host/api/api/v2/jobs/{job_id}/retry"
    assert {"self", "events", "cancel", "log", "workflow", "retry"} == set(told["urls"])
    assert told["outputs"][0]["url"].startswith(f"https://host/api/o/{job_id}/0?t=")


def test_a_queued_job_is_told_its_place() -> None:
    """One with the workers comes next; those held back follow by priority and age; who runs or has ended has none."""
    desk = ProgramDesk()
    ids = [desk.submit({**RED, "priority": priority}).body["id"] for priority in (0, 0, 0, 0, 0, 7)]
    places = [desk.ask("getJob", job_id=job_id).body["queue_position"] for job_id in ids]
    assert places == [1, 1, 1, 1, 6, 5]
    desk.run(ids[0])
    desk.ask("cancelJob", job_id=ids[1])
    assert [desk.ask("getJob", job_id=job_id).body["queue_position"] for job_id in ids[:2]] == [None, None]


def test_what_is_asked_for_is_told_back() -> None:
    """Priority, tags (each once), labels and the key that asked are kept."""
    desk = ProgramDesk()
    asked = {**RED, "priority": -7, "tags": ["night", "雪", "night"], "metadata": {"run": "7"}}
    made = desk.submit({**asked, "webhook_url": "https://example.com/hook"})
    assert made.status == 201, made.body
    assert (made.body["priority"], made.body["tags"], made.body["metadata"]) == (-7, ["night", "雪"], {"run": "7"})
    job = desk.job(made.body["id"])
    assert (job.key_id, job.webhook_url) == ("key-a", "https://example.com/hook")
    assert made.headers["Location"] == made.body["urls"]["self"]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({}, 400, "bad_request"),
        ({"workflow": GRAPH, "workflow_id": "empty-color"}, 400, "bad_request"),
        ({"workflow": GRAPH, "inputs": {"a": 1}}, 400, "bad_request"),
        ({**RED, "priority": 101}, 400, "bad_request"),
        ({**RED, "priority": "7"}, 400, "bad_request"),
        ({**RED, "tags": ["x"] * 21}, 400, "bad_request"),
        ({**RED, "tags": ["a\nb"]}, 400, "bad_request"),
        ({**RED, "webhook_url": "http://example.com"}, 400, "bad_request"),
        ({**RED, "webhook_url": "asset:" + "0" * 64}, 400, "bad_request"),
        ({**RED, "extra_data": {"api_key_comfy_org": "secret"}}, 400, "bad_request"),
        ({**RED, "unknown": 1}, 400, "bad_request"),
        ({**RED, "metadata": {str(n): "x" for n in range(17)}}, 422, "metadata_invalid"),
        ({**RED, "metadata": {"k": "x" * 257}}, 422, "metadata_invalid"),
        ({**RED, "metadata": {"": "x"}}, 422, "metadata_invalid"),
        ({"workflow_id": "empty-colour"}, 422, "unknown_workflow"),
        ({"workflow_id": "empty-color", "inputs": {"width": "wide"}}, 422, "invalid_input"),
        ({"workflow": {"nodes": [], "links": []}}, 422, "workflow_format_ui"),
        ({"workflow": {}}, 422, "invalid_workflow"),
        ({"workflow": {"1": {"class_type": "X"}}}, 422, "invalid_workflow"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(asked: dict[str, Any], status: int, code: str) -> None:
    """Each mistake has its status, its code and a sentence; nothing is made."""
    desk = ProgramDesk()
    answer = desk.submit(asked)
    assert (answer.status, answer.body["error"]["code"]) == (status, code), answer.body
    assert answer.body["error"]["message"][-1] in ".?" and desk.sent == []
    assert "secret" not in json.dumps(answer.body)


def test_a_body_of_more_than_256_kib_is_refused() -> None:
    """Before it is parsed."""
    assert ProgramDesk().submit({**RED, "pad": "x" * 300_000}).status == 413


def test_the_same_key_and_request_are_the_same_job_and_another_request_is_refused() -> None:
    """A replay answers the job as it stands, says so, and makes nothing; whatever differs is another request."""
    desk = ProgramDesk()
    made = desk.submit(RED, idempotency="k")
    again = desk.submit(RED, idempotency="k")
    assert (made.status, again.status, again.body["id"]) == (201, 201, made.body["id"])
    assert "Idempotent-Replayed" not in made.headers and again.headers["Idempotent-Replayed"] == "true"
    for other in ({**RED, "priority": 1}, {**RED, "tags": ["x"]}, {"workflow_id": "empty-color"}, {"workflow": GRAPH}):
        answer = desk.submit(other, idempotency="k")
        assert (answer.status, answer.body["error"]["code"]) == (422, "idempotency_key_reuse")
    assert desk.submit({**RED, "tags": []}, idempotency="k").body["id"] == made.body["id"], "a default is no difference"
    assert desk.submit(RED, key="b", idempotency="k").body["id"] != made.body["id"], "a rival's key is another"
    assert desk.submit(RED).body["id"] != desk.submit(RED).body["id"], "without a key each request is a new job"


def test_fifty_at_once_make_one_job() -> None:
    """Whoever comes first makes it; the others are answered the same."""
    desk = ProgramDesk()
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: desk.submit({"workflow": GRAPH}, idempotency="k"), range(50)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1


def test_after_a_lost_answer_the_job_is_found_whatever_happened_since() -> None:
    """The workflow was removed, the catalog is away, the workers are others: the key still stands for its job."""
    desk = ProgramDesk()
    by_name = desk.submit(RED, idempotency="k1").body["id"]
    raw = desk.submit({"workflow": GRAPH}, idempotency="k2").body["id"]
    desk.classes = frozenset({"Other"})
    for key in [key for key in desk.kept if key.startswith("workflows/")]:
        del desk.kept[key]
    desk.clock.now_s += 60
    assert desk.submit(RED).status == 422
    assert desk.submit(RED, idempotency="k1").body["id"] == by_name
    assert desk.submit({"workflow": GRAPH}, idempotency="k2").body["id"] == raw
    assert desk.submit({"workflow": {**GRAPH, "3": GRAPH["1"]}}, idempotency="k2").status == 422


def test_a_key_that_no_header_can_carry_is_refused() -> None:
    """1 to 255 printable ASCII characters, as comfy-sdk holds it."""
    for key in ("", "x" * 256, "a\nb", "ü"):
        assert ProgramDesk().submit(RED, idempotency=key).status == 400


def test_a_graph_needs_the_scope_raw() -> None:
    """A key without it is told so; with it the graph is stored for the workers under its own hash."""
    desk = ProgramDesk()
    refused = desk.submit({"workflow": GRAPH}, key="a2")
    assert (refused.status, refused.body["error"]["code"]) == (403, "forbidden")
    made = desk.submit({"workflow": GRAPH})
    job = desk.job(made.body["id"])
    assert made.body["workflow_id"] == "raw" and desk.sent == [job.job_id]
    document = json.loads(desk.kept[document_key(job.workflow_hash)])
    assert document["graph"] == GRAPH


def test_a_jobs_graph_is_given_as_it_is_sent_and_then_as_it_was_sent() -> None:
    """Before the record is there: filled and with its own folder; afterwards what the record tells."""
    desk = ProgramDesk()
    job_id = desk.submit({"workflow_id": "empty-color", "inputs": {"color": "red", "width": 128}}).body["id"]
    told = desk.ask("getJobWorkflow", job_id=job_id).body
    graph = JobWorkflowResponse.model_validate(told).workflow
    assert told["format"] == "api" and 128 in [node["inputs"].get("width") for node in graph.values()]
    assert any(f"cs/{job_id}/1/" in str(node["inputs"].get("filename_prefix")) for node in graph.values())
    desk.end(job_id)
    desk.kept[run_key("studio", job_id, 1)] = b'{"kind":"run","graph":{"9":{}}}\n{"kind":"end"}\n'
    assert desk.ask("getJobWorkflow", job_id=job_id).body["workflow"] == {"9": {}}


def test_a_retry_is_a_new_job_of_the_same_version_and_inputs() -> None:
    """Seed included, with labels and priority; only of an ended job, and idempotent by its key."""
    desk = ProgramDesk()
    asked = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "a fox"}, "tags": ["t"], "priority": 5}
    first = desk.submit(asked).body
    early = desk.ask("retryJob", job_id=first["id"])
    assert (early.status, early.body["error"]["code"]) == (409, "not_ended")
    desk.ask("cancelJob", job_id=first["id"])
    anew = desk.ask("retryJob", job_id=first["id"], idempotency="r")
    again = desk.ask("retryJob", job_id=first["id"], idempotency="r")
    assert (anew.status, anew.body["retry_of"], again.body["id"]) == (201, first["id"], anew.body["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    for name in ("inputs", "workflow_id", "tags", "priority"):
        assert anew.body[name] == first[name], name
    assert (
        anew.body["status"] == "queued"
        and desk.job(anew.body["id"]).workflow_hash == desk.job(first["id"]).workflow_hash
    )
    assert desk.submit(RED, idempotency="r").status == 422, "the key stands for the retry"
    del desk.kept[document_key(desk.job(first["id"]).workflow_hash)]
    gone = desk.ask("retryJob", job_id=first["id"])
    assert (gone.status, gone.body["error"]["code"]) == (422, "workflow_gone")


ROW = {"spreadsheet_id": "sheet-1", "sheet_id": 0, "job_key": "row-1"}


@pytest.mark.parametrize(
    ("key", "spreadsheet_id", "status"),
    [
        ("sheet", "sheet-1", 201),
        ("admin", "sheet-1", 201),
        ("a", "sheet-1", 403),
        ("sheet", "sheet-2", 403),
        ("admin", "sheet-9", 403),
        ("b", "sheet-1", 403),
    ],
)
def test_a_row_shows_a_programs_job_for_a_key_that_may(key: str, spreadsheet_id: str, status: int) -> None:
    """The key is bound to that spreadsheet or an admin's, and the spreadsheet is its client's."""
    desk = ProgramDesk()
    answer = desk.submit({**RED, "target": {**ROW, "spreadsheet_id": spreadsheet_id}}, key=key)
    assert answer.status == status, answer.body


def test_a_rows_job_is_known_by_the_rows_key_and_shown_at_once() -> None:
    """The row's Job ID is the job's key whatever the header says; completion is told to write "queued"."""
    desk = ProgramDesk()
    asked = {**RED, "target": {**ROW, "prompt": "a fox"}}
    made = desk.submit(asked, key="sheet", idempotency="x")
    assert desk.submit(asked, key="sheet", idempotency="y").body["id"] == made.body["id"]
    job = desk.job(made.body["id"])
    assert (job.job_key, job.is_shown, desk.hinted) == ("row-1", False, [job.job_id])
    assert made.body["target"] == ROW and job.target is not None


def test_a_store_that_is_away_makes_no_job() -> None:
    """A graph that cannot be stored is not submitted: no worker could run it."""
    desk = ProgramDesk()
    desk.files.writes_left = 0
    answer = desk.submit({"workflow": GRAPH}, idempotency="k")
    assert answer.status == 503 and desk.sent == []


def test_a_draft_writes_nothing() -> None:
    """Many can be judged before the first one counts."""
    desk = ProgramDesk()
    before = dict(desk.kept)
    draft = desk.programs.draft(KEYS["a"], "k", JobRequest(workflow=GRAPH), "https://host", batch_id="b")
    assert desk.kept == before and desk.ledger.get(draft.job.job_id) is None
    [outcome] = desk.programs.accept([draft])
    assert outcome == Submitted(draft.job, created=True) and draft.job.batch_id == "b"


DESK = ProgramDesk()
"""Serves the properties below: they make thousands of requests."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NODE = st.fixed_dictionaries(
    {"class_type": st.sampled_from(["EmptyImage", "SaveImage", "LoadImage", "X"]) | JSON},
    optional={
        "inputs": st.dictionaries(
            st.sampled_from(["image", "images", "filename_prefix", "text"]),
            JSON | st.just(["1", 0]) | st.just({"__type": "core/ASSET", "info": {"id": "x"}}),
            max_size=3,
        )
        | JSON
    },
)
BODY = st.fixed_dictionaries(
    {},
    optional={
        "workflow": st.dictionaries(st.sampled_from(["1", "2", "é"]), NODE, max_size=3) | JSON,
        "workflow_id": st.sampled_from(["empty-color", "txt2img-sdxl"]) | JSON,
        "inputs": st.dictionaries(st.sampled_from(["prompt", "color", "seed", "x"]), JSON, max_size=3) | JSON,
        "priority": JSON,
        "tags": JSON,
        "metadata": JSON,
        "webhook_url": JSON,
        "target": JSON | st.just(ROW),
        "extra_data": JSON,
    },
)


@settings(max_examples=examples(1500), deadline=None)
@given(asked=BODY | JSON)
def test_any_json_is_answered_with_a_job_or_a_clear_refusal(asked: object) -> None:
    """2xx, or a 4xx with code and sentence; never anything else, and what is made can be read."""
    answer = DESK.submit(asked, key="admin")
    if answer.status == 201:
        seen = DESK.ask("getJob", key="admin", job_id=answer.body["id"]).body
        assert {**seen, "queue_position": None} == answer.body
    else:
        assert answer.status in (400, 403, 413, 422), answer.body
        assert answer.body["error"]["code"] and answer.body["error"]["message"]
    json.dumps(answer.body)


@settings(max_examples=examples(500), deadline=None)
@given(body=st.binary(max_size=200) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_answered_with_a_clear_refusal(body: bytes) -> None:
    """What is no JSON is a 400."""
    assert DESK.ask("createJob", body=body).status in (400, 422)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000, b'{"workflow_id": "\\ud800"}', b"1e999", b"NaN"])
def test_a_parser_bomb_is_refused(body: bytes) -> None:
    """Depth, lone surrogates and numbers that are none end in a 400."""
    assert DESK.ask("createJob", body=body).status == 400


def test_an_input_that_nothing_uses_is_a_slip() -> None:
    """A program is told, with the nearest name; what a prompt takes in is used, and an alias is no stranger."""
    desk = ProgramDesk()
    slip = desk.submit({"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "a fox", "stpes": 50}})
    assert (slip.status, slip.body["error"]["code"]) == (422, "invalid_input")
    assert '"stpes" (did you mean steps?)' in slip.body["error"]["message"]
    taken_in = {"prompt": "a {{Animal}}", "Animal": "fox", "Steps": 5, "steps": 5}
    assert desk.submit({"workflow_id": "txt2img-sdxl", "inputs": taken_in}).status == 201


def test_a_graph_is_made_once_more_by_a_key_that_may_send_graphs() -> None:
    """The scope raw counts for a retry too, and a file that has ended is missed at once."""
    desk = ProgramDesk()
    job_id = desk.submit({"workflow": GRAPH}, key="admin").body["id"]
    desk.ask("cancelJob", key="admin", job_id=job_id)
    assert desk.ask("retryJob", key="admin", job_id=job_id).status == 201
    assert desk.ask("getJobLog", key="admin", query={"attempt": "0" * 9 + "1" * 5000}, job_id=job_id).status == 404
