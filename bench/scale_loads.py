"""
Make the loads that the autoscaler is judged by: `python -m bench.scale_loads` writes tests/data/load/*.csv anew.

They are made, not recorded: nobody has run this farm for real yet. Each line is a burst: when (seconds since midnight,
UTC), how many jobs at once, of which workflow. How long a job takes is drawn when it is played.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).resolve().parents[1] / "tests" / "data" / "load"
DAY_S: Final = 86_400


class Burst(NamedTuple):
    """Hold jobs that come at once."""

    at_s: int
    jobs: int
    workflow: str


def read(name: str) -> list[Burst]:
    """Read a load by its name."""
    with (FOLDER / f"{name}.csv").open() as file:
        return [Burst(int(line["at_s"]), int(line["jobs"]), line["workflow"]) for line in csv.DictReader(file)]


def office_day(draw: random.Random) -> Iterator[Burst]:
    """Let a few people work from 8 to 18: a burst every five minutes or so, most small, some of a whole sheet."""
    at = 8 * 3600.0
    while (at := at + draw.expovariate(1 / 300)) < 18 * 3600:
        if 12 * 3600 < at < 13 * 3600 and draw.random() < 0.7:
            continue
        jobs = min(100, max(1, round(draw.lognormvariate(1.8, 1.1))))
        yield Burst(int(at), jobs, draw.choices(["sdxl", "flux", "video"], [6, 3, 1])[0])


def night_batch(_draw: random.Random) -> Iterator[Burst]:
    """Send 10,000 rows at 22:00, a hundred every six seconds, and nothing else."""
    for number in range(100):
        yield Burst(22 * 3600 + 6 * number, 100, "sdxl")


def trickle(draw: random.Random) -> Iterator[Burst]:
    """Send one job every quarter of an hour or so, day and night."""
    at = 0.0
    while (at := at + draw.expovariate(1 / 900)) < DAY_S:
        yield Burst(int(at), 1, "flux")


def stampede(draw: random.Random) -> Iterator[Burst]:
    """Let forty people start thirty rows each within five minutes, out of nothing; again an hour later, by half."""
    for begin, people in ((14 * 3600, 40), (15 * 3600 + 600, 20)):
        for at in sorted(draw.randrange(300) for _ in range(people)):
            yield Burst(begin + at, 30, draw.choice(["sdxl", "flux"]))


LOADS: Final = {"office-day": office_day, "night-batch": night_batch, "trickle": trickle, "stampede": stampede}


def main() -> None:
    """Write the files; the same each time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in LOADS.items():
        with (FOLDER / f"{name}.csv").open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(Burst._fields)
            lines.writerows(sorted(make(random.Random(name))))


if __name__ == "__main__":
    main()
