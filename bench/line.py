"""Measure the whole line in one world with an instant ComfyUI, and the API in this process over the same cloud."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from standardwebhooks.webhooks import Webhook

from bench.person import Yes
from chalicelib.api_parts import Call, guarded
from chalicelib.keys import secret_bytes, split_key
from chalicelib.sheet_api import SheetApi
from infra.functions import API
from sandbox.apps_script import ScriptProject
from sandbox.apps_script_run import Selection
from sandbox.example import HEADERS
from sandbox.workbook import Sheet
from sandbox.world import ROOT, World

STATUS = HEADERS.index("Status")
PATIENCE_S = 180.0
STAGE = "local"
"""What the sandbox's stage is called."""


class Line:
    """Measure one running world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sheet: Sheet = world.book.sheets[0]
        self._next_row = 20
        self._project = ScriptProject(ROOT / "apps_script", world.book, properties=world.properties, ui=Yes())

    def warm_up(self) -> None:
        """Run a few rows, so that functions, clients and the worker are warm: a cold start is not what is measured."""
        self._press(self._type_rows(5))

    def row_click_to_done_ms(self, times: int) -> list[float]:
        """Press the menu for one row, again and again; milliseconds until its Status says done."""
        return [self._press(self._type_rows(1)) for _ in range(times)]

    def hundred_rows(self) -> tuple[float, int]:
        """Press the menu for 100 rows; (milliseconds until all are done, calls of the Sheets API meanwhile)."""
        rows = self._type_rows(100)
        log = self._world.server.sheets.log
        before = log.reads + log.writes
        took = self._press(rows)
        return took, log.reads + log.writes - before

    def submit_ms(self, rows: int, times: int) -> list[float]:
        """Call the API in this process with *rows* rows in one signed request; milliseconds a call."""
        with cloud_in_environment(self._world):
            from chalicelib.wiring import World as Lambdas

            api = Lambdas(os.environ).sheet_api
            key = self._world.keys.new_sheet("bench", "bench-sheet")
            calls = [signed_rows(key, rows) for _ in range(times + 2)]
            samples = [timed(partial(_accepted, api, call, rows)) for call in calls]
        # The first two open connections and read the catalog.
        return samples[2:]

    def _type_rows(self, count: int) -> range:
        rows = range(self._next_row, self._next_row + count)
        self._next_row += count
        with self._world.book.editing("person"):
            for row in rows:
                for header, value in (
                    ("Prompt", f"row {row}"),
                    ("Workflow", "empty-color"),
                    ("Width", "64"),
                    ("Height", "64"),
                ):
                    self._sheet.enter(row, HEADERS.index(header), value)
        return rows

    def _press(self, rows: range) -> float:
        """Select *rows*, press the menu, wait until all are done; milliseconds."""
        changed = threading.Event()
        stop = self._world.book.listen(lambda _change: changed.set())
        try:
            started = time.perf_counter()
            selection = Selection(self._sheet.gid, ((rows[0], 0, rows[-1], len(HEADERS) - 1),))
            self._project.run("generateSelectedRows", selection)
            left = set(rows)
            while left:
                changed.clear()
                left = {row for row in left if self._sheet.cell(row, STATUS).formatted != "done"}
                if left and not changed.wait(PATIENCE_S):
                    raise TimeoutError(f"{len(left)} rows were not done after {PATIENCE_S:.0f} s without news")
            return (time.perf_counter() - started) * 1000
        finally:
            stop()


def timed(what: Callable[[], object]) -> float:
    """Do it, and say how long it took in milliseconds."""
    started = time.perf_counter()
    what()
    return (time.perf_counter() - started) * 1000


def _accepted(api: SheetApi, call: Call, rows: int) -> None:
    answer = guarded(lambda: api.submit_rows(call))
    results: list[dict[str, Any]] = answer.body.get("results", [])
    if [result["result"] for result in results] != ["accepted"] * rows:
        raise RuntimeError(f"the API did not accept the rows: {answer.body}")


def signed_rows(key: str, rows: int) -> Call:
    """Make a signed request of *rows* rows, as Apps Script does."""
    asked = [
        {
            "job_key": str(uuid4()),
            "row": row,
            "workflow": "empty-color",
            "inputs": {"Prompt": f"row {row}", "Color": "teal"},
        }
        for row in range(rows)
    ]
    body = json.dumps({"spreadsheet_id": "bench-sheet", "sheet_id": 0, "rows": asked})
    key_id, secret = split_key(key)
    headers = {"webhook-id": str(uuid4()), "webhook-timestamp": str(int(time.time())), "x-key-id": key_id}
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    headers["webhook-signature"] = Webhook(secret_bytes(secret)).sign(headers["webhook-id"], moment, body)
    return Call(headers, body.encode(), "http://127.0.0.1/bench")


@contextmanager
def cloud_in_environment(world: World) -> Iterator[None]:
    """Point boto3 and the Lambdas' settings at the local cloud."""
    told = {**world.cloud.env(), **_settings(world), "LOG_LEVEL": "ERROR"}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _settings(world: World) -> dict[str, str]:
    """Read the settings that the deployed API has."""
    functions: Any = world.cloud.session().client("lambda")
    told = functions.get_function_configuration(FunctionName=API.name(STAGE))["Environment"]["Variables"]
    return {name: str(value) for name, value in told.items()}
