"""
Say how the workers are and how long the queue is, to a program that may read.

Nobody sees another client's jobs, a server's address, or why exactly one is closed (that may name files; `admin` may).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chalicelib.contract.card import LATE_MS, Seen, ServerCard
from chalicelib.contract.job import Job
from chalicelib.contract.kit import Kit
from chalicelib.contract.states import State
from chalicelib.eta import left_ms
from chalicelib.farm_view import Health, QueueView, ServerView, WorkersView, WorkerView, YoursView
from chalicelib.job_view import moment, moment_or_none

LOOKED_AT: Final = 200
"""Open jobs of a client that one answer looks at: two reads."""
MAX_NAMES: Final = 20_000
"""Names of model files in one answer: about 1 MB."""
KINDS: Final[Mapping[str, str]] = {
    "ckpt": "checkpoints",
    "lora": "loras",
    "vae": "vae",
    "unet": "unet",
    "clip": "clip",
    "control_net": "controlnet",
    "style_model": "style_models",
    "gligen": "gligen",
}
"""What files are called by the input that takes them, cut to its stem (ckpt_name, clip_name1)."""


class Line(Protocol):
    """Hold ids of open jobs (`chalicelib.contract.ports.Line`)."""

    @property
    def sent(self) -> tuple[str, ...]: ...
    @property
    def held(self) -> tuple[str, ...]: ...


class OpenJobs(Protocol):
    """Know a client's open jobs (`chalicelib.ledger.DynamoLedger`)."""

    def line(self, client_id: str, limit: int) -> Line:
        """List open jobs: the sent ones, then the held ones."""

    def open_jobs(self, client_id: str) -> int:
        """Count open jobs."""

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Read jobs."""


class Paces(Protocol):
    """Know how long workflows take (`chalicelib.rates.UsageBook`)."""

    def pace_ms(self, workflow_hash: str) -> int | None:
        """Say how long one takes."""


class Workers(Protocol):
    """Know the workers (`chalicelib.crew.Crew`)."""

    def seen(self) -> Sequence[Seen]:
        """List the cards of the last hour."""


class Depth(Protocol):
    """Hold counts of messages (`chalicelib.queues.Depth`)."""

    @property
    def waiting(self) -> int: ...
    @property
    def in_hand(self) -> int: ...


class Queue(Protocol):
    """Know the queue of jobs (`chalicelib.queues.JobQueue`)."""

    def depth(self) -> Depth | None:
        """Count its messages; None: it cannot be told."""


@dataclass(frozen=True)
class Farm:
    """Look at workers and queue."""

    jobs: OpenJobs
    paces: Paces
    crew: Workers
    queue: Queue
    now_ms: Callable[[], int]

    def workers(self, client_id: str, *, is_admin: bool, with_models: bool) -> WorkersView:
        """Show the workers that were heard within the last hour."""
        running: dict[str, list[str]] = {}
        for job in self._open(client_id):
            if job.state is State.RUNNING and job.owner is not None:
                running.setdefault(job.owner, []).append(job.job_id)
        room = MAX_NAMES
        views = []
        for seen in sorted(self.crew.seen(), key=lambda each: each.worker):
            files = _files(seen.kits)
            shown = _cut(files, room) if with_models else None
            room -= sum(map(len, (shown or {}).values()))
            views.append(self._worker(seen, running.get(seen.worker, []), files, shown, is_admin=is_admin))
        return WorkersView(workers=views)

    def standing(self, client_id: str) -> QueueView:
        """Show how long the queue is, and when the caller's own jobs may be done."""
        now, depth = self.now_ms(), self.queue.depth()
        alive = [seen for seen in self.crew.seen() if seen.is_alive(now) and seen.open_servers]
        servers = sum(seen.open_servers for seen in alive)
        jobs = self._open(client_id)
        count = max(len(jobs), self.jobs.open_jobs(client_id)) if len(jobs) >= LOOKED_AT else len(jobs)
        running = [job for job in jobs if job.state is State.RUNNING]
        waits = [now - job.created_at for job in jobs if job.state is State.QUEUED]
        yours = YoursView(
            queued=count - len(running),
            running=len(running),
            oldest_age_s=round(max(waits) / 1000, 1) if waits else None,
            eta_s=self._eta_s(jobs, count, servers, now),
        )
        return QueueView(
            yours=yours,
            waiting=None if depth is None else depth.waiting,
            in_hand=None if depth is None else depth.in_hand,
            workers=len(alive),
            servers=servers,
        )

    def _open(self, client_id: str) -> list[Job]:
        """Read the caller's open jobs, `LOOKED_AT` at most; those that run are among the first."""
        line = self.jobs.line(client_id, LOOKED_AT)
        jobs = self.jobs.get_many([*line.sent, *line.held])
        return [job for job in jobs if job.state in (State.QUEUED, State.RUNNING)]

    def _eta_s(self, jobs: Sequence[Job], count: int, servers: int, now: int) -> int | None:
        """Add up what is left; of jobs that were not looked at, as much as of the queued ones on average."""
        if not jobs or not servers:
            return None
        pace = {workflow: self.paces.pace_ms(workflow) for workflow in {job.workflow_hash for job in jobs}}
        queued = [pace[job.workflow_hash] for job in jobs if job.state is State.QUEUED]
        left = [left_ms(job, now, pace) for job in jobs if job.state is State.RUNNING]
        known = [each for each in (*queued, *left) if each is not None]
        if len(known) < len(jobs):
            return None
        unseen_ms = (count - len(jobs)) * sum(known) / len(known)
        # A job is not split: the longest one is the least that it takes.
        return max(1, round(max((sum(known) + unseen_ms) / servers, *known, 0) / 1000))

    def _worker(
        self,
        seen: Seen,
        jobs: list[str],
        files: Mapping[str, frozenset[str]],
        shown: dict[str, list[str]] | None,
        *,
        is_admin: bool,
    ) -> WorkerView:
        health, text = _health(seen, self.now_ms(), is_admin=is_admin)
        is_whole = all(kit.is_whole for kit in seen.kits)
        return WorkerView(
            name=seen.worker,
            health=health,
            health_text=text,
            servers=[_server(server) for server in seen.servers],
            busy=bool(jobs) or any(server.running for server in seen.servers),
            current_jobs=jobs,
            jobs_done=seen.jobs_done,
            models={kind: len(names) for kind, names in sorted(files.items())},
            model_files=shown,
            models_complete=is_whole and (shown is None or {k: len(v) for k, v in shown.items()} == _sizes(files)),
            started_at=moment_or_none(seen.started_at or None),
            seen_at=moment(seen.seen_at),
        )


