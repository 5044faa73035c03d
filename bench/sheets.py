"""
Measure what sheets ask of Google and of the script, against the emulated Google.

The script's and Google's own times are emulated (published single measurements); the number of calls, the quota and
the API's time are real.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figure, single, spread
from bench.person import Yes
from sandbox.apps_script import ScriptProject
from sandbox.apps_script_pace import Pace
from sandbox.apps_script_run import Selection
from sandbox.example import HEADERS
from sandbox.world import ROOT, Wishes, World

Note = Callable[[str, Figure], None]


def measure(note: Note, *, quick: bool) -> None:
    """Measure the menu with many rows, and completion in emulated time."""
    _menu(note, 200 if quick else 1000)
    _completion(note, quick=quick)


def _menu(note: Note, rows: int) -> None:
    """Press Generate all pending for *rows* rows; the API is real, Google's pace is emulated."""
    with (
        tempfile.TemporaryDirectory(prefix="comfysheet-bench-") as home,
        World(Wishes(home=Path(home), start_worker=False)) as world,
    ):
        sheet = world.book.sheets[0]
        with world.book.editing("person"):
            sheet.insert_rows(sheet.rows, rows)
            for row in range(20, 20 + rows):
                sheet.enter(row, HEADERS.index("Prompt"), f"row {row}")
                sheet.enter(row, HEADERS.index("Workflow"), "empty-color")
        yes = Yes()
        project = ScriptProject(ROOT / "apps_script", world.book, properties=world.properties, ui=yes, pace=Pace())
        project.run("generateAllPending", Selection(sheet.gid, ()))
        run = project.log[-1]
        started = sum(sheet.cell(row, HEADERS.index("Status")).formatted == "queued" for row in range(20, 20 + rows))
        if started != rows:
            raise RuntimeError(f"{started} of {rows} rows were started: {yes.said[-1:]}")
        note("menu_rows", single(rows, "rows", rows))
        note("menu_script_s", single(run.emulated_s or 0.0, "s, emulated", rows))
        note("menu_host_calls", single(run.host_calls, "calls", rows))
        note("menu_fetch_calls", single(len(run.fetches), "calls", rows))
        note("menu_api_ms", spread([fetch.seconds * 1000 for fetch in run.fetches], "ms a request"))


def _completion(note: Note, *, quick: bool) -> None:
    # The runs are tests as well: they judge what they do.
    from tests.sheet_time.runs import Outcome, busy_sheets, human_edits, storm

    def judged(outcome: Outcome) -> dict[str, float]:
        if outcome.wrong or outcome.stray or outcome.lost:
            raise RuntimeError(f"results were wrong or lost: {outcome}")
        return outcome.figures

    rows = 200 if quick else 1000
    one = judged(busy_sheets(1, rows, every_ms=300))
    note("sheet_write_calls_per_min", single(one["writes_per_min"], "calls, the most in any minute", rows))
    note("sheet_calls_per_1000_rows", single(one["calls_per_1000_rows"], "calls", rows))
    note("sheet_row_lag_p50_s", single(one["lag_p50_s"], "s, emulated", rows))
    note("sheet_row_lag_max_s", single(one["lag_max_s"], "s, emulated", rows))
    twenty = judged(busy_sheets(20, 5 if quick else 20, every_ms=2000))
    note("sheets20_write_calls_per_min", single(twenty["writes_per_min"], "calls, the most in any minute", 20))
    note("sheets20_row_lag_p50_s", single(twenty["lag_p50_s"], "s, emulated", 20))
    note("sheets20_row_lag_max_s", single(twenty["lag_max_s"], "s, emulated", 20))
    after = judged(storm(5 if quick else 20))
    note("storm_right_again_s", single(after["right_again_after_s"], "s after its end, emulated", 10 if quick else 40))
    seeds, jobs = (2, 50) if quick else (20, 500)
    runs = [judged(human_edits(seed, jobs)) for seed in range(seeds)]
    note("edits", single(sum(run["edits"] for run in runs), "edits of a person", seeds * jobs))
    note("edits_repaired_rows", single(sum(run["repaired"] for run in runs), "rows put right", seeds * jobs))
    note("edits_given_up", single(sum(run["given_up"] for run in runs), "rows", seeds * jobs))
