"""
Accept jobs: check what is asked, put each job (that earns the yes), then send its message.

Order: manifest check → place in the client's window → conditional put → send. A crash between put and send is healed
by the sweeper; a repeated request finds its job and sends the message of a job that nobody has started again, which is
harmless. A job that finds its client's window full is put all the same, and sent when an earlier one ends.
"""

from __future__ import annotations

import difflib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, Protocol
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.cells import prompt_of
from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.errors import Rejected
from chalicelib.contract.inputs import resolve_inputs
from chalicelib.contract.job import (
    JOB_LIFETIME_MS,
    QUEUED_LOST_MS,
    Job,
    Target,
    fingerprint,
    job_id_of,
    prompt_fingerprint,
)
from chalicelib.contract.limits import NO_ACCOUNT, Account
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.parameter import Parameter
from chalicelib.contract.ports import Ledger, Submitted
from chalicelib.contract.states import State
from chalicelib.contract.values import one_line
from chalicelib.contract.words import fold
from chalicelib.prompting.resolve import GivenWildcards, Prompted, Wildcards, resolve_prompts, seed_of
from chalicelib.window import Admitted, Window

log = logging.getLogger(__name__)

MAX_ROWS: Final = 100
MAX_COLUMNS: Final = 200
MAX_WORKFLOW: Final = 200
"""Characters of a workflow's name in a cell."""
_PUTS_AT_ONCE: Final = 8
_ASKED: Final = frozenset(
    {"client_id", "workflow_id", "workflow_hash", "inputs", "input_hash", "templates"}
    | {"priority", "tags", "metadata", "webhook_url"}
)
"""What of a job was asked for, and is asked for again when it is made once more."""

Scalar = str | int | float | bool | None
JobKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
SheetId = Annotated[int, Field(ge=0, lt=2**31)]
"""A tab's gid, as Google numbers them."""


