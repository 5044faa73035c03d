"""
Run a program of ours in this very process, and die at one of its calls: of the network, or of the disk.

The calls are met where Python makes them (socket's methods, opened files, audit events), so the program knows nothing
of it. Death is SIGKILL, and comes where it hurts: before a request leaves; when an answer has come and nobody has read
it; before a file is opened, moved or removed; with half of a write on the disk.

A call is named by what is done and who does it: `receive dynamo.DynamoLedger.commit < settle._Settlement._commit`; its
*turn* counts the calls of that name. A number through all calls would not do: a worker's threads mix them anew each
time.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

ROOT: Final = Path(__file__).resolve().parent.parent
OURS: Final = tuple(str(ROOT / name) for name in ("app.py", "chalicelib/", "worker/"))
ANSWER_S: Final = 30.0
"""How long a victim waits for the answer that it dies of not reading."""

Kind = Literal["network", "file"]

_SOCKET: Final = {
    "connect": "connect",
    "connect_ex": "connect",
    "send": "send",
    "sendall": "send",
    "sendmsg": "send",
    "recv": "receive",
    "recv_into": "receive",
}
_AUDITED: Final = {"os.rename": "rename", "os.remove": "remove", "os.mkdir": "mkdir", "os.utime": "touch"}


@dataclass(frozen=True)
class Point:
    """Name one call: its *kind*, its *name*, and its *turn* (from 1) among those of the same name."""

    kind: Kind
    name: str
    turn: int = 1

    def told(self) -> str:
        """Say it in a line."""
        return f"{self.name} #{self.turn}"


class Watch:
    """Count the calls of this process, and end it at one of them. *tell* takes one line for whoever started it."""

    def __init__(self, point: Point | None, tell: Callable[[str], None]) -> None:
        self._point = point
        self._tell = tell
        self._lock = threading.Lock()
        self._turns: Counter[str] = Counter()
        self._answers: WeakKeyDictionary[socket.socket, int] = WeakKeyDictionary()
        """How often each socket was read since something was sent over it."""
        self.calls: list[tuple[Kind, str]] = []

    def meets(self, kind: Kind, deed: str) -> bool:
        """Note a call; say whether it is the last one."""
        name = f"{deed} {_whose()}"
        with self._lock:
            self.calls.append((kind, name))
            self._turns[name] += 1
            return self._point == Point(kind, name, self._turns[name])

    def die(self) -> None:
        """End here and now."""
        self._tell(json.dumps({"died": self._point.told() if self._point else ""}))
        os.kill(os.getpid(), signal.SIGKILL)
        while True:  # the signal is on its way; nothing more may be done
            time.sleep(1)

    # -- the network --------------------------------------------------------------------------------------------

    def over_sockets(self) -> None:
        """Meet what is sent and received over TCP."""
        for method, deed in _SOCKET.items():
            setattr(socket.socket, method, self._met(getattr(socket.socket, method), deed))

    def _met(self, real: Callable[..., Any], deed: str) -> Callable[..., Any]:
        def call(own: socket.socket, *given: Any, **named: Any) -> Any:
            if (
                own.family in (socket.AF_INET, socket.AF_INET6)
                and self._counts(own, deed)
                and self.meets("network", deed)
            ):
                if deed == "receive":
                    select.select([own], [], [], ANSWER_S)
                self.die()
            return real(own, *given, **named)

        return call

    def _counts(self, own: socket.socket, deed: str) -> bool:
        """
        Say whether this is a call of its own: of an answer's readings the 1st, 2nd, 4th, 8th … are.

        botocore reads some answers byte by byte, and a WebSocket's news are one answer without end.
        """
        with self._lock:
            if deed != "receive":
                self._answers[own] = 0
                return True
            self._answers[own] = times = self._answers.get(own, 0) + 1
            return times & (times - 1) == 0

    # -- the disk -----------------------------------------------------------------------------------------------

    def over_files(self) -> None:
        """Meet what changes files: opening for writing, writing, moving, removing, making folders, touching."""
        sys.addaudithook(self._audited)
        real, watch = io.open, self

        class Written(io.FileIO):
            def write(self, part: Any, /) -> int:
                if watch.meets("file", "write"):
                    super().write(memoryview(part).cast("B")[: len(part) // 2])
                    watch.die()
                return super().write(part)

        def opened(file: Any, mode: str = "r", buffering: int = -1, *given: Any, **named: Any) -> Any:
            """Open as Python does; what is written then goes through `Written`."""
            if not set(mode) & set("wax+") or buffering == 0:
                return real(file, mode, buffering, *given, **named)
            raw = Written(file, mode.replace("b", "").replace("t", ""), named.get("closefd", True), named.get("opener"))
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            words = {name: value for name, value in named.items() if name in ("encoding", "errors", "newline")}
            return io.TextIOWrapper(
                buffered, **dict(zip(("encoding", "errors", "newline"), given, strict=False)), **words
            )

        for module in (builtins, io, sys.modules["_io"]):
            setattr(module, "open", opened)  # noqa: B010 - mypy knows that these are not ours to set

    def _audited(self, event: str, given: tuple[Any, ...]) -> None:
        deed = _AUDITED.get(event)
        if event == "open" and not isinstance(given[0], int) and given[2] & (os.O_WRONLY | os.O_RDWR):
            deed = "open"
        if deed is not None and self.meets("file", deed):
            self.die()


def _whose() -> str:
    """Name who makes the call: the module of ours that it is in, by the function entered first, and who called that."""
    frame: Any = sys._getframe(2)
    edge = caller = ""
    file = ""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(OURS):
            name = f"{Path(code.co_filename).stem}.{code.co_qualname.replace('.<locals>', '')}"
            if file in ("", code.co_filename):
                file, edge = code.co_filename, name
            else:
                caller = name
                break
        frame = frame.f_back
    return " < ".join(filter(None, (edge, caller))) or "nobody of ours"


# -- programs ---------------------------------------------------------------------------------------------------


def run(order: dict[str, Any], tell: Callable[[str], None]) -> int:
    """
    Run what *order* says and *tell* how it ended, a line of JSON; the exit code. Never returns from a death.

    `program`: "worker" (with `arguments`), or a function of app.py (with `event`). `point`: where to die (None:
    nowhere). `ahead_s`: what our own clock is ahead by; AWS's signatures keep the true time.
    """
    watch = Watch(Point(**order["point"]) if order.get("point") else None, tell)
    watch.over_sockets()
    watch.over_files()
    if ahead_ns := int(order.get("ahead_s", 0) * 1e9):
        real = time.time_ns
        time.time_ns = lambda: real() + ahead_ns
    told: dict[str, Any] = {}
    try:
        if order["program"] == "worker":
            from worker.__main__ import main

            code = main(order["arguments"])
        else:
            import app

            context = SimpleNamespace(aws_request_id=f"victim-{os.getpid()}", function_name=order["program"])
            told["answer"] = getattr(app, order["program"])(order["event"], context)
            code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except Exception as error:
        told["raised"] = f"{type(error).__name__}: {error}"
        code = 1
    tell(json.dumps({**told, "calls": watch.calls}, default=str))
    return code
