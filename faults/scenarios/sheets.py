"""
Let Google Sheets fail in every way that it has, for several spreadsheets at once; the healthy one among them must not
notice, and every other one is right in the end, or its results stay to be fetched.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from chalicelib.contract.states import State
from faults.desk import Desk
from faults.farm import Farm
from faults.files import unfetchable
from faults.report import Outcome, Tally, rank
from faults.scenario import Scenario, Size
from faults.verdict import Verdict
from infra.functions import COMPLETION
from sandbox.apps_script import Selection
from sandbox.cloud import RESERVED
from sandbox.sheets_faults import Quota
from sandbox.waiting import wait_until
from sandbox.workbook import OPEN, Area, Protected

HANDLERS: Final = 5
"""Completions at once: CompletionConcurrency of a deployed stage."""
GOOGLES_MOST: Final = 60
"""Calls of each kind that Google gives a service account a minute."""
HEALTHY_WITHIN_S: Final = {Size.CI: 10, Size.ALL: 30}
"""
P11: how long after its commit the healthy spreadsheet shows a row, at most. Of nine that are busy at once each has its
turn every nine seconds, and what came just after a turn waits for the one after the next.
"""
RIGHT_WITHIN_S: Final = 300
"""How long after a storm every row must be right."""
SETTLED_S: Final = {Size.CI: 4, Size.ALL: 30}
"""How long a spreadsheet that was given up is watched for calls that nobody wants."""
ROWS: Final = {Size.CI: 2, Size.ALL: 10}
ROWS_ONE_BAD: Final = 50
NAMES: Final = {
    Size.CI: ("healthy", "stormy", "gone"),
    Size.ALL: (
        "healthy", "stormy", "fails after", "gone", "one bad row", "drops after", "late", "slow", "withdrawn",
    ),
}  # fmt: skip
"""
The more spreadsheets are busy, the longer each one's turn takes. In CI three; the emulated hours of tests/sheet_time
try the others on each push.
"""
STORM_S: Final = {Size.CI: 5, Size.ALL: 60}


class _Weather:
    """Hold the spreadsheets of the scenario, a fault for each."""

    def __init__(self, farm: Farm, size: Size) -> None:
        self.farm, self.size = farm, size
        self.google = farm.world.server.sheets
        self.desks = {name: Desk(farm, name) for name in NAMES[size]}
        self.wrong: list[str] = []

    def __getitem__(self, name: str) -> Desk:
        return self.desks[name]

    def order(self) -> None:
        """Order what is to go wrong, before anybody presses the menu."""
        faults = self.google.faults
        for name, desk in self.desks.items():
            meant = desk.book.spreadsheet_id
            if name == "stormy":
                for _ in range(2_000):
                    faults.answer(429, spreadsheet_id=meant)
                    faults.answer(503, spreadsheet_id=meant)
            elif name == "fails after":
                faults.apply_then_fail(503, 2, spreadsheet_id=meant)
            elif name == "drops after":
                faults.apply_then_drop(2, spreadsheet_id=meant)
            elif name == "late":
                # Longer than the client waits: the write is done after the client has given it up.
                faults.delay(22, 1, kind="write", spreadsheet_id=meant)
            elif name == "slow":
                faults.delay(1.5, 1_000, spreadsheet_id=meant)
            elif name == "withdrawn":
                desk.book.shared_with.clear()
            elif name == "one bad row":
                row = ROWS_ONE_BAD // 2
                guard = Protected(desk.book.new_id(), Area(row, 0, row + 1, OPEN), warning_only=False)
                desk.sheet.change(partial(desk.sheet.protected.append, guard))

    def press(self) -> None:
        """Generate the rows of every spreadsheet; the deleted one is deleted right after."""
        counts = dict.fromkeys(self.desks, ROWS[self.size]) | {"one bad row": ROWS_ONE_BAD}
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda each: each[1].render(counts[each[0]]), self.desks.items()))
        self.google.books.remove(self["gone"].book.spreadsheet_id)

    def all_committed(self, patience_s: float) -> bool:
        """Wait until every job has ended in the ledger."""
        keys = sum(len(desk.keys) for desk in self.desks.values())

        def over() -> bool:
            jobs = [job for desk in self.desks.values() for job in desk.jobs().values()]
            return len(jobs) == keys and all(job.state is State.SUCCEEDED for job in jobs)

        return wait_until(over, patience_s, 0.5)

    def shown(self, name: str, patience_s: float) -> None:
        """Wait until the rows of *name* are right."""
        if not self[name].all_ended(patience_s):
            self.wrong.append(f"the spreadsheet “{name}” was not right after {patience_s:.0f} s")

    def end(self) -> None:
        self.google.quota = None
        self.google.faults.clear()
        for desk in self.desks.values():
            desk.close()


def bad_weather(farm: Farm, size: Size) -> Outcome:
    """Several spreadsheets, all but one in trouble of their own, all at once."""
    weather = _Weather(farm, size)
    weather.google.quota = Quota(GOOGLES_MOST)
    worker = farm.worker(SLOTS="2")
    try:
        with _handlers(farm, HANDLERS):
            return _weathered(weather)
    finally:
        worker.stop()
        weather.end()


@contextmanager
def _handlers(farm: Farm, count: int) -> Iterator[None]:
    """Let as many completions run at once as in a deployed stage; the sandbox has fewer."""
    functions: Any = farm.world.cloud.session().client("lambda")
    name = COMPLETION.name("local")
    [mapping] = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]

    def allow(most: int) -> None:
        functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=most)
        scaling = {"MaximumConcurrency": most}
        functions.update_event_source_mapping(UUID=mapping["UUID"], ScalingConfig=scaling)

    allow(count)
    try:
        yield
    finally:
        allow(RESERVED[COMPLETION])


def _weathered(weather: _Weather) -> Outcome:
    size, wrong = weather.size, weather.wrong
    begun = time.time()
    weather.order()
    weather.press()
    if not weather.all_committed(120):
        wrong.append("not every job was rendered while Google failed")
    rendered_s = time.time() - begun
    weather.shown("healthy", 60)
    _pause(STORM_S[size])
    lifted = time.time()
    weather.google.faults.clear(weather["stormy"].book.spreadsheet_id)
    reached = [name for name in weather.desks if name not in ("gone", "withdrawn", "one bad row")]
    for name in reached:
        weather.shown(name, RIGHT_WITHIN_S)
    right_after_s = max(weather["stormy"].done_at.values(), default=lifted) - lifted
    wrong += _one_bad_row(weather["one bad row"], ROWS_ONE_BAD) if "one bad row" in weather.desks else []
    wrong += _given_up(weather, size)
    healed_s = _healed(weather) if "withdrawn" in weather.desks else 0.0
    tally, sentences = _judged(weather, [name for name in weather.desks if name not in ("gone", "one bad row")])
    wrong += sentences
    figures = _figures(weather, begun)
    figures |= {"all rendered after s": round(rendered_s, 1)}
    figures |= {"right after the storm s": round(right_after_s, 1)}
    figures |= {"right after sharing again s": healed_s} if healed_s else {}
    if (late_s := figures["max s"]) > HEALTHY_WITHIN_S[size]:
        wrong.append(f"the healthy spreadsheet noticed the others: a row of it was shown {late_s} s after its commit")
    if figures["most writes a minute"] > GOOGLES_MOST or figures["most reads a minute"] > GOOGLES_MOST:
        wrong.append("Google was asked more often than it allows")
    return Outcome(tally, dict(figures), tuple(wrong))


def _one_bad_row(desk: Desk, count: int) -> list[str]:
    """All rows but the protected one show their end; the result of that one stays to be fetched."""
    bad = f"{desk.book.title} {count // 2}"

    def others() -> bool:
        return sum(line["Status"] == "done" for line in desk.lines()) == count - 1

    if not wait_until(others, 120):
        return [f"one row that refuses held up others: {[line['Status'] for line in desk.lines()]}"]
    [job] = [job for job in desk.jobs().values() if job.inputs["prompt"] == bad]
    return unfetchable(desk.farm, job)


def _given_up(weather: _Weather, size: Size) -> list[str]:
    """A spreadsheet that is gone, or not shared, is parked with a reason, left in peace, and its results are there."""
    wrong = []
    registry = weather.farm.world.keys.registry
    given_up = [name for name in ("withdrawn", "gone") if name in weather.desks]
    for name in given_up:
        desk = weather[name]
        spreadsheet_id = desk.book.spreadsheet_id
        if not wait_until(lambda known=spreadsheet_id: registry.get(known).parked is not None, 60):  # type: ignore[misc]
            wrong.append(f"the spreadsheet “{name}” was never parked")
            continue
    since = time.time() + 2
    _pause(2 + SETTLED_S[size])
    for name in given_up:
        if called := weather[name].calls(since):
            wrong.append(f"the spreadsheet “{name}” was asked {called} times more after it was given up")
        for job in weather[name].jobs().values():
            wrong += unfetchable(weather.farm, job)
    return wrong


def _healed(weather: _Weather) -> float:
    """Share the withdrawn spreadsheet again, and do what its person does: Test, then Fetch missing results."""
    desk = weather["withdrawn"]
    desk.book.shared_with |= weather.farm.world.book.shared_with
    begun = time.time()
    told = desk.project.call("settingsTest", [], Selection(desk.sheet.gid, ()))
    parked = weather.farm.world.keys.registry.get(desk.book.spreadsheet_id).parked
    if parked is not None:
        weather.wrong.append(f"a spreadsheet that is shared again stays parked: {told}")
    desk.press("fetchMissingResults", range(0))
    weather.shown("withdrawn", 60)
    return round(time.time() - begun, 1)


def _judged(weather: _Weather, names: Sequence[str]) -> tuple[Tally, list[str]]:
    verdicts: list[Verdict] = [weather[name].judge() for name in names]
    jobs = sum(len(desk.keys) for desk in weather.desks.values())
    lost, unexpected = (sum(getattr(each, name) for each in verdicts) for name in ("lost_rows", "wrong_rows"))
    again = sum(job.attempt > 1 for desk in weather.desks.values() for job in desk.jobs().values())
    tally = Tally(jobs, jobs, lost=lost, unexpected=unexpected, again=again)
    return tally, [sentence for each in verdicts for sentence in each.sentences]


def _figures(weather: _Weather, begun: float) -> dict[str, float]:
    calls = [call for call in tuple(weather.google.log.calls) if call.at >= begun]
    healthy = weather["healthy"].lags_s()
    reached = [name for name in weather.desks if name not in ("gone", "withdrawn", "stormy")]
    every = [lag for name in reached for lag in weather[name].lags_s()]
    return {
        "spreadsheets": len(weather.desks),
        "commit to cell of the healthy one p50 s": rank(healthy, 0.5),
        "p95 s": rank(healthy, 0.95),
        "max s": rank(healthy, 1),
        "of all that can be reached p50 s": rank(every, 0.5),
        "their p95 s": rank(every, 0.95),
        "their p99 s": rank(every, 0.99),
        "calls": len(calls),
        "refused 429 by quota or storm": sum(call.status == 429 for call in calls),
        "most writes a minute": _busiest([call.at for call in calls if call.kind == "write" and call.status != 429]),
        "most reads a minute": _busiest([call.at for call in calls if call.kind == "read" and call.status != 429]),
    }


def _busiest(times: list[float]) -> int:
    """Give the most calls within any 60 seconds."""
    most, window = 0, deque[float]()
    for at in sorted(times):
        window.append(at)
        while window[0] <= at - 60:
            window.popleft()
        most = max(most, len(window))
    return most


def _pause(seconds: float, holds: Callable[[], bool] = lambda: False) -> None:
    wait_until(holds, seconds)


SCENARIOS = (
    Scenario(
        "F8",
        "spreadsheets of which all but one fail: storm, after the write, too late, slow, 403, 404, one row",
        ("P4", "P11", "P13"),
        bad_weather,
    ),
)
