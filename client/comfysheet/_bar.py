"""Show how a job, or a table of jobs, comes along: on a terminal only, and on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comfysheet.values import JobInfo

if TYPE_CHECKING:
    from rich.progress import Progress

Watch = Callable[[JobInfo], None]
Wish = bool | Watch | None
"""True: a bar; False: nothing; None: a bar if a person looks on; a function: it is told each change."""


def wants_bar(wish: Wish) -> bool:
    """Say whether a bar is drawn."""
    return sys.stderr.isatty() if wish is None else wish is True


@contextmanager
def watching(wish: Wish) -> Iterator[Watch | None]:
    """Give the function to tell a job's changes to; None: nobody looks on."""
    if callable(wish):
        yield wish
    elif not wants_bar(wish):
        yield None
    else:
        with _progress() as progress:
            task = progress.add_task("submitting", total=1.0)

            def show(job: JobInfo) -> None:
                done = 1.0 if job.status == "succeeded" else job.progress.fraction if job.progress else 0.0
                progress.update(task, description=describe(job), completed=done)

            yield show


@contextmanager
def counting(wish: bool | None, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how many rows are done and how many of them failed."""
    if not wants_bar(wish):
        yield lambda _done, _failed: None
        return
    with _progress() as progress:
        task = progress.add_task("rows", total=total)

        def show(done: int, failed: int) -> None:
            words = f"{done} rows" + (f", {failed} failed" if failed else "")
            progress.update(task, description=words, completed=done)

        yield show


def describe(job: JobInfo) -> str:
    """Say in a few words where a job stands."""
    if job.status == "queued" and job.queue_position is not None:
        return f"queued, position {job.queue_position}"
    if job.status != "running" or job.progress is None or not job.progress.node_class:
        return job.status
    steps = f" {job.progress.step}/{job.progress.steps}" if job.progress.steps else ""
    return f"{job.progress.node_class}{steps}"


def _progress() -> Progress:
    # Only now: most programs never show it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.description}", markup=False)
    return Progress(
        words, BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )
