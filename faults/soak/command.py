"""Be the command `python -m faults soak`."""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from faults.farm import Farm
from faults.soak.page import page
from faults.soak.plan import draw
from faults.soak.run import LEASE_S, Wishes, soak

JOBS_A_MINUTE = 80.0
"""What two cores do with room to spare while they also run the faults."""


def main(arguments: Sequence[str]) -> int:
    """Run a soak and print its report; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m faults soak", description="Mix all faults over a long run and judge every promise."
    )
    parser.add_argument("--rows", type=int, default=2000, help="how many jobs, of rows and programs (default: 2000)")
    parser.add_argument("--workers", type=int, default=4, help="how many workers (default: 4)")
    parser.add_argument("--seed", type=int, default=1, help="what the faults are drawn from (default: 1)")
    parser.add_argument("--minutes", type=float, help="over how long they are submitted (default: 80 jobs a minute)")
    parser.add_argument("--at-most", type=float, metavar="MINUTES", help="submit no longer, though it be less then")
    parser.add_argument("--report", type=Path, help="write the report there (Markdown; default: only printed)")
    chosen = parser.parse_args(arguments)
    if chosen.rows < 1 or chosen.workers < 2:
        parser.error("a soak needs a row and two workers: one is spared, the others are killed now and then")
    length_s = 60 * (chosen.minutes if chosen.minutes else max(0.75, chosen.rows / JOBS_A_MINUTE))
    plan = draw(chosen.seed, chosen.rows, length_s, LEASE_S)
    print(f"{chosen.rows} jobs over {length_s / 60:.1f} minutes, faults from seed {chosen.seed}:")
    print(*(f"  {event}" for event in plan.events), sep="\n")
    with tempfile.TemporaryDirectory(prefix="comfysheet-soak-") as home, Farm(Path(home)) as farm:
        most_s = 60 * chosen.at_most if chosen.at_most else math.inf
        wishes = Wishes(chosen.rows, length_s, chosen.workers, most_s)
        result = soak(farm, wishes, plan, lambda line: print(line, flush=True))
    command = " ".join(["python -m faults soak", *arguments])
    written = page(result, command)
    print(written)
    if chosen.report is not None:
        chosen.report.write_text(written)
    return 1 if result.found.wrong else 0
