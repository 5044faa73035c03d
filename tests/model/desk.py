"""Ask the product's own code what becomes of a job; remember the answer, for it is asked the same a million times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from chalicelib.complete import Complete
from chalicelib.contract.job import BUDGET, Job, JobError, Timings
from chalicelib.contract.ports import Lease
from chalicelib.contract.states import TRANSITIONS, State, Transition, Verb
from chalicelib.sweep import Sweep
from chalicelib.window import Window
from tests.delivery_fakes import QuietHerald
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output
from tests.laws import breaches
from tests.paper import SHEET, PaperSheet
from tests.sheet_fakes import FreeTurns, MemoryRegistry, NoteBook, Post

FAR: Final = NOW + 10**9
"""Ahead."""
LONG_AGO: Final = NOW - 10**9
KEY: Final = "key-1"
ERROR: Final = JobError(code="x", text="It broke.")
LEASE_MS: Final = 10**9

Row = tuple[tuple[str, str], ...]
Shown = tuple[int, tuple[int | None, bool] | None]
"""What completion makes of a row: the row after it, and how it then notes the job (when to look again, gone)."""


class Desk:
    """Number all jobs and rows that come about, and answer by number."""

    def __init__(self, table: Mapping[Verb, Transition] = TRANSITIONS, budget: int = BUDGET) -> None:
        self._table = table
        self.jobs: list[Job] = []
        self.rows: list[Row] = []
        self._places: dict[Any, int] = {}
        self._row_places: dict[Row, int] = {}
        self._known: dict[Any, Any] = {}
        row = new_job().target
        assert row is not None
        first = new_job(
            job_key=KEY,
            target=row.model_copy(update={"spreadsheet_id": SHEET}),
            submit_token="first",
            budget_left=budget,
            deadline=FAR,
            synced_version=1,
            link_base="https://host",
        )
        self.sent = self._job(first)
        self.held = self._job(first.model_copy(update={"seq": 0}))
        self.blank = self._row({"Prompt": "a fox", "Status": "queued", "Job ID": KEY})

    # -- the ledger --------------------------------------------------------------------------------------------------

    def ask(self, at: int, name: str, call: Callable[[MemoryLedger, Job], Any], lease: Lease | None = None) -> Any:
        """
        Ask the ledger, in which job *at* stands: the answer, the job after it, and what was wrong with the step.

        *name* stands for *call*: the same name means the same call.
        """
        key = (at, name, lease)
        if key not in self._known:
            before = self.jobs[at]
            ledger = self._ledger(before)
            answer = call(ledger, before)
            after = self._stands(ledger)
            self._known[key] = answer, after, tuple(breaches(before, self.jobs[after], lease))
        return self._known[key]

    def worker_asks(self, at: int, verb: Verb, lease: Lease) -> Any:
        """Make a worker's write."""
        made = [output(f"made-{lease.attempt}")]
        calls: dict[Verb, Callable[[MemoryLedger, Job], Any]] = {
            Verb.HEARTBEAT: lambda ledger, _: ledger.heartbeat(lease, until=FAR, phase="runs", progress=None),
            Verb.RELEASE: lambda ledger, _: ledger.release(lease, now=NOW),
            Verb.RETRY: lambda ledger, _: ledger.retry(lease, now=NOW, not_before=FAR, error=ERROR),
            Verb.COMMIT: lambda ledger, _: ledger.commit(lease, now=NOW, outputs=made, timings=Timings()),
            Verb.FAIL: lambda ledger, _: ledger.fail(lease, now=NOW, error=ERROR),
        }
        return self.ask(at, verb, calls[verb], lease)

    def claim(self, at: int, seq: int, token: str) -> Any:
        return self.ask(
            at,
            f"claim {seq} {token}",
            lambda ledger, job: ledger.claim(job.job_id, seq, owner="w", token=token, now=NOW, lease_ms=LEASE_MS),
        )

    def give_up(self, at: int, seen: int) -> Any:
        read = self.jobs[seen]
        return self.ask(at, f"give up {seen}", lambda ledger, _: ledger.give_up(read, now=NOW, error=ERROR))

    def cancel(self, at: int) -> Any:
        return self.ask(at, "cancel", lambda ledger, job: ledger.cancel(job.job_id, now=NOW))

    def note_shown(self, at: int, seen: int, look_at: int | None, gone: bool) -> Any:
        read = self.jobs[seen]
        return self.ask(
            at, f"note {seen} {look_at} {gone}", lambda ledger, _: ledger.mark_synced(read, look_at=look_at, gone=gone)
        )

    def passed(self, at: int, field: str) -> int | None:
        """Let a time pass: the lease's end, a pause, the deadline. None: it has passed, or means nothing."""
        job = self.jobs[at]
        if getattr(job, field) <= NOW:
            return None
        return self._job(job.model_copy(update={field: LONG_AGO}))

    # -- the sweeper, the window and the completion ------------------------------------------------------------------

    def sweep(self, at: int, seen: int) -> tuple[int, tuple[int, ...], int, int, tuple[str, ...]]:
        """Run the sweeper, which read the job when it was *seen*: the job after it, numbers sent, hints, checks."""
        key = ("sweep", at, seen)
        if key not in self._known:
            before, post = self.jobs[at], Post()
            ledger = _Late(before, self.jobs[seen], self._table)
            window = Window(ledger, post, lambda: 0, lambda: NOW)
            Sweep(ledger, post, post, MemoryRegistry(), lambda: NOW, window).sweep()
            after = self._stands(ledger)
            sent = tuple(seq for _, seq in post.sent)
            wrong = tuple(breaches(before, self.jobs[after]))
            self._known[key] = after, sent, len(post.hinted), len(post.checked), wrong
        found: tuple[int, tuple[int, ...], int, int, tuple[str, ...]] = self._known[key]
        return found

    def let_go(self, at: int) -> tuple[int, tuple[int, ...]]:
        """Let held jobs go, as the end of another job does: the job after it, and numbers sent."""
        key = ("let go", at)
        if key not in self._known:
            post, ledger = Post(), self._ledger(self.jobs[at])
            Window(ledger, post, lambda: 0, lambda: NOW).refill(self.jobs[at].client_id)
            self._known[key] = self._stands(ledger), tuple(seq for _, seq in post.sent)
        found: tuple[int, tuple[int, ...]] = self._known[key]
        return found

    def show(self, seen: int, row: int, *, check: bool) -> Shown:
        """Run completion for a job as it was *seen*: the row after it, and how it then notes that it is shown."""
        key = ("show", seen, row, check)
        if key not in self._known:
            job, ledger = self.jobs[seen], _Noting()
            ledger.submit(self.jobs[seen])
            sheet = PaperSheet(dict(self.rows[row]))
            complete = Complete(ledger, sheet, MemoryRegistry(), FreeTurns(), NoteBook(), QuietHerald(), lambda: NOW)
            assert complete.show([] if check else [job.job_id], [job.job_id] if check else []) == {}
            self._known[key] = self._row(sheet.row("a fox")), ledger.noted
        found: Shown = self._known[key]
        return found

    def truth(self, at: int) -> int:
        """Say what the row of job *at* is to show."""
        job = self.jobs[at]
        return self.show(self._job(job.model_copy(update={"synced_version": 0})), self.blank, check=False)[0]

    # -- numbers -----------------------------------------------------------------------------------------------------

    def _ledger(self, job: Job) -> MemoryLedger:
        ledger = MemoryLedger(self._table)
        ledger.submit(job)
        return ledger

    def _stands(self, ledger: MemoryLedger) -> int:
        job = ledger.get(self.jobs[0].job_id)
        assert job is not None
        return self._job(job)

    def _job(self, job: Job) -> int:
        is_live = job.state is State.RUNNING and job.lease_until >= NOW
        plain = job.model_copy(
            update={
                "lease_until": FAR if is_live else 0,
                "not_before": FAR if job.state is State.QUEUED and job.not_before > NOW else 0,
                "deadline": FAR if job.deadline > NOW else LONG_AGO,
                "due_at": None if job.due_at is None else LONG_AGO,
                "enqueued_at": LONG_AGO,
                "phase": None,
                "last_error": None,
            }
        )
        key = tuple(getattr(plain, name) for name in _TELLING)
        if key not in self._places:
            self._places[key] = len(self.jobs)
            self.jobs.append(plain)
        return self._places[key]

    def _row(self, row: Mapping[str, str]) -> int:
        key = tuple(sorted(row.items()))
        if key not in self._row_places:
            self._row_places[key] = len(self.rows)
            self.rows.append(key)
        return self._row_places[key]


_TELLING: Final = (
    *("state", "version", "attempt", "budget_left", "seq", "lease_until", "not_before", "deadline"),
    *("claim_token", "committed_attempt", "error", "synced_version", "due_at"),
)
"""What tells one job of the model from another."""


class _Late(MemoryLedger):
    """Be a ledger whose reader read a job a while ago."""

    def __init__(self, now: Job, seen: Job, table: Mapping[Verb, Transition]) -> None:
        super().__init__(table)
        self.submit(now)
        self._seen: Job | None = seen

    def due(self, now: int, limit: int) -> Iterable[str]:
        return [] if self._seen is None or self._seen.due_at is None else [self._seen.job_id]

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        if self._seen is None or not job_ids:
            return super().get_many(job_ids)
        seen, self._seen = self._seen, None
        return [seen]


class _Noting(MemoryLedger):
    """Note how a job is noted as shown, and note nothing."""

    noted: tuple[int | None, bool] | None = None

    def mark_synced(self, job: Job, *, look_at: int | None = None, gone: bool = False) -> bool:
        self.noted = look_at, gone
        return True
