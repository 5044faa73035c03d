"""The verb `jobs`: list jobs, show one, cancel it, make it once more."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from rich.text import Text

from chalicelib.asset_store import AssetStore
from chalicelib.assets import Assets
from chalicelib.cancel import cancel
from chalicelib.catalog import Catalog
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, job_id_of
from chalicelib.contract.limits import NO_ACCOUNT, Account
from chalicelib.contract.states import State
from chalicelib.programs import Programs, Surroundings
from chalicelib.submit import Submit
from chalicelib.window import Window
from infra.deployed import Deployed, deployed, now_ms
from infra.job_page import document, page
from infra.key_terms import spreadsheet_id_of
from infra.open_jobs import clients_of, newest_first, read_open
from infra.paper import Column, cut, moment, read_span, show, show_json, span, table
from infra.release import add_stage_options, keep_what_was_said

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

LOOKED_AT_MOST: Final = 5000
"""Jobs that a filtered list looks at."""
_COLUMNS: Final = (
    Column("Job"),
    Column("State"),
    Column("Age", is_number=True),
    Column("Client", may_fold=True),
    Column("Workflow", may_fold=True),
)


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("jobs", help="jobs of all clients: list them, show, cancel or repeat one")
    # `jobs` alone lists; what is listed can be said there as well.
    top.set_defaults(run=_list)
    actions = top.add_subparsers(dest="action", metavar="<action>")
    listing = actions.add_parser("list", help="list jobs, the newest first (also: jobs without an action)")
    showing = actions.add_parser("show", help="tell everything about one job")
    ending = actions.add_parser("cancel", help="cancel an open job, as its owner could")
    again = actions.add_parser("retry", help="make an ended job once more: a new job with the same inputs and seed")
    listing.set_defaults(run=_list)
    for verb in (top, listing):
        _add_filters(verb)
    for verb, run in ((showing, _show), (ending, _cancel), (again, _retry)):
        verb.add_argument("id", help="the job's id, or the Job ID that a sheet's row shows")
        verb.add_argument("--client", help="whose job it is, where a row's Job ID is given (default: looked for)")
        verb.set_defaults(run=run)
    showing.add_argument("--inputs", action="store_true", help="its inputs too: prompts are people's own words")
    for verb in (top, listing, showing, ending, again):
        add_stage_options(verb)
        verb.add_argument("--json", action="store_true", help="as JSON for scripts: a document; a list has one a line")
    for verb in (listing, showing, ending, again):
        keep_what_was_said(verb, "state", "client", "sheet", "since", "limit", "json", "stage", "region", "profile")


def _add_filters(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--state", default="", help=f"one or several of {', '.join(State)}, parted by commas")
    verb.add_argument("--client", default="", help="one client's jobs")
    verb.add_argument("--sheet", default="", help="the jobs of one spreadsheet's rows: its id or address")
    verb.add_argument("--since", default="24h", help="made within this time: 30m, 2h, 7d (default: 24h)")
    verb.add_argument("--limit", type=int, default=20, help="how many at most (default: 20)")


# -- list -------------------------------------------------------------------------------------------------------------


@dataclass
class _Search:
    """Pick jobs, and know whether all were looked at."""

    states: frozenset[State]
    sheet: str
    limit: int
    is_cut: bool = False

    def pick(self, jobs: Iterator[Job]) -> Iterator[Job]:
        given = 0
        for looked, job in enumerate(jobs):
            if looked == LOOKED_AT_MOST:
                self.is_cut = True
                return
            at_home = not self.sheet or (job.target is not None and job.target.spreadsheet_id == self.sheet)
            if at_home and (not self.states or job.state in self.states):
                yield job
                given += 1
                if given == self.limit:
                    return


def _list(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.limit <= 10_000:
        raise Rejected("bad_limit", "--limit is 1 to 10000.")
    search = _Search(_states(arguments.state), spreadsheet_id_of(arguments.sheet), arguments.limit)
    since, there = now_ms() - read_span(arguments.since), deployed(arguments)
    # Made now and then: of ten jobs as of ten thousand no more is read than is shown.
    at_once = 100 if search.states or search.sheet else min(100, arguments.limit)
    found = list(search.pick(newest_first(there.ledger, _whose(there, arguments), since=since, at_once=at_once)))
    if arguments.json:
        for job in found:
            show_json(_line(job), one_line=True)
        return 0
    show(*(listed(found, now_ms()) if found else [f"No such job was made within the last {arguments.since}."]))
    if search.is_cut:
        show(f"Only the newest {LOOKED_AT_MOST:,} were looked at. Narrow it with --since, --client or --sheet.")
    return 0


def _whose(there: Deployed, arguments: argparse.Namespace) -> Sequence[str]:
    if arguments.client:
        return [arguments.client]
    if arguments.sheet:
        owner = there.registry.get(spreadsheet_id_of(arguments.sheet)).client_id
        if owner is not None:
            return [owner]
    return clients_of(there, read_open(there).clients)


def _states(words: str) -> frozenset[State]:
    names = [word.strip() for word in words.split(",") if word.strip()]
    if unknown := [name for name in names if name not in list(State)]:
        raise Rejected("bad_state", f"There is no state {unknown[0]!r}. There are {', '.join(State)}.")
    return frozenset(State(name) for name in names)


def listed(jobs: Sequence[Job], now: int) -> list[RenderableType]:
    """Lay out a list of jobs; below it stands why some failed."""
    rows = [(job.job_id, job.state.value, span(now - job.created_at), job.client_id, job.workflow_id) for job in jobs]
    faults = [f"{job.job_id[:8]}  {cut(job.error.sentence(), 70)}" for job in jobs if job.error]
    return [table(_COLUMNS, rows), *([Text("\n".join(["", *faults]))] if faults else [])]


def _line(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "state": job.state.value,
        "client": job.client_id,
        "workflow": job.workflow_id,
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "attempt": job.attempt,
        "worker": job.owner,
        "job_key": job.job_key,
        "spreadsheet_id": job.target.spreadsheet_id if job.target else None,
        "error": job.error.model_dump(mode="json") if job.error else None,
    }


# -- one job ----------------------------------------------------------------------------------------------------------


def find(there: Deployed, words: str, client: str) -> Job:
    """
    Find a job by its id, or by the Job ID of a row: of *client*, else of whoever has one of that name.

    Raise `Rejected` (not_found, or ambiguous when two clients have one).
    """
    words = words.strip()
    job = there.ledger.get(words)
    if job is not None and client in ("", job.client_id):
        return job
    clients = [client] if client else clients_of(there, read_open(there).clients)
    found = there.ledger.get_many([job_id_of(each, words) for each in clients])
    if len(found) > 1:
        told = ", ".join(job.client_id for job in found)
        raise Rejected(
            "ambiguous", f"Several clients have a job called {words[:60]}: say which with --client ({told})."
        )
    if not found:
        whose = f" of {client}" if client else ""
        raise Rejected("not_found", f"There is no job {words[:60]}{whose}. Jobs are kept for 90 days; see `jobs list`.")
    return found[0]


def _show(arguments: argparse.Namespace) -> int:
    job = find(deployed(arguments), arguments.id, arguments.client)
    if arguments.json:
        show_json(document(job, with_inputs=arguments.inputs))
    else:
        show(*page(job, now_ms(), with_inputs=arguments.inputs))
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    job = find(there, arguments.id, arguments.client)
    after = cancel(job.job_id, job.client_id, ledger=there.ledger, hints=there.completions, now_ms=now_ms)
    if arguments.json:
        show_json({"job_id": after.job_id, "state": after.state.value, "was": job.state.value})
    elif after.state is not State.CANCELED:
        show(f"Job {after.job_id} had {after.state.value} before; nothing is changed.")
    elif job.state is State.CANCELED:
        show(f"Job {after.job_id} was canceled before.")
    else:
        row = " Its row will say cancelled." if after.target else ""
        show(f"Job {after.job_id} is canceled; a worker that renders it stops within seconds.{row}")
    return 0 if after.state is State.CANCELED else 1


@dataclass(frozen=True)
class _Operator:
    """Be whoever repeats a client's job: it counts as the client's own."""

    client_id: str
    key_id: str
    scopes: frozenset[str] = frozenset({"read", "submit", "raw", "admin"})
    spreadsheet_id: str = ""
    account: Account = NO_ACCOUNT


def _retry(arguments: argparse.Namespace) -> int:
    there = deployed(arguments)
    old = find(there, arguments.id, arguments.client)
    made = _programs(there).again(_Operator(old.client_id, old.key_id), old.job_id, None, old.link_base).job
    if arguments.json:
        show_json({"job_id": made.job_id, "retry_of": old.job_id, "state": made.state.value})
        return 0
    show(f"Job {made.job_id} repeats {old.job_id}: the same workflow, inputs and seed.")
    if old.target is not None:
        show(
            "No row shows it: the row stays as it is, for its Job ID names the ended job. To fill the row, have its "
            "people use ComfySheet > Retry failed."
        )
    show(f"Look at it: python -m infra jobs show {made.job_id} --stage {there.stage}")
    return 0


def _programs(there: Deployed) -> Programs:
    """Make what repeats jobs, as the API has it."""
    window = Window(there.ledger, there.jobs_queue, there.crew.gpus, now_ms)
    catalog = Catalog(there.blobs, clock_s=lambda: now_ms() / 1000)
    assets = Assets(AssetStore(there.client("s3"), there.outputs["Bucket"]), there.ledger, 0, now_ms)
    submit = Submit(there.ledger, catalog, there.jobs_queue, now_ms, window=window)
    return Programs(submit, there.ledger, Surroundings(shelf=there.blobs, find_asset=assets.find))
