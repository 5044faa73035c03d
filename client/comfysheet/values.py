"""
Hold what the API tells, as frozen values. Unknown fields are let through: a newer server may say more.

Links to outputs are as good as keys: they are never part of a `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ENDED: Final = frozenset({"succeeded", "failed", "canceled", "expired"})
"""The states that a job does not leave."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Progress:
    """Say how far a running job is: *fraction* 0 to 1 of the whole, and the node at work."""

    fraction: float = 0.0
    node: str | None = None
    node_class: str | None = None
    step: int | None = None
    steps: int | None = None

    @classmethod
    def read(cls, told: Json | None) -> Progress | None:
        """Read v2's Progress; None when there is none yet."""
        if not told:
            return None
        fraction = min(1.0, max(0.0, float(told.get("value") or 0.0)))
        names = (told.get("current_node"), told.get("current_node_class"), told.get("step"), told.get("steps"))
        return cls(fraction, *names)


@dataclass(frozen=True)
class JobError:
    """Say why a job failed: *code* for programs, *message* for people; node and class in the graph, where it was."""

    code: str
    message: str
    node_id: str | None = None
    node_class: str | None = None
    hint: str = ""

    @classmethod
    def read(cls, told: Json | None) -> JobError | None:
        """Read v2's JobError; None when nothing went wrong."""
        if not told:
            return None
        return cls(
            str(told.get("code", "")),
            str(told.get("message", "")),
            told.get("node_id"),
            told.get("class_type"),
            str(told.get("hint") or ""),
        )

    def sentence(self) -> str:
        """Join all that it says."""
        hint = "" if self.hint in self.message else self.hint
        where = f"(node {self.node_id}, {self.node_class})" if self.node_id else ""
        return " ".join(part for part in (self.message, hint, where) if part)


@dataclass(frozen=True)
class Metrics:
    """Hold how long a job's parts took, in milliseconds; None: not known (yet)."""

    queue_ms: int | None = None
    execution_ms: int | None = None
    upload_ms: int | None = None
    gpu_ms: int | None = None


@dataclass(frozen=True)
class OutputInfo:
    """Describe one file that a job made."""

    name: str
    kind: str
    """image, video, audio, text, latent, 3d or file."""
    content_type: str
    size_bytes: int
    node_id: str
    id: str = ""
    sha256: str | None = None
    url: str = field(default="", repr=False)
    """A stable link that needs no key: whoever has it sees the file."""
    thumbnail_url: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, told: Json) -> OutputInfo:
        """Read v2's Output."""
        return cls(
            name=str(told.get("name", "")),
            kind=str(told.get("type", "file")),
            content_type=str(told.get("content_type", "application/octet-stream")),
            size_bytes=int(told.get("size_bytes") or 0),
            node_id=str(told.get("node_id", "")),
            id=str(told.get("id", "")),
            sha256=told.get("sha256"),
            url=str(told.get("url", "")),
            thumbnail_url=told.get("thumbnail_url"),
        )


@dataclass(frozen=True)
class JobInfo:
    """Show a job as it stood when it was asked for; *raw* is all that the server said."""

    id: str
    status: str
    """queued, running, succeeded, failed or canceled; v2 has canceling and expired besides."""
    workflow_id: str = ""
    inputs: Json = field(default_factory=dict)
    """What it is made from, defaults filled in and the seed drawn."""
    progress: Progress | None = None
    queue_position: int | None = None
    outputs: tuple[OutputInfo, ...] = ()
    error: JobError | None = None
    metrics: Metrics = Metrics()
    tags: tuple[str, ...] = ()
    created_at: str = ""
    """ISO 8601, UTC."""
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_ended(self) -> bool:
        """Say whether nothing will change any more."""
        return self.status in ENDED

    @property
    def is_whole(self) -> bool:
        """Say whether all is told: a list leaves inputs, outputs and progress out."""
        return "outputs" in self.raw

    @classmethod
    def read(cls, told: Json) -> JobInfo:
        """Read v2's Job; raise `KeyError`, `TypeError` or `ValueError` when it is none."""
        metrics = told.get("metrics") or {}
        return cls(
            id=str(told["id"]),
            status=str(told["status"]),
            workflow_id=str(told.get("workflow_id") or ""),
            inputs=dict(told.get("inputs") or {}),
            progress=Progress.read(told.get("progress")),
            queue_position=told.get("queue_position"),
            outputs=tuple(OutputInfo.read(one) for one in told.get("outputs") or ()),
            error=JobError.read(told.get("error")),
            metrics=Metrics(*(metrics.get(name) for name in ("queue_ms", "execution_ms", "upload_ms", "gpu_ms"))),
            tags=tuple(told.get("tags") or ()),
            created_at=str(told.get("created_at") or told.get("create_time") or ""),
            raw=told,
        )


@dataclass(frozen=True)
class Asset:
    """Name a file that the server has: give it as an input, as often as you like."""

    id: str
    name: str = ""
    size_bytes: int = 0
    sha256: str | None = None

    @property
    def reference(self) -> str:
        """Write it as the value of a workflow's input."""
        return f"asset:{self.id}"

    @classmethod
    def read(cls, told: Json) -> Asset:
        """Read v2's Asset."""
        name, size = str(told.get("file_path") or ""), int(told.get("size_bytes") or 0)
        return cls(str(told["id"]), name, size, told.get("sha256"))


@dataclass(frozen=True)
class WorkflowInfo:
    """Describe a workflow: its *parameters* are what may be given, each with name, type, default, choices …"""

    id: str
    name: str = ""
    description: str = ""
    parameters: tuple[Json, ...] = ()
    raw: Json = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, told: Json) -> WorkflowInfo:
        """Read one workflow of the catalog."""
        return cls(
            id=str(told["id"]),
            name=str(told.get("name") or ""),
            description=str(told.get("description") or ""),
            parameters=tuple(told.get("parameters") or ()),
            raw=told,
        )
