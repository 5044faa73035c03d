"""Which server can render what: kits, cards, and what becomes of a job that this worker cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract.card import ServerCard
from chalicelib.contract.kit import Kit, unpacked_kits
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.states import State
from tests.worker_fakes import FakeComfy, store_workflow
from tests.worker_shop import Shop
from worker.comfy.history import ServerFacts
from worker.crew import TURNED_AWAY_S, Crew
from worker.kit import Card, Lack, Post, kit_of, lacks_of, unfit
from worker.pace import Pace, Ticket

LOADER = {"input": {"required": {"ckpt_name": [["base.safetensors", "sub/fine.safetensors"], {}]}}}
NEW_LOADER = {"input": {"required": {"ckpt_name": ["COMBO", {"options": ["base.safetensors"]}]}}}
GRAPH = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sub/fine.safetensors"}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "x"}},
}


def kit(**classes: Any) -> Kit:
    return kit_of({"SaveImage": {}, **classes})


def test_a_kit_knows_classes_and_model_files() -> None:
    """Both ways in which servers list choices; samplers and the like are no models."""
    sampler = {"input": {"required": {"sampler_name": [["euler", "ddim"], {}]}}}
    both = kit(CheckpointLoaderSimple=LOADER, KSampler=sampler)
    assert lacks_of(both, GRAPH) == []
    assert set(both.models) == {("CheckpointLoaderSimple", "ckpt_name")}
    newer = kit(CheckpointLoaderSimple=NEW_LOADER)
    assert lacks_of(newer, GRAPH) == [Lack("4", "CheckpointLoaderSimple", "ckpt_name", "sub/fine.safetensors")]
    assert lacks_of(kit(), GRAPH) == [Lack("4", "CheckpointLoaderSimple")]
    empty = kit(CheckpointLoaderSimple={"input": {"required": {"ckpt_name": [[], {}]}}})
    assert len(lacks_of(empty, GRAPH)) == 1


def test_links_and_other_wrong_values_are_left_to_comfyui() -> None:
    """Its own answer names what is allowed."""
    graph = {"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": ["1", 0]}}}
    assert lacks_of(kit(CheckpointLoaderSimple=LOADER), graph) == []
    graph["4"]["inputs"]["ckpt_name"] = "no model"  # type: ignore[index]
    assert lacks_of(kit(CheckpointLoaderSimple=LOADER), graph) == []


def test_a_real_catalogue_is_read(recorded: Path = Path("tests/data/object_info")) -> None:
    """Recorded from ComfyUI: classes are counted, checkpoints found."""
    found = sorted(recorded.glob("*.json"))
    assert found
    told = json.loads(found[0].read_text())
    assert kit_of(told).classes == frozenset(told)


def test_a_card_travels_packed() -> None:
    """What is unpacked is what was packed; damaged text is told."""
    posts = [
        Post(ServerCard(name="http://a", version="0.28.0", device="gpu", queue=3), kit(CheckpointLoaderSimple=LOADER))
        for _ in range(2)
    ]
    card = Card.of("worker-1", 5, posts)
    assert len(card.servers) == 2 and len(card.kits) == 1
    assert unpacked_kits(card.packed_kits()) == card.kits
    with pytest.raises((ValueError, KeyError, OSError)):
        unpacked_kits("damaged")


def test_the_sentence_names_what_is_nearest_anywhere() -> None:
    """Over all live workers; a node and a model each in their own words."""
    kits = [kit(), kit(CheckpointLoaderSimple=LOADER)]
    model = unfit(Lack("4", "CheckpointLoaderSimple", "ckpt_name", "fin.safetensors"), kits)
    assert model.code == "missing_model"
    assert model.text == 'No running ComfyUI has the file "fin.safetensors" (ckpt_name of CheckpointLoaderSimple).'
    assert model.hint == "Nearest: sub/fine.safetensors."
    node = unfit(Lack("4", "CheckpointLoaderSimpel"), kits)
    assert node.code == "missing_node" and "Nearest: CheckpointLoaderSimple." in node.hint


class Elsewhere(Shop):
    """Have one job that needs a checkpoint which the worker's own server lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger.cancel(self.job_id, now=self.clock.now_ms())
        self.inbox.messages.clear()
        self.hash = store_workflow(self.blobs, Workflow(id="w", name="W", graph=GRAPH))
        self.comfy.catalogue = {"SaveImage": {}}
        self.job_id = self.submit()

    def other_worker_has(self, *kits: Kit) -> None:
        posts = [Post(ServerCard(name="http://other", version="0.28.0", device="gpu", queue=0), each) for each in kits]
        self.fleet.cards["worker-2"] = Card.of("worker-2", self.clock.now_ms(), posts)


