"""
Play a farm of rented machines in emulated time: jobs come, machines boot, work, are lost and are given back.

The scaler under test is called once an emulated minute and reaches this world through its edges only: the pools, the
workers' cards (as they were up to a minute ago) and the work. What it costs and how long jobs waited is counted here,
beside it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from chalicelib.contract.card import Seen, ServerCard
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.pool import Machine, MachineState
from chalicelib.scale_memory import Memory, Page, Work
from chalicelib.scaling import Load

MIDNIGHT: Final = 1_795_219_200_000
"""A midnight (UTC), in ms: 2026-11-21."""
DAY_S: Final = 86_400.0
SECONDS: Final = {"sdxl": (6.0, 0.25), "flux": (25.0, 0.3), "video": (150.0, 0.4)}
"""Of each workflow the median of what a job takes, and the spread (sigma of a lognormal)."""


@dataclass(eq=False)
class Job:
    """Hold one job; times are seconds since the world began."""

    workflow: str
    came: float
    seconds: float
    begun: float | None = None
    first_begun: float | None = None
    done: float | None = None


@dataclass(eq=False)
class Box:
    """Hold one rented machine."""

    id: str
    pool: str
    price: float
    ordered: float
    ready: float
    """When its worker takes jobs; infinite: never."""
    job: Job | None = None
    jobs_done: int = 0
    stopping: float | None = None
    gone: float | None = None
    card: Seen | None = None


@dataclass(frozen=True)
class Nature:
    """Say how machines are: chances are drawn from the world's own dice."""

    price: float = 0.50
    boot_s: tuple[float, float] = (150.0, 0.25)
    """Median and spread of a start."""
    dud_share: float = 0.02
    """Of all machines that come up, how many never work."""
    lost_after_h: float = math.inf
    """After how many hours, on average, a machine is taken away."""
    stock: Callable[[float], int] = lambda _now: 1_000_000
    """How many of this pool may be rented at once, at a time."""
    end_s: float = 20.0
    """How long a machine that is given back costs still."""


class World:
    """Play one load. *bursts* are (second, how many, workflow)."""

    def __init__(
        self, bursts: Sequence[tuple[int, int, str]], natures: dict[str, Nature], *, seed: str = "", until_s: float
    ) -> None:
        self.now = 0.0
        self.boxes: list[Box] = []
        self.jobs: list[Job] = []
        self.waiting: deque[Job] = deque()
        self.busy_stops = 0
        self.orders: list[tuple[float, int]] = []
        self.stops: list[tuple[float, int]] = []
        self.pools = {name: SimPool(self, name, nature) for name, nature in natures.items()}
        self._draw = random.Random(f"world {seed}")
        self._until = until_s
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._paces: dict[str, tuple[int, float]] = {}
        for at, count, workflow in bursts:
            self.at(at, lambda count=count, workflow=workflow: self._come(count, workflow))  # type: ignore[misc]

    # -- time -----------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """Tell the emulated time."""
        return MIDNIGHT + int(self.now * 1000)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Have something happen at a time."""
        heapq.heappush(self._events, (when, next(self._numbers), what))

    def play(self, each_minute: Callable[[], object]) -> None:
        """Let it all happen, and call the scaler once a minute."""

        def tick() -> None:
            each_minute()
            self.at(self.now + 60.0, tick)

        self.at(13.0, tick)
        while self._events and self._events[0][0] <= self._until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = self._until

    # -- jobs -----------------------------------------------------------------------------------------------------

    def _come(self, count: int, workflow: str) -> None:
        median, spread = SECONDS[workflow]
        for _ in range(count):
            job = Job(workflow, self.now, median * self._draw.lognormvariate(0.0, spread))
            self.jobs.append(job)
            self.waiting.append(job)
        self._hand_out()

    def _hand_out(self) -> None:
        free = [box for box in self.boxes if box.gone is None and box.ready <= self.now and box.job is None]
        free = [box for box in free if box.stopping is None]
        self._draw.shuffle(free)
        while free and self.waiting:
            box, job = free.pop(), self.waiting.popleft()
            box.job, job.begun = job, self.now
            job.first_begun = self.now if job.first_begun is None else job.first_begun
            self.at(self.now + job.seconds, lambda box=box, job=job: self._end(box, job))  # type: ignore[misc]

    def _end(self, box: Box, job: Job) -> None:
        if box.job is not job or box.gone is not None:
            return
        box.job, job.done = None, self.now
        box.jobs_done += 1
        count, total = self._paces.get(job.workflow, (0, 0.0))
        self._paces[job.workflow] = (count + 1, total + job.seconds)
        self._hand_out()

    def _hand_back(self, box: Box) -> None:
        if box.job is not None:
            box.job.begun = None
            self.waiting.appendleft(box.job)
            box.job = None

    # -- machines -------------------------------------------------------------------------------------------------

    def rent(self, pool: str, nature: Nature) -> None:
        """Make a machine."""
        median, spread = nature.boot_s
        is_dud = self._draw.random() < nature.dud_share
        boot = math.inf if is_dud else median * self._draw.lognormvariate(0.0, spread)
        box = Box(f"box{len(self.boxes)}", pool, nature.price, self.now, self.now + boot)
        self.boxes.append(box)
        if not is_dud:
            self.at(box.ready, lambda: self._show(box))
            self.at(box.ready, self._hand_out)
        if nature.lost_after_h < math.inf:
            self.at(self.now + self._draw.expovariate(1 / (3600 * nature.lost_after_h)), lambda: self._go(box))

    def _show(self, box: Box) -> None:
        """Put the worker's card on the table, once a minute."""
        if box.gone is None and box.stopping is None:
            server = ServerCard(name=box.id, running=int(box.job is not None))
            box.card = Seen(box.id, self.now_ms(), (server,), jobs_done=box.jobs_done)
            self.at(self.now + 60.0, lambda: self._show(box))

    def give_back(self, box: Box, end_s: float) -> None:
        """Begin a machine's end: its worker hands its job back at once."""
        if box.stopping is None and box.gone is None:
            box.stopping = self.now
            box.card = None
            self._hand_back(box)
            self._hand_out()
            self.at(self.now + end_s, lambda: self._go(box))

    def _go(self, box: Box) -> None:
        if box.gone is None:
            box.gone = self.now
            self._hand_back(box)
            self._hand_out()

    # -- what the scaler may read ---------------------------------------------------------------------------------

    def work(self, _now: int) -> Work:
        """Tell the work as the job table would."""
        rendered = [(box, box.job) for box in self.boxes if box.job is not None]
        left_s = sum(max(0.0, self._pace(job.workflow) - (self.now - (job.begun or 0.0))) for _, job in rendered)
        counts = Counter(job.workflow for job in self.waiting)
        waiting_s = sum(count * self._pace(workflow) for workflow, count in counts.items())
        return Work(Load(len(self.waiting), waiting_s, len(rendered), left_s), {box.id: 1 for box, _ in rendered})

    def _pace(self, workflow: str) -> float:
        count, total = self._paces.get(workflow, (0, 0.0))
        return total / count if count else 60.0

    def cards(self) -> list[Seen]:
        """List the cards that were left on the table."""
        return [box.card for box in self.boxes if box.card is not None]

    # -- figures --------------------------------------------------------------------------------------------------

    def waits(self) -> list[float]:
        """List how long jobs waited until they were first begun (s); of those that never were, until now."""
        return [(self.now if job.first_begun is None else job.first_begun) - job.came for job in self.jobs]

    def machine_hours(self) -> float:
        """Add up what is paid for."""
        return sum((self.now if box.gone is None else box.gone) - box.ordered for box in self.boxes) / 3600

    def dollars(self, since: float = 0.0, until: float = math.inf) -> float:
        """Add up what machines cost, within a time."""
        spent = 0.0
        for box in self.boxes:
            end = min(until, self.now if box.gone is None else box.gone)
            spent += max(0.0, end - max(since, box.ordered)) * box.price / 3600
        return spent

    def renting(self) -> int:
        """Count the machines that cost now."""
        return sum(box.gone is None for box in self.boxes)


