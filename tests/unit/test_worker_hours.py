"""Judge when a worker with a time limit, or one that is paid for by the minute, ends by itself, in emulated time."""

from __future__ import annotations

import pytest

from chalicelib.contract.states import State
from tests.jobs import NOW
from tests.worker_fakes import ENVIRONMENT, FakeClock, settings
from tests.worker_shop import Shop
from worker.hours import SPARE_S, Hours
from worker.settings import SettingsError, read_settings
from worker.wiring import _free


def limited(shop: Shop, seconds: float) -> Shop:
    """Give the worker so many seconds for rendering; it would otherwise work on."""
    shop.house.once = False
    shop.house.hours = Hours(shop.clock, ends_at=NOW + round((seconds + SPARE_S) * 1000))
    return shop


def test_no_job_is_begun_that_would_not_end_before_the_limit() -> None:
    """Ten seconds each, 25 s: the first two are rendered, the third is left as it was and the worker ends."""
    shop = limited(Shop(), 25)
    shop.comfy.run_s = 10
    others = [shop.submit() for _ in range(3)]
    shop.work()
    ended = [job for job in shop.ledger.get_many([shop.job_id, *others]) if job.state is State.SUCCEEDED]
    left = [job for job in shop.ledger.get_many([shop.job_id, *others]) if job.state is State.QUEUED]
    assert (len(ended), len(left)) == (2, 2)
    assert {(job.attempt, job.budget_left) for job in left} == {(0, 3)}
    assert shop.inbox.hidden[-1:] == [0], "the message of the one that did not fit is visible again at once"
    assert shop.clock.monotonic() < (NOW / 1000) + 25


def test_what_nobody_has_timed_is_begun() -> None:
    """Nothing is known of a workflow's first run: it is begun as long as there is time at all."""
    shop = limited(Shop(), 5)
    shop.comfy.run_s = 4
    shop.submit()
    shop.work()
    assert shop.job.state is State.SUCCEEDED


def test_what_is_ahead_counts() -> None:
    """Behind a run that has 6 s to go, a job of 10 s is expected to be over in 16 s."""
    shop = Shop()
    shop.comfy.run_s = 10
    shop.work()
    pace, workflow = shop.server.pace, shop.job.workflow_hash
    ahead = pace.enter(lambda: True)
    assert ahead is not None
    ahead.claimed(workflow)
    ahead.begun()
    # The next hand is let through shortly before the GPU is free.
    mine = pace.enter(lambda: True)
    assert mine is not None
    ahead.begun_at = shop.clock.monotonic() - 4
    assert pace.until_done_s(mine, workflow) == pytest.approx(16, abs=0.5)
    assert pace.until_done_s(mine, "another") is None


def test_a_job_that_has_ended_does_not_end_the_worker() -> None:
    """Its message is late: it is dropped as ever, and the next job is looked at."""
    shop = Shop()
    shop.comfy.run_s = 10
    shop.work()
    assert shop.job.state is State.SUCCEEDED
    shop.house.once = False
    shop.house.hours = Hours(shop.clock, ends_at=shop.clock.now_ms() + 16_000)
    shop.inbox.send(shop.job_id)
    shop.clock.after(5, shop.house.closing.set)
    shop.work()
    assert shop.inbox.messages == {} and not shop.house.is_late


def ended_after(hours: Hours, clock: FakeClock, ends: list[float]) -> float:
    """Run *hours* to its end; how many seconds it took."""
    begun = clock.monotonic()
    hours.run()
    assert len(ends) == 1
    return ends[0] - begun


def hours_of(clock: FakeClock, *, rendering: list[bool], **bounds: float) -> tuple[Hours, list[float]]:
    ends: list[float] = []

    def end() -> None:
        ends.append(clock.monotonic())
        hours.close()

    limit_s, idle_s = bounds.get("limit_s"), bounds.get("idle_s")
    ends_at = None if limit_s is None else clock.now_ms() + round(limit_s * 1000)
    hours = Hours(clock, ends_at=ends_at, idle_end_s=idle_s, is_rendering=lambda: bool(rendering), on_end=end)
    return hours, ends


