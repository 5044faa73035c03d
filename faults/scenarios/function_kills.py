"""
Kill completion, delivery and the sweeper at each call they make.

What their queue held comes again, as Lambda's event source has it; for every second victim it is lost too, and only the
sweeper's later minutes help. In the end each row shows its job, each webhook was told, each job goes on.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from uuid import uuid4

from chalicelib.contract.deliveries import Delivery, DeliveryState, Endpoint, LaneHint, delivery_id
from chalicelib.contract.job import Job, Output, Timings, output_prefix
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from chalicelib.delivery_book import DynamoDeliveryBook
from chalicelib.queues import CompletionQueue, DeliveryQueue
from faults.farm import Asked, Farm
from faults.files import small_picture
from faults.functions import Functions
from faults.kills import End, by_deed, points_of, sample, until_dead
from faults.report import Outcome, Tally, rank
from faults.rows import Rows
from faults.scenario import Scenario, Size
from faults.victim import Point
from infra.functions import COMPLETION, DELIVERY
from sandbox.waiting import wait_until
from sandbox.world import CLIENT

SAMPLES: Final = 4
"""Of each function, at size ci."""
LATER_S: Final = (60.0, 700.0, 2_000.0)
"""When the sweeper comes again after one that was killed: the next minute, in eleven, in half an hour."""
ROUND: Final = 10
"""After so many sweepers a worker ends their jobs: each later one would send word of all of them once more."""
AHEAD_S: Final = 400.0
"""A message counts as lost after five minutes."""
PICTURE: Final = small_picture()


class Receiver:
    """Be a program that is told by webhooks: note each post's id and the job that it is about."""

    def __init__(self) -> None:
        self.posts: Counter[str] = Counter()
        self.jobs: Counter[str] = Counter()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["content-length"])
                content = self.rfile.read(size)
                if len(content) < size:  # whoever posted it is dead
                    return
                told = json.loads(content)
                receiver.posts[self.headers["webhook-id"]] += 1
                receiver.jobs[str(told.get("data", {}).get("id", ""))] += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/told"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class Shop:
    """Hold what the three scenarios need: functions by hand, a tab, a receiver registered for its client."""

    def __init__(self, farm: Farm, rows: Rows, receiver: Receiver) -> None:
        self.farm, self.rows, self.receiver = farm, rows, receiver
        self.functions = farm.keep(Functions, lambda: Functions(farm))
        outputs = farm.outputs
        dynamodb: Any = farm.world.cloud.session().client("dynamodb")
        self.book = DynamoDeliveryBook(dynamodb, outputs["WebhooksTable"])
        self.completions = CompletionQueue(farm.sqs, self.functions.queue_of(COMPLETION))
        self.deliveries = DeliveryQueue(
            farm.sqs, self.functions.queue_of(DELIVERY), self.functions.dead_letters_of(DELIVERY)
        )
        self._endpoints: list[Endpoint] = []
        self.endpoint = self.register(CLIENT)

    def register(self, client_id: str) -> Endpoint:
        """Register the receiver for a client."""
        endpoint = Endpoint(
            webhook_id=f"wh_{uuid4().hex[:16]}", client_id=client_id, url=self.receiver.url, created_at=now_ms()
        )
        self.book.add_endpoint(endpoint)
        self._endpoints.append(endpoint)
        return endpoint

    def close(self) -> None:
        """Remove the receiver everywhere."""
        for each in self._endpoints:
            self.book.remove_endpoint(each.client_id, each.webhook_id)

    def end_by_hand(self, one: Asked, *, hint: bool) -> Job:
        """Do a worker's part in a moment: claim, upload, commit, hint."""
        farm, job = self.farm, self.farm.job(one)
        assert job is not None
        claim = farm.ledger.claim(job.job_id, job.seq, owner="hand", token=uuid4().hex, now=now_ms(), lease_ms=60_000)
        if not isinstance(claim, Claimed):
            raise RuntimeError(f"job {job.job_id} could not be claimed: {claim.why}")
        digest = hashlib.sha256(PICTURE).hexdigest()
        key = f"{output_prefix(job.client_id, job.job_id, claim.lease.attempt)}0-{digest[:8]}.png"
        output = Output(
            key=key,
            filename="picture.png",
            content_type="image/png",
            size_bytes=len(PICTURE),
            sha256=digest,
            node="9",
            kind="image",
            thumbnail_key=key,
            thumbnail_type="image/png",
        )
        farm.s3.put_object(Bucket=farm.outputs["Bucket"], Key=output.key, Body=PICTURE)
        farm.ledger.commit(claim.lease, now=now_ms(), outputs=[output], timings=Timings(execution_ms=5))
        ended = farm.job(one)
        assert ended is not None
        if hint:
            self.completions.hint(ended)
        return ended

    def forget_job_messages(self, asked: Sequence[Asked]) -> None:
        """Lose the messages that wait for workers about *asked*."""
        ours = {one.job_id for one in asked}
        for each in self.job_messages():
            if json.loads(each["Body"])["job_id"] in ours:
                self.farm.sqs.delete_message(
                    QueueUrl=self.farm.outputs["JobsQueueUrl"], ReceiptHandle=each["ReceiptHandle"]
                )

    def job_messages(self) -> list[dict[str, Any]]:
        """Look at what waits for workers, and leave it there."""
        url, found = self.farm.outputs["JobsQueueUrl"], []
        while more := self.farm.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=30, WaitTimeSeconds=0
        ).get("Messages", []):
            found += more
        for each in found:
            self.farm.sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=each["ReceiptHandle"], VisibilityTimeout=0
            )
        return found

    def lose(self, messages: Sequence[dict[str, Any]], queue: str) -> None:
        """Lose messages for good."""
        for each in messages:
            self.farm.sqs.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])


