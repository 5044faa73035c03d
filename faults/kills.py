"""
Kill programs at a call of their own: from inside (`Nursery`, any named point, cheap) or from outside (`Straced`, by the
number of a system call, where strace is installed and may trace).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from faults.victim import Kind, Point
from sandbox.world import ROOT

NETWORK_CALLS: Final = "connect,sendto,sendmsg,recvfrom,recvmsg"
TRIES: Final = 4
FILE_CALLS: Final = "openat,write,rename,unlink,mkdir,ftruncate,fsync"


@dataclass(frozen=True)
class End:
    """Say how a victim ended: *died* names the call (empty: it lived), else what it answered or raised."""

    died: str = ""
    at: float = 0.0
    """When, in seconds since the epoch."""
    code: int = 0
    answer: Any = None
    raised: str = ""
    calls: Sequence[tuple[Kind, str]] = ()
    cpu_s: float = 0.0

    @property
    def is_dead(self) -> bool:
        return bool(self.died)


@dataclass
class Victim:
    """Be a process that runs; `wait` for its end."""

    number: int
    log: Path
    _over: threading.Event = field(default_factory=threading.Event)
    _end: End | None = None

    def ended(self, end: End) -> None:
        """Note the end."""
        self._end = end
        self._over.set()

    def wait(self, patience_s: float = 60) -> End:
        """Wait for the end; raise TimeoutError with the end of its log."""
        if not self._over.wait(patience_s) or self._end is None:
            raise TimeoutError(f"a victim did not end in {patience_s:.0f} s:\n{self.tail()}")
        return self._end

    def tail(self, lines: int = 12) -> str:
        """Give the end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


class Nursery:
    """Have victims born (`faults.nursery`). A context manager: all of them end with it. Threads may share it."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._lock = threading.Lock()
        self._victims: dict[int, Victim] = {}
        self._born = 0
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)}
        with (home / "nursery.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "faults.nursery"],
                cwd=ROOT,
                env={**environment, "AWS_DEFAULT_REGION": "us-east-1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._ready = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="nursery", daemon=True)
        self._listener.start()

    def __enter__(self) -> Nursery:
        if not self._ready.wait(60) or self._process.poll() is not None:
            self.__exit__(None, None, None)
            raise RuntimeError(f"The nursery did not start: {(self._home / 'nursery.log').read_text()[-800:]}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(5)

    def start(
        self,
        program: str,
        environment: Mapping[str, str],
        point: Point | None = None,
        *,
        arguments: Sequence[str] = (),
        event: Mapping[str, Any] | None = None,
        ahead_s: float = 0,
    ) -> Victim:
        """Start *program* (`faults.victim.run`), to die at *point* (None: it lives)."""
        with self._lock:
            self._born += 1
            victim = Victim(self._born, self._home / f"victim-{self._born}.log")
            self._victims[victim.number] = victim
            order = {
                "number": victim.number,
                "program": program,
                "arguments": list(arguments),
                "event": event,
                "environment": dict(environment),
                "log": str(victim.log),
                "point": asdict(point) if point else None,
                "ahead_s": ahead_s,
            }
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        return victim

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            if told.get("ready"):
                self._ready.set()
                continue
            with self._lock:
                victim = self._victims.pop(told["number"])
            calls = [(kind, name) for kind, name in told.get("calls", ())]
            victim.ended(
                End(
                    told.get("died", ""),
                    time.time(),
                    told["code"],
                    told.get("answer"),
                    told.get("raised", ""),
                    calls,
                    told["cpu_s"],
                )
            )
        self._ready.set()


def points_of(end: End, kind: Kind) -> list[Point]:
    """List the points of a life that was watched to its end, in the order in which it met them."""
    turns: Counter[str] = Counter()
    found = []
    for each, name in end.calls:
        if each == kind:
            turns[name] += 1
            found.append(Point(kind, name, turns[name]))
    return found


def until_dead(one: Callable[[], End]) -> End:
    """
    Let *one* victim after the other live until one dies, at most TRIES of them; the last one's end.

    What is due differs, and threads share connections in many ways: a call of one life is not in each other one.
    """
    end = one()
    for _ in range(TRIES - 1):
        if end.is_dead:
            break
        end = one()
    return end


def sample(points: Sequence[Point], most: int) -> list[Point]:
    """Take *most* of *points*, spread evenly over the life, the last one included."""
    if len(points) <= most:
        return list(points)
    return [points[round(number * (len(points) - 1) / (most - 1))] for number in range(most)]


# -- strace -------------------------------------------------------------------------------------------------------


def may_trace() -> bool:
    """Say whether strace is here and may trace a child of ours."""
    if shutil.which("strace") is None:
        return False
    tried = subprocess.run(["strace", "-f", "-qq", "-o", os.devnull, "true"], capture_output=True, timeout=20)
    return tried.returncode == 0


def straced(command: Sequence[str], environment: Mapping[str, str], calls: str, number: int, log: Path) -> End:
    """
    Run `python -m` *command* and kill it as any of its threads enters its *number*-th system call of *calls*.

    strace counts for each thread and each name of a call by itself.
    """
    tracing = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
    tracing += ["-e", f"inject={calls}:signal=SIGKILL:when={number}"]
    with log.open("ab") as output:
        run = subprocess.run(
            [*tracing, sys.executable, "-m", *command],
            cwd=ROOT,
            env=dict(environment),
            stdout=output,
            stderr=output,
            timeout=120,
            check=False,
        )
    # strace ends as its tracee did.
    died = f"{calls.partition(',')[0]}… {number}" if run.returncode in (-9, 137) else ""
    return End(died, time.time(), run.returncode)


def by_deed(ends: Iterable[End]) -> str:
    """Count deaths by what was done, in a line."""
    counted = Counter(end.died.partition(" ")[0] for end in ends if end.is_dead)
    return " ".join(f"{deed} {count}" for deed, count in sorted(counted.items()))
