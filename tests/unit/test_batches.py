"""Many jobs at once: all or none, one batch a key, and what a crash left is finished."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.batch import batch_id_of
from chalicelib.batches import Batches
from chalicelib.batches_api import BatchesApi
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.limits import Limits
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.ports import Claimed, Line, Submitted
from chalicelib.contract.states import State
from chalicelib.keys import ApiKey
from chalicelib.programs import JobRequest, Programs, Surroundings
from chalicelib.submit import Submit
from chalicelib.window import Window
from infra.workflow_files import read_folder
from tests.fakes import MemoryLedger
from tests.file_fakes import MemoryShelf
from tests.jobs import NOW, output
from tests.sizes import examples

SHIPPED = {workflow.id: workflow for workflow in read_folder()}
SCOPES = frozenset({"read", "submit"})
JOB = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "a fox"}}


class CrashedError(Exception):
    """Stand for the end of a Lambda in the middle."""


class CrashingLedger(MemoryLedger):
    """Die at the n-th submission, as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.dies_at = 10**9
        self.puts = 0
        self.before_line: Callable[[], object] | None = None
        """Called once, before the line is read."""

    def submit(self, job: Job) -> Submitted:
        self.puts += 1
        if self.puts > self.dies_at:
            raise CrashedError
        return super().submit(job)

    def line(self, client_id: str, limit: int) -> Line:
        call, self.before_line = self.before_line, None
        if call is not None:
            call()
        return super().line(client_id, limit)


class Office:
    """Hold the batches API on fakes."""

    def __init__(self) -> None:
        self.ledger = CrashingLedger()
        self.shelf = MemoryShelf()
        self.limits = Limits()
        self.sent: list[str] = []
        self.hinted: list[str] = []
        seeds = itertools.count(1)
        window = Window(self.ledger, self, lambda: 1_000, lambda: NOW)
        submit = Submit(self.ledger, self, self, lambda: NOW, pick_seed=lambda: next(seeds), window=window)
        self.programs = Programs(submit, self.ledger, Surroundings(shelf=self.shelf))
        self.api = BatchesApi(Batches(self.programs, self.ledger, self.shelf, self, lambda: NOW))

    def find(self, name: str, client_id: str) -> Workflow:
        if name not in SHIPPED:
            raise Rejected("unknown_workflow", f"There is no workflow called {name}.")
        return SHIPPED[name]

    def send(self, jobs: Sequence[Job]) -> int:
        self.sent += [job.job_id for job in jobs]
        return len(jobs)

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        self.hinted.append(job.job_id)

    def post(self, body: Any, *, key: str | None = None, client: str = "a") -> Answer:
        headers = {} if key is None else {"idempotency-key": key}
        call = self.call(client, headers=headers, body=json.dumps(body).encode())
        return guarded(lambda: self.api.create(call))

    def get(self, batch_id: str, *, client: str = "a", **query: str) -> Answer:
        call = replace(self.call(client), path={"batch_id": batch_id}, query=query)
        return guarded(lambda: self.api.get(call))

    def cancel(self, batch_id: str, *, client: str = "a") -> Answer:
        call = replace(self.call(client), path={"batch_id": batch_id})
        return guarded(lambda: self.api.cancel(call))

    def call(self, client: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Call:
        return Call(headers or {}, body, "https://host/api", key=ApiKey("k", client, SCOPES, limits=self.limits))

    def jobs(self, answer: Answer) -> list[Job]:
        return self.ledger.get_many([job["id"] for job in answer.body["jobs"] if job["id"]])


@pytest.fixture
def office() -> Office:
    return Office()


def test_one_job_expands_to_many(office: Office) -> None:
    """Each combination is a job of its own, tied to the batch, sent once."""
    answer = office.post({"job": JOB, "expand": {"seed": "1..4", "cfg": [4, 6]}})
    assert (answer.status, answer.body["count"], answer.body["counts"]["queued"]) == (201, 8, 8)
    jobs = office.jobs(answer)
    assert [(job.inputs["seed"], job.inputs["cfg"]) for job in jobs][:3] == [(1, 4), (1, 6), (2, 4)]
    assert {job.inputs["prompt"] for job in jobs} == {"a fox"}
    assert {job.batch_id for job in jobs} == {answer.body["id"]}
    assert sorted(office.sent) == sorted(job.job_id for job in jobs)
    assert [row["inputs"] for row in answer.body["jobs"]][:2] == [{"seed": 1, "cfg": 4}, {"seed": 1, "cfg": 6}]


def test_what_is_expanded_replaces_the_jobs_own_value(office: Office) -> None:
    """Also when the job names the input by another word."""
    job = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "a fox", "Seed": 99}}
    answer = office.post({"job": job, "expand": {"seed": [1, 2]}})
    assert [made.inputs["seed"] for made in office.jobs(answer)] == [1, 2]


