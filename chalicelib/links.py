"""
Make and check the links to outputs and to a job's results page.

A cell holds a stable link; following it answers with a fresh, short-lived address of the file. The unguessable part
is a token in the job's own item: changing the token revokes every link of that job.
"""

from __future__ import annotations

import hmac
import re

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, Output

LINK_LIFETIME_S = 300
"""How long the address behind a link works."""

_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_SHOWN_IN_A_PAGE = ("image/png", "image/jpeg", "image/webp", "image/gif", "video/", "audio/", "text/plain")

_NO_JOB = Job.model_construct(view_token="-" * 22)
"""What a token is compared with where there is no job: on the same way, in the same time."""

NO_SUCH_OUTPUT = Rejected("not_found", "There is no such file. The link may be incomplete, or was revoked.")


def output_id(job: Job, output: Output) -> str:
    """
    Name an output as an asset: `<job id>.<attempt>.<number>`, from its place in the bucket; it never changes.

    comfy-sdk 0.5.0 downloads by it (GET /api/v2/assets/{id}/content); v2 says UUID, and the SDK takes any word.
    """
    *_, attempt, name = ["", *output.key.split("/")]
    return f"{job.job_id}.{attempt}.{name.partition('-')[0]}"


def job_id_in(asset_id: str) -> str:
    """Say which job an output's id names; an uploaded asset's id names none that exists."""
    return asset_id.partition(".")[0]


def is_own(job: Job, output: Output) -> bool:
    """
    Say whether an output and its thumbnail lie where the job's own attempts write.

    A worker writes the list of outputs, and the API lends what lies there: whoever stole a worker's key could else have
    any file of the bucket lent to him, by naming it as an output of a job of his own.
    """
    folder = f"outputs/{job.client_id}/{job.job_id}/"
    keys = [key for key in (output.key, output.thumbnail_key) if key is not None]
    return all(key.startswith(folder) and ".." not in key.split("/") for key in keys)


def output_of(job: Job, asset_id: str) -> Output | None:
    """Find the output of this id in its job."""
    return next((one for one in job.outputs if is_own(job, one) and output_id(job, one) == asset_id), None)


def output_link(job: Job, index: int) -> str:
    """Give the stable link of output *index*."""
    return f"{job.link_base}/o/{job.job_id}/{index}?t={job.view_token}"


def thumbnail_link(job: Job, index: int) -> str:
    """Give the stable link of output *index*'s thumbnail, for =IMAGE()."""
    return f"{job.link_base}/o/{job.job_id}/{index}/thumb?t={job.view_token}"


def download_link(job: Job, index: int) -> str:
    """Give the stable link that has the browser keep output *index* as a file."""
    return f"{output_link(job, index)}&download=1"


def gallery_link(job: Job) -> str:
    """
    Give the link of the job's results page.

    Without a slash at the end: Chalice 1.34 refuses a route that has one, and its local server takes both.
    """
    return f"{job.link_base}/o/{job.job_id}?t={job.view_token}"


def record_link(job: Job, attempt: int) -> str:
    """Give the link of the run record of *attempt*."""
    return f"{job.link_base}/o/{job.job_id}/record?t={job.view_token}&attempt={attempt}"


def is_shown_in_a_page(output: Output) -> bool:
    """Say whether a browser may show the file by itself; anything else could carry a script and is kept as a file."""
    return output.content_type.startswith(_SHOWN_IN_A_PAGE)


def linked_job(job: Job | None, token: str) -> Job:
    """Answer *job* when *token* is its own; raise `Rejected` (not_found) without telling what was wrong."""
    expected = (job or _NO_JOB).view_token
    # A lone surrogate can come in by percent-encoding; it must not be an error of its own.
    given = token.encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(expected.encode(), given) or job is None:
        raise NO_SUCH_OUTPUT
    return job


def linked_output(job: Job | None, index: str, token: str) -> Output:
    """Answer the output that a link names; raise `Rejected` (not_found) without telling what was wrong."""
    job = linked_job(job, token)
    # As links write it: "0" and "00" are not two names of a file, and Python reads no number of 5,000 digits.
    if not _INDEX.fullmatch(index) or int(index) >= len(job.outputs):
        raise NO_SUCH_OUTPUT
    output = job.outputs[int(index)]
    if not is_own(job, output):
        raise NO_SUCH_OUTPUT
    return output
