"""
Start the rows that ask for it by themselves: Status says "pending", or the box Run is ticked. No script is needed.

Who starts rows holds the spreadsheet's lease, here and in the script: so no row is started twice. The order keeps what
dies half-way whole: first the row gets its Job ID, then the job is submitted under it, then Status says "queued". A row
that still says "pending" with a Job ID of ours is taken up where it was left.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import uuid4

from chalicelib.cells import COLUMNS, UNDER_WAY, Cell, Moved, Tab, Text, Tick, Unreachable, cells_of, clean_text
from chalicelib.complete import HEAL_MS
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, Target, job_id_of, prompt_fingerprint
from chalicelib.contract.limits import NO_ACCOUNT, Account
from chalicelib.contract.ports import Ledger
from chalicelib.contract.sheets import HOLD_MS, Parked, Registration
from chalicelib.contract.states import CELL_WORD, OPEN, State
from chalicelib.contract.words import fold
from chalicelib.mend import SheetStore, write
from chalicelib.submit import MAX_COLUMNS, MAX_ROWS, Row, RowAnswer, Scalar, SheetRequest

log = logging.getLogger(__name__)

STARTED_MOST: Final = 5 * MAX_ROWS
"""Rows of one tab that start in one round; the others have theirs a minute later."""
GONE_MS: Final = 24 * 3600 * 1000
"""How long one that was deleted is: somebody may take it out of the bin."""
WISH: Final = "pending"
_OURS: Final = frozenset(COLUMNS) - {"prompt", "seed"}
"""Columns that are no input of a workflow."""
PATIENT: Final = frozenset({"queue_full", "budget_spent"})
"""Why a row may be refused that starts by itself once there is room."""


class Reader(SheetStore, Protocol):
    """Read tabs with what their formulas are worth (`chalicelib.sheet.Sheets`)."""

    def read(self, spreadsheet_id: str, sheet_id: int, *, with_values: bool = False, urgent: bool = False) -> Tab:
        """Read a tab."""

    def try_write(self, spreadsheet_id: str) -> None:
        """Write something that nobody sees and take it away again."""


class Spreadsheets(Protocol):
    """Know the spreadsheets (`chalicelib.registry.Registry`)."""

    def get(self, spreadsheet_id: str) -> Registration:
        """Read what is known of one."""

    def hold(self, spreadsheet_id: str, token: str, *, now: int, until: int) -> bool:
        """Be the only one who starts rows."""

    def let_go(self, spreadsheet_id: str, token: str) -> None:
        """End what `hold` began."""

    def set_auto(self, spreadsheet_id: str, sheet_id: int, *, on: bool) -> None:
        """Switch a tab's auto mode."""

    def park(self, spreadsheet_id: str, parked: Parked) -> None:
        """Note why its rows are not written."""

    def unpark(self, spreadsheet_id: str) -> None:
        """Note that they are."""


class Submitter(Protocol):
    """Accept rows (`chalicelib.submit.Submit`)."""

    def rows(self, client_id: str, request: SheetRequest, link_base: str, account: Account) -> list[RowAnswer]:
        """Accept rows, on an account."""


@dataclass(frozen=True)
class _Wanted:
    """Hold a row (0-based) that is to start, the key of its job, and the job if it was submitted before."""

    row: int
    key: str
    there: Job | None = None


