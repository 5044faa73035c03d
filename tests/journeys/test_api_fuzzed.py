"""Throw at every published operation of the deployed API what its document allows, and what it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.world import Wishes, World
from tests.sizes import before_release

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module; without a worker, for nothing is to be rendered."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), start_worker=False)) as world:
        yield world


@before_release
@pytest.mark.timeout(420)
def test_no_request_breaks_the_api(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No answer of 500 or more, none that the document does not name, none without a key where one is needed."""
    terms = {"scopes": "read submit raw admin", "rate_per_s": "1000", "burst": "5000"}
    key = world.keys.maker.new_api("fuzzed", terms)
    # A cold function answers its first calls slower than the fuzzer waits for a probe.
    warm = requests.get(f"{world.cloud.api_url}/api/v2/jobs", headers={"Authorization": f"Bearer {key}"}, timeout=60)
    assert warm.status_code == 200
    run = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{world.cloud.api_url}/openapi.json"),
            *("--url", world.cloud.api_url, "--header", f"Authorization: Bearer {key}", "--checks", CHECKS),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "3"),
            *("--request-timeout", "90", "--seed", "1", "--workers", "2"),
            *("--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    figures = re.findall(r"^  (?:Selected|Tested): .*|^  \d+ generated.*", run.stdout, re.MULTILINE)
    with capfd.disabled():
        sys.stdout.write("\n".join(["", "schemathesis:", *figures, ""]))
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
