"""The doctor, as its own process: on the local cloud with the worker's own rights, and where things are wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

from sandbox.comfy import ComfyStandIn
from tests.conftest import make_table

if TYPE_CHECKING:
    from sandbox.cloud import LocalCloud

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environment(cloud: LocalCloud, aws: boto3.Session, resources: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    """Make what a worker needs, all of it well."""
    sqs: Any = aws.client("sqs")
    s3: Any = aws.client("s3")
    name = uuid4().hex[:10]
    s3.create_bucket(Bucket=f"bucket-{name}")
    s3.put_object(
        Bucket=f"bucket-{name}",
        Key="workflows/index.json",
        Body=b'{"a": {"hash": "1"}, "b": {"hash": "2"}, "c": {"hash": "3", "removed_at": 9}}',
    )
    dynamodb: Any = aws.client("dynamodb")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **cloud.env(),
        "JOBS_QUEUE_URL": sqs.create_queue(QueueName=f"jobs-{name}")["QueueUrl"],
        "COMPLETIONS_QUEUE_URL": sqs.create_queue(QueueName=f"done-{name}.fifo", Attributes={"FifoQueue": "true"})[
            "QueueUrl"
        ],
        "JOBS_TABLE": make_table(dynamodb, resources["JobsTable"]["Properties"]),
        "WORKERS_TABLE": make_table(dynamodb, resources["WorkersTable"]["Properties"]),
        "S3_BUCKET": f"bucket-{name}",
        "MAX_OUTPUT_MB": "1",
        "WORKER_NAME": "worker-1",
    }


def doctor(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    told = subprocess.run(
        [sys.executable, "-m", "worker", "doctor", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return told.returncode, told.stdout, told.stderr


def test_where_all_is_well_it_says_so(environment: dict[str, str], tmp_path: Path) -> None:
    """Every thing by name, exit code 0, and no secret in what it prints."""
    with ComfyStandIn(tmp_path / "comfy", instant=True) as comfy:
        code, out, err = doctor({**environment, "COMFY_URL": comfy.url}, "--json")
    assert (code, err) == (0, "")
    found = {finding["name"]: finding["verdict"] for finding in json.loads(out)}
    assert set(found.values()) <= {"good", "note"}
    good = {name for name, verdict in found.items() if verdict == "good"}
    assert good >= {"settings", "disk", "ComfyUI", "WebSocket", "credentials", "jobs queue", "jobs table", "bucket"}
    assert good >= {"workflows", "workers table", "clock"}
    assert environment["AWS_SECRET_ACCESS_KEY"] not in out


def test_what_is_wrong_is_named_with_what_to_do(environment: dict[str, str]) -> None:
    """No ComfyUI, no table, no bucket: each its own line, exit code 1, no trace."""
    wrong = {"COMFY_URL": "http://127.0.0.1:9", "JOBS_TABLE": "nothing", "S3_BUCKET": "nothing-at-all"}
    code, out, err = doctor({**environment, **wrong}, "--json")
    assert (code, err) == (1, "")
    bad = {finding["name"]: finding for finding in json.loads(out) if finding["verdict"] == "bad"}
    assert set(bad) == {"ComfyUI", "WebSocket", "jobs table", "workflows", "bucket"}
    assert "COMFY_URL" in bad["ComfyUI"]["remedy"]
    assert "ResourceNotFoundException" in bad["jobs table"]["seen"]
    code, out, err = doctor({**environment, **wrong})
    assert code == 1 and "5 of" in out and "Traceback" not in out + err


def test_wrong_settings_are_all_named(environment: dict[str, str]) -> None:
    """Exit code 2 before anything is asked."""
    code, out, _ = doctor({**environment, "SLOTS": "none", "JOBS_TABLE": ""})
    assert code == 2
    assert "SLOTS must be" in out and "JOBS_TABLE is not set" in out
