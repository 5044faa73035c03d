"""Let ComfyUI die, hang, lie, overflow and forget, and let one job kill it again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from chalicelib.contract.job import BUDGET, Job, prompt_id_of
from chalicelib.contract.states import TERMINAL, State
from faults.farm import Asked, Farm
from faults.kitchens import Kitchen, Mood, Moody, Nurse, managed_folder, workflows
from faults.report import Outcome, Tally, rank
from faults.scenario import Scenario, Size
from faults.words import breaches_of
from sandbox.waiting import wait_until
from sandbox.world import Child

QUICK: Final = {"STALL_S": "1.5", "POLL_DOWN_S": "0.3", "POLL_UP_S": "0.5", "MAX_OUTPUT_MB": "0.3"}
PATIENCE_S: Final = 60.0


class Hurry:
    """Spare scenarios the pauses between attempts (up to a minute each), from a thread of its own."""

    def __init__(self, farm: Farm, asked: Sequence[Asked]) -> None:
        self._farm = farm
        self._asked = asked
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._push, name="hurry", daemon=True)

    def __enter__(self) -> Hurry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _push(self) -> None:
        while not self._ended.wait(0.3):
            self._farm.hurry([one.job_id for one in self._asked])


@dataclass
class _Ward:
    """Hold what the cases share, and what they found."""

    farm: Farm
    kitchen: Kitchen
    proxy: Moody
    every: list[Asked] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    failed: list[Asked] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    sentences: dict[str, str] = field(default_factory=dict)
    took_s: dict[str, float] = field(default_factory=dict)

    def submit(self, workflow: str = "sleeps", **inputs: Any) -> Asked:
        """Submit one job."""
        asked = self.farm.ask(workflow=workflow, **inputs)
        if not asked.is_acknowledged:
            self.wrong.append(f"a job of {workflow} was answered {asked.status}")
        self.every.append(asked)
        return asked

    def runs(self, name: str, asked: Asked) -> None:
        """Wait until ComfyUI works on this job."""

        def renders() -> bool:
            job = self.farm.job(asked)
            return job is not None and prompt_id_of(job.job_id, job.attempt) in self.kitchen.running()

        if not wait_until(renders, 20, 0.02):
            self.wrong.append(f"{name}: ComfyUI was never seen to work on the job")

    @contextmanager
    def mood(self, name: str, mood: Mood, times: int = 10**9) -> Iterator[None]:
        """Have the proxy in *mood*; somebody must have met it by the end."""
        before = self.proxy.met[mood]
        self.proxy.be(mood, times)
        yield
        # What a worker does when the job has ended is part of it.
        if not wait_until(lambda: self.proxy.met[mood] > before, 10, 0.05):
            self.wrong.append(f"{name}: no call met the fault, so nothing was proven")
        self.proxy.be(Mood.FINE)

    def ends(
        self, name: str, asked: Asked, state: State, *, attempts: int = 1, least: int = 1, code: str = ""
    ) -> Job | None:
        """Wait for the end, and hold it against what must come: state, attempts from *least* on, the error's code."""
        begun = time.monotonic()
        if not self.farm.all_ended([asked], PATIENCE_S):
            job = self.farm.job(asked)
            self.wrong.append(
                f"{name}: the job has not ended after {PATIENCE_S:.0f} s ({job.state if job else 'gone'})"
            )
            return None
        self.took_s[name] = round(time.monotonic() - begun, 1)
        job = self.farm.job(asked)
        assert job is not None
        (self.asked if state is State.SUCCEEDED else self.failed).append(asked)
        if job.state is not state:
            self.wrong.append(f"{name}: the job is {job.state} ({job.error}), not {state}")
        if job.attempt > attempts:
            self.wrong.append(f"{name}: {job.attempt} attempts, not {attempts} ({job.last_error})")
        if job.attempt < least:
            self.wrong.append(f"{name}: {job.attempt} attempts, not {least}: the fault did no harm")
        if job.error is not None:
            self.hear(name, job.error.sentence(), asked)
            if code and job.error.code != code:
                self.wrong.append(f"{name}: the error's code is {job.error.code}, not {code}")
        return job

    def hear(self, name: str, sentence: str, asked: Asked) -> None:
        """Judge the sentence, and that the API says the same."""
        self.sentences[name] = sentence
        self.wrong += [f"{name}: “{sentence}” {breach}" for breach in breaches_of(sentence)]
        told = self.farm.call("GET", f"/api/v2/jobs/{asked.job_id}").json()
        if (told.get("error") or {}).get("message") != sentence:
            self.wrong.append(f"{name}: the API tells another sentence: {told.get('error')}")


