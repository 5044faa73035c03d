"""Waiting for a job in one call, and its news in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_low.sse import RawEvent, SSEDecoder
from comfy_sdk.events import event_from_raw

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Progress
from chalicelib.job_watch import STANDING_S, WAITS_MOST
from tests.jobs import output
from tests.program_fakes import RED, ProgramDesk


def frames(text: str) -> list[RawEvent]:
    """Decode as comfy-sdk does."""
    decoder = SSEDecoder()
    found = [event for line in text.split("\n") for event in decoder.push(line)]
    assert all(event_from_raw(event, lambda model: model) is not None for event in found)
    return found


def told(text: str) -> list[tuple[str, Any]]:
    words = {"status": "status", "progress": "value", "output": "id"}
    return [(frame.event, frame.data[words[frame.event]]) for frame in frames(text)]


def test_a_wait_ends_with_the_job() -> None:
    """The answer comes within a second of the end, not when the wait is over."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    desk.ticker.then = lambda passed_s: desk.end(job_id) if passed_s > 5 and desk.job(job_id).attempt == 0 else None
    answer = desk.ask("getJob", job_id=job_id, query={"wait": "20"})
    assert answer.body["status"] == "succeeded" and 5 < desk.ticker.passed_s <= 6.0


def test_a_wait_is_over_in_time_and_looks_less_and_less_often() -> None:
    """Twenty seconds at most; from 0.3 s to one look a second."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    answer = desk.ask("getJob", job_id=job_id, query={"wait": "20"})
    assert answer.body["status"] == "queued" and desk.ticker.passed_s == pytest.approx(20)
    sleeps = desk.ticker.sleeps
    assert sleeps[0] == 0.3 and max(sleeps) == 1.0 and len(sleeps) < 30
    desk.ask("getJob", job_id=job_id)
    assert desk.ticker.passed_s == pytest.approx(20), "without a wish nothing is waited for"


@pytest.mark.parametrize("wait", ["21", "-1", "x", "nan", "inf", ""])
def test_a_wait_that_cannot_be_kept_is_refused(wait: str) -> None:
    """More than twenty seconds would outlive the answer."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    assert desk.ask("getJob", job_id=job_id, query={"wait": wait}).status == 400


def test_a_submission_may_wait_for_its_result() -> None:
    """Ask once, get the picture."""
    desk = ProgramDesk()

    def work(_passed_s: float) -> None:
        for job_id in desk.sent:
            if desk.job(job_id).attempt == 0:
                desk.end(job_id, [output(f"outputs/studio/{job_id}/1/0-ab.png")])

    desk.ticker.then = work
    answer = desk.submit(RED, query={"wait": "10"})
    assert (answer.status, answer.body["status"], len(answer.body["outputs"])) == (201, "succeeded", 1)


def test_news_come_as_the_contracts_stream() -> None:
    """Where it stands, what changed, and at the end outputs before the status that ends the stream."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]

    def begin(_passed_s: float) -> None:
        if desk.job(job_id).attempt == 0:
            desk.run(job_id)

    desk.ticker.then = begin
    answer = desk.ask("getJobEvents", job_id=job_id)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert told(answer.body) == [("status", "queued"), ("status", "running")]
    assert desk.ticker.passed_s < 1, "a change is told at once"


def test_progress_is_news() -> None:
    """A step further ends the wait."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    lease = desk.run(job_id).lease

    def step(passed_s: float) -> None:
        if passed_s > 3:
            desk.ledger.heartbeat(lease, until=desk.now + 60, phase="rendering", progress=Progress(fraction=0.5))

    desk.ticker.then = step
    assert told(desk.ask("getJobEvents", job_id=job_id).body) == [
        ("status", "running"),
        ("progress", 0.5),
    ]


def test_a_job_without_news_is_told_as_it_stands() -> None:
    """After fifteen seconds, well before comfy-sdk gives up."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    assert told(desk.ask("getJobEvents", job_id=job_id).body) == [("status", "queued")]
    assert desk.ticker.passed_s == pytest.approx(15)


def test_an_ended_job_tells_all_at_once() -> None:
    """Outputs first: comfy-sdk stops reading at the status that ends it."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    desk.end(job_id, [output(f"outputs/studio/{job_id}/1/{n}-ab.png") for n in range(2)])
    assert told(desk.ask("getJobEvents", job_id=job_id).body) == [
        ("output", f"{job_id}.1.0"),
        ("output", f"{job_id}.1.1"),
        ("status", "succeeded"),
    ]
    assert desk.ticker.sleeps == []


def test_an_output_that_comes_while_the_job_runs_is_news_once() -> None:
    """It is told when it comes; the next piece does not repeat it, and the end tells all."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    lease = desk.run(job_id).lease
    made = [output(f"outputs/studio/{job_id}/1/{n}-ab.png") for n in range(2)]
    desk.ledger.heartbeat(lease, until=desk.now + 60, phase="rendering", progress=None, outputs=made[:1])

    def save(passed_s: float) -> None:
        if passed_s > 2:
            desk.ledger.heartbeat(lease, until=desk.now + 60, phase="rendering", progress=None, outputs=made)

    desk.ticker.then = save
    assert told(desk.ask("getJobEvents", job_id=job_id).body) == [("status", "running"), ("output", f"{job_id}.1.1")]
    desk.ticker.then = lambda _: None
    assert told(desk.ask("getJobEvents", job_id=job_id).body) == [("status", "running")]


def test_a_client_waits_with_so_many_calls_and_no_more() -> None:
    """Above the most a call is answered at once, of whatever key; another client's waits; who left makes room."""
    desk = ProgramDesk()
    mine = [desk.submit().body["id"] for _ in range(2)]
    theirs = desk.submit(key="b").body["id"]
    waited: dict[str, float] = {}

    def ask(who: str, key: str, job_id: str, name: str = "getJob") -> None:
        began, then = desk.ticker.passed_s, desk.ticker.then
        desk.ticker.then = lambda _: None
        query = {"wait": "5"} if name == "getJob" else {}
        assert desk.ask(name, key=key, query=query, job_id=job_id).status == 200
        waited[who], desk.ticker.then = desk.ticker.passed_s - began, then

    seats = [desk.seats.take("studio", WAITS_MOST, now=desk.now, until=desk.now + 9_000) for _ in range(WAITS_MOST - 1)]
    ask("last", "a", mine[0])
    assert waited["last"] == pytest.approx(5), "the last seat"
    last = desk.seats.take("studio", WAITS_MOST, now=desk.now, until=desk.now + 9_000)
    assert last is not None, "it was given back"
    for name in ("getJob", "getJobEvents"):
        ask(name, "a2", mine[1], name)
        assert waited[name] == STANDING_S, "long enough that nobody asks several times a second"
    ask("rival", "b", theirs)
    assert waited["rival"] == pytest.approx(5)
    desk.now += 10_000
    ask("later", "a", mine[0])
    assert waited["later"] == pytest.approx(5), "calls that died free their seats"
    assert len({*seats, last}) == WAITS_MOST


def test_a_wait_that_cannot_be_counted_is_kept() -> None:
    """A bound is worth less than the service."""
    desk = ProgramDesk()
    job_id = desk.submit().body["id"]
    desk.seats.trouble = Unavailable("away")
    assert desk.ask("getJob", job_id=job_id, query={"wait": "5"}).status == 200
    assert desk.ticker.passed_s == pytest.approx(5)
