"""
Describe a job: the one record that says where a picture stands.

All times are milliseconds since the epoch (integers: DynamoDB has no binary floats), as told by the caller's clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final, Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.contract.states import State

NAMESPACE: Final = UUID("5f1f8f0e-3b52-4d0e-9d0a-6f2b8c1d7e42")
"""Root of every id that this project derives; changing it orphans every job."""

BUDGET: Final = 3
"""Attempts that a job gets before it is given up."""

JOB_LIFETIME_MS: Final = 24 * 3600 * 1000
"""From submission to the deadline, after which nobody claims the job any more."""

QUEUED_LOST_MS: Final = 5 * 60 * 1000
"""How long a queued job may be silent before the sweeper sends its message again."""

SHOWN_BEFORE: Final = -1
"""`synced_version` of a job whose row is to be written once more."""

RETENTION_MS: Final = 90 * 24 * 3600 * 1000
"""How long the ledger keeps a job."""


class Frozen(BaseModel):
    """Set what all our values share: they do not change, and an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(Frozen):
    """Name the sheet row that shows this job. Fixed at submission; results go nowhere else."""

    spreadsheet_id: str
    sheet_id: int
    """The tab's gid: it survives a rename."""
    prompt_hash: str
    """`prompt_fingerprint` of the row's prompt when it was submitted."""


class Output(Frozen):
    """Describe one file that an attempt made, as it lies in the bucket."""

    key: str
    filename: str
    """A name for people; ComfyUI's own, cut to its last part."""
    content_type: str
    size_bytes: int
    sha256: str
    node: str
    """Id of the graph node that made it."""
    kind: Literal["image", "video", "audio", "text", "latent", "3d", "file"]
    width_px: int | None = None
    height_px: int | None = None
    duration_s: float | None = None
    """Of a video or a sound."""
    is_animated: bool = False
    """Whether a picture has more than one frame."""
    thumbnail_key: str | None = None
    """The file's own key when it is small enough to be its own thumbnail."""
    thumbnail_type: str | None = None


class JobError(Frozen):
    """Say why a job failed: *text* is the sentence for the cell, *hint* what to do (may be empty)."""

    code: str
    text: str
    hint: str = ""
    node: str | None = None
    node_class: str | None = None

    def sentence(self) -> str:
        """Join text and hint for a cell or a terminal."""
        return f"{self.text} {self.hint}".strip()


class Progress(Frozen):
    """Say how far the running attempt is: fraction 0..1 of the graph, and the node at work."""

    fraction: float = Field(ge=0, le=1)
    nodes_done: int = 0
    nodes_total: int = 0
    node: str | None = None
    node_class: str | None = None
    step: int | None = None
    steps: int | None = None


class Timings(Frozen):
    """Hold how long the parts of the committed attempt took, in milliseconds."""

    execution_ms: int | None = None
    upload_ms: int | None = None


class Job(Frozen):
    """Hold everything the ledger knows of one job. The DynamoDB item is the truth; all else is a projection."""

    job_id: str
    client_id: str
    """Who pays and who may look: the key's owner."""
    job_key: str
    """The submitter's own name for this job; the row's Job ID cell shows it."""
    state: State
    version: int = 1
    attempt: int = 0
    budget_left: int = BUDGET
    given_back: int = 0
    """How often an attempt cost nothing because ComfyUI went down with another job."""
    seq: int = 1
    """
    Number of the newest message for this job; an older message is dropped on sight. 0: none was sent yet, the job is
    held back until its client's earlier ones have ended (`chalicelib.window`).
    """
    submit_token: str = ""
    """Made anew for each submit call: tells a repeated write of our own from somebody else's."""

    workflow_id: str
    workflow_hash: str
    inputs: dict[str, object] = Field(default_factory=dict)
    """Resolved parameters by name (defaults filled, seed drawn, prompts written out)."""
    templates: dict[str, str] = Field(default_factory=dict)
    """What was typed where an input differs from it: a prompt with fields, variants or wildcards."""
    input_hash: str
    """`fingerprint` of what was asked for, before anything was drawn: replays must match it."""
    target: Target | None = None
    priority: int = 0
    """Among the jobs of one client the higher ones go first; -100 to 100."""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = Field(default_factory=dict)
    """Labels of the submitter's own, told back as they were given."""
    key_id: str = ""
    """The key that submitted it: whose rate and budget it counts against."""
    batch_id: str | None = None
    retry_of: str | None = None
    """The job that this one repeats."""
    webhook_url: str | None = None
    """Where its end is told."""
    link_base: str = ""
    """Where links to the outputs begin, e.g. https://host/stage (no trailing slash)."""
    view_token: str
    """Unguessable part of every link to this job's outputs; changing it revokes them."""

    created_at: int
    enqueued_at: int
    deadline: int
    not_before: int = 0
    due_at: int | None = None
    """When the sweeper should look if nothing has happened by then; None: never again."""
    started_at: int | None = None
    """When the current or last attempt was claimed."""
    finished_at: int | None = None

    owner: str | None = None
    claim_token: str | None = None
    lease_until: int = 0
    phase: str | None = None
    progress: Progress | None = None

    outputs: tuple[Output, ...] = ()
    committed_attempt: int | None = None
    error: JobError | None = None
    last_error: JobError | None = None
    timings: Timings | None = None
    spent_ms: int | None = None
    """How long GPUs worked for all its attempts, also those that came to nothing, as far as was told."""
    synced_version: int = 0

    @property
    def is_shown(self) -> bool:
        """Say whether whoever is to be told of this version was: the row, and webhooks."""
        return self.synced_version >= self.version

    @property
    def is_held(self) -> bool:
        """Say whether the job waits for its client's earlier ones: no message of it was sent yet."""
        return self.seq == 0


def job_id_of(client_id: str, job_key: str) -> str:
    """Derive the id of the job that *client_id* calls *job_key*: a tenant cannot name another's job."""
    return str(uuid5(NAMESPACE, f"{client_id}#{job_key}"))


def prompt_id_of(job_id: str, attempt: int) -> str:
    """Derive ComfyUI's prompt id for one attempt. ComfyUI 0.25+ takes canonical lower-case UUIDs only."""
    return str(uuid5(NAMESPACE, f"{job_id}:{attempt}"))


def output_prefix(client_id: str, job_id: str, attempt: int) -> str:
    """Name the folder in the bucket that only this attempt writes to."""
    return f"outputs/{client_id}/{job_id}/{attempt}/"


def run_key(client_id: str, job_id: str, attempt: int) -> str:
    """Name the run record of one attempt in the bucket."""
    return f"runs/{client_id}/{job_id}/{attempt}.jsonl"


def fingerprint(asked: Mapping[str, object]) -> str:
    """Hash what was asked for (JSON values), whatever the order of its keys: 32 hex digits."""
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def prompt_fingerprint(prompt: str) -> str:
    """
    Hash a row's prompt as the sheet displays it: 16 hex digits.

    White space at the ends and the kind of line break do not count: the Sheets API and Apps Script may differ there.
    """
    text = prompt.replace("\r\n", "\n").replace("\r", "\n").strip()
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