def _lies(ward: _Ward) -> None:
    """What the server answers is not what it should be; nothing is lost, and no attempt is wasted."""
    proxy = ward.proxy
    name = "WebSocket dropped"
    asked = ward.submit(seconds=1.0)
    ward.runs(name, asked)
    if not proxy.drop_sockets():
        ward.wrong.append(f"{name}: there was none")
    ward.ends(name, asked, State.SUCCEEDED)
    name = "WebSocket half-open"
    asked = ward.submit(seconds=1.0)
    ward.runs(name, asked)
    with ward.mood(name, Mood.DEAF):
        ward.ends(name, asked, State.SUCCEEDED)
    proxy.drop_sockets()
    name = "answers are garbage"
    asked = ward.submit(seconds=3.0)
    ward.runs(name, asked)
    proxy.drop_sockets()
    with ward.mood(name, Mood.GARBAGE):
        wait_until(lambda: False, 2.5)
    ward.ends(name, asked, State.SUCCEEDED)
    for name, mood, times in (
        ("every answer is late", Mood.SLOW, 10**9),
        ("what needs no answer is answered too late", Mood.MUTE, 1),
        ("an older version", Mood.OLD, 10**9),
    ):
        with ward.mood(name, mood, times):
            ward.ends(name, ward.submit(seconds=0.2), State.SUCCEEDED)


def _files(ward: _Ward) -> None:
    """The output is cut off or missing; half a file is brought again, and nobody takes it for the whole."""
    name = "the file breaks off once"
    with ward.mood(name, Mood.HALF_FILE, 1):
        job = ward.ends(name, ward.submit(seconds=0.1), State.SUCCEEDED, attempts=2)
    if job is not None and not {output.sha256 for output in job.outputs} & ward.proxy.cut_off:
        ward.wrong.append(f"{name}: the job shows another file than the whole one")
    name = "the file is missing once"
    with ward.mood(name, Mood.NO_FILE, 1):
        ward.ends(name, ward.submit(seconds=0.1), State.SUCCEEDED, attempts=2)
    name = "the file is missing for good"
    with ward.mood(name, Mood.NO_FILE):
        ward.ends(name, ward.submit(seconds=0.1), State.FAILED, attempts=BUDGET, least=BUDGET)


def _failures(ward: _Ward) -> None:
    """The graph is refused, fails, or makes what cannot be shown: the first word is the last one, in a sentence."""
    cases: tuple[tuple[str, int, str, Asked], ...] = (
        ("the output is too large", 1, "too_large", ward.submit("overflows", seconds=0.1)),
        ("no output", 1, "no_output", ward.submit("odd-output", seconds=0.1)),
        ("an output outside the folder", 1, "no_output", ward.submit("odd-output", seconds=0.1, shape="abs")),
        ("200 with node_errors", 1, "invalid_graph", ward.submit("half-wrong", seconds=0.1)),
        ("a node that nobody has", 1, "missing_node", ward.submit("unknown-node", seconds=0.1)),
        ("a node raises", 1, "execution_failed", ward.submit("breaks", seconds=0.1)),
        ("out of memory", 2, "out_of_memory", ward.submit("breaks", seconds=0.1, kind="OOM")),
        ("too long", 1, "too_long", ward.submit("runs-long", seconds=8)),
    )
    for name, attempts, code, asked in cases:
        ward.ends(name, asked, State.FAILED, attempts=attempts, code=code)


