"""
Run one workflow on a ComfyUI, without any cloud: `python -m worker run workflow_api.json`.

Shows what will run, asks, shows how far it is, saves what was made. Ctrl-C stops the run on the server too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from chalicelib.contract import job
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.graph import check_api_format, isolate
from worker.changes import BadChange, Change, apply, read_change
from worker.clock import Clock
from worker.comfy.faults import one_line
from worker.comfy.history import ServerFacts
from worker.comfy.solo import Failed, Result, Solo, Stopped
from worker.logs import start_logs
from worker.settings import DEFAULT_COMFY_URL

MADE: Final = 0
FAILED: Final = 1
WRONG: Final = 2
INTERRUPTED: Final = 130
MOST_BYTES: Final = 4_000_000_000

EPILOG: Final = """\
examples:
  python -m worker run workflow_api.json
  python -m worker run workflow_api.json --set 6.text="a cat in the snow" --set 3.seed=42 --yes
  python -m worker run --record 1.jsonl           (what GET /api/v2/jobs/{id}/log gave: the same picture again)

Exit codes: 0 made, 1 it failed (the sentence says why), 2 nothing was started, 130 stopped by Ctrl-C.
"""


class Wrong(Exception):
    """Say in a sentence why nothing was started."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may be told."""
    parser.epilog = EPILOG
    parser.add_argument("workflow", nargs="?", type=Path, help="a file made with Workflow > Export (API)")
    parser.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="change one input")
    parser.add_argument("--yes", action="store_true", help="do not ask before it starts")
    parser.add_argument("--out", type=Path, default=Path("outputs"), metavar="DIR", help="where files go (outputs)")
    parser.add_argument("--url", default=None, help=f"the ComfyUI server (COMFY_URL, or {DEFAULT_COMFY_URL})")
    parser.add_argument("--record", type=Path, metavar="FILE", help="a run record: run exactly that again")
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=PATH", help="an input file that the record names"
    )


def main(chosen: argparse.Namespace) -> int:
    """Run; the exit code."""
    console = Console(highlight=False, soft_wrap=True)
    start_logs("error", "text", "run")
    url = (chosen.url or os.environ.get("COMFY_URL", "").split(",")[0] or DEFAULT_COMFY_URL).strip().rstrip("/")
    solo = Solo(url, Clock())
    try:
        facts = _facts(solo, url)
        changes: list[Change] = []
        if chosen.record is not None:
            graph = _recorded(chosen, solo, facts, console)
        else:
            graph, changes = _chosen(chosen)
        _show(console, url, facts, graph, changes)
        if not chosen.yes and not _agreed(console):
            console.print("Nothing was started.")
            return WRONG
    except (Wrong, BadChange, Rejected) as wrong:
        print(wrong, file=sys.stderr)
        return WRONG
    return _run(console, solo, graph, chosen.out)


