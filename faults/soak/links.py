"""Follow the links of a job's outputs as a browser does, and say which lead elsewhere than they should (P16)."""

from __future__ import annotations

import threading

import requests

from chalicelib.contract.job import Job
from chalicelib.links import output_link, thumbnail_link
from faults.files import is_picture, is_recorded, misplaced


def misleading(job: Job) -> list[str]:
    """Follow the links of a job, as its row and its API give them; say which lead elsewhere than they should."""
    wrong = misplaced(job)
    for number, output in enumerate(job.outputs):
        answer = _followed(output_link(job, number))
        if answer.status_code != 200:
            wrong.append(f"a link of job {job.job_id} is answered {answer.status_code}")
        elif not is_recorded(answer.content, output):
            wrong.append(f"a link of job {job.job_id} does not lead to the file that was recorded")
        if output.thumbnail_key is None:
            wrong.append(f"job {job.job_id} made a picture and has none for the Preview cell: {output.key}")
            continue
        answer = _followed(thumbnail_link(job, number))
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
