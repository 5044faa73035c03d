"""A delivery reaches its receiver or says why not; a dead receiver holds up nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from chalicelib.contract.deliveries import (
    OFF_AFTER_MS,
    SCHEDULE_S,
    Delivery,
    DeliveryState,
    Endpoint,
    LaneHint,
    lane_of_url,
)
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.deliver import BEGUN_WITHIN_MS, HANDS_MOST, HELD_AFTER, LOOK_MOST_MS, QUIET_MS, Deliver
from chalicelib.herald import Herald
from chalicelib.lanes import LaneSweep, work_lanes
from chalicelib.webhook_payload import LIMIT_BYTES, body_of
from chalicelib.webhooks import Webhooks
from tests.delivery_fakes import Bell, Board, MemoryBook, PaperPoster, PaperSecrets
from tests.fakes import MemoryLedger, MemorySeats
from tests.jobs import NOW, new_job, output

CLIENT = "client-1"
URL = "https://hooks.example/comfy"
DAY_MS = 24 * 3_600_000


class Desk:
    """Hold all of webhooks on fakes, with a clock."""

    def __init__(self, rule: Callable[[str], int | str] = lambda _url: 200) -> None:
        self.now = NOW
        self.took_ms = 0
        self.book, self.ledger, self.bell, self.board = MemoryBook(), MemoryLedger(), Bell(), Board()
        self.secrets, self.poster, self.seats = PaperSecrets(), PaperPoster(rule, self.passes), MemorySeats()
        self.herald = Herald(self.book, self.bell, self.board, lambda: self.now)
        self.webhooks = Webhooks(self.book, self.secrets, self.bell, lambda: self.now)
        self.deliver = Deliver(
            self.book,
            self.ledger,
            self.secrets,
            self.poster,
            self.board,
            self.seats,
            lambda: self.now,
            draw=lambda: 0.0,
        )
        self.sweep = LaneSweep(self.book, self.bell, lambda: self.now)

    def passes(self) -> None:
        self.now += self.took_ms

    def endpoint(self, url: str = URL, **fields: object) -> Endpoint:
        return self.webhooks.create(CLIENT, url, **fields)[0]  # type: ignore[arg-type]

    def ended(self, url: str | None = None, **fields: object) -> Job:
        """Have a job succeed."""
        job = self.ledger.submit(new_job(target=None, webhook_url=url, now=self.now, **fields)).job
        claim = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=self.now, lease_ms=1000)
        assert isinstance(claim, Claimed)
        assert self.ledger.commit(claim.lease, now=self.now, outputs=[output()], timings=Timings())
        return self.job(job)

    def job(self, job: Job) -> Job:
        there = self.ledger.get(job.job_id)
        assert there is not None
        return there

    def announced(self, count: int = 1, url: str | None = None) -> list[Job]:
        jobs = [self.ended(url) for _ in range(count)]
        assert self.herald.announce(jobs) == {}
        return jobs

    def work(self) -> float | None:
        """Look at the lanes that were rung for, once each."""
        rung, self.bell.rung = self.bell.rung, []
        waits = [self.deliver.look(hint) for hint in rung]
        return next((wait for wait in waits if wait is not None), None)

    def until(self, at: int) -> None:
        """Let time pass, with a sweep a minute and a second look when one is asked for."""
        while self.now < at:
            self.now = min(at, self.now + 60_000)
            self.sweep.sweep()
            while (wait := self.work()) is not None:
                self.now += int(wait * 1000)
                self.sweep.sweep()

    def deliveries(self, webhook_id: str) -> list[Delivery]:
        return self.book.deliveries(CLIENT, webhook_id, 100)


def test_a_jobs_end_is_told_once_and_signed() -> None:
    """One delivery for each receiver; the receiver's own library finds the signature right."""
    desk = Desk()
    endpoint = desk.endpoint()
    [job] = desk.announced(url="https://other.example/of-the-job")
    assert desk.herald.announce([job]) == {}
    desk.work()
    assert sorted(url for url, _, _ in desk.poster.posts) == [URL, "https://other.example/of-the-job"]
    for url, body, headers in desk.poster.posts:
        secret = desk.secrets.current(CLIENT, endpoint.webhook_id if url == URL else "jobs")
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        signature = Webhook(secret).sign(headers["webhook-id"], at, body.decode())
        assert headers["webhook-signature"] == signature
        told = json.loads(body)
        assert (told["type"], told["data"]["id"], told["data"]["status"]) == ("job.succeeded", job.job_id, "succeeded")
        assert told["data"]["outputs"][0]["url"].startswith(f"{job.link_base}/o/{job.job_id}/0?t=")
        assert "fox" not in body.decode()
    assert {each.state for each in desk.book.kept.values()} == {DeliveryState.DELIVERED}


