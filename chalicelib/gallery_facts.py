"""Draw the two tables of a results page: what was asked for, and how the job went."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from chalicelib.contract.job import Job
from chalicelib.contract.states import OPEN, State
from chalicelib.gallery_html import Html, tag
from chalicelib.links import record_link

WORD: Final[dict[State, str]] = {
    State.QUEUED: "Waiting",
    State.RUNNING: "Rendering",
    State.SUCCEEDED: "Done",
    State.FAILED: "Failed",
    State.CANCELED: "Cancelled",
}
"""What a state is called on the page."""


def parameters(inputs: Mapping[str, object], templates: Mapping[str, str]) -> Html:
    """Draw a table of names and resolved values, with what was typed; a seed and a long text can be copied."""
    rows = [
        tag(
            "tr",
            tag("th", tag("bdi", name), scope="row"),
            tag("td", _value(number, name, value), _typed(templates.get(name))),
        )
        for number, (name, value) in enumerate(inputs.items())
    ]
    content = tag("table", tag("tbody", *rows), aria_labelledby="parameters")
    none = tag("p", "The workflow took no parameters.", class_="soft")
    return tag("section", tag("h2", "Parameters", id="parameters"), content if rows else none)


def _value(number: int, name: str, value: object) -> Html:
    if value is None or value == "":
        return tag("span", "none" if value is None else "empty", class_="soft")
    place = f"value-{number}"
    shown = tag("span", _plain(value), id=place, class_="value", dir="auto")
    is_seed = "seed" in name.lower()
    if not is_seed and len(_plain(value)) <= 40:
        return shown
    # The button is hidden until the script is there to do it.
    what, label = "Seed" if is_seed else "Text", f"Copy {name}"
    button = tag("button", "Copy", type="button", data_copies=place, data_what=what, aria_label=label, hidden=True)
    return tag("div", shown, button, class_="copied")


def _typed(template: str | None) -> Html | None:
    if template is None:
        return None
    return tag("div", "Typed: ", tag("bdi", template), class_="soft")


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def facts(job: Job, now_ms: int) -> Html:
    """Draw a table of what is known of the job itself."""
    timings, is_open = job.timings, job.state in OPEN
    waited_ms = (job.started_at or (now_ms if is_open else job.finished_at or now_ms)) - job.created_at
    until = " until its last attempt" if job.attempt > 1 else " so far" if is_open and not job.started_at else ""
    known: list[tuple[str, Html | str | None]] = [
        ("Status", WORD[job.state]),
        ("Workflow", tag("bdi", job.workflow_id)),
        ("Submitted", _time(job.created_at)),
        ("Started", _time(job.started_at)),
        ("Finished", _time(job.finished_at)),
        ("Waited", f"{duration(max(0, waited_ms))}{until}"),
        ("Rendered", duration(timings.execution_ms) if timings and timings.execution_ms is not None else None),
        ("Uploaded", duration(timings.upload_ms) if timings and timings.upload_ms is not None else None),
        ("Attempts", str(job.attempt)),
        ("Job ID", tag("bdi", job.job_key)),
        ("Run record", _records(job)),
    ]
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in known if value is not None]
    table = tag("table", tag("tbody", *rows), aria_labelledby="about")
    return tag("section", tag("h2", "Job", id="about"), tag("div", table, id="facts"))


def _records(job: Job) -> Html | str:
    ended = job.attempt - 1 if job.state is State.RUNNING else job.attempt
    if ended < 1:
        return "Written when an attempt ends."
    links = []
    for attempt in range(1, ended + 1):
        counts = " (its files are shown)" if attempt == job.committed_attempt and ended > 1 else ""
        label = "Open" if ended == 1 else f"Attempt {attempt}"
        link = tag("a", label, tag("span", " the run record", class_="unseen"), href=record_link(job, attempt))
        links.append(tag("li", link, counts))
    return tag("ul", *links, class_="records")


def _time(ms: int | None) -> Html | None:
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return tag("time", f"{moment:%Y-%m-%d %H:%M:%S} UTC", datetime=f"{moment:%Y-%m-%dT%H:%M:%SZ}")


def duration(ms: int) -> str:
    """Say a duration for people: 0.4 s, 12 s, 3 min 4 s, 2 h 5 min."""
    seconds = ms / 1000
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
