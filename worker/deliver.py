"""Bring an attempt's files from ComfyUI to the bucket, each with its type, hash and thumbnail."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import BinaryIO

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Output, output_prefix
from worker.comfy.outputs import OutputFile
from worker.lease import Holding
from worker.ports import Blobs
from worker.sniff import sniff
from worker.thumbs import thumbnail

Fetch = Callable[[OutputFile, int, BinaryIO], None]


def deliver(
    fetch: Fetch, blobs: Blobs, holding: Holding, files: Sequence[OutputFile], limit_bytes: int
) -> tuple[Output, ...]:
    """
    Copy *files* to the attempt's own folder and describe them, one file in memory at a time.

    Raise `Rejected` when they are larger than *limit_bytes* together. Stops early, with what it has, when the holding
    is told to stop.
    """
    job = holding.job
    prefix = output_prefix(job.client_id, job.job_id, job.attempt)
    outputs: list[Output] = []
    left = limit_bytes
    for index, file in enumerate(files):
        if holding.stopped is not None:
            break
        held = BytesIO()
        fetch(file, left, held)
        content = held.getvalue()
        left -= len(content)
        outputs.append(_put(blobs, f"{prefix}{index}-", file, content))
    return tuple(outputs)


def _put(blobs: Blobs, stem: str, file: OutputFile, content: bytes) -> Output:
    if not content:
        raise Rejected("empty_output", "ComfyUI made an empty file.")
    sniffed = sniff(content)
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"{stem}{sha256[:8]}.{sniffed.extension}"
    blobs.put(key, content, sniffed.content_type)
    small = thumbnail(content, sniffed)
    thumbnail_key = f"{stem}thumb.{small.extension}" if small else None
    if small and thumbnail_key:
        blobs.put(thumbnail_key, small.content, small.content_type)
    return Output(
        key=key,
        filename=file.display_name,
        content_type=sniffed.content_type,
        size_bytes=len(content),
        sha256=sha256,
        node=file.node,
        kind=sniffed.kind,
        width_px=sniffed.width_px,
        height_px=sniffed.height_px,
        thumbnail_key=thumbnail_key,
        thumbnail_type=small.content_type if small else None,
    )
