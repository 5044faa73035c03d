"""Judge a book of deliveries: the twin in memory and DynamoDB's protocol, by one suite."""

from __future__ import annotations

import pytest

from chalicelib.contract.deliveries import (
    MOVES,
    Attempt,
    Delivery,
    DeliveryState,
    Endpoint,
    Health,
    Move,
    delivery_id_of,
)
from chalicelib.contract.delivery_ports import DeliveryBook
from chalicelib.delivery_book import DynamoDeliveryBook
from tests.conftest import make_table
from tests.delivery_fakes import MemoryBook
from tests.jobs import NOW

LANE = "wh_0123456789abcdef"
JOBS_LANE = "jobs-0123456789abcdef"


@pytest.fixture(params=["memory", "dynamo"])
def book(request: pytest.FixtureRequest) -> DeliveryBook:
    if request.param == "memory":
        return MemoryBook()
    client = request.getfixturevalue("aws").client("dynamodb")
    shape = request.getfixturevalue("resources")["WebhooksTable"]["Properties"]
    return DynamoDeliveryBook(client, make_table(client, shape))


def endpoint(client: str = "a", webhook_id: str = LANE, at: int = NOW) -> Endpoint:
    return Endpoint(webhook_id=webhook_id, client_id=client, url="https://hooks.example/ü", created_at=at)


def delivery(job_id: str = "j", lane: str = LANE, client: str = "a", born: int = NOW, at: int = NOW) -> Delivery:
    return Delivery(
        delivery_id=delivery_id_of(lane, "job.succeeded", job_id, born),
        client_id=client,
        lane=lane,
        event="job.succeeded",
        job_id=job_id,
        created_at=at,
        asked_at=at,
        next_attempt_at=at,
    )


def test_endpoints_are_a_clients_own(book: DeliveryBook) -> None:
    """Listed by age; a client whose name begins like another's sees none of its."""
    second, first = endpoint(at=NOW + 1), endpoint(webhook_id="wh_ffffffffffffffff")
    for each in (second, first, endpoint("ab"), endpoint("a#b")):
        book.add_endpoint(each)
    assert book.endpoints("a") == [first, second]
    assert book.endpoints("nobody") == []
    assert book.remove_endpoint("a", LANE) and not book.remove_endpoint("a", LANE)
    assert book.endpoints("a") == [first] and book.lane("a", LANE) is None
    assert len(book.endpoints("ab")) == 1


def test_a_change_is_made_on_what_was_seen(book: DeliveryBook) -> None:
    """Who read an older one changes nothing, and nobody brings a deleted one back."""
    before = endpoint()
    book.add_endpoint(before)
    lane = book.lane("a", LANE)
    assert lane is not None
    book.note_health(lane, Health(failures=3, failing_since=NOW))
    off = before.model_copy(update={"off": "failing"})
    assert book.change_endpoint(before, off)
    assert not book.change_endpoint(before, before.model_copy(update={"url": "https://other.example"}))
    lane = book.lane("a", LANE)
    assert lane is not None and lane.endpoint == off and lane.health.failures == 3
    assert book.change_endpoint(off, before, heal=True)
    lane = book.lane("a", LANE)
    assert lane is not None and lane.endpoint == before and lane.health == Health()
    book.remove_endpoint("a", LANE)
    assert not book.change_endpoint(before, off)
    book.note_health(lane, Health(failures=1))
    assert book.lane("a", LANE) is None


def test_a_lane_that_was_rung_for_is_due_until_it_rests(book: DeliveryBook) -> None:
    """A host that jobs name is a lane at the first ring; an endpoint that is gone is none."""
    book.add_endpoint(endpoint())
    book.ring("a", "wh_gone0123456789ab", NOW)
    book.ring("a", LANE, NOW)
    book.ring("b#c", JOBS_LANE, NOW, due_at=NOW + 5)
    assert book.due(NOW, 10) == [("a", LANE)]
    assert sorted(book.due(NOW + 5, 10)) == [("a", LANE), ("b#c", JOBS_LANE)]
    lane = book.lane("a", LANE)
    assert lane is not None and (lane.bell, lane.rung_at, lane.due_at) == (1, NOW, NOW)
    book.rest(lane, NOW + 9)
    assert book.due(NOW + 8, 10) == [("b#c", JOBS_LANE)] and ("a", LANE) in book.due(NOW + 9, 10)
    book.rest(lane, None)
    assert book.due(NOW + 99, 10) == [("b#c", JOBS_LANE)]
    assert book.lane("b#c", JOBS_LANE) is not None


