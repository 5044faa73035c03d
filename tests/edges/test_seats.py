"""Judge seats (the twin in memory and DynamoDB's protocol, by one suite)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.ports import Seats as AnySeats
from chalicelib.seats import Seats, hands_key, waits_key
from tests.conftest import make_table
from tests.fakes import MemorySeats
from tests.jobs import NOW

UNTIL = NOW + 10_000


@pytest.fixture(params=["memory", "rates", "webhooks"])
def seats(request: pytest.FixtureRequest) -> AnySeats:
    if request.param == "memory":
        return MemorySeats()
    client = request.getfixturevalue("aws").client("dynamodb")
    resources = request.getfixturevalue("resources")
    if request.param == "rates":
        return Seats(client, make_table(client, resources["RatesTable"]["Properties"]), waits_key)
    return Seats(client, make_table(client, resources["WebhooksTable"]["Properties"]), hands_key)


def test_so_many_sit_and_no_more(seats: AnySeats) -> None:
    """Whoever leaves makes room for one; another name has seats of its own."""
    sitting = [seats.take("a", 2, now=NOW, until=UNTIL) for _ in range(2)]
    assert None not in sitting and len(set(sitting)) == 2
    assert seats.take("a", 2, now=NOW, until=UNTIL) is None
    assert seats.take("b", 2, now=NOW, until=UNTIL) is not None
    seats.leave("a", sitting[0] or "", now=NOW)
    seats.leave("a", sitting[0] or "", now=NOW)
    assert seats.take("a", 2, now=NOW, until=UNTIL) is not None
    assert seats.take("a", 2, now=NOW, until=UNTIL) is None


def test_a_seat_is_free_when_its_time_is_over(seats: AnySeats) -> None:
    """Whoever died in it gives nothing back; nobody else's seat is taken for that."""
    assert seats.take("a", 2, now=NOW, until=UNTIL)
    assert seats.take("a", 2, now=NOW, until=UNTIL + 1)
    assert seats.take("a", 2, now=UNTIL - 1, until=UNTIL) is None
    assert seats.take("a", 2, now=UNTIL, until=UNTIL + 9) is not None
    assert seats.take("a", 2, now=UNTIL, until=UNTIL + 9) is None


def test_of_many_at_once_as_many_sit_as_there_are_seats(seats: AnySeats) -> None:
    """Thirty ask for four seats, of which two are taken by dead ones."""
    for _ in range(2):
        assert seats.take("a", 4, now=NOW - 9, until=NOW)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: seats.take("a", 4, now=NOW, until=UNTIL), range(30)))
    assert len([word for word in got if word]) == 4


def test_a_table_out_of_reach_is_said(aws: object) -> None:
    """Whoever asked decides what a bound is worth then."""

    class Away:
        def update_item(self, **_: object) -> None:
            raise EndpointConnectionError(endpoint_url="https://away")

    away = Seats(Away(), "t", waits_key)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        away.take("a", 1, now=NOW, until=UNTIL)
    with pytest.raises(Unavailable):
        away.leave("a", "1#x", now=NOW)
