"""A spreadsheet with the real script, people who answer its questions, and an API in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from chalicelib.contract.words import fold
from sandbox.apps_script import (
    Execution,
    FetchRequest,
    FetchResponse,
    Pace,
    PropertyStore,
    ScriptProject,
    Selection,
)
from sandbox.workbook import Sheet, Workbook

SCRIPT: Final = Path(__file__).resolve().parent.parent / "apps_script"
KEY: Final = "ck_0123456789ab_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM"
HEADERS: Final = (
    "Prompt", "Workflow", "Steps", "Seed", "Status", "Preview", "Output URL", "Started at", "Finished at", "Error",
    "Job ID",
)  # fmt: skip
WORKFLOWS: Final[list[dict[str, Any]]] = [
    {
        "id": "flux-schnell",
        "name": "FLUX.1 schnell",
        "description": "Four steps.",
        "parameters": [
            {"name": "prompt", "label": "Prompt", "type": "string", "required": True, "aliases": ["positive"],
             "description": "What the picture shows."},
            {"name": "seed", "label": "Seed", "type": "seed", "default": "random", "required": False, "aliases": []},
            {"name": "steps", "label": "Steps", "type": "integer", "default": 4, "min": 1, "max": 50, "required": False,
             "aliases": [], "description": "More steps are slower and finer."},
            {"name": "cfg", "label": "CFG", "type": "float", "default": 1.0, "min": 0, "max": 10,
             "aliases": ["cfg scale"]},
            {"name": "sampler", "label": "Sampler", "type": "choice", "default": "euler", "choices": ["euler", "heun"],
             "aliases": ["sampler name"]},
            {"name": "lora", "label": "LoRA", "type": "lora", "default": "None", "choices": ["ink.safetensors"]},
        ],
    },
    {
        "id": "empty-color",
        "name": "One colour",
        "description": "Needs no model.",
        "parameters": [
            {"name": "color", "label": "Color", "type": "color", "default": "teal", "aliases": ["colour"]},
            {"name": "steps", "label": "Steps", "type": "integer", "default": 20, "min": 1, "max": 150},
        ],
    },
]  # fmt: skip


class Killed(BaseException):
    """Be the end that Google makes of a script after six minutes: nothing of it runs any more."""


class Person:
    """Be a person: answers questions as told, and remembers everything that was shown."""

    def __init__(self, answer: str | Callable[[str], str] = "YES") -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.told: list[str] = []
        self.insisted: list[str] = []
        self.pages: list[tuple[str, str]] = []
        self.shown: list[tuple[int, ...]] = []

    def alert(self, title: str, text: str, buttons: str) -> str:
        if buttons == "OK":
            self.insisted.append(text)
            return "OK"
        self.asked.append(text)
        return self.answer(text) if callable(self.answer) else self.answer

    def prompt(self, title: str, text: str, buttons: str) -> tuple[str, str]:
        raise AssertionError(f"asked for a line of text: {text}")

    def toast(self, message: str, title: str, seconds: float) -> None:
        self.told.append(message)

    def sidebar(self, title: str, html: str) -> None:
        self.pages.append((title, html))

    def dialog(self, title: str, html: str, width: int | None = None, height: int | None = None) -> None:
        self.pages.append((title, html))

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        self.shown.append((sheet_id, *(first + 1 for first, *_ in ranges)))


class Still:
    """Be a clock that does not make anybody wait."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


Handler = Callable[[dict[str, Any]], Any]


