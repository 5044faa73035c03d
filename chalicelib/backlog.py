"""
Read how much work there is, of all clients together: held jobs too, which no queue counts.

The index `line` holds open jobs only, so reading all of it is cheap. Jobs that are with the workers are looked at one
by one; of those held back some are, evenly chosen, and the others count as these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.states import State
from chalicelib.eta import left_ms
from chalicelib.ledger.item import SENT
from chalicelib.scale_memory import Work
from chalicelib.scaling import Load

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SENT_LOOKED_AT: Final = 1000
HELD_LOOKED_AT: Final = 200
PAGES_MOST: Final = 20
"""Of 1 MB, some 8,000 jobs each. What is beyond them is not counted: no farm is too small for what is."""
SOON_MS: Final = 300_000
"""A job whose next attempt is further off than this is no work yet."""


class Backlog:
    """Read the work. *get_many* reads jobs (`chalicelib.ledger`), *pace_ms* says how long a workflow takes."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        get_many: Callable[[Sequence[str]], list[Job]],
        pace_ms: Callable[[str], int | None],
        *,
        job_s: float,
        held_looked_at: int = HELD_LOOKED_AT,
    ) -> None:
        self._held_looked_at = held_looked_at
        self._client = client
        self._table = table
        self._get_many = get_many
        self._pace_ms = pace_ms
        self._job_s = job_s

    def read(self, now: int) -> Work:
        """Read the work as it is at *now* (the index may be late by a moment). Raises `Unavailable`."""
        sent, held = self._open()
        sent_seen = self._get_many(_evenly(sent, SENT_LOOKED_AT))
        held_seen = self._get_many(_evenly(held, self._held_looked_at))
        hashes = {job.workflow_hash for job in (*sent_seen, *held_seen)}
        paces = {each: self._pace_ms(each) for each in hashes}
        return work_of(
            sent_seen,
            held_seen,
            paces,
            now,
            job_s=self._job_s,
            sent_share=_share(sent, SENT_LOOKED_AT),
            held_share=_share(held, self._held_looked_at),
        )

    def _open(self) -> tuple[list[str], list[str]]:
        sent: list[str] = []
        held: list[str] = []
        start: dict[str, Any] = {}
        for _ in range(PAGES_MOST):
            try:
                page = self._client.scan(TableName=self._table, IndexName="line", **start)
            except (BotoCoreError, ClientError) as error:
                raise Unavailable("The open jobs cannot be counted.") from error
            for item in page["Items"]:
                (sent if item["place"]["S"] == SENT else held).append(item["job_id"]["S"])
            if not page.get("LastEvaluatedKey"):
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        return sent, held


def work_of(
    sent: Sequence[Job],
    held: Sequence[Job],
    paces: dict[str, int | None],
    now: int,
    *,
    job_s: float,
    sent_share: float = 1.0,
    held_share: float = 1.0,
) -> Work:
    """Add up the work of jobs; each of *sent* and *held* stands for as many as its share says. Paces are in ms."""
    waiting = waiting_s = running = left_s = 0.0
    in_hand: Counter[str] = Counter()
    for jobs, share in ((sent, sent_share), (held, held_share)):
        for job in jobs:
            pace = paces.get(job.workflow_hash)
            usual_s = job_s if pace is None else pace / 1000
            if job.state is State.RUNNING and job.lease_until >= now:
                left = left_ms(job, now, {job.workflow_hash: pace})
                running += share
                left_s += share * (usual_s / 2 if left is None else left / 1000)
                in_hand[job.owner or ""] += 1
            elif job.state in (State.QUEUED, State.RUNNING) and job.not_before <= now + SOON_MS:
                waiting += share
                waiting_s += share * usual_s
    return Work(Load(round(waiting), waiting_s, round(running), left_s), in_hand)


def _evenly(ids: Sequence[str], most: int) -> list[str]:
    """Choose *most* ids, spread over the whole list."""
    return list(ids) if len(ids) <= most else [ids[place * len(ids) // most] for place in range(most)]


def _share(ids: Sequence[str], most: int) -> float:
    return max(1.0, len(ids) / most)