def test_what_nobody_has_fails_with_the_nearest_names() -> None:
    """Before anything is submitted; the catalogue is read afresh first."""
    shop = Elsewhere()
    shop.other_worker_has(kit(CheckpointLoaderSimple=NEW_LOADER))
    shop.work()
    assert shop.job.state is State.FAILED and shop.job.error is not None
    assert shop.job.error.text == 'No running ComfyUI has the node "CheckpointLoaderSimple".' or (
        "sub/fine.safetensors" in shop.job.error.text
    )
    assert shop.comfy.submitted == []


def test_what_another_worker_has_is_left_to_it() -> None:
    """Handed back at no cost, and not taken again at once: its message is hidden for a moment each time it comes."""
    shop = Elsewhere()
    shop.other_worker_has(kit(CheckpointLoaderSimple=LOADER))
    shop.work()
    assert (shop.job.state, shop.job.budget_left, shop.job.attempt) == (State.QUEUED, 3, 1)
    shop.clock.pass_time(5)
    shop.work()
    assert (shop.job.state, shop.job.attempt) == (State.QUEUED, 1)
    assert shop.inbox.hidden[0] == 0 and all(1 <= seconds <= 4 for seconds in shop.inbox.hidden[1:])
    assert shop.comfy.submitted == []


def test_a_model_that_was_copied_there_meanwhile_is_found() -> None:
    """What seems to be lacking is asked for afresh."""
    shop = Elsewhere()
    shop.server.ask_kit()
    shop.comfy.catalogue = {"SaveImage": {}, "CheckpointLoaderSimple": LOADER}
    shop.work()
    assert shop.job.state is State.SUCCEEDED


