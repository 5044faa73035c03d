"""
Run the worker's day: hands take jobs and do them whole, the keeper renews leases, and one thread watches over all.

- A hand does one job at a time: take, claim, perform, settle. Each ComfyUI has more hands than slots: the pace lets as
  many through to the GPU as there are slots, and while one hand's prompt renders the others upload and commit.
- When any thread dies by a bug the process ends, non-zero: half a worker holds leases that nobody renews.
- A stop hands running jobs back, or lets those end that are expected to within the grace. `once` ends when a hand finds
  the queue empty and no other hand has a job; a worker with a time limit, when the next job would not end before it.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import BUDGET, JobError
from chalicelib.contract.ports import Refused
from chalicelib.contract.states import TERMINAL
from worker.hours import Hours
from worker.lease import Holding
from worker.pace import Pace, Ticket
from worker.perform import perform
from worker.ports import Delivery
from worker.settle import hand_back, settle, settle_poison, settle_refusal, settle_unreadable
from worker.tools import Tools
from worker.verdicts import Again, Elsewhere, Halted, Stop, Verdict

HAND_BACK_S: Final = 2.0
LISTEN_S: Final = 0.1
"""A signal that the kernel gave to another thread wakes nobody: the main thread looks up so often."""
ONCE_WAIT_S: Final = 1
PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
NOT_NOW_S: Final = 5.0
TURNED_AWAY_S: Final = (1.0, 4.0)
"""How long the message of a job is hidden that another worker should have: between these."""

log = structlog.get_logger()


class House:
    """Hold what the hands share: whether to end, and who is busy."""

    def __init__(self, *, once: bool, hours: Hours | None = None) -> None:
        self.once = once
        self.hours = hours
        """None: open without end."""
        self.closing = threading.Event()
        self.is_empty = False
        """With `once`: a hand found nothing to do."""
        self.is_late = False
        """The next job would not end before the time limit."""
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def is_open(self) -> bool:
        """Say whether jobs are taken."""
        return not self.closing.is_set() and not self.is_empty and not self.is_late

    def set_busy(self, hand: str, busy: bool) -> None:
        with self._lock:
            (self._busy.add if busy else self._busy.discard)(hand)

    def is_anyone_busy(self) -> bool:
        with self._lock:
            return bool(self._busy)


class Hand:
    """Do one job after another."""

    def __init__(self, name: str, tools: Tools, house: House) -> None:
        self.name = name
        self._tools = tools
        self._pace: Pace = tools.server.pace
        self._house = house
        self._failures = 0

    def run(self) -> None:
        """Work until the house closes, or, with `once`, until there is nothing to do."""
        with structlog.contextvars.bound_contextvars(slot=self.name):
            while (ticket := self._pace.enter(self._house.is_open)) is not None:
                try:
                    self._step(ticket)
                finally:
                    ticket.over()

    def _step(self, ticket: Ticket) -> None:
        """Take and do one message."""
        if self._tools.health.closed_because() is not None:
            ticket.over()
            self._pause()
            return
        try:
            delivery = self._tools.inbox.take(ONCE_WAIT_S if self._house.once else self._tools.settings.wait_s)
        except Unavailable as error:
            log.warning("no job could be taken", action="take", reason=error.message)
            ticket.over()
            self._pause()
            return
        self._failures = 0
        if delivery is None:
            if self._house.once and not self._house.is_anyone_busy():
                self._house.is_empty = True
            return
        self._house.set_busy(self.name, True)
        ticket.taken()
        try:
            self._handle(delivery, ticket)
        except Unavailable as error:
            log.warning("a message is left for later", action="take", reason=error.message)
        finally:
            self._house.set_busy(self.name, False)

    def _handle(self, delivery: Delivery, ticket: Ticket) -> None:
        tools, message = self._tools, delivery.message
        if self._house.closing.is_set() or self._house.is_late:
            tools.inbox.hide(delivery, 0)
            return
        if message is None:
            settle_unreadable(tools, delivery)
            return
        if tools.health.closed_because() is not None:
            # A claim now would cost an attempt for nothing.
            tools.inbox.hide(delivery, NOT_NOW_S)
            return
        if self._pace.is_held_alone():
            tools.inbox.hide(delivery, NOT_NOW_S)
            return
        if tools.crew.is_turned_away(message.job_id):
            least, most = TURNED_AWAY_S
            tools.inbox.hide(delivery, least + tools.draw() * (most - least))
            return
        if not self._has_time_for(message.job_id, ticket):
            self._house.is_late = True
            tools.inbox.hide(delivery, 0)
            return
        try:
            answer = tools.ledger.claim(
                message.job_id,
                message.seq,
                owner=tools.settings.worker_name,
                token=uuid4().hex,
                now=tools.clock.now_ms(),
                lease_ms=int(tools.settings.lease_s * 1000),
            )
            if isinstance(answer, Refused):
                settle_refusal(tools, delivery, answer)
                return
        except Unavailable:
            raise
        except Exception as bug:
            # An attempt may be spent (when the claim's answer cannot be read) or not (when it was never made), so the
            # message itself is counted: it would end one worker after another.
            settle_poison(tools, delivery, bug)
            raise
        ticket.claimed(answer.job.workflow_hash)
        holding = tools.keeper.hold(answer.job, answer.lease, delivery, ticket)
        names = {"job_id": answer.job.job_id, "attempt": answer.job.attempt}
        log.info("job is claimed", action="claim", workflow=answer.job.workflow_id, seq=message.seq, **names)
        if delivery.sent_at:
            tools.metrics.queue_age(max(0.0, (tools.clock.now_ms() - delivery.sent_at) / 1000))
        if self._house.closing.is_set() or not self._may_go_on(holding, ticket):
            hand_back(tools, holding)
            return
        tools.postman.tell(answer.job, answer.job.version)
        tools.monitor.job("Job Started", answer.job, None)
        self._note_job()
        try:
            self._do(holding)
        except Exception as bug:
            # The attempt is spent, or a job that trips the bug would crash one worker after another for ever.
            text = f"The worker has a fault of its own ({type(bug).__name__})."
            settle(tools, holding, Again(JobError(code="worker_fault", text=text)))
            raise
        self._note_job()

    def _may_go_on(self, holding: Holding, ticket: Ticket) -> bool:
        """
        Have a job to itself that has cost an attempt before: it may take the worker down, and what is held beside it.

        Those would come again together, be taken together, and pay together until all are given up. False: another
        such job is here already.
        """
        if BUDGET - holding.job.budget_left <= 1:
            return True
        if not ticket.claim_alone():
            return False
        ticket.wait_alone(lambda: holding.stopped is None and not self._house.closing.is_set())
        return not self._house.closing.is_set()

    def _has_time_for(self, job_id: str, ticket: Ticket) -> bool:
        """Say whether a job, behind what is ahead of it, is expected to end before the time limit."""
        hours = self._house.hours
        if hours is None or not hours.is_bounded:
            return True
        job = self._tools.ledger.get(job_id)
        # What is not there, or has ended, costs no time: the claim tells.
        if job is None or job.state in TERMINAL:
            return True
        expected_s = self._pace.until_done_s(ticket, job.workflow_hash)
        if hours.has_time_for(expected_s):
            return True
        told = {"expected_s": round(expected_s or 0), "left_s": round(hours.left_s())}
        log.info("no more jobs are taken: the next would not end in time", action="hours", job_id=job_id, **told)
        return False

    def _note_job(self) -> None:
        if self._house.hours is not None:
            self._house.hours.note_job()

    def _do(self, holding: Holding) -> None:
        """Perform on this hand's ComfyUI, or on another one of this worker that has what this one lacks; settle."""
        tools, verdict = self._tools, perform(self._tools, holding)
        if isinstance(verdict, Elsewhere):
            tools, verdict = self._try_others(holding, verdict)
        holding.ticket.over()
        settle(tools, holding, verdict)

    def _try_others(self, holding: Holding, elsewhere: Elsewhere) -> tuple[Tools, Verdict]:
        for server in self._tools.servers:
            if server is self._tools.server or server.health.closed_because() or server.lacks(elsewhere.graph):
                continue
            # The place before this GPU goes to others while the hand queues at the other one.
            holding.ticket.over()
            ticket = server.pace.enter(lambda: holding.stopped is None)
            if ticket is None:
                break
            ticket.moved_here()
            ticket.claimed(holding.job.workflow_hash)
            holding.ticket = ticket
            tools = replace(self._tools, server=server)
            if not self._may_go_on(holding, ticket):
                hand_back(tools, holding)
                return tools, Halted(Stop.HANDED_BACK)
            return tools, perform(tools, holding)
        return self._tools, elsewhere

    def _pause(self) -> None:
        """Wait longer each time, by up to a quarter more, so that workers do not come back all at once."""
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)] * (1 + self._tools.draw() / 4)
        self._failures += 1
        self._tools.clock.wait(self._house.closing, pause_s)


