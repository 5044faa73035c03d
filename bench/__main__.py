"""Run every measurement: `python -m bench` (what `make bench` runs)."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bench.api import measure as measure_api
from bench.figures import Figure, single, spread, table, write
from bench.line import Line
from bench.scale import measure as measure_scale
from bench.sheets import measure as measure_sheets
from bench.worker import measure as measure_worker
from sandbox.world import ROOT, Wishes, World

RESULTS = ROOT / "bench" / "results" / "latest.json"


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, write the JSON file; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure ComfySheet on this machine.")
    parts = ("line", "api", "sheets", "worker", "scale")
    parser.add_argument("--only", choices=parts, help="measure one part; the other figures are kept")
    parser.add_argument("--quick", action="store_true", help="fewer samples: to see that it runs")
    chosen = parser.parse_args(arguments)
    few, many = (3, 5) if chosen.quick else (10, 30)
    console = Console(highlight=False)
    console.print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    figures: dict[str, Figure] = {}

    def note(name: str, figure: Figure) -> None:
        figures[name] = figure
        console.print(f"  {name} {figure.to_json()}")

    if chosen.only in (None, "worker"):
        measure_worker(note, quick=chosen.quick)
    if chosen.only in (None, "line"):
        _line(note, few, many)
    if chosen.only in (None, "api"):
        measure_api(note, quick=chosen.quick)
    if chosen.only in (None, "sheets"):
        measure_sheets(note, quick=chosen.quick)
    if chosen.only in (None, "scale"):
        console.print(measure_scale(lambda name, value, unit: note(name, single(value, unit, 1))))
    console.print(table(figures))
    write(figures, RESULTS)
    console.print(f"written to {RESULTS.relative_to(ROOT)}")
    return 0


def _line(note: Callable[[str, Figure], None], few: int, many: int) -> None:
    """Measure the whole line, and the API."""
    with tempfile.TemporaryDirectory(prefix="comfysheet-bench-") as home:
        with World(Wishes(home=Path(home), step_ms=0)) as world:
            line = Line(world)
            line.warm_up()
            note("row_click_to_done_ms", spread(line.row_click_to_done_ms(few), "ms"))
            took_ms, calls = line.hundred_rows()
            note("rows_per_min_instant", single(100 * 60_000 / took_ms, "rows/min", 100))
            note("sheet_calls_per_100_rows", single(calls, "calls", 100))
        # Without a worker: what is submitted here is not rendered while it is measured.
        with World(Wishes(home=Path(home), step_ms=0, start_worker=False)) as world:
            line = Line(world)
            note("submit_1_ms", spread(line.submit_ms(1, many), "ms"))
            note("submit_100_ms", spread(line.submit_ms(100, few), "ms"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
