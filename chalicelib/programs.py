"""
Accept the jobs of programs: from the catalog, from a graph of their own, or one more time.

A request is checked whole before anything is written, so that many can be judged before the first one counts. Then:
the document of a program's own graph (workers read it), the job, its message.

The same key with the same request is the same job, for ever and however it stands by now: also when what was asked for
could not be had any more (a workflow that was removed, workers that are gone).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol
from uuid import uuid4

from pydantic import Field

from chalicelib.asset import with_assets
from chalicelib.catalog import document_key
from chalicelib.cells import prompt_of
from chalicelib.contract.addresses import webhook_url
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import Job, Target, fingerprint, job_id_of, prompt_fingerprint
from chalicelib.contract.limits import NO_ACCOUNT, Account
from chalicelib.contract.manifest import Workflow, to_document
from chalicelib.contract.ports import Ledger, Submitted
from chalicelib.contract.states import TERMINAL
from chalicelib.contract.values import one_line
from chalicelib.raw_graph import RAW, judge_graph
from chalicelib.submit import JobKey, Request, Scalar, SheetId, Submit, reused

MAX_LABELS: Final = 16
MAX_LABEL_KEY: Final = 64
MAX_LABEL_VALUE: Final = 256
MAX_ITEM_BYTES: Final = 300_000
"""A job's item in the table holds 400 KB; the rest is for what becomes of it."""

Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


class RowTarget(Request):
    """Name the row that is to show the job: it must hold *job_key* in its Job ID column."""

    spreadsheet_id: str = Field(min_length=1, max_length=200)
    sheet_id: SheetId
    job_key: JobKey
    prompt: str | None = Field(default=None, max_length=50_000)
    """What the row's Prompt cell shows; left out: the prompt among the inputs."""


class JobRequest(Request):
    """
    Ask for one job: the Comfy API v2's body, and what v2 reserves.

    Give either *workflow*, a graph in ComfyUI's API format (the key needs the scope `raw`), or *workflow_id* with
    *inputs*.
    """

    workflow: dict[str, Any] | None = None
    workflow_id: str | None = Field(default=None, min_length=1, max_length=200)
    inputs: dict[str, Scalar] = Field(default_factory=dict, max_length=200)
    webhook_url: str | None = Field(default=None, max_length=2_000)
    priority: int = Field(default=0, ge=-100, le=100)
    tags: list[Tag] = Field(default_factory=list, max_length=20)
    metadata: dict[str, str] = Field(default_factory=dict)
    """Up to 16 labels of your own: keys of up to 64 characters, values of up to 256."""
    target: RowTarget | None = None
    extra_data: dict[str, Any] | None = None
    """v2 carries a key for partner nodes here; those are not run, and it is refused."""


class Caller(Protocol):
    """Know who asks (`chalicelib.keys.ApiKey`)."""

    @property
    def key_id(self) -> str:
        """Name the key."""

    @property
    def client_id(self) -> str:
        """Name the key's owner."""

    @property
    def scopes(self) -> frozenset[str]:
        """Say what it may do."""

    @property
    def spreadsheet_id(self) -> str:
        """Name the spreadsheet that it is bound to."""

    @property
    def account(self) -> Account:
        """Say on whose account its jobs are made."""


class Shelf(Protocol):
    """Keep documents by key (`chalicelib.blobs.Blobs`)."""

    def get(self, key: str) -> bytes | None:
        """Read a document; None when there is none."""

    def put(self, key: str, content: bytes) -> None:
        """Write a document."""


@dataclass(frozen=True)
class Surroundings:
    """Hand over what only some jobs need."""

    shelf: Shelf
    find_asset: Callable[[str, str], str | None] = lambda _client_id, _asset_id: None
    """The SHA-256 of a client's asset; None: it has none of this id."""
    known_classes: Callable[[], frozenset[str]] = frozenset
    """The node classes of the live workers; empty: nobody is there to tell."""
    owner_of: Callable[[str], str | None] = lambda _spreadsheet_id: None
    """Whose spreadsheet it is; None: nobody's."""
    hint: Callable[[Job], None] = lambda _job: None
    """Have a row brought up to date."""
    check_webhook: Callable[[str], object] = webhook_url
    """Raise ValueError when nothing would ever be posted to the address."""


@dataclass(frozen=True)
class Draft:
    """Hold a job that was found good, and the document that it needs first; nothing of it is written yet."""

    job: Job
    graph: Workflow | None = None


