"""The Python client's jobs, both clients, against a server that speaks the contract and fails as servers do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import comfysheet
from comfysheet import ComfySheet, JobCanceled, JobFailed, NotConfigured, NotFound, Rejected, Unauthorized, Unreachable
from tests.client_kinds import Client
from tests.client_server import KEY, Fault, JobsServer, jobs_server


@pytest.fixture
def server() -> Iterator[JobsServer]:
    with jobs_server() as server:
        yield server


@pytest.fixture(params=["blocking", "awaiting"])
def client(request: pytest.FixtureRequest, server: JobsServer) -> Iterator[Client]:
    client = Client(request.param, server)
    yield client
    client.close()


def test_run_gives_the_result_of_a_job(client: Client, server: JobsServer) -> None:
    """Inputs by name and as a mapping go in together; the result has the drawn seed and the files."""
    result = client.make().run("colour", {"timeout": 3}, color="red")
    assert server.seen[0].json() == {"workflow_id": "colour", "inputs": {"timeout": 3, "color": "red"}}
    assert (result.job.status, result.job.inputs["seed"], result.job.metrics.upload_ms) == ("succeeded", 7, 3)
    assert [output.name for output in result.outputs] == ["fox.png"]


def test_options_of_a_job_are_sent_only_when_given(client: Client, server: JobsServer) -> None:
    """What v2's body has besides goes with it."""
    client.make().submit("colour", priority=5, tags=["a"], metadata={"shot": "12"}, webhook_url="https://example.org/h")
    sent = server.seen[0].json()
    assert sent.pop("workflow_id") == "colour" and sent.pop("inputs") == {}
    assert sent == {"priority": 5, "tags": ["a"], "metadata": {"shot": "12"}, "webhook_url": "https://example.org/h"}


def test_a_raw_graph_is_sent_as_it_is(client: Client, server: JobsServer) -> None:
    """A graph in API format needs no workflow of the catalog."""
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"color": 255, "link": ["2", 0]}}}
    assert client.make().run_graph(graph).job.status == "succeeded"
    assert server.seen[0].json() == {"workflow": graph}


@pytest.mark.parametrize("how", ["lose", "drop", "cut", 502, 503, 504, 429])
def test_a_submission_that_fails_in_passing_makes_one_job(client: Client, server: JobsServer, how: str | int) -> None:
    """Whatever befalls a submission twice: it is repeated under one key, and one job is made."""
    server.faults.append(Fault("^POST .*/jobs$", how, times=2))
    assert client.make().run("colour").job.id == "job-1"
    posts = [one for one in server.seen if one.line.endswith("POST /api/api/v2/jobs")]
    assert len(posts) == 3 and len({one.headers["idempotency-key"] for one in posts}) == 1
    assert list(server.jobs) == ["job-1"]


def test_every_submission_has_a_key_of_its_own(client: Client, server: JobsServer) -> None:
    """Two submissions of the same inputs are two jobs; under one given key they are one."""
    made = client.make()
    assert made.submit("colour").id != made.submit("colour").id
    assert made.submit("colour", idempotency_key="k").id == made.submit("colour", idempotency_key="k").id == "job-3"
    with pytest.raises(ValueError, match="printable ASCII"):
        made.submit("colour", idempotency_key="ü")


def test_retry_after_is_kept_to(client: Client, server: JobsServer) -> None:
    """A client that is told to come back in 7 s comes no sooner."""
    server.faults.append(Fault("^POST", 429, headers={"Retry-After": "7"}))
    client.make().submit("colour")
    assert client.naps.taken == [7.0]


def test_patience_ends(client: Client, server: JobsServer) -> None:
    """When the next try would come too late, the last failure is told at once, with its advice."""
    server.faults.append(Fault("^POST", 429, times=99, headers={"Retry-After": "3600"}))
    with pytest.raises(comfysheet.RateLimited) as limited:
        client.make().submit("colour")
    assert limited.value.retry_after_s == 3600 and client.naps.taken == []
    server.faults[:] = [Fault("^POST", 503, times=99)]
    with pytest.raises(Unreachable, match="Try again in a while"):
        client.make(patience=20).submit("colour")
    assert 3 <= len(client.naps.taken) <= 8 and sum(client.naps.taken) <= 20


