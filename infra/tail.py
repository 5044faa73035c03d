"""The verb `tail`: what the functions log, in one stream, oldest first."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError
from rich.text import Text

from infra.deployed import Deployed, deployed, now_ms
from infra.functions import FUNCTIONS
from infra.jobs import find
from infra.paper import BAD, CARE, FAINT, read_span, show
from infra.release import add_stage_options
from infra.stack import StackFailed

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_PLATFORM: Final = ("START RequestId", "END RequestId", "REPORT RequestId", "INIT_START", "EXTENSION", "RESTORE_START")
"""How Lambda's own lines begin; they count as DEBUG."""
_USUAL: Final = frozenset(
    {"level", "location", "message", "timestamp", "service", "action", "job_id", "exception", "exception_name"}
    | {"cold_start", "function_name", "function_memory_size", "function_arn", "function_request_id", "xray_trace_id"}
    | {"stack_trace", "correlation_id"}
)
"""Fields of a line that are shown elsewhere, or not at all."""
_LATE_MS: Final = 15_000
"""How late a line may come: it is looked for once more until then."""
_EVERY_S: Final = 2.0
_WORDS: Final = [each.word for each in FUNCTIONS]


@dataclass(frozen=True)
class Line:
    """Hold one line of a log; *at* in ms since the epoch."""

    id: str
    at: int
    function: str
    text: str

    @property
    def fields(self) -> Mapping[str, Any]:
        """Read it as JSON; empty: it is none."""
        try:
            read = json.loads(self.text)
        except ValueError:
            return {}
        return read if isinstance(read, dict) else {}

    @property
    def level(self) -> str:
        """Say how grave it is. What is no line of ours is a fault's trace, or Lambda's own word."""
        if told := str(self.fields.get("level", "")).upper():
            return told if told in LEVELS else "INFO"
        if self.fields.get("_aws"):
            return "DEBUG"
        if self.text.startswith(_PLATFORM):
            return "DEBUG"
        return "ERROR" if "Traceback" in self.text or "Task timed out" in self.text else "INFO"


def register(verbs: Verbs) -> None:
    """Add the verb."""
    verb = verbs.add_parser("tail", help="what the functions log, or what they log about one job")
    add_stage_options(verb)
    verb.add_argument("--job", help="lines that name this job: its id, or the Job ID of a row")
    verb.add_argument("--client", default="", help="whose job it is, where a row's Job ID is given")
    verb.add_argument("--function", action="append", choices=_WORDS, help="one function's; repeatable (usually all)")
    verb.add_argument("--since", default="10m", help="how far back: 30s, 10m, 2h, 7d (default: 10m)")
    verb.add_argument("--level", default="INFO", type=str.upper, choices=LEVELS, help="the least level (default: INFO)")
    verb.add_argument("--follow", "-f", action="store_true", help="go on with new lines until Ctrl-C")
    verb.add_argument("--json", action="store_true", help="lines as JSON: at, function and the line as it was written")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    job_id = find(there, arguments.job, arguments.client).job_id if arguments.job else ""
    groups = _groups(there, arguments.function or _WORDS)
    logs = Logs(there.client("logs"), groups, job_id)
    begin = now_ms() - read_span(arguments.since)
    shown = 0
    try:
        lines = follow(logs, begin, now_ms, time.sleep) if arguments.follow else logs.since(begin)
        for line in lines:
            if LEVELS.index(line.level) >= LEVELS.index(arguments.level):
                shown += 1
                _print(line, as_json=arguments.json)
    except KeyboardInterrupt:
        return 0
    if not shown and not arguments.json:
        about = f" about job {job_id}" if job_id else ""
        print(f"No line{about} within the last {arguments.since}; CloudWatch is late by some seconds.", file=sys.stderr)
    return 0


def _groups(there: Deployed, asked: Sequence[str]) -> Mapping[str, str]:
    found = {function: facts.log_group for function, facts in there.functions.items() if function in asked}
    if not found:
        raise StackFailed(f"Stage {there.stage} has no function {', '.join(asked)}; deploy it first.")
    return found


class Logs:
    """Read the log groups of functions (*groups*: name by function), those lines that name *job_id* (empty: all)."""

    def __init__(self, client: Any, groups: Mapping[str, str], job_id: str) -> None:
        self._client = client
        self._groups = groups
        # In quotes: a term that CloudWatch looks for in the whole line, a fault's trace included.
        self._filter = {"filterPattern": f'"{job_id}"'} if job_id else {}

    def since(self, begin: int) -> list[Line]:
        """Give the lines from *begin* (ms) on, of all functions by time."""
        lines = [line for function, group in self._groups.items() for line in self._of(function, group, begin)]
        return sorted(lines, key=lambda line: line.at)

    def _of(self, function: str, group: str, begin: int) -> Iterator[Line]:
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=max(0, begin), **self._filter
        )
        try:
            for page in pages:
                for event in page["events"]:
                    message = str(event["message"])
                    # Not every CloudWatch numbers its events; two lines alike of the same moment are one then.
                    name = event.get("eventId") or f"{event.get('logStreamName')} {event['timestamp']} {message}"
                    yield Line(name, event["timestamp"], function, message.rstrip())
        except ClientError as error:
            # A function that never ran may have no log group.
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise


def follow(logs: Logs, begin: int, now: Callable[[], int], wait: Callable[[float], None]) -> Iterator[Line]:
    """Give lines as they come, each once, for ever. Lines that come late are out of their order, not lost."""
    seen: dict[str, int] = {}
    while True:
        asked_at = now()
        for line in logs.since(begin):
            if line.id not in seen:
                seen[line.id] = line.at
                yield line
        begin = max(begin, asked_at - _LATE_MS)
        seen = {each: at for each, at in seen.items() if at >= begin}
        wait(_EVERY_S)


def _print(line: Line, *, as_json: bool) -> None:
    if as_json:
        told = {"at": line.at, "function": line.function, "line": line.fields or line.text}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        show(readable(line))


def readable(line: Line) -> Text:
    """Write a line for people: time (UTC), function, level, action, job, message, and what else it says."""
    fields, level = line.fields, line.level
    at = time.strftime("%H:%M:%S", time.gmtime(line.at / 1000)) + f".{line.at % 1000:03}"
    style = {"WARNING": CARE, "ERROR": BAD, "CRITICAL": BAD}.get(level, "")
    start = Text.assemble((at, FAINT), f" {line.function:10} ", (f"{level:7}", style), " ")
    if not fields:
        return start.append(" ".join(line.text.split()))
    words = [f"[{fields['action']}]"] if fields.get("action") else []
    words += [str(fields["job_id"])] if fields.get("job_id") else []
    words.append(str(fields.get("message", "")))
    rest = {name: value for name, value in fields.items() if name not in _USUAL and not name.startswith("_")}
    words += [f"{name}={value}" for name, value in rest.items() if value not in ("", None)]
    if fault := str(fields.get("exception", "")).strip():
        words.append(f"({fault.splitlines()[-1]})")
    return start.append(" ".join(words))
