"""Judge when a worker takes jobs, and how it ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest

from chalicelib.contract.events import Hint
from chalicelib.contract.states import State
from sandbox.waiting import wait_until
from tests.jobs import NOW, new_job
from tests.worker_fakes import (
    FakeClock,
    FakeHints,
    FakeInbox,
)
from tests.worker_shop import Shop
from worker.loop import Worker
from worker.ports import Delivery
from worker.postman import MAX_WAITING, Postman


def test_nothing_is_claimed_while_comfyui_is_away() -> None:
    """The message is not even received; when ComfyUI is back the job runs with its budget whole."""
    shop = Shop()
    shop.comfy.is_up = False
    shop.clock.after(40, lambda: setattr(shop.comfy, "is_up", True))
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    assert (shop.job.attempt, shop.job.budget_left) == (1, 2)


def test_comfyui_leaving_during_a_run_costs_an_attempt() -> None:
    """Ten seconds without an answer: the job goes back."""
    shop = Shop()
    shop.comfy.run_s = None
    shop.clock.after(5, lambda: setattr(shop.comfy, "is_up", False))
    shop.clock.after(60, shop.house.closing.set)
    shop.work()
    assert shop.job.state is State.QUEUED
    assert shop.job.last_error is not None and shop.job.last_error.text == "ComfyUI went away while it was rendering."


def test_a_queue_out_of_reach_is_waited_for() -> None:
    """The slot pauses and asks again."""
    shop = Shop()
    shop.inbox.is_away = True
    shop.clock.after(20, lambda: setattr(shop.inbox, "is_away", False))
    assert shop.work().job.state is State.SUCCEEDED


class Broken(Exception):
    """Be a bug."""


def supervised(shop: Shop, vital: dict[str, Callable[[], None]] | None = None) -> Worker:
    return Worker(shop.house, [shop.tools], shop.tools, vital or {}, [])


def test_a_bug_ends_the_process_and_spends_the_attempt() -> None:
    """Exit code 1; the job waits with the reason, so that it cannot crash workers for ever."""
    shop = Shop()

    def broken(*_: object) -> None:
        raise Broken("a prompt's text must not get out")

    shop.comfy.submit = broken  # type: ignore[method-assign, assignment]
    assert supervised(shop).run() == 1
    assert shop.job.state is State.QUEUED
    assert shop.job.budget_left == 2
    assert shop.job.last_error is not None
    assert shop.job.last_error.text == "The worker has a fault of its own (Broken)."


@pytest.mark.parametrize("ends", ["by a bug", "by itself"])
def test_a_vital_thread_that_ends_takes_the_worker_with_it(ends: str) -> None:
    """Without heartbeat or WebSocket thread no worker goes on: it hands back and exits non-zero."""
    shop = Shop()
    shop.house.once = False
    shop.comfy.run_s = None
    submitted = threading.Event()
    begin = shop.comfy.begin

    def begun(prompt_id: str) -> None:
        begin(prompt_id)
        submitted.set()

    shop.comfy.begin = begun  # type: ignore[method-assign]

    def heartbeat() -> None:
        assert submitted.wait(10)
        if ends == "by a bug":
            raise Broken

    assert supervised(shop, {"heartbeat": heartbeat}).run() == 1


def test_a_signal_that_meets_another_thread_ends_the_worker() -> None:
    """The kernel gives a process's signal to any thread, and only the main one runs what Python does about it."""
    shop = Shop()
    shop.house.once = False
    main, noticed = threading.current_thread(), threading.Event()

    def stop(*_: object) -> None:
        noticed.set()
        worker.stop(code=7)

    def struck() -> None:
        wait_until(lambda: sys._current_frames()[main.ident or 0].f_code.co_name == "_watch_over")
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        if not noticed.wait(10):
            worker.stop(code=99)
        shop.house.closing.wait(10)

    worker = supervised(shop, {"struck": struck})
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        assert worker.run() == 7
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_once_ends_well_when_the_queue_is_empty() -> None:
    """Exit code 0, all jobs done."""
    shop = Shop()
    others = [shop.submit() for _ in range(3)]
    assert supervised(shop).run() == 0
    states = {job.state for job in shop.ledger.get_many([shop.job_id, *others])}
    assert states == {State.SUCCEEDED}