def test_nobody_there_is_said_so(client: Client, server: JobsServer) -> None:
    """A port where nobody listens: the address is named, and what to do."""
    with JobsServer() as gone:
        pass
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1.* does not answer .*Check the address"):
        client.make(url=gone.url, patience=1).submit("colour")


def test_a_refusal_is_not_repeated(client: Client, server: JobsServer) -> None:
    """4xx: one request, an error of its kind with the server's own sentence, code and details."""
    made = client.make()
    with pytest.raises(Rejected, match=r"There is no workflow none\. Did you mean colour") as refusal:
        made.submit("none")
    assert (refusal.value.status, refusal.value.code) == (422, "unknown_workflow")
    assert refusal.value.details == {"near": ["colour"]}
    with pytest.raises(NotFound, match="no job of this id"):
        made.job("job-9")
    with pytest.raises(Unauthorized, match="not known"):
        client.make(key="cs_wrong").workflows()
    assert len(server.seen) == 3


def test_an_answer_that_is_not_the_apis_is_told(client: Client, server: JobsServer) -> None:
    """A wrong path below a right host answers 404 without an envelope: the address is to blame."""
    server.faults.append(Fault("^GET", 404))
    with pytest.raises(NotFound, match="Is it the API's address, stage included"):
        client.make().workflows()
    server.faults.append(Fault("^GET", 500))
    with pytest.raises(comfysheet.ServerError, match="HTTP 500"):
        client.make().workflows()
    server.faults.append(Fault("^GET", 301, headers={"Location": "/elsewhere"}))
    with pytest.raises(NotConfigured, match="leads to another address"):
        client.make().workflows()


def test_a_failed_job_says_why(client: Client, server: JobsServer) -> None:
    """The error carries the job with code and node; its text has the sentence and the place."""
    with pytest.raises(JobFailed, match=r"memory is full. Make it smaller. \(node 6, KSampler\)") as failed:
        client.make().run("colour", end="failed")
    error = failed.value.job.error
    assert error and (error.code, error.node_class) == ("oom", "KSampler")
    with pytest.raises(JobCanceled, match="job-2 was cancelled"):
        client.make().run("colour", end="canceled")


def test_waiting_ends_in_time_and_the_job_goes_on(client: Client, server: JobsServer) -> None:
    """After *timeout* seconds the wait is given up; the job is not."""
    server.looks = 0
    with pytest.raises(comfysheet.Timeout, match=r"still queued after 30 s\. It goes on") as late:
        client.make().run("colour", timeout=30)
    assert isinstance(late.value, TimeoutError) and 29 <= sum(client.naps.taken) <= 31
    assert not server.lines("cancel")


def test_a_server_that_does_not_hold_questions_is_asked_slower_and_slower(client: Client, server: JobsServer) -> None:
    """`?wait` is asked for; when it is ignored, the client pauses by itself, up to 5 s."""
    server.looks = 12
    client.make().run("colour")
    assert [one.query["wait"] for one in server.seen[1:]] == ["20"] * 12
    assert client.naps.taken == sorted(client.naps.taken) and client.naps.taken[0] == 0.5
    assert client.naps.taken[-1] == 5.0


def test_a_held_question_is_answered_at_the_jobs_end(client: Client, server: JobsServer) -> None:
    """One look is enough when the server holds it."""
    server.holds, server.looks = True, 0
    job = client.make(real_time=True).submit("colour")

    def end() -> None:
        assert server.wait_for(lambda: bool(server.lines(f"GET .*/{job.id}$")))
        server.end(job.id)

    ending = threading.Thread(target=end)
    ending.start()
    assert job.wait().status == "succeeded"
    ending.join()
    assert len(server.lines(f"GET .*/{job.id}$")) == 1


