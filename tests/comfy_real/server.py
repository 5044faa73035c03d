"""Start, stop and kill a ComfyUI for tests: the real one as a child process, or the stand-in in this process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Protocol

import requests

from sandbox.comfy import ComfyStandIn
from sandbox.waiting import wait_until
from tests.comfy_real.install import COMFY, HOME, PYTHON

BOOT_S = 120.0


class ComfyServer(Protocol):
    """Be a ComfyUI that a test may kill."""

    url: str
    folder: Path
    """It holds input/, output/ and temp/."""

    def kill(self) -> None:
        """End it without a word; queue and history are gone."""

    def start(self) -> None:
        """Start it (again), at the same address."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StandIn:
    """Be the stand-in, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._running: ComfyStandIn | None = None

    def start(self) -> None:
        self._running = ComfyStandIn(self.folder, instant=True, test_nodes=True, port=self._port).start()

    def kill(self) -> None:
        if self._running is not None:
            self._running.stop()


class Real:
    """Be ComfyUI itself, as a child process on the CPU."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._child: subprocess.Popen[bytes] | None = None
        nodes = folder / "custom_nodes"
        nodes.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("nodes.py"), nodes / "comfysheet_test_nodes.py")

    def line(self) -> list[str]:
        own = ["--cpu", "--disable-api-nodes", "--base-directory", str(self.folder)]
        other = ["--database-url", "sqlite:///:memory:", "--front-end-root", str(HOME / "front")]
        listen = ["--listen", "127.0.0.1", "--port", str(self._port)]
        return [str(PYTHON), str(HOME / "start.py"), str(COMFY / "main.py"), *listen, *own, *other]

    def start(self) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}
        log = (self.folder / "comfyui.log").open("ab")
        with log:
            self._child = subprocess.Popen(
                self.line(), cwd=COMFY, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        if not wait_until(self._answers, BOOT_S, 0.2):
            said = (self.folder / "comfyui.log").read_text(errors="replace")[-3000:]
            self.kill()
            raise RuntimeError(f"ComfyUI did not start:\n{said}")

    def _answers(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            raise RuntimeError((self.folder / "comfyui.log").read_text(errors="replace")[-3000:])
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/system_stats", timeout=2).status_code == 200
        return False

    def kill(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()


class Given:
    """Be a server that somebody else runs (COMFY_URL): it has no test nodes and is not killed."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def start(self) -> None:
        requests.get(f"{self.url}/system_stats", timeout=10).raise_for_status()

    def kill(self) -> None:
        """Leave it alone."""
