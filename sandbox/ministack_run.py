"""
Run MiniStack (1.5.33) so that it keeps its state and never outlives whoever started it.

Runs in MiniStack's own virtual environment, started by sandbox/cloud.py. Stock MiniStack writes its state only on a
clean stop; this launcher also writes it within SNAPSHOT_S of any request, so that a kill loses seconds, not the day.
It stops when its standard input closes, which the system does for a parent however that dies.
MiniStack has archives of events, but its CloudFormation does not know them; this launcher introduces them.
It unpacks a function's whole zip for every process that it starts, and what is imported there is compiled every time:
seconds of each cold start. This launcher unpacks a zip once.
It ends the calls that run when a function is replaced, or when another process of it dies; on AWS they go on in the
environment that they have, and so they do here.
It uses private names of MiniStack: the version is pinned in requirements-cloud.txt.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app as ministack
from ministack.core import lambda_runtime
from ministack.core.persistence import PERSIST_STATE
from ministack.services import eventbridge, lambda_svc
from ministack.services.cloudformation import provisioners

SNAPSHOT_S = 2.0
UNUSED_S = 24 * 3600.0
"""After this time nobody runs what was unpacked."""


class _Watched:
    """Pass every call on to MiniStack, and note that its state may have changed."""

    def __init__(self) -> None:
        self.called = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.called = self.called or scope["type"] == "http"
        await ministack.app(scope, receive, send)


async def _snapshots(watched: _Watched) -> None:
    while True:
        await asyncio.sleep(SNAPSHOT_S)
        if watched.called:
            watched.called = False
            ministack.save_all(ministack._build_persistence_save_dict())
            (Path(os.environ["STATE_DIR"]) / "saved").touch()


class _Archives:
    """Be the resource AWS::Events::Archive of stacks."""

    @staticmethod
    def create(_logical_id: str, properties: dict[str, Any], _stack: str) -> tuple[str, dict[str, Any]]:
        name = str(properties["ArchiveName"])
        told = {**properties, "EventSourceArn": properties["SourceArn"]}
        told["RetentionDays"] = int(properties.get("RetentionDays", 0))
        if eventbridge._create_archive(told)[0] != 200:
            raise ValueError(f"The archive {name} cannot be made.")
        return name, {"Arn": eventbridge._archives[name]["ArchiveArn"]}

    @staticmethod
    def update(
        physical_id: str, _old: dict[str, Any], properties: dict[str, Any], _stack: str
    ) -> tuple[str, dict[str, Any]]:
        eventbridge._archives[physical_id]["RetentionDays"] = int(properties.get("RetentionDays", 0))
        return physical_id, {"Arn": eventbridge._archives[physical_id]["ArchiveArn"]}

    @staticmethod
    def delete(physical_id: str, _properties: dict[str, Any]) -> None:
        eventbridge._delete_archive({"ArchiveName": physical_id})


class _UnpackedOnce(zipfile.ZipFile):
    """
    Be a function's zip that lies unpacked in FUNCTIONS_DIR from its first use on, for all engines that run it.

    As on AWS, where the place is one that nobody writes to: here Python writes there what it has compiled.
    """

    def extractall(self, path: Any = None, members: Any = None, pwd: Any = None) -> None:
        """Make the empty folder *path* a link to the unpacked zip."""
        content = [(entry.filename, entry.CRC) for entry in self.infolist()]
        shelf = Path(os.environ["FUNCTIONS_DIR"])
        unpacked = shelf / hashlib.sha256(repr(content).encode()).hexdigest()[:16]
        if not unpacked.is_dir():
            self._clear(shelf)
            partial = Path(tempfile.mkdtemp(prefix="part-", dir=shelf))
            super().extractall(partial, members, pwd)
            with contextlib.suppress(OSError):  # another engine was faster
                partial.rename(unpacked)
            shutil.rmtree(partial, ignore_errors=True)
        os.utime(unpacked)
        Path(path).rmdir()
        Path(path).symlink_to(unpacked)

    def _clear(self, shelf: Path) -> None:
        shelf.mkdir(parents=True, exist_ok=True)
        for old in shelf.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - old.stat().st_mtime > UNUSED_S:
                    shutil.rmtree(old, ignore_errors=True)


class _Environments:
    """Be MiniStack's way to end a function's processes (invalidate) and to take one back after a call (release)."""

    def __init__(self) -> None:
        self._retired: set[Any] = set()

    def invalidate(
        self, name: str, qualifier: str | None = None, account: str | None = None, region: str | None = None
    ) -> None:
        """End the processes of a function that do nothing; the others take no other call."""
        with lambda_runtime._lock:
            for key, workers in lambda_runtime._workers.items():
                if key.split(":")[-2] != name:
                    continue
                running = [
                    each for each in workers if each.in_use and (each._proc is None or each._proc.poll() is None)
                ]
                self._retired.update(running)
                workers[:] = [each for each in workers if each not in running]
        lambda_runtime.invalidate_worker(name, qualifier, account, region)

    def release(self, worker: Any) -> None:
        """Take a process back; one that was to end ends now."""
        lambda_runtime.release_worker(worker)
        if worker in self._retired:
            self._retired.discard(worker)
            lambda_runtime.kill_workers([worker])


async def _main() -> None:
    environments = _Environments()
    lambda_svc.invalidate_worker, lambda_svc.release_worker = environments.invalidate, environments.release
    lambda_runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": _UnpackedOnce})
    known = {"create": _Archives.create, "update": _Archives.update, "delete": _Archives.delete}
    provisioners._RESOURCE_HANDLERS["AWS::Events::Archive"] = known
    config = Config()
    config.bind = [f"127.0.0.1:{os.environ['GATEWAY_PORT']}"]
    config.loglevel = "WARNING"
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    loop, stop, watched = asyncio.get_running_loop(), asyncio.Event(), _Watched()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.set)

    def wait_for_parent() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_parent, daemon=True).start()
    snapshots = loop.create_task(_snapshots(watched)) if PERSIST_STATE else None
    await serve(watched, config, mode="asgi", shutdown_trigger=stop.wait)  # MiniStack saves once more as it ends
    if snapshots:
        snapshots.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
    # The functions' processes are in this process group (cloud.py makes one) and would stay.
    os.killpg(0, signal.SIGKILL)
