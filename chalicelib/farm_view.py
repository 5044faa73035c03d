"""Show workers and the queue to a program: the answers' shapes."""

from __future__ import annotations

from typing import Literal

from chalicelib.job_view import View

Health = Literal["ok", "closed", "late", "gone"]


class ServerView(View):
    """Show one ComfyUI of a worker."""

    gpu: str
    """As ComfyUI names its device."""
    vram_total_bytes: int | None
    vram_free_bytes: int | None
    comfyui_version: str
    queue: int
    """Prompts in its own queue."""
    slots: int
    """Jobs that are taken for it at once."""
    running: int
    idle_p50_ms: float | None
    """How long its GPU idled between two runs when the next was in hand, over the last hundred; null: no such runs."""
    idle_p90_ms: float | None
    is_open: bool
    """Whether jobs are taken for it now."""


class WorkerView(View):
    """Show a worker as its last card had it. Times are RFC 3339, in UTC."""

    name: str
    health: Health
    health_text: str
    """The same as a sentence."""
    servers: list[ServerView]
    busy: bool
    """Whether it rendered something when it was last heard."""
    current_jobs: list[str]
    """Ids of your own jobs that it renders now; it may render others'."""
    jobs_done: int
    """Since it started."""
    models: dict[str, int]
    """How many model files it has, by kind."""
    model_files: dict[str, list[str]] | None
    """Their names, when they were asked for (`models=1`)."""
    models_complete: bool
    """False: it has too many for its card, or for this answer."""
    started_at: str | None
    seen_at: str


class WorkersView(View):
    """List the workers that were heard within the last hour, by name."""

    workers: list[WorkerView]


class YoursView(View):
    """Show the caller's own jobs that are not done."""

    queued: int
    running: int
    oldest_age_s: float | None
    """How long the one that waits longest has waited; of a long queue the first two hundred count. Null: none waits."""
    eta_s: int | None
    """
    Seconds until all of them are done, if the workers that are alive did nothing else. Null: there is nothing to do,
    nobody to do it, or a workflow among them was never measured.
    """


class QueueView(View):
    """Show how long the queue is."""

    yours: YoursView
    waiting: int | None
    """Jobs of everybody that lie ready for the workers, about. Null: it cannot be told now."""
    in_hand: int | None
    """Jobs of everybody that workers have in hand, about."""
    workers: int
    """Workers that are alive and take jobs."""
    servers: int
    """ComfyUI servers of theirs that take jobs: each renders one at a time."""