@dataclass(frozen=True)
class _Ended:
    """Tell the supervisor that a thread ended: by itself, or by a bug."""

    thread: str
    is_hand: bool
    bug: BaseException | None


@dataclass(frozen=True)
class _Stop:
    """Tell the supervisor to end: how long jobs may still run (s), and the exit code."""

    grace_s: float
    code: int


class Worker:
    """
    Supervise the threads.

    *tools*: one for each hand. *hasty*: for handing back. *vital*: the other threads by name. *closers*: end them.
    """

    def __init__(
        self,
        house: House,
        tools: Sequence[Tools],
        hasty: Tools,
        vital: dict[str, Callable[[], None]],
        closers: Sequence[Callable[[], None]],
    ) -> None:
        self._house = house
        self._hands = [Hand(f"{number}", each, house) for number, each in enumerate(tools)]
        self._hasty = hasty
        self._vital = vital
        self._closers = closers
        # SimpleQueue.put may be called from a signal handler.
        self._news: queue.SimpleQueue[_Ended | _Stop] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}

    def stop(self, grace_s: float | None = None, code: int = 0) -> None:
        """
        Ask for the end. Safe in a signal handler.

        Jobs that are expected to end within *grace_s* (default: GRACE_S) are finished, the others are handed back.
        """
        self._news.put(_Stop(self._hasty.settings.grace_s if grace_s is None else grace_s, code))

    def run(self) -> int:
        """Work until stopped (its code), until there is no work (`once`, 0), or until a thread dies by a bug (1)."""
        log.info("worker starts", action="start", slots=len(self._hasty.servers) * self._hasty.settings.slots)
        self._hasty.monitor.started()
        for name, target in self._vital.items():
            self._start(name, target, is_hand=False)
        for hand in self._hands:
            self._start(f"hand-{hand.name}", hand.run, is_hand=True)
        end = self._watch_over(len(self._hands))
        self._close(end.grace_s)
        log.info("worker stops", action="stop")
        return end.code

    def _watch_over(self, hands: int) -> _Stop:
        """Wait for a stop, for the last hand's end, or for a thread that ended and must not."""
        while hands > 0:
            try:
                told = self._news.get(timeout=LISTEN_S)
            except queue.Empty:
                continue
            if isinstance(told, _Stop):
                return told
            if told.bug is not None or not told.is_hand:
                frames = "".join(traceback.format_tb(told.bug.__traceback__)) if told.bug else ""
                kind = type(told.bug).__name__ if told.bug else "it ended"
                log.error("a thread died", action="fault", thread=told.thread, error=kind, exception=frames)
                return _Stop(0, 1)
            hands -= 1
        return _Stop(0, 0)

    def _start(self, name: str, target: Callable[[], None], *, is_hand: bool) -> None:
        def vital() -> None:
            bug: BaseException | None = None
            try:
                target()
            except BaseException as raised:
                bug = raised
            self._news.put(_Ended(name, is_hand, bug))

        self._threads[name] = threading.Thread(target=vital, name=name, daemon=True)
        self._threads[name].start()

    def _close(self, grace_s: float) -> None:
        """Let end what ends within the grace, then hand back the rest, all at once, within two seconds together."""
        self._house.closing.set()
        for server in self._hasty.servers:
            server.pace.wake()
        self._let_end(grace_s)
        self._hasty.monitor.stopped()
        clock = self._hasty.clock
        deadline = clock.monotonic() + HAND_BACK_S
        hands = []
        for holding in self._hasty.keeper.holdings():
            holding.stop(Stop.HANDED_BACK)
            hands.append(threading.Thread(target=hand_back, args=(self._hasty, holding), daemon=True))
            if holding.prompt_id is not None:
                hands.append(threading.Thread(target=self._cancel, args=(holding,), daemon=True))
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join(max(0.0, deadline - clock.monotonic()))
        # A hand past its commit only has to leave its hint. And a hand in a long poll may be given the very message
        # that was just freed: it gives it back again, if only it lives to do so.
        while self._is_needed(bool(hands)) and clock.monotonic() < deadline:
            clock.wait(threading.Event(), 0.02)
        # Last in, first out: ending a ComfyUI of ours may take seconds, and hints should not wait for it.
        for close in reversed(self._closers):
            close()
        for name in self._vital:
            self._threads[name].join(max(0.05, deadline - clock.monotonic()))

    def _let_end(self, grace_s: float) -> None:
        """Wait for jobs whose end is expected within the grace."""
        clock = self._hasty.clock
        until = clock.monotonic() + grace_s
        while any(holding.left_s() < until - clock.monotonic() for holding in self._hasty.keeper.holdings()):
            clock.wait(threading.Event(), 0.05)

    def _is_needed(self, handed_back: bool) -> bool:
        polling = any(self._threads[f"hand-{hand.name}"].is_alive() for hand in self._hands)
        return self._house.is_anyone_busy() or (handed_back and polling)

    def _cancel(self, holding: Holding) -> None:
        """Stop the prompt on whichever server runs it; the others do not know its id."""
        for server in self._hasty.servers:
            if server.pace is not holding.ticket.pace:
                continue
            try:
                server.comfy.cancel(str(holding.prompt_id))
            except Unavailable as error:
                log.warning("a prompt was not stopped", action="cancel", reason=error.message)
