"""
Settle what an attempt or a message came to. The order is the protocol:

upload, then commit, then the hint, then delete the message (the last two are the postman's). The message is the outbox
of the hint: whoever dies in between leaves it, and its next receiver finds an ended job and says it again. A message is
deleted only when its job has ended or is called by a newer message.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final, TypeVar

import structlog

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.events import Hint
from chalicelib.contract.job import BUDGET, Job, JobError, Output, Timings, run_key
from chalicelib.contract.ports import Refusal, Refused
from chalicelib.contract.states import TERMINAL
from worker.aws import is_wrong_setting
from worker.comfy.faults import ANOTHER_WAY, one_line
from worker.disk import DiskFull
from worker.kit import unfit
from worker.lease import Holding
from worker.perform import courier_of
from worker.ports import Delivery, FileGone
from worker.postman import group_of
from worker.record import CONTENT_TYPE
from worker.tools import Tools
from worker.verdicts import Again, Broken, Elsewhere, Halted, Made, Stop, Verdict

BACKOFF_S: Final = 30.0
BACKOFF_MOST_S: Final = 600.0
JITTER_S: Final = 5.0
UNKNOWN_S: Final = 30.0
"""How long a message waits whose job is not there: the put may be late."""
PATIENT_RECEIVES: Final = 3
GIVEN_BACK_S: Final = (1.0, 4.0)
"""How long the message of a job is hidden that was given back: between these. ComfyUI is coming up again."""
FREE_MOST: Final = 2 * BUDGET
"""So often a job is given back at no cost: who is to blame is guessed from times, and may be guessed wrong."""
INSIST_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)

T = TypeVar("T")

log = structlog.get_logger()


def settle(tools: Tools, holding: Holding, verdict: Verdict) -> None:
    """Turn *verdict* into the ledger's write and the queue's move. When the cloud is away all is left to the lease."""
    try:
        _Settlement(tools, holding).settle(verdict)
    except Unavailable as error:
        names = {"job_id": holding.job.job_id, "attempt": holding.job.attempt}
        log.warning("the job is left to its lease", action="settle", reason=error.message, **names)
    finally:
        tools.keeper.let_go(holding)
        if holding.courier is not None:
            holding.courier.close()


class _Settlement:
    """Hold one attempt's settlement."""

    def __init__(self, tools: Tools, holding: Holding) -> None:
        self._tools = tools
        self._holding = holding
        self._job = holding.job
        self._lease = holding.lease
        self._log = log.bind(job_id=self._job.job_id, attempt=self._job.attempt)

    def settle(self, verdict: Verdict) -> None:
        if isinstance(verdict, Made):
            verdict = self._deliver(verdict)
        if isinstance(verdict, Elsewhere):
            verdict = self._turn_away(verdict)
        if isinstance(verdict, Broken):
            self._fail(verdict.error)
        elif isinstance(verdict, Again):
            self._retry(verdict)
        elif isinstance(verdict, Halted) and verdict.why is Stop.LOST:
            self._lost()

    def _deliver(self, made: Made) -> Verdict:
        """Upload and commit; what stands in the way becomes the verdict instead."""
        tools, holding, clock = self._tools, self._holding, self._tools.clock
        holding.phase = "uploading"
        tools.monitor.job("Images Generated", self._job, made.prompt_id, files=len(made.files))
        begun = clock.monotonic()
        courier = courier_of(tools, holding)
        try:
            outputs = courier.outputs(made.files, made.texts)
        except Rejected as refused:
            return Broken(JobError(code=refused.code, text=refused.message))
        except Unavailable as error:
            # What could not be brought away the next attempt takes over, if it comes here; not what is gone.
            keeps_files = not isinstance(error, FileGone)
            told = JobError(code="unavailable", text=error.message)
            return Again(told, error.retry_in_s, keeps_files, is_ours=isinstance(error, DiskFull))
        if holding.stopped is not None:
            return Halted(holding.stopped)
        for upload in courier.uploads:
            holding.record.note("upload", **asdict(upload))
        tools.monitor.job("Upload Complete", self._job, made.prompt_id, files=len(outputs))
        timings = Timings(execution_ms=made.execution_ms, upload_ms=int((clock.monotonic() - begun) * 1000))
        self._commit(outputs, timings, self._spent(made))
        return made

    def _commit(self, outputs: tuple[Output, ...], timings: Timings, spent_ms: int | None) -> None:
        ledger, holding = self._tools.ledger, self._holding
        with self._recorded("made"):
            kept = self._insist(
                lambda: ledger.commit(
                    self._lease, now=holding.now_ms(), outputs=outputs, timings=timings, spent_ms=spent_ms
                )
            )
        if not kept:
            self._lost()
            return
        times = {"execution_ms": timings.execution_ms, "upload_ms": timings.upload_ms}
        self._log.info("job is done", action="commit", files=len(outputs), **times)
        self._tools.metrics.job_done((timings.execution_ms or 0) / 1000, (timings.upload_ms or 0) / 1000)
        self._finish()

    def _spent(self, made: Made) -> int | None:
        """
        Say how long GPUs worked for the job: this attempt as ComfyUI measured it, if it did.

        Of a prompt that was taken over it measured the whole, and the attempt that began it has told its part.
        """
        seen_ms = self._holding.spent_ms()
        if made.execution_ms is None:
            return seen_ms
        if made.is_adopted:
            return max(seen_ms or 0, made.execution_ms)
        return (self._job.spent_ms or 0) + made.execution_ms

    def _fail(self, error: JobError) -> None:
        ledger, holding = self._tools.ledger, self._holding
        with self._recorded("broken", error):
            spent_ms = holding.spent_ms()
            kept = self._insist(lambda: ledger.fail(self._lease, now=holding.now_ms(), error=error, spent_ms=spent_ms))
        if not kept:
            self._lost()
            return
        about = {"code": error.code, "node": error.node, "node_class": error.node_class}
        self._log.warning("job has failed", action="fail", **about)
        self._tools.metrics.job_failed(error.code)
        self._finish()

    def _retry(self, again: Again) -> None:
        """Put the job back to wait, or end it when this was its last attempt."""
        if again.is_free and self._job.given_back < FREE_MOST:
            self._give_back(again)
            return
        if self._job.budget_left <= 0:
            self._fail(given_up(self._job, again.error))
            return
        tools = self._tools
        delay_s = again.delay_s if again.delay_s is not None else backoff_s(self._job, tools.draw())
        now = self._holding.now_ms()
        not_before, spent_ms = now + int(delay_s * 1000), self._holding.spent_ms()
        with self._recorded("again", again.error):
            kept = self._insist(
                lambda: tools.ledger.retry(
                    self._lease, now=now, not_before=not_before, error=again.error, spent_ms=spent_ms
                )
            )
        if not kept:
            self._lost()
            return
        tools.metrics.job_again(again.error.code)
        if again.is_ours:
            tools.crew.turn_away(self._job.job_id)
        # These sentences are the worker's own; others may quote what ComfyUI said of somebody's graph.
        why = {"reason": again.error.text} if again.error.code == "unavailable" else {}
        about = {"code": again.error.code, "delay_s": round(delay_s, 1), **why}
        self._log.warning("job will be tried again", action="retry", **about)
        tools.inbox.hide(self._holding.delivery, delay_s)
        tools.postman.tell(self._job, self._job.version + 1)
        if not again.keeps_files:
            self._forget()

    def _give_back(self, again: Again) -> None:
        """Put the job back unharmed: what became of this attempt was another job's doing."""
        tools = self._tools
        if not self._released(given_back=self._job.given_back + 1):
            self._lost()
            return
        least, most = GIVEN_BACK_S
        delay_s = least + tools.draw() * (most - least)
        self._log.info(
            "the job is given back: ComfyUI went down with another", action="give back", code=again.error.code
        )
        tools.inbox.hide(self._holding.delivery, delay_s)
        tools.postman.tell(self._job, self._job.version + 1)

    def _turn_away(self, elsewhere: Elsewhere) -> Verdict:
        """Leave the job to a worker that has what it needs; when there is none, say what is nearest to it."""
        tools, crew = self._tools, self._tools.crew
        try:
            if not crew.has_one_for(elsewhere.graph):
                return Broken(unfit(elsewhere.lack, crew.all_kits()))
        except Unavailable as error:
            # Not knowing is no reason to fail it: it costs nothing to leave it for a while.
            self._log.warning("other workers are not known now", action="elsewhere", reason=error.message)
        if not crew.turn_away(self._job.job_id):
            return Broken(unfit(elsewhere.lack, crew.all_kits()))
        if not self._released():
            self._lost()
            return Halted(Stop.HANDED_BACK)
        about = {"node": elsewhere.lack.node, "node_class": elsewhere.lack.node_class}
        self._log.info("the job is left to a worker that has what it needs", action="elsewhere", **about)
        tools.inbox.hide(self._holding.delivery, 0)
        tools.postman.tell(self._job, self._job.version + 1)
        return Halted(Stop.HANDED_BACK)

    def _released(self, given_back: int | None = None) -> bool:
        """Release the lease; False: it was lost. A lease that runs out instead would cost the job an attempt."""
        self._tools.keeper.let_go(self._holding)
        ledger, now = self._tools.ledger, self._holding.now_ms()
        return self._insist(lambda: ledger.release(self._lease, now=now, given_back=given_back))

    def _finish(self) -> None:
        """Tell completion (which tells everybody else), delete the message, and clean up on ComfyUI's side."""
        tools, version = self._tools, self._job.version + 1
        tools.postman.tell(self._job, version, then_drop=self._holding.delivery)
        tools.monitor.ended(self._job, version)
        self._forget()

    @contextlib.contextmanager
    def _recorded(self, verdict: str, error: JobError | None = None) -> Iterator[None]:
        """Put the run record into the bucket while the table is written: both take a round trip."""
        record = self._holding.record
        # From here the lease is renewed no more: a renewal that met the ended job would call it lost.
        self._tools.keeper.let_go(self._holding)
        if not record.has_begun:
            yield
            return
        about = {"code": error.code, "text": error.sentence()} if error else {}
        record.note("end", at=self._holding.now_ms(), verdict=verdict, **about)
        writing = threading.Thread(target=self._put_record, args=(record.to_bytes(),), daemon=True)
        writing.start()
        try:
            yield
        finally:
            writing.join()

    def _put_record(self, content: bytes) -> None:
        job = self._job
        try:
            key = run_key(job.client_id, job.job_id, job.attempt)
            self._tools.blobs.put(key, content, CONTENT_TYPE)
        except Unavailable as unsaved:
            self._log.warning("the run record was not kept", action="record", reason=unsaved.message)

    def _lost(self) -> None:
        """Give way: an ended job's message goes, any other is left to whoever holds the job now."""
        tools = self._tools
        tools.keeper.let_go(self._holding)
        job = tools.ledger.get(self._job.job_id)
        self._log.warning("the job is not ours any more", action="lost", reason=str(job.state) if job else "gone")
        if job is not None and job.state in TERMINAL:
            tools.postman.tell(job, job.version, then_drop=self._holding.delivery)
            tools.monitor.ended(self._job, job.version)
            # Of a job that goes on somebody else may take over what lies there.
            self._forget()

    def _forget(self) -> None:
        """Drop the history entry and the job's files on ComfyUI's side: nobody needs them any more."""
        if self._holding.prompt_id is None:
            return
        with contextlib.suppress(Unavailable):
            self._tools.comfy.forget(self._holding.prompt_id)
        self._tools.server.sweep(self._job.job_id, self._job.attempt)

    def _insist(self, write: Callable[[], T]) -> T:
        """Repeat a write that the table could not take: a picture that is made is worth some seconds."""
        for pause_s in INSIST_PAUSES_S:
            try:
                return write()
            except Unavailable as error:
                self._log.warning("the job table is away", action="settle", reason=error.message)
                self._tools.clock.wait(self._holding.bell, pause_s)
        return write()


