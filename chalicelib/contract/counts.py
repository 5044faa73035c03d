"""
Name everything that is counted, and how use cases count it.

A use case is handed `Counts`; where the numbers go is `chalicelib.metrics`. Each name stands here once: alarms and the
dashboard (infra/resources.yaml) are held against this list by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, Protocol

Unit = Literal["Count", "Seconds", "Milliseconds", "Percent"]


class Metric(StrEnum):
    """Name one metric, as CloudWatch shows it. What happened is added up; what stands is told by the sweeper."""

    # -- the API
    JOBS_ACCEPTED = "JobsAccepted"
    """New jobs, of sheets and programs; a repeated submission is none."""
    ROWS_REFUSED = "RowsRefused"
    """Rows of a sheet that were not accepted for what they say (a wrong value, no workflow)."""
    ROWS_TURNED_AWAY = "RowsTurnedAway"
    """Rows that were not accepted because a limit was reached."""
    REQUESTS_REFUSED = "RequestsRefused"
    """Answers 400 to 499 but 429."""
    REQUESTS_TURNED_AWAY = "RequestsTurnedAway"
    """Answers 429: a limit was reached."""
    REQUESTS_FAILED = "RequestsFailed"
    """Answers from 500 on, and faults that had no answer of ours."""

    # -- completion
    JOBS_SUCCEEDED = "JobsSucceeded"
    JOBS_FAILED = "JobsFailed"
    JOBS_CANCELED = "JobsCanceled"
    ROWS_WRITTEN = "RowsWritten"
    """Ends that their rows show."""
    ROWS_GONE = "RowsGone"
    """Ends whose rows were not there."""
    ROWS_GIVEN_UP = "RowsGivenUp"
    """Rows that alone refused to be written."""
    ROWS_PARKED = "RowsParked"
    """Rows that wait because their spreadsheet refuses us."""
    COMMIT_TO_CELL = "CommitToCellMs"
    """From a job's end to the write that shows it."""
    GPU_SECONDS = "GpuSeconds"
    SHEETS_CALLS = "SheetsCalls"
    SHEETS_BUSY = "SheetsBusy"
    """Calls that Google answered by 429 or 5xx, or not at all."""
    SHEETS_REFUSED = "SheetsRefused"
    """Calls that Google refused for what they were: not shared, deleted, locked."""
    COMPLETION_FAULTS = "CompletionFaults"
    """Faults of ours while rows, ends or errands were worked on."""

    # -- delivery
    WEBHOOKS_POSTED = "WebhooksPosted"
    WEBHOOKS_FAILED = "WebhooksFailed"
    """Attempts that were not answered by 2xx; most come again."""
    WEBHOOKS_GIVEN_UP = "WebhooksGivenUp"
    WEBHOOKS_OFF = "WebhooksOff"
    """Endpoints that were switched off because they failed for days, or were gone."""
    DELIVERY_FAULTS = "DeliveryFaults"

    # -- the sweeper, each minute
    SWEEPS = "Sweeps"
    """1 a round: where it lacks, nobody closes gaps."""
    JOBS_RESENT = "JobsResent"
    JOBS_GAVE_UP = "JobsGaveUp"
    JOBS_WAITING = "JobsWaiting"
    """Open jobs that nobody works on, held ones included."""
    JOBS_HELD = "JobsHeld"
    JOBS_RUNNING = "JobsRunning"
    JOBS_STUCK = "JobsStuck"
    """Jobs that count as running though their lease ended more than five minutes ago."""
    OLDEST_WAIT = "OldestWaitS"
    WORKERS_ALIVE = "WorkersAlive"
    """Workers that were heard lately and take jobs."""
    GPUS_OPEN = "GpusOpen"
    WORKER_SILENCE = "WorkerSilenceS"
    """How long jobs have waited while no worker was heard that takes any; 0: one was, or none wait."""
    SHEETS_PARKED = "SheetsParked"
    GPU_SECONDS_TODAY = "GpuSecondsToday"
    """Since midnight UTC."""
    GPU_BUDGET_USED = "GpuBudgetUsedPercent"
    """Of the stage's seconds a day; told only where there is such a bound."""

    # -- the autoscaler, each minute where there is one
    SCALES = "Scales"
    """1 a round in which every pool answered: where it lacks, machines are not looked after."""
    MACHINES = "Machines"
    """Rented ones, those that are starting included."""
    MACHINES_NEEDED = "MachinesNeeded"
    MACHINES_DEAD = "MachinesDead"
    """Rented ones that never showed a worker, or fell silent."""
    DOLLARS_TODAY = "DollarsToday"
    DOLLARS_SPENT = "DollarsSpent"
    """1 while nothing more is rented because a bound of dollars is reached."""


UNITS: Final[Mapping[Metric, Unit]] = {
    Metric.COMMIT_TO_CELL: "Milliseconds",
    Metric.GPU_SECONDS: "Seconds",
    Metric.OLDEST_WAIT: "Seconds",
    Metric.WORKER_SILENCE: "Seconds",
    Metric.GPU_SECONDS_TODAY: "Seconds",
    Metric.GPU_BUDGET_USED: "Percent",
}
"""Units of those that are no plain counts."""


class Counts(Protocol):
    """Take numbers (`chalicelib.metrics.Metrics`)."""

    def add(self, metric: Metric, value: float = 1) -> None:
        """Count *value*, in the metric's own unit. Nothing is raised."""


class Uncounted:
    """Take numbers and forget them."""

    def add(self, metric: Metric, value: float = 1) -> None:
        """Forget *value*."""


NOWHERE: Final = Uncounted()
