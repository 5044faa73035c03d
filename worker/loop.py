"""
Run the worker's day: slots take jobs and do them whole, the keeper renews leases, and one thread watches over all.

- A slot does one job at a time: take, claim, perform, settle. ComfyUI runs one prompt at a time, so with two slots one
  uploads while the other's prompt renders.
- When any thread dies by a bug the process ends, non-zero: half a worker holds leases that nobody renews.
- A stop hands running jobs back. `once` ends when a slot finds the queue empty and no other slot has a job.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import JobError
from chalicelib.contract.ports import Refused
from worker.perform import perform
from worker.ports import Delivery
from worker.settle import hand_back, settle, settle_refusal, settle_unreadable
from worker.tools import Tools
from worker.verdicts import Again, Stop

HAND_BACK_S: Final = 2.0
ONCE_WAIT_S: Final = 1
PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
NOT_NOW_S: Final = 5.0

log = structlog.get_logger()


class House:
    """Hold what the slots share: whether to end, and who is busy."""

    def __init__(self, *, once: bool) -> None:
        self.once = once
        self.closing = threading.Event()
        self._busy: set[int] = set()
        self._lock = threading.Lock()

    def set_busy(self, slot: int, busy: bool) -> None:
        with self._lock:
            (self._busy.add if busy else self._busy.discard)(slot)

    def is_anyone_busy(self) -> bool:
        with self._lock:
            return bool(self._busy)


class Slot:
    """Do one job after another."""

    def __init__(self, number: int, tools: Tools, house: House) -> None:
        self.number = number
        self._tools = tools
        self._house = house
        self._failures = 0

    def run(self) -> None:
        """Work until the house closes, or, with `once`, until there is nothing to do."""
        with structlog.contextvars.bound_contextvars(slot=self.number):
            while not self._house.closing.is_set():
                if not self._step():
                    return

    def _step(self) -> bool:
        """Do one message; False: this slot is finished."""
        if self._tools.health.closed_because() is not None:
            self._pause()
            return True
        try:
            delivery = self._tools.inbox.take(ONCE_WAIT_S if self._house.once else self._tools.settings.wait_s)
        except Unavailable as error:
            log.warning("no job could be taken", action="take", reason=error.message)
            self._pause()
            return True
        self._failures = 0
        if delivery is None:
            return not self._house.once or self._house.is_anyone_busy()
        self._house.set_busy(self.number, True)
        try:
            self._handle(delivery)
        except Unavailable as error:
            log.warning("a message is left for later", action="take", reason=error.message)
        finally:
            self._house.set_busy(self.number, False)
        return True

    def _handle(self, delivery: Delivery) -> None:
        tools, message = self._tools, delivery.message
        if self._house.closing.is_set():
            tools.inbox.hide(delivery, 0)
            return
        if message is None:
            settle_unreadable(tools, delivery)
            return
        if tools.health.closed_because() is not None:
            # A claim now would cost an attempt for nothing.
            tools.inbox.hide(delivery, NOT_NOW_S)
            return
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
        holding = tools.keeper.hold(answer.job, answer.lease, delivery)
        names = {"job_id": answer.job.job_id, "attempt": answer.job.attempt}
        log.info("job is claimed", action="claim", workflow=answer.job.workflow_id, seq=message.seq, **names)
        if self._house.closing.is_set():
            hand_back(tools, holding)
            return
        tools.postman.tell(answer.job, answer.job.version)
        try:
            settle(tools, holding, perform(tools, holding))
        except Exception as bug:
            # The attempt is spent, or a job that trips the bug would crash one worker after another for ever.
            text = f"The worker has a fault of its own ({type(bug).__name__})."
            settle(tools, holding, Again(JobError(code="worker_fault", text=text)))
            raise

    def _pause(self) -> None:
        """Wait longer each time, by up to a quarter more, so that workers do not come back all at once."""
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)] * (1 + self._tools.draw() / 4)
        self._failures += 1
        self._tools.clock.wait(self._house.closing, pause_s)


@dataclass(frozen=True)
class _Ended:
    """Tell the supervisor that a thread ended: by itself, or by a bug."""

    thread: str
    is_slot: bool
    bug: BaseException | None


class Worker:
    """Supervise the threads. *tools*: one per slot; *hasty*: for handing back; *vital*: the other threads by name."""

    def __init__(
        self,
        house: House,
        tools: Sequence[Tools],
        hasty: Tools,
        vital: dict[str, Callable[[], None]],
        closers: Sequence[Callable[[], None]],
    ) -> None:
        self._house = house
        self._slots = [Slot(number, each, house) for number, each in enumerate(tools)]
        self._hasty = hasty
        self._vital = vital
        self._closers = closers
        # SimpleQueue.put may be called from a signal handler.
        self._news: queue.SimpleQueue[_Ended | None] = queue.SimpleQueue()
        self._threads: dict[str, threading.Thread] = {}

    def stop(self) -> None:
        """Ask for the end: running jobs are handed back. Safe in a signal handler."""
        self._news.put(None)

    def run(self) -> int:
        """Work until stopped (0), until there is no work (`once`, 0), or until a thread dies by a bug (1)."""
        log.info("worker starts", action="start", slots=len(self._slots))
        for name, target in self._vital.items():
            self._start(name, target, is_slot=False)
        for slot in self._slots:
            self._start(f"slot-{slot.number}", slot.run, is_slot=True)
        fault = self._watch_over(len(self._slots))
        self._close()
        log.info("worker stops", action="stop")
        return 1 if fault else 0

    def _watch_over(self, slots: int) -> bool:
        """Wait for a stop or the last slot's end; True when a thread ended that must not."""
        while slots > 0:
            told = self._news.get()
            if told is None:
                return False
            if told.bug is not None or not told.is_slot:
                frames = "".join(traceback.format_tb(told.bug.__traceback__)) if told.bug else ""
                kind = type(told.bug).__name__ if told.bug else "it ended"
                log.error("a thread died", action="fault", thread=told.thread, error=kind, exception=frames)
                return True
            slots -= 1
        return False

    def _start(self, name: str, target: Callable[[], None], *, is_slot: bool) -> None:
        def vital() -> None:
            bug: BaseException | None = None
            try:
                target()
            except BaseException as raised:
                bug = raised
            self._news.put(_Ended(name, is_slot, bug))

        self._threads[name] = threading.Thread(target=vital, name=name, daemon=True)
        self._threads[name].start()

    def _close(self) -> None:
        """Hand back what runs, each job on a thread of its own, within two seconds together."""
        self._house.closing.set()
        clock = self._hasty.clock
        deadline = clock.monotonic() + HAND_BACK_S
        hands = []
        for holding in self._hasty.keeper.holdings():
            holding.stop(Stop.HANDED_BACK)
            hands.append(threading.Thread(target=hand_back, args=(self._hasty, holding), daemon=True))
            if holding.prompt_id is not None:
                hands.append(threading.Thread(target=self._cancel, args=(holding.prompt_id,), daemon=True))
        for hand in hands:
            hand.start()
        for close in self._closers:
            close()
        for hand in hands:
            hand.join(max(0.0, deadline - clock.monotonic()))
        # A slot past its commit only has to send the hint and delete the message. And a slot in a long poll may be
        # given the very message that was just freed: it gives it back again, if only it lives to do so.
        while self._is_needed(bool(hands)) and clock.monotonic() < deadline:
            clock.wait(threading.Event(), 0.02)

    def _is_needed(self, handed_back: bool) -> bool:
        polling = any(self._threads[f"slot-{slot.number}"].is_alive() for slot in self._slots)
        return self._house.is_anyone_busy() or (handed_back and polling)

    def _cancel(self, prompt_id: str) -> None:
        try:
            self._hasty.comfy.cancel(prompt_id)
        except Unavailable as error:
            log.warning("a prompt was not stopped", action="cancel", prompt_id=prompt_id, reason=error.message)
