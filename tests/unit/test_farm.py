"""Judge what a program is told of the workers and of the queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.contract.card import LATE_MS, Seen, ServerCard
from chalicelib.contract.job import Job, Progress
from chalicelib.contract.kit import LIVE_MS, Kit
from chalicelib.contract.states import State
from chalicelib.farm import LOOKED_AT, MAX_NAMES, Farm
from chalicelib.gate import Gate
from chalicelib.keys import ApiKey
from chalicelib.operations.workers import WORKERS
from chalicelib.queues import Depth
from chalicelib.workers_api import WorkersApi
from tests.jobs import NOW, new_job

OTHERS = new_job(client_id="other", state=State.RUNNING, owner="box-1")


@dataclass(frozen=True)
class Open:
    """Hold the ids of open jobs."""

    sent: tuple[str, ...]
    held: tuple[str, ...]


@dataclass
class Yard:
    """Hold jobs, cards, paces and a queue in memory."""

    jobs: list[Job] = field(default_factory=list)
    cards: list[Seen] = field(default_factory=list)
    paces: dict[str, int] = field(default_factory=dict)
    counts: Depth | None = field(default_factory=lambda: Depth(0, 0))
    now: int = NOW

    def line(self, client_id: str, limit: int) -> Open:
        ids = [job.job_id for job in self.jobs if job.client_id == client_id][:limit]
        return Open(tuple(ids[:3]), tuple(ids[3:]))

    def open_jobs(self, client_id: str) -> int:
        return sum(job.client_id == client_id for job in self.jobs)

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        return [job for job in self.jobs if job.job_id in set(job_ids)]

    def pace_ms(self, workflow_hash: str) -> int | None:
        return self.paces.get(workflow_hash)

    def seen(self) -> list[Seen]:
        return self.cards

    def depth(self) -> Depth | None:
        return self.counts

    @property
    def farm(self) -> Farm:
        return Farm(self, self, self, self, lambda: self.now)

    def only(self, **asked: bool) -> Any:
        [worker] = self.farm.workers("client-1", **({"is_admin": False, "with_models": False} | asked)).workers
        return worker


def card(worker: str = "box-1", age_ms: int = 0, kits: tuple[Kit, ...] = (), **server: Any) -> Seen:
    return Seen(worker, NOW - age_ms, (ServerCard(**server),), kits, started_at=NOW - 60_000, jobs_done=4)


def kit(**files: list[str]) -> Kit:
    models = {(f"Loads{name}", name): frozenset(names) for name, names in files.items()}
    return Kit(frozenset({"SaveImage"}), models)


# -- workers ---------------------------------------------------------------------------------------------------------


def test_a_worker_is_shown_as_its_card_has_it() -> None:
    """Its GPU, memory, version, slots, idle gaps, what it has done; no address of a server."""
    server = {"name": "http://10.0.0.7:8188", "device": "cuda:0 Fake 9000", "version": "0.28.0", "slots": 2}
    seen = card(**server, vram_total_bytes=24, vram_free_bytes=20, idle_p50_ms=1.5, idle_p90_ms=9.0, queue=1)
    shown = Yard(cards=[seen]).only()
    [one] = shown.servers
    assert (one.gpu, one.comfyui_version, one.slots, one.queue) == ("cuda:0 Fake 9000", "0.28.0", 2, 1)
    assert (one.vram_total_bytes, one.vram_free_bytes, one.idle_p50_ms, one.idle_p90_ms) == (24, 20, 1.5, 9.0)
    assert (shown.jobs_done, shown.started_at, shown.seen_at) == (
        4,
        "2027-01-15T07:59:00.000Z",
        "2027-01-15T08:00:00.000Z",
    )
    assert "10.0.0.7" not in shown.model_dump_json()


@pytest.mark.parametrize(
    ("age_ms", "health", "words"),
    [
        (0, "ok", "takes jobs"),
        (LATE_MS, "ok", "takes jobs"),
        (LATE_MS + 1000, "late", "91 s ago"),
        (LIVE_MS + 1, "gone", "2 min ago"),
        (3_000_000, "gone", "50 min ago"),
    ],
)
def test_health_is_how_long_a_worker_has_been_silent(age_ms: int, health: str, words: str) -> None:
    """With a sentence that says what it means."""
    shown = Yard(cards=[card(age_ms=age_ms)]).only()
    assert shown.health == health and words in shown.health_text


def test_a_worker_that_takes_no_jobs_is_closed_and_only_an_admin_is_told_why() -> None:
    """The reason may name files of that machine. One open server of several is enough."""
    yard = Yard(cards=[card(closed="The folder /srv/x (WORKER_HOME) cannot be read.")])
    assert yard.only().health == "closed" and "/srv/x" not in yard.only().health_text
    assert "/srv/x" in yard.only(is_admin=True).health_text and not yard.only().servers[0].is_open
    both = (ServerCard(closed="The disk is full."), ServerCard())
    assert Yard(cards=[Seen("box", NOW, both)]).only().health == "ok"


def test_only_ones_own_jobs_are_named() -> None:
    """Of another client's no more than that the worker is busy."""
    own = new_job(state=State.RUNNING, owner="box-1")
    elsewhere = new_job(state=State.RUNNING, owner="box-2")
    yard = Yard([OTHERS, own, elsewhere, new_job()], [card(running=1)])
    assert (yard.only().current_jobs, yard.only().busy) == ([own.job_id], True)
    yard = Yard([OTHERS], [card(running=1)])
    assert (yard.only().current_jobs, yard.only().busy) == ([], True)
    assert OTHERS.job_id not in yard.farm.workers("client-1", is_admin=True, with_models=True).model_dump_json()
    assert Yard(cards=[card()]).only().busy is False


