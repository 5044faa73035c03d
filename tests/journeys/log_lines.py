"""Read what a world's functions and workers have logged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.functions import Function
from sandbox.world import World

Line = dict[str, Any]


def raw_lines(world: World, function: Function) -> list[str]:
    """Give all that the function has written, as it stands in its log group."""
    logs: Any = world.cloud.session().client("logs")
    group = f"/aws/lambda/{function.name('local')}"
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    return [line for page in pages for event in page["events"] for line in event["message"].splitlines()]


def lines_of(world: World, function: Function) -> list[Line]:
    """Give the function's lines that are JSON objects: ours, and its metrics."""
    return list(_objects(raw_lines(world, function)))


def worker_lines(world: World, name: str = "worker-1") -> list[Line]:
    """Give the worker's lines."""
    return list(_objects((world.wishes.home / f"{name}.log").read_text().splitlines()))


def metrics_of(lines: list[Line]) -> dict[str, list[float]]:
    """Add up the values of each metric in lines of embedded metric format; check that they are such."""
    found: dict[str, list[float]] = {}
    for line in lines:
        if "_aws" not in line:
            continue
        (told,) = line["_aws"]["CloudWatchMetrics"]
        assert (told["Namespace"], told["Dimensions"], line["stage"]) == ("ComfySheet", [["stage"]], "local")
        assert line["_aws"]["Timestamp"] > 1_700_000_000_000, "milliseconds"
        for metric in told["Metrics"]:
            assert set(metric) == {"Name", "Unit"}
            assert line[metric["Name"]], "every metric that is named has its values"
            found.setdefault(metric["Name"], []).extend(line[metric["Name"]])
    return found


def _objects(lines: list[str]) -> Iterator[Line]:
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)
