"""The verb `status`: how a stage stands, on one screen."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, RenderableType
from rich.text import Text

from chalicelib.contract.errors import Rejected
from infra.deployed import deployed, now_ms
from infra.open_jobs import count_states
from infra.package import ROOT
from infra.paper import BAD, CARE, FAINT, GOOD, Column, cut, moment, money, plain, show, show_json, span, table, when
from infra.release import add_stage_options
from infra.standing import LATEST, JobsStand, Standing, VersionStand, read_standing

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

NEEDS_YOU: Final = 3
"""Exit code when something needs a person."""
_HEALTH: Final = {"ok": GOOD, "late": CARE, "closed": BAD, "gone": FAINT}


def register(verbs: Verbs) -> None:
    """Add the verb."""
    verb = verbs.add_parser(
        "status",
        help="how a stage stands: queues, jobs, workers, parked sheets, alarms, cost",
        epilog="Exit codes: 0 nothing needs a person, 1 it cannot be told, 3 something needs a person.",
    )
    add_stage_options(verb)
    verb.add_argument("--watch", type=float, metavar="N", help="look again every N seconds, until Ctrl-C")
    verb.add_argument("--count", action="store_true", help="count the ended jobs as well: reads the whole job table")
    verb.add_argument("--json", action="store_true", help="as JSON: a document, with --watch one line each time")
    verb.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder to compare the package with")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    counted = count_states(there, _progress) if arguments.count else None
    if arguments.watch is None:
        return _tell(read_standing(there, arguments.dist), counted, as_json=arguments.json)
    if not 1 <= arguments.watch <= 3600:
        raise Rejected("bad_watch", "--watch is 1 to 3600 seconds.")

    def look() -> int:
        # A new one each time: outputs and functions may change meanwhile.
        standing = read_standing(deployed(arguments), arguments.dist)
        if not arguments.json:
            Console().clear()
        return _tell(standing, counted, as_json=arguments.json, one_line=True)

    return repeat(look, arguments.watch, time.sleep)


def repeat(look: Callable[[], int], every_s: float, wait: Callable[[float], None]) -> int:
    """Look again and again until somebody presses Ctrl-C; answer what the last look answered."""
    code = 0
    try:
        while True:
            code = look()
            wait(every_s)
    except KeyboardInterrupt:
        return code


def _progress(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count:,} jobs counted ", end="", file=sys.stderr, flush=True)


def _tell(standing: Standing, counted: Mapping[str, int] | None, *, as_json: bool, one_line: bool = False) -> int:
    if as_json:
        show_json(document(standing, counted), one_line=one_line)
    else:
        show(*screen(standing, counted, now_ms()))
    return NEEDS_YOU if standing.troubles() else 0


def document(standing: Standing, counted: Mapping[str, int] | None) -> dict[str, Any]:
    """Give what scripts get: the standing with times in RFC 3339, and what needs a person."""
    written: dict[str, Any] = plain(standing)
    written["at"] = moment(standing.at)
    for parked in written["parked"]:
        parked["since"], parked["until"] = moment(parked["since"]), moment(parked["until"])
    for alarm in written["alarms"]:
        alarm["since"] = moment(alarm["since"])
    return {**written, "counted": None if counted is None else dict(counted), "needs_you": standing.troubles()}


def screen(standing: Standing, counted: Mapping[str, int] | None, now: int) -> list[RenderableType]:
    """Lay out one screen; parts that have nothing to show are left out."""
    parts: list[RenderableType] = [Text.assemble((f"ComfySheet {standing.stage}", "bold"), f"  {when(standing.at)}")]
    troubles = standing.troubles()
    well = "All is well." if standing.is_served else "Nothing rings."  # without a worker nobody knows yet
    parts.append(Text.assemble((well, GOOD)) if not troubles else Text("Needs you:", style=f"bold {BAD}"))
    parts += [Text(f"  - {trouble}") for trouble in troubles]
    parts += [Text(), _queues(standing), *_jobs(standing.jobs, counted)]
    parts += [Text(), _workers(standing, now)]
    parts += [Text(f"{each.name}: {each.text}") for each in standing.workers if each.health == "closed"]
    if standing.parked:
        rows = [
            (cut(each.title or each.spreadsheet_id, 24), each.client, span(now - each.since), each.reason)
            for each in standing.parked
        ]
        columns = [Column("Parked sheet"), Column("Client"), Column("Since"), Column("Why", may_fold=True)]
        parts += [Text(), table(columns, rows)]
    if standing.webhooks_off:
        hooks = [(each.webhook_id, each.client, each.why, each.host) for each in standing.webhooks_off]
        columns = [Column("Webhook off"), Column("Client"), Column("Why"), Column("Host", may_fold=True)]
        parts += [Text(), table(columns, hooks)]
    if standing.alarms:
        alarms = [(each.name, span(now - each.since), each.reason) for each in standing.alarms]
        parts += [Text(), table([Column("Alarm"), Column("Since"), Column("Why", may_fold=True)], alarms)]
    return [*parts, Text(), *_foot(standing)]


def _queues(standing: Standing) -> RenderableType:
    columns = [Column("Queue"), *(Column(title, is_number=True) for title in ("waiting", "in flight", "delayed"))]
    columns.append(Column("dead letters", is_number=True))
    return table(
        columns,
        [
            (
                each.name,
                f"{each.waiting:,}",
                f"{each.in_flight:,}",
                f"{each.delayed:,}",
                Text(f"{each.dead:,}", style=BAD if each.dead else ""),
            )
            for each in standing.queues
        ],
    )


def _jobs(jobs: JobsStand, counted: Mapping[str, int] | None) -> list[Text]:
    more = "" if jobs.is_whole else " and more"
    held = f" ({jobs.held:,} held back)" if jobs.held else ""
    first = f"{jobs.queued:,} queued{more}{held}, {jobs.running:,} running"
    if jobs.oldest_waits_ms is not None:
        first += f"; the oldest has waited {span(jobs.oldest_waits_ms)}"
    lines = [Text(), Text.assemble(("Jobs     ", "bold"), first)]
    seen = sum(jobs.latest.values())
    told = ", ".join(f"{count:,} {state}" for state, count in jobs.latest.items())
    lines.append(Text(f"         last 24 h, of the latest {LATEST}: {told if seen else 'none has ended'}"))
    if jobs.not_told or jobs.without_row:
        lines.append(Text(f"         {jobs.not_told:,} with news to tell, {jobs.without_row:,} results without a row"))
    if counted is not None:
        told = ", ".join(f"{count:,} {state}" for state, count in sorted(counted.items()))
        lines.append(Text(f"         in the table: {told or 'none'}"))
    return lines


def _workers(standing: Standing, now: int) -> RenderableType:
    if not standing.workers:
        return Text.assemble(("Workers  ", "bold"), "none was heard within the last hour")
    rows = []
    for each in standing.workers:
        word = "busy" if each.health == "ok" and each.busy else "idle" if each.health == "ok" else each.health
        heard = span(now - _ms(each.seen_at))
        rows.append(
            (each.name, cut(each.gpu, 30), Text(word, style=_HEALTH[each.health]), f"{each.jobs_done:,}", heard)
        )
    columns = [Column("Worker", may_fold=True), Column("GPU"), Column("State")]
    return table([*columns, Column("Jobs done", is_number=True), Column("Heard", is_number=True)], rows)


def _foot(standing: Standing) -> list[Text]:
    use = standing.today
    told = f"{use.gpu_s:,.1f} GPU seconds"
    if use.cost_usd is None:
        told += " (tell their price: deploy --set GpuHourPrice=0.69)"
    else:
        told += f", {money(use.cost_usd)} at {money(use.gpu_hour_price or 0)} an hour"
    return [
        Text.assemble(("Today    ", "bold"), told),
        Text.assemble(("Version  ", "bold"), _package(standing.version)),
    ]


def _package(version: VersionStand) -> str:
    digests = sorted({digest[:12] for digest in version.functions.values()})
    told = {True: ", as in dist/", False: ", not what dist/ holds", None: ""}[version.same_as_dist]
    return f"package {', '.join(digests) or 'none: no function is there'}{told}"


def _ms(written: str) -> int:
    return int(datetime.fromisoformat(written.replace("Z", "+00:00")).timestamp() * 1000)
