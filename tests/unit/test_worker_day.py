"""Judge what becomes of a job in one worker's hands: its row, its message, its prompt on ComfyUI."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chalicelib.contract.job import BUDGET, JobError
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from tests.jobs import NOW, new_job
from tests.worker_fakes import (
    GOOD,
    ONE_FILE,
    PNG,
    settings,
)
from tests.worker_shop import Shop
from worker.comfy.faults import GraphRefused
from worker.comfy.history import Ending, Entry
from worker.settle import backoff_s


def test_a_job_is_rendered_uploaded_committed_told_and_only_then_deleted() -> None:
    """The order is the protocol: files, then the ledger, then the hint, then the message."""
    shop = Shop().work()
    assert shop.job.state is State.SUCCEEDED
    tail = [call for call in shop.calls if call in ("put", "commit", "hint", "drop")]
    assert tail == ["put", "put", "commit", "hint", "drop"]
    assert shop.inbox.messages == {}
    (output,) = shop.job.outputs
    assert shop.blobs.files[output.key] == (PNG, "image/png")
    assert output.key.startswith(f"outputs/client-1/{shop.job_id}/1/0-")
    assert shop.job.committed_attempt == 1
    assert shop.job.timings is not None and shop.job.timings.execution_ms == 1500
    assert shop.comfy.forgotten == [shop.prompt_id()]


def test_the_row_hears_of_the_claim_and_of_the_end() -> None:
    """Lesser news when the job is claimed, then the end's own; groups are sheets."""
    shop = Shop().work()
    assert [(hint.job_id, hint.version) for hint, _ in shop.lesser.sent] == [(shop.job_id, 2)]
    assert [(hint.version, group) for hint, group in shop.hints.sent] == [(shop.job.version, "sheet-1")]


def test_a_job_without_a_row_is_grouped_by_its_client() -> None:
    """Its webhook, not a sheet, waits for the news."""
    shop = Shop()
    shop.submit(target=None)
    shop.work()
    assert {group for _, group in shop.hints.sent} == {"sheet-1", "client-1"}


def test_trap_4_every_attempt_saves_under_a_prefix_of_its_own() -> None:
    """The graph that is sent differs from the template in its save node's prefix, which names job and attempt."""
    shop = Shop().work()
    ((prompt_id, graph),) = shop.comfy.submitted
    assert prompt_id == shop.prompt_id()
    assert graph["9"]["inputs"]["filename_prefix"].startswith(f"cs/{shop.job_id}/1")


def test_trap_4_a_file_that_is_gone_is_rendered_anew() -> None:
    """A cached prompt can name a file that was deleted: the attempt is repeated, and its history dropped first."""
    shop = Shop()
    shop.comfy.files = {}
    shop.work()
    assert shop.job.state is State.QUEUED
    assert shop.job.last_error is not None and shop.job.last_error.code == "unavailable"
    assert shop.comfy.forgotten == [shop.prompt_id()]
    shop.comfy.files = {"x_00001_.png": PNG}
    shop.clock.pass_time(2)
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    assert [prompt for prompt, _ in shop.comfy.submitted] == [shop.prompt_id(1), shop.prompt_id(2)]


def test_trap_1_a_partly_accepted_prompt_is_cancelled_and_fails_for_good() -> None:
    """HTTP 200 with node_errors: ComfyUI would run the rest; the job fails with the sentence about the bad part."""
    shop = Shop()
    shop.comfy.refuses = GraphRefused(JobError(code="invalid_graph", text="image of LoadImage is wrong.", node="3"))
    shop.work()
    assert shop.comfy.cancelled == [shop.prompt_id()]
    assert shop.job.state is State.FAILED
    assert shop.job.error is not None and shop.job.error.text == "image of LoadImage is wrong."
    assert shop.inbox.messages == {}


def test_a_missing_model_is_looked_up_when_comfyui_does_not_list_what_it_has() -> None:
    """Lists of more than 20 names are left out of the refusal; the nearest come from /object_info."""
    shop = Shop()
    error = JobError(code="missing_model", text="no")
    shop.comfy.refuses = GraphRefused(error, ("CheckpointLoaderSimple", "ckpt_name", "sdxl.safetensors"))
    shop.comfy.listed = {("CheckpointLoaderSimple", "ckpt_name"): ["sd_xl_base.safetensors", "flux.safetensors"]}
    shop.work()
    assert shop.job.error is not None
    assert (shop.job.error.code, shop.job.error.hint) == ("missing_model", "Nearest: sd_xl_base.safetensors.")


