"""Judge the counters (the twin in memory and DynamoDB's protocol, by one suite) and what stands on them."""

from __future__ import annotations

import pytest

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Timings
from chalicelib.contract.states import State
from chalicelib.rates import CALLS_A_MINUTE, MINUTE_MS, Counters, SheetsBudget, UsageBook
from tests.conftest import make_table
from tests.jobs import NOW, new_job, output, target
from tests.sheet_fakes import MemoryCounters

START = NOW - NOW % MINUTE_MS


@pytest.fixture(params=["memory", "dynamo"])
def counters(request: pytest.FixtureRequest) -> Counters | MemoryCounters:
    if request.param == "memory":
        return MemoryCounters()
    client = request.getfixturevalue("aws").client("dynamodb")
    return Counters(client, make_table(client, request.getfixturevalue("resources")["RatesTable"]["Properties"]))


def test_numbers_add_and_sets_join_up_to_a_limit(counters: Counters) -> None:
    """What goes beyond the limit changes nothing."""
    first = counters.add("a", {"writes": {"N": "1"}, "sheets": {"SS": ["x"]}}, expires_s=9, limit=("writes", 2))
    assert first is not None and first["writes"] == {"N": "1"}
    second = counters.add("a", {"writes": {"N": "1"}, "sheets": {"SS": ["y"]}}, expires_s=9, limit=("writes", 2))
    assert second is not None and sorted(second["sheets"]["SS"]) == ["x", "y"]
    assert counters.add("a", {"writes": {"N": "1"}}, expires_s=9, limit=("writes", 2)) is None
    assert counters.get("a")["writes"] == {"N": "2"}
    counters.put("b", 5, expires_s=9)
    assert counters.get("b")["value"] == {"N": "5"} and counters.get("c") == {}


def test_no_minute_has_more_calls_than_fifty(counters: Counters) -> None:
    """The fifty-first is told when the next minute begins."""
    budget = SheetsBudget(counters)
    for number in range(CALLS_A_MINUTE):
        budget.spend("writes", f"sheet-{number % 7}", START + number)
    with pytest.raises(Unavailable) as spent:
        budget.spend("writes", "sheet-1", START + 50_000)
    assert spent.value.retry_in_s == 11
    budget.spend("reads", "sheet-1", START + 50_000)
    budget.spend("writes", "sheet-1", START + MINUTE_MS)


def test_a_quiet_spreadsheet_has_its_turn_at_once_and_a_busy_one_waits(counters: Counters) -> None:
    """Some turns at once, then one every 1.2 s: together below fifty a minute."""
    budget, now, turns = SheetsBudget(counters), START, 0
    assert [budget.turn("s", now) for _ in range(4)] == [0, 0, 0, 0]
    assert budget.turn("s", now) == 1200
    while now < START + MINUTE_MS:
        wait = budget.turn("s", now)
        turns += wait == 0
        now += wait
    assert turns <= CALLS_A_MINUTE


def play(sheets: int, minutes: int) -> dict[str, int]:
    """Let *sheets* ask for a turn whenever they may, one write a turn; the turns that each had."""
    budget = SheetsBudget(MemoryCounters())
    due = {f"sheet-{number}": START + number * 37 for number in range(sheets)}
    had = dict.fromkeys(due, 0)
    end = START + minutes * MINUTE_MS
    while (now := min(due.values())) < end:
        name = min(due, key=lambda each: (due[each], each))
        wait = budget.turn(name, now)
        if not wait:
            try:
                budget.spend("writes", name, now)
                had[name] += 1
                wait = 1
            except Unavailable as spent:
                wait = int((spent.retry_in_s or 0) * 1000)
        due[name] = now + max(1, wait)
    return had


@pytest.mark.parametrize("sheets", [1, 5, 20, 50])
def test_all_spreadsheets_have_their_turns(sheets: int) -> None:
    """However many are busy: below the quota together, and nobody gets less than half of what another gets."""
    had = play(sheets, 10)
    assert sum(had.values()) <= 10 * CALLS_A_MINUTE
    assert sum(had.values()) >= 6 * CALLS_A_MINUTE
    assert min(had.values()) * 2 >= max(had.values())


def test_usage_adds_up_by_day_and_spreadsheet(counters: Counters) -> None:
    """Files and GPU time of today; and how long a workflow takes on average."""
    book = UsageBook(counters)
    done = {"state": State.SUCCEEDED, "target": target("s"), "workflow_hash": "f" * 64}
    book.note(new_job(outputs=(output(), output()), timings=Timings(execution_ms=3000), **done), NOW)
    book.note(new_job(outputs=(output(),), timings=Timings(execution_ms=1000), spent_ms=1600, **done), NOW)
    book.note(new_job(state=State.FAILED, target=target("s"), spent_ms=500), NOW)
    today = book.today("s", NOW)
    assert (today.images, today.gpu_ms) == (3, 5100), "with attempts that came to nothing"
    assert book.today("other", NOW).images == 0 and book.today("s", NOW + 86_400_000).images == 0
    assert book.pace_ms("f" * 64) == 2000 and book.pace_ms("0" * 64) is None
