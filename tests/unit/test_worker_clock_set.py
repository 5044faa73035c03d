"""A machine's clock is set while a job runs there: by a step of NTP, or because the machine had slept."""

from __future__ import annotations

import pytest

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.states import State
from tests.jobs import NOW
from tests.worker_shop import Shop
from worker.disk import DiskFull


def set_while_running(wrong_ms: int) -> tuple[Shop, list[int]]:
    """Render for 40 s; after 5 s the clock is set. What the lease's end was at 20 s, from then (ms)."""
    shop, left = Shop(), list[int]()
    shop.comfy.run_s = 40.0
    shop.during(5, lambda: setattr(shop.clock, "wrong_ms", wrong_ms))
    shop.during(16, lambda: None)  # a heartbeat is due
    shop.during(20, lambda: left.append(shop.job.lease_until - round(shop.clock.monotonic() * 1000)))
    return shop.work(), left


@pytest.mark.parametrize("wrong_ms", [600_000, -600_000])
def test_a_lease_is_renewed_by_the_clock_as_it_was_at_the_claim(wrong_ms: int) -> None:
    """Neither is the job given away while it runs here, nor locked away when the worker dies."""
    shop, (left_ms,) = set_while_running(wrong_ms)
    lease_ms = round(shop.settings.lease_s * 1000)
    assert lease_ms - round(shop.settings.heartbeat_s * 1000) <= left_ms <= lease_ms
    assert shop.job.state is State.SUCCEEDED
    assert NOW + 40_000 <= (shop.job.finished_at or 0) < NOW + 60_000


def test_a_job_that_is_handed_back_can_be_had_at_once() -> None:
    """Also by a worker whose clock is behind the one that handed it back."""
    shop = Shop()
    shop.comfy.run_s = None
    lease = shop.ledger.claim(shop.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
    assert hasattr(lease, "lease") and shop.ledger.release(lease.lease, now=NOW + 10_000)
    again = shop.ledger.claim(shop.job_id, 1, owner="v", token="u", now=NOW, lease_ms=60_000)
    assert hasattr(again, "lease"), "its clock is 10 s behind, which is within the bound"


def test_a_job_that_met_a_full_disk_is_left_to_others() -> None:
    """It waits a second, not half a minute, and this worker does not take it again for a while."""
    shop = Shop()

    def full(*_: object) -> None:
        raise DiskFull

    shop.comfy.fetch = full  # type: ignore[method-assign]
    shop.work()
    assert shop.job.state is State.QUEUED and isinstance(DiskFull(), Unavailable)
    assert shop.job.not_before - (shop.job.enqueued_at or 0) <= 1000
    assert shop.crew.is_turned_away(shop.job_id)
