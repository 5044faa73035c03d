"""Run a soak: a world, workers, people and programs, the plan's faults, quiet in the end, and the judge."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

from chalicelib.contract.states import State
from faults.farm import Farm
from faults.kitchens import Kitchen
from faults.orders import Fault, Kind
from faults.proxy import Proxy
from faults.soak.crowd import AT_ONCE, ROWS_MOST, Programs, SoakDesk
from faults.soak.judge import Finding, Judge
from faults.soak.plan import BREAKS, Plan
from faults.soak.record import Record, Row
from faults.soak.watch import Bodies, Bus, States, Thread
from faults.soak.weather import Post, Weather, restless, restless_told
from infra.functions import API
from sandbox.cloud import RESERVED
from sandbox.sheets_faults import Quota
from sandbox.world import Child

TIMES: Final = {
    "LEASE_S": "6", "HEARTBEAT_S": "1.5", "VISIBILITY_S": "9", "CLOCK_SKEW_S": "1.5", "WAIT_S": "4", "POLL_UP_S": "2",
    "STALL_S": "20",
}  # fmt: skip
"""A tenth of the production's, the order of things is the same."""
LEASE_S: Final = 6.0
DROPPED: Final = 0.05
"""The share of answers that are lost on the way, of AWS to the workers and of the API to everybody."""
SHEETS_SHARE: Final = 0.6
"""Of the jobs, those of rows; the others are programs'."""
KITCHENS: Final = 2
API_MOST: Final = 4
"""Calls of the API at once; each is a process here. What comes beyond is turned away, and comes again."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wishes:
    """Say how long, how many, and how patient."""

    rows: int
    length_s: float
    workers: int = 4
    submit_most_s: float = math.inf
    """When nothing more is submitted, though the machine was too slow for all."""
    patience_s: float = 900.0
    """How long it may take until all is quiet, when nothing is broken any more."""
    call_most_s: int = 300
    """How long a function may take: longer than in production, on a machine that also makes the faults."""
    look_s: float = 5.0
    """How often a line tells how far it is."""


@dataclass
class Result:
    """Hold what came of a run."""

    wishes: Wishes
    plan: Plan
    record: Record
    found: Finding
    took_s: float
    quiet_after_s: float
    restless: tuple[str, ...] = ()
    """Ids of jobs that had not ended, or whose end was not shown, when patience was over."""


def soak(farm: Farm, wishes: Wishes, plan: Plan, say: Say = lambda _line: None) -> Result:
    """Run and judge. The farm's own workers and ComfyUI are not used."""
    with ExitStack() as stack:
        return _Soak(farm, wishes, plan, say, stack).run()


