"""Files that go in, on the deployed app: the unmodified comfy-sdk uploads, and a picture becomes a job's input."""

from __future__ import annotations

import hashlib
import random
from io import BytesIO
from typing import Any

import requests
from comfy_low.transport import ComfyLow
from PIL import Image

from sandbox.waiting import wait_until
from sandbox.world import World


class Program:
    """Speak with the API under one key."""

    def __init__(self, world: World, client: str) -> None:
        self.key = world.keys.maker.new_api(client)
        self.api = f"{world.cloud.api_url}/api/v2"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {self.key}"

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, f"{self.api}{path}", timeout=30, **options)

    def ended(self, asked: dict[str, Any]) -> dict[str, Any]:
        made = self.ask("POST", "/jobs", json=asked)
        assert made.status_code == 201, made.text
        path = f"/jobs/{made.json()['id']}"
        assert wait_until(lambda: self.ask("GET", path).json()["status"] in ("succeeded", "failed", "canceled"))
        return dict(self.ask("GET", path).json())


def picture(color: str = "navy", size: int = 24) -> bytes:
    file = BytesIO()
    Image.new("RGB", (size, size), color).save(file, "PNG")
    return file.getvalue()


def test_the_sdk_uploads_finds_again_and_downloads(world: World) -> None:
    """A form goes up byte for byte, its probe finds it, content leads to it; another client sees none of it."""
    program, stranger = Program(world, "studio-a"), Program(world, "studio-b")
    content = picture()
    low = ComfyLow(world.cloud.api_url, program.key)
    first = low.post_assets(BytesIO(content), "image/png", "ein Füchs.png")
    assert (first.created_new, first.size_bytes, first.file_path) == (True, len(content), "ein Füchs.png")
    assert first.id == hashlib.sha256(content).hexdigest() and first.hash is not None
    again = low.post_assets(BytesIO(content), "image/png", "other.png", expected_hash=first.hash)
    assert (again.id, again.created_new, again.file_path) == (first.id, False, "ein Füchs.png")
    assert low.head_asset_by_hash(first.hash) and not low.head_asset_by_hash("blake3:" + "0" * 64)
    assert low.asset_from_hash(first.hash).id == first.id
    with low.get_asset_content(first.id) as answer:
        answer.read()
        assert answer.content == content
    assert low.get_asset(first.id).content_type == "image/png"
    assert stranger.ask("GET", f"/assets/{first.id}").status_code == 404
    assert stranger.ask("HEAD", f"/assets/by-hash/{first.hash}").status_code == 404
    low.delete_asset(first.id)
    assert not low.head_asset_by_hash(first.hash)
    assert program.ask("GET", f"/assets/{first.id}").status_code == 404


def test_a_picture_goes_in_and_what_came_out_goes_in_again(world: World) -> None:
    """An upload is a job's input, and that job's output the next one's: inverted twice it is the first again."""
    program = Program(world, "studio-c")
    content = picture("orange")
    sent = program.ask("POST", "/assets", files={"file": ("fox.png", content, "image/png")})
    assert sent.status_code == 201, sent.text
    first = program.ended({"workflow_id": "invert", "inputs": {"image": f"asset:{sent.json()['id']}"}})
    assert first["status"] == "succeeded", first["error"]
    [made] = first["outputs"]
    second = program.ended({"workflow_id": "invert", "inputs": {"image": f"asset:{made['id']}"}})
    assert second["status"] == "succeeded", second["error"]
    again = program.ask("GET", f"/assets/{second['outputs'][0]['id']}/content").content
    assert Image.open(BytesIO(again)).convert("RGB").getpixel((0, 0)) == (255, 165, 0)
    stranger = Program(world, "studio-d")
    for asset_id in (sent.json()["id"], made["id"]):
        refused = stranger.ask(
            "POST", "/jobs", json={"workflow_id": "invert", "inputs": {"image": f"asset:{asset_id}"}}
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "missing_asset")