def read_graph(path: Path) -> dict[str, Any]:
    """Read a workflow file; raise `Wrong` or `Rejected` unless it is a graph in API format."""
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Wrong(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise Wrong(f"{path} is no JSON file.") from None
    check_api_format(graph)
    return dict(graph)


def _facts(solo: Solo, url: str) -> ServerFacts:
    try:
        return solo.comfy.facts()
    except (Unavailable, ValueError):
        raise Wrong(f"No ComfyUI answers at {url}. Start it, or name another with --url.") from None


def _chosen(chosen: argparse.Namespace) -> tuple[dict[str, Any], list[Change]]:
    if chosen.workflow is None:
        raise Wrong("Name a workflow file, or a run record with --record FILE.")
    if chosen.input:
        raise Wrong("--input belongs to --record. To use another file set it: --set 10.image=NAME")
    graph = read_graph(chosen.workflow)
    changes = [read_change(graph, text) for text in chosen.set]
    return apply(graph, changes), changes


def _recorded(chosen: argparse.Namespace, solo: Solo, facts: ServerFacts, console: Console) -> dict[str, Any]:
    """Read the graph of a run record, bring its input files, and say what differs here."""
    if chosen.workflow is not None or chosen.set:
        raise Wrong("With --record nothing is changed: leave out the workflow file and --set.")
    try:
        with chosen.record.open(encoding="utf-8") as lines:
            first = json.loads(lines.readline())
        graph, wanted = first["graph"], first.get("files") or []
        if first["kind"] != "run":
            raise ValueError
    except OSError as error:
        raise Wrong(f"{chosen.record} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError):
        raise Wrong(f"{chosen.record} is no run record: its first line must be the run.") from None
    check_api_format(graph)
    if first.get("comfyui") != facts.version:
        told = f"It was made with ComfyUI {first.get('comfyui')}; this is {facts.version}. The result may differ."
        console.print(f"[yellow]{told}[/]")
    return _with_inputs(graph, wanted, chosen.input, solo)


def _with_inputs(
    graph: dict[str, Any], wanted: Sequence[Mapping[str, Any]], given: Sequence[str], solo: Solo
) -> dict[str, Any]:
    """Upload the files that the record names, each checked by its hash, and name them in a copy of the graph."""
    paths = dict(text.partition("=")[::2] for text in given)
    missing = [str(each["parameter"]) for each in wanted if str(each["parameter"]) not in paths]
    if missing:
        hashes = ", ".join(f"{each['parameter']} (sha256 {str(each['sha256'])[:12]}…)" for each in wanted)
        raise Wrong(f"The record had input files: {hashes}. Name each with --input NAME=PATH.")
    text, folder = json.dumps(graph), f"run/{uuid4()}"
    for each in wanted:
        path = Path(paths[str(each["parameter"])])
        try:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != each["sha256"]:
                    raise Wrong(f"{path} is not the file that the record names (its sha256 differs).")
                name = solo.comfy.upload(path.name, file, folder)
        except OSError as error:
            raise Wrong(f"{path} cannot be read: {error.strerror}.") from None
        except Unavailable as error:
            raise Wrong(error.message) from None
        text = text.replace(json.dumps(str(each["name"])), json.dumps(name))
    return dict(json.loads(text))


def _show(console: Console, url: str, facts: ServerFacts, graph: Mapping[str, Any], changes: Sequence[Change]) -> None:
    """Say what will run, and where."""
    console.print(f"[bold]ComfyUI[/] {facts.version} on {facts.device}, {url}")
    classes = [node["class_type"] for node in graph.values()]
    counted = ", ".join(
        f"{name} × {classes.count(name)}" if classes.count(name) > 1 else name for name in dict.fromkeys(classes)
    )
    console.print(f"[bold]{len(classes)} nodes[/] {one_line(counted, 300)}", markup=True)
    for node, told in graph.items():
        for name, value in told["inputs"].items():
            if name in ("text", "prompt") and isinstance(value, str) and value.strip():
                console.print(f"  {node}.{name}: {one_line(value, 100)}", markup=False)
            elif name in ("seed", "noise_seed", "ckpt_name", "unet_name") and not isinstance(value, list):
                console.print(f"  {node}.{name}: {value}", markup=False)
    for change in changes:
        before, after = one_line(str(change.before), 60), one_line(str(change.after), 60)
        console.print(f"  changed: {change.node}.{change.input}: {before} → {after}", markup=False)


def _agreed(console: Console) -> bool:
    if not sys.stdin.isatty():
        raise Wrong("Nobody can be asked here: say --yes to run it.")
    try:
        return console.input("Run it? [Y/n] ", markup=False).strip().lower() in ("", "y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False


def _run(console: Console, solo: Solo, graph: Mapping[str, Any], out: Path) -> int:
    """Run *graph*, with its save nodes writing into a folder of this run's own, and save what comes."""
    # Without a folder of its own a repeated run would be answered from ComfyUI's cache with an old file.
    graph = isolate(graph, f"run/{uuid4()}")
    stops = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stops
        stops += 1
        if stops > 1:
            os._exit(INTERRUPTED)
        console.print("Stopping the run on the server … (Ctrl-C again: leave at once)")
        solo.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        with solo.listening():
            result = _followed(console, solo, graph)
            saved = solo.save(result, out, MOST_BYTES)
    except Stopped:
        console.print("The run was stopped on the server. Nothing was saved.")
        return INTERRUPTED
    except (Failed, Rejected, Unavailable) as error:
        text = str(error) if isinstance(error, Failed) else getattr(error, "error", error)
        print(text.sentence() if isinstance(text, job.JobError) else text, file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"The files cannot be saved in {out}: {error.strerror}.", file=sys.stderr)
        return FAILED
    finally:
        signal.signal(signal.SIGINT, before)
    took = f" in {result.execution_ms / 1000:.1f} s" if result.execution_ms is not None else ""
    console.print(f"[green]Made {len(saved)} file{'s' if len(saved) != 1 else ''}{took}:[/]")
    for path in saved:
        console.print(f"  {path} ({path.stat().st_size:,} bytes)", markup=False)
    return MADE


def _followed(console: Console, solo: Solo, graph: Mapping[str, Any]) -> Result:
    """Run *graph* and show how far it is: a bar on a terminal, lines elsewhere."""
    if not console.is_terminal:
        said: list[str] = []

        def tell(progress: job.Progress) -> None:
            line = f"{progress.fraction:4.0%}  {progress.node_class or ''}"
            if line not in said[-1:]:
                said.append(line)
                console.print(line, markup=False)

        return solo.run(graph, tell)
    columns = (
        TextColumn("[bold]{task.percentage:3.0f} %"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task("waiting", total=1.0)

        def draw(progress: job.Progress) -> None:
            steps = f" {progress.step}/{progress.steps}" if progress.steps else ""
            done = f"node {min(progress.nodes_done + 1, progress.nodes_total)}/{progress.nodes_total}"
            shown.update(task, completed=progress.fraction, description=f"{done} {progress.node_class or ''}{steps}")

        return solo.run(graph, draw)
