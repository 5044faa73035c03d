"""The soak's own parts: a plan that comes again from its seed, watchers that see breaches, and honest figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.cells import Image, Number, Text
from chalicelib.contract.job import Job, prompt_id_of
from chalicelib.contract.states import State
from faults.cells import agrees, shown_text, unfit
from faults.soak.gpu import Usage, breaches, spans_of, unjudged, usage
from faults.soak.plan import Blow, draw
from faults.soak.record import Record, Row
from faults.soak.waits import Waits
from faults.soak.watch import Body, Bus, States, Told
from faults.upset import Trap, moments_of
from sandbox.workbook import Formula
from sandbox.world import ROOT
from tests.jobs import new_job


def test_a_plan_comes_again_from_its_seed() -> None:
    """The same seed, the same faults at the same times; another seed, others."""
    assert draw(7, 100, 120, 6) == draw(7, 100, 120, 6) != draw(8, 100, 120, 6)


def test_a_plan_has_all_kinds_in_order_and_within_its_time() -> None:
    """A run of ten minutes meets everything that the soak promises to do."""
    plan = draw(1, 500, 600, 6)
    times = [event.at_s for event in plan.events]
    assert times == sorted(times) and times[-1] <= 600
    assert set(plan.counts) == set(Blow)
    assert plan.counts[Blow.CANCEL] == 20 and plan.counts[Blow.STORM] == 1


class Table:
    """Be a ledger that holds what it was given last."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def get_many(self, job_ids: list[str]) -> list[Job]:
        return [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]


def seen(*stages: Job) -> list[str]:
    """Let the watcher see one job in several stages."""
    table, record = Table(), Record()
    (job_id,) = {stage.job_id for stage in stages}
    record.asked.append(SimpleNamespace(job_id=job_id))  # type: ignore[arg-type]
    states = States(SimpleNamespace(ledger=table), record)  # type: ignore[arg-type]
    for stage in stages:
        table.jobs[job_id] = stage
        states._full_at = float("-inf")
        states.look()
    return states.wrong


def test_a_way_out_of_an_end_is_seen() -> None:
    """P7: another state, or the same state with other outputs or another version."""
    job = new_job()
    ended = job.model_copy(update={"state": State.FAILED, "version": 3, "attempt": 1})
    assert seen(job, ended, ended) == []
    assert len(seen(job, ended, ended.model_copy(update={"state": State.QUEUED}))) == 1
    assert len(seen(ended, ended.model_copy(update={"version": 4}))) == 1
    assert len(seen(job.model_copy(update={"version": 2}), job)) == 1, "a version that goes down"


def told(events: list[Told], job: Job) -> list[str]:
    bus = object.__new__(Bus)
    bus.told = {job.job_id: events} if events else {}
    return bus.breaches({job.job_id: job})


ENDED = new_job(state=State.SUCCEEDED, version=4, attempt=1)
END = Told(4, "Job Completed")
GOOD = [Told(2, "Job Started", "w1"), END, Told(3, "Progress Update", "w1"), END]


def test_events_that_would_mislead_are_seen() -> None:
    """P19: whoever keeps the highest version is right; repeats of an end are one end."""
    assert told(GOOD, ENDED) == []
    assert told([*GOOD, Told(5, "Job Started", "w1")], ENDED)
    assert told([Told(4, "Job Failed")], ENDED)
    assert told([*GOOD, Told(4, "Job Started", "w1")], ENDED)


def test_an_end_that_the_bus_was_not_told_is_seen() -> None:
    """P19: silence is no proof; a job that is not over has no end to tell."""
    assert told([], ENDED) and told([Told(2, "Job Started", "w1")], ENDED)
    assert told([], new_job()) == []


def test_a_sender_that_goes_back_to_a_lower_version_is_seen() -> None:
    """P19: of one sender; what another one tells late is no breach."""
    assert told([*GOOD, Told(2, "Job Started", "w2")], ENDED) == []
    assert told([*GOOD, Told(2, "Progress Update", "w1")], ENDED)


def test_a_gpu_s_meter_is_read_with_what_a_death_cut_off() -> None:
    """What began and did not end was over when the server was there again."""
    text = "started - 0\nbegun a 10\nended a 30\nbegun b 40\nstarted - 90\nbegun c 95\n"
    assert spans_of(text) == [("a", 10, 30), ("b", 40, 90)]


def test_gpu_time_is_useful_once(tmp_path: Path) -> None:
    """Of two runs of one job one counts; what is run after the end is seen, and so is what is nobody's."""
    second = 1_000_000_000
    job = new_job(state=State.SUCCEEDED, attempt=2, finished_at=10_000)
    first, again = prompt_id_of(job.job_id, 1), prompt_id_of(job.job_id, 2)
    runs = [(first, 1, 3), (again, 4, 7), ("nobody", 8, 9), (again, 30, 31)]
    meter = tmp_path / "meter"
    meter.write_text("".join(f"begun {who} {a * second}\nended {who} {b * second}\n" for who, a, b in runs))
    used = usage([meter, tmp_path / "none"], {job.job_id: job})
    assert (used.total_s, used.useful_s, used.wasted_s) == (7.0, 3.0, 4.0)
    assert (used.late, used.strange, used.missing) == ([job.job_id], ["nobody"], ["none"])
    assert used.wasted_runs == 2