def test_trap_2_and_3_the_verdict_is_the_history_s() -> None:
    """A run-time error comes from the history's entry, and is not repeated."""
    shop = Shop()
    fault = {"node_id": "9", "node_type": "SaveImage", "exception_type": "ValueError", "exception_message": "bad"}
    shop.comfy.entry = Entry(Ending.ERROR, ONE_FILE, fault, 5)
    shop.work()
    assert shop.job.error is not None
    assert (shop.job.error.code, shop.job.error.text) == ("execution_failed", "SaveImage failed: bad.")
    assert len(shop.comfy.submitted) == 1


def test_trap_5_a_prompt_whose_answer_was_lost_is_looked_for_not_sent_twice() -> None:
    """The same id sent twice runs twice: after a lost answer the queue and the history are read first."""
    shop = Shop()
    shop.comfy.answers_lost = 1
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    assert len(shop.comfy.submitted) == 1


def test_a_prompt_that_did_not_arrive_is_sent_again() -> None:
    """Nowhere after two looks: the connection had died before; one more time, no more."""
    shop = Shop()
    shop.comfy.answers_lost, shop.comfy.arrives = 1, False
    shop.work()
    assert (shop.job.state, len(shop.comfy.submitted)) == (State.SUCCEEDED, 2)
    shop = Shop()
    shop.comfy.answers_lost, shop.comfy.arrives = 2, False
    shop.work()
    assert (shop.job.state, len(shop.comfy.submitted)) == (State.QUEUED, 2)


def test_trap_6_a_dead_executor_costs_an_attempt_and_closes_the_door() -> None:
    """The prompt is cancelled, the job goes back with a reason, and no further job is taken there."""
    shop = Shop()
    shop.comfy.executor_is_dead = True
    shop.house.once = False
    shop.during(30, shop.house.closing.set)
    shop.comfy.cancel = lambda _prompt_id: None  # type: ignore[method-assign]  # a dead executor hears nothing
    shop.work()
    assert shop.job.last_error is not None and shop.job.last_error.code == "stalled"
    assert shop.tools.health.closed_because() == "ComfyUI's executor hangs: restart ComfyUI."


def test_trap_7_and_8_a_deaf_socket_costs_only_the_safety_poll() -> None:
    """No event ever comes: the history is asked every 10 s anyway."""
    shop = Shop()
    shop.comfy.is_deaf = True
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    assert shop.clock.now_ms() - NOW <= 12_000


def test_a_server_that_makes_its_own_ids_is_followed_by_them() -> None:
    """ComfyUI before 0.3.45 ignores our id and answers with its own."""
    shop = Shop()
    shop.comfy.own_ids = True
    shop.work()
    assert shop.job.state is State.SUCCEEDED


def test_trap_10_a_lost_prompt_goes_back_to_the_queue() -> None:
    """Restarted server, cleared queue: retryable, with full jitter from 30 s, and the row says queued again."""
    shop = Shop()
    shop.comfy.run_s = None
    shop.during(5, shop.comfy.running.clear)
    shop.work()
    assert shop.job.state is State.QUEUED
    assert shop.job.last_error is not None and shop.job.last_error.code == "prompt_lost"
    assert shop.job.not_before > shop.clock.now_ms()
    assert shop.inbox.hidden == [15.0]
    assert [hint.version for hint, _ in shop.lesser.sent] == [2, 3]


def test_a_job_that_waited_behind_the_one_that_took_comfyui_down_pays_nothing() -> None:
    """It is given back with its attempts, and comes again within seconds; the job that ran pays."""
    shop = Shop()
    other = shop.server.pace.enter(lambda: True)
    assert other is not None
    other.taken()
    other.begun()
    other.left_in_node_s = lambda _now: 0.0
    shop.comfy.run_s = None
    shop.comfy.waits = True
    shop.during(5, shop.comfy.pending.clear)
    shop.work()
    assert (shop.job.state, shop.job.budget_left, shop.job.attempt) == (State.QUEUED, BUDGET, 1)
    assert shop.inbox.hidden == [2.5]


def test_backoff_doubles_with_each_attempt_up_to_ten_minutes() -> None:
    """Full jitter: anything from 0 to the bound."""
    bounds = [backoff_s(new_job(budget_left=left), 1.0) for left in (2, 1, 0)]
    assert bounds == [30, 60, 120]
    assert backoff_s(new_job(budget_left=-9), 1.0) == 600
    assert backoff_s(new_job(budget_left=2), 0.0) == 0