def test_what_still_runs_is_stopped_shortly_before_the_limit() -> None:
    """Fifteen seconds are kept for uploads and for handing back, busy or not."""
    clock = FakeClock(NOW)
    hours, ends = hours_of(clock, rendering=[True], limit_s=600, idle_s=60)
    assert ended_after(hours, clock, ends) == pytest.approx(600 - SPARE_S, abs=1)


def test_an_idle_worker_ends() -> None:
    """The idle time begins anew with each job's begin and end."""
    clock = FakeClock(NOW)
    hours, ends = hours_of(clock, rendering=[], idle_s=60)
    clock.after(50, hours.note_job)
    assert ended_after(hours, clock, ends) == pytest.approx(110, abs=1.5)


def test_a_worker_that_renders_is_not_idle() -> None:
    """However long the one job takes."""
    clock, rendering = FakeClock(NOW), [True]
    hours, ends = hours_of(clock, rendering=rendering, idle_s=60)
    clock.after(3600, rendering.clear)
    assert ended_after(hours, clock, ends) == pytest.approx(3660, abs=1.5)


def test_without_bounds_it_waits_until_it_is_closed() -> None:
    """A vital thread must not end by itself."""
    hours = Hours(FakeClock(NOW))
    hours.close()
    hours.run()
    assert hours.has_time_for(1e9) and hours.has_time_for(None)


def test_rendered_jobs_count_as_work_and_turned_away_ones_do_not() -> None:
    """A machine that lacks a job's model would otherwise stay for ever on its messages."""
    shop = Shop()
    noted: list[float] = []

    class Noting(Hours):
        def note_job(self) -> None:
            noted.append(self._clock.monotonic())

    shop.house.hours = Noting(shop.clock, idle_end_s=60)
    shop.crew.turn_away(shop.job_id)
    shop.clock.after(3, shop.house.closing.set)
    shop.house.once = False
    shop.work()
    assert noted == []
    shop.house.closing.clear()
    shop.house.once = True
    shop.clock.pass_time(120)
    shop.work()
    assert shop.job.state is State.SUCCEEDED and len(noted) == 2


@pytest.mark.parametrize("given", ["1795249200", "2026-11-21T08:20:00Z", "2026-11-21T09:20:00+01:00"])
def test_the_end_may_be_told_as_slurm_does_or_as_people_do(given: str) -> None:
    """Seconds since 1970, or ISO 8601 with a zone."""
    assert settings(END_AT=given).end_at == 1_795_249_200_000


@pytest.mark.parametrize("given", ["tomorrow", "2026-11-21T08:20:00", "99999999999999999999"])
def test_an_end_that_may_mean_several_times_is_refused(given: str) -> None:
    """One sentence, with what it should look like."""
    with pytest.raises(SettingsError, match="END_AT must be a time like 2026-11-21T08:00:00Z"):
        read_settings(ENVIRONMENT | {"END_AT": given})


def test_bounds_are_off_unless_told() -> None:
    """0 is no bound."""
    read = settings()
    assert (read.idle_end_s, read.run_for_s, read.end_at, read.drain_s) == (None, None, None, 300)
    assert settings(IDLE_END_S="90", RUN_FOR_S="3600").idle_end_s == 90


def test_free_ports_are_different_ones() -> None:
    """One for each ComfyUI of this worker."""
    ports = _free(4)
    assert len(set(ports)) == 4 and all(1024 <= port <= 65_535 for port in ports)


class Loading:
    """Be the process of a ComfyUI that the worker has started."""

    def restart(self, why: str) -> None:
        raise AssertionError(why)


def test_the_first_start_of_a_comfyui_of_ours_is_no_idleness() -> None:
    """It may load for minutes; somebody else's that is away is nothing to wait for."""
    shop = Shop()
    assert not shop.server.is_starting
    shop.server.process = Loading()  # type: ignore[assignment]
    assert shop.server.is_starting
    assert shop.work().job.state is State.SUCCEEDED
    assert not shop.server.is_starting
