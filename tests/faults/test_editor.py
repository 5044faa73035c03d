"""The people who edit sheets in scenarios: they do everything that they are there to do, and can be repeated."""

from __future__ import annotations

from faults.desk import HEADERS, columns_of, lines_of
from faults.editor import Colleague
from sandbox.workbook import Metadata, Workbook


def book() -> Workbook:
    """Lay out a tab of twenty rows as a desk does."""
    book = Workbook("b", "Book")
    sheet = book.add_sheet("Renders", rows=80, cols=len(HEADERS) + 6)
    with book.editing("script"):
        for column, header in enumerate(HEADERS):
            sheet.set_cell(0, column, header)
            label = Metadata(book.new_id(), "comfysheet-column", header, "DOCUMENT")
            sheet.set_dimension("COLUMNS", column, 1, metadata=(label,))
        for row in range(1, 21):
            sheet.set_cell(row, 0, f"prompt {row}")
            sheet.set_cell(row, HEADERS.index("Job ID"), f"key-{row}")
    return book


def test_two_people_do_everything_that_people_do() -> None:
    """Each kind of edit happens, a few are refused, and every column of ours is still to be found."""
    there = book()
    people = [Colleague(there, there.sheets[0], seed, f"{seed}@example.com") for seed in (1, 2)]
    for _ in range(400):
        for person in people:
            person.act()
    did = people[0].did + people[1].did
    assert set(people[0]._deeds) <= set(did) and did["refused"] < 40, did
    [renders] = [sheet for sheet in there.sheets if not sheet.title.startswith("Copy ")]
    assert set(HEADERS) <= set(columns_of(renders))
    assert any(line["Prompt"] for line in lines_of(renders))


def test_the_same_seed_does_the_same() -> None:
    """So what went wrong once can be looked at again."""
    one, other = book(), book()
    for there in (one, other):
        person = Colleague(there, there.sheets[0], 7)
        for _ in range(150):
            person.act()
    assert lines_of(one.sheets[0]) == lines_of(other.sheets[0])
