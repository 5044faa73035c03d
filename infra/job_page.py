"""Lay out everything that is known of one job, for an operator: prompts only when asked for."""

from __future__ import annotations

import json
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from chalicelib.contract.job import Job, prompt_id_of, run_key
from chalicelib.contract.states import CELL_WORD, TERMINAL, State
from chalicelib.links import gallery_link, output_link, record_link
from infra.paper import moment, pairs, plain, span, when


def document(job: Job, *, with_inputs: bool) -> dict[str, Any]:
    """Give a job to scripts: the ledger's own words, times in RFC 3339; secrets and (usually) prompts left out."""
    told: dict[str, Any] = plain(job)
    for name in ("view_token", "claim_token", "submit_token"):
        told.pop(name)
    if not with_inputs:
        told.pop("inputs"), told.pop("templates")
    for name in ("created_at", "enqueued_at", "deadline", "started_at", "finished_at", "due_at"):
        told[name] = moment(told[name])
    for name in ("not_before", "lease_until"):
        told[name] = moment(told[name] or None)
    return {**told, "is_shown": job.is_shown, "is_held": job.is_held, "links": links(job)}


def links(job: Job) -> dict[str, Any]:
    """Name where a job can be looked at; whoever has these may look, as with the link in a cell."""
    found: dict[str, Any] = {
        "page": gallery_link(job),
        "outputs": [output_link(job, i) for i in range(len(job.outputs))],
    }
    if job.committed_attempt:
        found["record"] = record_link(job, job.committed_attempt)
    if job.target is not None:
        found["tab"] = (
            f"https://docs.google.com/spreadsheets/d/{job.target.spreadsheet_id}/edit#gid={job.target.sheet_id}"
        )
    return found


def page(job: Job, now: int, *, with_inputs: bool) -> list[RenderableType]:
    """Lay out a job's page for a terminal."""
    parts: list[RenderableType] = [
        pairs(
            [
                ("job", job.job_id),
                ("state", _state(job, now)),
                ("client", job.client_id + (f" (key {job.key_id})" if job.key_id else "")),
                ("workflow", f"{job.workflow_id}  {job.workflow_hash[:12]}"),
                ("repeats", job.retry_of or ""),
                ("batch", job.batch_id or ""),
                ("tags", ", ".join(job.tags)),
                ("priority", str(job.priority) if job.priority else ""),
            ]
        ),
        Text("\nTimeline", style="bold"),
        pairs(_timeline(job, now)),
        Text("\nAttempts", style="bold"),
        pairs(_attempts(job)),
        *_fault(job),
        Text("\nWhere it is shown", style="bold"),
        pairs(_shown(job)),
    ]
    if with_inputs:
        values = {**job.inputs, **{f"{name} (typed)": text for name, text in job.templates.items()}}
        parts.append(Text("\nInputs", style="bold"))
        parts.append(pairs((name, json.dumps(value, ensure_ascii=False)) for name, value in values.items()))
    return parts


def _state(job: Job, now: int) -> str:
    word = job.state.value
    if job.state is State.QUEUED and job.is_held:
        return f"{word}: held back until its client's earlier jobs have ended"
    if job.state is State.QUEUED and job.not_before > now:
        return f"{word}: its next attempt is in {span(job.not_before - now)}"
    if job.state is State.RUNNING:
        done = f" {job.progress.fraction:.0%}" if job.progress else ""
        dead = "; its worker's lease is over, another one takes it" if job.lease_until < now else ""
        return f"{word}: {job.phase or 'claimed'}{done}{dead}"
    return word


def _timeline(job: Job, now: int) -> list[tuple[str, str]]:
    lines = [("created", when(job.created_at))]
    if job.enqueued_at != job.created_at:
        lines.append(("last sent", f"{when(job.enqueued_at)}  message {job.seq}"))
    if job.started_at is not None:
        lines.append(("started", f"{when(job.started_at)}  after {span(job.started_at - job.created_at)}"))
    if job.timings is not None:
        parts = (("rendered in", job.timings.execution_ms), ("uploaded in", job.timings.upload_ms))
        lines += [(name, span(length)) for name, length in parts if length is not None]
    if job.finished_at is not None:
        since = job.started_at if job.started_at is not None else job.created_at
        lines.append(("ended", f"{when(job.finished_at)}  after {span(job.finished_at - since)}"))
    if job.state not in TERMINAL:
        left = job.deadline - now
        lines.append(("deadline", f"{when(job.deadline)}  " + (f"in {span(left)}" if left > 0 else "is over")))
    if job.due_at is not None:
        lines.append(("swept", f"{when(job.due_at)}  when the sweeper looks at it, unless it moves"))
    return lines


def _attempts(job: Job) -> list[tuple[str, str]]:
    if not job.attempt:
        return [("made", "none yet")]
    lines = [("made", f"{job.attempt}, {job.budget_left} left"), ("worker", job.owner or "")]
    if job.state is State.RUNNING:
        lines.append(("lease until", when(job.lease_until)))
    lines.append(("prompt id", f"{prompt_id_of(job.job_id, job.attempt)}  of the last attempt, as ComfyUI has it"))
    lines.append(("run record", run_key(job.client_id, job.job_id, job.committed_attempt or job.attempt)))
    return lines


def _fault(job: Job) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for title, fault in (("Error", job.error), ("Last attempt's error", job.last_error)):
        if fault is None or (fault is job.last_error and fault == job.error):
            continue
        node = f"{fault.node_class or ''} {fault.node or ''}".strip()
        told = [("code", fault.code), ("text", fault.text), ("what to do", fault.hint), ("node", node)]
        parts += [Text(f"\n{title}", style="bold"), pairs(told)]
    return parts


def _shown(job: Job) -> list[tuple[str, str]]:
    found = links(job)
    lines = []
    if job.target is not None:
        told = f"says {CELL_WORD[job.state]}" if job.is_shown else "is behind: this version is not written yet"
        lines += [("row", f"{job.job_key} in the column Job ID; it {told}"), ("tab", str(found["tab"]))]
    elif job.job_key:
        lines.append(("its own name", job.job_key))
    lines.append(("webhook", job.webhook_url or ""))
    lines.append(("page", str(found["page"])))
    lines += [(f"file {number}", address) for number, address in enumerate(found["outputs"])]
    return lines
