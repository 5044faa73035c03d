"""Give run records, the story of an attempt as JSON lines, to whoever may read them."""

from __future__ import annotations

from typing import Final, Protocol

from chalicelib.api_parts import Answer
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, run_key
from chalicelib.links import LINK_LIFETIME_S

MAX_INLINE_BYTES: Final = 1_900_000
"""A Lambda answers with 6 MB of JSON at most, in which a quotation mark takes two bytes and an umlaut six."""


class FileStore(Protocol):
    """Read and lend files (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a file."""

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        """Give a short-lived address of a file."""


class Records:
    """Find the run records in the bucket."""

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def give(self, job: Job, number: int, *, content_type: str, else_try: str = "") -> Answer:
        """Give the run record of attempt *number*: itself, or the way to it when it is too large for an answer."""
        where = run_key(job.client_id, job.job_id, number)
        record = self._files.get(where) if number else None
        if record is None:
            raise Rejected(
                "not_found", f"There is no run record of this attempt yet: it is written when it ends.{else_try}"
            )
        if len(record) <= MAX_INLINE_BYTES:
            # As text: Chalice 1.34 encodes bytes for the types of app.binary_types only, and a Lambda's answer is JSON.
            text = record.decode("utf-8", "replace")
            return Answer(200, text, {"Content-Type": content_type, "Cache-Control": "no-store"})
        name = f"{job.job_id}-{number}.jsonl"
        address = self._files.lend(
            where,
            lifetime_s=LINK_LIFETIME_S,
            content_type="application/x-ndjson",
            disposition=f"attachment; filename={name}",
        )
        return Answer(302, "", {"Location": address, "Cache-Control": "no-store"})


def attempt_of(job: Job, asked: str) -> int:
    """Say which attempt is meant: the one that was *asked* for, else the committed or last one; 0: none was made."""
    if asked and not (asked.isascii() and asked.isdigit() and len(asked) <= 9 and 1 <= int(asked) <= job.attempt):
        raise Rejected("not_found", f"The job has {job.attempt} attempts; there is no attempt {asked[:20]}.")
    return int(asked) if asked else job.committed_attempt or job.attempt