class RealWaits(FakeClock):
    """Wait for bells in real time; other waits pass at once."""

    def wait(self, bell: threading.Event, seconds: float) -> bool:
        return bell.wait(min(seconds, 5.0))


def test_a_stop_hands_the_running_job_back() -> None:
    """Released with its budget whole, visible at once, stopped on ComfyUI, and the row told."""
    shop = Shop()
    shop.clock = RealWaits(NOW)
    shop.tools = replace(shop.tools, clock=shop.clock)
    shop.comfy.run_s = None
    worker = supervised(shop)
    begin = shop.comfy.begin

    def begun(prompt_id: str) -> None:
        begin(prompt_id)
        worker.stop()

    shop.comfy.begin = begun  # type: ignore[method-assign]
    assert worker.run() == 0
    assert shop.job.state is State.QUEUED
    assert (shop.job.attempt, shop.job.budget_left, shop.job.last_error) == (1, 3, None)
    assert shop.comfy.cancelled == [shop.prompt_id()]
    assert shop.inbox.hidden == [0]
    assert [hint.version for hint, _ in shop.hints.sent] == [shop.job.version]


def test_a_message_received_while_stopping_is_given_back() -> None:
    """The receive was under way when the stop came."""
    shop = Shop()
    take = shop.inbox.take

    def late(wait_s: int) -> object:
        shop.house.closing.set()
        return take(wait_s)

    shop.inbox.take = late  # type: ignore[method-assign, assignment]
    shop.work()
    assert shop.inbox.hidden == [0]
    assert shop.job.attempt == 0


def test_the_postman_never_makes_a_job_wait() -> None:
    """What waits is bounded: what does not fit is left out; a queue that is away only warns."""
    hints, clock = FakeHints(), FakeClock(NOW)
    inbox = FakeInbox(clock)
    postman = Postman(hints, inbox, clock)
    inbox.send(str(uuid4()))
    delivery = inbox.take(0)
    for _ in range(15_000):
        postman.tell(new_job(), 2, then_drop=delivery)
    hints.is_away = True
    postman.close()
    postman.run()
    assert hints.sent == [] and len(inbox.hidden) == MAX_WAITING


def test_the_postman_carries_ten_at_a_time_and_deletes_only_what_was_told() -> None:
    """Of a batch with a refused hint that one's message stays hidden for a while, to say it again."""
    clock = FakeClock(NOW)
    inbox = FakeInbox(clock)
    batches: list[int] = []

    class Choosy(FakeHints):
        def send_all(self, hints: Sequence[tuple[Hint, str]]) -> set[int]:
            batches.append(len(hints))
            return {1} if len(hints) == 3 else set()

    for _ in range(13):
        inbox.send(str(uuid4()))
    deliveries = [inbox.take(0) for _ in range(13)]
    postman = Postman(Choosy(), inbox, clock)
    for delivery in deliveries:
        postman.tell(new_job(), 2, then_drop=delivery)
    postman.close()
    postman.run()
    assert batches == [10, 3]
    assert len(inbox.messages) == 1 and inbox.hidden == [30.0]


def test_a_job_that_ends_at_once_is_told_once() -> None:
    """The news that it was begun waits a moment; that of a longer job goes by itself."""
    clock, hints = FakeClock(NOW), FakeHints()
    inbox = FakeInbox(clock)
    postman = Postman(hints, inbox, clock)
    quick, slow = new_job(), new_job()
    postman.tell(quick, 2)
    postman.tell(slow, 2)
    inbox.send(quick.job_id)
    postman.tell(quick, 3, then_drop=inbox.take(0))
    clock.after(1, postman.close)
    postman.run()
    told = [(hint.job_id, hint.version) for hint, _ in hints.sent]
    assert told == [(quick.job_id, 3), (slow.job_id, 2)]
    assert inbox.messages == {}


def test_a_comfyui_that_left_during_the_receive_costs_no_attempt() -> None:
    """A receive may take 20 s: ComfyUI is looked at again before the claim, and the message comes back soon."""
    shop = Shop()
    take = shop.inbox.take

    def late(wait_s: int) -> Delivery | None:
        shop.comfy.is_up = False
        return take(wait_s)

    shop.inbox.take = late  # type: ignore[method-assign]
    shop.clock.after(3, shop.house.closing.set)
    shop.work()
    assert shop.inbox.hidden == [5.0]
    assert shop.job.attempt == 0
