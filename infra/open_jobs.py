"""
Look at all clients' jobs as an operator: those that are open by the index that holds no others, those of a time by the
index of each client. The whole table is read by `count_states` alone.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Spot
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import FRESH, GONE, SENT
from infra.deployed import Deployed

PAGES_MOST: Final = 40
"""Pages of an index that are looked at: 1 MB each, about 8,000 jobs."""
READ_MOST: Final = 1000
"""Sent jobs whose items are read: a client has two a GPU."""
_FOR_EVER: Final = 2**53


@dataclass(frozen=True)
class OpenJobs:
    """Hold the open jobs of all clients."""

    sent: tuple[str, ...]
    """Ids of those that the workers were told of."""
    held: int
    """How many are held back until their client's earlier ones have ended."""
    oldest_held_at: int | None
    """When the oldest of these was made (ms since the epoch)."""
    clients: frozenset[str]
    is_whole: bool
    """False: there are more than were looked at."""


@dataclass(frozen=True)
class Behind:
    """Count jobs whose news was not told yet, and results whose rows were not found."""

    rows: int
    gone: int


def read_open(there: Deployed) -> OpenJobs:
    """List the open jobs (may be late by a moment)."""
    sent: list[str] = []
    clients: set[str] = set()
    held, oldest, is_whole = 0, None, True
    for page in _pages(there, "line"):
        is_whole = "LastEvaluatedKey" not in page
        for item in page["Items"]:
            clients.add(item["line"]["S"])
            place = item["place"]["S"]
            if place == SENT:
                sent.append(item["job_id"]["S"])
                continue
            held += 1
            # 1#priority#created_at#job_id (`chalicelib.ledger.item.place_of`)
            made_at = int(place.split("#")[2])
            oldest = made_at if oldest is None else min(oldest, made_at)
    return OpenJobs(tuple(sent), held, oldest, frozenset(clients), is_whole)


def read_behind(there: Deployed) -> Behind:
    """Count what is not shown yet (may be late by a moment)."""
    rows = gone = 0
    for page in _pages(there, "dirty"):
        for item in page["Items"]:
            if item["dirty_sheet"]["S"].startswith(GONE):
                gone += 1
            elif not item["dirty_sheet"]["S"].startswith(FRESH):
                rows += 1
    return Behind(rows, gone)


def clients_of(there: Deployed, also: Iterable[str] = ()) -> list[str]:
    """Name the clients: whoever has a key, a spreadsheet or an open job."""
    named = {record["client_id"] for record in there.keys.records()} | set(also)
    named |= {each.client_id for each in there.registry.every() if each.client_id}
    return sorted(named)


def newest_first(ledger: DynamoLedger, clients: Iterable[str], *, since: int, at_once: int = 100) -> Iterator[Job]:
    """Give the jobs of *clients* that were made after *since* (ms), the newest first, read as they are asked for."""
    heads = [_of_client(ledger, client, since, at_once) for client in clients]
    waiting = {number: job for number, head in enumerate(heads) if (job := next(head, None)) is not None}
    while waiting:
        number = max(waiting, key=lambda each: waiting[each].created_at)
        yield waiting[number]
        following = next(heads[number], None)
        if following is None:
            del waiting[number]
        else:
            waiting[number] = following


def _of_client(ledger: DynamoLedger, client_id: str, since: int, at_once: int) -> Iterator[Job]:
    after: Spot | None = None
    while True:
        spots = ledger.of_client(client_id, since=since, until=_FOR_EVER, limit=at_once, after=after)
        yield from ledger.get_many([spot.job_id for spot in spots])
        if len(spots) < at_once:
            return
        after = spots[-1]


def count_states(there: Deployed, say: Callable[[int], None] = lambda _: None) -> Mapping[str, int]:
    """Count all jobs of the table by state. This reads the whole table; *say* is told how many were counted so far."""
    counted: Counter[str] = Counter()
    pages = (
        there.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=there.outputs["JobsTable"],
            ProjectionExpression="#state",
            ExpressionAttributeNames={"#state": "state"},
        )
    )
    for page in pages:
        counted.update(item["state"]["S"] for item in page["Items"])
        say(counted.total())
    return counted


def _pages(there: Deployed, index: str) -> Iterator[Mapping[str, Any]]:
    pages = (
        there.client("dynamodb").get_paginator("scan").paginate(TableName=there.outputs["JobsTable"], IndexName=index)
    )
    return itertools.islice(iter(pages), PAGES_MOST)