def test_only_what_was_asked_for_is_told() -> None:
    """An endpoint names its events, and hears of nothing that ended before it was registered."""
    desk = Desk()
    before = desk.ended()
    desk.now += 1
    desk.endpoint(events=("job.failed",))
    wants_start = desk.endpoint(events=("job.started",))
    running = desk.ledger.submit(new_job(target=None)).job
    desk.ledger.claim(running.job_id, 1, owner="w", token="t", now=desk.now, lease_ms=1000)
    desk.herald.announce([before, desk.ended(), desk.job(running)])
    desk.work()
    assert [json.loads(body)["type"] for _, body, _ in desk.poster.posts] == ["job.started"]
    assert [each.job_id for each in desk.deliveries(wants_start.webhook_id)] == [running.job_id]


def test_what_was_shown_is_not_announced_again() -> None:
    """A row that is written once more is no news to anybody else."""
    desk = Desk()
    job = desk.ended()
    assert desk.ledger.mark_synced(job)
    desk.endpoint()
    desk.herald.announce([desk.job(job)])
    again = desk.ledger.show_again(job.job_id, now=desk.now)
    assert again is not None
    desk.herald.announce([again])
    assert desk.book.kept == {} and desk.board.ended == []


def test_the_bus_is_told_of_an_end_once() -> None:
    """However often completion comes by a job whose row cannot be written."""
    desk = Desk()
    job = desk.ended()
    for _ in range(3):
        desk.herald.announce([job])
    assert desk.board.ended == [(job.job_id, job.version)]


def test_attempts_follow_the_schedule_and_then_end() -> None:
    """Eight attempts under one id; the distances are those of the schedule, or up to a sweep longer."""
    desk = Desk(lambda _url: 500)
    endpoint = desk.endpoint()
    desk.announced()
    desk.work()
    desk.until(NOW + 3 * DAY_MS)
    [delivery] = desk.deliveries(endpoint.webhook_id)
    assert (delivery.state, len(delivery.attempts)) == (DeliveryState.FAILED, len(SCHEDULE_S))
    assert set(desk.poster.ids()) == {delivery.delivery_id}
    times = [attempt.at for attempt in delivery.attempts]
    for wait_s, before, after in zip(SCHEDULE_S[1:], times, times[1:], strict=False):
        assert wait_s <= (after - before) / 1000 <= wait_s + 61
    assert delivery.attempts[0].answer == "so be it" and "500" in delivery.attempts[0].error
    assert delivery.next_attempt_at is None and desk.book.lanes[CLIENT, endpoint.webhook_id].due_at is None


def test_the_first_retry_is_waited_for_by_the_message_itself() -> None:
    """Five seconds; later ones are the sweeper's."""
    answers = [500, 500, 200]
    desk = Desk(lambda _url: answers.pop(0))
    desk.endpoint()
    [job] = desk.announced()
    assert desk.work() == pytest.approx(5)
    desk.now += 5_000
    hint = LaneHint(client_id=CLIENT, lane=next(iter(desk.book.kept))[1])
    assert desk.deliver.look(hint) is None
    desk.now += 299_000
    desk.sweep.sweep()
    assert desk.work() is None and len(desk.poster.posts) == 2
    desk.now += 2_000
    desk.sweep.sweep()
    desk.work()
    assert len(desk.poster.posts) == 3 and next(iter(desk.book.kept.values())).state is DeliveryState.DELIVERED
    assert job.job_id == next(iter(desk.book.kept.values())).job_id