def test_models_are_counted_and_named_when_asked() -> None:
    """By kind, over all of its servers; the same folder once."""
    kits = (kit(ckpt_name=["a", "b"], clip_name1=["c"]), kit(ckpt_name=["b", "d"], clip_name2=["c"], vae_name=[]))
    yard = Yard(cards=[card(kits=kits)])
    assert yard.only().models == {"checkpoints": 3, "clip": 1}
    assert yard.only().model_files is None and yard.only().models_complete
    assert yard.only(with_models=True).model_files == {"checkpoints": ["a", "b", "d"], "clip": ["c"]}
    upscaler = Kit(
        frozenset(), {("UpscaleModelLoader", "model_name"): frozenset({"x4"}), ("Own", "odd_in"): frozenset("y")}
    )
    assert Yard(cards=[card(kits=(upscaler,))]).only().models == {"odd_in": 1, "upscale_models": 1}


def test_an_answer_does_not_grow_without_end() -> None:
    """What is left out is said: by the card, or by this answer."""
    names = [f"{number}.safetensors" for number in range(MAX_NAMES)]
    yard = Yard(cards=[card("a", kits=(kit(lora_name=names),)), card("b", kits=(kit(lora_name=["x"]),))])
    first, second = yard.farm.workers("client-1", is_admin=False, with_models=True).workers
    assert first.models_complete and not second.models_complete
    assert second.models == {"loras": 1} and second.model_files == {"loras": []}
    partly = Kit(frozenset(), {}, is_whole=False)
    assert not Yard(cards=[card(kits=(partly,))]).only().models_complete


# -- the queue -------------------------------------------------------------------------------------------------------


def test_an_empty_farm_knows_nothing_and_says_so() -> None:
    """Nulls, not zeros, where nothing is known."""
    told = Yard(counts=None).farm.standing("client-1").model_dump()
    assert told == {
        "yours": {"queued": 0, "running": 0, "oldest_age_s": None, "eta_s": None},
        "waiting": None,
        "in_hand": None,
        "workers": 0,
        "servers": 0,
    }


