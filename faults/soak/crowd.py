"""
Be the people and the programs: rows typed, generated, sorted, moved, deleted and cancelled; jobs submitted, repeated
and cancelled. Everybody goes on working whatever fails.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests

from chalicelib.contract.job import job_id_of
from chalicelib.contract.states import TERMINAL
from faults.desk import ENDED, Desk, columns_of
from faults.farm import TENANT, Asked, Farm
from faults.soak.plan import Blow
from faults.soak.record import Record, Row
from faults.strays import LINK
from sandbox.apps_script import ScriptError
from sandbox.workbook import OPEN, Area, Change

ROWS_MOST: Final = 160
"""Of one spreadsheet: a person looks at so many, and the stand-in of Google's reads them all at each write."""
AT_ONCE: Final = 25
"""Rows that are generated with one press, at most."""
PATIENCE_S: Final = 60.0
"""How long a program waits for an answer: longer than API Gateway, for this machine does much at once."""
UNSENT: Final = frozenset({"", "pending", "error"})


class SoakDesk(Desk):
    """Be one of the spreadsheets, with one person's hands: whoever edits waits while the script runs."""

    def __init__(self, farm: Farm, number: int, api_url: str, record: Record, dice: random.Random) -> None:
        self.number = number
        self.hands = threading.RLock()
        self.linked_at: dict[str, float] = {}
        """When a row first showed an output of a job (Unix seconds), by job id."""
        super().__init__(farm, f"Soak {number}")
        self.record = record
        self._dice = dice
        self.project.properties.document["API_URL"] = api_url

    def _hear(self, change: Change) -> None:
        """Note what changed cells show; what only moved shows nothing new."""
        if not change.cells:
            return
        now, columns = time.time(), columns_of(self.sheet)
        for row in {row for row, _ in change.cells if row > 0}:
            texts = {name: str(self.sheet.cell(row, columns[name]).formatted) for name in SEEN if name in columns}
            for found in LINK.findall(texts.get("Output URL", "")):
                self.linked_at.setdefault(found, now)
            if texts.get("Status") in ENDED and texts.get("Job ID"):
                self.done_at.setdefault(texts["Job ID"], now)

    # -- generating ---------------------------------------------------------------------------------------------

    def bind(self, rows: Sequence[Row]) -> None:
        """Type rows below the last one and press the menu."""
        with self.hands:
            first, _ = self.sheet.data_extent()
            if first + len(rows) > self.sheet.rows:
                self.sheet.insert_rows(self.sheet.rows - 1, 50)
            typed = [
                {"Prompt": row.prompt, "Workflow": "txt2img-sdxl", "Width": "64", "Height": "64",
                 "Steps": str(self._dice.randint(3, 20))}
                for row in rows
            ]  # fmt: skip
            with self.record.lock:
                self.record.rows |= {row.prompt: row for row in rows}
            self._generate(self.type_rows(typed, first))

    def again(self, prompts: Sequence[str]) -> None:
        """Generate rows again of which the API knows nothing."""
        with self.hands:
            places = self.places()
            rows = sorted(places[prompt] for prompt in prompts if prompt in places)
            while rows:
                first = rows.pop(0)
                last = first
                while rows and rows[0] == last + 1:
                    last = rows.pop(0)
                self._generate(range(first, last + 1))

    def _generate(self, rows: range) -> None:
        try:
            self.generate(rows)
        except ScriptError as error:
            self.record.edits[f"script failed: {error.message[:60]}"] += 1
        with self.book.lock:
            columns = columns_of(self.sheet)
            for number in rows:
                prompt, key, status = (self._text(number, columns, name) for name in ("Prompt", "Job ID", "Status"))
                row = self.record.rows.get(prompt)
                if row is None or not key:
                    continue
                if key not in row.keys:
                    row.keys.append(key)
                if status not in UNSENT or self.farm.ledger.get(job_id_of(TENANT, key)) is not None:
                    row.acknowledged.add(key)

    # -- editing ------------------------------------------------------------------------------------------------

    def edit(self) -> None:
        """Do one thing that people do."""
        deeds: list[Callable[[], None]] = [self._sort, self._insert, self._move, self._rename, self._filter, self._note]
        deed = self._dice.choice([*deeds, *deeds, self._move_column, self._delete])
        with self.hands, self.book.editing("person"):
            try:
                deed()
            except (ValueError, IndexError):
                return  # Sheets, too, says no to some of it
        with self.record.lock:
            self.record.edits[deed.__name__.strip("_").replace("_", " ")] += 1

    def _last(self) -> int:
        last, _ = self.sheet.data_extent()
        return max(last, 2)

    def _row(self) -> int:
        return self._dice.randrange(1, self._last())

    def _sort(self) -> None:
        by = columns_of(self.sheet)[self._dice.choice(("Prompt", "Status", "Finished at", "Steps"))]
        self.sheet.sort(Area(1, 0, self._last(), OPEN), by, self._dice.random() < 0.5)

    def _insert(self) -> None:
        self.sheet.insert_rows(self._row(), 1)

    def _move(self) -> None:
        start, last = self._row(), self._last()
        self.sheet.move_rows(start, 1, self._dice.choice([at for at in range(1, last) if at not in (start, start + 1)]))

    def _rename(self) -> None:
        self.book.rename_sheet(self.sheet.gid, f"Renders {self._dice.randrange(10_000)}")

    def _filter(self) -> None:
        if self.sheet.basic_filter is None:
            self.sheet.set_filter(Area(0, 0, self._last(), len(columns_of(self.sheet))))
        else:
            self.sheet.clear_filter()

    def _note(self) -> None:
        self.sheet.enter(self._row(), columns_of(self.sheet)["Notes"], f"remark {self._dice.randrange(1000)}")

    def _move_column(self) -> None:
        _, columns = self.sheet.data_extent()
        start = self._dice.randrange(columns)
        self.sheet.move_cols(start, 1, self._dice.choice([at for at in range(columns) if at not in (start, start + 1)]))

    def _delete(self) -> None:
        """Delete a row, seldom one of ours: what is deleted cannot be looked at."""
        number, columns = self._row(), columns_of(self.sheet)
        prompt = self._text(number, columns, "Prompt")
        if prompt and self._dice.random() < 0.7:
            return
        self.sheet.delete_rows(number, 1)
        if prompt in self.record.rows:
            self.record.rows[prompt].is_deleted = True

    # -- cancelling ---------------------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel a row that is under way, if there is one."""
        with self.hands:
            with self.book.lock:
                columns = columns_of(self.sheet)
                under_way = [
                    number
                    for number in range(1, self._last())
                    if self._text(number, columns, "Status") in ("queued", "processing")
                ]
            if not under_way:
                return False
            number = self._dice.choice(under_way)
            try:
                self.press("cancelSelected", range(number, number + 1))
            except ScriptError:
                return False
            return True

    def places(self) -> dict[str, int]:
        """Say in which row each prompt stands."""
        with self.book.lock:
            columns = columns_of(self.sheet)
            return {self._text(number, columns, "Prompt"): number for number in range(1, self._last())}

    def _text(self, row: int, columns: dict[str, int], name: str) -> str:
        return str(self.sheet.cell(row, columns[name]).formatted) if name in columns else ""


