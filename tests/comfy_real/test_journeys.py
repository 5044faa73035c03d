"""The worker's whole day on a ComfyUI, with the cloud in memory: one suite, on the stand-in and on a real ComfyUI."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from chalicelib.contract.graph import isolate
from chalicelib.contract.job import output_prefix, prompt_id_of, run_key
from chalicelib.contract.parameter import Parameter, Place
from sandbox.waiting import wait_until
from tests.comfy_real.graphs import drawing, empty, failing, node, slow
from tests.comfy_real.server import ComfyServer
from tests.comfy_real.shop import RealShop
from worker.ports import Event

ours = pytest.mark.ours


@ours
def test_jobs_become_pictures_and_leave_nothing_behind(comfy: ComfyServer, tmp_path: Path) -> None:
    """Twelve jobs: each its own picture, a record and a hint; no message, no history, no file is left."""
    with RealShop(comfy.url, tmp_path).open() as shop:
        ids = [shop.submit(drawing(color=number * 1000)) for number in range(12)]
        for number, job_id in enumerate(ids):
            job = shop.ended(job_id)
            assert job.state == "succeeded", job.error
            [output] = job.outputs
            assert output.key.startswith(output_prefix(job.client_id, job_id, 1))
            with Image.open(BytesIO(shop.content(output.key))) as picture:
                red, green, blue = picture.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
                assert (red << 16) + (green << 8) + blue == number * 1000
            assert wait_until(lambda job_id=job_id: shop.comfy.ended(prompt_id_of(job_id, 1)) is None, 10)  # type: ignore[misc]
        assert wait_until(lambda: not shop.inbox.messages, 10)
        assert {hint.job_id for hint, _ in shop.hints.sent} == set(ids)
        left = [comfy.folder / "output" / "cs" / job_id for job_id in ids]
        assert wait_until(lambda: not any(folder.exists() for folder in left), 10)


def test_the_run_record_says_what_was_done(comfy: ComfyServer, tmp_path: Path) -> None:
    """Graph, version, events with times, nodes' durations, verdict, uploads."""
    with RealShop(comfy.url, tmp_path).open() as shop:
        job = shop.ended(shop.submit(drawing()))
        record = shop.content(run_key(job.client_id, job.job_id, 1)).decode()
    lines = [json.loads(line) for line in record.splitlines()]
    assert lines[0]["kind"] == "run" and lines[-1]["kind"] == "end"
    assert lines[0]["graph"]["9"]["inputs"]["filename_prefix"] == f"cs/{job.job_id}/1/9"
    assert lines[0]["comfyui"] and len(lines[0]["graph_hash"]) == 64
    kinds = {line["kind"] for line in lines}
    assert {"run", "event", "node", "history", "upload", "end"} <= kinds
    assert lines[-1]["verdict"] == "made"
    [upload] = [line for line in lines if line["kind"] == "upload"]
    assert upload["sha256"] == job.outputs[0].sha256


@ours
def test_the_first_file_goes_up_while_the_graph_still_runs(comfy: ComfyServer, tmp_path: Path) -> None:
    """A picture is saved at once, another after two seconds: the first is in the bucket before the end."""
    graph = {**slow(2.0, steps=20), "8": node("SaveImage", images=["1", 0], filename_prefix="y")}
    with RealShop(comfy.url, tmp_path).open() as shop:
        job_id = shop.submit(graph)
        job = shop.job(job_id)
        stem = output_prefix(job.client_id, job_id, 1)
        assert wait_until(lambda: any(key.startswith(stem) for key in shop.blobs.files), 20)
        assert shop.job(job_id).state == "running"
        ended = shop.ended(job_id)
        assert len(ended.outputs) == 2
        record = shop.content(run_key(job.client_id, job_id, 1)).decode()
    early = [line["early"] for line in map(json.loads, record.splitlines()) if line["kind"] == "upload"]
    assert early[0] is True


