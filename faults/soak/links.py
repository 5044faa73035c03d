"""Follow the links of a job's outputs as a browser does, and say which lead elsewhere than they should (P16)."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import requests

from chalicelib.contract.job import Job
from chalicelib.links import output_link, thumbnail_link
from faults.files import is_picture, is_recorded, misplaced


@dataclass(frozen=True)
class Shown:
    """Hold the links that a row shows: its Output URL, and the address of the picture in its Preview cell."""

    output: str
    preview: str


def misleading(job: Job, row: Shown | None = None) -> list[str]:
    """
    Follow the links of a job; say which lead elsewhere than they should.

    *row*: what its row shows, which is followed as it stands there; None: the links that the API would give.
    """
    wrong = misplaced(job)
    pictured = next((number for number, output in enumerate(job.outputs) if output.thumbnail_key), None)
    for number, output in enumerate(job.outputs):
        is_shown = row is not None and number == (pictured or 0)
        answer = _followed(row.output if row is not None and is_shown else output_link(job, number))
        if answer.status_code != 200:
            wrong.append(f"a link of job {job.job_id} is answered {answer.status_code}")
        elif not is_recorded(answer.content, output):
            wrong.append(f"a link of job {job.job_id} does not lead to the file that was recorded")
        if output.thumbnail_key is None:
            wrong.append(f"job {job.job_id} made a picture and has none for the Preview cell: {output.key}")
            continue
        answer = _followed(row.preview if row is not None and is_shown else thumbnail_link(job, number))
        if answer.status_code != 200 or not is_picture(answer.content):
            wrong.append(f"the Preview cell of job {job.job_id} shows no picture (answer {answer.status_code})")
    return wrong


def _followed(link: str) -> requests.Response:
    """Follow a link as a browser does; a call that is turned away, for there are too many, comes again."""
    for pause_s in (0.5, 1, 2, 4, 8):
        answer = requests.get(link, timeout=60)
        if answer.status_code < 500 and answer.status_code != 429:
            return answer
        threading.Event().wait(pause_s)
    return requests.get(link, timeout=60)
