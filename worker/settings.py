"""
Read the worker's settings from the environment, once, and refuse to start on any that make no sense.

Durations have defaults, places never do (but ComfyUI's own, which is where it listens when nobody says otherwise).
"""

from __future__ import annotations

import os
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from worker.comfy.command import faults_of

DEFAULT_COMFY_URL: Final = "http://127.0.0.1:8188"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("json", "text")


class SettingsError(Exception):
    """List every fault of the environment, a plain sentence each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Settings:
    """Hold what the worker was told. Names ending in `_s` are seconds."""

    comfy_urls: tuple[str, ...]
    """ComfyUI servers to attach to, without a trailing slash. Not used when ComfyUI is managed."""
    jobs_queue_url: str
    completions_queue_url: str
    jobs_dlq_url: str | None
    """None: what cannot be parsed is left to the queue's own redrive."""
    jobs_table: str
    bucket: str
    region: str
    worker_name: str
    slots: int
    lease_s: float
    heartbeat_s: float
    visibility_s: int
    clock_skew_s: float
    max_output_bytes: int
    """For all files of one job together."""
    stall_s: float
    """How long a running prompt may give no sign of life (three times as long before this worker's first picture)."""
    poll_up_s: float
    poll_down_s: float
    """How often /history is asked while the WebSocket is up, and while it is down."""
    wait_s: int
    """How long one receive waits for a message."""
    workers_table: str | None
    """Where workers say what they can render; None: this worker knows of no other."""
    bus_name: str | None
    """EventBridge bus for monitor events; None: nobody is told."""
    grace_s: float
    """On SIGTERM, a job that is expected to end within this time is finished; the others are handed back."""
    drain_s: float
    """As `grace_s`, when the group that this machine belongs to takes it away."""
    idle_end_s: float | None
    """End when nothing was rendered for so long; None: never."""
    end_at: int | None
    """End before this time (ms since the epoch); None: no such time is set."""
    run_for_s: float | None
    """End before the worker is so old; None: no limit."""
    home: Path
    """Where inputs are cached and large outputs pass through."""
    max_input_bytes: int
    """For one input file."""
    input_cache_bytes: int
    comfy_dir: Path | None
    """The managed ComfyUI's folder (it holds main.py); None: attach to `comfy_urls`."""
    comfy_args: tuple[str, ...]
    """Further arguments for the managed ComfyUI."""
    comfy_python: str | None
    """The managed ComfyUI's Python; None: its own venv's, else this one."""
    comfy_port: int
    """Of the first managed ComfyUI; the next ones count up. 0: free ones are looked for."""
    gpus: str
    """`all`, or numbers like `0,1`; empty: one ComfyUI that sees what it sees."""
    warm_workflow: Path | None
    """A graph in API format that a managed ComfyUI runs before it takes jobs."""
    metrics_port: int | None
    """Port of /healthz and /metrics; None: closed."""
    metrics_host: str
    log_level: str
    log_format: str


