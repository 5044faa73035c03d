"""Say what a scenario is, and find all of them: each module of `faults.scenarios` names its own in SCENARIOS."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from faults import scenarios
from faults.farm import Farm
from faults.report import Outcome


class Size(StrEnum):
    """Say how much is tried: a sample that takes seconds (CI), or everything (before a release)."""

    CI = "ci"
    ALL = "all"


@dataclass(frozen=True)
class Scenario:
    """
    Describe a fault: its number (F1 to F18, as in docs/promises.md), what is done, and the promises that it tries.

    *run* is handed a running farm that other scenarios have used before and will use after it: it starts its own
    workers, and leaves neither a worker nor an open job nor a fault behind.
    """

    fault: str
    name: str
    promises: tuple[str, ...]
    run: Callable[[Farm, Size], Outcome]
    in_ci: bool = True
    """False: it takes too long for each push, and runs with `--size all` or when its fault is named."""


def found() -> list[Scenario]:
    """Give all scenarios, by number."""
    modules = [
        importlib.import_module(f"faults.scenarios.{each.name}") for each in pkgutil.iter_modules(scenarios.__path__)
    ]
    return sorted(
        (one for module in modules for one in module.SCENARIOS), key=lambda one: (int(one.fault[1:]), one.name)
    )
