"""Be the rows of a tab and the script that starts them, as far as a function meets them: cells, signed requests."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import requests
from standardwebhooks.webhooks import Webhook

from chalicelib.contract.states import State
from chalicelib.keys import secret_bytes, split_key
from faults.cells import differences, shown_text
from faults.farm import Asked, Farm
from sandbox.example import HEADERS
from sandbox.world import CLIENT

ROUTE: Final = "/v1/sheets/jobs"


class Rows:
    """Hold a tab of its own in the farm's spreadsheet. A context manager: the tab goes with it."""

    def __init__(self, farm: Farm, title: str) -> None:
        self._farm = farm
        self._book = farm.world.book
        self._sheet = self._book.add_sheet(title, rows=5000)
        # Threads type side by side.
        self._free = itertools.count(1)
        self._rows: dict[str, int] = {}
        self._write(0, dict(zip(HEADERS, HEADERS, strict=True)))

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._book.delete_sheet(self._sheet.gid)

    def _write(self, row: int, cells: dict[str, Any]) -> None:
        with self._book.editing("person"):
            for header, value in cells.items():
                self._sheet.enter(row, HEADERS.index(header), str(value))

    def type(self, count: int, **inputs: Any) -> list[Asked]:
        """Type so many rows, and bind each to a job's key as the script does; nothing is sent."""
        typed = []
        for _ in range(count):
            row, key = next(self._free), str(uuid4())
            given = {"Prompt": f"row {row}", "Steps": 4, "Width": 64, "Height": 64, **inputs}
            self._write(row, {**given, "Workflow": "txt2img-sdxl", "Status": "queued", "Job ID": key})
            self._rows[key] = row
            typed.append(Asked(key, CLIENT, {"job_key": key, "workflow": "txt2img-sdxl", "inputs": given}))
        return typed

    def request(self, typed: Sequence[Asked]) -> tuple[dict[str, str], bytes]:
        """Make a signed request that starts these rows, a new one each time: headers and body."""
        body = json.dumps(
            {
                "spreadsheet_id": self._book.spreadsheet_id,
                "sheet_id": self._sheet.gid,
                "rows": [each.body for each in typed],
                "columns": list(HEADERS),
            }
        )
        key_id, secret = split_key(self._farm.world.properties.document["SHEET_KEY"])
        at = int(time.time())
        name = str(uuid4())
        signature = Webhook(secret_bytes(secret)).sign(name, datetime.fromtimestamp(at, UTC), body)
        headers = {"webhook-id": name, "webhook-timestamp": str(at), "webhook-signature": signature}
        return {**headers, "x-key-id": key_id, "content-type": "application/json"}, body.encode()

    def send(self, typed: Sequence[Asked]) -> None:
        """Send the rows to the API, and note what it says to each."""
        headers, body = self.request(typed)
        answer = requests.post(f"{self._farm.world.cloud.api_url}{ROUTE}", data=body, headers=headers, timeout=30)
        self.note(typed, answer.status_code, answer.json())

    def note(self, typed: Sequence[Asked], status: int, told: Any) -> None:
        """Note an answer of the API: each row has its own."""
        results = {each["job_key"]: each for each in told["results"]} if status == 200 else {}
        for one in typed:
            if (result := results.get(one.key)) is not None:
                one.status = 200 if result["result"] in ("accepted", "duplicate") else 422
                one.answers += [{"id": result["job_id"]}] if one.is_acknowledged else []
            elif status:
                one.status = status

    def text(self, one: Asked, header: str) -> str:
        """Read a cell of a row."""
        return shown_text(self._sheet.cell(self._rows[one.key], HEADERS.index(header)))

    def breaches(self, typed: Sequence[Asked]) -> list[str]:
        """Say what is wrong with the rows of jobs that are there (P4): each shows its own job's end, and only that."""
        wrong = []
        for one in typed:
            job = self._farm.job(one)
            if job is None:
                continue
            shown = {header: self.text(one, header) for header in HEADERS}
            found = differences(job, shown, self._book.time_zone)
            if job.state is not State.SUCCEEDED and (shown["Output URL"] or shown["Preview"]):
                found.append("an output")
            wrong += [f"the row of {job.job_id} ({job.state}) shows {each}" for each in found]
        return wrong
