"""
Keep the jobs in DynamoDB: every conditional write of `states.TRANSITIONS`, and the in-doubt rule.

botocore repeats a write whose answer got lost; the repeat then fails its own condition. So every conditional write
asks for ALL_OLD on failure, and an item that carries the caller's own token counts as success.

Only attributes named here and in `moves.py` are written by a worker: its IAM policy lists them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import RETENTION_MS, SHOWN_BEFORE, Job, JobError, Output, Progress, Timings
from chalicelib.contract.ports import Claimed, Lease, Refused, Submitted, refusal_of
from chalicelib.contract.states import OPEN, TERMINAL, TRANSITIONS, State, Verb
from chalicelib.ledger.item import FRESH, GONE, SENT, Attributes, due_shard, item_of, job_of
from chalicelib.ledger.moves import condition_of, write_of
from chalicelib.ledger.reading import DynamoReader
from chalicelib.ledger.table import ConditionFailed

log = logging.getLogger(__name__)

SWEEP_SLACK_MS: Final = 30_000
"""How long after a lease's end, or after a terminal write, the sweeper gets interested."""

_ACCOUNTS: Final = frozenset({"spent_ms", "given_back"})
"""
Attributes that only count: a policy that does not name them yet, or not any more, must not cost the job its attempt.
"""


