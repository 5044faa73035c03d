"""Say what can happen next in a state of the model: who may do a step, and what is so after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Claimed, Lease, Refusal
from chalicelib.contract.states import TERMINAL, TRANSITIONS, State, Transition, Verb
from tests.model.desk import Desk

NOBODY: Final = 0
"""Who holds a message that is visible."""
HIDDEN: Final = 3
"""Who holds a message that time alone brings back. 1 and 2 are the workers."""
NONE: Final = -1


@dataclass(frozen=True)
class Rules:
    """Say how the parts behave. Each default is the product's; another value takes one mechanism away."""

    table: dict[Verb, Transition] = field(default_factory=lambda: dict(TRANSITIONS))
    sweeps: bool = True
    acks_last: bool = True
    """Workers delete a message when its job has ended; else as soon as they have it."""
    tells_before_ack: bool = True
    """The hint goes before the message is deleted."""
    tells_again: bool = True
    """Whoever gets the message of an ended job hints at it before deleting it."""
    gives_back: bool = True
    """The message of a job that another holds is left for later; else it is deleted."""
    reads_anew: bool = True
    """Completion reads the job; else it goes by what it was when the hint was sent."""
    looks_twice: bool = True
    """A row that was shown is looked at once more."""
    one_writer: bool = True
    """A spreadsheet's hints go to one completion at a time."""


@dataclass(frozen=True)
class Budgets:
    """Say how many faults of each kind may happen in one history."""

    crashes: int = 1
    """Of any process, between any two of its calls."""
    api_crashes: bool = True
    """Whether API and canceller may be among those that crash."""
    duplicates: int = 1
    """Messages that the queue delivers once more."""
    expiries: int = 1
    """Leases, or hidden messages, that run out while their holder lives on."""
    lost: int = 1
    """Answers of the table that get lost, so that the call is repeated."""
    releases: int = 1
    fails: bool = True
    """Whether jobs may fail for good."""
    attempts: int = 2
    """What the job's budget is at first."""
    cancels: bool = True
    deadline: bool = False
    """Whether the deadline may pass."""
    held: bool = True
    """Whether the job may be held back at first."""


class Worker(NamedTuple):
    """Be a worker: what it does, the message in its hand (its place in the queue), a number, its token."""

    does: str = "idle"
    slot: int = NONE
    number: int = 0
    """Of the message while it takes; else of its attempt, or the job as it was when it was refused."""
    token: str = ""


class Completion(NamedTuple):
    """Be a completion: the job as it was read, what it does, how it will note it, and whether it owns its message."""

    seen: int = NONE
    does: str = "idle"
    is_check: bool = False
    note: tuple[int | None, bool] | None = None
    owns: bool = False


class World(NamedTuple):
    """Be one state of everything."""

    job: int = NONE
    queue: tuple[tuple[int, int, int], ...] = ()
    """Messages: their place, number, and who holds them."""
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    api: str = "begins"
    user: str = "waits"
    sweeper: tuple[Any, ...] = ()
    hints: tuple[int, ...] = ()
    """Jobs as they were when hints were sent; NONE where completion reads the job anyway."""
    checks: int = 0
    completions: tuple[Completion, Completion] = (Completion(), Completion())
    row: int = 0
    crashes: int = 0
    duplicates: int = 0
    expiries: int = 0
    lost: int = 0
    releases: int = 0


class Step(NamedTuple):
    """Be a step: what happens, the state after it, whether it is a fault, and what promise it breaks."""

    label: str
    world: World
    is_fault: bool = False
    wrong: tuple[str, ...] = ()


IDLE: Final = Worker()
RESTS: Final = Completion()