def test_a_watcher_is_told_each_change_once(client: Client, server: JobsServer) -> None:
    """A function as *progress* sees every change; the server is asked each second then."""
    server.looks = 4
    told: list[Any] = []
    client.make().run("colour", progress=told.append)
    assert [job.status for job in told] == ["running", "succeeded"]
    assert told[0].progress.node_class == "KSampler" and told[0].progress.step == 3
    assert server.seen[1].query["wait"] == "1" and max(client.naps.taken) <= 1.0


def test_a_job_can_be_cancelled_retried_and_read(client: Client, server: JobsServer) -> None:
    """What a handle does: cancel (also twice), retry, refresh, log – also a log that lies in the bucket."""
    server.looks = 0
    job = client.make().submit("colour")
    assert job.cancel().status == "canceled" == job.cancel().status
    again = job.retry()
    assert again.id != job.id and server.jobs[again.id]["retry_of"] == job.id
    server.end(again.id)
    assert again.refresh().status == "succeeded"
    assert "run" in job.log() and "large" in again.log()


def test_jobs_are_listed_over_all_pages(client: Client, server: JobsServer) -> None:
    """Newest first, page by page; filters are the server's."""
    made = client.make()
    for _ in range(5):
        made.submit("colour")
    assert [job.id for job in made.jobs()] == [f"job-{number}" for number in (5, 4, 3, 2, 1)]
    assert len(server.lines("GET .*/jobs$")) == 3
    assert [job.id for job in made.jobs(status="running")] == []
    server.end("job-5")
    newest = next(iter(made.jobs()))
    assert newest.outputs == () and len(newest.result().outputs) == 1, "a list leaves files out"


def test_workflows_are_listed_with_their_parameters(client: Client) -> None:
    """The catalog as values."""
    made = client.make()
    [workflow] = made.workflows()
    assert (workflow.id, workflow.name, workflow.parameters[0]["name"]) == ("colour", "One colour", "color")
    assert made.workflow("colour") == workflow


def test_no_secret_is_shown(client: Client) -> None:
    """Neither the key nor a link's token is part of what a person may print or log."""
    made = client.make()
    result = made.run("colour")
    shown = [repr(each) for each in (made, result, result.job, result.job.info, result.outputs[0])]
    shown += [repr(result.outputs[0].info), repr(result.job.info.raw.keys())]
    line = made.inner._line if client.kind == "awaiting" else made._line
    shown.append(repr(line.api))
    assert not [one for one in shown if KEY in one or "secret" in one]


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, server: JobsServer) -> None:
    """COMFYSHEET_URL and COMFYSHEET_KEY serve when nothing is given; all that is wrong is named at once."""
    monkeypatch.setenv("COMFYSHEET_URL", f"{server.url}/")
    monkeypatch.setenv("COMFYSHEET_KEY", KEY)
    with ComfySheet() as sheet:
        assert sheet.url == server.url and sheet.workflows()
    monkeypatch.delenv("COMFYSHEET_URL")
    monkeypatch.delenv("COMFYSHEET_KEY")
    with pytest.raises(NotConfigured, match=r"set COMFYSHEET_URL.* set COMFYSHEET_KEY"):
        ComfySheet()
    for url in ("ftp://host", "host/path", "https://", "https://user:word@host", "https://host?a=1"):
        with pytest.raises(NotConfigured):
            ComfySheet(url, "key")
    with pytest.raises(NotConfigured) as wrong:
        ComfySheet("https://host", "Bearer canary")
    assert "canary" not in str(wrong.value)


def test_what_is_no_input_is_refused_before_anything_is_sent(client: Client, server: JobsServer) -> None:
    """Text, numbers, truth values and files are inputs; numbers of other libraries count."""
    from decimal import Decimal
    from fractions import Fraction

    made = client.make()
    with pytest.raises(TypeError, match="color is a list"):
        made.submit("colour", color=["red"])
    with pytest.raises(TypeError, match="size is a Decimal"):
        made.submit("colour", size=Decimal(1))
    assert server.seen == []
    made.submit("colour", size=Fraction(1, 2), on=True, none=None)
    assert server.seen[0].json()["inputs"] == {"size": 0.5, "on": True, "none": None}
