"""
Load the API and the completion, and see how what they do grows: `python -m bench.load` (what `make load` runs).

Parts: `stage` (the deployed API over HTTP, 1 to 64 clients), `flood` (of one key, beside another), `desk` (the same
calls in this process: whose the time is), `table` (every reading operation on 100 to 100,000 jobs), `sheet` (completion
on sheets of up to 10,000 rows), `growth` (workflows, webhooks, the worker's memory), `fair` (two tenants).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence

from rich.console import Console

from bench import curves, load_desk, load_fair, load_growth, load_sheet, load_stage, load_table
from bench.curves import Curve
from bench.figures import Figure, table, write
from sandbox.world import ROOT

FIGURES = ROOT / "bench" / "results" / "load.json"
CURVES = ROOT / "bench" / "results" / "load-curves.json"
PARTS = {
    "stage": load_stage.measure,
    "flood": load_stage.flood,
    "desk": load_desk.measure,
    "table": load_table.measure,
    "sheet": load_sheet.measure,
    "growth": load_growth.measure,
    "fair": load_fair.measure,
}


def main(arguments: Sequence[str]) -> int:
    """Measure what was asked for, print tables, write JSON files; the exit code: 1 when something was lost."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.load", description="Load ComfySheet on this machine and see how its times grow."
    )
    parser.add_argument("--only", choices=[*PARTS], action="append", help="measure this part (may be said again)")
    parser.add_argument("--quick", action="store_true", help="small and few: to see that it runs")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False)
    console.print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}; {_busy()}")
    figures: dict[str, Figure] = {}
    broken: list[str] = []
    drawn: list[Curve] = []

    def note(name: str, figure: Figure) -> None:
        figures[name] = figure
        console.print(f"  {name} {figure.to_json()}", markup=False, soft_wrap=True)

    def say(text: str) -> None:
        console.print(f"  {text}", markup=False, soft_wrap=True)
        if text.startswith("BROKEN"):
            broken.append(text)

    for part in chosen.only or PARTS:
        console.print(f"{part} ({_busy()})")
        drawn += PARTS[part](note, say, quick=chosen.quick) or []
    console.print(table(figures))
    for over in dict.fromkeys(curve.over for curve in drawn):
        console.print(f"Growth over {over}")
        console.print(curves.table([curve for curve in drawn if curve.over == over]))
    write(figures, FIGURES)
    if drawn:
        curves.write(drawn, CURVES)
    console.print(f"written to {FIGURES.relative_to(ROOT)} and {CURVES.relative_to(ROOT)}")
    for text in broken:
        console.print(text, markup=False)
    return 1 if broken else 0


def _busy() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