@contextmanager
def shop(farm: Farm, name: str) -> Iterator[Shop]:
    """Open a shop while the engine leaves completion and delivery to us; in the end they catch up."""
    receiver = Receiver()
    try:
        with Rows(farm, name) as rows:
            here = Shop(farm, rows, receiver)
            with here.functions.held(COMPLETION, DELIVERY):
                yield here
            here.close()
    finally:
        receiver.close()


def now_ms() -> int:
    """Tell the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def killed_at(points: Sequence[Point], size: Size) -> list[tuple[Point, bool]]:
    """Pair points with whether the victim's messages come again: both at size all, by turns at size ci."""
    if size is Size.ALL:
        return [(point, again) for point in points for again in (True, False)]
    return [(point, number % 2 == 0) for number, point in enumerate(sample(points, SAMPLES))]


# -- completion ---------------------------------------------------------------------------------------------------


def killed_completion(farm: Farm, size: Size) -> Outcome:
    """Two rows and their ends in one batch; death; the same messages again, or the sweeper's next minutes."""
    with shop(farm, "Killed completion") as here:
        every: list[Asked] = []
        ends: list[End] = []
        whole_s: list[float] = []
        wrong: list[str] = []

        def one(point: Point | None, again: bool) -> End:
            typed = here.rows.type(2)
            here.rows.send(typed)
            here.forget_job_messages(typed)
            every.extend(typed)
            for each in typed:
                here.end_by_hand(each, hint=True)
            messages = here.functions.take(COMPLETION)
            end = here.functions.work(COMPLETION, messages, point)
            if end.is_dead and not again:
                messages = here.functions.take(COMPLETION) or messages
                here.lose(messages, here.functions.queue_of(COMPLETION))
                here.functions.sweep(ahead_s=AHEAD_S)
            if not here.functions.drained(COMPLETION, 90):
                wrong.append(f"news stays in the queue after a death at {end.died}")
            breaches = here.rows.breaches(typed)
            wrong.extend(f"after a death at {end.died}: {each}" for each in breaches)
            if end.is_dead:
                whole_s.append(time.time() - end.at)
            return end

        life = points_of(one(None, True), "network")
        for point, again in killed_at(life, size):
            ends.append(until_dead(lambda point=point, again=again: one(point, again)))  # type: ignore[misc]
        drained = here.functions.drained(DELIVERY, 60)
        wrong += [] if drained else ["webhooks stay in their queue"]
        wrong += _untold(here, every)
        tally, lost = farm.judge(every)
        figures = {
            **_figures(life, ends, whole_s),
            "webhooks told": len(here.receiver.posts),
            "told more than once": sum(times > 1 for times in here.receiver.posts.values()),
        }
        return Outcome(tally, figures, tuple(wrong + lost + _too_few(ends)))


