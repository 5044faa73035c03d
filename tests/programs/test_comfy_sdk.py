"""The official client, comfy-sdk from PyPI, unmodified, on the deployed app."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from comfy_sdk import Comfy, ComfyError, JobFailed, NotFound
from comfy_sdk.events import OutputReady, Progress, StatusChange

from sandbox.waiting import wait_until
from sandbox.world import World

QUICK: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 32, "height": 16, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


@pytest.fixture
def comfy(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Comfy]:
    """Open the client, told the address and a key by its own environment variables."""
    monkeypatch.setenv("COMFY_BASE_URL", world.cloud.api_url)
    monkeypatch.setenv("COMFY_API_KEY", key_of(world, "studio"))
    with Comfy(client_info="journey", timeout=90) as client:
        yield client


def key_of(world: World, client: str, scopes: str = "read submit raw") -> str:
    """Make a key with scopes."""
    key: str = world.keys.maker.new_api(client)
    table: Any = world.cloud.session().client("dynamodb")
    table.update_item(
        TableName=world.cloud.outputs["KeysTable"],
        Key={"key_id": {"S": key.split("_")[1]}},
        UpdateExpression="SET #scopes = :scopes",
        ExpressionAttributeNames={"#scopes": "scopes"},
        ExpressionAttributeValues={":scopes": {"S": scopes}},
    )
    return key


def slow(seed: int, seconds: float = 4.0) -> dict[str, Any]:
    """Give a graph that takes a while, in twenty steps."""
    wait = {"image": ["1", 0], "seconds": seconds, "steps": 20, "preview": False, "seed": seed}
    between = {"class_type": "TestSleep", "inputs": wait}
    return {"1": QUICK["1"], "3": between, "2": {**QUICK["2"], "inputs": {"images": ["3", 0], "filename_prefix": "x"}}}


def test_a_graph_is_submitted_waited_for_and_downloaded(comfy: Comfy, tmp_path: Path) -> None:
    """Run it, read its labels, outputs and graph; find it again by its id alone and in the list."""
    job = comfy.submit(comfy.workflows.from_json(QUICK), metadata={"run": "quick"})
    job.wait(timeout=60)
    assert job.status == "succeeded", job.error
    [output] = job.get_outputs("2")
    assert (output.type, output.content_type, output.job_id) == ("image", "image/png", job.id)
    assert job.metadata == {"run": "quick"}
    graph = job.get_workflow()
    assert graph.format == "api" and graph.graph["1"] == QUICK["1"]
    assert comfy.jobs.get(job.id).status == "succeeded"
    comfy.run(comfy.workflows.from_json(QUICK), timeout=60)
    assert [found.id for found in comfy.list_jobs(metadata={"run": "quick"}, limit=1)] == [job.id]
    assert len(list(comfy.list_jobs(limit=1))) >= 2, "page after page"


def test_an_output_is_downloaded_by_its_id(comfy: Comfy, tmp_path: Path) -> None:
    """To a file, in part, or as an address for somebody else."""
    job = comfy.run(comfy.workflows.from_json(QUICK), timeout=60)
    [output] = job.outputs
    content = output.to_file(tmp_path / "x.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) == output.size_bytes
    assert requests.get(output.get_download_url().url, timeout=20).content == content


def test_a_running_job_tells_its_progress_and_is_cancelled(comfy: Comfy) -> None:
    """Events come while it runs, reconnecting by themselves; a cancelled job says so and ends the stream."""
    job = comfy.submit(comfy.workflows.from_json(slow(1)))
    heard: list[object] = []
    for event in job.events():
        heard.append(event)
        if isinstance(event, Progress) and event.value > 0:
            job.cancel()
    assert isinstance(heard[-1], StatusChange) and heard[-1].status == "canceled"
    words = [event.status for event in heard if isinstance(event, StatusChange)]
    assert "running" in words and any(isinstance(event, Progress) and event.nodes_total for event in heard)
    assert job.refresh().status == "canceled" and job.cancel().status == "canceled"


def test_the_stream_of_a_job_ends_with_the_job(comfy: Comfy) -> None:
    """The client's handle then has the outputs; the stream tells them too, unless the end falls between two pieces."""
    job = comfy.submit(comfy.workflows.from_json(slow(2)))
    heard = list(job.events())
    assert isinstance(heard[-1], StatusChange) and heard[-1].status == "succeeded"
    outputs = [event.output for event in heard if isinstance(event, OutputReady)]
    assert {output.job_id for output in [*outputs, *job.refresh().outputs]} == {job.id}
    told = list(job.events())
    assert isinstance(told[0], OutputReady) and isinstance(told[-1], StatusChange), "of an ended job all is told"


