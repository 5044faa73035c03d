"""Read jobs from DynamoDB: one, many, and the lists that the indexes keep."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Census, Line, Spot
from chalicelib.ledger.item import DUE_SHARDS, FRESH, GONE, SENT, Attributes, job_of, made_at_of
from chalicelib.ledger.table import JobTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

ID_LENGTH: Final = 36
"""Of a job's id, which is a UUID."""
CENSUS_PAGES: Final = 20
"""Of 1 MB, some 8,000 jobs each. Whoever has more is not told how many more."""


class DynamoReader:
    """Read what the ledger keeps. What an index lists may be late by a moment; jobs themselves are read as they are."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._table = JobTable(client, table)

    def get(self, job_id: str) -> Job | None:
        """Read one job, strongly consistent. What is no id of ours names none; DynamoDB refuses keys over 2 KB."""
        if len(job_id) != ID_LENGTH or not job_id.isascii():
            return None
        answer = self._table.call("get_item", Key={"job_id": {"S": job_id}}, ConsistentRead=True)
        return job_of(answer["Item"]) if "Item" in answer else None

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Read jobs, strongly consistent, in the order asked; unknown ids and what cannot be read are left out."""
        asked = list(dict.fromkeys(job_ids))
        jobs = map(_one_of_many, self._table.items(asked))
        found = {job.job_id: job for job in jobs if job is not None}
        return [found[job_id] for job_id in asked if job_id in found]

    def of_client(self, client_id: str, *, since: int, until: int, limit: int, after: Spot | None = None) -> list[Spot]:
        """List a client's jobs by time, newest first; the index may be late by a moment."""
        if since > until:
            return []
        values = {":key": {"S": client_id}, ":since": {"N": str(since)}, ":until": {"N": str(until)}}
        start = None if after is None else _key_of(client_id, after)
        condition = "client_id = :key AND created_at BETWEEN :since AND :until"
        found = self._table.pages("by_client", condition, values, limit=limit, start=start, ScanIndexForward=False)
        return [Spot(int(item["created_at"]["N"]), item["job_id"]["S"]) for item in found]

    def unshown(self, spreadsheet_id: str) -> list[str]:
        """List ids of jobs whose rows in *spreadsheet_id* lag behind (the index may be late by a moment)."""
        return list(self._ids("dirty", "dirty_sheet = :key", {":key": {"S": spreadsheet_id}}))

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
            yield from self._ids("due", "due_shard = :key AND due_at <= :now", values, limit=limit)

    def line(self, client_id: str, limit: int) -> Line:
        """List a client's open jobs, at most *limit*: the sent ones, then the held ones (may be late by a moment)."""
        sent: list[str] = []
        held: list[str] = []
        for item in self._table.pages("line", "line = :key", {":key": {"S": client_id}}, limit=limit):
            (sent if item["place"]["S"] == SENT else held).append(item["job_id"]["S"])
        return Line(tuple(sent), tuple(held), is_whole=len(sent) + len(held) < limit)

    def open_jobs(self, client_id: str) -> int:
        """Count a client's open jobs, sent or held (may be late by a moment)."""
        count = 0
        call: dict[str, Any] = {"IndexName": "line", "Select": "COUNT", "KeyConditionExpression": "line = :key"}
        call["ExpressionAttributeValues"] = {":key": {"S": client_id}}
        while True:
            answer = self._table.call("query", **call)
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
            page = self._table.call("scan", **call)
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

    def _ids(self, index: str, condition: str, values: Attributes, limit: int | None = None) -> Iterable[str]:
        """Page through an index and give the job ids, at most *limit*."""
        for item in self._table.pages(index, condition, values, limit=limit):
            yield item["job_id"]["S"]


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
