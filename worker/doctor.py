"""
Look at everything a worker needs, one by one, and say what to do about what is wrong: `python -m worker doctor`.

Nothing is taken or rendered, and nothing sent unless told; into the bucket goes one small file,
`runs/doctor/<worker>.txt`, for there is no other way to see that it may be written.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import queue
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import Final

from boto3.session import Session
from botocore.exceptions import BotoCoreError
from rich.console import Console

from worker.checks import (
    BAD,
    GOOD,
    NOTE,
    Check,
    Cloud,
    Finding,
    check_comfy,
    check_credentials,
    check_disk,
    check_folder,
    check_websocket,
)
from worker.settings import Settings, SettingsError, read_settings

MARKS: Final = {GOOD: "[green]✓[/]", BAD: "[red]✗[/]", NOTE: "[yellow]–[/]"}
CHECK_S: Final = 15.0
"""For one check as a whole: a few answers of 5 s, and a server that drips is no reason to wait for ever."""

EPILOG: Final = "Exit codes: 0 all is well, 1 something is wrong, 2 the settings make no sense."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be told."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="findings as JSON, for programs")
    parser.add_argument("--send", action="store_true", help="also put one event of the kind Doctor on the bus")


def main(chosen: argparse.Namespace) -> int:
    """Check; the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        findings = [Finding("settings", BAD, fault, "Set it in the environment or in .env.") for fault in error.faults]
        _show(console, findings, as_json=chosen.json)
        return 2
    findings = []
    for name, check in checks(settings, send=chosen.send):
        finding = within(name, check, CHECK_S)
        findings.append(finding)
        if not chosen.json:
            _show(console, [finding], as_json=False)
    if chosen.json:
        _show(console, findings, as_json=True)
    wrong = sum(finding.verdict == BAD for finding in findings)
    if not chosen.json:
        told = "All is well." if not wrong else f"{wrong} of {len(findings)} things are wrong."
        console.print(told)
    return 1 if wrong else 0


def checks(settings: Settings, *, send: bool = False) -> Iterator[tuple[str, Check]]:
    """List the checks by name, cheapest and nearest first. Those of AWS are left out when it cannot be configured."""
    yield "settings", lambda: Finding("settings", GOOD, f"worker {settings.worker_name}, {settings.slots} slots")
    yield "disk", partial(check_disk, settings)
    if settings.comfy_dir is not None:
        yield "ComfyUI", partial(check_folder, settings)
    else:
        for url in settings.comfy_urls:
            yield "ComfyUI", partial(check_comfy, url)
            yield "WebSocket", partial(check_websocket, url)
    try:
        session = Session(region_name=settings.region)
    except BotoCoreError as error:
        # A profile that is not there, or a file that cannot be read: nothing of AWS can be asked.
        remedy = "Check AWS_PROFILE and ~/.aws/config. Nothing of AWS was looked at."
        unusable = Finding("credentials", BAD, type(error).__name__, remedy)
        yield "credentials", lambda: unusable
        return
    cloud = Cloud(settings, session)
    yield "credentials", partial(check_credentials, session)
    yield "jobs queue", cloud.jobs_queue
    yield "completions queue", cloud.completions
    yield "dead letters", cloud.dead_letters
    yield "jobs table", cloud.table
    yield "workers table", cloud.workers
    yield "workflows", cloud.workflows
    yield "bucket", cloud.write
    yield "event bus", partial(cloud.bus, send=send)
    yield "clock", cloud.clock


def within(name: str, check: Check, limit_s: float) -> Finding:
    """Give what *check* finds; that it does not end within *limit_s*, or trips over an answer, is a finding too."""
    found: queue.SimpleQueue[Finding] = queue.SimpleQueue()

    def look() -> None:
        try:
            found.put(check())
        except Exception as error:
            seen = f"an answer that makes no sense ({type(error).__name__})"
            found.put(Finding(name, BAD, seen, "Look whether something else answers at that address."))

    threading.Thread(target=look, name=f"check {name}", daemon=True).start()
    try:
        return found.get(timeout=limit_s)
    except queue.Empty:
        seen = f"no answer within {limit_s:g} s"
        return Finding(name, BAD, seen, "Look whether it is overloaded, or a proxy in between holds the answer.")


def _show(console: Console, findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2) + "\n")
        return
    for finding in findings:
        console.print(f"{MARKS[finding.verdict]} [bold]{finding.name:18}[/]", end="")
        console.print(finding.seen, markup=False)
        if finding.remedy:
            console.print(f"{'':20}→ {finding.remedy}", markup=False)
