"""
Take in workflows that people and programs hand over: judge them, tell all faults at once, publish; propose manifests.

What an operator puts is everybody's; what comes from a sheet is its client's own, seen and used by nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.catalog import Held
from chalicelib.catalog_index import EVERYBODY
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.graph import check_api_format
from chalicelib.contract.infer import Proposal
from chalicelib.contract.manifest import ManifestError, Workflow, parse_workflow
from chalicelib.contract.words import fold
from chalicelib.publish import ANY
from chalicelib.raw_graph import unsafe_nodes, unsafe_places
from chalicelib.workflow_view import Choices, ParameterView, parameter_views

MAX_OWN: Final = 200
"""Workflows of one client's own."""
MAX_WORKFLOW_BYTES: Final = 1024 * 1024
"""A request with a graph; one of a thousand nodes has about half of it."""
_TOLD: Final = 8


class Infer(Protocol):
    """Propose a manifest for a graph (`chalicelib.contract.infer.infer`)."""

    def __call__(self, graph: Mapping[str, Any], *, name: str = "") -> Proposal:
        """Raise `Rejected` (workflow_format_ui, invalid_workflow)."""


class Shelf(Protocol):
    """Look at the catalog (`chalicelib.catalog.Catalog`)."""

    def shelf(self, client_id: str = EVERYBODY) -> tuple[Held, ...]:
        """Answer what a client may use."""

    def held(self, workflow_id: str, client_id: str = EVERYBODY) -> Held | None:
        """Answer the one of exactly this id."""

    def base(self) -> dict[str, Any]:
        """Answer the shared definitions."""

    def look_anew(self) -> None:
        """Forget what was seen of the index."""


class Press(Protocol):
    """Change the catalog (`chalicelib.publish.Publisher`)."""

    def push(
        self, workflows: Iterable[Workflow], *, by: str, owner: str = EVERYBODY, instead_of: str = ANY
    ) -> list[str]:
        """Publish."""

    def remove(self, workflow_id: str, *, by: str, owner: str = EVERYBODY, instead_of: str = ANY) -> bool:
        """Take out."""


