"""Remember what was asked for and promised in a run: what the judge compares with the ledger."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from chalicelib.contract.job import job_id_of
from faults.farm import TENANT, Asked
from faults.soak.plan import Blow


@dataclass
class Row:
    """Be one row that a person typed; *prompt* is nobody else's."""

    desk: int
    prompt: str
    keys: list[str] = field(default_factory=list)
    """The Job IDs that the script gave it, newest last: more than one when it was generated again."""
    acknowledged: set[str] = field(default_factory=set)
    """Those of which the script did not say that they were not sent."""
    is_deleted: bool = False

    @property
    def job_ids(self) -> list[str]:
        return [job_id_of(TENANT, key) for key in self.keys]


@dataclass
class Record:
    """Hold a run's memory. Threads share it; what is counted is counted under the lock."""

    rows: dict[str, Row] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    """Ids of jobs whose cancellation was answered with 200."""
    malformed: list[str] = field(default_factory=list)
    done: Counter[Blow] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    """What went wrong in the harness itself; it makes the run void."""
    storm: tuple[float, float] | None = None
    """When the storm began and ended (Unix seconds)."""
    calls: Counter[str] = field(default_factory=Counter)
    """What the programs' calls were answered, by status; "none": no answer."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def note(self, blow: Blow) -> None:
        with self.lock:
            self.done[blow] += 1

    def trouble(self, sentence: str) -> None:
        with self.lock:
            self.troubles.append(sentence)

    def job_ids(self) -> list[str]:
        """List the ids of all jobs that were ever asked for, whether they exist or not."""
        with self.lock:
            rows = [job_id for row in self.rows.values() for job_id in row.job_ids]
            return list(dict.fromkeys([*rows, *(one.job_id for one in self.asked)]))