class DynamoLedger(DynamoReader):
    """Keep jobs in one DynamoDB table. Threads may share it, as they may its client."""

    # -- the submitter's writes ---------------------------------------------------------------------------------

    def submit(self, job: Job) -> Submitted:
        """Put *job* if its id is new; else answer the one that is there, whatever its content."""
        item = item_of(job)
        item["ttl"] = {"N": str((job.created_at + RETENTION_MS) // 1000)}
        try:
            self._table.conditional("put_item", condition_of(Verb.SUBMIT, {}), Item=item)
        except ConditionFailed as refused:
            there = refused.job or self.get(job.job_id)
            if there is None:
                raise Unavailable("The job table answered in contradiction. Try again.") from None
            return Submitted(there, created=there.submit_token == job.submit_token)
        return Submitted(job, created=True)

    def cancel(self, job_id: str, *, now: int) -> Job | None:
        """Cancel an open job; answer the job as it stands then (already ended: unchanged). None: unknown."""
        try:
            return self._move(Verb.CANCEL, job_id, {}, sets=_ending(now), gone=("lease_until",))
        except ConditionFailed as refused:
            return refused.job

    # -- the worker's writes ------------------------------------------------------------------------------------

    def claim(self, job_id: str, seq: int, *, owner: str, token: str, now: int, lease_ms: int) -> Claimed | Refused:
        """Begin an attempt: attempt + 1, budget - 1, our token, a lease until *now* + *lease_ms*."""
        until = now + lease_ms
        sets: Attributes = {
            "owner": owner,
            "claim_token": token,
            "lease_until": until,
            "started_at": now,
            "due_at": until + SWEEP_SLACK_MS,
            "phase": "claimed",
        }
        try:
            job = self._move(
                Verb.CLAIM,
                job_id,
                {"seq": seq, "now": now},
                sets=sets,
                adds={"attempt": 1, "budget_left": -1},
                gone=("progress",),
            )
        except ConditionFailed as refused:
            if refused.job is None or refused.job.claim_token != token or refused.job.state is not State.RUNNING:
                return refusal_of(refused.job, seq, now)
            job = refused.job
        return Claimed(job, Lease(job.job_id, job.attempt, token))

    def heartbeat(
        self,
        lease: Lease,
        *,
        until: int,
        phase: str,
        progress: Progress | None,
        outputs: Sequence[Output] | None = None,
        spent_ms: int | None = None,
    ) -> bool:
        """Prolong the lease; False: it is lost (stolen, cancelled or ended). *outputs* are shown while it runs."""
        sets: Attributes = {"lease_until": until, "due_at": until + SWEEP_SLACK_MS, "phase": phase}
        if progress is not None:
            sets["progress"] = progress
        if outputs is not None:
            sets["outputs"] = list(outputs)
        return self._mine(Verb.HEARTBEAT, lease, sets | _spent(spent_ms))

    def release(self, lease: Lease, *, now: int, given_back: int | None = None) -> bool:
        """Hand the job back unharmed: queued again, the attempt's cost returned. False: the lease was lost."""
        # Claimable at once, also for who has a clock that is behind the releaser's.
        sets: Attributes = {"not_before": 0, "enqueued_at": now, "due_at": now + SWEEP_SLACK_MS, "phase": "queued"}
        if given_back is not None:
            sets["given_back"] = given_back
        return self._mine(Verb.RELEASE, lease, sets, adds={"budget_left": 1})

    def retry(self, lease: Lease, *, now: int, not_before: int, error: JobError, spent_ms: int | None = None) -> bool:
        """Put the job back to wait until *not_before*. False: the lease was lost or no attempt is left."""
        sets: Attributes = {
            "not_before": not_before,
            "enqueued_at": now,
            "due_at": not_before + SWEEP_SLACK_MS,
            "phase": "waiting",
            "last_error": error,
        }
        return self._mine(Verb.RETRY, lease, sets | _spent(spent_ms))

    def commit(
        self, lease: Lease, *, now: int, outputs: Sequence[Output], timings: Timings, spent_ms: int | None = None
    ) -> bool:
        """End the job well. False: the lease was lost and nothing of this attempt may be shown."""
        sets: Attributes = {
            **_ending(now),
            "outputs": list(outputs),
            "timings": timings,
            "committed_attempt": lease.attempt,
        }
        return self._mine(Verb.COMMIT, lease, sets | _spent(spent_ms))

    def fail(self, lease: Lease, *, now: int, error: JobError, spent_ms: int | None = None) -> bool:
        """End the job with *error*. False: the lease was lost."""
        return self._mine(Verb.FAIL, lease, {**_ending(now), "error": error} | _spent(spent_ms))

    def give_up(self, job: Job, *, now: int, error: JobError) -> bool:
        """End a job that nobody holds and that has no attempt or time left. False: it moved meanwhile."""
        sets: Attributes = {**_ending(now), "error": error}
        try:
            self._move(Verb.GIVE_UP, job.job_id, {"attempt": job.attempt, "now": now}, sets=sets)
        except ConditionFailed as refused:
            return refused.job is not None and refused.job.state is State.FAILED and refused.job.error == error
        return True

    # -- the sweeper's and the completion's writes --------------------------------------------------------------

    def resend(self, job: Job, *, now: int) -> int | None:
        """Number a new message for a job that nobody attends; its seq, or None when the job moved meanwhile."""
        due_at = max(now, job.not_before) + 10 * SWEEP_SLACK_MS
        sets: Attributes = {"enqueued_at": now, "due_at": due_at, "place": SENT}
        values = {"seq": job.seq, "now": now}
        try:
            return self._move(Verb.RESEND, job.job_id, values, sets=sets, adds={"seq": 1}).seq
        except ConditionFailed as refused:
            # Our own repeated write and another sweeper's look alike; sending the same number twice is harmless.
            there = refused.job
            return there.seq if there is not None and there.seq == job.seq + 1 and there.state in OPEN else None

    def look_later(self, job: Job, *, due_at: int) -> None:
        """Put off the sweeper's next look at *job* (only if it is still the version that was read)."""
        try:
            self._table.conditional(
                "update_item",
                "version = :version AND attribute_exists(due_at)",
                Key={"job_id": {"S": job.job_id}},
                UpdateExpression="SET due_at = :due",
                ExpressionAttributeValues={":version": {"N": str(job.version)}, ":due": {"N": str(due_at)}},
            )
        except ConditionFailed:
            return

    def put_off(self, job_id: str, *, due_at: int) -> None:
        """Put off the sweeper's next look at a job that cannot be read, whatever it holds."""
        try:
            self._table.conditional(
                "update_item",
                "attribute_exists(due_at)",
                Key={"job_id": {"S": job_id}},
                UpdateExpression="SET due_at = :due",
                ExpressionAttributeValues={":due": {"N": str(due_at)}},
            )
        except ConditionFailed:
            return

    def mark_synced(self, job: Job, *, look_at: int | None = None, gone: bool = False) -> bool:
        """Note that the row shows *job*'s version; an ended job then leaves the sweeper's index, or waits there."""
        sets: Attributes = {"synced_version": job.version}
        removed = []
        if gone and job.target is not None:
            sets["dirty_sheet"] = f"{GONE}{job.target.spreadsheet_id}"
        elif look_at is not None and job.target is not None and job.state in TERMINAL:
            sets["dirty_sheet"] = f"{FRESH}{job.target.spreadsheet_id}"
        else:
            removed.append("dirty_sheet")
        if job.state in TERMINAL:
            if look_at is None:
                removed += ["due_at", "due_shard"]
            else:
                sets |= {"due_at": look_at, "due_shard": due_shard(job.job_id)}
        try:
            self._move(Verb.SYNCED, job.job_id, {"version": job.version}, sets=sets, gone=tuple(removed))
        except ConditionFailed:
            return False
        return True

    def show_again(self, job_id: str, *, now: int) -> Job | None:
        """Make an ended job that is shown count as not shown; answer it as it stands then. None: it has not ended."""
        sets: Attributes = {
            "synced_version": SHOWN_BEFORE,
            "due_at": now + SWEEP_SLACK_MS,
            "due_shard": due_shard(job_id),
        }
        try:
            return self._move(Verb.SHOW_AGAIN, job_id, {}, sets=sets)
        except ConditionFailed as refused:
            # One that waits to be shown goes on doing so: it was perhaps not announced and counted yet.
            return refused.job if refused.job is not None and refused.job.state in TERMINAL else None

    # -- the one way to write -----------------------------------------------------------------------------------

    def _mine(
        self,
        verb: Verb,
        lease: Lease,
        sets: Attributes,
        adds: Mapping[str, int] | None = None,
    ) -> bool:
        """Make a move that only the lease's holder may make."""
        values = {"attempt": lease.attempt, "token": lease.token}
        try:
            try:
                self._move(verb, lease.job_id, values, sets=sets, adds=adds)
            except ClientError as error:
                told = _ACCOUNTS & sets.keys()
                if error.response["Error"]["Code"] != "AccessDeniedException" or not told:
                    raise
                log.warning(
                    "not accounted", extra={"action": verb.value, "job_id": lease.job_id, "left_out": sorted(told)}
                )
                fewer = {name: value for name, value in sets.items() if name not in told}
                self._move(verb, lease.job_id, values, sets=fewer, adds=adds)
        except ConditionFailed as refused:
            # The in-doubt rule: what we asked for is there already, under our own token.
            there, done = refused.job, TRANSITIONS[verb].target
            return (
                there is not None
                and done is not None
                and (there.state, there.attempt, there.claim_token) == (done, lease.attempt, lease.token)
            )
        return True

    def _move(
        self,
        verb: Verb,
        job_id: str,
        values: Mapping[str, Any],
        *,
        sets: Attributes,
        adds: Mapping[str, int] | None = None,
        gone: tuple[str, ...] = (),
    ) -> Job:
        """Make one move of the table and answer the job after it. Raise `ConditionFailed` with the job before it."""
        write = write_of(verb, values, sets, adds, gone)
        answer = self._table.conditional("update_item", Key={"job_id": {"S": job_id}}, ReturnValues="ALL_NEW", **write)
        return job_of(answer["Attributes"])


def _ending(now: int) -> Attributes:
    """Set what every end sets; the sweeper looks again unless the row is shown by then."""
    return {"finished_at": now, "due_at": now + SWEEP_SLACK_MS, "phase": "ended"}


def _spent(spent_ms: int | None) -> Attributes:
    return {} if spent_ms is None else {"spent_ms": spent_ms}