class Request(BaseModel):
    """Set what all request bodies share: strict types, no unknown field, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Row(Request):
    """
    Ask for one row: *inputs* are keyed by header text, as typed.

    What a person may have typed is bounded by the request alone: too much of it is told in its own row, for a request
    that is not well formed would take the other rows with it.
    """

    job_key: JobKey
    row: int | None = None
    """Where the row is now, 1-based; for messages only."""
    workflow: str = ""
    inputs: dict[str, Scalar] = Field(default_factory=dict)


class SheetRequest(Request):
    """Ask for rows of one tab."""

    spreadsheet_id: str = Field(min_length=1, max_length=200)
    sheet_id: SheetId
    rows: list[Row] = Field(min_length=1, max_length=MAX_ROWS)
    columns: list[str] = Field(default_factory=list, max_length=MAX_COLUMNS)
    """Headers of the tab: a prompt may name one whose cell is empty in its row."""


@dataclass(frozen=True)
class RowAnswer:
    """Answer one row; *code* and *message* only when rejected."""

    job_key: str
    job_id: str
    result: Literal["accepted", "duplicate", "rejected"]
    state: str | None = None
    code: str | None = None
    message: str | None = None
    ignored: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, object]:
        """Give the answer as it goes over the wire; what is absent is left out."""
        fields = {name: value for name, value in vars(self).items() if value is not None and value != ()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


class Catalog(Protocol):
    """Find workflows."""

    def find(self, name: str, client_id: str) -> Workflow:
        """Answer the workflow that this id or name means to a client; raise `Rejected` with the nearest names."""


class Jobs(Protocol):
    """Send jobs to the workers."""

    def send(self, jobs: Sequence[Job]) -> int:
        """Send a message for each job."""


def draw_seed() -> int:
    """Draw a seed that a cell can show exactly (a sheet's number holds 53 bits) and every sampler takes."""
    return secrets.randbelow(2**32)


class Submit:
    """
    Accept jobs. *pick_seed* draws what "random" means; *files* lists what live workers have for a parameter.

    *wildcards* are the lists that a prompt may draw from.
    """

    def __init__(
        self,
        ledger: Ledger,
        catalog: Catalog,
        jobs: Jobs,
        now_ms: Callable[[], int],
        pick_seed: Callable[[], int] = draw_seed,
        files: Callable[[Workflow, Parameter], tuple[str, ...]] = lambda _workflow, _parameter: (),
        window: Window | None = None,
        wildcards: Wildcards | None = None,
        counts: Counts = NOWHERE,
    ) -> None:
        self._counts = counts
        self._ledger = ledger
        self._catalog = catalog
        self._jobs = jobs
        self._now_ms = now_ms
        self._pick_seed = pick_seed
        self._files = files
        self._window = window or Window(ledger, jobs, lambda: 0, now_ms)
        self._wildcards = wildcards or GivenWildcards()

    def rows(
        self, client_id: str, request: SheetRequest, link_base: str, account: Account = NO_ACCOUNT
    ) -> list[RowAnswer]:
        """
        Accept the rows of one request, each by itself, in their order; those above what *account* allows are rejected.

        Raise `Unavailable` when the ledger cannot be reached; repeating the same rows is safe.
        """
        answers: dict[str, RowAnswer] = {}
        wanted: list[tuple[Job, tuple[str, ...]]] = []
        for row in request.rows:
            try:
                wanted.append(self._row_job(client_id, request, row, link_base))
            except Rejected as no:
                job_id = job_id_of(client_id, row.job_key)
                answers[row.job_key] = RowAnswer(row.job_key, job_id, "rejected", code=no.code, message=no.message)
        admitted = self._admit([job for job, _ in wanted], account)
        submitted = {outcome.job.job_id: outcome for outcome in self._put(admitted)}
        for job, ignored in wanted:
            if (outcome := submitted.get(job.job_id)) is not None:
                answers[job.job_key] = _answer(job, outcome, ignored)
            elif (full := admitted.refusal) is not None:
                answers[job.job_key] = RowAnswer(
                    job.job_key, job.job_id, "rejected", code=full.code, message=full.message
                )
        log.info("rows", extra={"client_id": client_id, "rows": len(request.rows), "accepted": len(submitted)})
        refused = len(request.rows) - len(wanted)
        if refused:
            self._counts.add(Metric.ROWS_REFUSED, refused)
        if len(wanted) > len(submitted):
            self._counts.add(Metric.ROWS_TURNED_AWAY, len(wanted) - len(submitted))
        return [answers[row.job_key] for row in request.rows]

    def draft(
        self,
        client_id: str,
        job_key: str,
        workflow: str | Workflow,
        given: Mapping[str, Scalar],
        link_base: str,
        target: Target | None = None,
    ) -> Job:
        """
        Make a program's job, to be completed and then accepted; nothing is written.

        *workflow* is its name in the catalog, or itself. Raise `Rejected`: no such workflow, what the inputs lack, and
        inputs that nothing uses: a sheet has columns of its own, in a program's request they are a slip.
        """
        job, unused = self._job(client_id, job_key, workflow, given, link_base, target)
        found = self._catalog.find(workflow, client_id) if isinstance(workflow, str) else workflow
        # An input that is given twice, under two of its names, is no unknown one.
        words = {word for parameter in found.parameters for word in parameter.words()}
        if unknown := [name for name in unused if fold(name) not in words]:
            raise Rejected("invalid_input", _unknown_inputs(found, unknown))
        return job

    def anew(self, ended: Job, job_key: str, link_base: str) -> Job:
        """Make a job that asks for what *ended* did: same version of the workflow, same resolved inputs, no row."""
        kept = {name: getattr(ended, name) for name in _ASKED if name in Job.model_fields}
        now = self._now_ms()
        return Job(
            **kept,
            job_id=job_id_of(ended.client_id, job_key),
            job_key=job_key,
            state=State.QUEUED,
            submit_token=uuid4().hex,
            link_base=link_base,
            view_token=secrets.token_urlsafe(16),
            created_at=now,
            enqueued_at=now,
            deadline=now + JOB_LIFETIME_MS,
            due_at=now + QUEUED_LOST_MS,
            synced_version=1,
        )

    def accept(
        self, jobs: Sequence[Job], account: Account = NO_ACCOUNT, before: Callable[[], None] = lambda: None
    ) -> list[Submitted]:
        """
        Put jobs of one client and send their messages; of a key that stood for another job, that job is answered.

        What they need is stored *before*, once they are let in. Raise `Exhausted`, and put none, when *account* allows
        no further job.
        """
        admitted = self._admit(jobs, account)
        if admitted.refusal is not None:
            raise admitted.refusal
        before()
        return self._put(admitted)

    def _row_job(self, client_id: str, request: SheetRequest, row: Row, link_base: str) -> tuple[Job, tuple[str, ...]]:
        if not row.workflow.strip():
            raise Rejected("no_workflow", "Choose a workflow for this row: its Workflow cell is empty.")
        if len(row.workflow) > MAX_WORKFLOW:
            text = f"The Workflow cell holds {len(row.workflow):,} characters: choose a workflow by its name."
            raise Rejected("unknown_workflow", text)
        if len(row.inputs) > MAX_COLUMNS:
            text = f"The row has {len(row.inputs)} filled columns; {MAX_COLUMNS} are allowed. Leave the others empty."
            raise Rejected("invalid_input", text)
        target = Target(
            spreadsheet_id=request.spreadsheet_id,
            sheet_id=request.sheet_id,
            prompt_hash=prompt_fingerprint(prompt_of(row.inputs)),
        )
        return self._job(client_id, row.job_key, row.workflow, row.inputs, link_base, target, request.columns)

    def _job(
        self,
        client_id: str,
        job_key: str,
        asked_for: str | Workflow,
        given: Mapping[str, Scalar],
        link_base: str,
        target: Target | None = None,
        columns: Sequence[str] = (),
    ) -> tuple[Job, tuple[str, ...]]:
        """Make the job that is asked for, and name the inputs that its workflow does not know."""
        named = asked_for if isinstance(asked_for, str) else asked_for.hash
        workflow = self._catalog.find(asked_for, client_id) if isinstance(asked_for, str) else asked_for
        resolved = resolve_inputs(
            workflow, given, pick_seed=self._pick_seed, files=lambda parameter: self._files(workflow, parameter)
        )
        job_id, now = job_id_of(client_id, job_key), self._now_ms()
        asked = Prompted(workflow, resolved.inputs, given, columns)
        prompts = resolve_prompts(asked, self._wildcards, seed_of(asked, job_id))
        job = Job(
            job_id=job_id,
            client_id=client_id,
            job_key=job_key,
            state=State.QUEUED,
            submit_token=uuid4().hex,
            workflow_id=workflow.id,
            workflow_hash=workflow.hash,
            inputs=dict(prompts.inputs),
            templates=prompts.templates,
            input_hash=fingerprint({"workflow": named, "inputs": dict(given)}),
            target=target,
            link_base=link_base,
            view_token=secrets.token_urlsafe(16),
            created_at=now,
            enqueued_at=now,
            deadline=now + JOB_LIFETIME_MS,
            due_at=now + QUEUED_LOST_MS,
            # The sheet itself wrote "queued": version 1 is shown.
            synced_version=1,
        )
        return job, tuple(header for header in resolved.ignored if header not in prompts.used)

    def _admit(self, jobs: Sequence[Job], account: Account) -> Admitted:
        """Place jobs of one client in its line, on *account*; nothing of them is put yet."""
        mine = [job.model_copy(update={"key_id": account.key_id}) for job in jobs] if account.key_id else jobs
        spent = account.refusal(self._now_ms())
        return self._window.admit(mine, account.limits.queued_max if spent is None else 0, spent)

    def _put(self, admitted: Admitted) -> list[Submitted]:
        """Put jobs, and send what is new, and what is there but was never started: its message may have got lost."""
        with ThreadPoolExecutor(_PUTS_AT_ONCE) as pool:
            outcomes = list(pool.map(self._ledger.submit, admitted.jobs))
        self._jobs.send(
            [
                outcome.job
                for asked, outcome in zip(admitted.jobs, outcomes, strict=True)
                if outcome.job.input_hash == asked.input_hash
                and outcome.job.state is State.QUEUED
                and outcome.job.attempt == 0
                and not outcome.job.is_held
            ]
        )
        new = [outcome.job for outcome in outcomes if outcome.created]
        for job in new:
            log.info("accepted", extra={"action": "accepted", **_of(job)})
        if new:
            self._counts.add(Metric.JOBS_ACCEPTED, len(new))
        if admitted.has_room:
            self._window.refill(admitted.jobs[0].client_id)
        return outcomes


def _of(job: Job) -> dict[str, object]:
    """Name a new job in a line of the log: of one that is held back no message is out (seq 0)."""
    return {"job_id": job.job_id, "client_id": job.client_id, "seq": job.seq, "workflow": job.workflow_id}


def _answer(asked: Job, outcome: Submitted, ignored: tuple[str, ...]) -> RowAnswer:
    there = outcome.job
    if there.input_hash != asked.input_hash:
        no = reused(asked.job_key)
        return RowAnswer(asked.job_key, there.job_id, "rejected", code=no.code, message=no.message)
    result: Literal["accepted", "duplicate"] = "accepted" if outcome.created else "duplicate"
    return RowAnswer(asked.job_key, there.job_id, result, state=there.state.value, ignored=ignored)


def reused(job_key: str) -> Rejected:
    """Refuse a key that stands for another request."""
    return Rejected(
        "idempotency_key_reuse",
        f"The key {job_key} stands for another request already. Use a new key for new inputs.",
    )


def _unknown_inputs(workflow: Workflow, names: Sequence[str]) -> str:
    known = [parameter.name for parameter in workflow.parameters]
    told = []
    for name in names[:8]:
        near = difflib.get_close_matches(name, known, 1)
        told.append(f'"{one_line(name)[:100]}"' + (f" (did you mean {near[0]}?)" if near else ""))
    return f"{workflow.name} has no input {', '.join(told)}; it has {', '.join(known) or 'none'}."
