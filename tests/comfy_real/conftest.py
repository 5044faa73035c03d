"""
Run this folder's tests on the stand-in always, and on a real ComfyUI when COMFY_REAL is set (`make test-comfy`).

With COMFY_URL the real one is the server at that address; what needs our test nodes, or a restart, is then left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.comfy_real.server import Given, Real, StandIn

KINDS = ["stand-in", "real"] if os.environ.get("COMFY_REAL") else ["stand-in"]
IS_GIVEN = bool(os.environ.get("COMFY_REAL") and os.environ.get("COMFY_URL"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a server that somebody else runs cannot do, and say so."""
    if not IS_GIVEN:
        return
    left_out = [item for item in items if "ours" in item.keywords and "[real" in item.name]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    print("COMFY_URL is somebody else's server; left out:", ", ".join(item.name for item in left_out))


@pytest.fixture(scope="package", params=KINDS)
def comfy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn | Real | Given]:
    """Run one server for all tests."""
    server = _server(request.param, tmp_path_factory.mktemp("comfy"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=KINDS)
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn | Real | Given]:
    """Run a server that the test may kill."""
    server = _server(request.param, tmp_path)
    server.start()
    yield server
    server.kill()


def _server(kind: str, folder: Path) -> StandIn | Real | Given:
    if kind == "stand-in":
        return StandIn(folder)
    return Given(os.environ["COMFY_URL"].rstrip("/"), folder) if IS_GIVEN else Real(folder)