def test_who_did_not_hear_the_bell_puts_nothing_to_rest(book: DeliveryBook) -> None:
    """Something new came while the lane was worked on."""
    book.ring("a", JOBS_LANE, NOW)
    seen = book.lane("a", JOBS_LANE)
    assert seen is not None
    book.ring("a", JOBS_LANE, NOW + 1)
    book.rest(seen, None)
    assert book.due(NOW + 1, 10) == [("a", JOBS_LANE)]


def test_announcing_twice_makes_one_delivery(book: DeliveryBook) -> None:
    """The one that is there is answered, as it stands."""
    first = book.announce(delivery())
    done = first.model_copy(update={"next_attempt_at": None, "ended_at": NOW})
    assert book.move(Move.DELIVER, first, done)
    again = book.announce(delivery(at=NOW + 7))
    assert (again.state, again.ended_at) == (DeliveryState.DELIVERED, NOW)
    assert len(book.deliveries("a", LANE, 10)) == 1


@pytest.mark.parametrize("move", [each for each in Move if MOVES[each].sources])
@pytest.mark.parametrize("state", list(DeliveryState))
def test_every_move_is_made_from_its_sources_alone(book: DeliveryBook, move: Move, state: DeliveryState) -> None:
    """The table of moves, row by row, and each move once."""
    before = book.announce(delivery())
    if state is not DeliveryState.WAITING:
        ends = {DeliveryState.DELIVERED: Move.DELIVER, DeliveryState.FAILED: Move.GIVE_UP}
        assert book.move(ends[state], before, before.model_copy(update={"next_attempt_at": None}))
        there = book.delivery("a", LANE, before.delivery_id)
        assert there is not None
        before = there
    after = before.model_copy(update={"tries": 4, "attempts": (Attempt(at=NOW, status=500, answer="\x00ü"),)})
    allowed = state in MOVES[move].sources
    assert book.move(move, before, after) is allowed
    there = book.delivery("a", LANE, before.delivery_id)
    assert there is not None
    if allowed:
        assert (there.state, there.turn, there.attempts) == (MOVES[move].target, before.turn + 1, after.attempts)
        other = after.model_copy(update={"tries": 7})
        assert not book.move(move, before, other), "the turn has passed"
    else:
        assert there == before


def test_only_what_waits_is_in_the_lanes_index_the_oldest_first(book: DeliveryBook) -> None:
    """Of one lane and client, and no more than asked for."""
    for number in range(4):
        book.announce(delivery(f"j{number}", at=NOW + 10 - number))
    book.announce(delivery("other", lane=JOBS_LANE))
    book.announce(delivery("j0", client="b"))
    done = delivery("j3", at=NOW + 7)
    assert book.move(Move.DELIVER, done, done.model_copy(update={"next_attempt_at": None}))
    wanted = [(delivery(f"j{number}").delivery_id, NOW + 10 - number) for number in (2, 1, 0)]
    assert list(book.waiting("a", LANE, 10)) == wanted
    assert list(book.waiting("a", LANE, 2)) == wanted[:2]


def test_deliveries_are_listed_under_their_endpoint_the_newest_job_first(book: DeliveryBook) -> None:
    """Those to addresses that jobs name stand together under `jobs`."""
    for number in range(5):
        book.announce(delivery(f"j{number}", born=NOW + number))
    book.announce(delivery("x", lane=JOBS_LANE))
    book.announce(delivery("y", lane="jobs-ffffffffffffffff"))
    assert [each.job_id for each in book.deliveries("a", LANE, 3)] == ["j4", "j3", "j2"]
    assert {each.job_id for each in book.deliveries("a", "jobs", 9)} == {"x", "y"}
    assert book.deliveries("b", LANE, 9) == []
    assert book.delivery("a", "jobs", delivery("x", lane=JOBS_LANE).delivery_id) is not None
    assert book.delivery("b", LANE, delivery("j0", born=NOW).delivery_id) is None
