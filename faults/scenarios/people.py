"""Let people do to a sheet what people do, while its rows render: each result finds its own row, once (P4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from chalicelib.contract.states import TERMINAL, State
from faults.desk import Desk
from faults.editor import Colleague
from faults.farm import Farm
from faults.report import Outcome, Tally
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until

ROWS: Final = {Size.CI: 10, Size.ALL: 60}
RUNS: Final = {Size.CI: 1, Size.ALL: 4}
PRESSES: Final = 3
EVERY_S: Final = 0.08
"""How often each of two people does something."""
SECOND: Final = "second@example.com"


def edited(farm: Farm, size: Size) -> Outcome:
    """Two people edit at random: sort, filter, insert, delete, move, copy, rename, undo, overwrite our own cells."""
    worker, wrong, tally = farm.worker(), list[str](), Tally()
    figures: dict[str, float | int | str] = {"rows": 0, "edits": 0, "kinds of edits": 0, "fetched into Results": 0}
    try:
        for seed in range(RUNS[size]):
            desk = Desk(farm, f"people {seed}")
            did = _run(desk, ROWS[size], seed, wrong)
            verdict = desk.judge(by_people=True)
            wrong += verdict.sentences
            jobs = desk.jobs()
            again = sum(job.attempt > 1 for job in jobs.values())
            double = len(jobs) - ROWS[size]
            if double:
                wrong.append(f"{PRESSES} presses at once made {len(jobs)} jobs of {ROWS[size]} rows")
            tally += Tally(
                len(jobs),
                len(jobs),
                lost=verdict.lost_rows,
                unexpected=verdict.wrong_rows,
                duplicated=double,
                again=again,
            )
            figures["rows"] = int(figures["rows"]) + ROWS[size]
            figures["edits"] = int(figures["edits"]) + sum(did.values())
            figures["kinds of edits"] = max(int(figures["kinds of edits"]), len(did))
            figures["fetched into Results"] = int(figures["fetched into Results"]) + sum(
                sheet.title == "Results" and max(0, sheet.data_extent()[0] - 1) for sheet in desk.book.sheets
            )
            desk.close()
    finally:
        worker.stop()
    return Outcome(tally, figures, tuple(wrong))


def _run(desk: Desk, count: int, seed: int, wrong: list[str]) -> dict[str, int]:
    """Press three times at once, edit until all has ended, fetch what is missing; what was done, by kind."""
    rows = desk.type_rows(
        [
            {
                "Prompt": f"picture {seed}.{number}",
                "Workflow": "txt2img-sdxl",
                "Width": "64",
                "Height": "64",
                "Steps": "8",
            }
            for number in range(count)
        ]
    )
    users = (None, SECOND, None)
    with ThreadPoolExecutor(PRESSES) as pool:
        list(pool.map(lambda user: desk.generate(rows, user), users))
    people = [Colleague(desk.book, desk.sheet, 2 * seed), Colleague(desk.book, desk.sheet, 2 * seed + 1, SECOND)]
    over = threading.Event()
    threads = [threading.Thread(target=_meddle, args=(person, over), daemon=True) for person in people]
    for thread in threads:
        thread.start()
    ended = wait_until(lambda: all(job.state in TERMINAL and job.is_shown for job in desk.jobs().values()), 120, 0.3)
    over.set()
    for thread in threads:
        thread.join()
    if not ended:
        states = [(job.state.value, job.is_shown) for job in desk.jobs().values()]
        wrong.append(f"not all has ended and been shown after 120 s: {states}")
    _fetch_missing(desk)
    did: dict[str, int] = {}
    for person in people:
        for kind, times in person.did.items():
            did[kind] = did.get(kind, 0) + times
    return did


def _meddle(person: Colleague, over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        person.act()


def _fetch_missing(desk: Desk) -> None:
    """Do what a person does whose rows lack something, until nothing is missing."""
    for _ in range(3):
        if not desk.judge(by_people=True).lost_rows:
            return
        desk.press("fetchMissingResults", range(0))
        wait_until(lambda: not desk.judge(by_people=True).lost_rows, 20, 0.5)


def hundred(farm: Farm, size: Size) -> Outcome:
    """A hundred rows in one press, five of them wrong; then all are cancelled from the menu (with `all`: rendered)."""
    desk, wrong = Desk(farm, "hundred"), list[str]()
    base = {"Workflow": "txt2img-sdxl", "Width": "64", "Height": "64", "Steps": "4"}
    bad = {17: {"Steps": "abc"}, 34: {"Width": "-1"}, 51: {"Workflow": "txt2img-sdlx"}, 68: {"Height": "9999"}}
    bad[85] = {"Steps": "1,000"}
    rows = desk.type_rows([{"Prompt": f"row {row}", **base, **bad.get(row, {})} for row in range(1, 101)])
    begun = time.monotonic()
    told = desk.generate(rows)
    pressed_s = time.monotonic() - begun
    posts = [call for call in desk.project.log[-1].fetches if call.url.endswith("/v1/sheets/jobs")]
    lines = desk.lines()
    for row, line in enumerate(lines, start=1):
        if (line.get("Status") == "error") != (row in bad):
            wrong.append(f"row {row} ({bad.get(row)}) says {line.get('Status')}: {line.get('Error')}")
    if len(posts) != 1:
        wrong.append(f"a hundred rows took {len(posts)} requests")
    accepted = [job for job in desk.jobs().values() if job.state is not State.FAILED]
    if size is Size.ALL:
        worker = farm.worker()
        wait_until(lambda: all(job.state in TERMINAL for job in desk.jobs().values()), 240, 1)
        worker.stop()
    else:
        desk.press("cancelSelected", rows)
    if not desk.all_ended(90):
        wrong.append("rows of the hundred do not show their ends")
    verdict = desk.judge()
    wrong += [sentence for sentence in verdict.sentences if "no row shows the end" in sentence or "output" in sentence]
    desk.close()
    return Outcome(
        Tally(100, len(accepted), lost=verdict.lost_rows, unexpected=verdict.wrong_rows),
        {"accepted": len(accepted), "refused": len(bad), "requests": len(posts), "pressed s": round(pressed_s, 1)},
        (*wrong, *_unsaid(told, len(bad))),
    )


def _unsaid(told: Sequence[str], refused: int) -> list[str]:
    """The summary counts what was refused, and names the first row with its sentence."""
    said = " ".join(told)
    return [] if f"{refused} refused (row 18" in said else [f"the summary does not tell what was refused: {said}"]


SCENARIOS = (
    Scenario(
        "F9",
        "two people edit the sheet in every way while it renders; three presses at once",
        ("P2", "P4"),
        edited,
    ),
    Scenario("F16", "a hundred rows in one press, five of them wrong", ("P2", "P20"), hundred),
)