def test_a_dry_run_tells_the_count_and_makes_nothing(office: Office) -> None:
    """With the first few inputs, and what is wrong with which."""
    answer = office.post({"job": JOB, "expand": {"steps": "10..3000..1000", "seed": "1..3"}, "dry_run": True}, key="k")
    assert (answer.status, answer.body["count"], len(answer.body["inputs"])) == (200, 9, 5)
    assert answer.body["inputs"][1] == {"steps": 10, "seed": 2, "prompt": "a fox"}
    assert {fault["index"] for fault in answer.body["rejected"]} == set(range(3, 9))
    assert (office.sent, office.shelf.kept, office.ledger.puts) == ([], {}, 0)


def test_all_or_none_is_made(office: Office) -> None:
    """One bad job stops the batch; every fault is told, and the key is still free."""
    jobs = [JOB, {"workflow_id": "nowhere", "inputs": {}}, {**JOB, "inputs": {"prompt": "a", "steps": -1}}]
    answer = office.post({"jobs": jobs}, key="k")
    error = answer.body["error"]
    assert (answer.status, error["code"]) == (422, "batch_rejected")
    assert [(each["index"], each["code"]) for each in error["details"]["rejected"]] == [
        (1, "unknown_workflow"),
        (2, "invalid_input"),
    ]
    assert "2 of 3 jobs" in error["message"] and "partial" in error["message"]
    assert office.ledger.puts == 0
    assert office.post({"jobs": [JOB]}, key="k").status == 201


def test_partial_makes_the_good_ones(office: Office) -> None:
    """The others are told, also later; with none good nothing is made."""
    asked = {"jobs": [{"workflow_id": "nowhere"}, JOB], "partial": True}
    answer = office.post(asked, key="k")
    assert answer.status == 201
    assert [(row["index"], row["status"], row["code"]) for row in answer.body["jobs"]] == [
        (0, "rejected", "unknown_workflow"),
        (1, "queued", None),
    ]
    assert office.get(answer.body["id"]).body["counts"]["rejected"] == 1
    assert office.post({"jobs": [{"workflow_id": "nowhere"}], "partial": True}).status == 422


def test_a_repeated_request_is_the_same_batch(office: Office) -> None:
    """A lost answer costs nothing: same batch, same jobs, same drawn seeds; another body under the key is refused."""
    asked = {"job": JOB, "expand": {"cfg": [4, 6, 8]}}
    first = office.post(asked, key="k")
    again = office.post(asked, key="k")
    assert (first.status, again.status, again.body["id"]) == (201, 200, first.body["id"])
    assert office.jobs(first) == office.jobs(again) and len(office.ledger._jobs) == 3
    for other in ({"job": JOB, "expand": {"cfg": [4, 6]}}, {"jobs": [JOB]}, {**asked, "tags": ["x"]}):
        refused = office.post(other, key="k")
        assert (refused.status, refused.body["error"]["code"]) == (422, "idempotency_key_reuse")
    assert office.post(asked, key="k", client="b").body["id"] != first.body["id"]
    assert office.post(asked).body["id"] != office.post(asked).body["id"]


@pytest.mark.parametrize("dies_at", [0, 1, 5, 11])
def test_what_a_crash_left_is_finished(office: Office, dies_at: int) -> None:
    """The Lambda ends after some puts and before any message; the same request makes the rest and sends all."""
    asked = {"job": JOB, "expand": {"seed": "1..12"}}
    office.ledger.dies_at = dies_at
    with pytest.raises(CrashedError):
        office.post(asked, key="k")
    assert office.sent == []
    batch_id = batch_id_of("a", "k")
    halfway = office.get(batch_id).body
    assert halfway["counts"]["queued"] == len(office.ledger._jobs) and not halfway["is_done"]
    assert halfway["counts"]["missing"] == 12 - len(office.ledger._jobs)
    office.ledger.dies_at = 10**9
    answer = office.post(asked, key="k")
    assert (answer.body["id"], answer.body["counts"]["queued"], answer.body["counts"]["missing"]) == (batch_id, 12, 0)
    assert sorted(office.sent) == sorted(job.job_id for job in office.jobs(answer)) and len(office.sent) == 12


