"""
Tell CloudWatch what was counted: one line of embedded metric format (EMF) a call, written by Powertools.

A log line costs no request and no time of a call. The one dimension is the stage: each further one would make, and
bill, a metric of its own for each of its values. Numbers that are only added up are added up here, so that a call of a
hundred rows writes one number; of durations every value is kept, for percentiles are made of them.

Powertools' own decorator does not fit a Chalice handler (it passes one argument), so app.py tells at the end of a call.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections import defaultdict
from typing import Final, TextIO

from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from chalicelib.contract.counts import UNITS, Metric

log = logging.getLogger(__name__)

NAMESPACE: Final = "ComfySheet"
VALUES_MOST: Final = 99
"""Of one metric in one line: EMF takes 100, and Powertools (3.37) writes out by itself when it has that many."""

_EACH: Final = frozenset({Metric.COMMIT_TO_CELL})
"""Those of which every value is kept."""


class Metrics:
    """Collect the numbers of one call. One call at a time, as Lambda makes them; its threads may share it."""

    def __init__(self, stage: str, out: TextIO | None = None) -> None:
        self._stage = stage
        self._out = out
        self._values: dict[Metric, list[float]] = defaultdict(list)

    def add(self, metric: Metric, value: float = 1) -> None:
        """Count *value*, in the metric's own unit. What is no finite number is left out: it is no JSON either."""
        if math.isfinite(value):
            self._values[metric].append(value)

    def tell(self) -> None:
        """
        Write what was collected, if there is anything, and begin anew.

        Raise nothing: what was done stays done, and must neither come again nor be called failed for a figure's sake.
        """
        values, self._values = self._values, defaultdict(list)
        try:
            self._write(values)
        except Exception:
            log.exception("figures not told")

    def _write(self, values: dict[Metric, list[float]]) -> None:
        while values:
            line = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service="")
            line.add_dimension("stage", self._stage)
            for metric, found in sorted(values.items()):
                del values[metric]
                if metric not in _EACH:
                    found = [sum(found)]
                elif rest := found[VALUES_MOST:]:
                    values[metric] = rest
                for value in found[:VALUES_MOST]:
                    line.add_metric(metric.value, UNITS.get(metric, "Count"), value)
            # sys.stdout as it is now: tests and the runtime put their own in its place.
            print(json.dumps(line.serialize_metric_set()), file=self._out or sys.stdout, flush=True)
