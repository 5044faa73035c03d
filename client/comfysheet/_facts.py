"""Show what is known of a job and its files: what the blocking and the awaiting handles have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from comfysheet._api import Api
from comfysheet._uploads import Uploads
from comfysheet.errors import ComfySheetError, JobCanceled, JobFailed
from comfysheet.values import JobError, JobInfo, Metrics, OutputInfo, Progress

W = TypeVar("W")
R = TypeVar("R")


@dataclass(frozen=True)
class Line(Generic[W]):
    """Hold what a handle needs to speak with the server."""

    api: Api
    wires: W
    uploads: Uploads


class JobFacts:
    """Show a job as it stood when the server was last asked."""

    info: JobInfo

    @property
    def id(self) -> str:
        """Give its id."""
        return self.info.id

    @property
    def status(self) -> str:
        """Say queued, running, succeeded, failed or canceled."""
        return self.info.status

    @property
    def is_ended(self) -> bool:
        """Say whether nothing will change any more."""
        return self.info.is_ended

    @property
    def workflow_id(self) -> str:
        """Name its workflow; empty for a raw graph."""
        return self.info.workflow_id

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Give what it is made from, the drawn seed among it."""
        return self.info.inputs

    @property
    def progress(self) -> Progress | None:
        """Say how far it is."""
        return self.info.progress

    @property
    def error(self) -> JobError | None:
        """Say why it failed."""
        return self.info.error

    @property
    def metrics(self) -> Metrics:
        """Say how long its parts took."""
        return self.info.metrics

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"


class OutputFacts:
    """Describe a file that a job made."""

    info: OutputInfo

    @property
    def name(self) -> str:
        """Give its name as the server tells it; `save` makes it safe."""
        return self.info.name

    @property
    def kind(self) -> str:
        """Say image, video, audio, text, latent, 3d or file."""
        return self.info.kind

    @property
    def content_type(self) -> str:
        """Give its media type."""
        return self.info.content_type

    @property
    def size_bytes(self) -> int:
        """Give its size."""
        return self.info.size_bytes

    @property
    def sha256(self) -> str | None:
        """Give its hash (hex)."""
        return self.info.sha256

    @property
    def url(self) -> str:
        """Give its stable link. It needs no key: whoever has it sees the file."""
        return self.info.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.content_type} {self.size_bytes} bytes>"


def check_success(job: JobInfo) -> None:
    """Raise `JobFailed` or `JobCanceled` unless an ended job went well."""
    if job.status == "failed":
        raise JobFailed(job)
    if job.status in ("canceled", "expired"):
        raise JobCanceled(job)


@dataclass(frozen=True)
class Done(Generic[R]):
    """Hold what became of one row of a `map`: a *result* or an *error*."""

    index: int
    """Which row it is, from 0."""
    inputs: Mapping[str, Any]
    """The row as it was given."""
    result: R | None = None
    error: ComfySheetError | None = None

    @property
    def is_ok(self) -> bool:
        """Say whether there is a result."""
        return self.error is None

    def unwrap(self) -> R:
        """Give the result, or raise the error."""
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result