def test_a_replay_leaves_alone_what_has_begun(office: Office) -> None:
    """A job that a worker holds, or has ended, is not sent again."""
    asked = {"job": JOB, "expand": {"seed": "1..3"}}
    [first, *_] = office.jobs(office.post(asked, key="k"))
    assert isinstance(office.ledger.claim(first.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000), Claimed)
    office.sent.clear()
    assert office.post(asked, key="k").body["counts"] == {
        **dict.fromkeys(("succeeded", "failed", "canceled", "rejected", "missing"), 0),
        "queued": 2,
        "running": 1,
    }
    assert first.job_id not in office.sent


def test_a_batch_whose_workflow_is_gone_answers_as_it_stands(office: Office) -> None:
    """A replay of a batch that is whole needs nothing that it was made of."""
    asked = {"job": JOB, "expand": {"seed": "1..2"}}
    made = office.jobs(office.post(asked, key="k"))
    for job in made:
        office.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
    office.find = None  # type: ignore[assignment, method-assign]
    assert office.post(asked, key="k").body["counts"]["running"] == 2


def test_a_job_that_the_key_made_by_itself_is_not_taken_over(office: Office) -> None:
    """`k:0` may be somebody's own key for one job: then the batch `k` is refused."""
    office.programs.one(ApiKey("k", "a", SCOPES), "k:0", JobRequest.model_validate(JOB), "")
    for _ in range(2):
        refused = office.post({"jobs": [JOB]}, key="k")
        assert (refused.status, refused.body["error"]["code"]) == (422, "idempotency_key_reuse")


def test_a_batch_is_shown_in_pages(office: Office) -> None:
    """The cursor leads on to the end; counts are of all jobs."""
    batch_id = office.post({"job": JOB, "expand": {"seed": "1..45"}}).body["id"]
    seen: list[int] = []
    cursor: str | None = "0"
    pages = 0
    while cursor is not None:
        pages += 1
        page = office.get(batch_id, limit="20", cursor=cursor).body
        seen += [row["index"] for row in page["jobs"]]
        assert page["counts"]["queued"] == 45
        cursor = page["next_cursor"]
    assert (seen, pages) == ([*range(45)], 3)
    assert office.get(batch_id, cursor="999").body["jobs"] == []
    for query in ({"limit": "0"}, {"limit": "101"}, {"cursor": "x"}):
        assert office.get(batch_id, **query).status == 400


def test_a_batch_tells_what_became_of_its_jobs(office: Office) -> None:
    """Outputs of those that succeeded, the sentence of those that failed, and whether all is over."""
    answer = office.post({"job": JOB, "expand": {"seed": "1..2"}})
    good, bad = office.jobs(answer)
    for job in (good, bad):
        claimed = office.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
        assert isinstance(claimed, Claimed)
        if job is good:
            office.ledger.commit(claimed.lease, now=NOW, outputs=[output()], timings=Timings())
        else:
            office.ledger.fail(claimed.lease, now=NOW, error=JobError(code="out_of_memory", text="No memory left."))
    shown = office.get(answer.body["id"]).body
    assert (shown["is_done"], shown["counts"]["succeeded"], shown["counts"]["failed"]) == (True, 1, 1)
    assert shown["jobs"][0]["outputs"] == [f"https://host/api/o/{good.job_id}/0?t={good.view_token}&download=1"]
    assert (shown["jobs"][1]["error"], shown["jobs"][1]["code"]) == ("No memory left.", "out_of_memory")


