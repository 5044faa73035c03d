"""Run the scenarios: `python -m faults` (what `make faults` runs)."""

from __future__ import annotations

import argparse
import logging
import math
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path

from rich.console import Console

from faults.farm import Farm
from faults.report import Line, Outcome, Tally, told, write
from faults.scenario import Scenario, Size, found
from sandbox.world import ROOT

FARMS = {Size.CI: 4, Size.ALL: 2}
"""How many are broken at once. At full size scenarios are held to seconds, which are more beside three others."""
RESULTS = ROOT / "faults" / "results" / "latest.json"


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; exit code 1 when a promise is broken."""
    # Who is killed in the middle of a request hangs up on the stand-ins; their server would print a trace of it.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    if arguments[:1] == ["soak"]:
        from faults.soak.command import main as soak

        return soak(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description="Break ComfySheet on purpose and count.",
        epilog="`python -m faults soak --help`: all faults mixed, over a long run.",
    )
    parser.add_argument("faults", nargs="*", metavar="F1", help="which faults (default: all)")
    parser.add_argument("--size", type=Size, choices=list(Size), default=Size.CI, help="ci: a sample; all: every point")
    defaults = ", ".join(f"{count} at size {size}" for size, count in FARMS.items())
    parser.add_argument("--farms", type=int, help=f"how many to break at once (default: {defaults})")
    parser.add_argument("--within", type=float, metavar="S", default=math.inf, help="begin nothing after S seconds")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    chosen = parser.parse_args(arguments)
    every = found()
    if unknown := set(chosen.faults) - {one.fault for one in every}:
        parser.error(f"there is no {', '.join(sorted(unknown))}; --list says what there is")
    whole_list = chosen.list or chosen.size is Size.ALL
    wanted = [one for one in every if one.fault in chosen.faults or (not chosen.faults and (whole_list or one.in_ci))]
    console = Console(highlight=False)
    if chosen.list:
        for one in wanted:
            when = "" if one.in_ci else "; not in CI"
            console.print(f"{one.fault:<4} {one.name}  ({', '.join(one.promises)}{when})")
        return 0
    farms = FARMS[chosen.size] if chosen.farms is None else max(1, chosen.farms)
    lines = _all_tried(wanted, min(farms, len(wanted)), chosen.size, console, chosen.within)
    if late := [f"{one.fault} {one.name}" for one in wanted if one not in lines]:
        console.print(f"not begun within {chosen.within:.0f} s:", *late, sep="\n    ", markup=False)
    tried = [lines[one] for one in wanted if one in lines]
    whole = sum((line.outcome.tally for line in tried), Tally())
    console.print(", ".join(f"{name} {value}" for name, value in asdict(whole).items()))
    write(tried, RESULTS, f"python -m faults {' '.join(arguments)}".strip())
    # Nothing tried is nothing shown.
    return 0 if tried and all(line.outcome.holds for line in tried) else 1


def _all_tried(
    wanted: Sequence[Scenario], farms: int, size: Size, console: Console, within_s: float
) -> dict[Scenario, Line]:
    """
    Try *wanted* on so many farms at once, and begin none when *within_s* is over.

    A scenario waits most of its time (for leases, polls and pauses to be over), so several take little more than one.
    The last one, of everything at once, takes longest: it is begun first. The others' order is another each day: where
    the time is short, not the same ones are left out for ever.
    """
    *others, longest = wanted
    random.Random(date.today().isoformat()).shuffle(others)
    waiting, lines = deque([*others, longest]), dict[Scenario, Line]()
    until = time.monotonic() + within_s

    def work() -> None:
        with tempfile.TemporaryDirectory(prefix="comfysheet-faults-") as home, Farm(Path(home)) as farm:
            while waiting and time.monotonic() < until:
                with suppress(IndexError):
                    one = waiting.pop()
                    lines[one] = _tried(one, farm, size, console)
                    farm.polls_over()

    with ThreadPoolExecutor(farms) as pool:
        for done in [pool.submit(work) for _ in range(farms)]:
            done.result()
    return lines


def _tried(one: Scenario, farm: Farm, size: Size, console: Console) -> Line:
    begun = time.monotonic()
    try:
        outcome = one.run(farm, size)
    except Exception as error:
        console.print_exception()
        outcome = Outcome(wrong=(f"the scenario itself failed: {type(error).__name__}: {error}",))
    took_s = time.monotonic() - begun
    line = Line(one.fault, one.name, one.promises, outcome, took_s)
    console.print(told(line), soft_wrap=True, markup=False)
    return line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
