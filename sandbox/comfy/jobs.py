"""Show queue and history as ComfyUI's /api/jobs does (since 0.6; shapes as recorded from 0.28.0). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sandbox.comfy.prompt_queue import Order
from sandbox.comfy.values import Json

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
PREVIEWED = ("images", "video", "audio")


def queued_job(order: Order, status: str) -> Json:
    """Show a prompt that waits or runs."""
    return _without_none(
        {
            "id": order.prompt_id,
            "status": status,
            "priority": order.number,
            "create_time": order.extra_data.get("create_time"),
            "outputs_count": 0,
            "workflow_id": _workflow_id(order.extra_data),
        }
    )


def finished_job(prompt_id: str, entry: Json, *, whole: bool = False) -> Json:
    """Show a prompt of the history; *whole* adds outputs, status messages and the graph."""
    number, _, prompt, extra_data, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    end: Json = next(
        (messages[e] for e in ("execution_success", "execution_error", "execution_interrupted") if e in messages), {}
    )
    files = list(_files(entry["outputs"]))
    job = _without_none(
        {
            "id": prompt_id,
            "status": _status(entry),
            "priority": number,
            "create_time": extra_data.get("create_time"),
            "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
            "execution_end_time": end.get("timestamp"),
            "execution_error": messages.get("execution_error"),
            "outputs_count": len(files),
            "preview_output": _preview(files),
            "workflow_id": _workflow_id(extra_data),
        }
    )
    if whole:
        job |= {
            "outputs": entry["outputs"],
            "execution_status": entry["status"],
            "workflow": {"prompt": prompt, "extra_data": extra_data},
        }
    return job


def all_jobs(
    running: Iterable[Order], waiting: Iterable[Order], history: dict[str, Json], statuses: Iterable[str]
) -> list[Json]:
    """Show every job that has one of *statuses*, the newest first."""
    jobs = [queued_job(order, "pending") for order in waiting]
    jobs += [queued_job(order, "in_progress") for order in running]
    jobs += [finished_job(prompt_id, entry) for prompt_id, entry in history.items()]
    wanted = set(statuses)
    return sorted((j for j in jobs if j["status"] in wanted), key=lambda j: j.get("create_time", 0), reverse=True)


def _status(entry: Json) -> str:
    if entry["status"]["status_str"] == "success":
        return "completed"
    return "cancelled" if any(m[0] == "execution_interrupted" for m in entry["status"]["messages"]) else "failed"


def _files(outputs: Json) -> Iterator[Json]:
    """List the dicts that nodes reported, each with the node and the key it stood under."""
    for node_id, shown in outputs.items():
        for key, items in shown.items():
            if key != "animated" and isinstance(items, list):
                yield from ({**item, "nodeId": node_id, "mediaType": key} for item in items if isinstance(item, dict))


def _preview(files: list[Json]) -> Json | None:
    """Choose what to show of a job: a kept file before a temporary one."""
    shown = [f for f in files if f["mediaType"] in PREVIEWED]
    return next((f for f in shown if f.get("type") == "output"), shown[0] if shown else None)


def _workflow_id(extra_data: Json) -> str | None:
    workflow_id: str | None = extra_data.get("extra_pnginfo", {}).get("workflow", {}).get("id")
    return workflow_id


def _without_none(job: Json) -> Json:
    return {key: value for key, value in job.items() if value is not None}