def _health(seen: Seen, now: int, *, is_admin: bool) -> tuple[Health, str]:
    silent_s = max(0, now - seen.seen_at) // 1000
    if not seen.is_alive(now):
        heard = f"{silent_s // 60} min" if silent_s >= 120 else f"{silent_s} s"
        return "gone", f"It was last heard {heard} ago: it stopped, or lost its network. Others take its jobs."
    if now - seen.seen_at > LATE_MS:
        return "late", f"It was last heard {silent_s} s ago, and speaks once a minute."
    if seen.open_servers:
        return "ok", "It takes jobs."
    why = next((server.closed for server in seen.servers if server.closed), "") if is_admin else ""
    return "closed", f"It takes no jobs now: {why or 'it waits for its ComfyUI or its machine to be well again.'}"


def _server(server: ServerCard) -> ServerView:
    return ServerView(
        gpu=server.device,
        vram_total_bytes=server.vram_total_bytes,
        vram_free_bytes=server.vram_free_bytes,
        comfyui_version=server.version,
        queue=server.queue,
        slots=server.slots,
        running=server.running,
        idle_p50_ms=server.idle_p50_ms,
        idle_p90_ms=server.idle_p90_ms,
        is_open=not server.closed,
    )


def _files(kits: Iterable[Kit]) -> dict[str, frozenset[str]]:
    """Gather the model files of all servers by kind; many loaders read the same folder."""
    found: dict[str, frozenset[str]] = {}
    for kit in kits:
        for (node_class, name), files in kit.models.items():
            kind = _kind(node_class, name)
            found[kind] = found.get(kind, frozenset()) | files
    return {kind: files for kind, files in found.items() if files}


def _kind(node_class: str, name: str) -> str:
    if node_class == "UpscaleModelLoader":
        return "upscale_models"
    stem = name.rstrip("0123456789").removesuffix("_name")
    return KINDS.get(stem, stem)


def _sizes(files: Mapping[str, frozenset[str]]) -> dict[str, int]:
    return {kind: len(names) for kind, names in files.items()}


def _cut(files: Mapping[str, frozenset[str]], room: int) -> dict[str, list[str]]:
    """List the names, *room* of them at most."""
    shown: dict[str, list[str]] = {}
    for kind, names in sorted(files.items()):
        shown[kind] = sorted(names)[: max(0, room)]
        room -= len(shown[kind])
    return shown