@ours
def test_an_input_picture_comes_out_again(comfy: ComfyServer, tmp_path: Path) -> None:
    """From a data URI through ComfyUI's input folder into the graph; the record knows its hash."""
    made = BytesIO()
    Image.new("RGB", (8, 8), (0, 0, 250)).save(made, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(made.getvalue()).decode()
    photo = Parameter(name="photo", type="image", sets=(Place(node="1", input="image"),))
    graph = {
        "1": node("LoadImage", image="example.png"),
        "9": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }
    with RealShop(comfy.url, tmp_path).open() as shop:
        job = shop.ended(shop.submit(graph, parameters=(photo,), inputs={"photo": uri}))
        assert job.state == "succeeded", job.error
        with Image.open(BytesIO(shop.content(job.outputs[0].key))) as picture:
            assert picture.convert("RGB").getpixel((0, 0)) == (0, 0, 250)
        record = json.loads(shop.content(run_key(job.client_id, job.job_id, 1)).decode().splitlines()[0])
        assert record["files"][0]["parameter"] == "photo" and len(record["files"][0]["sha256"]) == 64
        assert wait_until(lambda: not (comfy.folder / "input" / "cs" / job.job_id).exists(), 10)


@ours
def test_a_node_that_raises_fails_the_job_with_its_reason(comfy: ComfyServer, tmp_path: Path) -> None:
    """One attempt; the cell's sentence has no path, the record has the traceback."""
    with RealShop(comfy.url, tmp_path).open() as shop:
        job = shop.ended(shop.submit(failing()))
        assert (job.state, job.attempt) == ("failed", 1)
        assert job.error is not None
        assert job.error.text == "TestRaise failed: deliberate failure with secret path …"
        record = shop.content(run_key(job.client_id, job.job_id, 1)).decode()
    [history] = [line for line in map(json.loads, record.splitlines()) if line["kind"] == "history"]
    assert history["error"]["traceback"] and history["status"] == "error"


def test_a_graph_that_lacks_something_everywhere_fails_with_the_nearest_names(
    comfy: ComfyServer, tmp_path: Path
) -> None:
    """A node that no server has: before anything is submitted."""
    graph = {"1": node("EmptyImag"), "9": node("SaveImage", images=["1", 0], filename_prefix="x")}
    with RealShop(comfy.url, tmp_path).open() as shop:
        job = shop.ended(shop.submit(graph))
    assert job.error is not None
    assert job.error.text == 'No running ComfyUI has the node "EmptyImag".'
    assert "EmptyImage" in job.error.hint


@ours
def test_a_cancelled_job_is_stopped_within_a_moment(comfy: ComfyServer, tmp_path: Path) -> None:
    """Its next progress finds the lease gone; nothing runs on the server any more."""
    with RealShop(comfy.url, tmp_path).open() as shop:
        job_id = shop.submit(slow(60, steps=600))
        assert wait_until(lambda: shop.comfy.queue_length() == 1, 20)
        shop.ledger.cancel(job_id, now=shop.clock.now_ms())
        assert wait_until(lambda: shop.comfy.queue_length() == 0, 20)
        assert shop.job(job_id).state == "canceled"
        assert wait_until(lambda: not shop.inbox.messages, 10)


@ours
def test_a_restarted_worker_takes_over_what_still_runs(comfy: ComfyServer, tmp_path: Path) -> None:
    """Its former attempt's prompt is followed to the end and not rendered again."""
    graph = slow(1.5)
    shop = RealShop(comfy.url, tmp_path)
    job_id = shop.submit(graph)
    shop.ledger.claim(job_id, 1, owner="dead", token="t", now=shop.clock.now_ms() - 120_000, lease_ms=1)
    shop.comfy.submit(isolate(graph, f"cs/{job_id}/1"), prompt_id_of(job_id, 1), None)
    with shop.open():
        job = shop.ended(job_id)
        assert (job.state, job.attempt) == ("succeeded", 2)
        assert job.outputs[0].key.startswith(output_prefix(job.client_id, job_id, 2))
        assert shop.comfy.ended(prompt_id_of(job_id, 2)) is None


@ours
def test_a_server_that_dies_mid_job_costs_an_attempt_and_no_job(mortal: ComfyServer, tmp_path: Path) -> None:
    """Killed and started again: the job goes back to the queue and is made by the next attempt."""
    with RealShop(mortal.url, tmp_path).open() as shop:
        job_id = shop.submit(slow(4, steps=40))
        assert wait_until(lambda: shop.comfy.queue_length() == 1, 20)
        mortal.kill()
        mortal.start()
        job = shop.ended(job_id, 90)
    assert (job.state, job.attempt) == ("succeeded", 2)
    assert job.last_error is not None and job.last_error.code in ("prompt_lost", "unavailable")


class Listener:
    """Keep the events that were told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def send(self, events: list[Event]) -> int:
        self.events += events
        return 0


@ours
def test_progress_reaches_the_job_and_the_bus(comfy: ComfyServer, tmp_path: Path) -> None:
    """Fractions that never go back, the node at work, its steps; events in the order of the job's life."""
    bus = Listener()
    with RealShop(comfy.url, tmp_path, bus=bus).open() as shop:
        job_id = shop.submit(slow(5, steps=50))
        seen: list[float] = []

        def note() -> bool:
            progress = shop.job(job_id).progress
            if progress is not None:
                seen.append(progress.fraction)
            return shop.job(job_id).state == "succeeded"

        assert wait_until(note, 60, 0.1)
    assert seen == sorted(seen) and len(set(seen)) >= 2
    told = [event.kind for event in bus.events if event.detail.get("job_id") == job_id]
    assert told[0] == "Job Started" and told[-1] == "Upload Complete"
    assert "Node Progress Update" in told
    steps = next(event.detail for event in bus.events if event.kind == "Node Progress Update")
    assert steps["max_progress"] == 50 and steps["queue_id"] == job_id and 0 < float(str(steps["percentage"])) < 100


MEDIA = {
    "SaveAnimatedWEBP": (
        {"images": ["1", 0], "fps": 6.0, "lossless": True, "quality": 80, "method": "default"},
        ("image/webp", "image"),
    ),
    "SaveAnimatedPNG": ({"images": ["1", 0], "fps": 6.0, "compress_level": 4}, ("image/png", "image")),
    "SaveWEBM": ({"images": ["1", 0], "codec": "vp9", "fps": 6.0, "crf": 32.0}, ("video/webm", "video")),
    "SaveVideo": ({"video": ["2", 0], "format": "mp4", "codec": "h264"}, ("video/mp4", "video")),
    "SaveAudio": ({"audio": ["3", 0]}, ("audio/flac", "audio")),
    "SaveAudioMP3": ({"audio": ["3", 0], "quality": "V0"}, ("audio/mpeg", "audio")),
    "SaveAudioOpus": ({"audio": ["3", 0], "quality": "128k"}, ("audio/ogg", "audio")),
}


@pytest.mark.parametrize("saver", MEDIA)
def test_every_kind_of_file_is_brought_with_its_type_and_thumbnail(
    comfy: ComfyServer, tmp_path: Path, saver: str
) -> None:
    """Animations, films and sounds; a server without the node says so instead."""
    inputs, (content_type, kind) = MEDIA[saver]
    graph = {
        "1": empty(width=64, height=64, batch_size=6),
        "9": node(saver, filename_prefix="x", **inputs),
    }
    if saver == "SaveVideo":
        graph["2"] = node("CreateVideo", images=["1", 0], fps=6.0)
    if kind == "audio":
        graph["3"] = node("EmptyAudio", duration=0.5, sample_rate=44100, channels=2)
    with RealShop(comfy.url, tmp_path).open() as shop:
        known = set(shop.comfy.object_info())
        job = shop.ended(shop.submit(graph))
        if not {told["class_type"] for told in graph.values()} <= known:
            assert job.error is not None and job.error.code == "missing_node"
            return
        assert job.state == "succeeded", job.error
        [output] = job.outputs
        assert (output.content_type, output.kind) == (content_type, kind)
        assert output.thumbnail_key is not None
        with Image.open(BytesIO(shop.content(output.thumbnail_key))) as small:
            assert small.size > (0, 0)
        if kind != "image":
            assert output.duration_s is not None and 0.4 < output.duration_s < 1.5


def test_a_text_becomes_a_text_file(comfy: ComfyServer, tmp_path: Path) -> None:
    """PreviewAny shows a value: that is what was made."""
    graph = {"1": node("PrimitiveString", value="a fox"), "9": node("PreviewAny", source=["1", 0])}
    with RealShop(comfy.url, tmp_path).open() as shop:
        known = set(shop.comfy.object_info())
        job = shop.ended(shop.submit(graph))
        if not {"PrimitiveString", "PreviewAny"} <= known:
            assert job.error is not None and job.error.code == "missing_node"
            return
        [output] = job.outputs
        assert (output.kind, shop.content(output.key)) == ("text", b"a fox")
