"""The bridge over HTTP, on the stand-in's real protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from sandbox.comfy import ComfyStandIn
from sandbox.waiting import wait_until
from worker.bridge import Bridge, BridgeServer
from worker.clock import Clock
from worker.comfy.solo import Solo

GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "6": {
        "class_type": "TestSleep",
        "inputs": {"image": ["1", 0], "seconds": 0.01, "steps": 1, "preview": False, "seed": 1},
    },
    "9": {"class_type": "SaveImage", "inputs": {"images": ["6", 0], "filename_prefix": "x"}},
}


class Driven:
    """Hold a running bridge and its address."""

    def __init__(self, comfy: ComfyStandIn, folder: Path, graph: dict[str, Any], *, auto_execute: bool) -> None:
        self.solo = Solo(comfy.url, Clock())
        self.bridge = Bridge(graph, self.solo, folder / "outputs", auto_execute=auto_execute)
        self.server = BridgeServer("127.0.0.1", 0, self.bridge)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = requests.get(f"{self.url}/status", timeout=5).json()
        return told

    def upload(self, color: str = "red", **form: str) -> requests.Response:
        made = BytesIO()
        Image.new("RGB", (16, 16), color).save(made, "PNG")
        files = {"image": ("../photo.png", made.getvalue(), "image/png")}
        return requests.post(f"{self.url}/upload/image", files=files, data=form, timeout=10)

    def ran(self, times: int) -> bool:
        return wait_until(lambda: (now := self.status())["runs"] >= times and not now["running"], 20)


Drive = Callable[..., Driven]


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """Start bridges, and end them."""
    with ComfyStandIn(tmp_path / "comfy", instant=True, test_nodes=True) as comfy:
        started: list[tuple[Driven, list[threading.Thread], Any]] = []

        def start(graph: dict[str, Any] = GRAPH, *, auto_execute: bool = False) -> Driven:
            driven = Driven(comfy, tmp_path, graph, auto_execute=auto_execute)
            listening = driven.solo.listening()
            listening.__enter__()
            threads = [
                threading.Thread(target=driven.bridge.run, daemon=True),
                threading.Thread(target=lambda: driven.server.serve_forever(poll_interval=0.05), daemon=True),
            ]
            for thread in threads:
                thread.start()
            started.append((driven, threads, listening))
            return driven

        yield start
        for driven, threads, listening in started:
            driven.bridge.close()
            driven.server.shutdown()
            driven.server.server_close()
            for thread in threads:
                thread.join(10)
            listening.__exit__(None, None, None)


def test_a_picture_goes_in_and_a_picture_comes_out(drive: Drive) -> None:
    """Upload, run, look: the output is the picture that was sent."""
    driven = drive()
    assert driven.upload("red").json()["queued"] is False
    assert requests.get(f"{driven.url}/queue", timeout=5).json() == {"queued": True}
    assert driven.ran(1)
    status = driven.status()
    assert status["error"] is None
    with Image.open(status["outputs"][0]) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_with_auto_execute_an_upload_runs_it_and_a_burst_runs_the_newest(drive: Drive) -> None:
    """Ten uploads are a few runs, and the last picture is the last run's."""
    driven = drive(auto_execute=True)
    for color in ("red", "green", "blue", "white", "black", "red", "green", "blue", "white", "yellow"):
        driven.upload(color)
    assert wait_until(lambda: not (now := driven.status())["running"] and not now["queued"] and now["runs"], 20)
    status = driven.status()
    assert 1 <= status["runs"] <= 10
    with Image.open(status["outputs"][0]) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 0)


def test_a_text_is_changed_only_where_there_is_one(drive: Drive) -> None:
    """A node without text, an unknown node and a wrong body are told in sentences; nothing runs."""
    graph = {**GRAPH, "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["5", 1]}}}
    driven = drive(graph)

    def post(**body: object) -> tuple[int, str]:
        answer = requests.post(f"{driven.url}/update/prompt", json=body, timeout=5)
        return answer.status_code, str(answer.json().get("error"))

    assert post(node_id="4", text="a cat")[0] == 200
    assert post(node_id="9", text="a cat") == (400, "Node 9 (SaveImage) has no text.")
    assert post(node_id="77", text="a cat")[0] == 400
    assert post(node_id="4")[0] == 400
    plain = requests.post(f"{driven.url}/update/prompt", data="node_id=4", timeout=5)
    assert plain.status_code == 400 and "JSON" in plain.json()["error"]
    assert driven.status()["runs"] == 0


def test_an_interrupt_stops_the_run(drive: Drive) -> None:
    """And says so; without a run it does nothing."""
    wait = {"image": ["1", 0], "seconds": 60, "steps": 600, "preview": False, "seed": 1}
    driven = drive({**GRAPH, "6": {"class_type": "TestSleep", "inputs": wait}})
    assert requests.post(f"{driven.url}/interrupt", timeout=5).json() == {"interrupted": False}
    driven.upload()
    requests.post(f"{driven.url}/queue", timeout=5)
    assert wait_until(lambda: bool(driven.status()["progress"]), 20)
    assert requests.post(f"{driven.url}/interrupt", timeout=5).json() == {"interrupted": True}
    assert driven.ran(1)
    assert driven.status()["error"] == "It was interrupted."


def test_a_failed_run_is_told_and_the_next_one_works(drive: Drive) -> None:
    """The file that the template names is not there; then one is sent."""
    driven = drive()
    requests.get(f"{driven.url}/queue", timeout=5)
    assert driven.ran(1)
    assert "example.png" in driven.status()["error"]
    driven.upload()
    requests.get(f"{driven.url}/queue", timeout=5)
    assert driven.ran(2)
    assert driven.status()["error"] is None


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example:8189"}])
def test_a_web_page_of_another_site_cannot_drive_it(drive: Drive, headers: dict[str, str]) -> None:
    """Neither by its own address nor by a name that was made to lead here."""
    driven = drive()
    answer = requests.post(f"{driven.url}/queue", headers=headers, timeout=5)
    assert answer.status_code == 403
    assert driven.status()["runs"] == 0 and not driven.status()["queued"]


def test_several_loaders_need_a_node_id(drive: Drive) -> None:
    """The sentence names them."""
    driven = drive({**GRAPH, "2": {"class_type": "LoadImage", "inputs": {"image": "b.png"}}})
    answer = driven.upload()
    assert answer.status_code == 400 and "1, 2" in answer.json()["error"]
    assert driven.upload(node_id="2").json()["node_id"] == "2"
    assert driven.upload(node_id="9").status_code == 400
    assert requests.get(f"{driven.url}/nothing", timeout=5).status_code == 404