class Proposed(BaseModel):
    """A proposed manifest: `manifest` goes into PUT as it is, or changed."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="An id that is free.")
    manifest: dict[str, Any]
    parameters: list[ParameterView] = Field(description="What a job could set; empty when the manifest has faults.")
    notes: list[str] = Field(description="What was guessed and why, in sentences.")
    faults: list[str] = Field(description="What must be changed before it can be put.")


class Curator:
    """Take in workflows. *choices* knows workers' files."""

    def __init__(self, shelf: Shelf, press: Press, infer: Infer, choices: Choices) -> None:
        self._shelf = shelf
        self._press = press
        self._infer = infer
        self._choices = choices

    def put(
        self,
        workflow_id: str,
        manifest: Mapping[str, Any],
        graph: Mapping[str, Any],
        *,
        by: str,
        owner: str = EVERYBODY,
        instead_of: str = ANY,
    ) -> tuple[Held, bool]:
        """
        Make *manifest* and *graph* what an id means; answer it as it is now, and whether it is new.

        *instead_of*: the hash it must have now, "" for none. Raise `Rejected`: workflow_format_ui, invalid_workflow,
        invalid_manifest (details.faults has all of them), changed_meanwhile, too_many_workflows.
        """
        workflow, faults = self._parsed(workflow_id, manifest, graph, owner)
        if workflow is None or faults:
            raise _invalid(faults)
        there = self._own(workflow_id, owner)
        if owner != EVERYBODY and there is None:
            self._check_room(owner)
        self._press.push([workflow], by=by, owner=owner, instead_of=instead_of)
        return self._seen(workflow_id, owner), there is None

    def remove(self, workflow_id: str, *, by: str, owner: str = EVERYBODY, instead_of: str = ANY) -> None:
        """Take a workflow out of the catalog; raise `Rejected` (not_found, changed_meanwhile)."""
        is_gone = self._press.remove(workflow_id, by=by, owner=owner, instead_of=instead_of)
        self._shelf.look_anew()
        if not is_gone:
            raise Rejected("not_found", f"There is no workflow {workflow_id} to remove.")

    def propose(self, graph: Mapping[str, Any], *, name: str = "", client_id: str = EVERYBODY) -> Proposed:
        """Propose a manifest for *graph*; raise `Rejected` (workflow_format_ui, invalid_workflow)."""
        check_api_format(graph)
        proposal = self._infer(graph, name=name)
        taken = {held.workflow.id for held in self._shelf.shelf(client_id)}
        workflow_id = _free_id(str(proposal.manifest.get("name") or name), taken)
        workflow, faults = self._parsed(workflow_id, proposal.manifest, graph, client_id)
        return Proposed(
            id=workflow_id,
            manifest=proposal.manifest,
            parameters=[] if workflow is None else parameter_views(workflow, self._choices),
            notes=list(proposal.notes),
            faults=list(dict.fromkeys((*proposal.faults, *faults))),
        )

    def _parsed(
        self, workflow_id: str, manifest: Mapping[str, Any], graph: Mapping[str, Any], owner: str
    ) -> tuple[Workflow | None, list[str]]:
        """Judge what was handed over: the workflow, if it is one, and all that speaks against it."""
        check_api_format(graph)
        # What is everybody's an operator answers for; a client's own is judged as a graph that a program sends.
        is_foreign = owner != EVERYBODY
        faults = list(unsafe_nodes(graph)) if is_foreign else []
        try:
            workflow = parse_workflow(workflow_id, manifest, self._shelf.base(), graph, file=workflow_id)
        except ManifestError as error:
            return None, [*faults, *error.faults]
        faults += unsafe_places(workflow) if is_foreign else []
        return workflow, [*faults, *self._clashes(workflow, owner)]

    def _clashes(self, workflow: Workflow, owner: str) -> Iterable[str]:
        """Find names that another workflow answers to already."""
        words = {fold(workflow.id), fold(workflow.name)}
        for held in self._shelf.shelf(owner):
            other = held.workflow
            if other.id == workflow.id:
                if held.owner != owner:
                    yield f"{workflow.id}: id: everybody has a workflow {workflow.id} already; choose another id"
            elif words & {fold(other.id), fold(other.name)}:
                yield f'{workflow.id}: name: "{workflow.name}" means {other.id} already; choose another name'

    def _own(self, workflow_id: str, owner: str) -> Held | None:
        held = self._shelf.held(workflow_id, owner)
        return held if held is not None and held.owner == owner else None

    def _check_room(self, owner: str) -> None:
        own = sum(held.owner == owner for held in self._shelf.shelf(owner))
        if own >= MAX_OWN:
            raise Rejected(
                "too_many_workflows",
                f"{own} workflows were added already; that is the most. Ask the operator to remove one.",
            )

    def _seen(self, workflow_id: str, owner: str) -> Held:
        held = self._own(workflow_id, owner)
        if held is None:
            raise Unavailable("The workflow was removed by somebody else at this very moment.")
        return held


def _invalid(faults: list[str]) -> Rejected:
    count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
    more = f" And {len(faults) - _TOLD} more." if len(faults) > _TOLD else ""
    told = " ".join(fault if fault.endswith((".", "?")) else f"{fault}." for fault in faults[:_TOLD])
    return Rejected("invalid_manifest", f"The workflow has {count}. {told}{more}", {"faults": faults})


def _free_id(name: str, taken: set[str]) -> str:
    """Make an id of a name: "My Poster (v2)" becomes my-poster-v2, or my-poster-v2-2 when that is taken."""
    stem = re.sub(r"[^a-z0-9]+", "-", fold(name)).strip("-")[:56].rstrip("-") or "workflow"
    number = 1
    while (found := stem if number == 1 else f"{stem}-{number}") in taken:
        number += 1
    return found
