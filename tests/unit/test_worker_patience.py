"""Judge the watchdog, the lease keeper and the health check."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, Output
from chalicelib.contract.ports import Claimed
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output
from tests.worker_fakes import GOOD, FakeClock, FakeComfy, FakeInbox, FakeSkew, settings
from worker.comfy.history import Place, Whereabouts
from worker.comfy.track import Course
from worker.health import Health
from worker.lease import Holding, Keeper
from worker.pace import Pace, Ticket
from worker.patience import Patience, Trouble
from worker.ports import Delivery
from worker.verdicts import Stop

RUNNING = Whereabouts(Place.RUNNING)
NOWHERE = Whereabouts(Place.NOWHERE, is_idle=True)
STUCK = Whereabouts(Place.PENDING, is_idle=True)
WAITING = Whereabouts(Place.PENDING)


def patience() -> Patience:
    return Patience(max_runtime_s=900, stall_s=300)


def test_a_prompt_that_is_nowhere_twice_is_lost() -> None:
    """Trap 10: once may be a moment between queue and history; twice is for ever."""
    waiting = patience()
    assert waiting.see(NOWHERE, 0.0, live_since=0) is None
    assert waiting.is_worried
    assert waiting.see(NOWHERE, 1.0, live_since=0) is Trouble.LOST
    waiting = patience()
    assert waiting.see(NOWHERE, 0.0, live_since=0) is None
    assert waiting.see(RUNNING, 1.0, live_since=1) is None
    assert waiting.see(NOWHERE, 2.0, live_since=1) is None


def test_trap_6_a_queue_that_nobody_works_on_is_a_dead_executor() -> None:
    """Pending while nothing runs, for five seconds: HTTP answers, nobody renders."""
    waiting = patience()
    assert waiting.see(STUCK, 10.0, live_since=0) is None
    assert waiting.see(STUCK, 14.0, live_since=0) is None
    assert waiting.see(STUCK, 15.0, live_since=0) is Trouble.STALLED


def test_waiting_behind_other_prompts_is_no_trouble() -> None:
    """However long: the time limit is for running."""
    waiting = patience()
    assert all(waiting.see(WAITING, float(now), live_since=0) is None for now in range(1, 90_000, 1000))


def test_trap_6_running_without_a_sign_of_life_is_a_stall() -> None:
    """Silence counts from the last event, and only while events could arrive (trap 8)."""
    waiting = patience()
    assert waiting.see(RUNNING, 100, live_since=0) is None
    assert waiting.see(RUNNING, 350, live_since=60) is None
    assert waiting.see(RUNNING, 399, live_since=99) is None
    assert waiting.see(RUNNING, 500, live_since=None) is None
    assert waiting.see(RUNNING, 500, live_since=200) is Trouble.STALLED


def test_the_time_limit_counts_from_the_start_of_the_run() -> None:
    """A prompt that gives signs of life for ever is ended by the workflow's limit."""
    waiting = patience()
    waiting.see(WAITING, 0, live_since=0)
    waiting.see(RUNNING, 1000, live_since=1000)
    assert waiting.see(RUNNING, 1899, live_since=1890) is None
    assert waiting.see(RUNNING, 1900, live_since=1899) is Trouble.TOO_LONG


def test_a_server_may_be_away_for_ten_seconds() -> None:
    """A hiccup is forgiven; any answer in between starts the count anew."""
    waiting = patience()
    assert waiting.miss(5.0) is None
    assert waiting.see(RUNNING, 9.0, live_since=9) is None
    assert waiting.miss(10.0) is None
    assert waiting.miss(20.0) is Trouble.UNREACHABLE


def ticket(clock: FakeClock) -> Ticket:
    """Go through the door of an idle ComfyUI."""
    entered = Pace(2, clock).enter(lambda: True)
    assert entered is not None
    return entered