class AutoStart:
    """Start rows of the tabs that are registered for it."""

    def __init__(
        self,
        ledger: Ledger,
        sheets: Reader,
        spreadsheets: Spreadsheets,
        submit: Submitter,
        link_base: str,
        now_ms: Callable[[], int],
        accounts: Callable[[str], Account] = lambda _: NO_ACCOUNT,
    ) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._sheets = sheets
        self._spreadsheets = spreadsheets
        self._submit = submit
        self._link_base = link_base
        self._now_ms = now_ms

    def start(self, spreadsheet_id: str) -> int:
        """Start what asks for it; the number of rows. Raise `Unavailable` while somebody else starts rows there."""
        there = self._spreadsheets.get(spreadsheet_id)
        if there.client_id is None or not there.auto_tabs:
            return 0
        if there.parked is not None and self._now_ms() < there.parked.until:
            return 0
        token, now = uuid4().hex, self._now_ms()
        if not self._spreadsheets.hold(spreadsheet_id, token, now=now, until=now + HOLD_MS):
            raise Unavailable("Somebody is starting rows of this spreadsheet just now.", retry_in_s=10)
        started, account = 0, self._accounts(there.key_id or "")
        try:
            if there.parked is not None and there.parked.until > there.parked.since:
                # All of it refused us. A read does not tell whether rows can be written.
                self._sheets.try_write(spreadsheet_id)
                self._spreadsheets.unpark(spreadsheet_id)
            for sheet_id in there.auto_tabs:
                started += self._start_tab(there.client_id, spreadsheet_id, sheet_id, account)
        except Unreachable as trouble:
            self._park(spreadsheet_id, trouble)
            raise
        finally:
            self._spreadsheets.let_go(spreadsheet_id, token)
        if started:
            log.info("rows started", extra={"action": "auto", "rows": started})
        return started

    def _park(self, spreadsheet_id: str, trouble: Unreachable) -> None:
        """Leave a spreadsheet that refuses us for a while, with a reason that its menu shows; it costs reads."""
        now = self._now_ms()
        until = now + (HEAL_MS if trouble.may_heal else GONE_MS)
        self._spreadsheets.park(spreadsheet_id, Parked(reason=trouble.reason, since=now, until=until))

    def _start_tab(self, client_id: str, spreadsheet_id: str, sheet_id: int, account: Account) -> int:
        try:
            tab = self._sheets.read(spreadsheet_id, sheet_id, with_values=True)
        except Unreachable as trouble:
            if not trouble.of_tab:
                raise
            self._spreadsheets.set_auto(spreadsheet_id, sheet_id, on=False)
            return 0
        if not {"status", "job_id"} <= tab.columns.keys():
            return 0
        wanted = self._wanted(client_id, tab)
        if not wanted:
            return 0
        ticks = tab.column_texts("run") or {}
        marked, tab = self._write(tab, {each.row: _marked(tab, each, each.row in ticks) for each in wanted})
        wanted = [each for each in wanted if each.row in marked]
        cells: dict[int, dict[str, Cell]] = {}
        for each in wanted:
            if each.there is not None:
                cells[each.row] = cells_of(each.there, tab.time_zone)
        new = [each for each in wanted if each.there is None]
        for each, answer in self._submitted(client_id, tab, new, account):
            # A row for which there is no room yet stays as it is: a later minute finds it again.
            if answer.code not in PATIENT:
                cells[each.row] = _told(answer)
        self._write(tab, {row: tab.placed(told) for row, told in cells.items()})
        return len(cells)

    def _wanted(self, client_id: str, tab: Tab) -> list[_Wanted]:
        status, run, ids = (tab.column_texts(name) or {} for name in ("status", "run", "job_id"))
        rows = [
            row
            for row in tab.rows
            if fold(status.get(row, "")) == WISH
            or (fold(run.get(row, "")) == "true" and fold(status.get(row, "")) not in UNDER_WAY)
        ]
        rows = [row for row in rows if _inputs(tab, row) or _workflow(tab, row)][:STARTED_MOST]
        keys = {row: ids.get(row, "").strip() for row in rows}
        known = {
            job.job_key: job
            for job in self._ledger.get_many([job_id_of(client_id, key) for key in keys.values() if key])
        }
        times = Counter(text.strip() for text in ids.values())
        wanted = []
        for row in rows:
            key, job = keys[row], known.get(keys[row])
            is_own = bool(key) and times[key] == 1 and fold(status.get(row, "")) == WISH
            if is_own and job is None:
                wanted.append(_Wanted(row, key))  # given by an earlier round that died
            elif is_own and job is not None and _is_news(job) and _is_same(job, tab, row):
                wanted.append(_Wanted(row, key, job))
            else:
                wanted.append(_Wanted(row, str(uuid4())))
        return wanted

    def _write(self, tab: Tab, plan: Mapping[int, Mapping[int, Cell]]) -> tuple[set[int], Tab]:
        """Write rows; those that were hit as meant, and the tab as it is then. Others are left to the next round."""
        if not plan:
            return set(), tab
        try:
            missed = write(self._sheets, tab, plan)
        except Moved:
            return set(), tab
        return set(plan) - missed, _with(tab, plan)

    def _submitted(
        self, client_id: str, tab: Tab, wanted: Sequence[_Wanted], account: Account
    ) -> Iterator[tuple[_Wanted, RowAnswer]]:
        for begin in range(0, len(wanted), MAX_ROWS):
            part = wanted[begin : begin + MAX_ROWS]
            rows = [
                Row(
                    job_key=each.key, row=each.row + 1, workflow=_workflow(tab, each.row), inputs=_inputs(tab, each.row)
                )
                for each in part
            ]
            request = SheetRequest(
                spreadsheet_id=tab.spreadsheet_id, sheet_id=tab.sheet_id, rows=rows, columns=_columns(tab)
            )
            yield from zip(part, self._submit.rows(client_id, request, self._link_base, account), strict=True)


