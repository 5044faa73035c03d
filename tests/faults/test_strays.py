"""Whose deed it is that a row with neither Job ID nor prompt shows an output."""

from __future__ import annotations

from faults.desk import lines_of
from faults.strays import Strays
from sandbox.workbook import Area, Workbook

JOB = "b53859fe-f701-5918-8b35-fc8c69b8e72f"
LINK = f"http://127.0.0.1/o/{JOB}/0?t=x"
HEADERS = ("Prompt", "Output URL", "Job ID")


class Paper:
    """Hold a tab of one row that is under way, and what is known of strays."""

    def __init__(self) -> None:
        self.book = Workbook("b", "Book")
        self.sheet = self.book.add_sheet("Renders", rows=20, cols=3)
        with self.book.editing("script"):
            for column, header in enumerate(HEADERS):
                self.sheet.set_cell(0, column, header)
            self.sheet.set_cell(1, 0, "a fox")
            self.sheet.set_cell(1, 2, "key")
        self.strays = Strays(self.book)
        self.book.listen(lambda change: self.strays.look(change, lines_of(self.sheet)))

    def cut(self, row: int, to: int) -> None:
        with self.book.editing("person"):
            self.sheet.cut_paste(Area(row, 0, row + 1, 3), (to, 0))

    def write(self, row: int, text: str = LINK) -> None:
        with self.book.editing("api"):
            self.sheet.set_cell(row, 1, text)


def test_an_undo_that_takes_a_row_from_its_result_is_a_persons_deed() -> None:
    """Cut, pasted, written, undone: the result stays where nothing else is. Once, however often it is redone."""
    paper = Paper()
    paper.cut(1, 5)
    paper.write(5)
    assert not paper.strays.of_people()
    for _ in range(3):
        paper.book.undo()
        assert lines_of(paper.sheet)[4] == {"Prompt": "", "Output URL": LINK, "Job ID": ""}
        assert paper.strays.of_people() == {JOB: 1}
        paper.book.redo()
        assert not paper.strays.of_people()


def test_what_we_write_into_a_bare_row_is_our_deed() -> None:
    """Also when a person moves that row, or leaves another one behind; what is taken away counts no more."""
    paper = Paper()
    paper.write(7)
    assert not paper.strays.of_people()
    with paper.book.editing("person"):
        paper.sheet.move_rows(7, 1, 3)
    assert not paper.strays.of_people()
    paper.cut(1, 9)
    paper.write(9)
    paper.book.undo()
    assert paper.strays.of_people() == {JOB: 1}
    paper.write(3, "")
    assert paper.strays.of_people() == {JOB: 1}
    paper.write(9, "")
    assert not paper.strays.of_people()
