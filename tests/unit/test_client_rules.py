"""The Python client's rules that need no server: when to try again, how to name a file, how to read the API's words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfysheet import JobInfo, ServerError
from comfysheet._api import Api, Asked
from comfysheet._files import Part, free_places, safe_name
from comfysheet._plan import Patience, Pause, Reply, Send, Surroundings
from comfysheet._rows import RowKeys


class Clock:
    """Be a clock that tests move."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now(self) -> float:
        return self.time_s


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_a_pause_is_bounded_and_never_undercuts_the_servers_advice(
    tries: int, luck: float, advice_s: float | None
) -> None:
    """Doubling stops at the most; Retry-After is a least."""
    pause_s = Patience().pause_s(tries, advice_s, lambda: luck)
    assert 0.25 <= pause_s <= max(15.0, advice_s or 0.0)
    assert pause_s >= (advice_s or 0.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), (" 7 ", 7.0), ("", None), ("soon", None), ("-1", None), ("٣", None), ("9" * 50, 999999999.0)],
)
def test_retry_after_is_read_as_it_is_written(text: str, seconds: float | None) -> None:
    """Seconds, or nothing at all."""
    assert Reply(429, httpx.Headers({"Retry-After": text.encode()})).retry_after_s() == seconds


def test_retry_after_may_be_a_date() -> None:
    """RFC 9110 allows it; one that has passed is now."""
    reply = Reply(503, httpx.Headers({"Retry-After": "Sat, 21 Nov 2026 12:00:00 GMT"}))
    assert reply.retry_after_s(lambda: 1_795_262_390.0) == 10.0
    assert reply.retry_after_s(lambda: 1_795_262_500.0) == 0.0


HOSTILE = ["../../etc/passwd", "C:\\x\\y.png", "CON.png", "...", "", "a" * 500, "nul", ".png"]
LETTERS = st.text("aé𝄞\u202e./\\:\x00 \n-CON", max_size=300)


@given(LETTERS | st.sampled_from(HOSTILE))
def test_any_name_becomes_one_that_every_system_takes(name: str) -> None:
    """One part, nothing hidden or forbidden, at most 255 bytes, and safe again as it is."""
    safe = safe_name(name)
    assert safe == Path(safe).name and safe not in ("", ".", "..") and not safe.startswith(".")
    assert not re.search(r'[\x00-\x1f<>:"/\\|?*]', safe) and safe == safe.strip(" .")
    assert len(safe.encode()) <= 255 and safe_name(safe) == safe
    assert safe.split(".")[0].lower() not in ("con", "nul")


def test_a_name_keeps_its_ending() -> None:
    """Cut in its middle, a long name is still a picture's."""
    assert safe_name("ä" * 300 + ".png").endswith("ä.png") and safe_name("out/fox.png") == "fox.png"


def test_places_that_are_free_are_numbered() -> None:
    """fox.png, fox-2.png, fox-3.png."""
    places = free_places(Path("d/fox.png"))
    assert [next(places).as_posix() for _ in range(3)] == ["d/fox.png", "d/fox-2.png", "d/fox-3.png"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """What is not kept is removed; a name that was taken meanwhile stays the other's."""
    target = tmp_path / "fox.png"
    with Part(target) as part:
        part.file.write(b"half")
        assert not target.exists()
    assert list(tmp_path.iterdir()) == []
    with Part(target) as part:
        part.file.write(b"mine")
        target.write_text("theirs")
        with pytest.raises(FileExistsError):
            part.keep(overwrite=False)
    assert target.read_text() == "theirs" and len(list(tmp_path.iterdir())) == 1


def test_a_kept_file_has_usual_rights(tmp_path: Path) -> None:
    """As any file that a program creates."""
    (tmp_path / "usual").write_text("")
    with Part(tmp_path / "fox.png") as part:
        part.keep(overwrite=False)
    assert (tmp_path / "fox.png").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2


def api(clock: Clock) -> Api:
    return Api("http://host", "key", Patience(), Surroundings(clock.now, lambda: 0.5))


def told(status: str) -> Reply:
    return Reply(200, body=b'{"id": "j", "status": "%s"}' % status.encode())


def test_a_server_that_holds_questions_is_asked_again_at_once() -> None:
    """No pause of our own after 20 s that the server held."""
    clock = Clock()
    plan = api(clock).wait("j")
    step = next(plan)
    for _ in range(3):
        assert isinstance(step, Send) and step.request.url.params["wait"] == "20"
        clock.time_s += 20
        step = plan.send(told("running"))
    with pytest.raises(StopIteration) as end:
        plan.send(told("succeeded"))
    assert end.value.value.status == "succeeded"


def test_the_last_look_is_held_no_longer_than_there_is_time() -> None:
    """With 7.5 s left a question is held for 7."""
    clock = Clock()
    plan = api(clock).wait("j", 7.5)
    step = next(plan)
    assert isinstance(step, Send) and step.request.url.params["wait"] == "7"
    clock.time_s += 7
    step = plan.send(told("queued"))
    assert isinstance(step, Pause | Send)


def test_requests_go_to_our_server_alone() -> None:
    """Ids of any content stay one part of the address; the key goes in a header, never in the address."""
    request = api(Clock()).request("GET", "jobs", query={"status": None, "tag": "a&b=c"})
    assert str(request.url) == "http://host/api/v2/jobs?tag=a%26b%3Dc"
    plan = api(Clock()).show("../../x?y#z")
    step = next(plan)
    assert isinstance(step, Send) and step.request.url.raw_path == b"/api/v2/jobs/..%2F..%2Fx%3Fy%23z"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "value", "code"]), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(["id", "status", "outputs", "progress", "error", "metrics", "tags", "inputs"])


@given(st.dictionaries(FIELDS, json_values))
def test_any_answer_is_a_job_or_an_error_of_ours(answer: dict[str, Any]) -> None:
    """Whatever a server tells: a job is read, or it is said that the answer is unknown."""
    plan = api(Clock()).show("j")
    next(plan)
    with pytest.raises((StopIteration, ServerError)) as end:
        plan.send(Reply(200, body=json.dumps(answer).encode()))
    if isinstance(end.value, StopIteration):
        assert isinstance(end.value.value, JobInfo)


def test_row_keys_follow_the_content() -> None:
    """Equal rows are told apart by their order; without a key of the caller's each row is new."""
    keys, asked = RowKeys("k"), Asked("w", {"a": 1, "b": 2})
    assert keys.name(asked, 0) == keys.name(Asked("w", {"b": 2, "a": 1}), 0) != keys.name(asked, 1)
    assert keys.name(asked, 0) != keys.name(Asked("v", {"a": 1, "b": 2}), 0)
    assert [keys.mark({"a": 1}), keys.mark({"a": 2}), keys.mark({"a": 1})] == [0, 0, 1]
    assert RowKeys(None).name(asked, 0) != RowKeys(None).name(asked, 0)
