"""A busy day in emulated time: nobody gets another's result, nothing is lost, Google's quota is kept."""

from __future__ import annotations

import pytest

from chalicelib.rates import CALLS_A_MINUTE
from tests.sheet_time.runs import busy_sheets, human_edits, storm

GOOGLES_LIMIT = 60


@pytest.mark.parametrize("seed", range(6))
def test_people_may_do_what_they_like(seed: int) -> None:
    """Sort, filter, insert, delete, move, cut, copy, rename, undo, right before most of our calls."""
    outcome = human_edits(seed, 30)
    assert (outcome.wrong, outcome.stray, outcome.lost) == (0, 0, 0), outcome.figures
    assert outcome.figures["edits"] > 20 and outcome.figures["given_up"] == 0
    # The edits must have hit us, or nothing was tried.
    assert outcome.figures["repaired"] > 0


def test_one_busy_sheet_keeps_the_quota() -> None:
    """Rows end faster than Google lets us write: they share writes, and none waits long."""
    outcome = busy_sheets(1, 150, every_ms=200)
    assert (outcome.wrong, outcome.lost, outcome.figures["refused_429"]) == (0, 0, 0)
    assert outcome.figures["writes_per_min"] <= GOOGLES_LIMIT
    assert outcome.figures["lag_max_s"] < 10, outcome.figures


def test_twenty_sheets_share_the_quota_and_none_starves() -> None:
    """Together below the quota; the unluckiest sheet is not far behind the luckiest."""
    outcome = busy_sheets(20, 4, every_ms=4000)
    assert (outcome.wrong, outcome.lost, outcome.figures["refused_429"]) == (0, 0, 0)
    assert outcome.figures["writes_per_min"] <= CALLS_A_MINUTE + 1
    assert outcome.figures["lag_max_s"] < 90, outcome.figures


def test_a_storm_of_ten_minutes_loses_nothing() -> None:
    """429 and 503 for every call: all rows are right soon after it."""
    outcome = storm(8)
    assert (outcome.wrong, outcome.stray, outcome.lost) == (0, 0, 0), outcome.figures
    assert outcome.figures["refused"] > 10 and outcome.figures["dead_letters"] == 0
    assert outcome.figures["right_again_after_s"] < 120, outcome.figures
