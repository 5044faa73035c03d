"""Files that go in, on the deployed app: the unmodified comfy-sdk uploads, and a picture becomes a job's input."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
import requests
from comfy_low.transport import ComfyLow
from PIL import Image

from chalicelib.catalog import push
from chalicelib.contract.manifest import parse_workflow
from infra.workflows import open_blobs
from sandbox.world import Wishes, World
from tests.waiting import wait_until

INVERT: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}
MANIFEST: dict[str, Any] = {
    "name": "Invert",
    "parameters": {"image": {"type": "image", "label": "Image", "sets": {"node": "1", "input": "image"}}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module, with a workflow that takes a picture."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=0)) as world:
        blobs = open_blobs(world.cloud.session(), world.cloud.outputs["Bucket"])
        push(blobs, [parse_workflow("invert", MANIFEST, {}, INVERT, file="invert.yaml")])
        yield world


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
