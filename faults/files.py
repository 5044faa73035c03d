"""
Look at the files of a job: as they lie in the bucket, and as the API lends them; each must be what was recorded (P16),
and what the Preview cell shows must be a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

import requests
from PIL import Image

from chalicelib.contract.job import Job, Output, output_prefix
from chalicelib.contract.states import State

if TYPE_CHECKING:
    from faults.farm import Farm


def small_picture() -> bytes:
    """Make a PNG that is small enough to be its own thumbnail."""
    file = BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


def is_picture(body: bytes) -> bool:
    """Say whether *body* is a whole picture, which a cell can show."""
    try:
        with Image.open(BytesIO(body)) as image:
            image.load()
    except Exception:
        # A decoder may raise anything on bytes that are no picture.
        return False
    return True


def is_recorded(body: bytes, output: Output) -> bool:
    """Say whether *body* is the file that was recorded: its length and its SHA-256."""
    return (len(body), hashlib.sha256(body).hexdigest()) == (output.size_bytes, output.sha256)


def misplaced(job: Job) -> list[str]:
    """Say which files of *job* do not lie where its committed attempt writes (P4), and whether it has none at all."""
    own = output_prefix(job.client_id, job.job_id, job.committed_attempt or 0)
    keys = [key for output in job.outputs for key in (output.key, output.thumbnail_key) if key is not None]
    wrong = [f"job {job.job_id} shows a file of another attempt: {key}" for key in keys if not key.startswith(own)]
    if job.state is State.SUCCEEDED and not job.outputs:
        wrong.append(f"job {job.job_id} succeeded without an output")
    return wrong


def unlike_record(job: Job, read: Callable[[str], bytes]) -> list[str]:
    """Read all files of *job* with *read* (by key); say which are not what was recorded, or no picture for a cell."""
    wrong = misplaced(job)
    for output in job.outputs:
        body = read(output.key)
        if not is_recorded(body, output):
            wrong.append(f"job {job.job_id} shows a file that is not what was recorded: {output.key}")
        if output.thumbnail_key is None:
            if output.kind == "image" and is_picture(body):
                wrong.append(f"job {job.job_id} made a picture and has none for the Preview cell: {output.key}")
        elif not is_picture(body if output.thumbnail_key == output.key else read(output.thumbnail_key)):
            wrong.append(f"the Preview cell of job {job.job_id} would show no picture: {output.thumbnail_key}")
    return wrong


def unfetchable(farm: Farm, job: Job) -> list[str]:
    """Ask the API for the result of a job that succeeded and download it; say what is wrong with that (P13)."""
    told = farm.call("GET", f"/api/v2/jobs/{job.job_id}", client=job.client_id).json()
    outputs = told.get("outputs") or []
    if told.get("status") != "succeeded" or len(outputs) != len(job.outputs) or not outputs:
        return [f"the API does not give the result of {job.job_id}: {told.get('status')}, {len(outputs)} files"]
    wrong = []
    for lent, output in zip(outputs, job.outputs, strict=True):
        if not is_recorded(requests.get(lent["url"], timeout=20).content, output):
            wrong.append(f"the API gives another file for {job.job_id} than was recorded: {output.key}")
    return wrong