def _untold(here: Shop, every: Sequence[Asked]) -> list[str]:
    """Say which ended jobs nobody was told of, or counted as not shown."""
    wrong = []
    for one in every:
        job = here.farm.job(one)
        if job is not None and not job.is_shown:
            wrong.append(f"job {job.job_id} counts as not shown")
        if job is not None and not here.receiver.jobs[job.job_id]:
            wrong.append(f"nobody was told of job {job.job_id}")
    return wrong


# -- delivery -----------------------------------------------------------------------------------------------------


def killed_delivery(farm: Farm, size: Size) -> Outcome:
    """One delivery waits, its lane is rung for; death; the ring again, or the sweeper's."""
    with shop(farm, "Killed delivery") as here:
        (row,) = here.rows.type(1)
        here.rows.send([row])
        here.forget_job_messages([row])
        job = here.end_by_hand(row, hint=True)
        here.functions.drained(COMPLETION)
        here.functions.drained(DELIVERY)
        announced: list[Delivery] = []
        ends: list[End] = []
        whole_s: list[float] = []
        wrong: list[str] = []

        def one(point: Point | None, again: bool) -> End:
            now = now_ms()
            # A client of its own: the hand of one that died counts as busy for a minute, and a client has four.
            endpoint = here.register(f"told-{uuid4().hex[:12]}")
            client = endpoint.client_id
            wanted = Delivery(
                delivery_id=delivery_id(now, uuid4().hex[:20]),
                client_id=client,
                lane=endpoint.webhook_id,
                event="job.succeeded",
                job_id=job.job_id,
                created_at=now,
                asked_at=now,
                next_attempt_at=now,
            )
            announced.append(here.book.announce(wanted))
            here.book.ring(client, wanted.lane, now)
            here.deliveries.ring(LaneHint(client_id=client, lane=wanted.lane, delivery_id=wanted.delivery_id))
            messages = here.functions.take(DELIVERY)
            end = here.functions.work(DELIVERY, messages, point)
            if end.is_dead and not again:
                here.lose(here.functions.take(DELIVERY) or messages, here.functions.queue_of(DELIVERY))
                here.functions.sweep(ahead_s=AHEAD_S)
            if not here.functions.drained(DELIVERY, 60):
                wrong.append(f"a ring stays in the queue after a death at {end.died}")
            there = here.book.delivery(client, wanted.webhook_id, wanted.delivery_id)
            if there is None or there.state is not DeliveryState.DELIVERED:
                wrong.append(f"a delivery is {there.state if there else 'gone'} after a death at {end.died}")
            if not here.receiver.posts[wanted.delivery_id]:
                wrong.append(f"nobody was told after a death at {end.died}")
            if end.is_dead:
                whole_s.append(time.time() - end.at)
            return end

        life = points_of(one(None, True), "network")
        for point, again in killed_at(life, size):
            ends.append(until_dead(lambda point=point, again=again: one(point, again)))  # type: ignore[misc]
        figures = {
            **_figures(life, ends, whole_s),
            "deliveries": len(announced),
            "told more than once": sum(times > 1 for times in here.receiver.posts.values()),
        }
        return Outcome(Tally(), figures, tuple(wrong + _too_few(ends)))


# -- the sweeper --------------------------------------------------------------------------------------------------


def killed_sweeper(farm: Farm, size: Size) -> Outcome:
    """
    Leave every kind of gap, kill the sweeper that closes them, and let its next minutes pass.

    Gaps: a message that was never sent, a worker that died, a hint that got lost, a job held back though there is room,
    a delivery that nobody rang for.
    """
    with shop(farm, "Killed sweeper") as here:
        every: list[Asked] = []
        ends: list[End] = []
        wrong: list[str] = []
        whole_at: Counter[str] = Counter()

        def one(point: Point | None) -> End:
            asked = _gaps(here)
            every.extend(asked)
            end = here.functions.sweep(point, ahead_s=AHEAD_S)
            if end.raised:
                wrong.append(f"the sweeper failed: {end.raised}")
            died_s = here.functions.swept_s
            for later_s in (0.0, *LATER_S) if end.is_dead else (0.0,):
                if later_s:
                    here.functions.sweep(ahead_s=died_s + later_s)
                here.functions.drained(COMPLETION)
                here.functions.drained(DELIVERY)
                left = _left(here, asked)
                if not left:
                    whole_at[f"{(here.functions.swept_s - died_s) / 60:02.0f} min"] += 1
                    break
            else:
                wrong.extend(f"after a death at {end.died}: {each}" for each in left)
            return end

        life = points_of(one(None), "network")
        chosen = life if size is Size.ALL else sample(life, SAMPLES)
        for begin in range(0, len(chosen), ROUND):
            done = len(every)
            points = chosen[begin : begin + ROUND]
            ends += [until_dead(lambda point=point: one(point)) for point in points]  # type: ignore[misc]
            # A later sweeper of the round may have died between numbering and sending an earlier one's job.
            here.functions.sweep(ahead_s=here.functions.swept_s + LATER_S[1])
            wrong += _worked_off(here, every[done:] if begin else every)
    wait_until(lambda: all(job.is_shown for job in farm.ledger.get_many([one.job_id for one in every])), 20)
    tally, lost = farm.judge(every)
    figures = {**_figures(life, ends, []), **{f"whole after {at}": count for at, count in sorted(whole_at.items())}}
    return Outcome(tally, figures, tuple(wrong + lost + _too_few(ends)))


