"""
Keep the jobs in DynamoDB: every conditional write of `states.TRANSITIONS`, and the in-doubt rule.

botocore repeats a write whose answer got lost; the repeat then fails its own condition. So every conditional write
asks for ALL_OLD on failure, and an item that carries the caller's own token counts as success.

Only attributes named here are written by a worker: its IAM policy lists them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import RETENTION_MS, SHOWN_BEFORE, Job, JobError, Output, Progress, Timings
from chalicelib.contract.ports import Census, Claimed, Lease, Line, Refused, Spot, Submitted, refusal_of
from chalicelib.contract.states import OPEN, TERMINAL, TRANSITIONS, Guard, State, Verb
from chalicelib.ledger.item import (
    DUE_SHARDS,
    FRESH,
    GONE,
    SENT,
    Attributes,
    due_shard,
    item_of,
    job_of,
    made_at_of,
    value_of,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

ID_LENGTH: Final = 36
"""Of a job's id, which is a UUID."""
CENSUS_PAGES: Final = 20
"""Of 1 MB, some 8,000 jobs each. Whoever has more is not told how many more."""
SWEEP_SLACK_MS: Final = 30_000
"""How long after a lease's end, or after a terminal write, the sweeper gets interested."""

_CONDITIONS: Final[dict[Guard, str]] = {
    Guard.ABSENT: "attribute_not_exists(job_id)",
    Guard.SEQ: "seq = :seq",
    Guard.BUDGET: "budget_left > :zero",
    Guard.SPENT: "(budget_left <= :zero OR deadline <= :now)",
    Guard.IN_TIME: "deadline > :now",
    Guard.CLAIMABLE: "(#state = :queued AND not_before <= :now OR #state = :running AND lease_until < :now)",
    Guard.UNATTENDED: "(#state = :queued OR #state = :running AND lease_until < :now)",
    Guard.MINE: "attempt = :attempt AND claim_token = :token",
    Guard.SEEN: "attempt = :attempt",
    Guard.VERSION: "version = :version",
    Guard.SHOWN: "synced_version >= version",
}


class _Refused(Exception):
    """Carry the item that made a condition fail (None: there is no item)."""

    def __init__(self, job: Job | None) -> None:
        super().__init__()
        self.job = job


