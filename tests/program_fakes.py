"""Hold the jobs API of programs on fakes, with a clock that tests move."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.catalog import Catalog
from chalicelib.contract.job import Job, Output, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.gate import Gate
from chalicelib.job_watch import Clock
from chalicelib.jobs_api import Desk, JobsApi
from chalicelib.keys import UNKNOWN_KEY, ApiKey
from chalicelib.operations import OPERATIONS
from chalicelib.programs import Programs, Surroundings
from chalicelib.records import Records
from chalicelib.sent_graph import SentGraphs
from chalicelib.submit import Submit
from infra.workflow_files import read_folder
from tests.catalog_fakes import Clock as CatalogClock
from tests.catalog_fakes import MemoryBlobs, push
from tests.fakes import MemoryLedger, MemorySeats
from tests.jobs import NOW

EVERYDAY = frozenset({"read", "submit"})
KEYS = {
    "a": ApiKey("key-a", "studio", EVERYDAY | {"raw"}),
    "a2": ApiKey("key-a2", "studio", EVERYDAY),
    "sheet": ApiKey("key-s", "studio", EVERYDAY, "sheet-1"),
    "admin": ApiKey("key-r", "studio", EVERYDAY | {"raw", "admin"}),
    "b": ApiKey("key-b", "rival", EVERYDAY | {"raw", "admin"}),
}
RED = {"workflow_id": "empty-color", "inputs": {"color": "red"}}


class Ticker:
    """Be a clock whose sleepers wake at once; *then* is called at each wake with the seconds that have passed."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.sleeps: list[float] = []
        self.then: Callable[[float], None] = lambda _: None

    def clock(self) -> Clock:
        return Clock(lambda: self.passed_s, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        self.sleeps.append(seconds)
        self.then(self.passed_s)


class ProgramDesk:
    """Hold the API: a ledger and a bucket in memory, the shipped workflows, five keys of two clients."""

    def __init__(self) -> None:
        self.ledger, self.seats = MemoryLedger(), MemorySeats()
        self.now = NOW
        self.ticker = Ticker()
        self.files = MemoryBlobs()
        self.files.writes_left = 10**9
        self.sent: list[str] = []
        self.hinted: list[str] = []
        self.assets: dict[tuple[str, str], str] = {}
        self.classes: frozenset[str] = frozenset()
        self.owners = {"sheet-1": "studio", "sheet-9": "rival"}
        push(self.files, read_folder())
        self.clock = CatalogClock()
        catalog = Catalog(self.files, self.clock)
        submit = Submit(self.ledger, catalog, self, lambda: self.now)
        around = Surroundings(
            shelf=self.files,
            find_asset=lambda client_id, asset_id: self.assets.get((client_id, asset_id)),
            known_classes=lambda: self.classes,
            owner_of=self.owners.get,
            hint=self.hint,
        )
        self.programs = Programs(submit, self.ledger, around)
        self.jobs_api = JobsApi(
            Desk(
                programs=self.programs,
                ledger=self.ledger,
                records=Records(self),
                graphs=SentGraphs(self.files, catalog),
                hints=self,
                seats=self.seats,
                clock=self.ticker.clock(),
                now_ms=lambda: self.now,
            )
        )
        self.gate = Gate(self)

    def api_key(self, authorization: str) -> ApiKey:
        name = authorization.removeprefix("Bearer ")
        if name not in KEYS:
            raise UNKNOWN_KEY
        return KEYS[name]

    @property
    def kept(self) -> dict[str, bytes]:
        """What lies in the bucket."""
        return self.files.kept

    def get(self, key: str) -> bytes | None:
        return self.files.get(key)

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        return f"https://files/{key}"

    def send(self, jobs: Sequence[Job]) -> int:
        self.sent += [job.job_id for job in jobs]
        return len(jobs)

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        self.hinted.append(job.job_id)

    def ask(
        self, name: str, *, key: str = "a", body: bytes = b"", query: dict[str, str] | None = None, **path: str
    ) -> Answer:
        """Call an operation as app.py does; `idempotency` among *path* is the header."""
        headers = {"authorization": f"Bearer {key}"}
        if "idempotency" in path:
            headers["idempotency-key"] = path.pop("idempotency")
        call = Call(headers, body, "https://host/api", query=query or {})
        [operation] = [one for one in OPERATIONS if one.name == name]
        there: Any = self
        return guarded(lambda: operation.answer(there, self.gate.admitted(replace(call, path=path), operation.scope)))

    def submit(self, asked: object = None, **options: Any) -> Answer:
        """POST a job; without *asked* a plain one."""
        body = json.dumps(RED if asked is None else asked).encode()
        return self.ask("createJob", body=body, **options)

    def job(self, job_id: str) -> Job:
        job = self.ledger.get(job_id)
        assert job is not None
        return job

    def run(self, job_id: str) -> Claimed:
        """Let a worker begin."""
        claimed = self.ledger.claim(job_id, 1, owner="w", token=f"t{self.now}", now=self.now, lease_ms=60_000)
        assert isinstance(claimed, Claimed)
        return claimed

    def end(self, job_id: str, outputs: Sequence[Output] = ()) -> None:
        """Let a worker begin and end well."""
        claimed = self.run(job_id)
        timings = Timings(execution_ms=1200, upload_ms=80)
        assert self.ledger.commit(claimed.lease, now=self.now + 2000, outputs=outputs, timings=timings)
