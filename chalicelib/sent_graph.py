"""
Give the graph behind a job: as it was sent to ComfyUI when an attempt's record tells, else as it will be sent.

The record is written when an attempt ends. Until then the input files are not named as ComfyUI calls them, but by
where they come from: such a graph can be submitted again as it is.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from chalicelib.contract.graph import fill, isolate, media_of, put_media
from chalicelib.contract.job import Job, run_key
from chalicelib.contract.manifest import Workflow


class Files(Protocol):
    """Read documents (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none."""


class Versions(Protocol):
    """Find versions of workflows (`chalicelib.catalog.Catalog`)."""

    def by_hash(self, workflow_hash: str) -> Workflow:
        """Answer one version."""


class SentGraphs:
    """Find the graphs of jobs."""

    def __init__(self, files: Files, versions: Versions) -> None:
        self._files = files
        self._versions = versions

    def give(self, job: Job) -> dict[str, Any]:
        """Give the graph; raise `Unavailable` or `Rejected` when neither record nor workflow can be read."""
        return self._recorded(job) or self._filled(job)

    def _recorded(self, job: Job) -> dict[str, Any] | None:
        number = job.committed_attempt or job.attempt
        record = self._files.get(run_key(job.client_id, job.job_id, number)) if number else None
        if not record:
            return None
        try:
            graph = json.loads(record.partition(b"\n")[0])["graph"]
        except (ValueError, KeyError, TypeError):
            return None
        return dict(graph) if isinstance(graph, dict) else None

    def _filled(self, job: Job) -> dict[str, Any]:
        workflow = self._versions.by_hash(job.workflow_hash)
        graph = fill(workflow, job.inputs)
        for parameter, _ in media_of(workflow, job.inputs):
            graph = put_media(graph, parameter, str(job.inputs[parameter.name]))
        return isolate(graph, f"cs/{job.job_id}/{max(1, job.attempt)}")
