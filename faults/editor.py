"""Edit a sheet as people do, at random but repeatably: sort, filter, insert, delete, move, cut, copy, rename, undo."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from sandbox.workbook import OPEN, Area, Sheet, Workbook

COPY: Final = "Copy "
"""How the titles of tabs begin that people make as copies of another."""
RENAMES: Final = ("Status", "state", "Zustand", "Prompt", "positive prompt", "Beschreibung", "Output URL", "Result")


class Person:
    """Edit one tab. Every deed is one step, which this person can undo."""

    def __init__(self, book: Workbook, sheet: Sheet, seed: int, user: str | None = None) -> None:
        self._book = book
        self._user = user
        self._sheet = sheet
        self._random = random.Random(seed)
        self.did: Counter[str] = Counter()
        self.deleted: set[str] = set()
        """Prompts of rows that were deleted and not brought back."""
        self._deeds: dict[str, Callable[[], None]] = {
            "sort": self._sort,
            "sort by filter": self._sort_filter,
            "filter": self._filter,
            "insert": self._insert,
            "delete": self._delete,
            "move rows": self._move_rows,
            "move a column": self._move_column,
            "insert a column": self._insert_column,
            "cut and paste": self._cut,
            "copy a row": self._copy,
            "rename a header": self._rename_header,
            "rename the tab": self._rename_tab,
            "type": self._type,
            "undo": self._undo,
            "redo": self._redo,
        }

    def act(self) -> None:
        """Do one thing."""
        name = self._random.choice(list(self._deeds))
        try:
            with self._book.lock:
                self._deeds[name]()
        except (ValueError, IndexError):
            self.did["refused"] += 1  # Sheets, too, says no to some of it
            return
        self.did[name] += 1

    def _editing(self) -> AbstractContextManager[None]:
        return self._book.editing("person", self._user)

    def _rows(self) -> int:
        rows, _ = self._sheet.data_extent()
        return max(rows, 2)

    def _row(self) -> int:
        return self._random.randrange(1, self._rows())

    def _cols(self) -> int:
        _, cols = self._sheet.data_extent()
        return cols

    def _sort(self) -> None:
        with self._editing():
            area = Area(1, 0, self._rows(), OPEN)
            self._sheet.sort(area, self._random.randrange(self._cols()), self._random.random() < 0.5)

    def _sort_filter(self) -> None:
        with self._editing():
            if self._sheet.basic_filter is None:
                self._sheet.set_filter(Area(0, 0, self._rows(), self._cols()))
            self._sheet.sort_filter(self._random.randrange(self._cols()), self._random.random() < 0.5)

    def _filter(self) -> None:
        with self._editing():
            if self._sheet.basic_filter is None:
                self._sheet.set_filter(Area(0, 0, self._rows(), self._cols()))
            else:
                self._sheet.clear_filter()

    def _insert(self) -> None:
        with self._editing():
            self._sheet.insert_rows(self._row(), self._random.randint(1, 3))

    def _delete(self) -> None:
        if self._random.random() < 0.8:  # seldom: what is deleted cannot be looked at
            self._insert()
            return
        with self._editing():
            self._sheet.delete_rows(self._row(), 1)

    def _move_rows(self) -> None:
        start, count = self._row(), self._random.randint(1, 5)
        count = min(count, self._rows() - start)
        to = self._random.choice([at for at in range(1, self._rows() + 1) if not start <= at <= start + count] or [1])
        with self._editing():
            self._sheet.move_rows(start, count, to)

    def _move_column(self) -> None:
        start, cols = self._random.randrange(self._cols()), self._cols()
        to = self._random.choice([at for at in range(cols + 1) if not start <= at <= start + 1] or [0])
        with self._editing():
            self._sheet.move_cols(start, 1, to)

    def _insert_column(self) -> None:
        if self._cols() < 20:
            with self._editing():
                self._sheet.insert_cols(self._random.randrange(self._cols()), 1)

    def _cut(self) -> None:
        row, below = self._row(), self._rows() + self._random.randint(0, 2)
        with self._editing():
            self._sheet.cut_paste(Area(row, 0, row + 1, self._cols()), (below, 0))

    def _copy(self) -> None:
        with self._editing():
            self._sheet.copy_row(self._row(), self._rows())

    def _rename_header(self) -> None:
        """Rename a header and think better of it: two columns of one name would be somebody's own doing."""
        col, name = self._random.randrange(self._cols()), self._random.choice(RENAMES)
        before = str(self._sheet.cell(0, col).formatted)
        headers = {str(self._sheet.cell(0, each).formatted).lower() for each in range(self._cols())}
        if not before or name.lower() in headers:
            return
        labelled = any(entry.key == "comfysheet-column" for entry in self._sheet.dimension("COLUMNS", col).metadata)
        if labelled:
            with self._editing():
                self._sheet.enter(0, col, f"{before} (ours)" if self._random.random() < 0.5 else before)

    def _rename_tab(self) -> None:
        with self._editing():
            self._book.rename_sheet(self._sheet.gid, f"Renders {self._random.randrange(1000)}")

    def _type(self) -> None:
        """Write a remark beside a row."""
        for col in range(self._cols()):
            if self._sheet.cell(0, col).formatted == "Notes":
                with self._editing():
                    self._sheet.enter(self._row(), col, f"remark {self._random.randrange(1000)}")
                return

    def _undo(self) -> None:
        self._book.undo(self._user)

    def _redo(self) -> None:
        self._book.redo(self._user)