def test_the_queue_counts_ones_own_and_everybodys() -> None:
    """One's own from the ledger, everybody's from the queue itself; workers that take jobs."""
    jobs = [new_job(created_at=NOW - 9_000), new_job(created_at=NOW - 1_000), OTHERS]
    jobs.append(new_job(state=State.RUNNING, created_at=NOW - 99_000, started_at=NOW - 1_000))
    cards = [
        card(),
        card("box-2", closed="no"),
        card("box-3", age_ms=LIVE_MS + 1),
        Seen("box-4", NOW, (ServerCard(),) * 2),
    ]
    told = Yard(jobs, cards, counts=Depth(7, 2)).farm.standing("client-1")
    assert (told.yours.queued, told.yours.running, told.yours.oldest_age_s) == (2, 1, 9.0)
    assert (told.waiting, told.in_hand, told.workers, told.servers) == (7, 2, 2, 3)


def test_the_eta_adds_up_measured_times() -> None:
    """What the running job has left and the queued ones take, over the servers; not less than the longest of them."""
    half = Progress(fraction=0.5)
    running = new_job(state=State.RUNNING, started_at=NOW - 4_000, workflow_hash="a", progress=half)
    queued = [new_job(workflow_hash=name) for name in "aab"]
    yard = Yard([running, *queued], [card(), card("box-2")], {"a": 10_000, "b": 40_000})
    assert yard.farm.standing("client-1").yours.eta_s == 40  # (6 + 10 + 10 + 40) / 2 is less than the 40 of one
    yard.cards = [card()]
    assert yard.farm.standing("client-1").yours.eta_s == 66


def test_an_eta_is_null_when_something_was_never_measured() -> None:
    """Also when nobody is there to do it; a job that runs is known by how far it is."""
    unknown = new_job(state=State.RUNNING, started_at=NOW - 8_000, progress=Progress(fraction=0.8))
    yard = Yard([unknown], [card()])
    assert yard.farm.standing("client-1").yours.eta_s == 2
    yard.jobs.append(new_job(workflow_hash="n"))
    assert yard.farm.standing("client-1").yours.eta_s is None
    yard.paces["n"] = 1_000
    assert yard.farm.standing("client-1").yours.eta_s == 3
    yard.cards = []
    assert yard.farm.standing("client-1").yours.eta_s is None


def test_a_long_queue_is_counted_whole_and_guessed_by_its_beginning() -> None:
    """Ten thousand jobs cost no more than two hundred to look at."""
    jobs = [new_job(workflow_hash="a") for _ in range(LOOKED_AT * 3)]
    told = Yard(jobs, [card()], {"a": 2_000}).farm.standing("client-1")
    assert (told.yours.queued, told.yours.eta_s) == (LOOKED_AT * 3, LOOKED_AT * 3 * 2)


# -- the routes ------------------------------------------------------------------------------------------------------


class Ring:
    """Know two keys: one may look, the other one may all."""

    def api_key(self, authorization: str) -> ApiKey:
        return ApiKey("k", "client-1", frozenset({"submit"} if authorization == "blind" else {"read", "admin"}))


def asked(yard: Yard, name: str, query: dict[str, str], authorization: str = "") -> Answer:
    """Call an operation as app.py does."""
    [operation] = [one for one in WORKERS if one.name == name]
    there: Any = SimpleNamespace(workers_api=WorkersApi(yard.farm))
    call = Call({"authorization": authorization}, b"", "https://host/api", query=query)
    return guarded(lambda: operation.answer(there, Gate(Ring()).admitted(call, operation.scope)))


def test_the_routes_answer_what_their_document_says() -> None:
    """Names of files only when they are asked for; a key without `read` sees nothing."""
    yard = Yard(cards=[card(kits=(kit(ckpt_name=["a"]),), closed="The disk is full.")])
    told = asked(yard, "listWorkers", {"models": "1"})
    assert told.status == 200 and told.body["workers"][0]["model_files"] == {"checkpoints": ["a"]}
    assert "disk" in told.body["workers"][0]["health_text"]
    assert asked(yard, "listWorkers", {}).body["workers"][0]["model_files"] is None
    assert asked(yard, "listWorkers", {"models": "some"}).status == 400
    assert asked(yard, "getQueue", {}).body["yours"] == {"queued": 0, "running": 0, "oldest_age_s": None, "eta_s": None}
    assert {asked(yard, name, {}, "blind").status for name in ("listWorkers", "getQueue")} == {403}