@pytest.mark.parametrize(("state", "is_late"), [(State.SUCCEEDED, True), (State.FAILED, True), (State.CANCELED, False)])
def test_only_a_cancelled_job_s_run_may_begin_after_its_end(tmp_path: Path, state: State, is_late: bool) -> None:
    """P15: its worker hears of it with the next heartbeat; whoever commits or fails knows that it is over."""
    job, meter = new_job(state=state, attempt=1, finished_at=10_000), tmp_path / "meter"
    who = prompt_id_of(job.job_id, 1)
    meter.write_text(f"begun {who} {15 * 10**9}\nended {who} {16 * 10**9}\n")
    assert bool(usage([meter], {job.job_id: job}).late) == is_late


def test_gpu_time_that_was_wasted_or_not_measured_is_blamed() -> None:
    """P15: more than two hundredths, no time at all, a meter that is not there, a job that no meter saw."""
    assert breaches(Usage(total_s=100, useful_s=98.1), 0) == [] and unjudged(Usage(total_s=100)) == []
    assert breaches(Usage(total_s=100, useful_s=97.9), 9)
    assert breaches(Usage(), 9) and breaches(Usage(total_s=1, useful_s=1, missing=["gpu-1"]), 9)
    few = Usage(total_s=10, useful_s=9, wasted_runs=2)
    assert breaches(few, 2) == [] and unjudged(few) and breaches(few, 1), "of a short run: no more than was broken"
    job = new_job(state=State.SUCCEEDED, attempt=1, finished_at=10_000)
    assert usage([], {job.job_id: job}).unseen == [job.job_id]


def late(*lags_s: float, storm: tuple[float, float] | None = None) -> list[str]:
    """Let rows be committed a thousand seconds into the epoch, and judge when they showed it."""
    found = Waits(storm)
    for lag_s in lags_s:
        found.add(1000, 1000 + lag_s)
    return found.breaches()


def test_a_row_that_is_not_right_within_five_minutes_is_blamed() -> None:
    """P11: after the commit, or after the end of the storm that it fell into; and silence is no proof."""
    assert late(299) == [] and late(2, 301)
    assert late(399, storm=(900, 1100)) == [] and late(401, storm=(900, 1100))
    assert late()


def shown(value: Any, image: str = "") -> Any:
    entered = Formula(value) if str(value).startswith("=") else value
    return SimpleNamespace(formatted=str(value), user_entered=entered, image_url=image)


def test_cells_are_compared_with_what_is_to_be_written() -> None:
    """Texts, numbers and our picture."""
    assert agrees("done", Text("done")) and not agrees("done", Text("error"))
    assert agrees("17", Number(17)) and not agrees("17", Number(18))
    link = "http://x/o/1/0/thumb?t=a"
    picture = shown_text(shown(f'=IMAGE("{link}")', link))
    assert agrees(picture, Image(link)) and not agrees("", Image(link)) and not agrees(link, Image(link))


@pytest.mark.parametrize("text", ['=IMPORTXML("http://x","//y")', "Traceback (most recent call last)", "AKIA0123"])
def test_what_no_cell_may_hold_is_seen(text: str) -> None:
    """P20: no formula but our picture's, no trace, no secret."""
    assert unfit(3, {"Error": shown(text)})
    assert not unfit(3, {"Preview": shown('=IMAGE("http://h/o/1/0/thumb?t=a")'), "Error": shown("Try again.")})


def test_a_growing_process_has_a_slope() -> None:
    """One megabyte a minute is one, and a flat one none."""
    grows = Body("a", [(float(second), 100 + second / 60, 9) for second in range(0, 600, 5)])
    assert abs(grows.slope() - 1) < 0.01
    assert Body("b", [(float(second), 100.0, 9) for second in range(0, 600, 5)]).slope() == 0


def test_a_row_that_was_generated_again_has_all_its_jobs() -> None:
    """Each Job ID that a row ever had names a job that the judge asks for."""
    record = Record(rows={"p": Row(1, "p", keys=["k1", "k2"])})
    assert len(record.job_ids()) == 2


def request(method: str, url: str, target: str = "", body: bytes = b"") -> Any:
    return SimpleNamespace(method=method, url=url, headers={"X-Amz-Target": target}, body=body)


def test_moments_are_known_by_the_requests_that_make_them() -> None:
    """Claim, upload and commit; a heartbeat is none of them."""
    update = "DynamoDB_20120810.UpdateItem"
    assert moments_of(request("POST", "http://x/", update, b'{"#phase": "claimed"}')) == ("", "claimed")
    assert moments_of(request("POST", "http://x/", update, b'{"#x": "committed_attempt"}')) == (
        "committing",
        "committed",
    )
    assert moments_of(request("PUT", "http://x/bucket/outputs/c/j/1/0-a.png")) == ("uploading", "")
    assert moments_of(request("POST", "http://x/", update, b'{"#lease_until": 1}')) == ("", "")


def test_other_moments_do_not_spring_a_trap(tmp_path: Path) -> None:
    """It tells nothing and does nothing until its own moment."""
    trap = Trap("committing", "freeze", tmp_path / "told")
    trap.at("claimed")
    trap.at("")
    assert not (tmp_path / "told").exists()


SHOWS_CLOCKS = """
import time
from faults.upset import WrongClock
right, monotonic = time.time(), time.monotonic
WrongClock(600.0, None).start()
print(time.time() - right, time.time_ns() / 1e9 - right, time.monotonic is monotonic)
"""


def test_a_wrong_clock_is_wrong_by_what_it_is_told() -> None:
    """Time of day, not durations; in a process of its own, which nobody else reads the clock of."""
    told = subprocess.run([sys.executable, "-c", SHOWS_CLOCKS], cwd=ROOT, capture_output=True, text=True, timeout=60)
    seconds, nanoseconds, is_same = told.stdout.split()
    assert 600 <= float(seconds) < 660 and 600 <= float(nanoseconds) < 660 and is_same == "True", told.stderr