class Colleague(Person):
    """Be somebody who also writes into our own columns, and copies, moves and deletes whole tabs."""

    def __init__(self, book: Workbook, sheet: Sheet, seed: int, user: str | None = None) -> None:
        super().__init__(book, sheet, seed, user)
        self._deeds |= {
            "overwrite a status": self._overwrite_status,
            "overwrite a job id": self._overwrite_job_id,
            "duplicate the tab": self._duplicate,
            "delete a copied tab": self._delete_copy,
            "move the tab": self._move_tab,
        }

    def _overwrite_status(self) -> None:
        self._overwrite("Status", self._random.choice(("pending", "done", "error", "processing", "", "42")))

    def _overwrite_job_id(self) -> None:
        """Type nonsense over a Job ID, or paste another row's."""
        if self._random.random() < 0.6:  # as with deleting: what has no row can only be fetched
            self._overwrite_status()
            return
        column = self._labelled("Job ID")
        others = [str(self._sheet.cell(row, column).formatted) for row in range(1, self._rows())]
        self._overwrite("Job ID", self._random.choice(["mine!", *others]))

    def _overwrite(self, label: str, text: str) -> None:
        with self._editing():
            self._sheet.enter(self._row(), self._labelled(label), text)

    def _labelled(self, label: str) -> int:
        for column in range(self._cols()):
            labels = self._sheet.dimension("COLUMNS", column).metadata
            if any(each.value == label for each in labels):
                return column
        raise ValueError(f"there is no column {label}")

    def _duplicate(self) -> None:
        if len(self._book.sheets) > 3:
            self._delete_copy()
            return
        rows, cols = self._rows(), self._cols()
        with self._editing():
            copy = self._book.add_sheet(f"{COPY}{self._random.randrange(10**6)}", rows=rows + 10, cols=cols + 5)
            for row in range(rows):
                for column, cell in self._sheet.row_cells(row).items():
                    copy.put(row, column, cell)

    def _delete_copy(self) -> None:
        copies = [sheet for sheet in self._book.sheets if sheet.title.startswith(COPY)]
        if copies:
            with self._editing():
                self._book.delete_sheet(self._random.choice(copies).gid)

    def _move_tab(self) -> None:
        self._book.change(lambda: self._book.sheets.reverse())
