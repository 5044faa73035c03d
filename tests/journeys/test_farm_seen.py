"""What a program sees of a real worker while it renders, and of the queue, over HTTP and the deployed stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.waiting import wait_until
from sandbox.world import Wishes, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=300, start_worker=False)) as world:
        yield world


class Program:
    """Speak with the API under one key."""

    def __init__(self, world: World, client: str) -> None:
        self.api = world.cloud.api_url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {world.keys.maker.new_api(client)}"

    def submit(self, prompt: str, **inputs: Any) -> dict[str, Any]:
        asked = {"prompt": prompt, "width": 64, "height": 64, "steps": 20, **inputs}
        body = {"workflow_id": "txt2img-sdxl", "inputs": asked}
        made = self.session.post(f"{self.api}/api/v2/jobs", json=body, timeout=20)
        return {"http": made.status_code, **made.json()}

    def get(self, path: str) -> Any:
        answer = self.session.get(f"{self.api}/api/v2/{path}", timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def worker(self, query: str = "") -> dict[str, Any]:
        workers = self.get(f"workers{query}")["workers"]
        return workers[0] if workers else {"current_jobs": [], "health": "none"}


def test_a_program_sees_the_worker_that_renders_its_job(world: World) -> None:
    """
    Its own job by id, of another's no more than that the worker is busy; the queue before, while and after; and the
    prompt that was written out of the template it sent.
    """
    program, stranger = Program(world, "studio-a"), Program(world, "studio-b")
    assert program.get("workers") == {"workers": []}
    job = program.submit("a {red|red} {{Animal}}", Animal="fox", seed=7)
    assert (job["http"], job["inputs"]["prompt"]) == (201, "a red fox")
    assert job["templates"] == {"prompt": "a {red|red} {{Animal}}"}
    wrong = program.submit("a {{anmal}}", Animal="fox")
    assert wrong["http"] == 422 and wrong["error"]["message"].endswith("did you mean Animal?")
    told = program.get("queue")
    assert (told["yours"]["queued"], told["waiting"], told["workers"], told["yours"]["eta_s"]) == (1, 1, 0, None)
    assert told["yours"]["oldest_age_s"] >= 0 and stranger.get("queue")["yours"]["queued"] == 0

    worker = world.start_worker()
    assert wait_until(lambda: program.worker()["current_jobs"] == [job["id"]]), worker.tail()
    seen = program.worker("?models=1")
    assert (seen["health"], seen["busy"], seen["health_text"]) == ("ok", True, "It takes jobs.")
    [server] = seen["servers"]
    assert server["is_open"] and server["slots"] >= 1 and server["vram_total_bytes"] > 0
    assert server["comfyui_version"] != "unknown" and server["gpu"] != "unknown"
    assert seen["models"]["checkpoints"] == len(seen["model_files"]["checkpoints"]) > 0
    assert stranger.worker()["current_jobs"] == [] and stranger.worker()["health"] == "ok"
    told = program.get("queue")
    assert (told["yours"]["running"], told["workers"], told["servers"]) == (1, 1, 1)
    assert wait_until(lambda: program.get(f"jobs/{job['id']}")["status"] == "succeeded"), worker.tail()
    assert program.get("queue")["yours"] == {"queued": 0, "running": 0, "oldest_age_s": None, "eta_s": None}
    assert wait_until(lambda: program.get("queue")["in_hand"] == 0)
