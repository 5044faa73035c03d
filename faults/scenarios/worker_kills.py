"""
Kill workers at each call they make, of the network and of the disk, and let one other worker finish what they left.

Victims come one after another, each with a job of its own that waits for it; all they left is found by one rescuer. A
round of victims is shorter than the visibility of a message: no job meets two of them, and none is given up for that.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import requests
from PIL import Image

from chalicelib.contract.job import output_prefix
from chalicelib.contract.manifest import parse_workflow
from chalicelib.contract.states import TERMINAL, State
from chalicelib.publish import Publisher
from faults.farm import SHORT, Asked, Farm
from faults.kills import FILE_CALLS, NETWORK_CALLS, TRIES, End, Nursery, by_deed, may_trace, points_of, sample, straced
from faults.report import Outcome, Tally, rank
from faults.rows import Rows
from faults.scenario import Scenario, Size
from faults.scenarios.workers import due_s, is_up
from faults.victim import Kind, Point
from infra.workflows import open_blobs
from sandbox.waiting import wait_until
from sandbox.world import Child

T = TypeVar("T")

AT_ONCE: Final = 2
VISIBILITY_S: Final = {Size.CI: 8, Size.ALL: 20}
ROUND_SHARE: Final = 0.7
"""No victim is started later in a round, in visibilities: what the first one left is not to be had yet."""
PATIENCE_S: Final = 60.0
"""How long jobs are waited for, beyond the visibility: whether they end at all."""
JOB_S: Final = 1.0
"""What a job takes at most: 40 steps of 20 ms, a claim, an upload."""
OF_ONE_CLIENT: Final = 3
"""A client has four jobs out at most while there is no worker (chalicelib/window.py)."""
SAMPLES: Final[dict[Kind, int]] = {"network": 6, "file": 4}
ROWS_OF_A_ROUND: Final = 4
MET_LEAST: Final = 0.8
"""Of the points. Threads share connections in many ways: some calls of one life are in no other one."""
STEPS: Final = 40
"""Long enough for a heartbeat."""

INVERT: Final[dict[str, Any]] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}
MANIFEST: Final[dict[str, Any]] = {
    "name": "Invert for the victims",
    "parameters": {"image": {"type": "image", "label": "Image", "sets": {"node": "1", "input": "image"}}},
}


@dataclass
class Found:
    """Gather what rounds brought."""

    asked: list[Asked] = field(default_factory=list)
    rows: list[Asked] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    recoveries_s: list[float] = field(default_factory=list)
    """From a worker's death, or from when the rescuer was up if that was later, until its job had ended."""
    missed: list[Any] = field(default_factory=list)
    """The points that no victim met."""
    wrong: list[str] = field(default_factory=list)


