"""The Python client, its command and its examples against the deployed app: a program's whole way."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfysheet import AsyncComfySheet, ComfySheet, JobCanceled, JobFailed, JobInfo, NotFound, Rejected, Unauthorized
from sandbox.world import World

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "client/examples"
INVERT: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}
SLOW = {"prompt": "a fox", "width": 64, "height": 64, "steps": 150}


@dataclass(frozen=True)
class Place:
    """Hold what a program is told: where the API is, and its key."""

    url: str
    key: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "client"),
            "COMFYSHEET_URL": self.url,
            "COMFYSHEET_KEY": self.key,
        }

    def program(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of Python's to its end."""
        started = [sys.executable, *command]
        return subprocess.run(started, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module")
def place(world: World) -> Place:
    """Make a key that may send graphs."""
    return Place(world.cloud.api_url, world.keys.maker.new_api("atelier", {"scopes": "read submit raw admin"}))


@pytest.fixture
def sheet(place: Place) -> Iterator[ComfySheet]:
    with ComfySheet(place.url, place.key) as sheet:
        yield sheet


def picture(color: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (24, 24), color).save(file, "PNG")
    return file.getvalue()


def first_pixel(path: Path) -> Any:
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((0, 0))


def test_run_blocks_tells_its_progress_and_saves(sheet: ComfySheet, tmp_path: Path) -> None:
    """From a workflow's id to a file on disk whose hash was checked; the seed that was drawn is told."""
    told: list[JobInfo] = []
    result = sheet.run("txt2img-sdxl", {**SLOW, "steps": 60}, progress=told.append, tags=["a"], metadata={"shot": "12"})
    assert told[-1].status == "succeeded" and any(job.progress and job.progress.fraction < 1 for job in told)
    assert isinstance(result.job.inputs["seed"], int) and result.job.info.tags == ("a",)
    saved = result.save_all(tmp_path)
    assert len(saved) == 1 and Image.open(saved[0]).size == (64, 64)
    assert saved[0].stat().st_size == result.outputs[0].size_bytes
    assert json.loads(result.job.log().splitlines()[0])["kind"] == "run"
    assert [job.id for job in sheet.jobs(tag="a")] == [result.job.id]


def test_a_picture_goes_up_and_comes_back_changed(sheet: ComfySheet, tmp_path: Path) -> None:
    """A `Path` as an input is uploaded, small or large (through the bucket), and the job works on it."""
    (tmp_path / "in.png").write_bytes(picture("red"))
    result = sheet.run("invert", image=tmp_path / "in.png")
    assert first_pixel(result.outputs[0].save(tmp_path / "out.png")) == (0, 255, 255)
    Image.frombytes("RGB", (400, 400), os.urandom(480_000)).save(tmp_path / "large.png")
    asset = sheet.upload(tmp_path / "large.png")
    assert asset.size_bytes > 256 * 1024
    assert sheet.run("invert", image=asset).outputs[0].size_bytes > 0
    with ComfySheet(sheet.url, sheet._line.api.key) as other:
        assert other.upload(tmp_path / "large.png").id == asset.id


def test_a_raw_graph_runs_with_a_file_in_it(sheet: ComfySheet, tmp_path: Path) -> None:
    """What is in no catalog: the graph itself, its picture uploaded on the way."""
    (tmp_path / "in.png").write_bytes(picture("blue"))
    graph = {**INVERT, "1": {"class_type": "LoadImage", "inputs": {"image": tmp_path / "in.png"}}}
    assert first_pixel(sheet.run_graph(graph).outputs[0].save(tmp_path)) == (255, 255, 0)


def test_the_catalog_is_shown(sheet: ComfySheet) -> None:
    """All workflows by id; one with what may be set."""
    assert {"empty-color", "invert", "txt2img-sdxl"} <= {workflow.id for workflow in sheet.workflows()}
    workflow = sheet.workflow("empty-color")
    assert [one["name"] for one in workflow.parameters] == ["color", "width", "height"]
    with pytest.raises(NotFound):
        sheet.workflow("no-such")


def test_one_key_is_one_job(sheet: ComfySheet) -> None:
    """A submission repeated under its key finds its job; another request under it is refused."""
    first = sheet.submit("empty-color", idempotency_key="fox 1", color="red")
    assert sheet.submit("empty-color", idempotency_key="fox 1", color="red").id == first.id
    with pytest.raises(Rejected, match="stands for another request") as refusal:
        sheet.submit("empty-color", idempotency_key="fox 1", color="blue")
    assert refusal.value.code == "idempotency_key_reuse"
    assert first.wait(60).status == "succeeded"
    again = first.retry()
    assert again.id != first.id and again.wait(60).info.raw["retry_of"] == first.id


def test_a_job_that_fails_or_is_cancelled_says_so(sheet: ComfySheet) -> None:
    """The error has the node; a cancelled job ends at once, also while it runs."""
    graph = {
        "1": {"class_type": "TestRaise", "inputs": {"kind": "oom", "seed": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    with pytest.raises(JobFailed, match="node 1, TestRaise") as failed:
        sheet.run_graph(graph)
    assert failed.value.job.error and failed.value.job.error.code
    slow = sheet.submit("txt2img-sdxl", SLOW)
    assert slow.cancel().status == "canceled"
    with pytest.raises(JobCanceled):
        slow.result()


def test_refusals_are_the_servers_sentences(sheet: ComfySheet, place: Place) -> None:
    """An unknown workflow, a wrong value, somebody else's job, a wrong key."""
    with pytest.raises(Rejected, match="empty-color"):
        sheet.submit("empty-colour")
    with pytest.raises(Rejected):
        sheet.submit("empty-color", width="wide")
    with pytest.raises(NotFound):
        sheet.job("3fa85f64-5717-4562-b3fc-2c963f66afa6")
    with ComfySheet(place.url, place.key[:-1] + "x") as stranger, pytest.raises(Unauthorized):
        stranger.submit("empty-color")


def test_map_and_map_again(place: Place, tmp_path: Path) -> None:
    """Rows come back as they are ready; under one key the second run makes nothing new. Both clients agree."""
    rows = [{"color": color, "width": 64, "height": 64} for color in ("red", "#00ff00", "blue", "white", "black")]
    with ComfySheet(place.url, place.key) as sheet:
        made = {done.index: done.unwrap().job.id for done in sheet.map("empty-color", rows, in_flight=3, key="rgb")}

    async def again() -> dict[int, str]:
        async with AsyncComfySheet(place.url, place.key) as sheet:
            found = {}
            async for done in sheet.map("empty-color", rows, in_flight=3, key="rgb"):
                result = done.unwrap()
                found[done.index] = result.job.id
                path = await result.outputs[0].save(tmp_path / f"{done.index}.png")
                assert path.stat().st_size
            return found

    assert asyncio.run(again()) == made and len(set(made.values())) == 5
    assert first_pixel(tmp_path / "1.png") == (0, 255, 0)


def test_the_command_works_in_a_shell(place: Place, tmp_path: Path) -> None:
    """What the README types: run, submit, wait, status, logs, cancel."""

    def typed(*words: str) -> str:
        done = place.program("-m", "comfysheet", *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout.strip()

    assert first_pixel(tmp_path / typed("run", "empty-color", "-p", "color=#000080", "-o", "out")) == (0, 0, 128)
    job_id = typed("submit", "empty-color", "-p", "width=64")
    assert typed("wait", job_id, "-o", "out").startswith("out/")
    assert json.loads(typed("status", job_id, "--json"))["status"] == "succeeded"
    assert '"kind"' in typed("logs", job_id) and job_id in typed("status")
    assert "invert\tInvert" in typed("workflows") and "height\tinteger" in typed("workflows", "empty-color")
    assert typed("cancel", job_id).startswith(f"{job_id}\tsucceeded")
    wrong = place.program("-m", "comfysheet", "run", "empty-colour", cwd=tmp_path)
    assert wrong.returncode == 2 and "empty-color" in wrong.stderr


@pytest.mark.parametrize(
    ("example", "files"),
    [
        ("hello.py", {"hello.png"}),
        ("map_csv.py", {"001", "002", "003", "004"}),
        ("many_async.py", {"orchid-64.png", "orchid-128.png", "orchid-256.png"}),
        ("raw_graph.py", {"out"}),
    ],
)
def test_examples_run(place: Place, tmp_path: Path, example: str, files: set[str]) -> None:
    """Each example does what it says, in an empty folder."""
    done = place.program(str(EXAMPLES / example), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    made = list(tmp_path.rglob("*.png"))
    names = {path.name if example != "map_csv.py" else path.name[:3] for path in made}
    assert files == {"out"} or names == files
    assert made and all(Image.open(path).size for path in made)