def test_cancel_ends_what_is_open_and_nothing_else(office: Office) -> None:
    """Ended jobs stay; the rest is cancelled with a hint each; repeating changes nothing; no replay revives it."""
    asked = {"job": JOB, "expand": {"seed": "1..4"}}
    answer = office.post(asked, key="k")
    first, *rest = office.jobs(answer)
    claimed = office.ledger.claim(first.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
    assert isinstance(claimed, Claimed)
    office.ledger.commit(claimed.lease, now=NOW, outputs=[output()], timings=Timings())
    for _ in range(2):
        canceled = office.cancel(answer.body["id"])
        assert (canceled.status, canceled.body["counts"]["canceled"], canceled.body["counts"]["succeeded"]) == (
            200,
            3,
            1,
        )
    assert sorted(office.hinted) == sorted(job.job_id for job in rest)
    assert office.post(asked, key="k").body["counts"]["canceled"] == 3


def test_a_canceled_batch_is_not_finished_by_a_replay(office: Office) -> None:
    """What a crash left out stays out once somebody has cancelled the batch."""
    office.ledger.dies_at = 2
    asked = {"job": JOB, "expand": {"seed": "1..20"}}
    with pytest.raises(CrashedError):
        office.post(asked, key="k")
    office.ledger.dies_at = 10**9
    office.cancel(batch_id_of("a", "k"))
    made = len(office.ledger._jobs)
    assert office.post(asked, key="k").body["counts"]["queued"] == 0
    assert len(office.ledger._jobs) == made


def test_other_clients_batches_look_like_none(office: Office) -> None:
    """As do ids that are none."""
    batch_id = office.post({"jobs": [JOB]}).body["id"]
    assert office.get(batch_id).status == 200
    for answer in (
        office.get(batch_id, client="b"),
        office.cancel(batch_id, client="b"),
        office.get("../../workflows/index"),
        office.get(batch_id.upper()),
        office.get(""),
    ):
        assert (answer.status, answer.body["error"]["message"]) == (404, "There is no batch of this id.")
    assert all(job.state is State.QUEUED for job in office.ledger._jobs.values())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs": []},
        {"jobs": [JOB], "job": JOB},
        {"jobs": [JOB], "expand": {"seed": "1..2"}},
        {"jobs": [JOB] * 101},
        {"job": JOB, "expand": {"seed": "1..101"}},
        {"job": JOB, "expand": {"seed": {}}},
        {"job": JOB, "mode": "square"},
        {"job": JOB, "expand": {"seed": "1..2"}, "tags": [""]},
        [],
        "x",
    ],
)
def test_what_is_no_batch_is_refused_whole(office: Office, body: Any) -> None:
    """A 400 with a sentence, and nothing is made."""
    answer = office.post(body)
    assert (answer.status, answer.body["error"]["code"]) == (400, "bad_request")
    assert (office.shelf.kept, office.ledger.puts) == ({}, 0)


def test_a_store_that_is_away_is_said_before_anything_is_made(office: Office) -> None:
    """No record, no job: the request may be repeated."""

    def away(key: str, content: bytes) -> bool:
        raise Unavailable("The file store cannot be reached. Try again in a moment.")

    office.shelf.create = away  # type: ignore[method-assign]
    assert office.post({"jobs": [JOB]}, key="k").status == 503
    assert office.ledger.puts == 0


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
nearly = st.fixed_dictionaries(
    {},
    optional={
        "jobs": st.lists(st.just(JOB) | anything, max_size=3),
        "job": st.just(JOB) | anything,
        "expand": st.dictionaries(
            st.sampled_from(["seed", "cfg", "prompt", "ü"]), st.text(max_size=8) | anything, max_size=3
        ),
        "mode": st.sampled_from(["product", "zip", "x"]),
        "tags": anything,
        "dry_run": st.booleans(),
        "partial": st.booleans(),
    },
)


@settings(max_examples=examples(300), deadline=None)
@given(body=anything | nearly)
def test_any_body_is_answered(body: Any) -> None:
    """2xx, or a 4xx with a sentence; and what is refused has made nothing."""
    office = Office()
    answer = office.post(body)
    assert 200 <= answer.status < 500
    if answer.status >= 400:
        assert answer.body["error"]["message"] and (office.ledger.puts, office.sent) == (0, [])


def test_a_batch_that_is_turned_away_leaves_nothing() -> None:
    """The line is full (429): no job, no record, and the key is free for another request; later it is made."""
    office = Office()
    asked = {"job": JOB, "expand": {"seed": "1..3"}}
    assert office.post({"job": JOB, "expand": {"seed": "1..4"}}).status == 201
    office.limits = Limits(queued_max=6)
    for body in (asked, {**asked, "tags": ["other"]}):
        refused = office.post(body, key="k")
        assert (refused.status, refused.body["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) >= 1 and "are waiting already" in refused.body["error"]["message"]
    assert office.get(batch_id_of("a", "k")).status == 404 and len(office.ledger._jobs) == 4
    office.limits = Limits(queued_max=7)
    made = office.post(asked, key="k")
    assert (made.status, made.body["counts"]["queued"], made.body["counts"]["missing"]) == (201, 3, 0)
    office.limits = Limits(queued_max=1)
    assert office.post(asked, key="k").status == 200, "a replay is no new job"


def test_of_two_who_make_a_batch_at_once_one_makes_it() -> None:
    """The other finds the record as it writes its own, and answers the same jobs; another body is refused."""
    for extra, status in (({}, 200), ({"tags": ["x"]}, 422)):
        office = Office()
        asked = {"job": JOB, "expand": {"seed": "1..3"}}
        answers: list[Answer] = []
        office.ledger.before_line = partial(_posted, office, {**asked, **extra}, answers)
        late = office.post(asked, key="k")
        [first] = answers
        assert (first.status, late.status) == (201, status)
        assert len(office.ledger._jobs) == 3 and len(set(office.sent)) == 3


def _posted(office: Office, body: Any, answers: list[Answer]) -> None:
    answers.append(office.post(body, key="k"))