def _restarts(ward: _Ward) -> None:
    """ComfyUI is killed, comes back and knows of nothing; later its executor hangs while HTTP is green."""
    name = "killed in the middle"
    asked = ward.submit(seconds=3.0)
    ward.runs(name, asked)
    begun = time.monotonic()
    ward.kitchen.end()
    ward.kitchen.revive()
    _again(ward, asked, name, begun)
    ward.ends(name, asked, State.SUCCEEDED, attempts=2, least=2)


def _again(ward: _Ward, asked: Asked, name: str, begun: float) -> None:
    """Wait until the worker has noticed."""

    def noticed() -> bool:
        job = ward.farm.job(asked)
        return job is not None and (job.attempt > 1 or job.state is not State.RUNNING)

    if wait_until(noticed, PATIENCE_S, 0.05):
        ward.took_s[f"{name}, noticed"] = round(time.monotonic() - begun, 1)
    else:
        ward.wrong.append(f"{name}: nobody noticed")


CASES: Final[tuple[Callable[[_Ward], None], ...]] = (_lies, _files, _failures, _restarts)


def moody(farm: Farm, size: Size) -> Outcome:
    """One fault after the other between one worker and its ComfyUI."""
    farm.publish(workflows())
    kitchen = Kitchen(farm.world.wishes.home / "moody").start()
    proxy = Moody(kitchen.url)
    ward = _Ward(farm, kitchen, proxy)
    worker = farm.worker(COMFY_URL=proxy.url, **QUICK, SLOTS="1")
    try:
        for _ in range(1 if size is Size.CI else 3):
            with Hurry(farm, ward.every):
                for case in CASES:
                    case(ward)
        if worker.process.poll() is not None:
            ward.wrong.append(f"the worker ended: {worker.tail()}")
    finally:
        worker.stop()
        proxy.close()
        kitchen.end()
    tally, wrong = farm.judge(ward.asked)
    count = len(ward.failed)
    tally += Tally(attempted=count, acknowledged=count)
    noticed = [took for name, took in ward.took_s.items() if name.endswith("noticed")]
    figures: dict[str, float | int | str] = {
        "cases": len(ward.asked) + count,
        "sentences judged": len(ward.sentences),
        "a restart noticed s": max(noticed, default=0.0),
    }
    return Outcome(tally, figures, (*ward.wrong, *wrong))


