"""Compare a sheet's cells with what completion should have written, and find what no cell may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.cells import Cell, Image, Number, Text, cells_of
from chalicelib.contract.job import Job
from sandbox.workbook import Formula

HEADERS: Final = {
    "status": "Status", "output_url": "Output URL", "preview": "Preview", "seed": "Seed", "error": "Error",
}  # fmt: skip
"""The cells that completion writes and that are compared, by column name: how they are headed."""
HIDDEN: Final = re.compile(r"Traceback|X-Amz-Signature|PRIVATE KEY|AKIA|\bFile \"")


def agrees(shown: str, cell: Cell) -> bool:
    """Say whether a cell that shows this (`shown_text`) holds what is to be written there."""
    if isinstance(cell, Image):
        return shown == cell.formula
    if isinstance(cell, Number):
        return shown == str(cell.number)
    return not isinstance(cell, Text) or shown == cell.text


def differences(job: Job, shown: Mapping[str, str], time_zone: str) -> list[str]:
    """
    Say where a row is not what completion writes for *job*, or shows what no such job has.

    *shown*: what its cells show (`shown_text`), by header.
    """
    wanted = cells_of(job, time_zone)
    wrong = [
        f"“{shown[header]}” as {header}; job {job.job_id} ({job.state}): {cell}"
        for name, header in HEADERS.items()
        if (cell := wanted.get(name)) is not None and header in shown and not agrees(shown[header], cell)
    ]
    # What the row showed before stays when a job brings no picture; it may never be this job's.
    foreign = [header for header in ("Output URL", "Preview") if header in shown and "output_url" not in wanted]
    wrong += [
        f"as {header} an output of job {job.job_id}, which is {job.state}"
        for header in foreign
        if f"/o/{job.job_id}" in shown[header]
    ]
    return wrong


def shown_text(cell: Any) -> str:
    """Give what a cell shows: its text, or our formula where it shows a picture."""
    return Image(str(cell.image_url)).formula if cell.image_url else str(cell.formatted)


def unfit(number: int, shown: Mapping[str, Any]) -> list[str]:
    """Say what a cell holds that no cell may: a trace, a secret, a formula that is not our picture."""
    wrong = []
    for header, cell in shown.items():
        entered = cell.user_entered
        if isinstance(entered, Formula) and not entered.text.startswith('=IMAGE("http'):
            wrong.append(f"{header} of row {number + 1} holds a formula: {entered.text[:60]}")
        if HIDDEN.search(str(cell.formatted)):
            wrong.append(f"{header} of row {number + 1} holds what nobody should read: {str(cell.formatted)[:80]}")
    return wrong
