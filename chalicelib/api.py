"""
Answer programs and browsers: check who asks, parse strictly, call one use case. A sheet's routes are in sheet_api.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import quote

from chalicelib import __version__
from chalicelib.api_parts import Answer, Call, check_size, parse
from chalicelib.cancel import Hints, cancel
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, run_key
from chalicelib.contract.ports import Ledger
from chalicelib.job_view import job_object
from chalicelib.keys import ApiKey
from chalicelib.links import LINK_LIFETIME_S, NO_SUCH_OUTPUT, linked_output
from chalicelib.submit import JobRequest, Submit

_SHOWN_IN_A_PAGE: Final = ("image/png", "image/jpeg", "image/webp", "image/gif", "video/", "audio/", "text/plain")

MAX_INLINE_BYTES: Final = 1_900_000
"""A Lambda answers with 6 MB of JSON at most, in which a quotation mark takes two bytes and an umlaut six."""


class KeyRing(Protocol):
    """Look keys up (`chalicelib.keys.Keys`)."""

    def api_key(self, authorization: str) -> ApiKey:
        """Answer whose key the header carries."""


class FileStore(Protocol):
    """Read and lend files (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a file."""

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        """Give a short-lived address of a file."""


class Api:
    """Answer the routes of app.py. Each method raises `Rejected` or `Unavailable`; `guarded` makes answers of them."""

    def __init__(
        self,
        *,
        submit: Submit,
        ledger: Ledger,
        keys: KeyRing,
        files: FileStore,
        hints: Hints,
        now_ms: Callable[[], int],
    ) -> None:
        self._submit = submit
        self._ledger = ledger
        self._keys = keys
        self._files = files
        self._hints = hints
        self._now_ms = now_ms

    # -- programs -----------------------------------------------------------------------------------------------

    def create_job(self, call: Call) -> Answer:
        """POST /api/v2/jobs: 201 for a new job, 200 for a replay of the same request."""
        key = self._keys.api_key(call.headers.get("authorization", ""))
        check_size(call.body)
        job_key = call.headers.get("idempotency-key")
        if job_key is not None and not 1 <= len(job_key) <= 255:
            raise Rejected("bad_request", "Idempotency-Key must have 1 to 255 characters.")
        outcome = self._submit.one(key.client_id, job_key, parse(JobRequest, call.body), call.link_base)
        return Answer(201 if outcome.created else 200, job_object(outcome.job))

    def get_job(self, call: Call, job_id: str) -> Answer:
        """GET /api/v2/jobs/{id}."""
        key = self._keys.api_key(call.headers.get("authorization", ""))
        return Answer(200, job_object(self._own(job_id, key.client_id)))

    def cancel_job(self, call: Call, job_id: str) -> Answer:
        """POST /api/v2/jobs/{id}/cancel: the job as it stands then; repeating it changes nothing."""
        key = self._keys.api_key(call.headers.get("authorization", ""))
        job = cancel(job_id, key.client_id, ledger=self._ledger, hints=self._hints, now_ms=self._now_ms)
        return Answer(200, job_object(job))

    def job_log(self, call: Call, job_id: str, attempt: str) -> Answer:
        """GET /api/v2/jobs/{id}/log: the run record of an attempt (the committed or last one), as JSON lines."""
        key = self._keys.api_key(call.headers.get("authorization", ""))
        job = self._own(job_id, key.client_id)
        if attempt and not (attempt.isascii() and attempt.isdigit() and 1 <= int(attempt[:9]) <= job.attempt):
            raise Rejected("not_found", f"The job has {job.attempt} attempts; there is no attempt {attempt[:20]}.")
        number = int(attempt) if attempt else job.committed_attempt or job.attempt
        where = run_key(job.client_id, job.job_id, number)
        record = self._files.get(where) if number else None
        if record is None:
            earlier = " Earlier ones may have theirs: add ?attempt=NUMBER." if number > 1 else ""
            raise Rejected(
                "not_found", f"There is no run record of this attempt yet: it is written when it ends.{earlier}"
            )
        if len(record) <= MAX_INLINE_BYTES:
            # As text: Chalice 1.34 encodes bytes for the types of app.binary_types only, and a Lambda's answer is JSON.
            text = record.decode("utf-8", "replace")
            return Answer(200, text, {"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        name = f"{job.job_id}-{number}.jsonl"
        address = self._files.lend(
            where,
            lifetime_s=LINK_LIFETIME_S,
            content_type="application/x-ndjson",
            disposition=f"attachment; filename={name}",
        )
        return Answer(302, "", {"Location": address, "Cache-Control": "no-store"})

    def _own(self, job_id: str, client_id: str) -> Job:
        job = self._ledger.get(job_id)
        if job is None or job.client_id != client_id:
            raise Rejected("not_found", "There is no job of this id.")
        return job

    # -- links --------------------------------------------------------------------------------------------------

    def output(self, job_id: str, index: str, token: str) -> Answer:
        """GET /o/{job}/{index}: send the browser to a fresh address of the file."""
        output = linked_output(self._ledger.get(job_id), index, token)
        shown = output.content_type.startswith(_SHOWN_IN_A_PAGE)
        place = "inline" if shown else "attachment"
        address = self._files.lend(
            output.key,
            lifetime_s=LINK_LIFETIME_S,
            content_type=output.content_type if shown else "application/octet-stream",
            disposition=f"{place}; filename*=UTF-8''{quote(output.filename, safe='')}",
        )
        return Answer(302, "", {"Location": address, "Cache-Control": "no-store"})

    def thumbnail(self, job_id: str, index: str, token: str) -> Answer:
        """GET /o/{job}/{index}/thumb: the picture itself; Google's image fetcher gets no redirect to follow."""
        output = linked_output(self._ledger.get(job_id), index, token)
        picture = self._files.get(output.thumbnail_key) if output.thumbnail_key else None
        if picture is None:
            raise NO_SUCH_OUTPUT
        headers = {
            "Content-Type": output.thumbnail_type or "image/jpeg",
            "Cache-Control": "public, max-age=86400, immutable",
            "X-Content-Type-Options": "nosniff",
        }
        return Answer(200, picture, headers)

    def health(self) -> Answer:
        """GET /health: the app answers; nothing behind it is asked."""
        return Answer(200, {"status": "ok", "version": __version__})
