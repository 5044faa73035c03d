"""Write a run's report as Markdown: Jepsen's table, figures, faults, breaches, and the command that made it."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from faults.soak.plan import BREAKS, MESSAGES, Blow
from faults.soak.run import TIMES, Result

TOLD_MOST = 8
JUDGED = ("P1", "P2", "P3", "P4", "P7", "P8", "P10", "P11", "P13", "P15", "P16", "P19", "P20")
"""Promises of which each has a part of the judge that blames it: of P11 the five minutes, of P13 deleted rows."""


def page(result: Result, command: str) -> str:
    """Write the page."""
    wishes, record, found = result.wishes, result.record, result.found
    day = datetime.now(UTC).date().isoformat()
    lines = [
        "# A soak: everything at once",
        "",
        f"Made on {day} by `{command}` on {os.cpu_count()} cores ({platform.machine()}, Python "
        f"{platform.python_version()}). What is done and how it is judged: `faults/soak/`. The faults come from seed "
        f"{result.plan.seed}; what they meet depends on the machine.",
        "",
        f"{wishes.rows} submissions, planned over {wishes.length_s / 60:.0f} minutes, by people at sheets (three "
        f"fifths) and by programs, {wishes.workers} workers on two ComfyUI stand-ins, the packaged functions on the "
        "local AWS engine, "
        "Google's stand-in with Google's quota of 60 calls a minute. Times of the workers: "
        + ", ".join(f"{name} {value}" for name, value in TIMES.items())
        + ". Throughout, 5 % of all answers of AWS to workers, and of the API, are lost on their way.",
        "",
        "| attempted | acknowledged | lost | unexpected | duplicated | recovered | needed more than one attempt |",
        "|---|---|---|---|---|---|---|",
        "| " + " | ".join(str(value) for value in asdict(found.tally).values()) + " |",
        "",
        f"The run took {result.took_s / 60:.1f} minutes; {_quiet(result)} Throughput over all: "
        f"{60 * found.tally.attempted / result.took_s:.0f} jobs a minute.",
        "",
        "## Faults",
        "",
        "| what | times |",
        "|---|---|",
        *_faults(record.done),
        f"| answers to programs, by status | {_counted(record.calls)} |",
        f"| edits, by kind | {_counted(record.edits)} |",
        "",
        "## Figures",
        "",
        "| what | figure |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in found.figures.items()),
        "",
        "## Breaches",
        "",
    ]
    lines += _breaches(found.wrong) or [f"None. Judged were {', '.join(JUDGED)}."]
    lines += ["", *(f"- Not judged: {sentence}." for sentence in found.unjudged)] if found.unjudged else []
    return "\n".join(lines) + "\n"


def _quiet(result: Result) -> str:
    if result.restless:
        what = f"{len(result.restless)} jobs had not ended, or their ends were not shown."
    else:
        what = "everything had ended and was shown."
    return f"{result.quiet_after_s:.0f} s after the last fault was healed {what}"


def _faults(done: Counter[Blow]) -> list[str]:
    """Tell what was done, what breaks something apart from mere messages and from people's work."""
    kinds = {
        "kills, freezes, cuts, refusals": BREAKS,
        "messages sent that nobody should have sent": MESSAGES,
        "edits and cancellations": frozenset(Blow) - BREAKS - MESSAGES,
    }
    lines = []
    for kind, blows in kinds.items():
        lines.append(f"| **{kind}** | **{sum(done[blow] for blow in blows)}** |")
        lines += [f"| {blow} | {done[blow]} |" for blow in sorted(blows) if done[blow]]
    return lines


def _breaches(wrong: Sequence[tuple[str, str]]) -> list[str]:
    """Tell each promise's breaches: some in words, all in number."""
    lines = []
    for promise in dict.fromkeys(promise for promise, _ in wrong):
        sentences = [sentence for each, sentence in wrong if each == promise]
        lines += [f"- {promise}: {sentence}" for sentence in sentences[:TOLD_MOST]]
        more = len(sentences) - TOLD_MOST
        lines += [f"- {promise}: and {more} more"] if more > 0 else []
    return lines


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.most_common())
