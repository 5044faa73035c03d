"""
Write one structured line per event worth counting, to stderr.

Only the fields named here get through: a prompt's text, a signed URL or a key cannot slip into a line by accident.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Final

import structlog
from structlog.typing import EventDict, WrappedLogger

FIELDS: Final = frozenset(
    {"event", "level", "timestamp", "worker", "slot", "action", "reason", "exception"}
    | {"job_id", "attempt", "seq", "prompt_id", "client_id", "version", "workflow", "receives"}
    | {"code", "node", "node_class", "error", "delay_s", "seconds", "execution_ms", "upload_ms", "expected_s", "left_s"}
    | {"files", "size_bytes", "url", "comfyui", "device", "skew_s", "slots", "thread", "command", "line", "host"}
)
MAX_TEXT: Final = 500


def known_fields_only(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Let known fields through, URLs without their query or login, and texts only up to a length."""
    return {name: _clean(value) for name, value in line.items() if name in FIELDS}


def _clean(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = re.sub(r"(https?://)(?:[^/\s@]*@)?([^\s?#]*)[?#]\S*", r"\1\2", value)
    return re.sub(r"(https?://)[^/\s@]+@", r"\1", text)[: MAX_TEXT * 8 if "\n" in text else MAX_TEXT]


def start_logs(level: str, form: str, worker: str) -> None:
    """Set up structlog for the process: *form* is `json` or `text`; every line names the *worker*."""
    text = form == "text"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if text else "iso", utc=not text),
            _named(worker) if not text else _as_is,
            known_fields_only,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
            if text
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _as_is(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    return line


def _named(worker: str) -> structlog.typing.Processor:
    def add(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        line["worker"] = worker
        return line

    return add
