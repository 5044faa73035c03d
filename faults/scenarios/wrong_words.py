"""Do everything wrong that a person or a program can do wrong, and judge every answer as a sentence (P20)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from chalicelib.contract.states import OPEN
from faults.desk import Desk
from faults.farm import Farm
from faults.report import Outcome, Tally
from faults.scenario import Scenario, Size
from faults.words import breaches_of, leaks_of

SDXL: Final = {"Workflow": "txt2img-sdxl", "Width": "64", "Height": "64", "Steps": "4"}
NUMBERS: Final = (
    "abc", "-1", "9999", "1e9", "NaN", "inf", "0x10", "1.5", "1,000.5", "TRUE", "½", "one", "1 2", "12 px", "--1",
)  # fmt: skip
NOBODY: Final = "00000000-0000-4000-8000-000000000000"


def wrong_rows() -> Iterator[dict[str, str]]:
    """Give rows that cannot work, each wrong in one way."""
    for column in ("Steps", "Width", "Height", "Seed"):
        for value in NUMBERS:
            if (column, value) not in {("Seed", "9999"), ("Seed", "1e9"), ("Width", "9999x")}:
                yield {"Prompt": "a fox", **SDXL, column: value}
    for workflow in (
        "nope",
        "txt2img-sdlx",
        "TXT2IMG",
        "w" * 300,
        "=1+1",
        "../../etc/passwd",
        "<b>x</b>",
        "txt2img sdxl!",
    ):
        yield {"Prompt": "a fox", **SDXL, "Workflow": workflow}
    for prompt in ("x" * 9_000, "{{Nobody}}", "__no-such-list__", "{{Prompt}}"):
        yield {**SDXL, "Prompt": prompt}
    for color in ("notacolour", "#12", "#gggggg", "rgb(1,2,3)", "#1234567", "teal blue", "-"):
        yield {"Prompt": "a colour", "Workflow": "empty-color", "Color": color}
    for side in ("1", "63", "5000", "100000"):
        yield {"Prompt": "a size", "Workflow": "empty-color", "Width": side}
    yield {"Prompt": "", **SDXL}
    yield {"Prompt": "too much of all", **SDXL, "Width": "4096", "Height": "4096", "Steps": "150"}


@dataclass(frozen=True)
class Wrong:
    """Describe a request that must be refused."""

    what: str
    method: str
    path: str
    more: dict[str, Any] = field(default_factory=dict)


def wrong_requests() -> Iterator[Wrong]:
    """Give requests that must be refused, each wrong in one way."""
    yield from _wrong_jobs()
    yield from _wrong_places()
    yield from _wrong_others()


def _wrong_jobs() -> Iterator[Wrong]:
    jobs = "/api/v2/jobs"
    good: dict[str, Any] = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "a fox"}}
    for what, text in (
        ("no JSON", b"{"), ("an empty body", b""), ("a list", b"[]"), ("a number", b"7"), ("NaN", b'{"inputs": NaN}'),
        ("not UTF-8", b"\xff\xfe{}"), ("a lone surrogate", b'{"workflow_id": "\\ud800"}'), ("deep", b"[" * 5_000),
        ("a key twice", b'{"workflow_id": "a", "workflow_id": "b"}'),
    ):  # fmt: skip
        yield Wrong(f"job: {what}", "POST", jobs, {"data": text, "headers": {"Content-Type": "application/json"}})
    bodies: dict[str, Any] = {
        "no workflow": {"inputs": {"prompt": "x"}},
        "an unknown field": {**good, "colour": "x"},
        "a workflow of another type": {**good, "workflow_id": 7},
        "an unknown workflow": {**good, "workflow_id": "txt2img-sdlx"},
        "inputs that are a list": {**good, "inputs": []},
        "an unknown input": {**good, "inputs": {"prompt": "x", "stpes": 4}},
        "no prompt": {**good, "inputs": {}},
        "an input of another type": {**good, "inputs": {"prompt": {"a": 1}}},
        "too many steps": {**good, "inputs": {"prompt": "x", "steps": 9_999}},
        "steps that are no number": {**good, "inputs": {"prompt": "x", "steps": "many"}},
        "a field that nobody fills": {**good, "inputs": {"prompt": "a {{thing}}"}},
        "too long a prompt": {**good, "inputs": {"prompt": "x" * 9_000}},
        "too many tags": {**good, "tags": [f"t{n}" for n in range(200)]},
        "a tag that is no word": {**good, "tags": [""]},
        "metadata of another type": {**good, "metadata": {"a": [1]}},
        "a priority out of bounds": {**good, "priority": 10_000},
        "a webhook that is no address": {**good, "webhook_url": "not an address"},
        "a path for a model": {**good, "inputs": {"prompt": "x", "model": "../../etc/passwd"}},
        "a graph and a workflow": {**good, "workflow": {"1": {"class_type": "SaveImage", "inputs": {}}}},
        "a graph without the right to": {"workflow": {"1": {"class_type": "SaveImage", "inputs": {}}}},
        "a graph that is none": {"workflow": "x"},
    }
    for what, body in bodies.items():
        yield Wrong(f"job: {what}", "POST", jobs, {"json": body})
    yield Wrong(
        "job: too long an Idempotency-Key", "POST", jobs, {"json": good, "headers": {"Idempotency-Key": "k" * 300}}
    )
    yield Wrong("job: too large", "POST", jobs, {"json": {**good, "metadata": {"a": "x" * 400_000}}})


def _wrong_places() -> Iterator[Wrong]:
    jobs = "/api/v2/jobs"
    for word in ("", "/cancel", "/retry", "/workflow", "/events", "/log"):
        method = "POST" if word in ("/cancel", "/retry") else "GET"
        yield Wrong(f"an unknown job{word}", method, f"{jobs}/{NOBODY}{word}")
        yield Wrong(f"a job that is no id{word}", method, f"{jobs}/x'; DROP--{word}")
    for query in (
        "status=nope",
        "limit=0",
        "limit=x",
        "limit=9999",
        "cursor=%00",
        "cursor=abc",
        "wait=x",
        "created_after=x",
    ):
        yield Wrong(f"jobs?{query}", "GET", f"{jobs}?{query}")


def _wrong_others() -> Iterator[Wrong]:
    batches = "/api/v2/batches"
    job = {"workflow_id": "empty-color"}
    for what, body in (
        ("nothing in it", {}),
        ("too many", {"job": job, "expand": {"width": list(range(64, 400)), "height": list(range(64, 400))}}),
        ("a wrong value", {"job": job, "expand": {"width": [64, -1]}}),
        ("an unknown input", {"job": job, "expand": {"wdith": [64]}}),
        ("an unknown workflow", {"job": {"workflow_id": "nope"}, "expand": {"width": [64]}}),
    ):
        yield Wrong(f"batch: {what}", "POST", batches, {"json": body})
    yield Wrong("an unknown batch", "GET", f"{batches}/{NOBODY}")
    yield Wrong("an unknown workflow", "GET", "/api/v2/workflows/nope")
    hooks: tuple[tuple[str, dict[str, Any]], ...] = (
        ("no address", {}),
        ("a wrong address", {"url": "x"}),
        ("a wrong event", {"url": "https://a.example/", "events": ["x"]}),
    )
    for what, body in hooks:
        yield Wrong(f"webhook: {what}", "POST", "/api/v2/webhooks", {"json": body})
    yield Wrong("an unknown webhook", "DELETE", f"/api/v2/webhooks/{NOBODY}")
    for what, key in (
        ("no key", ""),
        ("nonsense", "Bearer x"),
        ("another's", "Bearer ck_0123456789ab_" + "A" * 43),
        ("Basic", "Basic YTpi"),
    ):
        yield Wrong(f"a call with {what}", "GET", "/api/v2/jobs", {"headers": {"Authorization": key}})
    yield Wrong("a sheet's call without a signature", "POST", "/v1/sheets/jobs", {"json": {"rows": []}})


def typed(farm: Farm, _size: Size) -> Outcome:
    """Every wrong row in one press, every wrong request once: each answer is a sentence with a next step."""
    wrong: list[str] = []
    cells = _rows(farm, wrong)
    calls = _requests(farm, wrong)
    figures: dict[str, float | int | str] = {"cells judged": cells, "answers judged": calls}
    return Outcome(Tally(), figures, tuple(wrong))


def _rows(farm: Farm, wrong: list[str]) -> int:
    desk, rows = Desk(farm, "wrong"), list(wrong_rows())
    placed = desk.type_rows(rows)
    told = desk.generate(placed)
    wrong += [f"the menu says “{text}”, which {breach}" for text in told for breach in leaks_of(text)]
    judged = 0
    for row, line in zip(rows, desk.lines(), strict=False):
        about = {name: text[:40] for name, text in row.items() if SDXL.get(name) != text}
        if line["Status"] != "error":
            if line["Job ID"]:
                wrong.append(f"the row {about} was accepted")
            continue
        judged += 1
        wrong += [f"the row {about} says “{line['Error']}”, which {breach}" for breach in breaches_of(line["Error"])]
    if any(job.state in OPEN for job in desk.jobs().values()):
        desk.press("cancelSelected", placed)
    desk.close()
    return judged


def _requests(farm: Farm, wrong: list[str]) -> int:
    judged = 0
    client = f"wrong-{uuid4().hex[:6]}"
    for each in wrong_requests():
        answer = farm.call(each.method, each.path, client=client, timeout_s=60, **dict(each.more))
        try:
            told = answer.json()
        except ValueError:
            told = None
        error = told.get("error") if isinstance(told, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        if not 400 <= answer.status_code < 500:
            wrong.append(f"{each.what}: answered {answer.status_code}: {answer.text[:150]}")
        elif not isinstance(message, str):
            wrong.append(f"{each.what}: {answer.status_code} without a sentence: {answer.text[:150]}")
        else:
            judged += 1
            wrong += [f"{each.what}: “{message}” {breach}" for breach in breaches_of(message)]
    return judged


SCENARIOS = (Scenario("F14", "everything that a person can type wrong, in cells and over the API", ("P20",), typed),)