class Protocol:
    """Give the steps of a world, by *rules* and within *budgets*."""

    def __init__(self, rules: Rules | None = None, budgets: Budgets | None = None) -> None:
        self.rules, self.budgets = rules or Rules(), budgets or Budgets()
        self.desk = Desk(self.rules.table, self.budgets.attempts)

    def first(self) -> World:
        spent = self.budgets
        return World(
            row=self.desk.blank,
            crashes=spent.crashes,
            duplicates=spent.duplicates,
            expiries=spent.expiries,
            lost=spent.lost,
            releases=spent.releases,
        )

    def is_done(self, world: World) -> bool:
        """Say whether nothing is left to do, and all is as it should be."""
        if world.queue or world.hints or world.checks or world.sweeper or world.workers != (IDLE, IDLE):
            return False
        if world.completions != (RESTS, RESTS) or world.api not in ("done", "dead") or world.user == "told":
            return False
        if world.job == NONE:
            return True
        job = self._at(world)
        if job.due_at is not None and self.rules.sweeps:
            return False
        return job.state in TERMINAL and job.is_shown and world.row == self.desk.truth(world.job)

    def steps(self, world: World) -> Iterator[Step]:
        """Give everything that can happen next, worlds that differ only in names as one."""
        for step in self._steps(world):
            yield step._replace(world=_plain(step.world))

    def _steps(self, world: World) -> Iterator[Step]:
        yield from self._api(world)
        if world.job == NONE:
            return
        yield from self._user(world)
        for number in (0, 1):
            yield from self._worker(world, number)
            yield from self._completion(world, number)
        yield from self._queue(world)
        yield from self._time(world)
        yield from self._sweeper(world)

    # -- API and user ------------------------------------------------------------------------------------------------

    def _api(self, world: World) -> Iterator[Step]:
        if world.api == "begins":
            yield Step("API puts the job", world._replace(job=self.desk.sent, api="sends"))
            if self.budgets.held:
                yield Step("API puts the job, held back", world._replace(job=self.desk.held, api="done"))
        elif world.api == "sends":
            yield Step("API sends the message", self._sent(world, (1,))._replace(api="done"))
            if world.crashes and self.budgets.api_crashes:
                yield Step("API dies", world._replace(api="dead", crashes=world.crashes - 1), is_fault=True)
        elif world.api == "dead":
            job = self._at(world)
            if job.state is State.QUEUED and job.attempt == 0 and not job.is_held:
                again = self._sent(world, (job.seq,))._replace(api="done")
                yield Step("the client asks again, and API sends the message", again, is_fault=True)

    def _user(self, world: World) -> Iterator[Step]:
        if world.user == "waits" and self.budgets.cancels:
            answer, after, wrong = self.desk.cancel(world.job)
            told = "told" if answer.state is State.CANCELED else "done"
            yield Step("API cancels", world._replace(job=after, user=told), True, wrong)
        elif world.user == "told":
            yield Step("API hints at the cancelled job", self._hinted(world)._replace(user="done"))
            if world.crashes and self.budgets.api_crashes:
                yield Step("API dies before the hint", world._replace(user="done", crashes=world.crashes - 1), True)

    # -- workers -----------------------------------------------------------------------------------------------------

    def _worker(self, world: World, number: int) -> Iterator[Step]:
        me = world.workers[number]
        name = f"the worker of {me.token}" if me.does == "holds" else "a worker"
        if me.does == "idle":
            for slot, seq, holder in world.queue:
                if holder == NOBODY:
                    yield Step(f"{name} takes message {seq}", self._taken(world, number, slot, seq))
            return
        if world.crashes:
            after = self._let_go(world, number, HIDDEN)._replace(crashes=world.crashes - 1)
            yield Step(f"{name} dies", after, is_fault=True)
        if me.does.startswith("doubts "):
            yield from self._written(world, number, me, name, Verb(me.does.removeprefix("doubts ")))
            return
        turns = {
            "claims": self._claims,
            "refused": self._refused,
            "holds": self._holds,
            "lost": self._lost,
            "frees": self._frees,
            "tells": self._tells,
            "drops": self._drops,
            "drops first": self._drops_first,
            "tells last": self._tells_last,
        }
        yield from turns[me.does](world, number, me, name)

    def _taken(self, world: World, number: int, slot: int, seq: int) -> World:
        after = self._now(world, number, Worker("claims", slot, seq))
        if not self.rules.acks_last:
            return self._dropped(after, number)
        return self._held_by(after, slot, number + 1)

    def _claims(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        # A number of its own for each claim, as a token is: by the attempt it would begin.
        token = me.token or f"t{self._at(world).attempt + 1}"
        answer, after, wrong = self.desk.claim(world.job, me.number, token)
        claimed = world._replace(job=after)
        if isinstance(answer, Claimed):
            holds = Worker("holds", me.slot, answer.lease.attempt, token)
            yield Step(f"{name} claims", self._hinted(self._now(claimed, number, holds)), False, wrong)
            if world.lost and not me.token:
                in_doubt = self._now(claimed, number, me._replace(token=token))._replace(lost=world.lost - 1)
                yield Step(f"{name} claims; the answer is lost", in_doubt, True, wrong)
            return
        refused = self._now(claimed, number, Worker("refused", me.slot, after, answer.why))
        yield Step(f"{name} is refused: {answer.why}", refused, False, wrong)

    def _refused(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        if me.token == Refusal.ENDED:
            does = "tells" if self.rules.tells_again else "drops"
            yield Step(f"{name} finds it ended", self._now(world, number, Worker(does, me.slot)))
        elif me.token == Refusal.STALE:
            yield Step(f"{name} drops the stale message", self._left(self._dropped(world, number), number))
        elif me.token == Refusal.SPENT:
            _, after, wrong = self.desk.give_up(world.job, me.number)
            given = world._replace(job=after)
            if self.desk.jobs[after].state in TERMINAL:
                given = self._now(given, number, Worker("tells", me.slot))
            else:
                given = self._let_go(given, number, HIDDEN)
            yield Step(f"{name} gives the job up", given, False, wrong)
        elif self.rules.gives_back:
            yield Step(f"{name} leaves the message for later", self._let_go(world, number, HIDDEN))
        else:
            yield Step(f"{name} drops the message of another's job", self._left(self._dropped(world, number), number))

    def _holds(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield from self._beats(world, me, number, name)
        for verb in (
            (Verb.COMMIT, Verb.FAIL, Verb.RETRY, Verb.RELEASE)
            if self.budgets.fails
            else (Verb.COMMIT, Verb.RETRY, Verb.RELEASE)
        ):
            yield from self._writes(world, number, me, name, verb)

    def _beats(self, world: World, me: Worker, number: int, name: str) -> Iterator[Step]:
        kept, after, wrong = self.desk.worker_asks(world.job, Verb.HEARTBEAT, self._lease(me))
        if not kept:
            yield Step(f"{name} learns that its lease is lost", self._now(world, number, me._replace(does="lost")))
        elif after != world.job or wrong:
            yield Step(f"{name} renews its lease", world._replace(job=after), False, wrong)

    def _writes(self, world: World, number: int, me: Worker, name: str, verb: Verb) -> Iterator[Step]:
        if verb is Verb.RELEASE:
            if not world.releases:
                return
            world = world._replace(releases=world.releases - 1)
        if verb is Verb.RETRY and self._at(world).budget_left <= 0:
            return  # the worker fails it instead
        yield from self._written(world, number, me, name, verb)
        if world.lost:
            _, after, wrong = self.desk.worker_asks(world.job, verb, self._lease(me))
            in_doubt = self._now(
                world._replace(job=after, lost=world.lost - 1), number, me._replace(does=f"doubts {verb}")
            )
            yield Step(f"{name} writes {verb}; the answer is lost", in_doubt, True, wrong)

    def _written(self, world: World, number: int, me: Worker, name: str, verb: Verb) -> Iterator[Step]:
        kept, after, wrong = self.desk.worker_asks(world.job, verb, self._lease(me))
        written = world._replace(job=after)
        if not kept:
            yield Step(f"{name} may not {verb}", self._now(written, number, me._replace(does="lost")), False, wrong)
        elif verb in (Verb.COMMIT, Verb.FAIL):
            does = "tells" if self.rules.tells_before_ack else "drops first"
            yield Step(f"{name}: {verb}", self._now(written, number, Worker(does, me.slot)), False, wrong)
        else:
            yield Step(f"{name}: {verb}", self._now(written, number, Worker("frees", me.slot)), False, wrong)

    def _lost(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        if self._at(world).state in TERMINAL:
            yield Step(f"{name} finds that it ended", self._now(world, number, Worker("tells", me.slot)))
        else:
            yield Step(f"{name} gives way", self._let_go(world, number, HIDDEN))

    def _frees(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} gives the message back", self._hinted(self._let_go(world, number, NOBODY)))

    def _tells(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} hints", self._hinted(self._now(world, number, Worker("drops", me.slot))))

    def _drops(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} deletes the message", self._left(self._dropped(world, number), number))

    def _drops_first(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        after = self._now(self._dropped(world, number), number, Worker("tells last"))
        yield Step(f"{name} deletes the message", after)

    def _tells_last(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} hints", self._hinted(self._left(world, number)))

    # -- the queue and time ------------------------------------------------------------------------------------------

    def _queue(self, world: World) -> Iterator[Step]:
        for slot, seq, holder in world.queue:
            if holder == HIDDEN:
                yield Step(f"message {seq} is visible again", self._held_by(world, slot, NOBODY))
            elif holder != NOBODY and world.expiries:
                after = self._held_by(world, slot, NOBODY)._replace(expiries=world.expiries - 1)
                yield Step(f"message {seq} is visible again too soon", after, is_fault=True)
            if world.duplicates:
                again = self._sent(world, (seq,))._replace(duplicates=world.duplicates - 1)
                yield Step(f"the queue repeats message {seq}", again, is_fault=True)

    def _time(self, world: World) -> Iterator[Step]:
        job = self._at(world)
        if (after := self.desk.passed(world.job, "not_before")) is not None:
            yield Step("the pause is over", world._replace(job=after))
        if job.state is State.RUNNING and (after := self.desk.passed(world.job, "lease_until")) is not None:
            # A worker that lives renews its lease: only one that is gone loses it for nothing.
            lives = any(
                me.token == job.claim_token and me.does.startswith(("holds", "claims", "doubts"))
                for me in world.workers
            )
            if not lives:
                yield Step("the dead worker's lease ends", world._replace(job=after))
            elif world.expiries:
                yield Step("a lease ends too soon", world._replace(job=after, expiries=world.expiries - 1), True)
        if self.budgets.deadline and (after := self.desk.passed(world.job, "deadline")) is not None:
            yield Step("the deadline passes", world._replace(job=after), is_fault=True)

    # -- the sweeper and completion ----------------------------------------------------------------------------------

    def _sweeper(self, world: World) -> Iterator[Step]:
        if self._at(world).is_held and self._at(world).state is State.QUEUED:
            after, sent = self.desk.let_go(world.job)
            yield Step("another job's end lets it go", self._sent(world._replace(job=after), sent))
        if not self.rules.sweeps:
            return
        if world.sweeper and world.crashes:
            yield Step("the sweeper dies", world._replace(sweeper=(), crashes=world.crashes - 1), is_fault=True)
        if world.sweeper and world.sweeper[0] == "read":
            yield self._swept(world, world.sweeper[1], "the sweeper acts on what it read")
        elif world.sweeper:
            yield Step("the sweeper sends", self._sends(world._replace(sweeper=()), *world.sweeper[1:]))
        elif self._at(world).due_at is not None and self._may_look_twice(world):
            if not self._is_too_soon(world):
                yield self._swept(world, world.job, "the sweeper looks")
            elif world.duplicates:
                soon = world._replace(sweeper=("read", world.job), duplicates=world.duplicates - 1)
                yield Step("the sweeper reads the job too soon", soon, is_fault=True)

    def _swept(self, world: World, seen: int, label: str) -> Step:
        after, sent, hints, checks, wrong = self.desk.sweep(world.job, seen)
        swept = world._replace(job=after, sweeper=())
        if sent or hints or checks:
            # Only who may die in between needs a step of its own for it.
            told = (sent, hints, checks)
            swept = swept._replace(sweeper=("sends", *told)) if world.crashes else self._sends(swept, *told)
        return Step(label, swept, False, wrong)

    def _sends(self, world: World, sent: tuple[int, ...], hints: int, checks: int) -> World:
        after = self._sent(world, sent)
        if hints:
            after = self._hinted(after)
        return after._replace(checks=1) if checks else after

    def _is_too_soon(self, world: World) -> bool:
        """Say whether what the sweeper would send is still on its way: then it costs a duplicate."""
        job = self._at(world)
        if job.state in TERMINAL and job.is_shown:
            return bool(world.checks)
        if job.state in TERMINAL or (job.state is State.RUNNING and job.lease_until):
            return bool(world.hints) or any(each.does != "idle" and not each.is_check for each in world.completions)
        return not job.is_held and bool(world.queue or world.api == "sends")

    def _may_look_twice(self, world: World) -> bool:
        job = self._at(world)
        if job.state not in TERMINAL or not job.is_shown:
            return True
        return self.rules.looks_twice and world.completions == (RESTS, RESTS)

    def _completion(self, world: World, number: int) -> Iterator[Step]:
        me, name = world.completions[number], f"completion {number + 1}"
        if me.does == "idle":
            yield from self._completion_takes(world, number, name)
            return
        if world.crashes:
            after = self._returned(self._does(world, number, RESTS), me)._replace(crashes=world.crashes - 1)
            yield Step(f"{name} dies", after, is_fault=True)
        if me.owns and world.expiries and not me.is_check:
            late = self._returned(self._does(world, number, me._replace(owns=False)), me)
            yield Step(f"{name} is taken for dead", late._replace(expiries=world.expiries - 1), is_fault=True)
        if me.does == "read":
            row, note = self.desk.show(me.seen, world.row, check=me.is_check)
            after = self._does(world, number, me._replace(does="wrote", note=note) if note else RESTS)
            yield Step(f"{name} writes {dict(self.desk.rows[row])['Status']!r}", after._replace(row=row))
        elif me.note is not None:
            look_at, gone = me.note
            if not self.rules.looks_twice:
                look_at = None
            _, job, wrong = self.desk.note_shown(world.job, me.seen, look_at, gone)
            yield Step(f"{name} notes it as shown", self._does(world, number, RESTS)._replace(job=job), False, wrong)

    def _completion_takes(self, world: World, number: int, name: str) -> Iterator[Step]:
        other = world.completions[1 - number]
        if self.rules.one_writer and other.owns:
            return
        if world.completions == (RESTS, RESTS) and number == 1:
            return  # the two are alike: the first begins
        if world.hints:
            payload, left = world.hints[0], world.hints[1:]
            me = Completion(world.job if payload == NONE else payload, "read", owns=True)
            yield Step(f"{name} takes a hint and reads", self._does(world, number, me)._replace(hints=left))
        if world.checks:
            me = Completion(world.job, "read", is_check=True, owns=True)
            yield Step(f"{name} looks a second time", self._does(world, number, me)._replace(checks=world.checks - 1))

    # -- small moves -------------------------------------------------------------------------------------------------

    def _at(self, world: World) -> Job:
        return self.desk.jobs[world.job]

    def _lease(self, me: Worker) -> Lease:
        return Lease(self.desk.jobs[0].job_id, me.number, me.token)

    def _now(self, world: World, number: int, me: Worker) -> World:
        first, second = world.workers
        return world._replace(workers=(me, second) if number == 0 else (first, me))

    def _does(self, world: World, number: int, me: Completion) -> World:
        first, second = world.completions
        pair = (me, second) if number == 0 else (first, me)
        return world._replace(completions=pair if pair != (RESTS, pair[1]) or pair[1] == RESTS else (pair[1], RESTS))

    def _returned(self, world: World, me: Completion) -> World:
        """Have the message of a completion visible again, if it is its own."""
        if not me.owns:
            return world
        if me.is_check:
            return world._replace(checks=1)
        return self._hinted(world, me.seen)

    def _hinted(self, world: World, seen: int | None = None) -> World:
        payload = NONE if self.rules.reads_anew else (world.job if seen is None else seen)
        if self.rules.reads_anew:
            return world._replace(hints=(payload,))
        return world if payload in world.hints else world._replace(hints=(*world.hints, payload)[:3])

    def _sent(self, world: World, numbers: tuple[int, ...]) -> World:
        queue = world.queue
        for seq in numbers:
            used = {slot for slot, _, _ in queue}
            slot = next(place for place in range(99) if place not in used)
            queue = tuple(sorted((*queue, (slot, seq, NOBODY))))
        return world._replace(queue=queue)

    def _held_by(self, world: World, slot: int, holder: int) -> World:
        return world._replace(queue=tuple((at, seq, holder if at == slot else who) for at, seq, who in world.queue))

    def _let_go(self, world: World, number: int, holder: int) -> World:
        """Have a worker idle, and its message hidden or visible; not if it has become another's."""
        me = world.workers[number]
        queue = tuple((at, seq, holder if at == me.slot and who == number + 1 else who) for at, seq, who in world.queue)
        return self._now(world._replace(queue=queue), number, IDLE)

    def _left(self, world: World, number: int) -> World:
        return self._now(world, number, IDLE)

    def _dropped(self, world: World, number: int) -> World:
        """Delete the message in a worker's hand, though another may have received it since: SQS may do so."""
        slot = world.workers[number].slot
        workers = tuple(me._replace(slot=NONE) if me.slot == slot else me for me in world.workers)
        queue = tuple(message for message in world.queue if message[0] != slot)
        return world._replace(queue=queue, workers=(workers[0], workers[1]))


def _plain(world: World) -> World:
    """Name the two workers, and the places of messages, always in the same order: who is who means nothing."""
    workers, queue = world.workers, world.queue
    if workers[0] > workers[1]:
        other = {NOBODY: NOBODY, 1: 2, 2: 1, HIDDEN: HIDDEN}
        workers = (workers[1], workers[0])
        queue = tuple((slot, seq, other[holder]) for slot, seq, holder in queue)
    if queue:
        hands = {me.slot: number for number, me in enumerate(workers, 1) if me.slot != NONE}
        order = sorted(queue, key=lambda message: (message[1], message[2], hands.get(message[0], 0)))
        places = {message[0]: place for place, message in enumerate(order)}
        places[NONE] = NONE
        queue = tuple((place, seq, holder) for place, (_, seq, holder) in enumerate(order))
        workers = (_placed(workers[0], places), _placed(workers[1], places))
    return world._replace(workers=workers, queue=queue)


def _placed(me: Worker, places: dict[int, int]) -> Worker:
    return me if places[me.slot] == me.slot else me._replace(slot=places[me.slot])


def without(table: dict[Verb, Transition], verb: Verb, **fields: Any) -> dict[Verb, Transition]:
    """Give *table* with a move changed."""
    return {**table, verb: replace(table[verb], **fields)}
