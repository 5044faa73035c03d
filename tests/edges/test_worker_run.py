"""`python -m worker run`, as its own process, on the stand-in's real protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from sandbox.comfy import ComfyStandIn
from sandbox.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 32, "batch_size": 1, "color": 255}},
    "9": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "x"},
        "_meta": {"title": "Keep"},
    },
}


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyStandIn]:
    with ComfyStandIn(tmp_path_factory.mktemp("comfy"), instant=True, test_nodes=True) as running:
        yield running


class Desk:
    """Start the command in a folder, without anything of a cloud in its environment."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.file = folder / "workflow_api.json"
        self.write(GRAPH)

    def write(self, graph: object) -> None:
        self.file.write_text(json.dumps(graph))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "worker", "run", *arguments, "--url", self.url],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Give exit code, stdout and stderr."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def made(self) -> list[Path]:
        return sorted((self.folder / "outputs").glob("*"))


@pytest.fixture
def desk(tmp_path: Path, comfy: ComfyStandIn) -> Desk:
    return Desk(tmp_path, comfy.url)


def test_it_shows_runs_and_saves(desk: Desk) -> None:
    """Summary, progress in lines (no terminal here), the file on the disk; a second run overwrites nothing."""
    code, out, err = desk.run("workflow_api.json", "--yes")
    assert (code, err) == (0, "")
    assert "2 nodes" in out and "EmptyImage" in out and "Made 1 file" in out
    with Image.open(desk.made()[0]) as picture:
        assert picture.size == (64, 32)
    assert desk.run("workflow_api.json", "--yes")[0] == 0
    assert len(desk.made()) == 2


def test_an_input_is_set_by_id_or_title(desk: Desk) -> None:
    """The value takes the kind of what was there; what changes is shown."""
    code, out, _ = desk.run("workflow_api.json", "--yes", "--set", "1.width=16", "--set", "Keep.filename_prefix=y")
    assert code == 0 and "1.width: 64 → 16" in out
    with Image.open(desk.made()[0]) as picture:
        assert picture.size == (16, 32)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("1.widht=3", "has no input widht. It has: width"),
        ("7.width=3", 'There is no node "7". There are: 1 (EmptyImage)'),
        ("1.width=wide", "width of node 1 is a number"),
        ("1.width=1.5", "is a whole number"),
        ("9.images=3", "comes from node 1: it cannot be set"),
        ("width", "--set takes NODE.INPUT=VALUE"),
    ],
)
def test_a_wrong_change_starts_nothing(desk: Desk, change: str, says: str) -> None:
    """One sentence, exit code 2, nothing rendered."""
    code, _, err = desk.run("workflow_api.json", "--yes", "--set", change)
    assert code == 2 and says in err and "Traceback" not in err
    assert desk.made() == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"nodes": [], "links": []}', "Export (API)"),
        ("{", "is no JSON file"),
        ("[]", "a workflow is a JSON object of nodes"),
        ('{"1": {"class_type": "X"}}', "has no inputs"),
    ],
)
def test_what_is_no_workflow_is_refused(desk: Desk, content: str, says: str) -> None:
    """The editor's own format is told how to export the right one."""
    desk.file.write_text(content)
    code, _, err = desk.run("workflow_api.json", "--yes")
    assert code == 2 and says in err and "Traceback" not in err


def test_without_a_terminal_it_asks_for_yes(desk: Desk) -> None:
    """Nobody can be asked: nothing starts."""
    code, _, err = desk.run("workflow_api.json")
    assert code == 2 and "--yes" in err


def test_a_server_that_is_away_is_named(desk: Desk) -> None:
    """With its address."""
    desk.url = "http://127.0.0.1:9"
    code, _, err = desk.run("workflow_api.json", "--yes")
    assert code == 2 and "No ComfyUI answers at http://127.0.0.1:9" in err


def test_what_comfyui_refuses_or_fails_is_one_sentence(desk: Desk) -> None:
    """Exit code 1: a wrong value, an unknown node, a node that raises, nothing saved."""
    wrong = [
        ({**GRAPH, "1": {"class_type": "EmptyImage", "inputs": {**GRAPH["1"]["inputs"], "width": -5}}}, "at least 1"),
        ({"1": {"class_type": "Missing", "inputs": {}}}, 'no node "Missing"'),
        ({"1": GRAPH["1"]}, "no node that saves"),
    ]
    for graph, says in wrong:
        desk.write(graph)
        code, _, err = desk.run("workflow_api.json", "--yes")
        assert code == 1 and says in err and "Traceback" not in err, (says, err)


def test_ctrl_c_stops_the_run_on_the_server(desk: Desk, comfy: ComfyStandIn) -> None:
    """It says so, exits with 130, and nothing runs there any more."""
    wait = {"image": ["1", 0], "seconds": 30, "steps": 300, "preview": False, "seed": 1}
    save = {"images": ["2", 0], "filename_prefix": "x"}
    sleepy = {"2": {"class_type": "TestSleep", "inputs": wait}, "9": {"class_type": "SaveImage", "inputs": save}}
    desk.write({**GRAPH, **sleepy})

    def running() -> int:
        return len(requests.get(f"{comfy.url}/queue", timeout=5).json()["queue_running"])

    process = desk.start("workflow_api.json", "--yes")
    try:
        assert wait_until(lambda: running() == 1, 30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "stopped on the server" in out
    assert wait_until(lambda: running() == 0, 10)


def test_a_run_record_makes_the_same_picture_again(desk: Desk) -> None:
    """The graph of its first line runs as it is; another version of ComfyUI is told."""
    record = desk.folder / "1.jsonl"
    first = {"kind": "run", "graph": GRAPH, "comfyui": "0.3.75", "files": []}
    record.write_text(json.dumps(first) + "\n" + json.dumps({"kind": "end"}) + "\n")
    code, out, _ = desk.run("--record", "1.jsonl", "--yes")
    assert code == 0 and "made with ComfyUI 0.3.75" in " ".join(out.split())
    assert len(desk.made()) == 1
    code, _, err = desk.run("--record", "1.jsonl", "--yes", "--set", "1.width=3")
    assert code == 2 and "nothing is changed" in err
    record.write_text("{}\n")
    assert "no run record" in desk.run("--record", "1.jsonl", "--yes")[2]


def test_a_records_input_files_are_asked_for_and_checked(desk: Desk) -> None:
    """By name and sha256: the wrong picture would make another one."""
    import hashlib

    Image.new("RGB", (8, 8), "red").save(desk.folder / "a.png")
    Image.new("RGB", (8, 8), "blue").save(desk.folder / "b.png")
    sha256 = hashlib.sha256((desk.folder / "a.png").read_bytes()).hexdigest()
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "cs/j/1/photo.png"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    named = {"parameter": "photo", "name": "cs/j/1/photo.png", "sha256": sha256}
    (desk.folder / "1.jsonl").write_text(json.dumps({"kind": "run", "graph": graph, "files": [named]}) + "\n")
    assert "Name each with --input" in desk.run("--record", "1.jsonl", "--yes")[2]
    assert "is not the file" in desk.run("--record", "1.jsonl", "--yes", "--input", "photo=b.png")[2]
    code, _, err = desk.run("--record", "1.jsonl", "--yes", "--input", "photo=a.png")
    assert code == 0, err
    with Image.open(desk.made()[0]) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_it_loads_nothing_of_a_cloud() -> None:
    """It runs on a machine that has no AWS library at all."""
    code = "import sys, worker.run, worker.bridge; sys.exit(any(name.startswith('boto') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
