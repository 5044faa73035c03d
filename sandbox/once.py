"""
Run the example rows without hands: select them all, press the menu, watch the cells, and judge the result.
"""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass
from typing import Final

import requests
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sandbox.apps_script import ScriptError
from sandbox.apps_script_run import Selection
from sandbox.example import header_columns
from sandbox.workbook import Change, Picture, Sheet
from sandbox.world import World

PATIENCE_S: Final = 150.0
ENDED: Final = frozenset({"done", "error", "cancelled"})


@dataclass(frozen=True)
class RowEnd:
    """Say how one row came out; *fault* is empty when all is well."""

    row: int
    status: str
    seconds: float
    url: str
    fault: str


def run_once(world: World, console: Console) -> int:
    """Run every example row; print progress and the table; answer the exit code."""
    sheet = world.book.sheets[0]
    rows = _example_rows(sheet)
    console.print(f"Generate selected rows: {len(rows)} rows of the tab {sheet.title}")
    pressed = time.monotonic()
    ended_at = _run(world, sheet, rows, console)
    ends = [_judge(sheet, row, ended_at.get(row, time.monotonic()) - pressed) for row in rows]
    console.print(_table(ends))
    faults = [end for end in ends if end.fault]
    for end in faults:
        console.print(f"row {end.row + 1}: {end.fault}", markup=False)
    if not faults:
        console.print(f"{len(ends)} rows done, every preview is a picture.")
    return 1 if faults else 0


def _example_rows(sheet: Sheet) -> list[int]:
    workflow = header_columns(sheet)["Workflow"]
    last, _ = sheet.data_extent()
    return [row for row in range(1, last) if sheet.cell(row, workflow).formatted]


def _run(world: World, sheet: Sheet, rows: list[int], console: Console) -> dict[int, float]:
    """Press the menu and wait until every row has ended; answer when each did (monotonic seconds)."""
    status = header_columns(sheet)["Status"]
    changed = threading.Event()

    def heard(_change: Change) -> None:
        changed.set()

    stop_listening = world.book.listen(heard)
    ended_at: dict[int, float] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("rendering", total=len(rows))
            columns_selected = header_columns(sheet)
            world.project.run(
                "generateSelectedRows",
                Selection(sheet.gid, ((min(rows), 0, max(rows), len(columns_selected) - 1),)),
            )
            deadline = time.monotonic() + PATIENCE_S
            while len(ended_at) < len(rows) and (left := deadline - time.monotonic()) > 0:
                changed.clear()
                for row in rows:
                    if row not in ended_at and sheet.cell(row, status).formatted in ENDED:
                        ended_at[row] = time.monotonic()
                        progress.advance(task)
                if len(ended_at) < len(rows):
                    changed.wait(min(left, 1.0))
    except ScriptError as error:
        console.print(f"The script stopped: {error}", markup=False)
    finally:
        stop_listening()
    return ended_at


def _judge(sheet: Sheet, row: int, seconds: float) -> RowEnd:
    places = header_columns(sheet)

    def text(header: str) -> str:
        return str(sheet.cell(row, places[header]).formatted)

    status, url = text("Status"), text("Output URL")
    fault = ""
    if status != "done":
        late = f"still {status or 'blank'} after {PATIENCE_S:.0f} seconds; see .sandbox/run/worker-1.log"
        fault = text("Error") or late
    else:
        fault = _picture_fault(sheet, row, places["Preview"])
    return RowEnd(row, status, seconds, url, fault)


def _picture_fault(sheet: Sheet, row: int, column: int) -> str:
    """Say what is wrong with the row's preview: it must be our =IMAGE() of a picture that decodes."""
    shown = sheet.cell(row, column).effective
    if not isinstance(shown, Picture):
        return f"the preview shows {shown!r}, not a picture"
    try:
        answer = requests.get(shown.url, timeout=20)
        answer.raise_for_status()
        with Image.open(io.BytesIO(answer.content)) as picture:
            picture.load()
    except (requests.RequestException, OSError) as error:
        return f"the preview does not decode: {error}"
    return ""


def _table(ends: list[RowEnd]) -> Table:
    table = Table()
    table.add_column("row", justify="right")
    table.add_column("status")
    table.add_column("seconds", justify="right")
    table.add_column("output URL", overflow="fold")
    for end in ends:
        table.add_row(str(end.row + 1), end.status, f"{end.seconds:.1f}", end.url)
    return table
