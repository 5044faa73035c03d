"""A desk's judge sees each cell that is not its row's own job's; what people typed over is theirs."""

from __future__ import annotations

import pytest

from chalicelib.cells import Image, Number, Text, cells_of
from chalicelib.contract.job import Job, job_id_of
from chalicelib.contract.states import State
from chalicelib.links import output_link, thumbnail_link
from faults.cells import HEADERS
from faults.desk import HEADERS as COLUMNS
from faults.desk import Desk
from faults.farm import TENANT
from faults.strays import Strays
from sandbox.workbook import Workbook
from tests.jobs import new_job, output


class Bare(Desk):
    """Be a desk without a farm behind it."""

    def __init__(self, book: Workbook, jobs: dict[str, Job]) -> None:
        self.book, self._strays, self._known = book, Strays(book), jobs

    def jobs(self) -> dict[str, Job]:
        return self._known


class Case:
    """Hold two rows that are right: one done, one that failed."""

    def __init__(self) -> None:
        self.book = Workbook("b", "B")
        self.book.allow_external_images()
        self.sheet = self.book.add_sheet("Renders")
        with self.book.editing("script"):
            for column, header in enumerate(COLUMNS):
                self.sheet.set_cell(0, column, header)
        key = "outputs/studio/x/1/0-a.png"
        picture = output(key).model_copy(update={"thumbnail_key": key, "thumbnail_type": "image/png"})
        done = self.job(1, state=State.SUCCEEDED, committed_attempt=1, outputs=(picture,))
        failed = self.job(2, state=State.FAILED)
        self.jobs = {job.job_key: job for job in (done, failed)}
        for row, job in enumerate(self.jobs.values(), start=1):
            self.put(row, {"Prompt": str(job.inputs["prompt"]), "Job ID": job.job_key})
            for name, cell in cells_of(job, "Etc/UTC").items():
                if name in HEADERS:
                    self.put(row, {HEADERS[name]: _typed(cell)})
        self.desk = Bare(self.book, self.jobs)

    def job(self, number: int, **fields: object) -> Job:
        key = f"key-{number}"
        job = new_job(job_key=key, client_id=TENANT, inputs={"prompt": f"row {number}", "seed": number})
        update = {"job_id": job_id_of(TENANT, key), "link_base": "http://h/api", "version": 3, "attempt": 1}
        return job.model_copy(update={**update, **fields})

    def put(self, row: int, values: dict[str, str]) -> None:
        with self.book.editing("api"):
            for header, text in values.items():
                self.sheet.enter(row, COLUMNS.index(header), text)


def _typed(cell: object) -> str:
    if isinstance(cell, Image):
        return cell.formula
    return str(cell.number) if isinstance(cell, Number) else cell.text if isinstance(cell, Text) else ""


def test_rows_that_show_their_own_jobs_are_right() -> None:
    """Nothing is said of them."""
    verdict = Case().desk.judge()
    assert (verdict.wrong_rows, verdict.lost_rows, verdict.sentences) == (0, 0, [])


@pytest.mark.parametrize("by_people", [False, True])
def test_another_jobs_picture_beside_the_right_link_is_seen(by_people: bool) -> None:
    """P4: the Preview cell is what people look at; also where they typed into others."""
    case = Case()
    other = case.job(3)
    case.put(1, {"Preview": Image(thumbnail_link(other, 0)).formula})
    verdict = case.desk.judge(by_people=by_people)
    assert (verdict.wrong_rows, verdict.lost_rows) == (1, 0) and "Preview" in verdict.sentences[0]


@pytest.mark.parametrize(
    "cells", [{"Status": "error"}, {"Error": "It broke."}, {"Preview": ""}, {"Seed": "7"}, {"Preview": "no picture"}]
)
def test_a_right_link_beside_a_wrong_cell_is_seen(cells: dict[str, str]) -> None:
    """P4: unless people may have typed it."""
    case = Case()
    case.put(1, cells)
    assert case.desk.judge().wrong_rows == 1
    assert case.desk.judge(by_people=True).wrong_rows == 0


@pytest.mark.parametrize("header", ["Output URL", "Preview"])
def test_an_output_in_the_row_of_a_job_that_failed_is_seen(header: str) -> None:
    """P4: its own or another's, as a link or as a picture."""
    case = Case()
    for job in case.jobs.values():
        shown = output_link(job, 0) if header == "Output URL" else Image(thumbnail_link(job, 0)).formula
        case.put(2, {header: shown})
        assert case.desk.judge().wrong_rows == 1