class DynamoLedger:
    """Keep jobs in one DynamoDB table (shape: infra/resources.yaml). Threads may share it, as they may its client."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job | None:
        """Read one job, strongly consistent. What is no id of ours names none; DynamoDB refuses keys over 2 KB."""
        if len(job_id) != ID_LENGTH or not job_id.isascii():
            return None
        answer = self._call("get_item", Key={"job_id": {"S": job_id}}, ConsistentRead=True)
        return job_of(answer["Item"]) if "Item" in answer else None

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Read jobs, strongly consistent, in the order asked; unknown ids and what cannot be read are left out."""
        found: dict[str, Job] = {}
        waiting = list(dict.fromkeys(job_ids))
        while waiting:
            keys = [{"job_id": {"S": job_id}} for job_id in waiting[:100]]
            asked = {self._table: {"Keys": keys, "ConsistentRead": True}}
            answer = self._send("batch_get_item", RequestItems=asked)
            for item in answer["Responses"].get(self._table, []):
                job = _one_of_many(item)
                if job is not None:
                    found[job.job_id] = job
            left = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            waiting = [key["job_id"]["S"] for key in left] + waiting[100:]
        return [found[job_id] for job_id in dict.fromkeys(job_ids) if job_id in found]

    def of_client(self, client_id: str, *, since: int, until: int, limit: int, after: Spot | None = None) -> list[Spot]:
        """List a client's jobs by time, newest first; the index may be late by a moment."""
        if since > until:
            return []
        values = {":key": {"S": client_id}, ":since": {"N": str(since)}, ":until": {"N": str(until)}}
        start = None if after is None else _key_of(client_id, after)
        condition = "client_id = :key AND created_at BETWEEN :since AND :until"
        found = self._pages("by_client", condition, values, limit=limit, start=start, ScanIndexForward=False)
        return [Spot(int(item["created_at"]["N"]), item["job_id"]["S"]) for item in found]

    def unshown(self, spreadsheet_id: str) -> list[str]:
        """List ids of jobs whose rows in *spreadsheet_id* lag behind (the index may be late by a moment)."""
        return list(self._query("dirty", "dirty_sheet = :key", {":key": {"S": spreadsheet_id}}, limit=None))

    def gone(self, spreadsheet_id: str) -> list[str]:
        """List ids of ended jobs whose rows in *spreadsheet_id* were not found (the index may be late by a moment)."""
        return self.unshown(f"{GONE}{spreadsheet_id}")

    def fresh(self, spreadsheet_id: str) -> list[str]:
        """List ids of ended jobs that rows showed, before the second look (the index may be late by a moment)."""
        return self.unshown(f"{FRESH}{spreadsheet_id}")

    def due(self, now: int, limit: int) -> Iterable[str]:
        """List ids of jobs that the sweeper should look at, oldest first within each shard."""
        for shard in range(DUE_SHARDS):
            values = {":key": {"S": str(shard)}, ":now": {"N": str(now)}}
            yield from self._query("due", "due_shard = :key AND due_at <= :now", values, limit=limit)

    def line(self, client_id: str, limit: int) -> Line:
        """List a client's open jobs, at most *limit*: the sent ones, then the held ones (may be late by a moment)."""
        sent: list[str] = []
        held: list[str] = []
        for item in self._pages("line", "line = :key", {":key": {"S": client_id}}, limit=limit):
            (sent if item["place"]["S"] == SENT else held).append(item["job_id"]["S"])
        return Line(tuple(sent), tuple(held), is_whole=len(sent) + len(held) < limit)

    def open_jobs(self, client_id: str) -> int:
        """Count a client's open jobs, sent or held (may be late by a moment)."""
        count = 0
        call: dict[str, Any] = {"IndexName": "line", "Select": "COUNT", "KeyConditionExpression": "line = :key"}
        call["ExpressionAttributeValues"] = {":key": {"S": client_id}}
        while True:
            answer = self._call("query", **call)
            count += int(answer["Count"])
            if not answer.get("LastEvaluatedKey"):
                return count
            call["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def census(self) -> Census:
        """Count the open jobs of all clients (may be late by a moment): the index of lines holds no others."""
        sent: list[str] = []
        held, oldest = 0, None
        call: dict[str, Any] = {"IndexName": "line"}
        for _ in range(CENSUS_PAGES):
            page = self._call("scan", **call)
            for item in page["Items"]:
                place = item["place"]["S"]
                if place == SENT:
                    sent.append(item["job_id"]["S"])
                    continue
                held += 1
                made_at = made_at_of(place)
                oldest = made_at if oldest is None else min(oldest, made_at)
            if not page.get("LastEvaluatedKey"):
                break
            call["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return Census(tuple(sent), held, oldest)

    # -- the submitter's writes ---------------------------------------------------------------------------------

    def submit(self, job: Job) -> Submitted:
        """Put *job* if its id is new; else answer the one that is there, whatever its content."""
        item = item_of(job)
        item["ttl"] = {"N": str((job.created_at + RETENTION_MS) // 1000)}
        try:
            self._conditional("put_item", _condition_of(Verb.SUBMIT, {}), {}, Item=item)
        except _Refused as refused:
            there = refused.job or self.get(job.job_id)
            if there is None:
                raise Unavailable("The job table answered in contradiction. Try again.") from None
            return Submitted(there, created=there.submit_token == job.submit_token)
        return Submitted(job, created=True)

    def cancel(self, job_id: str, *, now: int) -> Job | None:
        """Cancel an open job; answer the job as it stands then (already ended: unchanged). None: unknown."""
        try:
            return self._move(Verb.CANCEL, job_id, {}, sets=_ending(now), gone=("lease_until",))
        except _Refused as refused:
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
        except _Refused as refused:
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
        except _Refused as refused:
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
        except _Refused as refused:
            # Our own repeated write and another sweeper's look alike; sending the same number twice is harmless.
            there = refused.job
            return there.seq if there is not None and there.seq == job.seq + 1 and there.state in OPEN else None

    def look_later(self, job: Job, *, due_at: int) -> None:
        """Put off the sweeper's next look at *job* (only if it is still the version that was read)."""
        try:
            self._conditional(
                "update_item",
                "version = :version AND attribute_exists(due_at)",
                {":version": {"N": str(job.version)}, ":due": {"N": str(due_at)}},
                Key={"job_id": {"S": job.job_id}},
                UpdateExpression="SET due_at = :due",
            )
        except _Refused:
            return

    def put_off(self, job_id: str, *, due_at: int) -> None:
        """Put off the sweeper's next look at a job that cannot be read, whatever it holds."""
        try:
            self._call(
                "update_item",
                Key={"job_id": {"S": job_id}},
                UpdateExpression="SET due_at = :due",
                ConditionExpression="attribute_exists(due_at)",
                ExpressionAttributeValues={":due": {"N": str(due_at)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

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
        except _Refused:
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
        except _Refused as refused:
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
        except _Refused as refused:
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
        """Make one move of the table and answer the job after it. Raise `_Refused` with the item before it."""
        move = TRANSITIONS[verb]
        counts = dict(adds or {})
        sets = dict(sets)
        if move.target is not None:
            sets["state"] = move.target.value
            counts["version"] = 1
            if verb is not Verb.COMMIT:
                # What a running attempt has shown so far counts only if it ends well.
                gone = (*gone, "outputs")
        if move.target in TERMINAL:
            gone = (*gone, "line")
        names = {f"#{name}": name for name in (*sets, *counts, *gone)}
        bound = {f":{name}": value_of(name, value) for name, value in values.items()}
        bound |= {f":set_{name}": value_of(name, value) for name, value in sets.items()}
        bound |= {f":add_{name}": {"N": str(number)} for name, number in counts.items()}
        assigned = [f"#{name} = :set_{name}" for name in sets]
        assigned += [f"#{name} = #{name} + :add_{name}" for name in counts]
        if move.is_news or verb is Verb.SHOW_AGAIN:
            names |= {"#dirty_sheet": "dirty_sheet", "#sheet": "sheet"}
            assigned.append("#dirty_sheet = #sheet")
        update = "SET " + ", ".join(assigned)
        if gone:
            update += " REMOVE " + ", ".join(f"#{name}" for name in gone)
        answer = self._conditional(
            "update_item",
            _condition_of(verb, bound),
            bound,
            Key={"job_id": {"S": job_id}},
            UpdateExpression=update,
            ExpressionAttributeNames=names,
            ReturnValues="ALL_NEW",
        )
        return job_of(answer["Attributes"])

    def _conditional(
        self,
        operation: str,
        condition: str,
        values: Attributes,
        **call: Any,
    ) -> Any:
        """Call DynamoDB under *condition*; raise `_Refused` when it does not hold."""
        names = dict(call.pop("ExpressionAttributeNames", {}))
        if "#state" in condition:
            names["#state"] = "state"
        call["ConditionExpression"] = condition
        if names:
            call["ExpressionAttributeNames"] = names
        if values:
            call["ExpressionAttributeValues"] = values
        try:
            return self._call(operation, ReturnValuesOnConditionCheckFailure="ALL_OLD", **call)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            item: Any = error.response.get("Item")
            raise _Refused(job_of(item) if item else None) from None

    def _query(self, index: str, condition: str, values: Attributes, *, limit: int | None) -> Iterable[str]:
        """Page through an index and give the job ids, at most *limit*."""
        for item in self._pages(index, condition, values, limit=limit):
            yield item["job_id"]["S"]

    def _pages(
        self,
        index: str,
        condition: str,
        values: Attributes,
        *,
        limit: int | None,
        start: Attributes | None = None,
        **options: Any,
    ) -> Iterable[Attributes]:
        """Page through an index and give its items, at most *limit*, from behind *start*."""
        given = 0
        while True:
            call: dict[str, Any] = {"IndexName": index, "KeyConditionExpression": condition, **options}
            call["ExpressionAttributeValues"] = values
            if limit is not None:
                call["Limit"] = limit - given
            if start is not None:
                call["ExclusiveStartKey"] = start
            answer = self._call("query", **call)
            for item in answer["Items"]:
                yield item
                given += 1
            start = answer.get("LastEvaluatedKey")
            if start is None or (limit is not None and given >= limit):
                return

    def _call(self, operation: str, **call: Any) -> Any:
        return self._send(operation, TableName=self._table, **call)

    def _send(self, operation: str, **call: Any) -> Any:
        """Send one request. Throttling and a table out of reach become `Unavailable`; other refusals rise."""
        try:
            return getattr(self._client, operation)(**call)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status >= 500 or error.response["Error"]["Code"] in _THROTTLED:
                raise Unavailable("The job table is busy. Try again in a moment.") from error
            raise
        except BotoCoreError as error:
            kind = type(error).__name__
            raise Unavailable(f"The job table cannot be reached ({kind}). Try again in a moment.") from error


_THROTTLED: Final = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "TransactionInProgress"}
)


_ACCOUNTS: Final = frozenset({"spent_ms", "given_back"})
"""
Attributes that only count: a policy that does not name them yet, or not any more, must not cost the job its attempt.
"""


def _one_of_many(item: Attributes) -> Job | None:
    """
    Read an item of a list; None when it cannot be read, as after going back to an earlier release.

    It is told and left out, for all the others wait for that list.
    """
    try:
        return job_of(item)
    except (KeyError, TypeError, ValueError) as fault:
        # Names of fields alone: what stands in them may be somebody's prompt.
        names = (
            {str(each["loc"][0]) for each in fault.errors() if each["loc"]}
            if isinstance(fault, ValidationError)
            else ()
        )
        about = {"action": "unreadable", "job_id": item["job_id"]["S"], "reason": type(fault).__name__}
        log.error("a job cannot be read", extra=about | {"fields": sorted(names)})
        return None


def _key_of(client_id: str, spot: Spot) -> Attributes:
    """Write a place as the key of `by_client` and of the table."""
    return {
        "client_id": {"S": client_id},
        "created_at": {"N": str(spot.created_at)},
        "job_id": {"S": spot.job_id},
    }


def _ending(now: int) -> Attributes:
    """Set what every end sets; the sweeper looks again unless the row is shown by then."""
    return {"finished_at": now, "due_at": now + SWEEP_SLACK_MS, "phase": "ended"}


def _spent(spent_ms: int | None) -> Attributes:
    return {} if spent_ms is None else {"spent_ms": spent_ms}


def _condition_of(verb: Verb, values: Attributes) -> str:
    """Compile a move's row of the table into a condition, and bind what it needs besides *values*."""
    move = TRANSITIONS[verb]
    parts = []
    if move.sources and move.sources != frozenset(State):
        slots = []
        for state in sorted(move.sources):
            values[f":{state}"] = {"S": state.value}
            slots.append(f":{state}")
        parts.append(f"#state IN ({', '.join(slots)})")
    elif move.sources:
        parts.append("attribute_exists(job_id)")
    parts += [_CONDITIONS[guard] for guard in move.guards]
    expression = " AND ".join(parts)
    if ":zero" in expression:
        values[":zero"] = {"N": "0"}
    for state in (State.QUEUED, State.RUNNING):
        if f":{state}" in expression:
            values[f":{state}"] = {"S": state.value}
    # DynamoDB refuses a bound value that no expression uses.
    return expression
