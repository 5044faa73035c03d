"""Judge the worker's log lines: one line an event, nothing that must not get out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from worker.logs import known_fields_only

ROOT = Path(__file__).resolve().parents[2]


def test_only_known_fields_get_through() -> None:
    """A prompt that somebody passes by mistake is dropped, whatever it is called."""
    line = {"event": "e", "job_id": "j", "prompt": "a secret fox", "inputs": {"x": 1}, "attempt": 2}
    assert known_fields_only(None, "info", line) == {"event": "e", "job_id": "j", "attempt": 2}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://b.s3.amazonaws.com/k?X-Amz-Signature=abc&x=1", "https://b.s3.amazonaws.com/k"),
        ("see http://me:pass@host:1/a/b#frag now", "see http://host:1/a/b now"),
        ("http://me:pass@host/x", "http://host/x"),
        ("no link?", "no link?"),
    ],
)
def test_links_lose_their_query_and_login(text: str, clean: str) -> None:
    """A presigned URL or a password in a URL is a key."""
    assert known_fields_only(None, "info", {"reason": text}) == {"reason": clean}


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_is_one_line_on_stderr(form: str) -> None:
    """JSON for machines, readable text for a terminal; below the level nothing is written."""
    code = (
        "import structlog, worker.logs as logs\n"
        f"logs.start_logs('info', {form!r}, 'w-1')\n"
        "structlog.get_logger().debug('not this')\n"
        "structlog.get_logger().info('job is done', job_id='j1', attempt=1, action='commit', secret='no')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    (line,) = ran.stderr.splitlines()
    assert ran.stdout == ""
    assert "no" not in line.split()
    if form == "json":
        told = json.loads(line)
        assert (told["event"], told["job_id"], told["attempt"], told["worker"]) == ("job is done", "j1", 1, "w-1")
    else:
        assert "job is done" in line
        assert "job_id" in line
