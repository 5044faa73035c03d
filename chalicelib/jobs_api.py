"""
Answer programs about their jobs: parse strictly, call one use case. Whose key it is, the gate has seen to.
"""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.api_parts import Answer, Call, check_size, parse
from chalicelib.cancel import Hints, cancel
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger
from chalicelib.job_view import job_object
from chalicelib.records import Records, attempt_of
from chalicelib.submit import JobRequest, Submit


class JobsApi:
    """Answer below /api/v2/jobs. Each method raises `Rejected` or `Unavailable`; `guarded` makes answers of them."""

    def __init__(
        self, *, submit: Submit, ledger: Ledger, records: Records, hints: Hints, now_ms: Callable[[], int]
    ) -> None:
        self._submit = submit
        self._ledger = ledger
        self._records = records
        self._hints = hints
        self._now_ms = now_ms

    def create(self, call: Call) -> Answer:
        """POST /api/v2/jobs: 201 for a new job, 200 for a replay of the same request."""
        key = call.caller
        check_size(call.body)
        job_key = call.headers.get("idempotency-key")
        if job_key is not None and not 1 <= len(job_key) <= 255:
            raise Rejected("bad_request", "Idempotency-Key must have 1 to 255 characters.")
        outcome = self._submit.one(key.client_id, job_key, parse(JobRequest, call.body), call.link_base, key.account)
        return Answer(201 if outcome.created else 200, job_object(outcome.job))

    def get(self, call: Call) -> Answer:
        """GET /api/v2/jobs/{id}."""
        key = call.caller
        return Answer(200, job_object(self._own(call.path["job_id"], key.client_id)))

    def cancel(self, call: Call) -> Answer:
        """POST /api/v2/jobs/{id}/cancel: the job as it stands then; repeating it changes nothing."""
        key = call.caller
        job = cancel(call.path["job_id"], key.client_id, ledger=self._ledger, hints=self._hints, now_ms=self._now_ms)
        return Answer(200, job_object(job))

    def log(self, call: Call) -> Answer:
        """GET /api/v2/jobs/{id}/log: the run record of an attempt (the committed or last one), as JSON lines."""
        key = call.caller
        job = self._own(call.path["job_id"], key.client_id)
        number = attempt_of(job, call.query.get("attempt", ""))
        earlier = " Earlier ones may have theirs: add ?attempt=NUMBER." if number > 1 else ""
        return self._records.give(job, number, content_type="application/x-ndjson", else_try=earlier)

    def _own(self, job_id: str, client_id: str) -> Job:
        job = self._ledger.get(job_id)
        if job is None or job.client_id != client_id:
            raise Rejected("not_found", "There is no job of this id.")
        return job