def _worked_off(here: Shop, asked: Sequence[Asked]) -> list[str]:
    """Let a worker end what sweepers have left, and completion let go what is held back; say if that does not do."""
    worker = here.farm.worker()
    try:
        done = wait_until(
            lambda: here.functions.drained(COMPLETION, 5) and here.farm.all_ended(asked, 3), 60 + len(asked)
        )
        return [] if done else ["jobs did not end though a worker ran"]
    finally:
        worker.stop()


def _gaps(here: Shop) -> list[Asked]:
    """Make a client with five jobs (the last is held), each of which lacks something, and a delivery without a ring."""
    client = f"swept-{uuid4().hex[:12]}"
    asked = [here.farm.insist(here.farm.ask(client=client, steps=1)) for _ in range(5)]
    here.forget_job_messages(asked)
    job = here.farm.job(asked[1])
    assert job is not None
    here.farm.ledger.claim(job.job_id, job.seq, owner="dead", token=uuid4().hex, now=now_ms() - 1000, lease_ms=1)
    here.end_by_hand(asked[2], hint=False)
    now = now_ms()
    here.book.announce(
        Delivery(
            delivery_id=delivery_id(now, uuid4().hex[:20]),
            client_id=CLIENT,
            lane=here.endpoint.webhook_id,
            event="job.succeeded",
            job_id=asked[2].job_id,
            created_at=now,
            asked_at=now,
            next_attempt_at=now,
        )
    )
    here.book.ring(CLIENT, here.endpoint.webhook_id, now)
    return asked


def _left(here: Shop, asked: Sequence[Asked]) -> list[str]:
    """Say which gaps are open: an open job without a message of its own number, an end not shown, nobody told."""
    told = [json.loads(each["Body"]) for each in here.job_messages()]
    messages = {(each["job_id"], each["seq"]) for each in told}
    left = []
    for one in asked:
        job = here.farm.job(one)
        if job is None:
            left.append(f"job {one.job_id} is gone")
        elif job.state in (State.QUEUED, State.RUNNING):
            if (job.job_id, job.seq) not in messages:
                left.append(f"job {job.job_id} ({job.state}, number {job.seq}) has no message")
        elif not job.is_shown:
            left.append(f"job {job.job_id} counts as not shown")
    if not here.receiver.jobs[asked[2].job_id]:
        left.append("nobody was told of a delivery")
    return left


# -- figures ------------------------------------------------------------------------------------------------------


def _figures(life: Sequence[Point], ends: Sequence[End], whole_s: Sequence[float]) -> dict[str, float | int | str]:
    figures: dict[str, float | int | str] = {
        "calls of a life": len(life),
        "killed": sum(end.is_dead for end in ends),
        "by deed": by_deed(ends),
    }
    if whole_s:
        figures |= {f"whole again p{share * 100:.0f} s": round(rank(whole_s, share), 1) for share in (0.5, 0.95, 1)}
    return figures


def _too_few(ends: Sequence[End]) -> list[str]:
    dead = sum(end.is_dead for end in ends)
    return [] if dead >= 0.5 * len(ends) else [f"only {dead} of {len(ends)} victims met their point"]


SCENARIOS = (
    Scenario("F3", "completion is killed at its calls", ("P1", "P4", "P11", "P12"), killed_completion),
    Scenario("F3", "delivery is killed at its calls", ("P1",), killed_delivery),
    Scenario("F3", "the sweeper is killed at its calls", ("P1", "P7"), killed_sweeper),
)