def settle_refusal(tools: Tools, delivery: Delivery, refused: Refused) -> None:
    """Answer a message whose job cannot be claimed."""
    inbox, job, now = tools.inbox, refused.job, tools.clock.now_ms()
    names = {"job_id": delivery.message.job_id if delivery.message else "", "receives": delivery.receives}
    log.info("job is not to be had", action="refused", reason=refused.why.value, **names)
    if job is None:
        _settle_unknown(tools, delivery, "no such job")
    elif refused.why is Refusal.ENDED:
        tools.postman.tell(job, job.version, then_drop=delivery)
    elif refused.why is Refusal.STALE:
        inbox.drop(delivery)
    elif refused.why is Refusal.SPENT:
        ended = tools.ledger.give_up(job, now=now, error=given_up(job, job.last_error))
        there = tools.ledger.get(job.job_id)
        if there is not None and there.state in TERMINAL:
            tools.postman.tell(there, there.version, then_drop=delivery)
            if ended and there.error is not None:
                tools.metrics.job_failed(there.error.code)
        log.warning("job is given up", action="give up", reason="" if ended else "it moved meanwhile", **names)
    else:
        jitter_s = tools.draw() * JITTER_S if refused.why is Refusal.HELD else 0.0
        inbox.hide(delivery, max(0.0, (refused.look_again_at - now) / 1000) + jitter_s)


