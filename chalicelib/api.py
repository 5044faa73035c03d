"""
Answer programs and browsers: check who asks, parse strictly, call one use case. A sheet's routes are in sheet_api.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import quote

from chalicelib import __version__, gallery
from chalicelib.api_parts import STATUS, Answer, Call, check_size, parse
from chalicelib.cancel import Hints, cancel
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import Job, Output, run_key
from chalicelib.contract.ports import Ledger
from chalicelib.job_view import job_object
from chalicelib.keys import ApiKey
from chalicelib.links import LINK_LIFETIME_S, NO_SUCH_OUTPUT, is_shown_in_a_page, linked_job, linked_output
from chalicelib.submit import JobRequest, Submit

MAX_INLINE_BYTES: Final = 1_900_000
"""A Lambda answers with 6 MB of JSON at most, in which a quotation mark takes two bytes and an umlaut six."""

MAX_EXCERPTS: Final = 8
MAX_EXCERPT_BYTES: Final = 16_384
"""How many text outputs a results page shows at once, and up to which size."""


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
        number = _attempt(job, attempt)
        earlier = " Earlier ones may have theirs: add ?attempt=NUMBER." if number > 1 else ""
        return self._record(job, number, content_type="application/x-ndjson", else_try=earlier)

    def _record(self, job: Job, number: int, *, content_type: str, else_try: str = "") -> Answer:
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

    def _own(self, job_id: str, client_id: str) -> Job:
        job = self._ledger.get(job_id)
        if job is None or job.client_id != client_id:
            raise Rejected("not_found", "There is no job of this id.")
        return job

    # -- links --------------------------------------------------------------------------------------------------

    def gallery(self, job_id: str, token: str) -> Answer:
        """GET /o/{job}: the results page. Errors are pages too, and a wrong link is not told what is wrong with it."""
        return _as_page(lambda: self._gallery(linked_job(self._linkable(job_id), token)))

    def record(self, job_id: str, token: str, attempt: str) -> Answer:
        """GET /o/{job}/record: the run record of an attempt (the committed or last one), as text to read."""

        def read() -> Answer:
            job = linked_job(self._linkable(job_id), token)
            answer = self._record(job, _attempt(job, attempt), content_type="text/plain; charset=utf-8")
            return replace(answer, headers=gallery.headers() | answer.headers)

        return _as_page(read)

    def _gallery(self, job: Job) -> Answer:
        """Draw the page; the beginnings of its first small texts are read for it."""
        small = [(n, text) for n, text in enumerate(job.outputs) if text.kind == "text"]
        read = ((n, self._excerpt(text)) for n, text in small[:MAX_EXCERPTS] if text.size_bytes <= MAX_EXCERPT_BYTES)
        excerpts = {n: content for n, content in read if content is not None}
        # Any file tells where files are; the policy of the page names the place.
        storage = self._lend(job.outputs[0], "inline") if job.outputs else ""
        page = gallery.page(job, self._now_ms(), excerpts)
        return Answer(200, page, gallery.headers(job.link_base, storage))

    def _excerpt(self, output: Output) -> str | None:
        """Read a text for the page; None when it cannot be had now."""
        try:
            content = self._files.get(output.key)
        except Unavailable:
            return None
        return None if content is None else content.decode("utf-8", "replace")

    def _linkable(self, job_id: str) -> Job | None:
        """Look a link's job up. DynamoDB fails on a key of more than 2,048 bytes; ours have 36."""
        return self._ledger.get(job_id) if len(job_id) <= 64 else None

    def _lend(self, output: Output, place: str) -> str:
        return self._files.lend(
            output.key,
            lifetime_s=LINK_LIFETIME_S,
            content_type=output.content_type if is_shown_in_a_page(output) else "application/octet-stream",
            disposition=f"{place}; filename*=UTF-8''{quote(output.filename, safe='')}",
        )

    def output(self, job_id: str, index: str, token: str, *, download: bool = False) -> Answer:
        """GET /o/{job}/{index}: send the browser to a fresh address of the file, to show it or (*download*) keep it."""
        output = linked_output(self._linkable(job_id), index, token)
        address = self._lend(output, "inline" if is_shown_in_a_page(output) and not download else "attachment")
        return Answer(302, "", {"Location": address, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    def thumbnail(self, job_id: str, index: str, token: str) -> Answer:
        """GET /o/{job}/{index}/thumb: the picture itself; Google's image fetcher gets no redirect to follow."""
        output = linked_output(self._linkable(job_id), index, token)
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


def _as_page(make: Callable[[], Answer]) -> Answer:
    """Turn the two families of errors into pages for people who followed a link."""
    try:
        return make()
    except Rejected as no:
        return Answer(STATUS.get(no.code, 422), gallery.notice("There is nothing here", no.message), gallery.headers())
    except Unavailable as later:
        headers = gallery.headers() | {"Retry-After": "5"}
        return Answer(503, gallery.notice("Not just now", later.message, reloads=True), headers)


def _attempt(job: Job, asked: str) -> int:
    """Say which attempt is meant: the one that was *asked* for, else the committed or last one; 0: none was made."""
    if asked and not (asked.isascii() and asked.isdigit() and 1 <= int(asked[:9]) <= job.attempt):
        raise Rejected("not_found", f"The job has {job.attempt} attempts; there is no attempt {asked[:20]}.")
    return int(asked) if asked else job.committed_attempt or job.attempt
