"""Do what a person does at the sheet, and read what the ledger says."""

from __future__ import annotations

from chalicelib.cells import find_columns
from chalicelib.contract.job import Job, job_id_of
from chalicelib.ledger import DynamoLedger
from sandbox.apps_script_run import Selection
from sandbox.example import header_columns
from sandbox.workbook import Sheet
from sandbox.world import CLIENT, World
from tests.waiting import until

ENDED = frozenset({"done", "error", "cancelled"})


class Person:
    """Work in the first tab of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sheet: Sheet = world.book.sheets[0]
        self.ledger = DynamoLedger(world.cloud.session().client("dynamodb"), world.cloud.outputs["JobsTable"])

    def column(self, header: str) -> int:
        return header_columns(self.sheet)[header]

    def text(self, row: int, header: str) -> str:
        return str(self.sheet.cell(row, self.column(header)).formatted)

    def type_rows(self, first: int, rows: list[dict[str, str]]) -> range:
        """Type *rows* from row *first* on; a value that starts with an apostrophe is text, as in Sheets."""
        with self.world.book.editing("person"):
            for number, row in enumerate(rows, start=first):
                for header, value in row.items():
                    self.sheet.enter(number, self.column(header), value)
        return range(first, first + len(rows))

    def generate(self, rows: range) -> None:
        """Select *rows* and press the menu."""
        self.world.project.run("generateSelectedRows", Selection(self.sheet.gid, ((rows[0], 0, rows[-1], 0),)))

    def all_ended(self, count: int, patience_s: float = 40) -> bool:
        """Wait until *count* rows, wherever they are, have ended and none is under way."""

        def over() -> bool:
            words = self.statuses()
            return len(words) >= count and all(word in ENDED for word in words)

        return until(self.world.book, over, patience_s)

    def statuses(self) -> list[str]:
        """Give the Status of every row that has a Job ID."""
        return [self.text(row, "Status") for row in self.bound_rows()]

    def bound_rows(self) -> list[int]:
        last, _ = self.sheet.data_extent()
        return [row for row in range(1, last) if self.text(row, "Job ID")]

    def job(self, row: int) -> Job:
        """Read the job that the row's Job ID names."""
        found = self.ledger.get(job_id_of(CLIENT, self.text(row, "Job ID")))
        assert found is not None
        return found

    def headers(self) -> dict[str, int]:
        _, columns = self.sheet.data_extent()
        return find_columns([str(self.sheet.cell(0, column).formatted) for column in range(columns)])
