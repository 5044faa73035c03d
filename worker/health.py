"""
Say whether this worker may take jobs now: ComfyUI answers, its executor is alive, and the clock is right.

A job taken while ComfyUI is away would cost an attempt and wait behind a closed door, while another worker idles.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.ports import Ledger
from worker.comfy.history import Place, ServerFacts
from worker.ports import Comfy, Doorbell, Process, SkewGauge
from worker.settings import Settings

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""A job id that no job has: asking for it is the cheapest question that AWS answers with its time."""

log = structlog.get_logger()


class Health:
    """Judge this worker and its ComfyUI. All slots share one."""

    def __init__(
        self,
        comfy: Comfy,
        doorbell: Doorbell,
        skew: SkewGauge,
        ledger: Ledger,
        settings: Settings,
        *,
        url: str = "",
        process: Process | None = None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        on_change: Callable[[bool], None] = lambda _is_open: None,
    ) -> None:
        self._url = url
        self._process = process
        self._free_bytes = free_bytes
        self._on_change = on_change
        self._comfy = comfy
        self._doorbell = doorbell
        self._skew = skew
        self._ledger = ledger
        self._settings = settings
        self._stuck: set[str] = set()
        self._said: str | None = None
        self._facts: ServerFacts | None = None
        self._clock_known = False
        self._lock = threading.Lock()
        self.is_warm = False
        """Whether ComfyUI has made something for this worker: the first job may load models for minutes."""

    @property
    def facts(self) -> ServerFacts | None:
        """Give what the server said of itself; None: it was not asked yet."""
        return self._facts

    def suspect(self, prompt_id: str) -> None:
        """Note that a prompt got stuck: nothing is taken until it is seen to be gone."""
        with self._lock:
            self._stuck.add(prompt_id)

    def closed_because(self) -> str | None:
        """Say why no job may be taken now; None: all is well. Says a change in the log, once."""
        why = self._clock_fault() or self._disk_fault() or self._process_fault() or self._comfy_fault()
        with self._lock:
            changed, self._said = why != self._said, why
        if changed and why:
            log.warning("taking no jobs", action="health", reason=why, url=self._url)
        elif changed:
            log.info("taking jobs again", action="health", url=self._url)
        self._on_change(why is None)
        return why

    @property
    def said(self) -> str | None:
        """Give what `closed_because` said last, without looking again."""
        return self._said

    def _process_fault(self) -> str | None:
        return self._process.closed_because() if self._process is not None else None

    def _disk_fault(self) -> str | None:
        """Want room for two largest jobs: a download that fills the disk fails every job on this machine."""
        try:
            free = self._free_bytes(self._settings.home)
        except OSError:
            return f"The folder {self._settings.home} (WORKER_HOME) cannot be read."
        if free >= 2 * self._settings.max_output_bytes:
            return None
        free_mb = free // 1_000_000
        return f"The disk is nearly full ({free_mb} MB free at WORKER_HOME): make room, or lower MAX_OUTPUT_MB."

    def _comfy_fault(self) -> str | None:
        if self._doorbell.is_up and self._facts is not None and not self._stuck:
            return None
        try:
            facts = self._comfy.facts()
            if self._is_stuck():
                return "ComfyUI's executor hangs: restart ComfyUI."
        except Unavailable as error:
            return error.message
        with self._lock:
            known, self._facts = self._facts, facts
        if known != facts:
            about = {"comfyui": facts.version, "device": facts.device}
            log.info("ComfyUI is there", action="health", url=self._url, **about)
        return None

    def _is_stuck(self) -> bool:
        with self._lock:
            stuck = set(self._stuck)
        for prompt_id in stuck:
            seen = self._comfy.where(prompt_id)
            if seen.place is Place.RUNNING or (seen.place is Place.PENDING and seen.is_idle):
                return True
            with self._lock:
                self._stuck.discard(prompt_id)
        return False

    def _clock_fault(self) -> str | None:
        limit = self._settings.clock_skew_s
        try:
            if not self._clock_known or abs(self._skew.skew_s) > limit:
                self._ledger.get(NOBODY)
                self._clock_known = True
        except Unavailable as error:
            return error.message
        skew_s = self._skew.skew_s
        if abs(skew_s) <= limit:
            return None
        side = "ahead of" if skew_s > 0 else "behind"
        return f"This machine's clock is {abs(skew_s):.0f} s {side} AWS's: set it (NTP). Leases compare clocks."
