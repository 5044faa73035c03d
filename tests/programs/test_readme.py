"""The README's examples for programs, run as they stand there against the deployed sandbox."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from sandbox.world import ROOT, World

COLORS = {"teal": 0x00897B, "navy": 0x1A237E}


@pytest.fixture
def examples() -> list[tuple[str, str]]:
    """Give language and text of each example, in their order."""
    section = (ROOT / "README.md").read_text().split("## For programs")[1].split("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def color_of(picture: bytes) -> tuple[int, ...]:
    with Image.open(BytesIO(picture)) as opened:
        pixel = opened.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def pixel_of(name: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(f"{COLORS[name]:06x}"))


@pytest.mark.timeout(300)
def test_the_examples_for_programs_work(world: World, examples: list[tuple[str, str]], tmp_path: Path) -> None:
    """Each as it is written, one after the other, in a folder of its own; what they leave is what they promise."""
    known = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    key = world.keys.maker.new_api("readme")
    env = {**known, "COMFYSHEET_URL": world.cloud.api_url, "COMFYSHEET_KEY": key, "PYTHONPATH": str(ROOT / "client")}
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    commands = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
    assert [language for language, _ in examples] == ["sh", "python", "sh"]
    for language, text in examples:
        run = subprocess.run(
            [*commands[language], text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
        )
        assert run.returncode == 0, f"{text}\n{run.stdout}{run.stderr}"
    left = {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.is_file()}
    told = {name: json.loads(content) for name, content in left.items() if name.endswith(".json")}
    assert told["job.json"]["status"] == told["ended.json"]["status"] == "succeeded"
    assert told["list.json"]["jobs"][0]["id"] == told["job.json"]["id"]
    assert json.loads(left["log.jsonl"].splitlines()[0])
    assert told["count.json"]["count"] == 4 and told["batch.json"]["count"] == 4
    assert told["workers.json"]["workers"][0]["health"] == "ok"
    assert color_of(left["teal.png"]) == color_of(left["teal-2.png"]) == pixel_of("teal")
    [navy] = (tmp_path / "pictures").iterdir()
    assert color_of(navy.read_bytes()) == pixel_of("navy")
