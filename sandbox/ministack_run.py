"""
Run MiniStack (1.5.33) so that it keeps its state and never outlives whoever started it.

Runs in MiniStack's own virtual environment, started by sandbox/cloud.py. Stock MiniStack writes its state only on a
clean stop; this launcher also writes it within SNAPSHOT_S of any request, so that a kill loses seconds, not the day.
It stops when its standard input closes, which the system does for a parent however that dies.
MiniStack has archives of events, but its CloudFormation does not know them; this launcher introduces them.
It uses private names of MiniStack: the version is pinned in requirements-cloud.txt.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack import app as ministack
from ministack.core.persistence import PERSIST_STATE
from ministack.services import eventbridge
from ministack.services.cloudformation import provisioners

SNAPSHOT_S = 2.0


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


async def _main() -> None:
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