class _Soak:
    """Hold one run's parts."""

    def __init__(self, farm: Farm, wishes: Wishes, plan: Plan, say: Say, stack: ExitStack) -> None:
        self._farm, self._wishes, self._plan, self._say, self._stack = farm, wishes, plan, say, stack
        self._record = Record()
        self._home = farm.world.wishes.home / f"soak-{plan.seed}"
        self._home.mkdir(parents=True)
        self._meters = [self._home / f"gpu-{number}" for number in range(KITCHENS)]
        self._kitchens = [Kitchen(self._home / f"comfy-{n}", meter=meter) for n, meter in enumerate(self._meters)]
        self._before = farm.world.server.sheets.quota
        farm.world.server.sheets.quota = Quota()
        stack.callback(setattr, farm.world.server.sheets, "quota", self._before)
        cloud = farm.world.cloud
        self._give_time(cloud.session().client("lambda"))
        drops = Fault(Kind.DROP_ANSWER, share=DROPPED)
        self._api = stack.enter_context(Proxy(cloud.endpoint_url, seed=plan.seed, keep=10))
        self._api.order(drops)
        api_url = cloud.api_url.replace(cloud.endpoint_url, self._api.url)
        for kitchen in self._kitchens:
            stack.callback(kitchen.end)
            kitchen.start()
        self._desks = [
            SoakDesk(farm, number, api_url, self._record, random.Random(f"desk {plan.seed} {number}"))
            for number in range(1, 1 + -(-round(SHEETS_SHARE * wishes.rows) // ROWS_MOST))
        ]
        for desk in self._desks:
            stack.callback(desk.close)
        self._programs = Programs(farm, api_url, self._record, random.Random(f"programs {plan.seed}"))
        self._posts = [self._post(number, drops) for number in range(wishes.workers)]
        stack.callback(self._stop_workers)
        self._begun = time.monotonic()

    def _give_time(self, client: Any) -> None:
        """
        Bound the API's processes, and let calls take as long as is wished.

        A message stays hidden for longer than the call that has it in hand may take, as in a deployed stage.
        """
        name = API.name("local")
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=API_MOST)
        usual = {"FunctionName": name, "ReservedConcurrentExecutions": RESERVED[API]}
        self._stack.callback(lambda: client.put_function_concurrency(**usual))
        queue, most_s = self._farm.outputs["CompletionsQueueUrl"], self._wishes.call_most_s
        attributes = self._farm.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])[
            "Attributes"
        ]
        self._farm.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": str(round(1.2 * most_s))})
        self._stack.callback(partial(self._farm.sqs.set_queue_attributes, QueueUrl=queue, Attributes=attributes))
        for function in RESERVED:
            name = function.name("local")
            before = client.get_function_configuration(FunctionName=name)["Timeout"]
            client.update_function_configuration(FunctionName=name, Timeout=most_s)
            back = {"FunctionName": name, "Timeout": before}
            self._stack.callback(partial(client.update_function_configuration, **back))

    def _post(self, number: int, drops: Fault) -> Post:
        proxy = self._stack.enter_context(Proxy(self._farm.world.cloud.endpoint_url, seed=number, keep=10))
        proxy.order(drops)
        kitchen = self._kitchens[number % KITCHENS]
        return Post(number, proxy, kitchen, self._hire(proxy, kitchen), is_spared=number == 0)

    def _hire(self, proxy: Proxy, kitchen: Kitchen) -> Child:
        return self._farm.worker(
            **TIMES, AWS_ENDPOINT_URL=proxy.url, COMFY_URL=kitchen.url, WORKER_HOME=str(self._home / "worker")
        )

    def _stop_workers(self) -> None:
        for post in self._posts:
            post.child.stop()

    def run(self) -> Result:
        record, states, bus = self._record, States(self._farm, self._record), Bus(self._farm)
        bodies = Bodies(lambda: {post.child.name: post.child.process.pid for post in self._posts}, self._begun)
        weather = Weather(
            self._farm, self._plan, record, self._posts, self._kitchens, self._desks, self._programs,
            lambda post: self._hire(post.proxy, post.kitchen),
        )  # fmt: skip
        with (
            Thread(states.look, 2.0, record),
            Thread(bus.look, 2.0, record),
            Thread(bodies.look, 5.0, record),
            Thread(lambda: self._tell(states), self._wishes.look_s, record),
        ):
            submitted = threading.Event()
            storms = threading.Thread(target=weather.run, args=(self._begun, submitted.is_set))
            storms.start()
            self._submit()
            submitted.set()
            storms.join()
            self._api.clear()
            healed = time.monotonic()
            self._press_again()
            left = self._wait_until_quiet(healed)
            quiet_after_s = time.monotonic() - healed
        self._say("judging …")
        found = Judge(self._farm, record, self._desks).judge(states, bus, bodies.oldest(), self._meters)
        found.blame("harness", record.troubles)
        found.blame("quiet", restless_told(self._farm.ledger.get_many(left), quiet_after_s))
        took_s = time.monotonic() - self._begun
        return Result(self._wishes, self._plan, record, found, took_s, quiet_after_s, tuple(left))

    # -- submitting ---------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        """Spread all submissions over the run: two people who go from desk to desk, and two programs."""
        typed = round(SHEETS_SHARE * self._wishes.rows)
        jobs = [threading.Thread(target=self._type, args=(desks,)) for desks in self._shares(typed)]
        numbers, lock = count(), threading.Lock()
        rest = self._wishes.rows - typed
        jobs += [threading.Thread(target=self._program, args=(numbers, lock, rest)) for _ in range(2)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()

    def _shares(self, typed: int) -> list[list[tuple[SoakDesk, int]]]:
        """Say how many rows are typed at each desk, by the person who does it."""
        share = -(-typed // len(self._desks))
        sizes = [(desk, min(share, typed - share * place)) for place, desk in enumerate(self._desks)]
        return [sizes[::2], sizes[1::2]]

    def _type(self, desks: list[tuple[SoakDesk, int]]) -> None:
        """Type some rows at each desk in turn until all have theirs."""
        left, total, done = dict(desks), sum(size for _, size in desks), 0
        dice = random.Random(f"typing {self._plan.seed} {[desk.number for desk in left]}")
        while any(left.values()):
            for desk in [desk for desk, size in left.items() if size > 0]:
                self._wait_until(done / total)
                if self._is_late():
                    return
                some = min(left[desk], dice.randint(1, AT_ONCE))
                first = dict(desks)[desk] - left[desk]
                rows = [Row(desk.number, f"desk {desk.number} row {first + n}") for n in range(some)]
                try:
                    desk.bind(rows)
                except Exception as error:
                    self._record.trouble(f"rows could not be typed: {type(error).__name__}: {error}")
                left[desk] -= some
                done += some

    def _program(self, numbers: count[int], lock: threading.Lock, size: int) -> None:
        while True:
            with lock:
                number = next(numbers)
            if number >= size:
                return
            self._wait_until(number / size)
            if self._is_late():
                return
            try:
                self._programs.submit(number)
                if number % 7 == 3:
                    self._programs.repeat_one()
            except Exception as error:
                self._record.trouble(f"a program could not submit: {type(error).__name__}: {error}")

    def _is_late(self) -> bool:
        return time.monotonic() - self._begun > self._wishes.submit_most_s

    def _wait_until(self, share: float) -> None:
        """Wait until so much of the run is over; the last tenth is left for what is under way."""
        left_s = self._begun + 0.9 * share * self._plan.length_s - time.monotonic()
        threading.Event().wait(max(0.0, left_s))

    # -- the end ------------------------------------------------------------------------------------------------

    def _press_again(self) -> None:
        """Generate the rows again of which the API knows nothing, as people do that read "try again"."""
        ledger = self._farm.ledger
        for desk in self._desks:
            for _ in range(3):
                rows = [row for row in self._record.rows.values() if row.desk == desk.number and not row.is_deleted]
                newest = {row.prompt: row.job_ids[-1] if row.keys else "" for row in rows}
                there = {job.job_id for job in ledger.get_many([each for each in newest.values() if each])}
                unsent = [prompt for prompt, job_id in newest.items() if job_id not in there]
                if not unsent:
                    break
                desk.again(unsent)

    def _wait_until_quiet(self, healed: float) -> list[str]:
        """Wait until all has ended and is shown; give the ids of which that is not so when patience is over."""
        pause, left = threading.Event(), self._record.job_ids()
        while left := restless(self._farm, left):
            if time.monotonic() - healed > self._wishes.patience_s:
                self._say(f"{len(left)} jobs are not quiet after {self._wishes.patience_s:.0f} s")
                return left
            pause.wait(3)
        # What is still said of ended jobs (repeated hints, events) is said within seconds.
        pause.wait(5)
        self._say("all is quiet")
        return []

    def _tell(self, states: States) -> None:
        record, counts = self._record, states.counts
        asked = len(record.job_ids())
        ended = sum(counts.values())
        faults = sum(number for blow, number in record.done.items() if blow in BREAKS)
        self._say(
            f"{time.monotonic() - self._begun:6.0f} s  asked {asked}, ended {ended} ({counts[State.SUCCEEDED]} well, "
            f"{counts[State.CANCELED]} cancelled, {counts[State.FAILED]} failed), open {asked - ended}; faults {faults}"
        )
