"""
Ask the deployed API of the local stage from many clients at once, below and beyond what it can do.

The local cloud runs each call that comes while others run in a process of its own: on two cores a stage is full with a
few. What matters beyond that: whoever is refused is told so, with a time; whatever was acknowledged is there and ends.
"""

from __future__ import annotations

import json
import queue
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from bench.crowd import Ask, Connection, Heard, Reply, asking, crowd
from bench.figures import Figure, single, spread
from bench.line import signed_rows
from chalicelib.contract.job import job_id_of
from chalicelib.contract.states import TERMINAL
from chalicelib.ledger import DynamoLedger
from sandbox.waiting import wait_until
from sandbox.world import Wishes, World

FIRST_MS: Final = 2_000.0
WARM: Final = 4
"""Clients that have the first containers started before anything is measured."""
SMALL: Final = {"rate_per_s": "2", "burst": "5"}
"""Of the key that floods: so that the stage is not full, on any machine, and the key's own bound is what it meets."""
GENEROUS: Final = {"rate_per_s": "1000", "burst": "10000", "queued_max": "1000000"}
JOB: Final = json.dumps({"workflow_id": "empty-color", "inputs": {"color": "teal"}}).encode()
SHEET: Final = "bench-sheet"

Note = Callable[[str, Figure], None]