class MemoryApi:
    """Be the API: jobs by key, everything else by a table of answers that a test may change."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {}
        self.wishes: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Handler] = {
            "/v1/sheets/jobs": self._take,
            "/v1/sheets/cancel": self._cancel,
            "/v1/sheets/progress": self._progress,
            "/v1/sheets/fetch": self._fetch,
            "/v1/sheets/workflows": lambda body: {"workflows": WORKFLOWS},
            "/v1/sheets/connection": lambda body: self.connection,
            "/v1/sheets/auto": self._auto,
            "/v1/sheets/claims": self._claim,
            "/v1/sheets/errands": lambda body: {"id": "e1"},
            "/v1/sheets/errands/look": lambda body: {"state": "done", "message": "The sheet can be read and written."},
            "/health": lambda body: {"status": "ok", "version": "1.2"},
        }
        self.before: Callable[[str, dict[str, Any]], Any] = lambda path, body: None
        self.ignored: list[str] = []
        self.holder: str | None = None
        self.gone = self.fresh = 0
        self.connection: dict[str, Any] = {
            "client": "studio-a", "key_id": "0123456789ab", "service_account": "sheets@example.iam", "version": "1.2",
            "auto": False, "parked": None, "limits": {"rows_per_request": 100, "queued_max": 1000},
            "usage": {"images": 12, "gpu_s": 34.5, "cost": "$0.42"}, "workers": 1, "waiting": 3,
        }  # fmt: skip

    def __call__(self, request: FetchRequest) -> FetchResponse:
        path = urlsplit(request.url).path.removeprefix("/prod")
        body = json.loads(request.body or b"{}")
        self.requests.append((path, body))
        early = self.before(path, body)
        if isinstance(early, FetchResponse):
            return early
        answer = self.answers[path](body)
        if isinstance(answer, FetchResponse):
            return answer
        return FetchResponse(200, json.dumps(answer).encode())

    def sent(self, path: str = "/v1/sheets/jobs") -> list[dict[str, Any]]:
        """Give the bodies that went to *path*."""
        return [body for where, body in self.requests if where == path]

    def rows(self) -> list[dict[str, Any]]:
        """Give every row of every submission that arrived."""
        return [row for body in self.sent() for row in body["rows"]]

    def _take(self, body: dict[str, Any]) -> dict[str, Any]:
        assert set(body) == {"spreadsheet_id", "sheet_id", "columns", "rows"} and 1 <= len(body["rows"]) <= 100
        results = []
        for row in body["rows"]:
            key = row["job_key"]
            one: dict[str, Any] = {"job_key": key, "job_id": f"j-{key}", "result": "accepted", "state": "queued"}
            if key in self.jobs:
                one["result"] = "duplicate"
            elif row["inputs"].get("Steps") == "many":
                one |= {"result": "rejected", "code": "invalid_input", "message": "Steps must be a whole number."}
            else:
                self.jobs[key] = "queued"
                self.wishes[key] = row
            ignored = [header for header in self.ignored if header in row["inputs"]]
            results.append({**one, **({"ignored": ignored} if ignored else {})})
        return {"results": results}

    def _cancel(self, body: dict[str, Any]) -> dict[str, Any]:
        results = []
        for key in body["job_keys"]:
            state = self.jobs.get(key)
            if state in ("queued", "running"):
                self.jobs[key] = "canceled"
                results.append({"job_key": key, "result": "cancelled", "state": "canceled"})
            else:
                results.append({"job_key": key, "result": "ended" if state else "unknown", "state": state or ""})
        return {"results": results}

    def _fetch(self, body: dict[str, Any]) -> dict[str, Any]:
        words = {"queued": "under_way", "running": "under_way", None: "unknown"}
        states = [(key, self.jobs.get(key)) for key in body["job_keys"]]
        results = [{"job_key": key, "result": words.get(state, "coming")} for key, state in states]
        return {"results": results, "gone": self.gone, "fresh": self.fresh}

    def _progress(self, body: dict[str, Any]) -> dict[str, Any]:
        jobs = [
            {
                "job_key": key, "state": self.jobs.get(key, "unknown"), "fraction": None, "node": None, "step": None,
                "steps": None, "position": None, "eta_s": None, "error": None, "page": None,
            }
            for key in body["job_keys"]
        ]  # fmt: skip
        more = {name: self.connection[name] for name in ("waiting", "workers", "usage", "parked", "auto")}
        return {"jobs": jobs, **more, "poll_s": 3}

    def _auto(self, body: dict[str, Any]) -> dict[str, Any]:
        self.connection["auto"] = body["on"]
        return {"on": body["on"]}

    def _claim(self, body: dict[str, Any]) -> dict[str, Any]:
        if not body["hold"]:
            self.holder = None if self.holder == body["token"] else self.holder
            return {"held": False, "wait_s": 0}
        self.holder = self.holder or body["token"]
        held = self.holder == body["token"]
        return {"held": held, "wait_s": 0 if held else 5}


def refusal(status: int, message: str = "", code: str = "x") -> FetchResponse:
    """Answer as the API does when it refuses a whole request."""
    return FetchResponse(status, json.dumps({"error": {"code": code, "message": message}}).encode())


class ScriptWorld:
    """Hold one spreadsheet, its script, one person, and the API."""

    def __init__(self, headers: Iterable[str] = HEADERS, *, rows: int = 1000, script: Path = SCRIPT) -> None:
        self.book = Workbook("sheet-1", "Pictures")
        self.sheet: Sheet = self.book.add_sheet("Tab", rows=rows + 1)
        for column, header in enumerate(headers):
            self.sheet.enter(0, column, header)
        self.api = MemoryApi()
        self.person = Person()
        self.clock = Still()
        document = {"API_URL": "https://api.example/prod", "SHEET_KEY": KEY, "SPREADSHEET_ID": "sheet-1"}
        self.properties = PropertyStore({"document": document})
        self.script = script
        self.project = self.project_of(self.person)

    def project_of(self, person: Person, user: str = "user@example.com", pace: Pace | None = None) -> ScriptProject:
        """Give the script as another person runs it; with a *pace* Google's time is counted."""
        return ScriptProject(
            self.script, self.book, properties=self.properties, ui=person, fetch=self.api, user=user, clock=self.clock,
            pace=pace,
        )  # fmt: skip

    @property
    def document(self) -> dict[str, str]:
        """Give the document's properties."""
        return self.properties.document

    def column(self, header: str) -> int:
        """Find a column by its header as it is now."""
        width = self.sheet.data_extent()[1]
        return [fold(self.sheet.cell(0, col).formatted) for col in range(width)].index(fold(header))

    def headers(self) -> list[str]:
        """Give row 1."""
        return [self.sheet.cell(0, col).formatted for col in range(self.sheet.data_extent()[1])]

    def put(self, row: int, **cells: Any) -> None:
        """Fill cells of a row (1-based, as people count); Output_URL stands for "Output URL"."""
        for header, value in cells.items():
            self.sheet.set_cell(row - 1, self.column(header), value)

    def fill(self, count: int, first: int = 2, **cells: Any) -> None:
        """Fill rows with prompts p2, p3 ... by row number."""
        for row in range(first, first + count):
            self.put(row, Prompt=f"p{row}", Workflow="flux-schnell", **cells)

    def text(self, row: int, header: str) -> str:
        """Read what a cell shows."""
        return self.sheet.cell(row - 1, self.column(header)).formatted

    def note(self, row: int, header: str) -> str:
        """Read a cell's note."""
        return self.sheet.cell(row - 1, self.column(header)).note or ""

    def statuses(self, *rows: int) -> list[str]:
        """Read the Status of these rows."""
        return [self.text(row, "Status") for row in rows]

    def run(
        self, function: str, *rows: tuple[int, int], args: Iterable[Any] = (), by: ScriptProject | None = None
    ) -> Any:
        """Run *function* with these rows selected: (first, last), 1-based, inclusive."""
        ranges = tuple((first - 1, 0, last - 1, 0) for first, last in rows)
        return (by or self.project).run(function, Selection(self.sheet.gid, ranges), list(args))

    def last(self) -> Execution:
        """Give the last execution."""
        return self.project.log[-1]

    def cells(self) -> dict[tuple[int, int], tuple[str, str | None]]:
        """Give everything that stands in the sheet: text and note by place."""
        height, width = self.sheet.data_extent()
        found = {}
        for row in range(height):
            for col in range(width):
                cell = self.sheet.cell(row, col)
                if cell.formatted or cell.note:
                    found[row, col] = (cell.formatted, cell.note)
        return found