def poison(farm: Farm, size: Size) -> Outcome:
    """
    Jobs that kill or hang their ComfyUI each time, among innocents that wait behind them in the same server's queue.

    In CI the server is brought back by the machine at once; with `all` the worker manages it.
    """
    farm.publish(workflows())
    wrong: list[str] = []
    home = farm.world.wishes.home
    kitchen = Kitchen(home / "poisoned").start()
    # The first picture warms the worker up: before it a silent server is given three times as long.
    worker = farm.worker(COMFY_URL=kitchen.url, **QUICK, SLOTS="3")
    try:
        with Nurse(kitchen):
            # The worker learns how long both take: only then it takes a job while another one runs.
            farm.all_ended([farm.ask(workflow="sleeps", seconds=0.3), farm.ask(workflow="breaks", seconds=0.6)])
            killers = [farm.ask(workflow="breaks", seconds=0.6, kind="os._exit") for _ in range(_COUNT[size])]
            innocents = [farm.ask(workflow="sleeps", seconds=0.3) for _ in range(4 * _COUNT[size])]
            with Hurry(farm, [*killers, *innocents]):
                if not farm.all_ended([*killers, *innocents], 120):
                    wrong.append("poison and innocents have not all ended after 120 s")
        if kitchen.deaths > BUDGET * len(killers):
            wrong.append(f"{len(killers)} poisonous jobs killed ComfyUI {kitchen.deaths} times")
        if kitchen.deaths < len(killers):
            wrong.append(f"{len(killers)} poisonous jobs killed ComfyUI only {kitchen.deaths} times")
        hung, detected = _hangs(farm, kitchen, wrong, BUDGET if size is Size.ALL else 1)
    finally:
        worker.stop()
        kitchen.end()
    if size is Size.ALL:
        wrong += _managed(farm)
    tally, breaches = farm.judge(innocents)
    wrong += breaches
    for one in [*killers, hung] if size is Size.ALL else killers:
        wrong += _is_told(farm, one)
    judged = farm.ledger.get_many([one.job_id for one in innocents])
    paid = [BUDGET - job.budget_left for job in judged]
    if max(paid, default=0) > 1:
        wrong.append(f"an innocent job paid for {max(paid)} attempts beside {len(killers)} poisonous ones")
    count = len(killers) + 1
    return Outcome(
        tally + Tally(attempted=count, acknowledged=count),
        {
            "deaths of ComfyUI": kitchen.deaths,
            "attempts of the poison at most": max(
                job.attempt for job in farm.ledger.get_many([one.job_id for one in killers])
            ),
            "innocents": len(innocents),
            "their attempts at most": max((job.attempt for job in judged), default=0),
            "innocents that paid for the poison": sum(each > 1 for each in paid),
            "a hang noticed p50 s": rank(detected, 0.5) if detected else 0.0,
            "a hang noticed max s": rank(detected, 1) if detected else 0.0,
        },
        tuple(wrong),
    )


def deadly(farm: Farm, size: Size) -> Outcome:
    """
    A job at which its worker dies each time (as when the machine runs out of memory), among innocents.

    What a dead worker held comes back together; taken together again it would die together, until all is given up.
    """
    farm.publish(workflows())
    wrong: list[str] = []
    kitchen = Kitchen(farm.world.wishes.home / "deadly").start()
    deaths = 0
    workers: list[Child] = []
    try:
        workers.append(farm.worker(COMFY_URL=kitchen.url, **QUICK, SLOTS="3"))
        known = [farm.ask(workflow="sleeps", seconds=0.8), farm.ask(workflow="breaks", seconds=0.8)]
        farm.all_ended(known)
        # It never gets to its end.
        killer = farm.ask(workflow="sleeps", seconds=60)
        innocents = [farm.ask(workflow="sleeps", seconds=0.8) for _ in range(4 * _COUNT[size])]
        deadline = time.monotonic() + 150
        while time.monotonic() < deadline:
            job, running = farm.job(killer), kitchen.running()
            if job is not None and job.state in TERMINAL:
                break
            if job is not None and job.attempt and prompt_id_of(job.job_id, job.attempt) in running:
                # What waits behind it in ComfyUI is held by the worker that dies now.
                wait_until(lambda: False, 0.7)
                workers[-1].kill()
                kitchen.end()
                kitchen.start()
                deaths += 1
                workers.append(farm.worker(COMFY_URL=kitchen.url, **QUICK, SLOTS="3"))
            wait_until(lambda: False, 0.1)
        farm.call("POST", f"/api/v2/jobs/{killer.job_id}/cancel")  # no more than a request, if all went as it should
        with Hurry(farm, innocents):
            if not farm.all_ended([killer, *innocents], 90):
                wrong.append("not all has ended")
    finally:
        for worker in workers:
            worker.stop()
        kitchen.end()
    job = farm.job(killer)
    if not 0 < deaths <= BUDGET or job is None or job.state is State.SUCCEEDED:
        wrong.append(f"the deadly job took {deaths} workers down and is {job.state if job else 'gone'}")
    tally, breaches = farm.judge(innocents)
    paid = [BUDGET - each.budget_left for each in farm.ledger.get_many([one.job_id for one in innocents])]
    if max(paid) > 2:
        wrong.append(f"an innocent job paid for {max(paid)} attempts beside a deadly one")
    figures: dict[str, float | int | str] = {
        "workers killed": deaths,
        "innocents": len(innocents),
        "innocents that lost an attempt": sum(each > 1 for each in paid),
        "attempts paid by one at most": max(paid),
    }
    return Outcome(tally + Tally(1, 1), figures, (*wrong, *breaches, *_is_told(farm, killer)))