class Stage:
    """Hold a world without a worker, and who asks it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.url = world.cloud.api_url
        session = world.cloud.session()
        self.ledger = DynamoLedger(session.client("dynamodb"), world.cloud.outputs["JobsTable"])

    def token(self, client: str, **terms: str) -> dict[str, str]:
        """Make a key; the headers that carry it."""
        return {"Authorization": f"Bearer {self.world.keys.maker.new_api(client, terms)}"}

    def submits(self, headers: dict[str, str], prefix: str) -> Ask:
        """Submit one job, under a key that tells who asked."""

        def ask(connection: Connection, name: str) -> Reply:
            own = {**headers, "Content-Type": "application/json", "Idempotency-Key": f"{prefix}-{name}"}
            return connection.ask("POST", "/api/v2/jobs", own, JOB)

        return ask

    def made(self, headers: dict[str, str]) -> str:
        """Make one job; its id."""
        reply = self.submits(headers, "known")(Connection(self.url), str(uuid4()))
        if reply.status != 201:
            raise RuntimeError(f"the stage refuses a job (status {reply.status}): {reply.body[:300]!r}")
        return str(reply.json()["id"])

    def reads(self, headers: dict[str, str], path: str) -> Ask:
        """Get the same again and again."""
        return lambda connection, _name: connection.ask("GET", path, headers)


def measure(note: Note, say: Callable[[str], None], *, quick: bool) -> None:
    """Measure throughput and times at growing crowds."""
    seconds, sizes = (3.0, (1, 4)) if quick else (6.0, (1, 4, 16, 64))
    with stage() as there:
        _growing(there, note, say, sizes, seconds)


def flood(note: Note, say: Callable[[str], None], *, quick: bool) -> None:
    """Measure what a flood does to another key, and what becomes of what it asked for."""
    with stage() as there:
        _flooded(there, note, say, 4.0 if quick else 10.0)


@contextmanager
def stage() -> Iterator[Stage]:
    """Run a world for the block."""
    with (
        tempfile.TemporaryDirectory(prefix="comfysheet-load-") as home,
        World(Wishes(home=Path(home), step_ms=0, start_worker=False)) as world,
    ):
        yield Stage(world)


def _growing(there: Stage, note: Note, say: Callable[[str], None], sizes: Sequence[int], seconds: float) -> None:
    headers = there.token("studio", **GENEROUS)
    sheet = there.world.keys.new_sheet("studio", SHEET)
    there.world.keys.maker.change(sheet.split("_")[1], GENEROUS)
    crowd(there.url, there.submits(headers, "warm"), clients=WARM, seconds=8)
    known = there.made(headers)
    made: queue.SimpleQueue[str] = queue.SimpleQueue()
    for size in sizes:
        begun = there.submits(headers, f"s{size}")
        heard = crowd(there.url, begun, clients=size, seconds=seconds)
        _note(note, "submit_1", size, heard)
        _judge(there, note, say, f"s{size}", heard, size)
        for name, reply in heard.replies:
            if reply.status == 201:
                made.put(job_id_of("studio", f"s{size}-{name}"))
        for what, ask in (
            ("get_job", there.reads(headers, f"/api/v2/jobs/{known}")),
            ("list_jobs", there.reads(headers, "/api/v2/jobs?limit=20")),
            ("cancel", _cancels(headers, made)),
        ):
            _note(note, what, size, crowd(there.url, ask, clients=size, seconds=seconds))
        if size <= 16:
            _note(note, "submit_100_rows", size, crowd(there.url, _rows(sheet), clients=size, seconds=seconds))


def _cancels(headers: dict[str, str], made: queue.SimpleQueue[str]) -> Ask:
    last = [made.get()]

    def ask(connection: Connection, _name: str) -> Reply:
        # One that is cancelled already is asked for again: the same answer, and no write.
        with suppress(queue.Empty):
            last[0] = made.get_nowait()
        return connection.ask("POST", f"/api/v2/jobs/{last[0]}/cancel", headers)

    return ask


def _rows(key: str) -> Ask:
    def ask(connection: Connection, _name: str) -> Reply:
        call = signed_rows(key, 100)
        return connection.ask(
            "POST", "/v1/sheets/jobs", {**call.headers, "Content-Type": "application/json"}, call.body
        )

    return ask


def _note(note: Note, what: str, clients: int, heard: Heard) -> None:
    good = heard.ms()
    name = f"stage_{what}_{clients}_clients"
    if good:
        note(f"{name}_ms", spread(good, "ms"))
    note(f"{name}_per_s", single(len(good) / heard.seconds, "answers/s", len(heard.replies)))
    counted = Counter(reply.status for _, reply in heard.replies if not 200 <= reply.status < 300)
    note(
        f"{name}_refused",
        single(100 * heard.share(lambda status: status >= 300 or not status), "%", len(heard.replies)),
    )
    if counted:
        note(f"{name}_statuses {dict(counted)}", single(sum(counted.values()), "answers", len(heard.replies)))


def _judge(
    there: Stage,
    note: Note,
    say: Callable[[str], None],
    prefix: str,
    heard: Heard,
    clients: int,
    client: str = "studio",
) -> list[str]:
    """Hold every answer against the table: what was acknowledged is there, what was refused is not; the ids there."""
    kept = {name: job_id_of(client, f"{prefix}-{name}") for name, _ in heard.replies}
    there_now = {job.job_id for job in there.ledger.get_many([*kept.values()])}
    lost = [name for name, reply in heard.replies if reply.status == 201 and kept[name] not in there_now]
    # Of no answer nobody knows; of a refusal one does.
    made = [name for name, reply in heard.replies if 400 <= reply.status < 500 and kept[name] in there_now]
    in_doubt = sum(reply.status == 0 or reply.status >= 500 for _, reply in heard.replies)
    note(f"stage_submit_1_{clients}_clients_lost", single(len(lost), "acknowledged jobs that are not there", len(kept)))
    note(f"stage_submit_1_{clients}_clients_made_though_refused", single(len(made), "jobs", len(kept)))
    if lost or made:
        say(f"BROKEN: {len(lost)} acknowledged jobs are lost, {len(made)} refused ones were made")
    if in_doubt:
        say(f"{in_doubt} of {len(kept)} submissions of {clients} clients were not answered, or with 5xx")
    return [kept[name] for name, reply in heard.replies if reply.status == 201]


def _flooded(there: Stage, note: Note, say: Callable[[str], None], seconds: float) -> None:
    """Flood with a key of small limits while another key asks now and then; then end what was acknowledged."""
    innocent, flooding = there.token("innocent"), there.token("flood", **SMALL)
    submits = there.submits(innocent, "i")
    crowd(there.url, there.submits(there.token("warm", **GENEROUS), "w"), clients=WARM, seconds=6)
    # What the crowd has begun is worked off before anything is compared.
    for number in range(20):
        if submits(Connection(there.url), f"first-{number}").ms < FIRST_MS:
            break
    alone = crowd(there.url, submits, clients=1, seconds=2 * seconds, pause_s=0.15)
    if alone.ms():
        note("innocent_alone_ms", spread(alone.ms(), "ms"))
    acknowledged: list[str] = []
    # Paced: about twice what the key may; then as fast as the answers come.
    for mark, clients, pause_s in (("of_twice_its_rate", 2, 0.4), ("without_end", 4, 0.0)):
        prefix = f"f{clients}"
        with asking(there.url, there.submits(flooding, prefix), clients=clients, pause_s=pause_s) as flood:
            beside = crowd(
                there.url, there.submits(innocent, f"i{clients}"), clients=1, seconds=2 * seconds, pause_s=0.15
            )
        heard = flood()
        _note(note, f"flood_{mark}", clients, heard)
        refused = [reply for _, reply in heard.replies if reply.status == 429]
        clear = [reply for reply in refused if _is_clear(reply)]
        note(f"flood_{mark}_refusals", single(len(refused), "answers 429", len(heard.replies)))
        note(f"flood_{mark}_refusals_clear", single(len(clear), "with Retry-After and a sentence", len(refused)))
        acknowledged += _judge(there, note, say, prefix, heard, clients, "flood")
        _compare(note, say, mark, alone.ms(), beside)
    worker = there.world.start_worker(SLOTS="4")
    ended = wait_until(lambda: _all_ended(there, acknowledged), 180, 0.5)
    worker.stop()
    left = sum(job.state not in TERMINAL for job in there.ledger.get_many(acknowledged))
    note("flood_acknowledged_and_ended", single(len(acknowledged) - left, "jobs", len(acknowledged)))
    if not ended:
        say(f"{left} of {len(acknowledged)} acknowledged jobs have not ended within 3 minutes")


def _compare(note: Note, say: Callable[[str], None], mark: str, alone: Sequence[float], beside: Heard) -> None:
    """Say how much longer an innocent key waits beside a flood than alone."""
    if not alone or not beside.ms():
        say("the machine is too busy: the innocent key was not answered")
        return
    before, after = spread(alone, "ms"), spread(beside.ms(), "ms")
    note(f"innocent_beside_a_flood_{mark}_ms", after)
    for rank, then, now in (("p50", before.p50, after.p50), ("p95", before.p95, after.p95)):
        note(f"innocent_{rank}_beside_a_flood_{mark}", single((now or 0) / (then or 1), "x of alone", after.n))
    note(f"innocent_refused_{mark}", single(100 * beside.share(lambda status: status != 201), "%", after.n))


def _is_clear(reply: Reply) -> bool:
    try:
        told = reply.json()["error"]
    except (ValueError, KeyError, TypeError):
        return False
    return int(reply.headers.get("retry-after", "0")) >= 1 and str(told["message"]).endswith(".")


def _all_ended(there: Stage, ids: Sequence[str]) -> bool:
    return all(job.state in TERMINAL for job in there.ledger.get_many(ids))
