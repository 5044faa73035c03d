"""
Start a worker to which something happens at a named moment: `python -m faults.upset … -- queue`.

What strace cannot name (the commit, the claim) is found by the requests that the worker's libraries send: this launcher
looks at each one before it leaves and after its answer came, from outside the product's code. The moments:

- claimed: the claim was answered with a job;
- inputs: the first input file is about to go to ComfyUI;
- uploading: the first output is about to go to the bucket;
- committing, committed: the commit is about to leave; it was answered.

At the moment, once: `freeze` stops the whole process (SIGSTOP; whoever started it lets it go on), `stop` sends it
SIGTERM and, two seconds later, SIGKILL. The time (monotonic seconds, one clock for the machine) goes into the file
*told*.

Beside that a worker may have a wrong clock (what libfaketime would do, without a package: `time.time` and
`time.time_ns` as Python code sees them; the worker asks nothing else, and monotonic time stays right) and a small disk
of its own (a tmpfs in a mount namespace of its own, or, without the right to that, a bound on the size of its files).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import http.client
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

CLONE_NEWNS: Final = 0x00020000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
GRACE_S: Final = 2.0
STOPPED_WITHIN_S: Final = 0.2
MOMENTS: Final = ("claimed", "inputs", "uploading", "committing", "committed")
DEEDS: Final = ("freeze", "stop")

real_time, real_time_ns = time.time, time.time_ns


class Trap:
    """Do *deed* when *moment* comes, once, and tell when it came."""

    def __init__(self, moment: str, deed: str, told: Path) -> None:
        self.moment = moment
        self._deed = deed
        self._told = told
        self._lock = threading.Lock()
        self._sprung = False

    def at(self, moment: str) -> None:
        """Say that *moment* is now; called by whichever thread is there."""
        with self._lock:
            if moment != self.moment or self._sprung:
                return
            self._sprung = True
        beside = self._told.with_suffix(".part")
        beside.write_text(repr(time.monotonic()))
        beside.replace(self._told)
        if self._deed == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
            # The kernel may stop another thread first, and this one goes on for a moment: long enough to send a commit.
            threading.Event().wait(STOPPED_WITHIN_S)
            return
        os.kill(os.getpid(), signal.SIGTERM)
        killer = threading.Timer(GRACE_S, _pull_the_plug)
        killer.daemon = True
        killer.start()

    def watch_requests(self) -> None:
        """Look at every request of botocore's, and at those of ComfyUI's client that carry input files."""
        from botocore.httpsession import URLLib3Session

        send: Callable[..., Any] = URLLib3Session.send
        put: Callable[..., Any] = http.client.HTTPConnection.putrequest

        def watched_send(session: URLLib3Session, request: Any) -> Any:
            before, after = moments_of(request)
            self.at(before)
            answer = send(session, request)
            if answer.status_code == 200:  # a message of another day's job is refused: that is no claim
                self.at(after)
            return answer

        def watched_put(connection: http.client.HTTPConnection, method: str, url: str, *more: Any, **named: Any) -> Any:
            if method == "POST" and url.endswith("/upload/image"):
                self.at("inputs")
            return put(connection, method, url, *more, **named)

        patched: Any = URLLib3Session
        patched.send = watched_send
        patched = http.client.HTTPConnection
        patched.putrequest = watched_put


def _pull_the_plug() -> None:
    # Where each thread is tells why the worker is still here.
    faulthandler.dump_traceback(sys.stderr)
    os.kill(os.getpid(), signal.SIGKILL)


def moments_of(request: Any) -> tuple[str, str]:
    """Name the moments before and after a request of botocore's; empty: none of ours."""
    target = request.headers.get("X-Amz-Target", b"")
    target = target.decode() if isinstance(target, bytes) else str(target)
    body = request.body if isinstance(request.body, bytes) else b""
    if target.endswith(".UpdateItem") and b'"committed_attempt"' in body:
        return "committing", "committed"
    if target.endswith(".UpdateItem") and b'"claimed"' in body:
        return "", "claimed"
    if request.method == "PUT" and "/outputs/" in str(request.url):
        return "uploading", ""
    return "", ""


class WrongClock:
    """Show Python code a clock that is wrong by *by_s* seconds; a *file*, looked at often, may change that."""

    def __init__(self, by_s: float, file: Path | None) -> None:
        self._by_s = by_s
        self._file = file

    def start(self) -> None:
        """Put the wrong clock in the place of the right one, before any module takes hold of it."""
        time.time = lambda: real_time() + self._by_s
        time.time_ns = lambda: real_time_ns() + int(self._by_s * 1_000_000_000)
        if self._file is not None:
            threading.Thread(target=self._follow, args=(self._file,), daemon=True).start()

    def _follow(self, file: Path) -> None:
        pause = threading.Event()
        while True:
            with contextlib.suppress(OSError, ValueError):  # not written yet, or half written
                self._by_s = float(file.read_text())
            pause.wait(0.02)


def small_disk(folder: Path, megabytes: int) -> str:
    """
    Make *folder* a disk of *megabytes* that only this process sees; say how.

    Without the right to mount, no file may become larger than a megabyte: the write fails all the same.
    """
    folder.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={megabytes}m".encode()
    if (
        libc.unshare(CLONE_NEWNS) == 0
        and libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0
        and libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, options) == 0
    ):
        return "tmpfs"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    return "file size"


def main(arguments: Sequence[str]) -> int:
    """Prepare the upset, then be the worker: its exit code."""
    parser = argparse.ArgumentParser(prog="python -m faults.upset", description="Start a worker and upset it.")
    parser.add_argument("--at", choices=MOMENTS, help="the moment")
    parser.add_argument("--do", choices=DEEDS, default="freeze", help="what happens then (default: freeze)")
    parser.add_argument("--told", type=Path, help="the file that tells when it happened")
    parser.add_argument("--clock-s", type=float, default=0.0, help="how far its clock is ahead")
    parser.add_argument("--clock-file", type=Path, help="a file whose number is used instead, once it is there")
    parser.add_argument("--disk-mb", type=int, help="the size of its disk, mounted at WORKER_HOME")
    parser.add_argument("worker", nargs="+", help="what follows `python -m worker`, after --")
    chosen = parser.parse_args(arguments)
    if (chosen.at is None) != (chosen.told is None):
        parser.error("--at and --told go together")
    if chosen.clock_s or chosen.clock_file:
        WrongClock(chosen.clock_s, chosen.clock_file).start()
    if chosen.disk_mb:
        print(small_disk(Path(os.environ["WORKER_HOME"]), chosen.disk_mb), file=sys.stderr)
    if chosen.at:
        Trap(chosen.at, chosen.do, chosen.told).watch_requests()
    from worker.__main__ import main as work

    return work(chosen.worker)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