def settle_unreadable(tools: Tools, delivery: Delivery) -> None:
    """Leave a message that is none of ours for others to read; the third receiver buries it."""
    log.warning("a message cannot be read", action="unreadable", reason=delivery.fault, receives=delivery.receives)
    _settle_unknown(tools, delivery, delivery.fault)


def settle_poison(tools: Tools, delivery: Delivery, bug: Exception) -> None:
    """
    Bury a message over which this worker ends, when it is the third. The sweeper sends the job another one, unless it
    is the job's item that cannot be read: that waits in the table.

    A wrong setting of this worker's is no fault of the message's: it is left for a while to others, however often it
    came, or each restart would bury one until the queue is empty.
    """
    with contextlib.suppress(Unavailable):
        if is_wrong_setting(bug):
            tools.inbox.hide(delivery, UNKNOWN_S)
            return
        _settle_unknown(tools, delivery, f"a worker has a fault of its own here ({type(bug).__name__})")


def _settle_unknown(tools: Tools, delivery: Delivery, reason: str) -> None:
    if delivery.receives >= PATIENT_RECEIVES and tools.inbox.bury(delivery, reason):
        log.warning("a message went to the dead-letter queue", action="bury", reason=reason)
        return
    tools.inbox.hide(delivery, UNKNOWN_S)