@dataclass
class SimPool:
    """Rent the world's machines (`chalicelib.contract.pool.Pool`)."""

    world: World
    name: str
    nature: Nature
    lost_answers: Collection[int] = ()
    """Which orders, counted from 1, are carried out without an answer."""
    asked: int = 0
    mine: list[Box] = field(default_factory=list)

    def machines(self) -> list[Machine]:
        """List the machines that are not gone."""
        mine = (box for box in self.world.boxes if box.pool == self.name and box.gone is None)
        return [
            Machine(box.id, self._state(box), MIDNIGHT + int(box.ordered * 1000), self.nature.price) for box in mine
        ]

    def _state(self, box: Box) -> MachineState:
        if box.stopping is not None:
            return MachineState.STOPPING
        return MachineState.RUNNING if box.ready <= self.world.now else MachineState.STARTING

    def start(self, count: int) -> int:
        """Rent as many as there are in stock."""
        self.asked += 1
        granted = max(0, min(count, self.nature.stock(self.world.now) - len(self.machines())))
        for _ in range(granted):
            self.world.rent(self.name, self.nature)
        if granted:
            self.world.orders.append((self.world.now, granted))
        if self.asked in self.lost_answers:
            raise Unavailable("The answer was lost.")
        return granted

    def stop(self, ids: Collection[str]) -> None:
        """Give machines back."""
        for box in self.world.boxes:
            if box.id in ids and box.stopping is None and box.gone is None:
                self.world.busy_stops += box.job is not None
                self.world.stops.append((self.world.now, 1))
                self.world.give_back(box, self.nature.end_s)


class MemoryBook:
    """Keep the autoscaler's memory in memory, as text, as DynamoDB does (`chalicelib.scale_book.Book`)."""

    def __init__(self) -> None:
        self.text = ""
        self.version = 0

    def read(self) -> Page:
        """Read it."""
        return Page(Memory.model_validate_json(self.text) if self.text else Memory(), self.version)

    def write(self, memory: Memory, version: int) -> bool:
        """Put it in place of *version*."""
        if version != self.version:
            return False
        self.text, self.version = memory.model_dump_json(), version + 1
        return True
