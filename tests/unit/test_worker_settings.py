"""Judge how the worker reads its environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.worker_fakes import ENVIRONMENT, settings
from worker.settings import SettingsError, read_settings


def test_defaults_are_the_documented_ones() -> None:
    """With only the places set, durations are those of the design's table."""
    read = settings()
    assert read.comfy_urls == ("http://127.0.0.1:8188",)
    assert (read.slots, read.lease_s, read.heartbeat_s, read.visibility_s, read.clock_skew_s) == (2, 60, 15, 90, 10)
    assert (read.stall_s, read.poll_up_s, read.poll_down_s, read.wait_s) == (300, 10, 2, 20)
    assert (read.log_level, read.log_format) == ("info", "json")
    assert read.jobs_dlq_url is None


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"COMFY_URL": "http://a:1/"}, "http://a:1"),
        ({"COMFY_API": "https://b:2"}, "https://b:2"),
        ({"COMFYUI_HOST": "c", "COMFYUI_PORT": "3"}, "http://c:3"),
        ({"COMFYUI_HOST": "c"}, "http://c:8188"),
        ({"COMFYUI_PORT": "9"}, "http://127.0.0.1:9"),
        ({"COMFY_URL": "http://a:1", "COMFYUI_HOST": "c"}, "http://a:1"),
    ],
)
def test_comfyui_is_found_under_each_name(given: dict[str, str], url: str) -> None:
    """COMFY_URL, then COMFY_API, then COMFYUI_HOST with COMFYUI_PORT."""
    assert settings(**given).comfy_urls == (url,)


def test_region_may_come_under_its_old_name() -> None:
    """AWS_DEFAULT_REGION counts when AWS_REGION is not set."""
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "AWS_REGION"}
    assert read_settings(environment | {"AWS_DEFAULT_REGION": "eu-west-1"}).region == "eu-west-1"


def test_every_fault_is_named_at_once() -> None:
    """An empty environment with wrong numbers yields one sentence for each fault, none hidden behind another."""
    with pytest.raises(SettingsError) as caught:
        read_settings({"SLOTS": "many", "WAIT_S": "21", "LOG_FORMAT": "xml", "COMFY_URL": "localhost:8188"})
    text = str(caught.value)
    for name in (
        "JOBS_QUEUE_URL", "COMPLETIONS_QUEUE_URL", "JOBS_TABLE", "S3_BUCKET", "AWS_REGION",
        "SLOTS", "WAIT_S", "LOG_FORMAT", "COMFY_URL",
    ):  # fmt: skip
        assert text.count(f"{name} ") == 1, name
    assert 'SLOTS must be a number from 1 to 64, not "many".' in caught.value.faults


def test_a_fraction_is_no_number_of_slots() -> None:
    """Whole numbers are asked for where only they make sense; NaN and infinity are no numbers."""
    for wrong in ("1.5", "nan", "inf", "-1"):
        with pytest.raises(SettingsError, match="SLOTS must be"):
            settings(SLOTS=wrong)


def test_times_that_do_not_fit_are_refused() -> None:
    """The heartbeat is at most a quarter of the lease; lease plus skew end before the visibility."""
    with pytest.raises(SettingsError) as caught:
        settings(HEARTBEAT_S="16", LEASE_S="60", VISIBILITY_S="70")
    assert len(caught.value.faults) == 2
    assert "a quarter of LEASE_S" in caught.value.faults[0]
    assert "less than VISIBILITY_S" in caught.value.faults[1]
    assert settings(HEARTBEAT_S="15", LEASE_S="60", VISIBILITY_S="71").visibility_s == 71


def test_the_manual_names_every_setting() -> None:
    """docs/worker.md and `--help` know what the reader knows, no more and no less."""
    root = Path(__file__).resolve().parents[2]
    read = set(re.findall(r'"([A-Z][A-Z0-9_]+)"', (root / "worker/settings.py").read_text()))
    manual = (root / "docs/worker.md").read_text().partition("## One job")[0]
    assert read == set(re.findall(r"`([A-Z][A-Z0-9_]+)`", manual))
