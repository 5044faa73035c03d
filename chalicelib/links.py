"""
Make and check the links to outputs.

A cell holds a stable link; following it answers with a fresh, short-lived address of the file. The unguessable part
is a token in the job's own item: changing the token revokes every link of that job.
"""

from __future__ import annotations

import hmac

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, Output

LINK_LIFETIME_S = 300
"""How long the address behind a link works."""

NO_SUCH_OUTPUT = Rejected("not_found", "There is no such file. The link may be incomplete, or was revoked.")


def output_link(job: Job, index: int) -> str:
    """Give the stable link of output *index*."""
    return f"{job.link_base}/o/{job.job_id}/{index}?t={job.view_token}"


def thumbnail_link(job: Job, index: int) -> str:
    """Give the stable link of output *index*'s thumbnail, for =IMAGE()."""
    return f"{job.link_base}/o/{job.job_id}/{index}/thumb?t={job.view_token}"


def gallery_link(job: Job) -> str:
    """Give the link of the page that shows all outputs."""
    return f"{job.link_base}/o/{job.job_id}/?t={job.view_token}"


def linked_output(job: Job | None, index: str, token: str) -> Output:
    """Answer the output that a link names; raise `Rejected` (not_found) without telling what was wrong."""
    expected = job.view_token if job else "-" * 22
    if not hmac.compare_digest(expected.encode(), token.encode()) or job is None:
        raise NO_SUCH_OUTPUT
    if not index.isascii() or not index.isdigit() or int(index) >= len(job.outputs):
        raise NO_SUCH_OUTPUT
    return job.outputs[int(index)]