def test_a_large_file_goes_up_past_the_api(world: World) -> None:
    """A form of 5 MB is refused with the way to do it; that way leads to an asset that a job reads."""
    program = Program(world, "studio-e")
    file = BytesIO()
    Image.frombytes("RGB", (1300, 1300), random.Random(1).randbytes(1300 * 1300 * 3)).save(file, "PNG")
    content = file.getvalue()
    assert len(content) > 5_000_000
    refused = program.ask("POST", "/assets", files={"file": ("big.png", content, "image/png")})
    assert refused.status_code == 413 and "/api/v2/assets/uploads" in refused.json()["error"]["message"]
    asked = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "content_type": "image/png",
        "filename": "big.png",
    }
    begun = program.ask("POST", "/assets/uploads", json=asked).json()
    assert program.ask("POST", f"/assets/uploads/{begun['id']}/complete").status_code == 409
    upload = begun["upload"]
    put = requests.request(upload["method"], upload["url"], data=content, headers=upload["headers"], timeout=60)
    assert put.status_code == 200, put.text
    asset = program.session.post(begun["complete_url"], timeout=20).json()
    assert (asset["id"], asset["size_bytes"], asset["file_path"]) == (begun["id"], len(content), "big.png")
    job = program.ended({"workflow_id": "invert", "inputs": {"image": f"asset:{asset['id']}"}})
    assert job["status"] == "succeeded", job["error"]
    assert program.ask("POST", "/assets/uploads", json=asked).json()["asset"]["id"] == begun["id"]


def test_a_batch_runs_to_its_end(world: World) -> None:
    """Counted first, made once however often it is sent, shown with its files, which need no key."""
    program = Program(world, "studio-f")
    job = {"workflow_id": "empty-color", "inputs": {"width": 64, "height": 64}}
    asked = {"job": job, "expand": {"color": ["red", "blue", "#33aaff"], "width": "64..128..64"}, "tags": ["palette"]}
    plan = program.ask("POST", "/batches", json={**asked, "dry_run": True}).json()
    assert (plan["count"], plan["rejected"], plan["inputs"][1]) == (6, [], {"color": "red", "width": 128, "height": 64})
    key = {"Idempotency-Key": "palette-1"}
    answers = [program.ask("POST", "/batches", json=asked, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1
    url = answers[0].json()["urls"]["self"]

    def shown() -> dict[str, Any]:
        return dict(program.session.get(url, timeout=20).json())

    assert wait_until(lambda: shown()["is_done"]), shown()
    batch = shown()
    assert (batch["counts"]["succeeded"], batch["count"], batch["tags"]) == (6, 6, ["palette"])
    for row in batch["jobs"]:
        [link] = row["outputs"]
        assert Image.open(BytesIO(requests.get(link, timeout=20).content)).width == row["inputs"]["width"]
    assert program.session.post(batch["urls"]["cancel"], timeout=20).json()["counts"]["succeeded"] == 6
    assert Program(world, "studio-g").session.get(url, timeout=20).status_code == 404


def test_the_simple_forms_run_a_job(world: World) -> None:
    """POST /generate, GET /tasks/{id} until SUCCESS, and the file behind download_url."""
    program = Program(world, "studio-h")
    root = program.api.removesuffix("/api/v2")
    asked = {"workflow_id": "empty-color", "params": {"color": "red", "width": 64, "height": 64}}
    task = program.session.post(f"{root}/generate", json=asked, timeout=20)
    assert task.status_code == 202, task.text

    def shown() -> dict[str, Any]:
        return dict(program.session.get(f"{root}/tasks/{task.json()['task_id']}", timeout=20).json())

    assert wait_until(lambda: shown()["status"] == "SUCCESS"), shown()
    answer = requests.get(shown()["result"]["download_url"], timeout=20)
    assert Image.open(BytesIO(answer.content)).convert("RGB").getpixel((0, 0)) == (229, 57, 53)
