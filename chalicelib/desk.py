"""Accept programs' jobs in two steps: check, then put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Submitted
from chalicelib.keys import ApiKey
from chalicelib.submit import JobRequest, Submit


@dataclass(frozen=True)
class Draft:
    """Hold a job that was found good; nothing of it is written."""

    job: Job


class SubmitDesk:
    """Do it by `Submit`."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit

    def one(self, caller: ApiKey, job_key: str | None, request: JobRequest, link_base: str) -> Submitted:
        """Accept a job."""
        return self._submit.one(caller.client_id, job_key, request, link_base)

    def draft(
        self, caller: ApiKey, job_key: str | None, request: JobRequest, link_base: str, *, batch_id: str | None = None
    ) -> Draft:
        """Check a request and make its job."""
        name = job_key or str(uuid4())
        job, _ = self._submit._job(caller.client_id, name, request.workflow_id, request.inputs, link_base)
        return Draft(job.model_copy(update={"key_id": caller.key_id, "batch_id": batch_id}))

    def accept(self, drafts: Sequence[Draft]) -> list[Submitted]:
        """Put jobs and send their messages."""
        outcomes = self._submit._put(draft.job for draft in drafts)
        self._submit._send(zip((draft.job for draft in drafts), outcomes, strict=True))
        return outcomes
