"""Do what the commands say. Each answers its exit code; errors rise to `comfysheet.cli.main`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from comfysheet._bar import counting, describe
from comfysheet._facts import Done
from comfysheet._inputs import Row, read_csv
from comfysheet.cli.typed import Usage, graph_of, inputs_of
from comfysheet.client import ComfySheet
from comfysheet.errors import ComfySheetError
from comfysheet.jobs import Job, Result
from comfysheet.values import WorkflowInfo

_LATEST: Final = 20
_FAILED: Final = 1


def run(chosen: argparse.Namespace) -> int:
    """Make a job, wait, save: the files' paths, a line each."""
    graph, inputs, options = _what(chosen)
    options |= {"timeout": chosen.timeout, "progress": _progress(chosen)}
    with ComfySheet(chosen.url) as sheet:
        result = sheet.run(chosen.workflow, inputs, **options) if graph is None else sheet.run_graph(graph, **options)
        _tell(chosen, result.job, result.save_all(chosen.output))
    return 0


def submit(chosen: argparse.Namespace) -> int:
    """Make a job: its id."""
    graph, inputs, options = _what(chosen)
    with ComfySheet(chosen.url) as sheet:
        job = (
            sheet.submit(chosen.workflow, inputs, **options) if graph is None else sheet.submit_graph(graph, **options)
        )
    _print(chosen, job.info.raw, job.id)
    return 0


def wait(chosen: argparse.Namespace) -> int:
    """Wait for jobs in the order they were named; 1 when one of them did not succeed."""
    code = 0
    with ComfySheet(chosen.url) as sheet:
        for job_id in chosen.jobs:
            job = sheet.job(job_id).wait(chosen.timeout, progress=_progress(chosen))
            if job.status != "succeeded":
                code = _FAILED
            saved = job.result().save_all(chosen.output) if chosen.output and job.status == "succeeded" else []
            if saved:
                _tell(chosen, job, saved)
            else:
                _print(chosen, job.info.raw, _line(job))
    return code


def status(chosen: argparse.Namespace) -> int:
    """Show jobs, a line each: id, status, workflow, and what there is to say."""
    with ComfySheet(chosen.url) as sheet:
        jobs: Iterable[Job] = (sheet.job(one) for one in chosen.jobs) if chosen.jobs else islice(sheet.jobs(), _LATEST)
        for job in jobs:
            _print(chosen, job.info.raw, _line(job))
    return 0


def logs(chosen: argparse.Namespace) -> int:
    """Print a run's record as it is."""
    with ComfySheet(chosen.url) as sheet:
        sys.stdout.write(sheet.job(chosen.job).log())
    return 0


def cancel(chosen: argparse.Namespace) -> int:
    """Cancel jobs and show them; a job that has ended stays as it is."""
    with ComfySheet(chosen.url) as sheet:
        for job_id in chosen.jobs:
            job = sheet.job(job_id).cancel()
            _print(chosen, job.info.raw, _line(job))
    return 0


def workflows(chosen: argparse.Namespace) -> int:
    """List workflows, or one's parameters."""
    with ComfySheet(chosen.url) as sheet:
        found = (sheet.workflow(chosen.workflow),) if chosen.workflow else sheet.workflows()
    for one in found:
        _print(chosen, one.raw, _parameters(one) if chosen.workflow else f"{one.id}\t{one.name or one.description}")
    return 0


def map_rows(chosen: argparse.Namespace) -> int:
    """Make a job of each row: the files' paths; failures on standard error, and 1 at the end."""
    path = Path(chosen.rows)
    if not path.is_file():
        raise Usage(f"There is no file {path}.")
    table = read_csv(path, files=tuple(chosen.files))
    total, failed = sum(1 for _ in table), 0
    with ComfySheet(chosen.url) as sheet, counting(_progress(chosen), total) as count:
        rows = sheet.map(
            chosen.workflow,
            table,
            in_flight=chosen.in_flight,
            key=chosen.key,
            timeout=chosen.timeout,
            priority=chosen.priority,
            tags=chosen.tags,
        )
        for number, done in enumerate(rows, 1):
            failed += _tell_row(chosen, done)
            count(number, failed)
    if failed:
        print(f"comfysheet: {failed} of {total} rows failed.", file=sys.stderr)
    return _FAILED if failed else 0


# -- saying -------------------------------------------------------------------------------------------------------


def _what(chosen: argparse.Namespace) -> tuple[dict[str, Any] | None, Row, dict[str, Any]]:
    """Say what job is asked for: a graph or inputs, and options."""
    graph, inputs = graph_of(chosen.workflow), inputs_of(chosen.parameters)
    if graph is not None and inputs:
        raise Usage("A graph takes no -p: it has its values in itself.")
    return graph, inputs, {"idempotency_key": chosen.key, "priority": chosen.priority, "tags": chosen.tags}


def _progress(chosen: argparse.Namespace) -> bool | None:
    return False if chosen.quiet else None


def _tell(chosen: argparse.Namespace, job: Job, saved: list[Path]) -> None:
    _print(chosen, {**job.info.raw, "saved": [str(path) for path in saved]}, "\n".join(str(path) for path in saved))


def _tell_row(chosen: argparse.Namespace, done: Done[Result]) -> int:
    """Save a row's files and say so; 1 when it failed."""
    try:
        result = done.unwrap()
        saved = [str(path) for path in result.save_all(chosen.output, prefix=f"{done.index + 1:04d}-")]
    except ComfySheetError as error:
        if chosen.json:
            print(json.dumps({"row": done.index + 1, "error": error.message}), flush=True)
        else:
            print(f"comfysheet: row {done.index + 1}: {error}", file=sys.stderr)
        return 1
    _print(chosen, {"row": done.index + 1, "job": result.job.id, "saved": saved}, "\n".join(saved))
    return 0


def _print(chosen: argparse.Namespace, raw: object, words: str) -> None:
    # At once: whoever reads from the pipe may act on the first line while the second is made.
    print(json.dumps(raw, ensure_ascii=False) if chosen.json else words, flush=True)


def _line(job: Job) -> str:
    files = len(job.outputs) or job.info.raw.get("outputs_count", 0)
    said = job.error.sentence() if job.error else f"{files} file{'s'[: files > 1]}" if files else describe(job.info)
    parts = (job.id, job.status, job.workflow_id, said if said != job.status else "")
    return "\t".join(part for part in parts if part)


def _parameters(workflow: WorkflowInfo) -> str:
    lines = [f"{workflow.id}\t{workflow.name}", *([workflow.description] if workflow.description else [])]
    for one in workflow.parameters:
        default = "" if one.get("default") is None else f"default {one['default']}"
        lines.append("\t".join(str(part) for part in (f"  {one.get('name')}", one.get("type", ""), default) if part))
    return "\n".join(lines)
