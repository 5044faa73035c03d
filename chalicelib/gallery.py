"""
Draw a job's results page: its outputs, parameters, times and run records.

Pure: a job goes in, HTML comes out. All that a job holds is somebody's text, so nothing gets into the page but through
`gallery_html`, and the page's policy lets no script, style or address in but our own and the file store's. The page
asks nobody else for anything, and no request carries its address, in which the token is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from chalicelib.cells import prompt_of
from chalicelib.contract.job import Job
from chalicelib.contract.states import OPEN, State
from chalicelib.gallery_facts import WORD, duration, facts, parameters
from chalicelib.gallery_html import Html, tag
from chalicelib.gallery_tiles import hero, shortened, tiles

REFRESH_S: Final = 5
"""How often the page of a job that is under way looks again."""

_HERE: Final = Path(__file__).parent
_STYLE: Final = Html((_HERE / "gallery.css").read_text("utf-8"))
_SCRIPT: Final = Html((_HERE / "gallery.js").read_text("utf-8"))
_ICON: Final = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#188038"/>'
    '<path d="M3 12l3.5-5 2.5 3 1.5-2 2.500 4z" fill="#fff"/></svg>'
)

_PHASE: Final[dict[str, str]] = {"rendering": "Rendering now.", "uploading": "Rendered; the files are being stored."}


def headers(link_base: str = "", storage: str = "") -> dict[str, str]:
    """
    Give the headers of a page whose files are reached at *link_base* and lie at the address *storage*.

    A picture's address leads on to the file store, and a policy looks at the place that it is led to as well.
    """
    places = " ".join(dict.fromkeys(["'self'", *(_origin(url) for url in (link_base, storage) if _origin(url))]))
    policy = {
        "default-src": "'none'",
        "img-src": f"{places} data:",
        "media-src": places,
        "style-src": _hash(_STYLE),
        "script-src": _hash(_SCRIPT),
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
    }


def page(job: Job, now_ms: int, excerpts: Mapping[int, str] | None = None) -> str:
    """Draw the page of *job* as it stands at *now_ms*; *excerpts* are the beginnings of text outputs, by index."""
    is_open = job.state in OPEN
    prompt = prompt_of(job.inputs).strip()
    word, count = WORD[job.state], len(job.outputs)
    body = tag(
        "div",
        tag(
            "header",
            tag(
                "div",
                tag("span", tag("span", word, class_=f"badge {job.state.value}"), id="state"),
                tag("span", f"{job.workflow_id} · {count} {'output' if count == 1 else 'outputs'}")
                if count
                else tag("span", job.workflow_id),
                class_="top",
            ),
            tag("h1", shortened(prompt, 200) if prompt else f"Results of {job.workflow_id}", dir="auto"),
        ),
        tag(
            "main",
            _under_way(job, now_ms) if is_open else None,
            _why_not(job) if job.state in (State.FAILED, State.CANCELED) else None,
            _outputs(job, prompt, excerpts or {}),
            tag("div", parameters(job.inputs, job.templates), facts(job, now_ms), class_="sheets"),
        ),
        tag(
            "footer",
            tag("p", "Whoever has the address of this page can see it and its files."),
            tag("p", f"Job {job.job_id}"),
            tag("span", role="status", id="said", class_="unseen"),
        ),
        class_="page",
    )
    return _document(f"{word}: {shortened(prompt or job.workflow_id, 60)}", body, reloads=is_open, script=_SCRIPT)


def notice(title: str, sentence: str, *, reloads: bool = False) -> str:
    """Draw a page that says one thing, such as that there is nothing here."""
    body = tag("div", tag("main", tag("h1", title), tag("p", sentence)), class_="page")
    return _document(title, body, reloads=reloads)


def _document(title: str, body: Html, *, reloads: bool, script: Html | None = None) -> str:
    # In <noscript>, for the script does it more gently: it keeps the reader's place.
    again = tag("noscript", tag("meta", http_equiv="refresh", content=REFRESH_S)) if reloads else None
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("title", f"{title} – ComfySheet"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        again,
        tag("link", rel="icon", href=_ICON),
        tag("style", _STYLE),
    )
    return "<!doctype html>\n" + tag(
        "html", head, tag("body", body, tag("script", script) if script else None), lang="en"
    )


def _under_way(job: Job, now_ms: int) -> Html:
    """Say how far the job is; the script looks for id `live` and brings its parts up to date."""
    progress = job.progress if job.state is State.RUNNING else None
    done = None if progress is None else round(progress.fraction * 100)
    bar = tag("progress", f"{done} %" if done is not None else None, value=done, max=100, aria_label="Progress")
    return tag(
        "section",
        tag("p", _now(job), id="now", class_="first", role="status"),
        tag(
            "div",
            bar if job.state is State.RUNNING else None,
            tag("p", " · ".join(_figures(job, now_ms)), class_="soft"),
            tag("p", "The attempt before did not finish: ", tag("bdi", job.last_error.sentence()))
            if job.last_error and job.attempt
            else None,
            id="figures",
        ),
        id="live",
        class_="note",
        aria_label="Progress of the job",
    )


def _now(job: Job) -> str:
    if job.state is State.RUNNING:
        return _PHASE.get(job.phase or "", "A worker has taken the job and prepares it.")
    return "Waiting for its next attempt." if job.attempt else "Waiting for a free worker."


def _figures(job: Job, now_ms: int) -> Iterator[str]:
    progress = job.progress
    if job.state is State.RUNNING and progress is not None:
        yield f"{round(progress.fraction * 100)} %"
        if progress.steps:
            yield f"step {progress.step or 0} of {progress.steps}"
        if progress.node_class or progress.node:
            yield f"at {progress.node_class or progress.node}"
        if progress.nodes_total:
            yield f"{progress.nodes_done} of {progress.nodes_total} nodes done"
    since = job.started_at if job.state is State.RUNNING and job.started_at else job.enqueued_at
    yield f"{'running' if job.state is State.RUNNING else 'waiting'} for {duration(max(0, now_ms - since))}"
    yield f"this page looks again every {REFRESH_S} seconds"


def _why_not(job: Job) -> Html:
    if job.state is State.CANCELED:
        return tag(
            "section", tag("p", "This job was cancelled.", class_="first"), class_="note", aria_label="Cancelled"
        )
    error = job.error
    if error is None:
        return tag("section", tag("p", "This job failed.", class_="first"), class_="note failed", aria_label="Error")
    where = " ".join(part for part in (error.node_class, f"(node {error.node})" if error.node else None) if part)
    return tag(
        "section",
        tag("p", error.text, class_="first", dir="auto"),
        tag("p", error.hint, dir="auto") if error.hint else None,
        tag("p", f"At {where}. " if where else None, "Code: ", tag("code", error.code), class_="soft"),
        class_="note failed",
        aria_label="Error",
    )


def _outputs(job: Job, prompt: str, excerpts: Mapping[int, str]) -> Html | None:
    if not job.outputs:
        return tag("p", "The job ended without a file.", class_="soft") if job.state is State.SUCCEEDED else None
    first = next((index for index, output in enumerate(job.outputs) if output.thumbnail_key), 0)
    return tag(
        "section",
        tag("h2", "Outputs", class_="unseen"),
        hero(job, first, prompt, excerpts.get(first)),
        tiles(job, first, prompt, excerpts),
    )


def _origin(url: str) -> str:
    """Give scheme, host and port of *url*, as a policy names a place; empty when it has none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