@dataclass
class _Reader:
    """Read values one by one and collect the faults."""

    environment: Mapping[str, str]
    faults: list[str] = field(default_factory=list)

    def text(self, name: str) -> str:
        return self.environment.get(name, "").strip()

    def place(self, name: str, what: str) -> str:
        value = self.text(name)
        if not value:
            self.faults.append(f"{name} is not set: it names {what}.")
        return value

    def url(self, name: str, value: str) -> str:
        try:
            parts = urlsplit(value)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            self.faults.append(f'{name} must be a URL like https://host:port, not "{value}".')
        return value.rstrip("/")

    def queue(self, name: str, what: str) -> str:
        value = self.place(name, what)
        return self.url(name, value) if value else value

    def number(self, name: str, default: float, least: float, most: float) -> float:
        value = self.text(name)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            self.faults.append(f'{name} must be a number from {least:g} to {most:g}, not "{value}".')
            return default
        return number

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        number = self.number(name, default, least, most)
        if number != int(number):
            self.faults.append(f'{name} must be a whole number from {least} to {most}, not "{self.text(name)}".')
            return default
        return int(number)

    def moment(self, name: str) -> int | None:
        """Read a time as milliseconds since the epoch: seconds since 1970 (as Slurm tells), or ISO 8601 with a zone."""
        value = self.text(name)
        if not value:
            return None
        try:
            at = datetime.fromtimestamp(float(value), UTC) if value.isdigit() else datetime.fromisoformat(value)
            if at.tzinfo is None:
                raise ValueError("it has no zone")
        except (ValueError, OverflowError, OSError):
            self.faults.append(f'{name} must be a time like 2026-11-21T08:00:00Z or seconds since 1970, not "{value}".')
            return None
        return int(at.timestamp() * 1000)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name).lower() or default
        if value not in choices:
            self.faults.append(f'{name} must be one of {", ".join(choices)}, not "{value}".')
        return value

    def comfy_urls(self) -> tuple[str, ...]:
        """Find ComfyUI under any of the names that people have used for it; several are parted by commas."""
        for name in ("COMFY_URL", "COMFY_API"):
            if value := self.text(name):
                urls = [self.url(name, each.strip()) for each in value.split(",") if each.strip()]
                if len(set(urls)) < len(urls):
                    self.faults.append(f"{name} names a server twice.")
                return tuple(urls)
        host, port = self.text("COMFYUI_HOST"), self.text("COMFYUI_PORT")
        if not host and not port:
            return (DEFAULT_COMFY_URL,)
        return (self.url("COMFYUI_HOST and COMFYUI_PORT", f"http://{host or '127.0.0.1'}:{port or '8188'}"),)

    def folder(self, name: str, *, holding: str) -> Path | None:
        """Read the path of a folder that must be there and hold a file of that name."""
        value = self.text(name)
        if not value:
            return None
        path = Path(value).expanduser().absolute()
        if not (path / holding).is_file():
            self.faults.append(f"{name} must be a folder with {holding} in it; {path} is not.")
        return path

    def file(self, name: str) -> Path | None:
        """Read the path of a file that must be there."""
        value = self.text(name)
        if not value:
            return None
        path = Path(value).expanduser().absolute()
        if not path.is_file():
            self.faults.append(f"{name} must name a file; {path} is none.")
        return path

    def arguments(self, name: str) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(self.text(name)))
        except ValueError as error:
            self.faults.append(f"{name} cannot be read as arguments: {error}.")
            return ()

    def gpus(self) -> str:
        value = self.text("GPUS").replace(" ", "").lower()
        if value not in ("", "all") and not re.fullmatch(r"\d+(,\d+)*", value):
            self.faults.append(f'GPUS must be "all" or numbers like 0,1, not "{value}".')
        return value

    def region(self) -> str:
        return self.text("AWS_REGION") or self.text("AWS_DEFAULT_REGION") or self.place("AWS_REGION", "the AWS region")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read all settings from *environment*; raise `SettingsError` with every fault at once."""
    reader = _Reader(environment)
    settings = Settings(
        comfy_urls=reader.comfy_urls(),
        jobs_queue_url=reader.queue("JOBS_QUEUE_URL", "the queue that jobs come from"),
        completions_queue_url=reader.queue("COMPLETIONS_QUEUE_URL", "the FIFO queue that completion reads"),
        jobs_dlq_url=reader.url("JOBS_DLQ_URL", reader.text("JOBS_DLQ_URL")) if reader.text("JOBS_DLQ_URL") else None,
        jobs_table=reader.place("JOBS_TABLE", "the DynamoDB table of the jobs"),
        bucket=reader.place("S3_BUCKET", "the bucket for the outputs"),
        region=reader.region(),
        worker_name=reader.text("WORKER_NAME") or f"{socket.gethostname()}-{os.getpid()}",
        slots=reader.whole("SLOTS", 2, 1, 64),
        lease_s=reader.number("LEASE_S", 60, 1, 3600),
        heartbeat_s=reader.number("HEARTBEAT_S", 15, 0.1, 900),
        visibility_s=reader.whole("VISIBILITY_S", 90, 2, 43_200),
        clock_skew_s=reader.number("CLOCK_SKEW_S", 10, 0, 60),
        max_output_bytes=int(reader.number("MAX_OUTPUT_MB", 512, 0.001, 4096) * 1_000_000),
        stall_s=reader.number("STALL_S", 300, 1, 36_000),
        poll_up_s=reader.number("POLL_UP_S", 10, 0.05, 60),
        poll_down_s=reader.number("POLL_DOWN_S", 2, 0.05, 60),
        # SQS lets a receive wait 20 s at most.
        wait_s=reader.whole("WAIT_S", 20, 0, 20),
        workers_table=reader.text("WORKERS_TABLE") or None,
        bus_name=reader.text("EVENTBRIDGE_BUS_NAME") or None,
        grace_s=reader.number("GRACE_S", 0, 0, 900),
        drain_s=reader.number("DRAIN_S", 300, 0, 7200),
        idle_end_s=reader.number("IDLE_END_S", 0, 0, 604_800) or None,
        end_at=reader.moment("END_AT"),
        run_for_s=reader.number("RUN_FOR_S", 0, 0, 2_592_000) or None,
        home=Path(reader.text("WORKER_HOME") or "~/.cache/comfysheet-worker").expanduser().absolute(),
        max_input_bytes=int(reader.number("MAX_INPUT_MB", 32, 0.001, 4096) * 1_000_000),
        input_cache_bytes=int(reader.number("INPUT_CACHE_MB", 2048, 0, 1_000_000) * 1_000_000),
        comfy_dir=reader.folder("COMFY_DIR", holding="main.py"),
        comfy_args=reader.arguments("COMFY_ARGS"),
        comfy_python=reader.text("COMFY_PYTHON") or None,
        comfy_port=reader.whole("COMFY_PORT", 8188, 0, 65_000),
        gpus=reader.gpus(),
        warm_workflow=reader.file("WARM_WORKFLOW"),
        metrics_port=reader.whole("METRICS_PORT", 0, 0, 65_535) or None,
        metrics_host=reader.text("METRICS_HOST") or "127.0.0.1",
        log_level=reader.choice("LOG_LEVEL", "info", LOG_LEVELS),
        log_format=reader.choice("LOG_FORMAT", "json", LOG_FORMATS),
    )
    faults = reader.faults + _contradictions(settings)
    if faults:
        raise SettingsError(faults)
    return settings


def _contradictions(settings: Settings) -> list[str]:
    """Find times that do not fit together: a lease must outlive missed heartbeats and end before the visibility."""
    faults = faults_of(settings.comfy_args)
    if settings.gpus and settings.comfy_dir is None:
        faults.append("GPUS needs COMFY_DIR: only a ComfyUI that the worker starts can be pinned to a GPU.")
    if settings.heartbeat_s > settings.lease_s / 4:
        faults.append(
            f"HEARTBEAT_S ({settings.heartbeat_s:g}) must be at most a quarter of LEASE_S ({settings.lease_s:g})."
        )
    if settings.lease_s + settings.clock_skew_s >= settings.visibility_s:
        faults.append(
            f"LEASE_S ({settings.lease_s:g}) plus CLOCK_SKEW_S ({settings.clock_skew_s:g}) "
            f"must be less than VISIBILITY_S ({settings.visibility_s})."
        )
    return faults