class Programs:
    """Accept programs' jobs."""

    def __init__(self, submit: Submit, ledger: Ledger, around: Surroundings) -> None:
        self._submit = submit
        self._ledger = ledger
        self._around = around

    def one(self, caller: Caller, job_key: str | None, request: JobRequest, link_base: str) -> Submitted:
        """
        Accept a job under its *job_key* (None: a new one); a replay answers the job as it stands.

        Raise `Rejected`: as `draft`, or idempotency_key_reuse when the key stands for another request.
        """
        key = request.target.job_key if request.target else job_key
        try:
            draft = self.draft(caller, job_key, request, link_base)
        except (Rejected, Unavailable):
            there = self._ledger.get(job_id_of(caller.client_id, key)) if key else None
            if there is None:
                raise
            return _same(there, request_hash(request))
        return self.accept([draft], caller.account)[0]

    def draft(
        self,
        caller: Caller,
        job_key: str | None,
        request: JobRequest,
        link_base: str,
        *,
        batch_id: str | None = None,
    ) -> Draft:
        """
        Check a request and make its job, without writing anything.

        A row's own key takes the place of *job_key*. Raise `Rejected`: bad_request, forbidden, metadata_invalid,
        too_large, what `judge_graph` or the inputs lack; `Unavailable` when that cannot be looked up now.
        """
        _check(request, self._around.check_webhook)
        target = self._target(caller, request)
        key = request.target.job_key if request.target else job_key or str(uuid4())
        graph: Workflow | None = None
        if request.workflow is not None:
            if "raw" not in caller.scopes:
                raise Rejected(
                    "forbidden",
                    "This key may not send graphs of its own: it lacks the scope raw. Use a workflow of the catalog.",
                )
            raw = judge_graph(
                request.workflow,
                find_asset=lambda asset_id: self._around.find_asset(caller.client_id, asset_id),
                known_classes=self._around.known_classes(),
            )
            graph, given = raw.workflow, dict[str, Scalar](raw.inputs)
            job = self._submit.draft(caller.client_id, key, graph, given, link_base, target)
        else:
            inputs = with_assets(request.inputs, lambda asset_id: self._around.find_asset(caller.client_id, asset_id))
            job = self._submit.draft(caller.client_id, key, request.workflow_id or "", inputs, link_base, target)
        job = job.model_copy(
            update={
                "input_hash": request_hash(request),
                "key_id": caller.key_id,
                "priority": request.priority,
                "tags": tuple(dict.fromkeys(request.tags)),
                "metadata": dict(request.metadata),
                "webhook_url": request.webhook_url,
                "batch_id": batch_id,
                # Nobody has written "queued" into the row of a program's job yet.
                "synced_version": job.synced_version if target is None else 0,
            }
        )
        if len(job.model_dump_json().encode()) > MAX_ITEM_BYTES:
            raise Rejected("too_large", "The job is larger than 300 KB. Upload its files as assets.")
        return Draft(job, graph)

    def accept(
        self, drafts: Sequence[Draft], account: Account = NO_ACCOUNT, before: Callable[[], None] = lambda: None
    ) -> list[Submitted]:
        """
        Write what was found good, each under its own key; what is to be noted *before* that, once they are let in.

        Raise `Rejected` (idempotency_key_reuse) when a key stands for another request, after the others are accepted;
        `Exhausted`, and none is accepted, when *account* allows no further job.
        """
        graphs = {draft.graph.hash: draft.graph for draft in drafts if draft.graph is not None}

        def store() -> None:
            self._store(graphs)
            before()

        submitted = self._submit.accept([draft.job for draft in drafts], account, before=store)
        for draft, outcome in zip(drafts, submitted, strict=True):
            _same(outcome.job, draft.job.input_hash)
            if outcome.created and outcome.job.target is not None:
                self._around.hint(outcome.job)
        return submitted

    def _store(self, graphs: Mapping[str, Workflow]) -> None:
        for workflow_hash, graph in graphs.items():
            content = json.dumps(to_document(graph), ensure_ascii=False).encode()
            self._around.shelf.put(document_key(workflow_hash), content)

    def again(self, caller: Caller, job_id: str, job_key: str | None, link_base: str) -> Submitted:
        """
        Make an ended job once more: a new job with the same version of the workflow and the same inputs, seed included.

        It is shown in no row: the row's key is the ended job's. Raise `Rejected`: not_found, not_ended, workflow_gone,
        idempotency_key_reuse.
        """
        old = self._ledger.get(job_id)
        if old is None or old.client_id != caller.client_id:
            raise Rejected("not_found", "There is no job of this id.")
        if old.state not in TERMINAL:
            raise Rejected("not_ended", f"The job is {old.state} still. Cancel it first, or wait for its end.")
        anew = self._submit.anew(old, job_key or str(uuid4()), link_base)
        anew = anew.model_copy(
            update={"key_id": caller.key_id, "retry_of": job_id, "input_hash": fingerprint({"retry_of": job_id})}
        )
        if job_key and (there := self._ledger.get(anew.job_id)) is not None:
            return _same(there, anew.input_hash)
        if old.workflow_id == RAW and "raw" not in caller.scopes:
            raise Rejected("forbidden", "This job ran a graph: ask the operator for a key with the scope raw.")
        # Its files may have ended meanwhile; what is used again lives on.
        files = {name: value for name, value in old.inputs.items() if isinstance(value, str)}
        with_assets(files, lambda asset_id: self._around.find_asset(caller.client_id, asset_id))
        if self._around.shelf.get(document_key(old.workflow_hash)) is None:
            raise Rejected("workflow_gone", "This version of the workflow is no longer stored. Submit a new job.")
        return self.accept([Draft(anew)], caller.account)[0]

    def _target(self, caller: Caller, request: JobRequest) -> Target | None:
        """Say which row shows the job; it must be the client's, and the key must be allowed to."""
        row = request.target
        if row is None:
            return None
        may = "admin" in caller.scopes or caller.spreadsheet_id == row.spreadsheet_id
        # Looked up for whoever asks: how long a refusal takes tells nothing about the spreadsheet.
        owner = self._around.owner_of(row.spreadsheet_id)
        if not may or owner != caller.client_id:
            raise Rejected(
                "forbidden",
                "This key may not write into that spreadsheet. Connect the spreadsheet, and ask the operator for a key "
                "that is bound to it.",
            )
        prompt = prompt_of(request.inputs) if row.prompt is None else row.prompt
        return Target(spreadsheet_id=row.spreadsheet_id, sheet_id=row.sheet_id, prompt_hash=prompt_fingerprint(prompt))


