"""The Python client's `map`: bounded, as they come, resumable, and nothing left out when it ends early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import comfysheet
from comfysheet import JobFailed, Unauthorized, Unreachable, read_csv
from tests.client_kinds import Client
from tests.client_server import PICTURE, Fault, JobsServer, jobs_server


@pytest.fixture
def server() -> Iterator[JobsServer]:
    with jobs_server() as server:
        yield server


@pytest.fixture(params=["blocking", "awaiting"])
def client(request: pytest.FixtureRequest, server: JobsServer) -> Iterator[Client]:
    client = Client(request.param, server)
    yield client
    client.close()


def colours(number: int) -> list[dict[str, Any]]:
    return [{"color": f"c{n}"} for n in range(number)]


def test_each_row_gets_a_job_and_answers_with_its_own_number(client: Client, server: JobsServer) -> None:
    """Results name their row, whatever their order."""
    done = list(client.make().map("colour", colours(20), in_flight=4))
    assert sorted(each.index for each in done) == list(range(20))
    assert all(each.unwrap().job.inputs["color"] == f"c{each.index}" == each.inputs["color"] for each in done)
    assert len(server.jobs) == 20


def test_no_more_jobs_are_out_than_allowed(client: Client, server: JobsServer) -> None:
    """*in_flight* bounds what the server has open at any time, and how far ahead rows are asked for."""
    server.looks = 4
    asked = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal asked
        for row in colours(30):
            asked += 1
            yield row

    ahead = [asked - number for number, _ in enumerate(client.make().map("colour", rows(), in_flight=3), 1)]
    assert server.most_open <= 3 and max(ahead) <= 3 and asked == 30


def test_results_come_as_they_are_ready(client: Client, server: JobsServer) -> None:
    """A slow first row does not hold back the second."""
    server.holds, server.looks = True, 0
    rows = client.make(real_time=True).map("colour", colours(2), in_flight=2)

    def first() -> Any:
        return next(iter(rows))

    def end_second() -> None:
        assert server.wait_for(lambda: len(server.lines("GET .*/jobs/")) == 2)
        server.end(next(job["id"] for job in server.jobs.values() if job["asked"]["inputs"]["color"] == "c1"))

    ending = threading.Thread(target=end_second)
    ending.start()
    assert first().index == 1
    ending.join()
    rows.close()
    assert sorted(job["status"] for job in server.jobs.values()) == ["canceled", "succeeded"]


def test_a_failed_row_is_a_value_and_the_others_go_on(client: Client, server: JobsServer) -> None:
    """What befalls one row – its job's failure, a refusal – is told at that row."""
    rows = [{"color": "a"}, {"color": "b", "end": "failed"}, {"color": "c"}]
    done = sorted(client.make().map("colour", rows), key=lambda each: each.index)
    assert [each.is_ok for each in done] == [True, False, True]
    with pytest.raises(JobFailed, match="memory is full"):
        done[1].unwrap()
    [refused] = client.make().map("none", [{}])
    assert isinstance(refused.error, comfysheet.Rejected)


def test_a_failure_is_raised_when_asked_for_and_ends_all(client: Client, server: JobsServer) -> None:
    """With *raise_failures* the first failure is raised, and what is out is cancelled."""
    server.holds, server.looks = True, 0
    rows = client.make(real_time=True).map("colour", colours(3), in_flight=3, raise_failures=True)

    def fail_one() -> None:
        assert server.wait_for(lambda: len(server.lines("GET .*/jobs/")) == 3)
        server.end("job-2", "failed")

    failing = threading.Thread(target=fail_one)
    failing.start()
    with pytest.raises(JobFailed):
        list(rows)
    failing.join()
    assert sorted(job["status"] for job in server.jobs.values()) == ["canceled", "canceled", "failed"]


@pytest.mark.parametrize("way", ["close the rows", "close the client"])
def test_leaving_early_cancels_what_is_out(client: Client, server: JobsServer, way: str) -> None:
    """Whoever wants no more leaves no job behind."""
    server.looks = 0
    made = client.make(real_time=True)
    server.holds = True
    rows = made.map("colour", colours(50), in_flight=5)

    def end_first() -> None:
        assert server.wait_for(lambda: len(server.lines("GET .*/jobs/")) >= 5)
        server.end("job-1")

    ending = threading.Thread(target=end_first)
    ending.start()
    next(iter(rows))
    ending.join()
    if way == "close the rows":
        rows.close()
    else:
        made.close()
    ends = [job["status"] for job in server.jobs.values()]
    assert ends.count("succeeded") == 1 and ends.count("canceled") == len(ends) - 1 >= 4