def test_outputs_grow_while_the_graph_runs(comfy: Comfy) -> None:
    """What a finished node has saved is told, and can be had, while another node still works."""
    graph = slow(4, seconds=8)
    graph["9"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "early"}}
    job = comfy.submit(comfy.workflows.from_json(graph))
    seen: set[tuple[str, int]] = set()

    def has_ended() -> bool:
        job.refresh()
        seen.add((job.status, len(job.outputs)))
        return job.status == "succeeded"

    assert wait_until(has_ended, patience_s=60) and ("running", 1) in seen and ("succeeded", 2) in seen, seen


def test_a_failing_job_raises_with_its_node(comfy: Comfy) -> None:
    """The client's own exception carries the node, its class and our sentence."""
    graph = {**QUICK, "1": {"class_type": "TestRaise", "inputs": {"image": ["3", 0], "kind": "ValueError", "seed": 7}}}
    graph["3"] = QUICK["1"]
    with pytest.raises(JobFailed) as failed:
        comfy.run(comfy.workflows.from_json(graph), timeout=60)
    error: Any = failed.value.error
    assert (error.node_id, error.class_type) == ("1", "TestRaise") and error.message


def test_a_key_is_used_again_without_harm(comfy: Comfy) -> None:
    """One job however often it is asked for, also at once; another graph under the same key is refused."""
    # Few at a time: each parallel call starts a process here (50 at once: tests/unit/test_jobs_api.py).
    with ThreadPoolExecutor(3) as pool:
        workflow = comfy.workflows.from_json(QUICK)
        jobs = list(pool.map(lambda _: comfy.submit(workflow, idempotency_key="one-and-only"), range(6)))
    assert len({job.id for job in jobs}) == 1
    with pytest.raises(ComfyError) as refused:
        comfy.submit(comfy.workflows.from_json(slow(3)), idempotency_key="one-and-only")
    assert (refused.value.code, refused.value.http_status) == ("idempotency_key_reuse", 422)


def test_what_cannot_be_run_is_refused_at_once(comfy: Comfy, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the server, an asset that is none, somebody else's job, a key without the scope."""
    picture = {**QUICK, "1": {"class_type": "LoadImage", "inputs": {"image": "../../secret.png"}}}
    missing = {"__type": "core/ASSET", "info": {"id": "0" * 64}}
    lost = {**QUICK, "1": {"class_type": "LoadImage", "inputs": {"image": missing}}}
    for graph, code in ((picture, "forbidden_value"), (lost, "missing_asset")):
        with pytest.raises(ComfyError) as refused:
            comfy.submit(comfy.workflows.from_json(graph))
        assert refused.value.code == code
    job = comfy.submit(comfy.workflows.from_json(QUICK))
    monkeypatch.setenv("COMFY_API_KEY", key_of(world, "rival", "read submit"))
    with Comfy() as rival:
        with pytest.raises(NotFound):
            rival.jobs.get(job.id)
        with pytest.raises(ComfyError) as forbidden:
            rival.submit(rival.workflows.from_json(QUICK))
        assert forbidden.value.http_status == 403 and list(rival.list_jobs()) == []


def test_one_call_waits_for_the_end(world: World) -> None:
    """POST with ?wait answers with the finished job; a retry of it makes the same picture once more."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key_of(world, 'studio')}"
    asked = {"workflow_id": "empty-color", "inputs": {"color": "red", "width": 64, "height": 64}, "tags": ["sync"]}
    made = session.post(f"{world.cloud.api_url}/api/v2/jobs?wait=20", json=asked, timeout=29)
    assert made.status_code == 201 and made.json()["status"] == "succeeded", made.text
    anew = session.post(made.json()["urls"]["retry"] + "?wait=20", timeout=29).json()
    assert anew["status"] == "succeeded" and anew["retry_of"] == made.json()["id"]
    assert (anew["inputs"], len(anew["outputs"])) == (made.json()["inputs"], 1)
    page = session.get(f"{world.cloud.api_url}/api/v2/jobs", params={"tag": "sync"}, timeout=20).json()
    assert [item["id"] for item in page["jobs"]] == [anew["id"], made.json()["id"]]
    assert wait_until(lambda: session.get(anew["urls"]["log"], timeout=20).status_code == 200)
