"""
Know what AWS charges and how much of it a job asks for (prices.yaml), and add it up.

Everything here is an estimate from counts; the bill is AWS's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

FILE: Final = Path(__file__).with_name("prices.yaml")
_DAYS_A_MONTH: Final = 30


@dataclass(frozen=True)
class Price:
    """Hold one price: *usd* for *count* units of *what*."""

    usd: float
    count: float
    what: str

    def of(self, units: float) -> float:
        """Give what so many units cost, in US dollars."""
        return units * self.usd / self.count


@dataclass(frozen=True)
class Part:
    """Hold one line of an estimate: how many units of what, and what they cost in US dollars."""

    what: str
    units: float
    usd: float


@dataclass(frozen=True)
class Load:
    """Say what was done: jobs and files in so many days, with so many workers there all the time."""

    days: float
    jobs: float
    files: float
    workers: float = 0


@dataclass(frozen=True)
class Prices:
    """Hold the price list, and how much one of each thing asks for."""

    noted: str
    """Month in which the prices were noted."""
    region: str
    prices: Mapping[str, Price]
    per_job: Mapping[str, float]
    per_file: Mapping[str, float]
    per_day: Mapping[str, float]
    per_worker_day: Mapping[str, float]
    file_mb: float
    kept_days: float
    gpu_hour: float

    def estimate(self, load: Load) -> list[Part]:
        """Give AWS's part of a load, the dearest line first."""
        units: defaultdict[str, float] = defaultdict(float)
        for shares, times in (
            (self.per_job, load.jobs),
            (self.per_file, load.files),
            (self.per_day, load.days),
            (self.per_worker_day, load.workers * load.days),
        ):
            for name, share in shares.items():
                units[name] += share * times
        stored_gb = load.files * self.file_mb / 1000
        units["s3_gb_months"] += stored_gb * self.kept_days / _DAYS_A_MONTH
        parts = [Part(self.prices[name].what, count, self.prices[name].of(count)) for name, count in units.items()]
        return sorted((part for part in parts if part.units), key=lambda part: -part.usd)


@cache
def read_prices(path: Path = FILE) -> Prices:
    """Read the price list; a name in it that has no price raises ValueError."""
    told: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    prices = {name: Price(float(usd), float(count), str(what)) for name, (usd, count, what) in told["prices"].items()}
    shares = {name: told[name] for name in ("per_job", "per_file", "per_day", "per_worker_day")}
    if unknown := sorted({each for share in shares.values() for each in share} - set(prices)):
        raise ValueError(f"{path.name} has no price of {', '.join(unknown)}")
    rest = {name: told[name] for name in ("noted", "region", "file_mb", "kept_days", "gpu_hour")}
    return Prices(prices=prices, **shares, **rest)