def _workflow(tab: Tab, row: int) -> str:
    return tab.text(row, "workflow").strip()[:200]


def _inputs(tab: Tab, row: int) -> dict[str, Scalar]:
    """Read a row's inputs by header: numbers and booleans as such, the prompt and everything else as shown."""
    ours = {at: name for name, at in tab.columns.items()}
    inputs: dict[str, Scalar] = {}
    for header, at in tab.headed(row).items():
        name = ours.get(at)
        if name in _OURS or header in inputs:
            continue
        shown = tab.texts[row, at]
        worth = tab.values.get((row, at), {})
        value: Scalar = shown
        if name != "prompt" and isinstance(worth.get("boolValue"), bool):
            value = bool(worth["boolValue"])
        elif name != "prompt" and isinstance(number := worth.get("numberValue"), int | float):
            value = int(number) if float(number).is_integer() else float(number)
        if shown.strip() and value is not False:
            inputs[COLUMNS[name][0] if name else header.strip()] = value
    return inputs


def _columns(tab: Tab) -> list[str]:
    """List the headers of columns that are inputs, whether their cells hold something or not."""
    ours = {at for name, at in tab.columns.items() if name in _OURS}
    return [text.strip() for at, text in enumerate(tab.header) if text.strip() and at not in ours][:MAX_COLUMNS]


def _is_news(job: Job) -> bool:
    """Say whether a row that says "pending" was left so half-way: its job is open, or ended and was not shown yet."""
    return job.state in OPEN or not job.is_shown


def _is_same(job: Job, tab: Tab, row: int) -> bool:
    """Say whether *row* is the one that *job* was made for: a copied tab, or spreadsheet, carries its Job IDs too."""
    prompt_hash = prompt_fingerprint(tab.text(row, "prompt"))
    return job.target == Target(spreadsheet_id=tab.spreadsheet_id, sheet_id=tab.sheet_id, prompt_hash=prompt_hash)


def _marked(tab: Tab, wanted: _Wanted, has_box: bool) -> dict[int, Cell]:
    """Give the row its Job ID; the wish goes into Status, for the tick is taken away."""
    cells: dict[str, Cell] = {"job_id": Text(wanted.key), "status": Text(WISH), "error": Text("")}
    if has_box:
        cells["run"] = Tick(False)
    return tab.placed(cells)


def _told(answer: RowAnswer) -> dict[str, Cell]:
    if answer.result == "rejected":
        return {"status": Text(CELL_WORD[State.FAILED]), "error": Text(clean_text(answer.message or ""))}
    return {"status": Text(CELL_WORD[State(answer.state or State.QUEUED)])}


def _with(tab: Tab, written: Mapping[int, Mapping[int, Cell]]) -> Tab:
    """Give the tab as it is if a write hits what is meant: its rows are known by the Job IDs that it writes."""
    texts = dict(tab.texts)
    for row, cells in written.items():
        for at, cell in cells.items():
            if isinstance(cell, Text) and at == tab.columns.get("job_id"):
                texts[row, at] = cell.text
    return replace(tab, texts=texts)