class Kept:
    """Hold one claimed job and its keeper."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.ledger = MemoryLedger()
        self.inbox = FakeInbox(self.clock)
        self.keeper = Keeper(self.ledger, self.inbox, self.clock, settings())
        job = self.ledger.submit(new_job()).job
        self.inbox.send(job.job_id)
        delivery = self.inbox.take(0)
        claimed = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
        assert delivery is not None and isinstance(claimed, Claimed)
        self.holding: Holding = self.keeper.hold(claimed.job, claimed.lease, delivery, ticket(self.clock))

    @property
    def job(self) -> Job:
        job = self.ledger.get(self.holding.job.job_id)
        assert job is not None
        return job


def test_a_lease_is_renewed_when_due_and_the_message_after_it() -> None:
    """Every 15 s: lease to 60 s from now, then visibility to 90 s from now."""
    kept = Kept()
    kept.keeper.beat()
    assert kept.inbox.hidden == []
    kept.clock.pass_time(15)
    kept.holding.phase = "rendering"
    kept.keeper.beat()
    assert kept.job.lease_until == NOW + 75_000
    assert kept.job.phase == "rendering"
    assert kept.inbox.hidden == [90]


class Told:
    """Be a watch that tells a progress."""

    def __init__(self, fraction: float) -> None:
        self.course = Course({"1": "KSampler"}, node="1", step=fraction * 10, steps=10, is_started=True)


def test_progress_reaches_the_table_every_two_seconds_at_most() -> None:
    """It rides on a renewal of the lease, which does not hide the message again; what has not moved is not written."""
    kept = Kept()
    shown = []
    for second in range(6):
        kept.holding.watch = Told(second // 3 / 10)  # type: ignore[assignment]
        kept.keeper.beat()
        shown.append(kept.job.progress.step if kept.job.progress else None)
        kept.clock.pass_time(1)
    assert shown == [None, None, 0, 0, 1, 1]
    assert kept.inbox.hidden == []
    assert kept.job.lease_until == NOW + 64_000


def test_a_cancelled_job_stops_with_its_next_progress() -> None:
    """Nobody waits for the heartbeat: the write of the progress finds the lease gone."""
    kept = Kept()
    kept.ledger.cancel(kept.job.job_id, now=NOW)
    kept.clock.pass_time(2)
    kept.holding.watch = Told(0.5)  # type: ignore[assignment]
    kept.keeper.beat()
    assert kept.holding.stopped is Stop.LOST


def test_a_cancelled_job_stops_its_attempt() -> None:
    """The heartbeat finds the lease gone, rings, and hides the message no longer."""
    kept = Kept()
    kept.ledger.cancel(kept.job.job_id, now=NOW)
    kept.clock.pass_time(15)
    kept.keeper.beat()
    assert kept.holding.stopped is Stop.LOST
    assert kept.holding.bell.is_set()
    assert kept.inbox.hidden == []
    kept.holding.stop(Stop.HANDED_BACK)
    assert kept.holding.stopped is Stop.LOST


class Bringing:
    """Be a courier that has uploaded files."""

    def __init__(self) -> None:
        self.files: tuple[Output, ...] = ()

    def ready(self) -> tuple[Output, ...]:
        return self.files


def test_outputs_are_told_once_while_the_attempt_runs() -> None:
    """New ones within two seconds and one write, and not again; the lease is renewed by it as well."""
    kept, courier = Kept(), Bringing()
    kept.holding.courier = courier  # type: ignore[assignment]
    kept.clock.pass_time(3)
    kept.keeper.beat()
    assert kept.job.outputs == () and kept.job.lease_until == NOW + 60_000
    courier.files = (output(),)
    kept.keeper.beat()
    assert kept.job.outputs == (output(),) and kept.job.lease_until == NOW + 63_000
    kept.clock.pass_time(3)
    kept.keeper.beat()
    assert kept.job.lease_until == NOW + 63_000, "nothing new, nothing written"
    courier.files = (output(), output("outputs/client-1/x/1/1-b.png"))
    kept.keeper.beat()
    assert len(kept.job.outputs) == 2 and kept.inbox.hidden == []


def test_outputs_that_the_table_did_not_take_are_told_again() -> None:
    """A table out of reach for a moment loses none."""
    kept, courier, taken = Kept(), Bringing(), []
    kept.holding.courier = courier  # type: ignore[assignment]
    courier.files = (output(),)
    heartbeat = kept.ledger.heartbeat

    def away_once(*asked: Any, **about: Any) -> bool:
        taken.append(about["outputs"])
        if len(taken) == 1:
            raise Unavailable("away")
        return heartbeat(*asked, **about)

    kept.ledger.heartbeat = away_once  # type: ignore[method-assign]
    for _ in range(2):
        kept.clock.pass_time(3)
        kept.keeper.beat()
    assert taken == [(output(),)] * 2 and kept.job.outputs == (output(),)


class AwayLedger(MemoryLedger):
    """Be out of reach for heartbeats."""

    def heartbeat(self, *_: object, **__: object) -> bool:
        raise Unavailable("away")


def test_a_table_out_of_reach_does_not_stop_an_attempt() -> None:
    """The renewal is tried again after a third of the time; the message is not hidden past a lease that may end."""
    kept = Kept()
    keeper = Keeper(AwayLedger(), kept.inbox, kept.clock, settings())
    holding = keeper.hold(kept.holding.job, kept.holding.lease, kept.holding.delivery, kept.holding.ticket)
    kept.clock.pass_time(15)
    keeper.beat()
    assert holding.stopped is None
    assert kept.inbox.hidden == []
    assert holding.beat_at == kept.clock.monotonic() + 5


def test_what_is_let_go_is_renewed_no_more() -> None:
    """Else a late renewal would hide a message that was just given back."""
    kept = Kept()
    kept.keeper.let_go(kept.holding)
    kept.clock.pass_time(60)
    kept.keeper.beat()
    assert kept.inbox.hidden == []
    assert kept.job.lease_until == NOW + 60_000


def test_what_is_let_go_while_others_are_renewed_is_left_alone() -> None:
    """The keeper looks again right before it renews: a slot may have settled meanwhile."""
    kept = Kept()
    other = kept.keeper.hold(kept.holding.job, kept.holding.lease, kept.holding.delivery, kept.holding.ticket)
    hide = kept.inbox.hide

    def settled(delivery: Delivery, seconds: float) -> None:
        kept.keeper.let_go(other)
        hide(delivery, seconds)

    kept.inbox.hide = settled  # type: ignore[method-assign]
    kept.clock.pass_time(15)
    kept.keeper.beat()
    assert kept.inbox.hidden == [90]


def test_letting_go_waits_for_a_renewal_under_way() -> None:
    """Whoever lets go may move the message only when the renewal has ended."""
    kept = Kept()
    kept.holding.beating.acquire()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (kept.keeper.let_go(kept.holding), done.set()), daemon=True)
    thread.start()
    assert not done.wait(0.05)
    kept.holding.beating.release()
    assert done.wait(5)


def test_the_keeper_renews_by_itself_and_ends_when_closed() -> None:
    """Its thread beats whenever something is due, by the real clock too."""
    kept = Kept()
    beats = threading.Event()

    class Counting(MemoryLedger):
        def heartbeat(self, *_: object, **__: object) -> bool:
            beats.set()
            return True

    from worker.clock import Clock

    keeper = Keeper(Counting(), kept.inbox, Clock(), settings(HEARTBEAT_S="0.1", LEASE_S="1", VISIBILITY_S="12"))
    thread = threading.Thread(target=keeper.run, daemon=True)
    thread.start()
    keeper.hold(kept.holding.job, kept.holding.lease, kept.holding.delivery, kept.holding.ticket)
    assert beats.wait(5)
    keeper.close()
    thread.join(5)
    assert not thread.is_alive()


def health(comfy: FakeComfy, skew_s: float = 0.0) -> Health:
    return Health(comfy, comfy.doorbell, FakeSkew(skew_s), MemoryLedger(), settings(), free_bytes=lambda _: 10**12)


def test_nothing_is_taken_while_comfyui_is_away() -> None:
    """The reason is a sentence; it opens again when ComfyUI is back."""
    comfy = FakeComfy(FakeClock(NOW))
    comfy.is_up = False
    judged = health(comfy)
    assert judged.closed_because() == "ComfyUI cannot be reached (ConnectionError)."
    comfy.is_up = True
    assert judged.closed_because() is None


@pytest.mark.parametrize(("skew_s", "words"), [(11.0, "11 s ahead of"), (-300.0, "300 s behind")])
def test_nothing_is_taken_with_a_wrong_clock(skew_s: float, words: str) -> None:
    """Leases compare the clocks of two machines: beyond CLOCK_SKEW_S this one takes no part."""
    comfy = FakeComfy(FakeClock(NOW))
    why = health(comfy, skew_s).closed_because()
    assert why is not None
    assert words in why
    assert health(comfy, 9.0).closed_because() is None


def test_trap_6_a_hanging_executor_closes_the_door_until_it_is_gone() -> None:
    """A server whose executor died answers all health checks: the prompt that got stuck is the witness."""
    comfy = FakeComfy(FakeClock(NOW))
    comfy.run_s = None
    judged = health(comfy)
    comfy.begin("p")
    judged.suspect("p")
    assert judged.closed_because() == "ComfyUI's executor hangs: restart ComfyUI."
    comfy.running.clear()
    assert judged.closed_because() is None
    comfy.history["q"] = GOOD
    judged.suspect("q")
    assert judged.closed_because() is None
