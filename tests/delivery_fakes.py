"""
Stand in for the edges of webhooks.

`MemoryBook` is the twin of `chalicelib.delivery_book`: one suite judges both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from chalicelib.contract.deliveries import MOVES, OF_JOBS, Delivery, Endpoint, Health, Lane, LaneHint, Move
from chalicelib.contract.job import Job
from chalicelib.deliver import Posted


class MemoryBook:
    """Keep endpoints, lanes and deliveries in dictionaries."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.kept: dict[tuple[str, str, str], Delivery] = {}

    def endpoints(self, client_id: str) -> list[Endpoint]:
        found = [lane.endpoint for (client, _), lane in self.lanes.items() if client == client_id and lane.endpoint]
        return sorted(found, key=lambda each: (each.created_at, each.webhook_id))

    def add_endpoint(self, endpoint: Endpoint) -> None:
        key = endpoint.client_id, endpoint.webhook_id
        self.lanes[key] = Lane(client_id=key[0], name=key[1], endpoint=endpoint)

    def change_endpoint(self, before: Endpoint, after: Endpoint, *, heal: bool = False) -> bool:
        lane = self.lanes.get((before.client_id, before.webhook_id))
        if lane is None or lane.endpoint != before:
            return False
        self._set(lane, endpoint=after, health=Health() if heal else lane.health)
        return True

    def remove_endpoint(self, client_id: str, webhook_id: str) -> bool:
        return self.lanes.pop((client_id, webhook_id), None) is not None

    def lane(self, client_id: str, name: str) -> Lane | None:
        return self.lanes.get((client_id, name))

    def ring(self, client_id: str, name: str, now: int, due_at: int | None = None) -> None:
        lane = self.lanes.get((client_id, name))
        if lane is None and name.startswith(f"{OF_JOBS}-"):
            lane = Lane(client_id=client_id, name=name)
        if lane is not None:
            self._set(lane, bell=lane.bell + 1, rung_at=now, due_at=now if due_at is None else due_at)

    def note_health(self, lane: Lane, health: Health) -> None:
        there = self.lanes.get((lane.client_id, lane.name))
        if there is not None:
            self._set(there, health=health)

    def rest(self, lane: Lane, due_at: int | None) -> None:
        there = self.lanes.get((lane.client_id, lane.name))
        if there is not None and there.bell == lane.bell:
            self._set(there, due_at=due_at)

    def due(self, now: int, limit: int) -> list[tuple[str, str]]:
        return [key for key, lane in self.lanes.items() if lane.due_at is not None and lane.due_at <= now][:limit]

    def announce(self, delivery: Delivery) -> Delivery:
        return self.kept.setdefault(_key(delivery), delivery)

    def move(self, move: Move, before: Delivery, after: Delivery) -> bool:
        there = self.kept.get(_key(before))
        if there is None or there.turn != before.turn or there.state not in MOVES[move].sources:
            return False
        after = after.model_copy(update={"turn": before.turn + 1, "state": MOVES[move].target})
        self.kept[_key(before)] = after
        return True

    def delivery(self, client_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        return self.kept.get((client_id, webhook_id, delivery_id))

    def deliveries(self, client_id: str, webhook_id: str, limit: int) -> list[Delivery]:
        found = [each for key, each in self.kept.items() if key[:2] == (client_id, webhook_id)]
        return sorted(found, key=lambda each: each.delivery_id, reverse=True)[:limit]

    def waiting(self, client_id: str, lane: str, limit: int) -> Sequence[tuple[str, int]]:
        found = [
            (each.delivery_id, each.next_attempt_at)
            for each in self.kept.values()
            if (each.client_id, each.lane) == (client_id, lane) and each.next_attempt_at is not None
        ]
        return sorted(found, key=lambda each: each[1])[:limit]

    def _set(self, lane: Lane, **fields: Any) -> None:
        self.lanes[lane.client_id, lane.name] = lane.model_copy(update=fields)


def _key(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.client_id, delivery.webhook_id, delivery.delivery_id


class Bell:
    """Note who is rung for."""

    def __init__(self) -> None:
        self.rung: list[LaneHint] = []

    def ring(self, hint: LaneHint, sweep_minute: int | None = None) -> None:
        self.rung.append(hint)


class Board:
    """Be a bus that notes what it is told."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, int]] = []
        self.off: list[tuple[str, str]] = []

    def tell_ended(self, jobs: Sequence[Job]) -> None:
        self.ended += [(job.job_id, job.version) for job in jobs]

    def tell_webhook_off(self, lane: Lane, reason: str) -> None:
        self.off.append((lane.name, reason))


class PaperPoster:
    """Answer posts by a rule, in the clock's time; the default is 200."""

    def __init__(self, rule: Callable[[str], int | str] = lambda _url: 200, took: Callable[[], None] = lambda: None):
        self.rule = rule
        self.took = took
        self.posts: list[tuple[str, bytes, dict[str, str]]] = []

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> Posted:
        self.posts.append((url, body, headers))
        self.took()
        told = self.rule(url)
        if isinstance(told, str):
            return Posted(None, 15_000, "", told)
        return Posted(told, 12, "so be it", "" if 200 <= told < 300 else f"The receiver answered {told}.")

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, _, headers in self.posts]


class PaperSecrets:
    """Keep secrets in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self._made = 0

    def _new(self) -> str:
        self._made += 1
        return "whsec_" + f"{self._made:032}"

    def live(self, client_id: str, webhook_id: str, now: int) -> list[str]:
        there = self.kept.setdefault((client_id, webhook_id), [(self._new(), 0)])
        return [secret for secret, until in there if not until or now < until]

    def current(self, client_id: str, webhook_id: str) -> str:
        return self.live(client_id, webhook_id, 0)[0]

    def rotate(self, client_id: str, webhook_id: str, now: int) -> tuple[str, int]:
        until = now + 24 * 3_600_000
        before = self.kept.get((client_id, webhook_id), [])
        self.kept[client_id, webhook_id] = [(self._new(), 0), *((secret, until) for secret, _ in before[:1])]
        return self.kept[client_id, webhook_id][0][0], until

    def forget(self, client_id: str, webhook_id: str) -> None:
        self.kept.pop((client_id, webhook_id), None)


class QuietHerald:
    """Announce nothing; note what it was given."""

    def __init__(self) -> None:
        self.heard: list[Job] = []

    def announce(self, jobs: Iterable[Job]) -> dict[str, float | None]:
        self.heard += jobs
        return {}