def test_what_would_fail_every_row_is_raised(client: Client, server: JobsServer) -> None:
    """A key that is not known, a server that is away: not 1,000 times the same value."""
    with pytest.raises(Unauthorized):
        list(client.make(key="cs_wrong").map("colour", colours(1000), in_flight=2))
    assert len(server.seen) <= 4
    server.faults.append(Fault("^POST .*/jobs$", 503, times=10**6))
    with pytest.raises(Unreachable):
        list(client.make().map("colour", colours(3), patience=5))


def test_a_table_run_again_makes_only_what_has_not_succeeded(client: Client, server: JobsServer) -> None:
    """Under one *key*: what succeeded is found again, what failed or was cancelled is made anew, also twice."""
    rows: list[dict[str, Any]] = [{"color": "a"}, {"color": "b"}, {"color": "b"}]
    made = client.make()
    first = {each.index: each.unwrap().job.id for each in made.map("colour", rows, key="monday")}
    assert len(set(first.values())) == 3, "two equal rows are two jobs"
    assert {each.index: each.unwrap().job.id for each in made.map("colour", rows, key="monday")} == first
    for again in (1, 2):
        server.jobs[first[0]]["status"] = "failed"
        first = {each.index: each.unwrap().job.id for each in made.map("colour", rows, key="monday")}
        assert len(server.jobs) == 3 + again
    # A new row in front moves no other row's name.
    more = [{"color": "new"}, *rows]
    moved = {each.index - 1: each.unwrap().job.id for each in made.map("colour", more, key="monday")}
    assert {index: moved[index] for index in first} == first and len(server.jobs) == 6


def test_a_lost_answer_under_a_key_makes_no_second_job(client: Client, server: JobsServer) -> None:
    """Its job is found under its key, and is made once."""
    server.faults.append(Fault("^POST .*/jobs$", "lose"))
    [done] = client.make().map("colour", [{"end": "failed"}], key="k")
    assert isinstance(done.error, JobFailed) and len(server.jobs) == 1


def test_many_rows_with_faults_are_each_made_once(client: Client, server: JobsServer) -> None:
    """Every third request or so fails in passing; 60 rows are 60 jobs."""
    server.faults += [Fault("jobs", how, times=12) for how in ("lose", "drop", 503, "cut", 429)]
    done = list(client.make().map("colour", colours(60), in_flight=6))
    assert len(done) == 60 == len(server.jobs) and all(each.is_ok for each in done)


def test_rows_come_from_a_csv_file(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """A header and a line a row; an empty cell is left out; a column of paths is uploaded, relative to the file."""
    (tmp_path / "in.png").write_bytes(PICTURE)
    (tmp_path / "rows.csv").write_text('\ufeffcolor,image,steps\n"red, dark",in.png,\nblue,,4\n', "utf-8")
    table = read_csv(tmp_path / "rows.csv", files=("image",))
    done = list(client.make().map("colour", table))
    [asset] = server.assets
    sent = sorted((job["asked"]["inputs"] for job in server.jobs.values()), key=lambda row: row["color"])
    assert sent == [{"color": "blue", "steps": "4"}, {"color": "red, dark", "image": f"asset:{asset}"}]
    assert len(done) == 2
    with pytest.raises(ValueError, match="no column mask"):
        list(read_csv(tmp_path / "rows.csv", files=("mask",)))
    (tmp_path / "rows.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(ValueError, match="line 2: more cells"):
        list(read_csv(tmp_path / "rows.csv"))


def test_a_map_takes_rows_without_an_end(client: Client) -> None:
    """Rows may be a generator that never ends."""

    def rows() -> Iterator[dict[str, Any]]:
        while True:
            yield {}

    endless = client.make().map("colour", rows(), in_flight=2)
    assert len(list(islice(endless, 5))) == 5
    endless.close()


def test_in_flight_is_checked_at_once(client: Client) -> None:
    """Before a row is asked for."""
    with pytest.raises(ValueError, match="1 to 100"):
        client.make().map("colour", [], in_flight=0)
    with pytest.raises(ValueError, match="a character at least"):
        client.make().map("colour", [], key="")