_COUNT: Final = {Size.CI: 1, Size.ALL: 5}


def _hangs(farm: Farm, kitchen: Kitchen, wrong: list[str], times: int) -> tuple[Asked, list[float]]:
    """
    A node ends the executor's thread: HTTP answers, nothing is rendered. A person restarts it each time.

    After fewer *times* than the job has attempts it is cancelled.
    """
    hung = farm.ask(workflow="breaks", seconds=0.2, kind="SystemExit")
    detected: list[float] = []
    with Hurry(farm, [hung]):
        for attempt in range(1, times + 1):

            def is_over(known: int = attempt) -> bool:
                job = farm.job(hung)
                return job is not None and (
                    job.state in TERMINAL or (job.state is State.QUEUED and job.attempt >= known)
                )

            wait_until(lambda: bool(kitchen.running()), 20, 0.05)
            begun = time.monotonic()
            if not wait_until(is_over, 60, 0.05):
                wrong.append("a hanging executor was not noticed")
                break
            detected.append(time.monotonic() - begun)
            kitchen.end()
            kitchen.revive()
        if times < BUDGET:
            farm.call("POST", f"/api/v2/jobs/{hung.job_id}/cancel")
        farm.all_ended([hung], 60)
    return hung, detected


def _is_told(farm: Farm, asked: Asked) -> list[str]:
    """A poisonous job fails within its budget, and a sentence names the cause."""
    job = farm.job(asked)
    if job is None or job.state is not State.FAILED or job.error is None:
        return [f"the poisonous job {asked.job_id} is {job.state if job else 'not there'}"]
    wrong = [f"“{job.error.sentence()}” {breach}" for breach in breaches_of(job.error.sentence())]
    if job.budget_left > 0:
        # Each attempt in which it ran is paid for; one in which it waited behind other poison is not.
        wrong.append(f"the poisonous job {asked.job_id} was given up with {job.budget_left} attempts left")
    return wrong


def _managed(farm: Farm) -> list[str]:
    """The same with a ComfyUI that the worker starts and restarts itself."""
    folder = managed_folder(farm.world.wishes.home / "managed")
    worker = farm.worker(COMFY_DIR=str(folder), COMFY_PORT="0", **QUICK)
    try:
        killer = farm.ask(workflow="breaks", seconds=0.3, kind="os._exit")
        innocents = [farm.ask(workflow="sleeps", seconds=0.2) for _ in range(4)]
        with Hurry(farm, [killer, *innocents]):
            if not farm.all_ended([killer, *innocents], 180):
                return ["with a managed ComfyUI poison and innocents have not all ended after 180 s"]
        _, wrong = farm.judge(innocents)
        if worker.process.poll() is not None:
            wrong.append(f"the worker ended: {worker.tail()}")
        return wrong + _is_told(farm, killer)
    finally:
        worker.stop()


SCENARIOS = (
    Scenario(
        "F10",
        "ComfyUI drops, deafens, lies, loses files, refuses, fails, forgets; each with its sentence",
        ("P1", "P9", "P16", "P20"),
        moody,
    ),
    Scenario("F10", "jobs that kill or hang their ComfyUI each time, among innocents", ("P9", "P20"), poison),
    Scenario("F10", "a job at which its worker dies each time, among innocents", ("P9",), deadly, in_ci=False),
)