SEEN: Final = ("Output URL", "Status", "Job ID")


class Programs:
    """Be the programs of some tenants: each submits until it is answered, most of them, and repeats itself at times."""

    def __init__(self, farm: Farm, api_url: str, record: Record, dice: random.Random) -> None:
        self._farm = farm
        self._api_url = api_url
        self._record = record
        self._dice = dice
        self._clients = ("studio", "atelier", "lab")
        for client in self._clients:
            farm.token(client)

    def submit(self, number: int) -> None:
        """Submit one job."""
        client, steps = self._dice.choice(self._clients), self._dice.randint(3, 20)
        gives_up, at_once = self._dice.random() < 0.1, self._dice.random() < 0.15
        asked = self._farm.ask(
            client=client, api=self._api_url, timeout_s=PATIENCE_S, prompt=f"program {number}", steps=steps
        )
        with self._record.lock:
            self._record.asked.append(asked)
        self._note(asked)
        for pause_s in (0.2, 0.5, 1, 2, 4, 8)[: 0 if gives_up else 6]:
            if asked.is_acknowledged:
                break
            threading.Event().wait(pause_s)
            self._repeat(asked)
        if at_once:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(self._repeat, [asked] * 4))

    def repeat_one(self) -> None:
        """Repeat an old submission, as one does whose answer got lost an hour ago."""
        with self._record.lock:
            asked = self._dice.choice(self._record.asked) if self._record.asked else None
        if asked is not None:
            self._repeat(asked)

    def cancel_one(self) -> bool:
        """Cancel one of the newest jobs that are open; whether there was one."""
        with self._record.lock:
            recent = {one.job_id: one for one in self._record.asked[-90:] if one.is_acknowledged}
        still = [job.job_id for job in self._farm.ledger.get_many(list(recent)) if job.state not in TERMINAL]
        if not still:
            return False
        asked = recent[self._dice.choice(still)]
        headers = {"Authorization": f"Bearer {self._farm.token(asked.client)}"}
        url = f"{self._api_url}/api/v2/jobs/{asked.job_id}/cancel"
        try:
            answer = requests.post(url, headers=headers, timeout=PATIENCE_S)
        except requests.RequestException:
            return True
        if answer.status_code == 200 and answer.json().get("status") == "canceled":
            with self._record.lock:
                self._record.cancelled.add(asked.job_id)
                self._record.note(Blow.CANCEL)
        return True

    def _repeat(self, asked: Asked) -> None:
        once = Asked(asked.key, asked.client, asked.body)
        self._farm.ask_again(once, api=self._api_url, timeout_s=PATIENCE_S)
        with self._record.lock:
            asked.answers += once.answers
            if not asked.is_acknowledged:
                asked.status = once.status
        self._note(once)

    def _note(self, asked: Asked) -> None:
        with self._record.lock:
            self._record.calls[str(asked.status or "none")] += 1