class TwoServers(Elsewhere):
    """Have a second ComfyUI of the same worker, which has the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.other = FakeComfy(self.clock)
        self.other.catalogue = {"SaveImage": {}, "CheckpointLoaderSimple": LOADER}
        self.second = self.serve(self.other, "http://comfy-2")
        servers = [self.server, self.second]
        self.tools = replace(self.tools, servers=servers, crew=Crew(self.fleet, servers, self.clock, "worker-1"))

    def cost_an_attempt(self) -> None:
        self.ledger.claim(self.job_id, 1, owner="dead", token="t", now=self.clock.now_ms(), lease_ms=1)
        self.clock.pass_time(10)


def test_another_server_of_the_same_worker_does_it() -> None:
    """Without going through the queue again: one attempt, on the server that has the model."""
    shop = TwoServers()
    shop.work()
    assert (shop.job.state, shop.job.attempt) == (State.SUCCEEDED, 1)
    assert shop.comfy.submitted == [] and len(shop.other.submitted) == 1


def test_a_job_that_is_done_alone_is_done_alone_on_another_server_too() -> None:
    """What may take ComfyUI down has the server to itself to which it is sent, and is seen there by others."""
    shop = TwoServers()
    shop.cost_an_attempt()
    seen: list[bool] = []
    beside = shop.second.pace.enter(lambda: True)
    assert beside is not None
    beside.taken()
    beside.claimed("known")
    beside.begun()
    beside.left_in_node_s = lambda _now: 0.0
    submit = shop.other.submit

    def submitted(graph: Any, prompt_id: str, client_id: str | None) -> str:
        seen.append(beside.over_at is not None and shop.second.pace.is_held_alone())
        return submit(graph, prompt_id, client_id)

    shop.other.submit = submitted  # type: ignore[method-assign]
    shop.clock.after(3, beside.over)
    shop.work()
    assert (shop.job.state, shop.job.attempt, seen) == (State.SUCCEEDED, 2, [True])
    assert not shop.second.pace.is_held_alone() and not shop.server.pace.is_held_alone()


def test_a_job_sent_to_another_server_is_seen_there_by_who_would_be_alone() -> None:
    """A job that is to be alone waits for it."""
    shop = TwoServers()
    waited: list[bool] = []
    submit = shop.other.submit

    def submitted(graph: Any, prompt_id: str, client_id: str | None) -> str:
        alone = Ticket(shop.second.pace, shop.clock.monotonic())
        asked = iter([True, False])
        alone.wait_alone(lambda: next(asked) or bool(waited.append(True)))
        return submit(graph, prompt_id, client_id)

    shop.other.submit = submitted  # type: ignore[method-assign]
    shop.work()
    assert (shop.job.state, waited) == (State.SUCCEEDED, [True])


def test_a_catalogue_out_of_reach_leaves_the_verdict_to_comfyui() -> None:
    """Nothing is turned away on a guess."""
    shop = Shop()

    def away() -> dict[str, Any]:
        from chalicelib.contract.errors import Unavailable

        raise Unavailable("ComfyUI answered 500.")

    shop.comfy.object_info = away  # type: ignore[method-assign]
    assert shop.work().job.state is State.SUCCEEDED


def test_a_worker_shows_its_card_and_takes_it_away() -> None:
    """With every server that answers; without a table nothing is shown and nobody known."""
    shop = Shop()
    shop.clock.after(30, shop.crew.close)
    shop.crew.run()
    assert shop.fleet.cards == {}
    shop = Shop()
    shop.clock.after(30, lambda: seen.update(shop.fleet.cards))
    shop.clock.after(90, shop.crew.close)
    seen: dict[str, Card] = {}
    shop.crew.run()
    assert seen["worker-1"].servers[0].queue == 0
    assert "SaveImage" in seen["worker-1"].kits[0].classes
    assert list(Crew(None, [shop.server], shop.clock, "w").kits()) == []


def test_a_table_out_of_reach_hurts_nobody() -> None:
    """The card is shown later; a job that lacks something is handed back at no cost."""
    shop = Elsewhere()
    shop.fleet.is_away = True
    shop.clock.after(30, shop.crew.close)
    shop.crew.run()
    shop.work()
    assert (shop.job.state, shop.job.budget_left) == (State.QUEUED, 3)


def test_a_card_that_promises_too_much_does_not_keep_a_job_for_ever() -> None:
    """Handed back five times, in five minutes and more; then the sentence."""
    shop = Elsewhere()
    shop.other_worker_has(kit(CheckpointLoaderSimple=LOADER))
    for _ in range(5):
        shop.work()
        assert shop.job.state is State.QUEUED
        shop.clock.pass_time(TURNED_AWAY_S + 5)
        shop.other_worker_has(kit(CheckpointLoaderSimple=LOADER))
    shop.work()
    assert shop.job.state is State.FAILED


def test_a_card_says_how_the_worker_is() -> None:
    """Its GPU's memory, what it renders, how long its GPU idled between runs, what it has done, and since when."""
    shop = Shop()
    begun = shop.clock.now_ms()
    shop.comfy.told = ServerFacts("0.28.0", "cuda:0 Fake 9000", (), 24_000_000_000, 20_000_000_000)
    crew = Crew(shop.fleet, [shop.server], shop.clock, "worker-1", jobs_done=lambda: 7)
    pace = shop.server.pace = Pace(2, shop.clock)

    def begun_job() -> Ticket:
        job = pace.enter(lambda: True)
        assert job is not None
        job.taken()
        job.begun()
        return job

    known = begun_job()
    shop.clock.pass_time(1)
    known.over()
    for gap_s in (0.3, 0.1, 0.2, 0.4, 0.5):
        first = begun_job()
        shop.clock.pass_time(1)
        second = pace.enter(lambda: True)
        assert second is not None
        second.taken()
        first.over()
        shop.clock.pass_time(gap_s)
        second.begun()
        shop.clock.pass_time(1)
        second.over()
    begun_job()
    shop.clock.after(30, crew.close)
    seen: dict[str, Card] = {}
    shop.clock.after(20, lambda: seen.update(shop.fleet.cards))
    crew.run()
    card = seen["worker-1"]
    assert (card.started_at, card.jobs_done) == (begun, 7)
    assert card.servers == (
        ServerCard(
            name=card.servers[0].name,
            version="0.28.0",
            device="cuda:0 Fake 9000",
            vram_total_bytes=24_000_000_000,
            vram_free_bytes=20_000_000_000,
            slots=pace.slots,
            running=1,
            idle_p50_ms=300.0,
            idle_p90_ms=500.0,
        ),
    )


def test_a_server_that_does_not_answer_is_on_the_card_and_renders_nothing() -> None:
    """The worker lives and says so; nobody leaves a job to that server."""
    shop = Shop()
    shop.comfy.is_up = False
    seen: dict[str, Card] = {}
    shop.clock.after(20, lambda: seen.update(shop.fleet.cards))
    shop.clock.after(30, shop.crew.close)
    shop.crew.run()
    [server] = seen["worker-1"].servers
    assert server.closed and seen["worker-1"].kits == ()
