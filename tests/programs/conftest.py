"""Give programs one world for all of these files: nothing here stops it or changes what others see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.contract.manifest import parse_workflow
from chalicelib.publish import Publisher
from infra.workflows import open_blobs
from sandbox.world import Wishes, World

INVERT: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}
MANIFEST: dict[str, Any] = {
    "name": "Invert",
    "parameters": {"image": {"type": "image", "label": "Image", "sets": {"node": "1", "input": "image"}}},
}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run a world with a worker, test nodes that fail when asked to, and a workflow that takes a picture."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), test_nodes=True)) as world:
        blobs = open_blobs(world.cloud.session(), world.cloud.outputs["Bucket"])
        publisher = Publisher(blobs, lambda: time.time_ns() // 1_000_000)
        publisher.push([parse_workflow("invert", MANIFEST, {}, INVERT, file="invert.yaml")], by="the test")
        yield world
