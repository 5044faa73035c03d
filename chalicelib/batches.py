"""
Accept many jobs at once, and keep them together.

- Every job of a batch is checked before the first is put: if one is not good none is made, and all faults are told.
  With *partial* the good ones are made.
- A batch's record, made once and never changed, says which jobs it has; it is written before they are, and once they
  are let in: of a batch that is turned away (429) nothing is left, and its key is free for another request. A request
  that is repeated with its key finds the record, and makes what is missing: after a lost answer, or a crash halfway.
- Where its jobs are is read from the jobs themselves, by their ids: strongly consistent, and without an index.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import uuid4

from chalicelib.batch import (
    BatchRecord,
    BatchRequest,
    Fault,
    Member,
    batch_id_of,
    is_batch_id,
    record_key,
    requests_of,
)
from chalicelib.cancel import Hints, cancel
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, fingerprint
from chalicelib.contract.ports import Ledger
from chalicelib.contract.states import TERMINAL, State
from chalicelib.keys import ApiKey
from chalicelib.programs import Draft, JobRequest, Programs
from chalicelib.submit import Scalar

log = logging.getLogger(__name__)

SHOWN_OF_PLAN: Final = 5
_AT_ONCE: Final = 8

NO_BATCH: Final = Rejected("not_found", "There is no batch of this id.")


class Shelf(Protocol):
    """Keep documents (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a document."""

    def create(self, key: str, content: bytes) -> bool:
        """Write a document where none is; False: there is one."""


@dataclass(frozen=True)
class Batch:
    """Hold a batch as it stands: its record, and those of its jobs that are there, by id. *created*: by this call."""

    record: BatchRecord
    jobs: dict[str, Job]
    created: bool = False


class _Beaten(Exception):
    """Carry the record of a batch that another request with the same key has made just now."""

    def __init__(self, record: BatchRecord) -> None:
        super().__init__("made meanwhile")
        self.record = record


@dataclass(frozen=True)
class Plan:
    """Say what a batch would be: how many jobs, the first few's inputs, and what is wrong."""

    count: int
    inputs: tuple[dict[str, Scalar], ...]
    faults: tuple[Fault, ...]


class Batches:
    """Accept, show and cancel batches."""

    def __init__(
        self, programs: Programs, ledger: Ledger, shelf: Shelf, hints: Hints, now_ms: Callable[[], int]
    ) -> None:
        self._programs = programs
        self._ledger = ledger
        self._shelf = shelf
        self._hints = hints
        self._now_ms = now_ms

    def plan(self, caller: ApiKey, asked: BatchRequest, link_base: str) -> Plan:
        """Say what a batch would be; nothing is made. Raise `Rejected` (bad_request)."""
        requests = requests_of(asked)
        _, faults = self._drafted(caller, str(uuid4()), None, requests, link_base, asked.tags)
        first = tuple(dict(request.inputs) for request in requests[:SHOWN_OF_PLAN])
        return Plan(len(requests), first, faults)

    def create(self, caller: ApiKey, key: str | None, asked: BatchRequest, link_base: str) -> Batch:
        """
        Accept a batch under its *key* (None: a new one); a repeated request finishes what it began.

        Raise `Rejected`: bad_request, batch_rejected (with every fault in its details), idempotency_key_reuse.
        """
        requests = requests_of(asked)
        name = key or str(uuid4())
        batch_id = batch_id_of(caller.client_id, name)
        request_hash = fingerprint(asked.model_dump(mode="json", exclude={"dry_run"}))
        record = self._record(caller.client_id, batch_id) if key else None
        if record is None:
            try:
                return self._judged(self._made(caller, name, request_hash, asked, requests, link_base))
            except _Beaten as other:
                record = other.record
        if record.request_hash != request_hash:
            raise _reused(name)
        jobs = self._jobs(record)
        if not self._is_canceled(record):
            jobs |= self._finished(caller, record, jobs, requests, link_base)
        return self._judged(Batch(record, jobs))

    def _judged(self, batch: Batch) -> Batch:
        """Answer *batch*; raise `Rejected` when a job of its submitter's own has the name of one of it."""
        record = batch.record
        # Those are called `<key>:<index>`.
        if any(job.batch_id != record.batch_id for job in batch.jobs.values()):
            raise _reused(record.key)
        log.info("batch", extra={"client_id": record.client_id, "batch_id": record.batch_id, "jobs": len(batch.jobs)})
        return batch

    def _made(
        self,
        caller: ApiKey,
        name: str,
        request_hash: str,
        asked: BatchRequest,
        requests: Sequence[JobRequest],
        link_base: str,
    ) -> Batch:
        """Make a batch; raise `_Beaten` when somebody else has made it meanwhile, and then put none."""
        batch_id = batch_id_of(caller.client_id, name)
        drafts, faults = self._drafted(caller, name, batch_id, requests, link_base, asked.tags)
        if faults and not (asked.partial and drafts):
            raise _none_made(len(requests), faults)
        record = BatchRecord(
            batch_id=batch_id,
            client_id=caller.client_id,
            key=name,
            request_hash=request_hash,
            created_at=self._now_ms(),
            count=len(requests),
            tags=tuple(asked.tags),
            varied=tuple(asked.expand),
            members=tuple(Member(index=n, job_id=draft.job.job_id) for n, draft in drafts.items()),
            faults=faults,
        )

        def note() -> None:
            if self._shelf.create(record_key(caller.client_id, batch_id), record.model_dump_json().encode()):
                return
            there = self._record(caller.client_id, batch_id)
            if there is not None:
                raise _Beaten(there)

        outcomes = self._programs.accept([*drafts.values()], caller.account, before=note)
        return Batch(record, {outcome.job.job_id: outcome.job for outcome in outcomes}, created=True)

    def get(self, client_id: str, batch_id: str) -> Batch:
        """Show a batch; raise `Rejected` (not_found), for another client's too."""
        record = self._record(client_id, batch_id) if is_batch_id(batch_id) else None
        if record is None:
            raise NO_BATCH
        return Batch(record, self._jobs(record))

    def cancel(self, client_id: str, batch_id: str) -> Batch:
        """Cancel every open job of a batch, for good: a repeated request makes none any more. Raise as `get`."""
        batch = self.get(client_id, batch_id)
        self._shelf.create(_cancel_key(batch.record), b"{}")
        # Read again: what was put before the mark was there is seen now.
        jobs = self._jobs(batch.record)
        waiting = [job.job_id for job in jobs.values() if job.state not in TERMINAL]

        def stop(job_id: str) -> Job:
            return cancel(job_id, client_id, ledger=self._ledger, hints=self._hints, now_ms=self._now_ms)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            jobs |= {job.job_id: job for job in pool.map(stop, waiting)}
        return Batch(batch.record, jobs)

    def _drafted(
        self,
        caller: ApiKey,
        name: str,
        batch_id: str | None,
        requests: Sequence[JobRequest],
        link_base: str,
        tags: Sequence[str],
        only: frozenset[int] | None = None,
    ) -> tuple[dict[int, Draft], tuple[Fault, ...]]:
        """Check the jobs (those of *only*), each by itself: the good ones, and what is wrong with the others."""
        drafts: dict[int, Draft] = {}
        faults: list[Fault] = []
        seen: set[str] = set()
        for index, request in enumerate(requests):
            if only is not None and index not in only:
                continue
            asked = _tagged(request, tags)
            try:
                draft = self._programs.draft(caller, f"{name}:{index}", asked, link_base, batch_id=batch_id)
                if draft.job.job_id in seen:
                    raise Rejected("bad_request", "Another job of the batch has the same target row.")
            except Rejected as no:
                faults.append(Fault(index=index, code=no.code, message=no.message))
            else:
                seen.add(draft.job.job_id)
                drafts[index] = draft
        return drafts, tuple(faults)

    def _finished(
        self,
        caller: ApiKey,
        record: BatchRecord,
        jobs: dict[str, Job],
        requests: Sequence[JobRequest],
        link_base: str,
    ) -> dict[str, Job]:
        """Put what is missing of a batch, and send what nobody has begun: its message may be what got lost."""
        wanted = frozenset(
            member.index
            for member in record.members
            if (there := jobs.get(member.job_id)) is None or (there.state is State.QUEUED and there.attempt == 0)
        )
        drafts, _ = self._drafted(caller, record.key, record.batch_id, requests, link_base, record.tags, only=wanted)
        outcomes = self._programs.accept([drafts[index] for index in sorted(wanted & drafts.keys())], caller.account)
        return {outcome.job.job_id: outcome.job for outcome in outcomes}

    def _record(self, client_id: str, batch_id: str) -> BatchRecord | None:
        content = self._shelf.get(record_key(client_id, batch_id))
        return None if content is None else BatchRecord.model_validate_json(content)

    def _jobs(self, record: BatchRecord) -> dict[str, Job]:
        return {job.job_id: job for job in self._ledger.get_many([member.job_id for member in record.members])}

    def _is_canceled(self, record: BatchRecord) -> bool:
        return self._shelf.get(_cancel_key(record)) is not None


def _cancel_key(record: BatchRecord) -> str:
    return f"{record_key(record.client_id, record.batch_id)}.canceled"


def _tagged(request: JobRequest, tags: Sequence[str]) -> JobRequest:
    """Give a job the tags of its batch beside its own."""
    return request.model_copy(update={"tags": list(dict.fromkeys((*request.tags, *tags)))}) if tags else request


def _none_made(count: int, faults: Sequence[Fault]) -> Rejected:
    first = f"job {faults[0].index}: {faults[0].message}"
    told = [fault.model_dump() for fault in faults]
    return Rejected(
        "batch_rejected",
        f"{len(faults)} of {count} jobs cannot be made, so none was ({first}) "
        "Put them right, or send partial: true to have the others made.",
        {"rejected": told},
    )


def _reused(key: str) -> Rejected:
    return Rejected(
        "idempotency_key_reuse",
        f"The key {key} stands for another request already. Use a new key for a new batch.",
    )