class Slaughter:
    """Hold what all rounds share: the nursery, the folder that victims and rescuers share, the tab."""

    def __init__(self, farm: Farm, home: Path, rows: Rows, visibility_s: int) -> None:
        self._farm = farm
        self._nursery = farm.keep(Nursery, lambda: Nursery(farm.home / "nursery"))
        self._rows = rows
        self._visibility_s = visibility_s
        self.worker_home = home / "worker"
        self._log = home / "strace.log"
        self._asset: dict[str, str] = {}
        self._jobs = 0
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            **farm.world.cloud.worker_env("victim"),
            "COMFY_URL": farm.world.comfy_url,
            **SHORT,
            "SLOTS": "1",
            "VISIBILITY_S": str(visibility_s),
            "WORKER_HOME": str(self.worker_home),
        }
        blobs = open_blobs(farm.world.cloud.session(), farm.outputs["Bucket"])
        Publisher(blobs, lambda: time.time_ns() // 1_000_000).push(
            [parse_workflow("victims-invert", MANIFEST, {}, INVERT, file="invert.yaml")], by="the faults"
        )

    def life(self, kind: Kind) -> list[Point]:
        """Watch a whole life of a worker, and list its points."""
        asked = self._ask(kind, Found())
        end = self._start(None)
        if end.code or end.raised or (job := self._farm.job(asked)) is None or job.state is not State.SUCCEEDED:
            raise RuntimeError(f"a worker that nobody kills does not do its job: {end.code} {end.raised}")
        return points_of(end, kind)

    def at_points(self, kind: Kind, points: Sequence[Point], found: Found) -> None:
        """Kill a worker at each of *points*."""

        def kill(name: str, point: Point) -> End:
            return self._start(point, name)

        self._in_rounds(kind, points, kill, found)

    def by_strace(self, kind: Kind, numbers: Sequence[int], found: Found) -> None:
        """Kill a worker as it enters a system call, for each of *numbers*."""
        calls = NETWORK_CALLS if kind == "network" else FILE_CALLS

        def kill(name: str, number: int) -> End:
            environment = {**self._environment, "WORKER_NAME": name}
            return straced(["worker", "once"], environment, calls, number, self._log)

        self._in_rounds(kind, numbers, kill, found)

    def _in_rounds(self, kind: Kind, places: Sequence[T], kill: Callable[[str, T], End], found: Found) -> None:
        """
        Let a worker with a job of its own die at each of *places*, in as many rounds as that takes.

        What is due differs from life to life: who did not meet its place is followed by another one, TRIES in all.
        """
        left, lock = [(place, TRIES) for place in places], threading.Lock()
        while left:
            with self._round(found) as until, ThreadPoolExecutor(AT_ONCE) as pool:
                with_row = iter((True,) * ROWS_OF_A_ROUND if kind == "network" else ())

                def lane(until: float = until, with_row: Iterator[bool] = with_row) -> None:
                    while time.monotonic() < until:
                        with lock:
                            if not left:
                                return
                            place, tries = left.pop(0)
                            asked = self._ask(kind, found, with_row=next(with_row, False))
                            name = f"victim-{self._jobs}"
                        end = kill(name, place)
                        self._note(end, name, asked, found)
                        if end.is_dead:
                            continue
                        with lock:
                            if tries > 1:
                                left.append((place, tries - 1))
                            else:
                                found.missed.append(place)

                for each in [pool.submit(lane) for _ in range(AT_ONCE)]:
                    each.result()

    @contextmanager
    def _working(self) -> Iterator[Child]:
        """Have a worker that nobody kills run in the victims' folder."""
        worker = self._farm.worker(WORKER_HOME=str(self.worker_home))
        try:
            yield worker
        finally:
            worker.stop()

    def torn(self) -> list[Path]:
        """List what dead workers have left half written in their folder."""
        return [path for path in self.worker_home.rglob("*") if path.name.endswith(".part")]

    def an_hour_later(self) -> None:
        """Let one more worker do a job in the folder, when what lies there is older than an hour."""
        past = time.time() - 2 * 3600
        for path in self.torn():
            os.utime(path, (past, past))
        # It runs until the job is done: its message may have gone to the rescuer that has just stopped.
        asked = self._ask("file", Found())
        with self._working():
            self._farm.all_ended([asked], self._visibility_s + PATIENCE_S)

    @contextmanager
    def _round(self, found: Found) -> Iterator[float]:
        """Let victims die until the time that is given, then have a rescuer end all jobs."""
        begin = len(found.asked), len(found.rows), len(found.ends)
        self._deaths: list[tuple[float, Asked]] = []
        yield time.monotonic() + ROUND_SHARE * self._visibility_s
        asked = found.asked[begin[0] :] + found.rows[begin[1] :]
        with self._working() as rescuer:
            if not wait_until(lambda: is_up(self._farm, rescuer), 120):
                found.wrong.append(f"the rescuer did not start: {rescuer.tail(3)}")
            up_at = time.time()
            if not self._farm.all_ended(asked, self._visibility_s + PATIENCE_S + len(asked)):
                found.wrong.append(f"jobs did not end though a worker ran: {rescuer.tail(3)}")
        # One rescuer does them one after the other, those too whose workers lived.
        job_s = JOB_S * len(asked)
        for at, one in self._deaths:
            job = self._farm.job(one)
            if job is None or job.finished_at is None:
                continue
            ended = job.finished_at / 1000
            found.recoveries_s.append(max(0.0, ended - max(at, up_at)))
            late_s = ended - due_s(at, up_at, self._visibility_s, job_s)
            if late_s > 0:
                found.wrong.append(
                    f"job {job.job_id} ended {ended - at:.0f} s after its worker died, {late_s:.0f} s after it was due"
                )

    def _note(self, end: End, name: str, asked: Asked, found: Found) -> None:
        found.ends.append(end)
        if end.raised or (not end.is_dead and end.code):
            found.wrong.append(f"a worker that was not killed ended with {end.code} {end.raised}")
        if not end.is_dead:
            return
        mine = [one for one in [*found.asked, *found.rows] if self._is_held_by(one, name)]
        own = self._farm.job(asked)
        if not mine and own is not None and own.state is State.QUEUED:
            mine = [asked]
        self._deaths += [(end.at, one) for one in mine]

    def _is_held_by(self, one: Asked, name: str) -> bool:
        job = self._farm.job(one)
        return job is not None and job.state is State.RUNNING and job.owner == name

    def _start(self, point: Point | None, name: str = "watched") -> End:
        environment = {**self._environment, "WORKER_NAME": name}
        return self._nursery.start("worker", environment, point, arguments=["once"]).wait(90)

    def _ask(self, kind: Kind, found: Found, *, with_row: bool = False) -> Asked:
        self._jobs += 1
        if with_row:
            (asked,) = self._rows.type(1, Steps=STEPS)
            self._rows.send([asked])
            found.rows.append(asked)
            return asked
        asked = self._program_asks(kind)
        found.asked.append(asked)
        return asked

    def _program_asks(self, kind: Kind) -> Asked:
        client = f"victims-{self._jobs // OF_ONE_CLIENT}"
        if kind == "network":
            return self._farm.ask(client=client, prompt=f"victim {self._jobs}", steps=STEPS)
        asked = Asked(f"victim-{self._jobs}", client, {"workflow_id": "victims-invert", "inputs": {}})
        asked.body["inputs"] = {"image": f"asset:{self._uploaded(client)}"}
        self._farm.ask_again(asked)
        return asked

    def _uploaded(self, client: str) -> str:
        """Give the id of a picture that *client* has uploaded."""
        if client not in self._asset:
            file = io.BytesIO()
            Image.effect_noise((96, 64), 60).save(file, "PNG")
            answer = requests.post(
                f"{self._farm.world.cloud.api_url}/api/v2/assets",
                files={"file": ("noise.png", file.getvalue(), "image/png")},
                headers={"Authorization": f"Bearer {self._farm.token(client)}"},
                timeout=30,
            )
            answer.raise_for_status()
            self._asset[client] = str(answer.json()["id"])
        return self._asset[client]


