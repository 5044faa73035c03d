"""
Call the API's operations in this process over the local cloud, and say whose the time is.

The local cloud runs a Lambda as a process of its own, and looks things up in Python lists: its times are not AWS's.
What is the API's own doing is the processor time of a call, how many calls of AWS it makes, and how many items
DynamoDB looks at for it; these are counted here.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from botocore.config import Config

from bench.figures import Figure, single, spread
from bench.line import cloud_in_environment, signed_rows
from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.operations import OPERATIONS
from sandbox.world import Wishes, World

_BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
SINGLE: Final = json.dumps({"workflow_id": "empty-color", "inputs": {"color": "teal"}}).encode()
GENEROUS: Final = {"rate_per_s": "1000", "burst": "100000", "queued_max": "1000000", "scopes": "read submit raw admin"}

Note = Callable[[str, Figure], None]


@dataclass(frozen=True)
class Cost:
    """Hold what calls of one kind cost, each: wall time, the cloud's part of it, our processor time, what was asked."""

    ms: list[float]
    cloud_ms: list[float]
    cpu_ms: float
    calls: float
    items: float
    units: float
    """Read units of DynamoDB as it told them (half a unit for 4 KB, eventually consistent)."""


class Desk:
    """Call operations as app.py does, under one key, and watch what AWS is asked meanwhile."""

    def __init__(self, world: World, client: str) -> None:
        from chalicelib.wiring import World as Lambdas
        from chalicelib.wiring import clients

        # The local cloud searches large tables for longer than AWS answers: its time is not what is measured here.
        clients.PATIENCE = clients.PATIENCE.merge(Config(read_timeout=120))
        self.lambdas = Lambdas(os.environ)
        self.key = world.keys.maker.new_api(client, GENEROUS)
        self.calls = self.items = 0
        self.units = 0.0
        self.cloud_ms = 0.0
        self._asked = threading.local()
        self._lock = threading.Lock()
        # Before any client is made: each takes a copy of these.
        events = self.lambdas._session.events
        events.register("provide-client-params.dynamodb", self._count_units)
        events.register("before-send", self._sent)
        events.register("response-received", self._heard)
        events.register("after-call.dynamodb", self._counted)

    @contextmanager
    def another(self, world: World, client: str) -> Iterator[None]:
        """Call as another client within the block."""
        mine, self.key = self.key, world.keys.maker.new_api(client, GENEROUS)
        try:
            yield
        finally:
            self.key = mine

    def call(self, name: str, body: bytes = b"", query: dict[str, str] | None = None, **path: str) -> Answer:
        """Answer operation *name*; raise RuntimeError when it is refused."""
        operation = _BY_NAME[name]
        headers = {"authorization": f"Bearer {self.key}", "idempotency-key": str(uuid4())}
        call = Call(headers, body, "https://bench/api", path, query or {})
        answer = guarded(lambda: operation.answer(self.lambdas, self.lambdas.gate.admitted(call, operation.scope)))
        if answer.status >= 400:
            raise RuntimeError(f"{name} was refused: {answer.body}")
        return answer

    def cost(self, what: Callable[[], object], times: int, warm: int = 2) -> Cost:
        """Do *what* so many times, and say what each costs; the first ones open connections and are not counted."""
        for _ in range(warm):
            what()
        ms, cloud, calls, items, units = [], [], self.calls, self.items, self.units
        cpu_s = time.process_time()
        for _ in range(times):
            self.cloud_ms, begun = 0.0, time.perf_counter()
            what()
            ms.append((time.perf_counter() - begun) * 1000)
            cloud.append(self.cloud_ms)
        return Cost(
            ms,
            cloud,
            (time.process_time() - cpu_s) * 1000 / times,
            (self.calls - calls) / times,
            (self.items - items) / times,
            (self.units - units) / times,
        )

    def _count_units(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if "ReturnConsumedCapacity" in (model.input_shape.members if model.input_shape is not None else {}):
            params["ReturnConsumedCapacity"] = "TOTAL"

    def _sent(self, **_: Any) -> None:
        self._asked.at = time.perf_counter()

    def _heard(self, **_: Any) -> None:
        with self._lock:
            self.calls += 1
            self.cloud_ms += (time.perf_counter() - self._asked.at) * 1000

    def _counted(self, parsed: dict[str, Any], **_: Any) -> None:
        # BatchGetItem answers by table, a query counts, and every other call is about one item.
        several = sum(len(items) for items in parsed["Responses"].values()) if "Responses" in parsed else 1
        told = parsed.get("ConsumedCapacity", [])
        with self._lock:
            self.items += int(parsed.get("ScannedCount", several))
            self.units += sum(
                float(each.get("CapacityUnits", 0)) for each in (told if isinstance(told, list) else [told])
            )


def note_cost(note: Note, name: str, cost: Cost) -> None:
    """Note what calls of one kind cost."""
    times = len(cost.ms)
    note(f"{name}_ms", spread(cost.ms, "ms"))
    note(f"{name}_cloud_ms", single(statistics.median(cost.cloud_ms), "ms, the cloud's part", times))
    note(f"{name}_cpu_ms", single(cost.cpu_ms, "ms of a processor", times))
    note(f"{name}_answers_per_cpu_s", single(1000 / cost.cpu_ms, "answers a second of a processor", times))
    note(f"{name}_aws_calls", single(cost.calls, "calls", times))


def measure(note: Note, _say: Callable[[str], None], *, quick: bool) -> None:
    """Measure the calls that programs and sheets make most, one after the other."""
    times = 20 if quick else 200
    # Each call would be a line.
    logging.getLogger("chalicelib").setLevel(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="comfysheet-load-") as home,
        World(Wishes(home=Path(home), step_ms=0, start_worker=False)) as world,
        cloud_in_environment(world),
    ):
        desk = Desk(world, "studio")
        known = str(desk.call("createJob", SINGLE).body["id"])
        sheet = world.keys.new_sheet("studio", "bench-sheet")
        world.keys.maker.change(sheet.split("_")[1], {each: GENEROUS[each] for each in ("rate_per_s", "queued_max")})
        open_ids: list[str] = []

        def rows() -> None:
            answer = guarded(lambda: desk.lambdas.sheet_api.submit_rows(signed_rows(sheet, 100)))
            assert answer.status < 300, answer.body

        asked: tuple[tuple[str, Callable[[], object], int], ...] = (
            ("submit_1", lambda: open_ids.append(desk.call("createJob", SINGLE).body["id"]), times),
            ("get_job", lambda: desk.call("getJob", job_id=known), times),
            ("list_20_jobs", lambda: desk.call("listJobs", query={"limit": "20"}), times),
            ("cancel", lambda: desk.call("cancelJob", job_id=open_ids.pop()), times - 10),
            ("submit_100_rows", rows, max(5, times // 10)),
        )
        for name, what, often in asked:
            note_cost(note, f"desk_{name}", desk.cost(what, often))
