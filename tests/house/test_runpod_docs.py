"""docs/runpod.md and the command say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chalicelib.runpod import Order
from infra.__main__ import parser
from tests.runpod_site import SCHEMA, faults

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/runpod.md").read_text()


def test_the_page_names_every_action_and_its_options_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever copies a line from the page is not told that there is no such option."""
    with pytest.raises(SystemExit):
        parser().parse_args(["runpod", "--help"])
    actions = set(re.findall(r"^    (\w+)  +\w", capsys.readouterr().out, re.MULTILINE))
    assert actions == set(re.findall(r"runpod (up|down|status|gpus|order|key|secrets|template)\b", TEXT))
    known = set()
    for action in actions:
        with pytest.raises(SystemExit):
            parser().parse_args(["runpod", action, "--help"])
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    written = set(re.findall(r"--[a-z][a-z-]+", TEXT)) - {"--build-arg", "--base-directory"}
    assert written <= known, written - known


def test_every_order_and_the_template_fit_runpods_schema() -> None:
    """Also with every field set; and the schema notices a field that it does not know."""
    full = Order(
        image="i",
        gpus=("NVIDIA L4",),
        gpu_count=2,
        volume_id="v",
        data_centers=("EU-RO-1",),
        registry="r",
        env={"A": "b"},
    )
    for order in (full, Order(image="i", gpus=("NVIDIA L4",), min_cuda=None)):
        assert faults("CreatePodRequest", order.body("n", order.gpus[0], "prod")) == []
    template = {**json.loads((ROOT / "infra/runpod/template.json").read_text()), "name": "n", "image": "i", "env": {}}
    assert faults("CreateTemplateRequest", template) == []
    # PATCH takes the same fields (infra/runpod/prepare.py sends them all).
    assert faults("UpdateTemplateRequest", template) == []
    assert faults("CreatePodRequest", {**full.body("n", "g", "prod"), "gpuTypeIds": []}) != []
    assert "interruptible" not in json.dumps(SCHEMA)
