"""
Work through a lane: post what waits for one receiver, note how it went, and say when to come again.

Everything that calls for a look is a hint; the book says what waits. One hand works on a lane at a time (the queue's
group sees to it), so within a lane the oldest goes first, as far as retries let it. A receiver that failed a few times
in a row gets one delivery at a time, at growing distances, until it answers: one dead receiver costs next to nothing.

However many receivers a client names, and however slow they are: no more than `HANDS_MOST` hands are posting for it at
any time, so that the others are there for other clients.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.deliveries import (
    OFF_AFTER_MS,
    PAUSE_MS,
    SCHEDULE_S,
    Attempt,
    Delivery,
    DeliveryState,
    Health,
    Lane,
    LaneHint,
    Move,
)
from chalicelib.contract.delivery_ports import DeliveryBook
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger, Seats
from chalicelib.signature import signed_headers
from chalicelib.webhook_payload import body_of

log = logging.getLogger(__name__)

AT_ONCE: Final = 50
"""Waiting deliveries read for one look."""
BEGUN_WITHIN_MS: Final = 30_000
"""No attempt is begun later than this in a look: a call has 60 seconds, an attempt 15."""
HANDS_MOST: Final = 4
"""Lanes of one client that are posted to at the same time; `DeliveryConcurrency` hands (10) are there for all."""
LOOK_MOST_MS: Final = 60_000
"""How long a look can take: the function's own bound. A hand that died is free again then."""
HELD_AFTER: Final = 5
"""After so many failures in a row a receiver is asked by one delivery at a time."""
HELD_MS: Final = 60_000
HELD_MOST_MS: Final = 3_600_000
QUIET_MS: Final = 60_000
"""A lane is looked at once more so long after it was rung for: the index of what waits may be late."""
SOON_MS: Final = 10_000
"""What is due within this is waited for by the message itself; later attempts are the sweeper's to ring for."""
JITTER: Final = 0.1
ATTEMPTS_KEPT: Final = 20
_GONE: Final = 410


@dataclass(frozen=True)
class Posted:
    """Say how a POST went: *status* None means that there was no answer; *error* is a sentence, empty after a 2xx."""

    status: int | None
    duration_ms: int
    answer: str = ""
    error: str = ""


class Poster(Protocol):
    """Post to strangers (`chalicelib.poster.GuardedPoster`)."""

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> Posted:
        """Post once. Nothing is raised: a failure is an answer too."""


class Secrets(Protocol):
    """Know what signs (`chalicelib.webhook_secrets.WebhookSecrets`)."""

    def live(self, client_id: str, webhook_id: str, now: int) -> list[str]:
        """List the secrets that sign, the newest first."""


class Bus(Protocol):
    """Tell others (`chalicelib.bus.EventBus`)."""

    def tell_webhook_off(self, lane: Lane, reason: str) -> None:
        """Say that an endpoint was switched off. Nothing is raised."""


