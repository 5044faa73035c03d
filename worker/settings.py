"""
Read the worker's settings from the environment, once, and refuse to start on any that make no sense.

Durations have defaults, places never do (but ComfyUI's own, which is where it listens when nobody says otherwise).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

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

    comfy_url: str
    """Without a trailing slash."""
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

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name).lower() or default
        if value not in choices:
            self.faults.append(f'{name} must be one of {", ".join(choices)}, not "{value}".')
        return value

    def comfy_url(self) -> str:
        """Find ComfyUI under any of the names that people have used for it."""
        for name in ("COMFY_URL", "COMFY_API"):
            if value := self.text(name):
                return self.url(name, value)
        host, port = self.text("COMFYUI_HOST"), self.text("COMFYUI_PORT")
        if not host and not port:
            return DEFAULT_COMFY_URL
        return self.url("COMFYUI_HOST and COMFYUI_PORT", f"http://{host or '127.0.0.1'}:{port or '8188'}")

    def region(self) -> str:
        return self.text("AWS_REGION") or self.text("AWS_DEFAULT_REGION") or self.place("AWS_REGION", "the AWS region")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read all settings from *environment*; raise `SettingsError` with every fault at once."""
    reader = _Reader(environment)
    settings = Settings(
        comfy_url=reader.comfy_url(),
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
        log_level=reader.choice("LOG_LEVEL", "info", LOG_LEVELS),
        log_format=reader.choice("LOG_FORMAT", "json", LOG_FORMATS),
    )
    faults = reader.faults + _contradictions(settings)
    if faults:
        raise SettingsError(faults)
    return settings


def _contradictions(settings: Settings) -> list[str]:
    """Find times that do not fit together: a lease must outlive missed heartbeats and end before the visibility."""
    faults = []
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