def test_the_last_attempt_fails_with_its_reason() -> None:
    """Three attempts, then the row says why; the message is gone."""
    shop = Shop()
    shop.comfy.files = {}
    for _ in range(3):
        shop.work()
        shop.clock.pass_time(200)
    assert shop.job.state is State.FAILED
    assert shop.job.error is not None
    assert shop.job.error.text == "Given up after 3 attempts: ComfyUI named an output file that is not there."
    assert shop.inbox.messages == {}
    assert len(shop.comfy.submitted) == 3


def test_out_of_memory_frees_the_models_and_gets_one_more_try() -> None:
    """Then it fails with a hint about size, whatever the budget."""
    shop = Shop()
    fault = {"node_type": "KSampler", "exception_type": "torch.OutOfMemoryError", "exception_message": "x"}
    shop.comfy.entry = Entry(Ending.ERROR, {}, fault, 5)
    shop.work()
    assert (shop.job.state, shop.comfy.freed) == (State.QUEUED, 1)
    shop.clock.pass_time(3)
    shop.work()
    assert shop.job.error is not None
    assert (shop.job.state, shop.job.error.code) == (State.FAILED, "out_of_memory")
    assert "smaller" in shop.job.error.hint


@pytest.mark.parametrize(
    ("entry", "code"),
    [(Entry(Ending.INTERRUPTED, {}, {}, 5), "interrupted"), (Entry(Ending.SUCCESS, {}, {}, 5), "no_output")],
)
def test_endings_without_a_picture_fail_with_their_own_word(entry: Entry, code: str) -> None:
    """An interruption by a person and a workflow that saves nothing are for the person to mend."""
    shop = Shop()
    shop.comfy.entry = entry
    shop.work()
    assert shop.job.error is not None and shop.job.error.code == code


def test_an_output_above_the_limit_fails_with_the_limit_s_name() -> None:
    """MAX_OUTPUT_MB is what the operator would raise."""
    shop = Shop(MAX_OUTPUT_MB="0.001")
    shop.comfy.files = {"x_00001_.png": b"x" * 1001}
    shop.work()
    assert shop.job.error is not None
    assert shop.job.error.code == "too_large"
    assert "MAX_OUTPUT_MB" in shop.job.error.text


def test_a_run_beyond_the_workflow_s_limit_is_cancelled_for_good() -> None:
    """900 s by default; the sentence says so."""
    shop = Shop()
    shop.comfy.run_s = None
    shop.settings = settings(STALL_S="36000")
    shop.tools = replace(shop.tools, settings=shop.settings)
    shop.work()
    assert shop.job.error is not None
    assert shop.job.error.text == "The run took longer than the 15 minutes that this workflow may take."
    assert shop.comfy.cancelled == [shop.prompt_id()]


def test_a_cancelled_job_is_stopped_on_comfyui_and_its_message_deleted() -> None:
    """The heartbeat sees it; nothing is committed, nothing uploaded."""
    shop = Shop()
    shop.comfy.run_s = 100
    shop.during(16, lambda: shop.ledger.cancel(shop.job_id, now=shop.clock.now_ms()))
    shop.work()
    assert shop.job.state is State.CANCELED
    assert shop.comfy.cancelled == [shop.prompt_id()]
    assert shop.inbox.messages == {}
    assert "put" not in shop.calls
    assert shop.hints.sent[-1][0].version == shop.job.version


def test_a_stolen_lease_ends_the_attempt_and_leaves_the_message() -> None:
    """Somebody else claimed meanwhile: our commit is refused, and what we hold is not deleted."""
    shop = Shop()
    shop.comfy.run_s = 80

    def steal() -> None:
        shop.ledger.claim(shop.job_id, 1, owner="w2", token="t2", now=shop.clock.now_ms(), lease_ms=60_000)

    shop.clock.after(70, steal)
    shop.work()
    assert shop.job.attempt == 2
    assert shop.job.state is State.RUNNING
    assert len(shop.inbox.messages) == 1
    assert shop.hints.sent == []


def test_a_lost_hint_keeps_the_message_as_its_outbox() -> None:
    """The row's news failed: the message stays, and its next receiver says it again."""
    shop = Shop()
    shop.hints.is_away = True
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    assert len(shop.inbox.messages) == 1
    shop.hints.is_away = False
    shop.clock.pass_time(31)
    shop.work()
    assert shop.inbox.messages == {}
    assert len(shop.comfy.submitted) == 1
    assert shop.hints.sent[-1][0].version == shop.job.version


def test_a_busy_table_at_the_commit_is_waited_out() -> None:
    """A picture that is made is worth some seconds."""
    shop = Shop()
    shop.ledger.failing = ["commit"] * 3
    shop.work()
    assert shop.job.state is State.SUCCEEDED