def test_a_dead_receiver_costs_one_attempt_a_look_and_nobody_else_waits() -> None:
    """After a few failures one delivery is the probe; the other receiver has all of its own at once."""
    desk = Desk(lambda url: 503 if url == URL else 200)
    dead, well = desk.endpoint(), desk.endpoint("https://well.example/hooks")
    desk.announced(40)
    desk.work()
    posts = [url for url, _, _ in desk.poster.posts]
    assert posts.count(URL) == HELD_AFTER and posts.count("https://well.example/hooks") == 40
    assert all(each.state is DeliveryState.DELIVERED for each in desk.deliveries(well.webhook_id))
    desk.poster.posts.clear()
    for _ in range(30):
        desk.now += 60_000
        desk.sweep.sweep()
        desk.work()
    assert 3 <= len(desk.poster.posts) <= 6, "an hour of a dead receiver is a handful of probes"
    desk.poster.rule = lambda _url: 200
    desk.until(desk.now + 2 * 3_600_000)
    assert all(each.state is DeliveryState.DELIVERED for each in desk.deliveries(dead.webhook_id))
    assert desk.book.lanes[CLIENT, dead.webhook_id].health.failures == 0


def test_a_slow_receiver_does_not_outlast_the_call() -> None:
    """No attempt is begun late; the rest is taken up by the next look."""
    desk = Desk()
    desk.took_ms = 14_000
    desk.endpoint()
    desk.announced(10)
    hint = desk.bell.rung[0]
    began = desk.now
    assert desk.deliver.look(hint) == 1.0
    assert desk.now - began <= BEGUN_WITHIN_MS + 15_000 and len(desk.poster.posts) == 3
    for _ in range(4):
        desk.deliver.look(hint)
    assert len(desk.poster.posts) == 10


