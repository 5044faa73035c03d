"""Answer browsers that follow a link from a row: the results page, its files and pictures, the run record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from chalicelib import __version__, gallery
from chalicelib.api_parts import STATUS, Answer
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import Job, Output
from chalicelib.contract.ports import Ledger
from chalicelib.links import LINK_LIFETIME_S, NO_SUCH_OUTPUT, is_own, is_shown_in_a_page, linked_job, linked_output
from chalicelib.records import FileStore, Records, attempt_of

MAX_EXCERPTS: Final = 8
MAX_EXCERPT_BYTES: Final = 16_384
"""How many text outputs a results page shows at once, and up to which size."""


class LinkApi:
    """Answer below /o. The link's token stands for a key."""

    def __init__(self, *, ledger: Ledger, files: FileStore, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._files = files
        self._records = Records(files)
        self._now_ms = now_ms

    def gallery(self, job_id: str, token: str) -> Answer:
        """GET /o/{job}: the results page. Errors are pages too, and a wrong link is not told what is wrong with it."""
        return _as_page(lambda: self._gallery(linked_job(self._linkable(job_id), token)))

    def record(self, job_id: str, token: str, attempt: str) -> Answer:
        """GET /o/{job}/record: the run record of an attempt (the committed or last one), as text to read."""

        def read() -> Answer:
            job = linked_job(self._linkable(job_id), token)
            answer = self._records.give(job, attempt_of(job, attempt), content_type="text/plain; charset=utf-8")
            return replace(answer, headers=gallery.headers() | answer.headers)

        return _as_page(read)

    def _gallery(self, job: Job) -> Answer:
        """Draw the page; the beginnings of its first small texts are read for it."""
        small = [(n, text) for n, text in enumerate(job.outputs) if text.kind == "text" and is_own(job, text)]
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
            # Served under our own name: never a type that a worker makes up, for it could carry a script.
            "Content-Type": "image/png" if output.thumbnail_type == "image/png" else "image/jpeg",
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
