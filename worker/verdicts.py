"""Name how an attempt can come out; `settle` turns each into a write of the ledger and a move on the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from chalicelib.contract.job import JobError

if TYPE_CHECKING:
    from worker.comfy.outputs import OutputFile, OutputText
    from worker.kit import Lack


class Stop(StrEnum):
    """Say why an attempt must end without a verdict."""

    LOST = "lost"
    """The lease is somebody else's, or the job was cancelled or ended."""
    HANDED_BACK = "handed back"
    """This worker stops; who stops it has released the job already."""


@dataclass(frozen=True)
class Made:
    """ComfyUI made these files; they are still on its side."""

    files: tuple[OutputFile, ...]
    texts: tuple[OutputText, ...]
    prompt_id: str
    execution_ms: int | None
    is_adopted: bool = False
    """Whether the prompt was an earlier attempt's, part of which may be told already."""


@dataclass(frozen=True)
class Broken:
    """It failed, and would fail the same way again."""

    error: JobError


@dataclass(frozen=True)
class Again:
    """It failed, and may work in *delay_s* seconds (None: by the usual backoff)."""

    error: JobError
    delay_s: float | None = None
    keeps_files: bool = False
    """Whether what ComfyUI made stays there for the next attempt."""
    is_ours: bool = False
    """Whether this machine is to blame: the next attempt is for another worker, if there is one."""
    is_free: bool = False
    """Whether it costs no attempt: the job only waited behind another one, with which ComfyUI went down."""


@dataclass(frozen=True)
class Elsewhere:
    """This worker's ComfyUI lacks a node or a model that the *graph* needs; another one may have it."""

    lack: Lack
    graph: Mapping[str, Any]


@dataclass(frozen=True)
class Halted:
    """It was stopped from outside."""

    why: Stop


Verdict = Made | Broken | Again | Elsewhere | Halted