def test_an_endpoint_is_off_after_five_days_of_failure() -> None:
    """Told by GET and on the bus; what waits is given up, and nothing new is sent until it is switched on."""
    desk = Desk(lambda _url: "The receiver cannot be reached.")
    endpoint = desk.endpoint()
    day = 0
    while not desk.board.off:
        desk.announced()
        desk.work()
        day += 1
        desk.until(NOW + day * DAY_MS // 2)
        assert day < 20
    assert desk.board.off == [(endpoint.webhook_id, "failing")]
    assert OFF_AFTER_MS <= desk.now - NOW <= OFF_AFTER_MS + DAY_MS
    there, health = desk.webhooks.one(CLIENT, endpoint.webhook_id)
    assert there.off == "failing" and health.failing_since == NOW
    assert {each.state for each in desk.deliveries(endpoint.webhook_id)} == {DeliveryState.FAILED}
    count = len(desk.book.kept)
    desk.announced()
    assert len(desk.book.kept) == count
    desk.poster.rule = lambda _url: 200
    there, health = desk.webhooks.change(CLIENT, endpoint.webhook_id, disabled=False)
    assert (there.off, health.failures) == ("", 0)
    desk.announced()
    desk.work()
    assert desk.deliveries(endpoint.webhook_id)[0].state is DeliveryState.DELIVERED


def test_failures_far_apart_are_no_lasting_failure() -> None:
    """An endpoint that is asked once a week and fails is not switched off by its second failure."""
    desk = Desk(lambda _url: 500)
    endpoint = desk.endpoint()
    for week in range(3):
        desk.now = NOW + week * 7 * DAY_MS
        desk.announced()
        desk.work()
        desk.until(desk.now + 2 * DAY_MS)
    assert desk.board.off == [] and desk.webhooks.one(CLIENT, endpoint.webhook_id)[0].off == ""


def test_410_switches_the_endpoint_off_at_once() -> None:
    """The receiver says that it is gone; what else waits for it is given up."""
    desk = Desk(lambda _url: 410)
    endpoint = desk.endpoint()
    desk.announced(3)
    desk.work()
    assert len(desk.poster.posts) == 1 and desk.board.off == [(endpoint.webhook_id, "gone")]
    assert desk.webhooks.one(CLIENT, endpoint.webhook_id)[0].off == "gone"
    assert {each.state for each in desk.deliveries(endpoint.webhook_id)} == {DeliveryState.FAILED}


def test_410_to_a_jobs_own_address_ends_that_delivery_alone() -> None:
    """Another job may name the same host."""
    desk = Desk(lambda url: 410 if url.endswith("/gone") else 200)
    desk.announced(url="https://host.example/gone")
    desk.announced(url="https://host.example/there")
    desk.work()
    assert [each.state for each in desk.deliveries("jobs")].count(DeliveryState.DELIVERED) == 1
    assert len(desk.poster.posts) == 2 and desk.board.off == []


def test_hosts_that_jobs_name_have_a_lane_each() -> None:
    """So one that is dead holds up no other; the address itself does not matter."""
    assert lane_of_url("https://a.example/x?k=1") == lane_of_url("https://a.example/y")
    assert lane_of_url("https://a.example/") != lane_of_url("https://b.example/")
    assert lane_of_url("http://127.0.0.1:1/") != lane_of_url("http://127.0.0.1:2/")


def test_both_secrets_sign_for_a_day_after_a_rotation() -> None:
    """A receiver may change over whenever it likes: with the old or the new secret every delivery verifies."""
    desk = Desk()
    endpoint = desk.endpoint()
    old = desk.secrets.current(CLIENT, endpoint.webhook_id)
    new, until = desk.webhooks.rotate(CLIENT, endpoint.webhook_id)
    for at, wanted in ((NOW, {old, new}), (until - 1, {old, new}), (until, {new})):
        desk.now = at
        desk.announced()
        desk.work()
        _, body, headers = desk.poster.posts[-1]
        when = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        signs = {
            s
            for s in (old, new)
            if Webhook(s).sign(headers["webhook-id"], when, body.decode()) in headers["webhook-signature"].split(" ")
        }
        assert signs == wanted and headers["webhook-signature"].count("v1,") == len(wanted)


def test_a_delivery_can_be_sent_again_whatever_became_of_it() -> None:
    """Under the same id, with the whole schedule, and what was tried before stays in the log."""
    desk = Desk(lambda _url: 400)
    endpoint = desk.endpoint()
    desk.announced()
    desk.work()
    desk.until(NOW + 2 * DAY_MS)
    [failed] = desk.deliveries(endpoint.webhook_id)
    desk.poster.rule = lambda _url: 200
    for attempts in (9, 10):
        waiting = desk.webhooks.redeliver(CLIENT, endpoint.webhook_id, failed.delivery_id)
        assert (waiting.state, waiting.delivery_id) == (DeliveryState.WAITING, failed.delivery_id)
        desk.work()
        [sent] = desk.deliveries(endpoint.webhook_id)
        assert (sent.state, len(sent.attempts)) == (DeliveryState.DELIVERED, attempts)
    assert len(set(desk.poster.ids())) == 1


def test_a_job_that_is_gone_ends_its_delivery() -> None:
    """There is nothing to tell any more."""
    desk = Desk()
    endpoint = desk.endpoint()
    [job] = desk.announced()
    desk.ledger._jobs.pop(job.job_id)
    desk.work()
    [delivery] = desk.deliveries(endpoint.webhook_id)
    assert delivery.state is DeliveryState.FAILED and "not kept" in delivery.attempts[-1].error
    assert desk.poster.posts == []


def test_a_deleted_endpoint_is_told_nothing() -> None:
    """Not even what waited."""
    desk = Desk()
    endpoint = desk.endpoint()
    desk.announced()
    desk.webhooks.remove(CLIENT, endpoint.webhook_id)
    desk.work()
    assert desk.poster.posts == [] and desk.secrets.kept == {}


def test_a_lane_that_was_rung_for_meanwhile_is_not_put_to_rest() -> None:
    """What is announced while a look ends is found by the next one, though its hint is lost."""
    desk = Desk()
    desk.endpoint()
    [first] = desk.announced()
    second: list[Job] = []
    desk.poster.took = lambda: second.extend(desk.announced()) if not second else None
    desk.work()
    desk.bell.rung.clear()
    desk.now += 60_000
    desk.sweep.sweep()
    desk.work()
    assert len(desk.poster.posts) == 2 and first.job_id != second[0].job_id


def test_a_quiet_lane_is_looked_at_once_more_and_then_left() -> None:
    """The index may be late by a moment, never by a minute."""
    desk = Desk()
    endpoint = desk.endpoint()
    desk.announced()
    desk.work()
    assert desk.book.lanes[CLIENT, endpoint.webhook_id].due_at == NOW + QUIET_MS
    desk.until(NOW + QUIET_MS)
    assert desk.book.lanes[CLIENT, endpoint.webhook_id].due_at is None and desk.sweep.sweep() == 0


def test_a_payload_stays_below_its_limit() -> None:
    """As many outputs as fit; their number is told; a prompt never, half a character does no harm."""
    outputs = tuple(output(f"outputs/{n}.png").model_copy(update={"filename": f"{n}\ud800" * 20}) for n in range(300))
    job = new_job(
        outputs=outputs,
        error=JobError(code="x", text="t" * 5_000),
        metadata={"big": "m" * 6_000},
        link_base="https://host",
        finished_at=NOW,
    )
    delivery = Delivery(
        delivery_id="d", client_id=CLIENT, lane="wh_0", event="job.failed", job_id="j", created_at=NOW, asked_at=NOW
    )
    body = body_of(delivery, job)
    told = json.loads(body)["data"]
    assert 10_000 < len(body) <= LIMIT_BYTES and told["outputs_total"] == 300 and 20 < len(told["outputs"]) < 300
    assert "inputs" not in told and told["metadata"] == {} and len(told["error"]["message"]) == 1_000


class Receipts:
    """Note what is settled."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.later: dict[str, int] = {}
        self.buried: list[str] = []
        self.is_away = False

    def bury(self, record: dict[str, str], reason: str) -> None:
        if self.is_away:
            raise Unavailable("SQS is away.")
        self.buried.append(record["body"])

    def settle(self, done: list[str], later: dict[str, int]) -> None:
        self.done += done
        self.later |= later


def record(body: str, receipt: str) -> dict[str, object]:
    return {"body": body, "receiptHandle": receipt, "messageId": receipt, "attributes": {}}


def test_hints_that_nobody_understands_hold_up_nothing() -> None:
    """They are buried; a lane with a retry soon comes again in time; a lane out of reach a little later."""
    desk = Desk(lambda _url: 500)
    desk.endpoint()
    desk.announced()
    receipts = Receipts()
    hint = desk.bell.rung[0].model_dump_json()
    with pytest.raises(Unavailable):
        work_lanes([record("{}", "a"), record(hint, "b")], desk.deliver, receipts)  # type: ignore[arg-type]
    assert (receipts.done, receipts.later) == (["a"], {"b": 5})
    work_lanes([record("no", "c")], desk.deliver, receipts)  # type: ignore[arg-type]
    assert receipts.buried == ["{}", "no"]
    receipts.is_away = True
    with pytest.raises(Unavailable):
        work_lanes([record("not now", "d")], desk.deliver, receipts)  # type: ignore[arg-type]
    assert receipts.later["d"] == 5 and "d" not in receipts.done


def test_a_client_of_slow_receivers_leaves_hands_to_others() -> None:
    """However many hosts it names, so many hands post for it at a time; the rest come when one is free."""
    desk = Desk()
    for number in range(HANDS_MOST + 3):
        desk.announced(url=f"https://slow-{number}.example/")
    rung, desk.bell.rung = desk.bell.rung, []
    hints = iter(rung)
    most = 0

    def meanwhile() -> None:
        """While one is posted to, the next hand looks at the next lane."""
        nonlocal most
        most = max(most, sum(until > desk.now for until in desk.seats._taken[CLIENT].values()))
        if (hint := next(hints, None)) is not None:
            refused.append(work(hint))

    def work(hint: LaneHint) -> bool:
        """Say whether there was no hand for it; then the sweeper rings, and no message is worn out by waiting."""
        posted = len(desk.poster.posts)
        assert desk.deliver.look(hint) is None
        return len(desk.poster.posts) == posted

    refused: list[bool] = []
    desk.poster.took = meanwhile
    refused.append(work(next(hints)))
    assert most == HANDS_MOST and refused.count(True) == 1, "the fifth is refused while four post"
    desk.poster.took = lambda: None
    for hint in (*hints, *rung):
        work(hint)
    assert {each.state for each in desk.book.kept.values()} == {DeliveryState.DELIVERED}, "every hand was given back"


def test_a_hand_that_died_is_free_after_a_minute() -> None:
    """Nothing else frees it: who is killed gives nothing back."""
    desk = Desk()
    desk.announced(url="https://slow.example/")
    for _ in range(HANDS_MOST):
        assert desk.seats.take(CLIENT, HANDS_MOST, now=desk.now, until=desk.now + LOOK_MOST_MS)
    desk.work()
    assert desk.poster.posts == [], "all hands are taken"
    desk.now += LOOK_MOST_MS
    desk.sweep.sweep()
    desk.work()
    assert {each.state for each in desk.book.kept.values()} == {DeliveryState.DELIVERED}