class Deliver:
    """Deliver what waits. *draw* gives 0..1, for the jitter."""

    def __init__(
        self,
        book: DeliveryBook,
        ledger: Ledger,
        secrets: Secrets,
        poster: Poster,
        bus: Bus,
        seats: Seats,
        now_ms: Callable[[], int],
        draw: Callable[[], float] = random.random,
        counts: Counts = NOWHERE,
    ) -> None:
        self._counts = counts
        self._seats = seats
        self._book = book
        self._ledger = ledger
        self._secrets = secrets
        self._poster = poster
        self._bus = bus
        self._now_ms = now_ms
        self._draw = draw

    def look(self, hint: LaneHint) -> float | None:
        """
        Work through the lane of *hint*; answer in how many seconds to come again (None: somebody will ring).

        When so many hands are posting for this client already, the lane rests, and the sweeper rings for it. Raise
        `Unavailable` when the table or the secrets cannot be reached.
        """
        lane = self._book.lane(hint.client_id, hint.lane)
        if lane is None:
            return None
        began, seen = self._now_ms(), lane
        waiting = dict(self._book.waiting(lane.client_id, lane.name, AT_ONCE))
        # What rang may be younger than the index.
        ids = [hint.delivery_id] if hint.delivery_id else []
        ids += [each for each, at in waiting.items() if at <= began and each not in ids]
        if not ids or _is_held(lane, began):
            return self._rest(seen, lane, waiting.values())
        hand = self._seats.take(lane.client_id, HANDS_MOST, now=began, until=began + LOOK_MOST_MS)
        if hand is None:
            self._book.rest(seen, began)
            return None
        try:
            lane = self._work(lane, ids, waiting, began)
        finally:
            self._give_back(lane, hand)
        return self._rest(seen, lane, waiting.values())

    def _work(self, lane: Lane, ids: Sequence[str], waiting: dict[str, int], began: int) -> Lane:
        """Post what is due of *ids*, in their order, and keep *waiting* (next attempts by id) true; the lane then."""
        for delivery_id in ids:
            if self._now_ms() - began > BEGUN_WITHIN_MS or _is_held(lane, self._now_ms()):
                break
            delivery = self._book.delivery(lane.client_id, lane.webhook_id, delivery_id)
            waiting.pop(delivery_id, None)
            if delivery is None or delivery.state is not DeliveryState.WAITING:
                continue
            if (delivery.next_attempt_at or 0) <= began:
                lane, delivery = self._attempt(lane, delivery)
            if delivery.next_attempt_at is not None:
                waiting[delivery_id] = delivery.next_attempt_at
        return lane

    def _give_back(self, lane: Lane, hand: str) -> None:
        try:
            self._seats.leave(lane.client_id, hand, now=self._now_ms())
        except Unavailable as reason:
            # What was posted is noted; the hand counts as busy until its time is over.
            log.warning("hand not given back", extra={"lane": lane.name, "reason": reason.message})

    def _rest(self, seen: Lane, lane: Lane, waiting: Collection[int]) -> float | None:
        """Put the lane to rest until its next delivery is due; *seen* is the lane as the look began."""
        now = self._now_ms()
        due_at = min(waiting, default=None)
        if due_at is not None and _is_held(lane, due_at):
            due_at = lane.health.probe_at
        if due_at is None and now - seen.rung_at < QUIET_MS:
            due_at = now + QUIET_MS
        self._book.rest(seen, due_at)
        if not waiting or due_at is None or due_at - now > SOON_MS:
            return None
        return max(1.0, (due_at - now) / 1000)

    # -- one attempt --------------------------------------------------------------------------------------------

    def _attempt(self, lane: Lane, delivery: Delivery) -> tuple[Lane, Delivery]:
        """Make one attempt; answer lane and delivery as they stand then."""
        endpoint, now = lane.endpoint, self._now_ms()
        job = self._ledger.get(delivery.job_id) if delivery.job_id else None
        if endpoint is not None and endpoint.off:
            return lane, self._give_up(delivery, "The webhook is switched off.")
        if now - delivery.asked_at >= OFF_AFTER_MS:
            return lane, self._give_up(delivery, "It could not be delivered within five days.")
        if delivery.job_id and job is None:
            return lane, self._give_up(delivery, "The job is not kept any more.")
        url = endpoint.url if endpoint else (job.webhook_url if job else None)
        if not url:
            return lane, self._give_up(delivery, "The job names no address.")
        posted = self._post(lane, delivery, job, url, now)
        attempt = Attempt(
            at=now,
            status=posted.status,
            duration_ms=posted.duration_ms,
            answer=posted.answer,
            error=posted.error,
        )
        delivery = delivery.model_copy(
            update={"attempts": (*delivery.attempts, attempt)[-ATTEMPTS_KEPT:], "tries": delivery.tries + 1}
        )
        if not posted.error:
            return self._recovered(lane), self._moved(Move.DELIVER, delivery, ended_at=self._now_ms())
        delivery = self._failed(delivery, posted)
        return self._ailing(lane, posted), delivery

    def _post(self, lane: Lane, delivery: Delivery, job: Job | None, url: str, now: int) -> Posted:
        body = body_of(delivery, job)
        secrets = self._secrets.live(lane.client_id, lane.webhook_id, now)
        headers = signed_headers(delivery.delivery_id, now // 1000, body, secrets)
        posted = self._poster.post(url, body, headers)
        self._counts.add(Metric.WEBHOOKS_FAILED if posted.error else Metric.WEBHOOKS_POSTED)
        log.info(
            "posted",
            extra={
                "action": "posted" if not posted.error else "not posted",
                "delivery_id": delivery.delivery_id,
                "job_id": delivery.job_id,
                "lane": lane.name,
                "attempt": delivery.tries + 1,
                "status": posted.status,
                "duration_ms": posted.duration_ms,
            },
        )
        return posted

    def _failed(self, delivery: Delivery, posted: Posted) -> Delivery:
        """Plan the next attempt, or give up."""
        now = self._now_ms()
        if posted.status == _GONE or delivery.tries >= len(SCHEDULE_S):
            return self._moved(Move.GIVE_UP, delivery, ended_at=now)
        wait_s = SCHEDULE_S[delivery.tries] * (1 + JITTER * self._draw())
        return self._moved(Move.RETRY, delivery, next_attempt_at=now + round(wait_s * 1000))

    def _give_up(self, delivery: Delivery, why: str) -> Delivery:
        now = self._now_ms()
        attempts = (*delivery.attempts, Attempt(at=now, error=why))[-ATTEMPTS_KEPT:]
        return self._moved(Move.GIVE_UP, delivery.model_copy(update={"attempts": attempts}), ended_at=now)

    def _moved(
        self, move: Move, delivery: Delivery, *, next_attempt_at: int | None = None, ended_at: int | None = None
    ) -> Delivery:
        after = delivery.model_copy(update={"next_attempt_at": next_attempt_at, "ended_at": ended_at})
        if not self._book.move(move, delivery, after):
            # Somebody asked for it once more meanwhile; the book's next look knows.
            log.info("delivery moved meanwhile", extra={"delivery_id": delivery.delivery_id, "action": move})
        elif move is Move.GIVE_UP:
            self._counts.add(Metric.WEBHOOKS_GIVEN_UP)
        return after

    # -- the receiver's health ----------------------------------------------------------------------------------

    def _recovered(self, lane: Lane) -> Lane:
        if lane.health == Health():
            return lane
        self._book.note_health(lane, Health())
        return lane.model_copy(update={"health": Health()})

    def _ailing(self, lane: Lane, posted: Posted) -> Lane:
        now, before = self._now_ms(), lane.health
        is_new = before.last_failed_at is None or now - before.last_failed_at > PAUSE_MS
        failures = before.failures + 1
        wait_ms = min(HELD_MS << max(0, min(failures - HELD_AFTER, 10)), HELD_MOST_MS)
        health = Health(
            failures=failures,
            failing_since=now if is_new or before.failing_since is None else before.failing_since,
            last_failed_at=now,
            probe_at=now + wait_ms if failures >= HELD_AFTER else 0,
        )
        self._book.note_health(lane, health)
        lane = lane.model_copy(update={"health": health})
        if lane.endpoint is not None and posted.status == _GONE:
            return self._switched_off(lane, "gone")
        if lane.endpoint is not None and now - (health.failing_since or now) >= OFF_AFTER_MS:
            return self._switched_off(lane, "failing")
        return lane

    def _switched_off(self, lane: Lane, reason: str) -> Lane:
        if lane.endpoint is None:
            return lane
        after = lane.endpoint.model_copy(update={"off": reason})
        if self._book.change_endpoint(lane.endpoint, after):
            log.warning("webhook switched off", extra={"lane": lane.name, "action": "off", "reason": reason})
            self._counts.add(Metric.WEBHOOKS_OFF)
            self._bus.tell_webhook_off(lane, reason)
        # Who waits is given up at once: nobody is asked any more.
        return lane.model_copy(update={"endpoint": after, "health": lane.health.model_copy(update={"probe_at": 0})})


def _is_held(lane: Lane, now: int) -> bool:
    is_off = lane.endpoint is not None and bool(lane.endpoint.off)
    return not is_off and lane.health.failures >= HELD_AFTER and now < lane.health.probe_at
