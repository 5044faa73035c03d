"""Do what the plan says, at its times; everything that was broken is healed in the end."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Hint, JobMessage
from chalicelib.contract.job import Job
from chalicelib.contract.states import TERMINAL
from faults.farm import Farm
from faults.kitchens import Kitchen
from faults.orders import Fault, Kind
from faults.proxy import Proxy
from faults.soak.crowd import Programs, SoakDesk
from faults.soak.plan import Blow, Event, Plan
from faults.soak.record import Record
from infra.functions import API, COMPLETION
from sandbox.sheets_faults import Faults
from sandbox.world import ROOT, Child

FOR_EVER: Final = 10**9
ONCE: Final = frozenset({Blow.STORM, Blow.REDEPLOY})
MALFORMED: Final = (
    "not JSON at all", "{}", '{"job_id": "x", "seq": 1}', '{"job_id": 7}', "[" * 200, '"' + "x" * 5000 + '"',
    '{"job_id": "00000000-0000-0000-0000-000000000000", "seq": -1}', "<poison/>", "null",
)  # fmt: skip


@dataclass
class Post:
    """Be a place for a worker: its way to AWS, its ComfyUI, and the process that works there now."""

    number: int
    proxy: Proxy
    kitchen: Kitchen
    child: Child
    is_spared: bool
    """Never killed: its memory is measured over the whole run."""


class Weather:
    """Make the faults of a plan."""

    def __init__(
        self,
        farm: Farm,
        plan: Plan,
        record: Record,
        posts: Sequence[Post],
        kitchens: Sequence[Kitchen],
        desks: Sequence[SoakDesk],
        programs: Programs,
        hire: Callable[[Post], Child],
    ) -> None:
        self._farm = farm
        self._plan = plan
        self._record = record
        self._posts = posts
        self._kitchens = kitchens
        self._desks = desks
        self._programs = programs
        self._hire = hire
        self._dice = random.Random(f"weather {plan.seed}")
        self._numbers = itertools.count()
        self._healed = threading.Event()
        self._later: list[threading.Thread] = []
        self._deeds: dict[Blow, Callable[[Event], None]] = {
            Blow.KILL: self._kill,
            Blow.FREEZE: self._freeze,
            Blow.COMFY: self._comfy,
            Blow.PARTITION: self._partition,
            Blow.GOOGLE: self._google,
            Blow.STORM: self._storm,
            Blow.DUPLICATE: self._duplicate,
            Blow.REPLAY: self._replay,
            Blow.MALFORMED: self._malformed,
            Blow.CANCEL: self._cancel,
            Blow.EDIT: self._edit,
            Blow.REDEPLOY: self._redeploy,
        }

    def run(self, begun: float, is_over: Callable[[], bool]) -> None:
        """
        Go through the plan that began at *begun* (monotonic s); return when all is done and healed.

        When not everything is submitted by then (*is_over*), the machine is slower than the plan: it goes on from the
        start, without a second storm.
        """
        again = False
        while not again or not is_over():
            for event in self._plan.events:
                if again and (is_over() or event.blow in ONCE):
                    continue
                self._healed.wait(max(0.0, begun + event.at_s - time.monotonic()))
                self._aside(self._deeds[event.blow], event)
            begun, again = begun + self._plan.length_s, True
        for thread in self._later:
            thread.join()
        self.heal()

    def heal(self) -> None:
        """End what still goes on."""
        self._healed.set()
        self._google_faults.clear()
        for post in self._posts:
            post.proxy.clear()
            with contextlib.suppress(ProcessLookupError):
                os.kill(post.child.process.pid, signal.SIGCONT)
        for kitchen in self._kitchens:
            kitchen.revive()

    def _aside(self, deed: Callable[[Event], None], event: Event) -> None:
        """Do it on a thread of its own, so that what takes long keeps nothing waiting."""

        def do() -> None:
            try:
                deed(event)
            except Unavailable:
                return  # the table was away, by a fault of ours
            except Exception as error:
                self._record.trouble(f"{event.blow} could not be done: {type(error).__name__}: {error}")

        thread = threading.Thread(target=do, daemon=True)
        thread.start()
        self._later = [each for each in self._later if each.is_alive()] + [thread]

    # -- machines -----------------------------------------------------------------------------------------------

    def _kill(self, event: Event) -> None:
        victims = [post for post in self._posts if not post.is_spared]
        post = victims[event.whom % len(victims)]
        post.child.kill()
        self._record.note(event.blow)
        self._healed.wait(event.for_s)
        post.child = self._hire(post)

    def _freeze(self, event: Event) -> None:
        child = self._posts[event.whom % len(self._posts)].child
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.process.pid, signal.SIGSTOP)
            self._record.note(event.blow)
            self._healed.wait(event.for_s)
            os.kill(child.process.pid, signal.SIGCONT)

    def _comfy(self, event: Event) -> None:
        kitchen = self._kitchens[event.whom % len(self._kitchens)]
        kitchen.end()
        self._record.note(event.blow)
        self._healed.wait(event.for_s)
        kitchen.revive()

    def _partition(self, event: Event) -> None:
        post = self._posts[event.whom % len(self._posts)]
        kind = Kind.BLACK_HOLE if event.whom // len(self._posts) % 2 else Kind.RESET
        order = post.proxy.order(Fault(kind))
        self._record.note(event.blow)
        self._healed.wait(event.for_s)
        order.lift()

    def _redeploy(self, event: Event) -> None:
        """Put the same code up anew: running functions are let go, and the next calls are cold."""
        client: Any = self._farm.world.cloud.session().client("lambda")
        zipped = (ROOT / "dist" / "deployment.zip").read_bytes()
        for function in (API, COMPLETION) if event.whom else (COMPLETION, API):
            client.update_function_code(FunctionName=function.name("local"), ZipFile=zipped)
        self._record.note(event.blow)

    # -- Google -------------------------------------------------------------------------------------------------

    @property
    def _google_faults(self) -> Faults:
        return self._farm.world.server.sheets.faults

    def _google(self, event: Event) -> None:
        faults, kind = self._google_faults, event.whom % 6
        if kind == 0:
            faults.answer(503, 2)
        elif kind == 1:
            faults.answer(429, 2)
        elif kind == 2:
            faults.apply_then_fail(500)
        elif kind == 3:
            faults.apply_then_drop()
        elif kind == 4:
            faults.drop()
        else:
            faults.delay(2.0)
        self._record.note(event.blow)

    def _storm(self, event: Event) -> None:
        begun, faults = time.time(), self._google_faults
        faults.clear()
        faults.answer(429, FOR_EVER, kind="write")
        faults.answer(503, FOR_EVER, kind="read")
        self._record.note(event.blow)
        self._healed.wait(event.for_s)
        faults.clear()
        self._record.storm = (begun, time.time())

    # -- messages -----------------------------------------------------------------------------------------------

    def _some_job(self, event: Event, *, newest: int) -> str | None:
        ids = self._record.job_ids()[-newest:]
        return ids[event.whom % len(ids)] if ids else None

    def _duplicate(self, event: Event) -> None:
        """Send a job's message again, up to three times: its newest number or an older one, ended or not."""
        job = self._farm.ledger.get(self._some_job(event, newest=60) or "")
        if job is None or not job.seq:
            return
        body = JobMessage(job_id=job.job_id, seq=self._dice.randint(1, job.seq)).model_dump_json()
        for _ in range(self._dice.randint(1, 3)):
            self._farm.sqs.send_message(QueueUrl=self._farm.outputs["JobsQueueUrl"], MessageBody=body)
        self._record.note(event.blow)

    def _replay(self, event: Event) -> None:
        """Send an old hint as if it were new."""
        job = self._farm.ledger.get(self._some_job(event, newest=400) or "")
        if job is None:
            return
        hint = Hint(job_id=job.job_id, version=self._dice.randint(1, job.version))
        self._farm.sqs.send_message(
            QueueUrl=self._farm.outputs["CompletionsQueueUrl"],
            MessageBody=hint.model_dump_json(),
            MessageGroupId=job.target.spreadsheet_id if job.target else job.client_id,
            MessageDeduplicationId=f"replay-{next(self._numbers)}",
        )
        self._record.note(event.blow)

    def _malformed(self, event: Event) -> None:
        body = MALFORMED[event.whom % len(MALFORMED)]
        self._farm.sqs.send_message(QueueUrl=self._farm.outputs["JobsQueueUrl"], MessageBody=body)
        with self._record.lock:
            self._record.malformed.append(body)
        self._record.note(event.blow)

    # -- people -------------------------------------------------------------------------------------------------

    def _cancel(self, event: Event) -> None:
        if event.whom % 2 and self._desks:
            if self._desks[event.whom // 2 % len(self._desks)].cancel():
                self._record.note(event.blow)
            return
        self._programs.cancel_one()

    def _edit(self, event: Event) -> None:
        if self._desks:
            self._desks[event.whom % len(self._desks)].edit()
            self._record.note(event.blow)


def restless(farm: Farm, job_ids: Sequence[str]) -> list[str]:
    """Name those of the jobs that have not ended, or whose end was not shown yet."""
    jobs = farm.ledger.get_many(job_ids)
    return [job.job_id for job in jobs if job.state not in TERMINAL or not job.is_shown]


def restless_told(jobs: Sequence[Job], after_s: float) -> list[str]:
    """Say of each of these jobs what it still lacked so long after the last fault was healed."""
    return [
        f"job {job.job_id} is {job.state}"
        + (", and nobody was shown that" if job.state in TERMINAL else "")
        + f", {after_s:.0f} s after the last fault was healed"
        for job in jobs
    ]