def each_call(kind: Kind) -> Any:
    """Make the scenario that kills workers at their calls of one *kind*."""

    def run(farm: Farm, size: Size) -> Outcome:
        found = Found()
        with (
            TemporaryDirectory(prefix="comfysheet-kills-") as folder,
            Rows(farm, f"Victims of {kind} calls") as rows,
        ):
            slaughter = Slaughter(farm, Path(folder), rows, VISIBILITY_S[size])
            life = slaughter.life(kind)
            points = life if size is Size.ALL else sample(life, SAMPLES[kind])
            slaughter.at_points(kind, points, found)
            met = sum(end.is_dead for end in found.ends)
            traced = 0
            if size is Size.ALL and may_trace():
                inside = len(found.ends)
                slaughter.by_strace(kind, range(1, 97, 4) if kind == "network" else range(1, 400, 25), found)
                traced = sum(end.is_dead for end in found.ends[inside:])
            tally, wrong = _judged(farm, rows, found)
            torn = slaughter.torn()
            if kind == "file":
                slaughter.an_hour_later()
                wrong += [f"{path.name} is left in the workers' folder for good" for path in slaughter.torn()]
        dead = [end for end in found.ends if end.is_dead]
        if met < MET_LEAST * len(points):
            wrong.append(f"only {met} of {len(points)} points were met: not {', '.join(map(_told, found.missed))}")
        if size is Size.ALL and may_trace() and not traced:
            wrong.append("strace killed no worker")
        figures: dict[str, float | int | str] = {
            "calls of a life": len(life),
            "points": len(points),
            "points met": met,
            "killed": len(dead),
            "of them by strace": traced,
            "by deed": by_deed(found.ends),
            "lived": len(found.ends) - len(dead),
            "orphan files": _orphans(farm, [*found.asked, *found.rows]),
            "torn files for an hour": len(torn),
            "visibility s": VISIBILITY_S[size],
        }
        if found.recoveries_s:
            for share in (0.5, 0.95, 1):
                figures[f"recovery p{share * 100:.0f} s"] = round(rank(found.recoveries_s, share), 1)
        return Outcome(tally, figures, tuple(wrong))

    return run


def _told(place: Any) -> str:
    return place.told() if isinstance(place, Point) else f"call {place}"


def _judged(farm: Farm, rows: Rows, found: Found) -> tuple[Tally, list[str]]:
    wait_until(lambda: not rows.breaches(found.rows), 20)
    tally, wrong = farm.judge([*found.asked, *found.rows])
    waiting = [one for one in found.asked if (job := farm.job(one)) is not None and job.state not in TERMINAL]
    wrong += [f"job {one.job_id} is still open" for one in waiting]
    return tally, [*found.wrong, *wrong, *rows.breaches(found.rows)]


def _orphans(farm: Farm, asked: Sequence[Asked]) -> int:
    """Count the files of attempts that no job names: what a dead worker had uploaded, and nobody shows."""
    count = 0
    for one in asked:
        job = farm.job(one)
        if job is None:
            continue
        named = {key for output in job.outputs for key in (output.key, output.thumbnail_key)}
        for attempt in range(1, job.attempt + 1):
            prefix = output_prefix(job.client_id, job.job_id, attempt)
            listed = farm.s3.list_objects_v2(Bucket=farm.outputs["Bucket"], Prefix=prefix).get("Contents", [])
            count += sum(each["Key"] not in named for each in listed)
    return count


SCENARIOS = (
    Scenario("F1", "workers are killed at calls of the network", ("P1", "P4", "P5", "P7", "P16"), each_call("network")),
    Scenario("F2", "workers are killed at calls of the disk", ("P1", "P5", "P16"), each_call("file")),
)
