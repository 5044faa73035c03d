"""Hold what this worker knows and has of one ComfyUI server."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.kit import Kit
from worker.comfy.folders import folders_of, sweep
from worker.health import Health
from worker.kit import Lack, kit_of, lacks_of
from worker.pace import Pace
from worker.ports import Comfy, Doorbell, Process

log = structlog.get_logger()


@dataclass
class Server:
    """Gather one ComfyUI's client, doorbell, health, pace and kit. All of its hands share it."""

    url: str
    comfy: Comfy
    doorbell: Doorbell
    health: Health
    pace: Pace
    process: Process | None = None
    """None: somebody else started it."""
    _kit: Kit | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kit(self) -> Kit | None:
        """Give what this server can render, as far as it is known; None: it was not asked yet."""
        return self._kit

    @property
    def is_starting(self) -> bool:
        """Say whether a ComfyUI of ours has not been there yet."""
        return self.process is not None and self.health.facts is None

    def sweep(self, job_id: str, attempt: int) -> None:
        """Remove what a job's attempts up to *attempt* left in ComfyUI's folders, when they are on this machine."""
        facts = self.health.facts
        if facts is not None:
            folders = folders_of(self.url, facts.argv)
            for each in range(1, attempt + 1):
                sweep(folders, f"cs/{job_id}/{each}")

    def ask_kit(self) -> Kit:
        """Read the server's catalogue anew: models and nodes come and go. `Unavailable` when it does not answer."""
        kit = kit_of(self.comfy.object_info())
        with self._lock:
            self._kit = kit
        return kit

    def lacks(self, graph: Mapping[str, Any]) -> Lack | None:
        """
        Say what *graph* needs and this server has not; None: nothing.

        What seems to be lacking is asked for afresh: a model may have been copied there meanwhile.
        """
        if self._kit is not None and not lacks_of(self._kit, graph):
            return None
        try:
            lacks = lacks_of(self.ask_kit(), graph)
        except Unavailable as error:
            # ComfyUI's own answer to the prompt will tell.
            log.warning("the node catalogue was not read", action="kit", url=self.url, reason=error.message)
            return None
        return lacks[0] if lacks else None
