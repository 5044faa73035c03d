"""
Run ComfyUI as a child: start it, wait until it answers, watch it, and start it again when it is dead or hangs.

- It is the leader of a process group of its own, so that all it started ends with it; on Linux the kernel ends it when
  the worker dies, however that happens (prctl PR_SET_PDEATHSIG). Elsewhere a killed worker leaves it behind, and the
  next one says that the port is taken.
- Three restarts within ten minutes are the end: something is wrong that a restart does not heal.
- Its output goes to our log line by line; a reader of its own sees to it that the child never blocks on a full pipe.
- A server of somebody else's on our port is never taken for ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final

import requests
import structlog

from worker.clock import Clock
from worker.comfy.command import ComfyCommand

BOOT_S: Final = 180.0
ASK_AGAIN_S: Final = 0.25
WATCH_S: Final = 1.0
END_S: Final = 5.0
RESTARTS_MOST: Final = 3
WINDOW_S: Final = 600.0
PAUSES_S: Final = (1.0, 5.0, 15.0)
KEPT_LINES: Final = 100
LINE_MOST: Final = 500
READ_MOST_BYTES: Final = 65_536
"""A progress bar, or a node gone wrong, may write for hours without a line's end."""
LAST_WORDS_S: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
_LISTENS: Final = "0A"
_ALARMING: Final = re.compile(r"Traceback|Error\b|Exception|\bFailed\b|out of memory|Killed", re.IGNORECASE)
"""Every good start names CUDA as well; what goes wrong with it is an error or has failed."""

log = structlog.get_logger()