def test_a_restarted_worker_takes_over_what_still_runs() -> None:
    """The attempt of a dead worker is adopted: nothing is rendered twice, the files belong to the new attempt."""
    shop = Shop()
    shop.ledger.claim(shop.job_id, 1, owner="dead", token="x", now=NOW - 100_000, lease_ms=1000)
    shop.comfy.begin(shop.prompt_id(1))
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    assert shop.comfy.submitted == []
    assert shop.job.committed_attempt == 2
    assert shop.job.outputs[0].key.startswith(f"outputs/client-1/{shop.job_id}/2/")


@pytest.mark.parametrize(("told_ms", "spent_ms"), [(2_000, 2_000), (400, 1_500)])
def test_a_prompt_that_is_taken_over_is_charged_once(told_ms: int, spent_ms: int) -> None:
    """ComfyUI measured all of it (1,500 ms); what the dead worker told of it is a part of that, and not added."""
    shop = Shop()
    dead = shop.ledger.claim(shop.job_id, 1, owner="dead", token="x", now=NOW - 100_000, lease_ms=1000)
    assert isinstance(dead, Claimed)
    until = NOW - 90_000
    assert shop.ledger.heartbeat(dead.lease, until=until, phase="rendering", progress=None, spent_ms=told_ms)
    shop.comfy.history[shop.prompt_id(1)] = GOOD
    shop.work()
    assert (shop.comfy.submitted, shop.job.state, shop.job.spent_ms) == ([], State.SUCCEEDED, spent_ms)


def test_what_a_former_attempt_rendered_for_itself_is_charged_beside_the_new_rendering() -> None:
    """Nothing of it was left to take over: the GPU worked twice."""
    shop = Shop()
    dead = shop.ledger.claim(shop.job_id, 1, owner="dead", token="x", now=NOW - 100_000, lease_ms=1000)
    assert isinstance(dead, Claimed)
    shop.ledger.heartbeat(dead.lease, until=NOW - 90_000, phase="rendering", progress=None, spent_ms=2_000)
    assert shop.work().job.spent_ms == 3_500


@pytest.mark.parametrize("ending", [Ending.ERROR, Ending.INTERRUPTED])
def test_an_earlier_attempt_that_failed_is_not_taken_over(ending: Ending) -> None:
    """Only success is worth adopting; the rest is rendered anew."""
    shop = Shop()
    shop.ledger.claim(shop.job_id, 1, owner="dead", token="x", now=NOW - 100_000, lease_ms=1000)
    shop.comfy.history[shop.prompt_id(1)] = Entry(ending, {}, {}, 1)
    shop.work()
    assert [prompt for prompt, _ in shop.comfy.submitted] == [shop.prompt_id(2)]
    assert shop.job.state is State.SUCCEEDED


def test_an_adopted_prompt_that_its_former_owner_cancels_is_rendered_anew() -> None:
    """A worker that lost its lease stops its prompt, even under the eyes of the one who took it over."""
    shop = Shop()
    shop.ledger.claim(shop.job_id, 1, owner="slow", token="x", now=NOW - 100_000, lease_ms=1000)
    shop.comfy.entry = Entry(Ending.INTERRUPTED, {}, {}, 1)
    shop.comfy.begin(shop.prompt_id(1))

    def begin_well() -> None:
        shop.comfy.entry = GOOD

    shop.clock.after(2.1, begin_well)
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    assert [prompt for prompt, _ in shop.comfy.submitted] == [shop.prompt_id(2)]


def test_a_workflow_that_is_gone_fails_the_job_with_what_to_do() -> None:
    """Content-addressed documents are never overwritten; a missing one will not come back by itself."""
    shop = Shop()
    shop.inbox.messages.clear()
    job = shop.ledger.submit(new_job(workflow_hash="f" * 64)).job
    shop.inbox.send(job.job_id)
    shop.work()
    failed = shop.ledger.get(job.job_id)
    assert failed is not None and failed.error is not None and failed.error.code == "workflow_gone"


def test_a_workflow_is_fetched_once() -> None:
    """What a hash names never changes: the second job does not read the bucket."""
    shop = Shop()
    shop.work()
    shop.blobs.files = {key: value for key, value in shop.blobs.files.items() if not key.startswith("workflows/")}
    second = shop.submit()
    shop.work()
    job = shop.ledger.get(second)
    assert job is not None and job.state is State.SUCCEEDED


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b"\xff"])
def test_a_damaged_workflow_fails_the_job_not_the_worker(document: bytes) -> None:
    """Whatever lies at the key."""
    shop = Shop()
    shop.blobs.files[f"workflows/by-hash/{shop.hash}.json"] = (document, "application/json")
    shop.work()
    assert shop.job.error is not None and shop.job.error.code == "workflow_damaged"
