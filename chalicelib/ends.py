"""Do what follows from a job's end, besides showing it: count what it used, and let the next one go."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Ended
from chalicelib.contract.job import Job
from chalicelib.contract.limits import EVERYBODY
from chalicelib.contract.ports import Ledger
from chalicelib.contract.spent import gpu_ms
from chalicelib.contract.states import TERMINAL
from chalicelib.window import Window

log = logging.getLogger(__name__)


class Accounts(Protocol):
    """Know what keys use (`chalicelib.accounts.Accounts`)."""

    def is_new(self, job_id: str, now: int) -> bool:
        """Note that a job is charged; False: it was already."""

    def charge(self, key_id: str, gpu_ms: int, now: int) -> None:
        """Add to what a key has used today."""


class Ends:
    """Settle ends. A message that comes twice lets nothing go twice, and is counted once."""

    def __init__(
        self,
        ledger: Ledger,
        window: Window,
        accounts: Accounts,
        now_ms: Callable[[], int],
        counts: Counts = NOWHERE,
    ) -> None:
        self._counts = counts
        self._ledger = ledger
        self._window = window
        self._accounts = accounts
        self._now_ms = now_ms

    def settle(self, ended: Sequence[Ended]) -> None:
        """Act on ends; raise `Unavailable` when the job table cannot be reached: they are to be told again."""
        of_client: dict[str, set[str]] = defaultdict(set)
        for each in ended:
            of_client[each.client_id].add(each.ended)
        for client_id, job_ids in of_client.items():
            self._window.refill(client_id, job_ids)
        for job in self._ledger.get_many([each.ended for each in ended]):
            self._charge(job)

    def _charge(self, job: Job) -> None:
        used_ms = gpu_ms(job)
        if job.state not in TERMINAL or not job.key_id or not used_ms:
            return
        now = self._now_ms()
        try:
            # An end is told again and again while its row or its webhook waits; it is paid for once.
            if self._accounts.is_new(job.job_id, now):
                self._counts.add(Metric.GPU_SECONDS, used_ms / 1000)
                self._accounts.charge(job.key_id, used_ms, now)
                self._accounts.charge(EVERYBODY, used_ms, now)
        except Unavailable as reason:
            log.warning("not charged", extra={"job_id": job.job_id, "reason": reason.message})