class ManagedComfy:
    """Keep one ComfyUI running. `run` on a thread of its own; everything else from any thread."""

    def __init__(
        self,
        command: ComfyCommand,
        clock: Clock,
        *,
        environment: Mapping[str, str],
        boot_s: float = BOOT_S,
        warm: Callable[[str], None] | None = None,
        on_restart: Callable[[], None] = lambda: None,
        on_give_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = command.url
        self._command = command
        self._clock = clock
        self._environment = environment
        self._boot_s = boot_s
        self._warm = warm
        self._on_restart = on_restart
        self._on_give_up = on_give_up
        self._child: subprocess.Popen[bytes] | None = None
        self._why: str | None = "ComfyUI is starting."
        self._wanted: str | None = None
        """Why a restart is wanted."""
        self._restarted_at: deque[float] = deque(maxlen=RESTARTS_MOST)
        self._reader: threading.Thread | None = None
        self._closing = threading.Event()
        self._bell = threading.Event()
        """Something is worth a look: a restart is wanted, or the end."""
        self._lock = threading.Lock()
        self._ending = threading.Lock()
        """Held while a child is being ended."""
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.restarts = 0
        self.has_given_up = False

    def closed_because(self) -> str | None:
        """Say why it cannot be used now, in a sentence; None: it runs."""
        return self._why

    def restart(self, why: str) -> None:
        """Kill it and start it again; returns at once. While it starts anyway, nothing happens."""
        with self._lock:
            if self._why is not None:
                return
            self._wanted, self._why = why, f"ComfyUI is restarted: {why}."
        self._bell.set()

    def close(self) -> None:
        """End it, and `run`; it is gone when this returns."""
        self._closing.set()
        self._bell.set()
        self._end_child()

    def run(self) -> None:
        """Keep it running until `close`, or until it has died too often: then wait for `close`."""
        try:
            self._keep()
        finally:
            # "The parent's death" of PR_SET_PDEATHSIG is that of this very thread (prctl(2)): it must outlive the
            # child, or the kernel kills a child that `close` has just asked to end.
            self._end_child()

    def _keep(self) -> None:
        while not self._closing.is_set():
            fault = self._live()
            if self._closing.is_set():
                return
            log.error("ComfyUI ended", action="comfyui", url=self.url, reason=fault)
            self._end_child()
            if not self._may_restart():
                self._give_up(fault)
                return
            pause_s = PAUSES_S[min(len(self._restarted_at), len(PAUSES_S)) - 1]
            self._why = f"ComfyUI is started again in {pause_s:.0f} s: {fault}"
            self._clock.wait(self._closing, pause_s)
            if self._closing.is_set():
                return
            self.restarts += 1
            self._on_restart()

    def _live(self) -> str:
        """Let it live once, from the start to its end; a sentence about the end."""
        self._why, self._wanted = "ComfyUI is starting.", None
        self._bell.clear()
        if (fault := self._start()) or (fault := self._wait_until_ready()):
            return fault
        log.info("ComfyUI runs", action="comfyui", url=self.url)
        if self._warm is not None and not self._closing.is_set():
            self._why = "ComfyUI is warming up."
            self._warm(self.url)
        with self._lock:
            self._why = None
        while not self._closing.is_set() and self._wanted is None:
            if (code := self._code()) is not None:
                self._why = "ComfyUI has ended."
                return _ended_with(code)
            self._clock.wait(self._bell, WATCH_S)
            self._bell.clear()
        return f"It is restarted: {self._wanted}."

    def _start(self) -> str | None:
        """Start the child; a sentence when that cannot be."""
        if _is_taken(self._command.port):
            return self._taken()
        try:
            child = subprocess.Popen(
                self._command.line(),
                cwd=self._command.folder,
                env=self._command.environment(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()) if sys.platform == "linux" else None,
            )
        except OSError as error:
            return f"ComfyUI cannot be started with {self._command.python} ({error.strerror})."
        with self._lock:
            self._child = child
        if child.stdout is not None:
            self._reader = threading.Thread(target=self._read, args=(child.stdout,), name="comfyui-log", daemon=True)
            self._reader.start()
        if self._closing.is_set():
            self._end_child()
        return None

    def _wait_until_ready(self) -> str | None:
        begun = self._clock.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            while not self._closing.is_set():
                if (code := self._code()) is not None:
                    return _ended_with(code)
                with contextlib.suppress(requests.RequestException):
                    if session.get(f"{self.url}/system_stats", timeout=2).status_code == 200:
                        return self._taken() if self._is_strangers() else None
                waited_s = self._clock.monotonic() - begun
                if waited_s >= self._boot_s:
                    return f"It did not answer within {self._boot_s:.0f} s of its start."
                self._why = f"ComfyUI is starting ({waited_s:.0f} s)."
                self._clock.wait(self._closing, ASK_AGAIN_S)
        return "It was told to end."

    def _taken(self) -> str:
        return f"Port {self._command.port} is taken by another program: end it, or set COMFY_PORT."

    def _is_strangers(self) -> bool:
        """Say whether somebody else has taken the port while ours was starting, which takes it many seconds."""
        with self._lock:
            child = self._child
        return child is not None and not _is_held_by(child.pid, self._command.port)

    def _may_restart(self) -> bool:
        now = self._clock.monotonic()
        if len(self._restarted_at) == RESTARTS_MOST and now - self._restarted_at[0] < WINDOW_S:
            return False
        while self._restarted_at and now - self._restarted_at[-1] >= WINDOW_S:
            self._restarted_at.clear()
        self._restarted_at.append(now)
        return True

    def _give_up(self, fault: str) -> None:
        self.has_given_up = True
        self._why = f"ComfyUI was restarted {RESTARTS_MOST} times within 10 minutes: {fault}"
        last = " | ".join(list(self.last_lines)[-5:])
        log.error("ComfyUI is given up", action="comfyui", url=self.url, reason=fault, exception=last)
        self._on_give_up()
        while not self._closing.is_set():
            self._clock.wait(self._closing, WATCH_S * 60)

    def _code(self) -> int | None:
        with self._lock:
            return self._child.poll() if self._child is not None else None

    def _end_child(self) -> None:
        """Ask the whole group to end, then make it. Returns when it is gone, whoever began to end it."""
        with self._ending:
            with self._lock:
                child, self._child = self._child, None
            if child is None:
                return
            _signal_group(child, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_S)
            _signal_group(child, getattr(signal, "SIGKILL", signal.SIGTERM))
            child.wait()
            if self._reader is not None:
                # Its last words are in the pipe still; one that left the group may hold the pipe open for ever.
                self._reader.join(LAST_WORDS_S)

    def _read(self, output: IO[bytes]) -> None:
        """Log what it says. A progress bar draws over its line: of that only the last state counts."""
        with output:
            while raw := output.readline(READ_MOST_BYTES):
                line = raw.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2].strip()[:LINE_MOST]
                if not line:
                    continue
                self.last_lines.append(line)
                tell = log.warning if _ALARMING.search(line) else log.debug
                tell("comfyui says", action="comfyui", url=self.url, line=line)


def _ended_with(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"It was ended by {signal.Signals(-code).name}."
    return f"It ended with exit code {code}."


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    """Reach the group: what ComfyUI started outlives it otherwise."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_held_by(pid: int, port: int) -> bool:
    """
    Say whether the process *pid*, or one that it started, listens on *port*.

    Linux alone tells (proc(5): tcp, fd, stat); when nobody is seen there (another user's process, another system), yes.
    """
    sockets = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                parts = line.split()
                if parts[3] == _LISTENS and int(parts[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{parts[9]}]")
    holders = [int(each.name) for each in Path("/proc").glob("[0-9]*") if sockets and _holds(each, sockets)]
    return not holders or any(pid in _ancestry(holder) for holder in holders)


def _holds(process: Path, sockets: set[str]) -> bool:
    try:
        return any(str(file.readlink()) in sockets for file in (process / "fd").iterdir())
    except OSError:
        return False


def _ancestry(pid: int) -> Iterator[int]:
    """Give *pid*, its parent, and so on; stop at what has ended meanwhile."""
    while pid > 0:
        yield pid
        try:
            # The name before it may hold anything, but ends with the last ")".
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Prepare what a child does before it becomes ComfyUI; the library is loaded before the fork."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return prepare