def request_hash(request: JobRequest) -> str:
    """Hash all that was asked for: a replay must match it."""
    return fingerprint(request.model_dump(mode="json", exclude_defaults=True))


def _same(there: Job, input_hash: str) -> Submitted:
    if there.input_hash != input_hash:
        raise reused(there.job_key)
    return Submitted(there, created=False)


def _check(request: JobRequest, check_webhook: Callable[[str], object]) -> None:
    """Refuse what is well formed and does not go together."""
    if (request.workflow is None) == (request.workflow_id is None):
        raise Rejected(
            "bad_request", "Send either workflow (a graph in API format) or workflow_id with inputs, not both or none."
        )
    if request.workflow is not None and request.inputs:
        raise Rejected("bad_request", "inputs belong to a workflow_id. Put the values into the graph.")
    if request.extra_data:
        raise Rejected(
            "bad_request",
            "extra_data is not taken: partner (API) nodes are not run here. Leave their key out, and keep it to you.",
        )
    if request.webhook_url is not None:
        try:
            check_webhook(request.webhook_url)
        except ValueError as fault:
            raise Rejected("bad_request", f"webhook_url {fault}.") from None
    _check_labels(request.metadata)


def _check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels beyond v2's bounds, in its words (metadata_invalid)."""
    if len(labels) > MAX_LABELS:
        raise Rejected("metadata_invalid", f"metadata has {len(labels)} pairs; {MAX_LABELS} are allowed.")
    for name, value in labels.items():
        if not name or len(name) > MAX_LABEL_KEY or not name.isprintable():
            raise Rejected(
                "metadata_invalid", f'The metadata key "{one_line(name)}" must have 1 to {MAX_LABEL_KEY} characters.'
            )
        if len(value) > MAX_LABEL_VALUE or "\x00" in value:
            raise Rejected(
                "metadata_invalid",
                f'The metadata value of "{one_line(name)}" has {len(value)} characters; {MAX_LABEL_VALUE} are allowed.',
            )
