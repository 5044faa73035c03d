"""
Read ComfyUI's history entry: the only place a verdict comes from.

Shapes: ComfyUI 2024-03 to 0.38. `status` is absent before January 2024 (the entry's presence then means success).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """Name how a prompt ended."""

    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Entry:
    """Hold what the history says of one ended prompt."""

    ending: Ending
    outputs: Mapping[str, Any]
    """Node id to whatever the node reported: dictionaries of lists mostly, anything at all sometimes."""
    fault: Mapping[str, Any]
    """The data of `execution_error`, empty when there is none."""
    execution_ms: int | None
    """From execution_start to the end, by the server's clock."""
    status: str = "success"
    """As the server words it."""


class Place(StrEnum):
    """Name where a prompt is on the server."""

    PENDING = "pending"
    RUNNING = "running"
    ENDED = "ended"
    NOWHERE = "nowhere"


@dataclass(frozen=True)
class Whereabouts:
    """Say where a prompt is; *entry* when it ended; *is_idle*: nothing runs on the server at all."""

    place: Place
    entry: Entry | None = None
    is_idle: bool = False


@dataclass(frozen=True)
class ServerFacts:
    """Hold what a server says of itself."""

    version: str
    device: str
    argv: tuple[str, ...] = ()
    """How it was started; empty when it does not say (2024-03)."""
    vram_total_bytes: int | None = field(default=None, compare=False)
    vram_free_bytes: int | None = field(default=None, compare=False)
    """Of the first device. They change from moment to moment, and do not make another server of it."""


def read_entry(raw: Mapping[str, Any]) -> Entry:
    """Parse one entry of /history."""
    status = raw.get("status")
    status = status if isinstance(status, dict) else {"status_str": "success"}
    told = {}
    messages = status.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            told[message[0]] = message[1]
    outputs = raw.get("outputs")
    if status.get("status_str") == "success":
        ending = Ending.SUCCESS
    elif "execution_interrupted" in told and "execution_error" not in told:
        ending = Ending.INTERRUPTED
    else:
        ending = Ending.ERROR
    return Entry(
        ending=ending,
        outputs=outputs if isinstance(outputs, dict) else {},
        fault=told.get("execution_error", {}),
        execution_ms=_execution_ms(told),
        status=str(status.get("status_str")),
    )


def _execution_ms(told: Mapping[str, Mapping[str, Any]]) -> int | None:
    begin = told.get("execution_start", {}).get("timestamp")
    for name in ("execution_success", "execution_error", "execution_interrupted"):
        end = told.get(name, {}).get("timestamp")
        if isinstance(begin, int) and isinstance(end, int) and end >= begin:
            return end - begin
    return None
