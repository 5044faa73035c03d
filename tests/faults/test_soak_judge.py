"""The soak's judge of rows sees what is wrong, and only that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.cells import Image, Number, Text, cells_of
from chalicelib.contract.job import Job, Output, job_id_of
from chalicelib.contract.states import State
from chalicelib.links import output_link
from faults.cells import HEADERS as NAMES
from faults.desk import HEADERS
from faults.farm import TENANT, Asked
from faults.soak.judge import Finding, Judge
from faults.soak.record import Record, Row
from sandbox.workbook import Workbook
from tests.jobs import new_job

OUTPUT = Output(
    key="outputs/x/y/1/0-a.png", filename="a.png", content_type="image/png", size_bytes=1, sha256="0" * 64, node="9",
    kind="image", width_px=64, height_px=64, thumbnail_key="outputs/x/y/1/0-a.png", thumbnail_type="image/png",
)  # fmt: skip


class Case:
    """Hold one sheet with two rows that are done, and the judge of it."""

    def __init__(self) -> None:
        self.book = Workbook("b", "B")
        self.book.allow_external_images()
        self.sheet = self.book.add_sheet("Renders")
        self.record = Record()
        self.jobs: dict[str, Job] = {}
        with self.book.editing("script"):
            for column, header in enumerate(HEADERS):
                self.sheet.set_cell(0, column, header)
        for number in (1, 2):
            self.add(number)

    def add(self, number: int) -> None:
        """Type a row, and show its job in it as completion does."""
        prompt, key = f"row {number}", f"key-{number}"
        done = {"state": State.SUCCEEDED, "version": 3, "attempt": 1, "committed_attempt": 1, "outputs": (OUTPUT,)}
        job = new_job(job_key=key, client_id=TENANT, inputs={"prompt": prompt, "seed": number}).model_copy(
            update={**done, "job_id": job_id_of(TENANT, key), "link_base": "http://h/api"}
        )
        self.jobs[job.job_id] = job
        self.record.rows[prompt] = Row(1, prompt, keys=[key], acknowledged={key})
        self.put(number, {"Prompt": prompt, "Job ID": key})
        for name, cell in cells_of(job, "Etc/UTC").items():
            if name in NAMES:
                text = cell.formula if isinstance(cell, Image) else ""
                text = cell.text if isinstance(cell, Text) else text
                text = str(cell.number) if isinstance(cell, Number) else text
                self.put(number, {NAMES[name]: text})

    def put(self, row: int, values: dict[str, str]) -> None:
        with self.book.editing("person"):
            for header, text in values.items():
                self.sheet.enter(row, HEADERS.index(header), text)

    def job(self, number: int) -> Job:
        return self.jobs[job_id_of(TENANT, f"key-{number}")]

    def judge(self, part: str) -> list[tuple[str, str]]:
        """Have one part judged; the breaches."""
        judge = object.__new__(Judge)
        judge.found, judge.jobs, judge._record = Finding(), self.jobs, self.record
        judge._shown = {}
        desk: Any = SimpleNamespace(book=self.book, sheet=self.sheet, linked_at={})
        judge._desks = [desk]
        getattr(judge, part)()
        return judge.found.wrong


def test_rows_that_show_their_own_jobs_are_right() -> None:
    """Nothing is said of them."""
    assert Case().judge("_rows") == []


@pytest.mark.parametrize("header", ["Status", "Output URL", "Preview", "Seed"])
def test_a_cell_that_is_not_its_job_s_is_seen(header: str) -> None:
    """Each of the cells that completion writes."""
    case = Case()
    case.put(1, {header: "" if header != "Status" else "processing"})
    assert [promise for promise, _ in case.judge("_rows")] == ["P4"]


def test_another_row_s_output_is_seen() -> None:
    """P4: a picture of another prompt."""
    case = Case()
    case.put(1, {"Output URL": output_link(case.job(2), 0)})
    assert [promise for promise, _ in case.judge("_rows")] == ["P4"]


def test_a_row_that_is_gone_is_seen_unless_somebody_deleted_it() -> None:
    """P13: deleted rows are accounted for."""
    case = Case()
    with case.book.editing("person"):
        case.sheet.delete_rows(2, 1)
    assert [promise for promise, _ in case.judge("_rows")] == ["P4"]
    case.record.rows["row 2"].is_deleted = True
    assert case.judge("_rows") == []


def test_an_acknowledged_job_that_is_not_there_or_not_over_is_lost() -> None:
    """P1, for rows and programs alike."""
    case = Case()
    case.record.asked.append(Asked("k", TENANT, {}, status=201))
    case.jobs[case.job(1).job_id] = case.job(1).model_copy(update={"state": State.RUNNING})
    assert [promise for promise, _ in case.judge("_jobs_ended")] == ["P1", "P1"]


def test_a_key_that_was_answered_with_two_jobs_is_seen() -> None:
    """P2."""
    case = Case()
    asked = Asked("k", TENANT, {}, status=201)
    asked.answers += [{"id": asked.job_id}, {"id": "another"}]
    case.record.asked.append(asked)
    assert "P2" in {promise for promise, _ in case.judge("_same_answers")}


def test_a_job_cancelled_with_a_200_that_ends_otherwise_is_seen() -> None:
    """P8."""
    case = Case()
    case.record.cancelled.add(case.job(1).job_id)
    assert [promise for promise, _ in case.judge("_cancelled")] == ["P8"]


def test_a_picture_in_the_row_of_a_job_that_made_none_is_seen() -> None:
    """P4: also when only the Preview cell shows it."""
    case = Case()
    failed = {"state": State.FAILED, "outputs": (), "committed_attempt": None}
    case.jobs[case.job(1).job_id] = case.job(1).model_copy(update=failed)
    case.put(1, {"Output URL": "", "Status": "error", "Seed": ""})
    assert [promise for promise, _ in case.judge("_rows")] == ["P4"] * 2, "as its own output, and as any"
    case.put(1, {"Preview": ""})
    assert case.judge("_rows") == []