def hand_back(tools: Tools, holding: Holding) -> None:
    """
    Release a running job within a stopping machine's two seconds: table, then queue, then news.

    Not table and queue at once: whoever received the message first would find the lease and hide it for its length.
    A table that does not answer costs a second (*tools* has hasty clients), then the message is freed all the same.
    """
    names = {"job_id": holding.job.job_id, "attempt": holding.job.attempt}
    holding.stop(Stop.HANDED_BACK)
    tools.keeper.let_go(holding)
    try:
        if not tools.ledger.release(holding.lease, now=holding.now_ms()):
            return
        log.info("job is handed back", action="release", **names)
    except Unavailable as error:
        log.warning("a job was not released", action="release", reason=error.message, **names)
    with contextlib.suppress(Unavailable):
        tools.inbox.hide(holding.delivery, 0)
    with contextlib.suppress(Unavailable):
        tools.hints.send(Hint(job_id=holding.job.job_id, version=holding.job.version + 1), group_of(holding.job))


def backoff_s(job: Job, drawn: float) -> float:
    """Draw a pause by full jitter: anything up to 30 s, doubled with each attempt spent, at most 600 s."""
    spent = max(0, BUDGET - job.budget_left - 1)
    return drawn * min(BACKOFF_MOST_S, BACKOFF_S * 2.0**spent)


def given_up(job: Job, last: JobError | None) -> JobError:
    """Say why a job gets no further attempt."""
    if last is None:
        if job.attempt == 0:
            text, hint = "No worker took the job before its time ran out.", "Generate the row again."
        else:
            text = f"Given up after {job.attempt} attempts: the worker stopped each time before the picture was made."
            hint = ANOTHER_WAY
        return JobError(code="gave_up", text=text, hint=hint)
    text = one_line(f"Given up after {job.attempt} attempts: {last.text}")
    hint = last.hint or ANOTHER_WAY
    return JobError(code=last.code, text=text, hint=hint, node=last.node, node_class=last.node_class)
