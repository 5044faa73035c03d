"""Show a spreadsheet the catalog, and let its people add workflows: for their own client, seen by nobody else."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field
from pydantic_core import from_json

from chalicelib.catalog_index import EVERYBODY
from chalicelib.contract.errors import Rejected
from chalicelib.contract.manifest import Workflow
from chalicelib.curate import MAX_WORKFLOW_BYTES, Curator
from chalicelib.keys import SheetKey
from chalicelib.panel import OfSheet
from chalicelib.publish import ANY
from chalicelib.workflow_view import Choices, for_sheet

_EXPORT = "Export it in ComfyUI with Workflow > Export (API), and take all of that file."


class InferRequest(OfSheet):
    """Ask for a proposal; *graph* is the exported file's own text: a script's numbers would lose digits of a seed."""

    graph: str = Field(max_length=MAX_WORKFLOW_BYTES)
    name: str = Field(default="", max_length=100)


class AddRequest(OfSheet):
    """Add a workflow to the client's own; *replace* lets it take the place of an own one of the same id."""

    id: str = Field(min_length=1, max_length=64)
    manifest: dict[str, Any]
    graph: str = Field(max_length=MAX_WORKFLOW_BYTES)
    replace: bool = False


class Shelf(Protocol):
    """List workflows (`chalicelib.catalog.Catalog`)."""

    def list(self, client_id: str = EVERYBODY) -> list[Workflow]:
        """Answer what a client may use, by id."""


class SheetShelf:
    """Answer what a script asks about workflows. Each method raises `Rejected` or `Unavailable`."""

    def __init__(self, shelf: Shelf, curator: Curator, choices: Choices) -> None:
        self._shelf = shelf
        self._curator = curator
        self._choices = choices

    def list(self, key: SheetKey) -> dict[str, Any]:
        """List what a row may ask for."""
        return {"workflows": [for_sheet(one, self._choices) for one in self._shelf.list(key.client_id)]}

    def infer(self, key: SheetKey, asked: InferRequest) -> dict[str, Any]:
        """Propose a manifest."""
        proposed = self._curator.propose(_graph(asked.graph), name=asked.name.strip(), client_id=key.client_id)
        return proposed.model_dump(mode="json", exclude_none=True)

    def add(self, key: SheetKey, asked: AddRequest) -> dict[str, Any]:
        """Add a workflow; raise `Rejected` (name_taken) for an id that the client has, unless *replace* is said."""
        try:
            held, is_new = self._curator.put(
                asked.id,
                asked.manifest,
                _graph(asked.graph),
                by=f"sheet {key.key_id}",
                owner=key.client_id,
                instead_of=ANY if asked.replace else "",
            )
        except Rejected as no:
            if no.code == "changed_meanwhile":
                raise Rejected("name_taken", f"There is a workflow {asked.id} already.") from None
            raise
        return {"workflow": for_sheet(held.workflow, self._choices), "created": is_new}


def _graph(text: str) -> dict[str, Any]:
    try:
        graph = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise Rejected("invalid_workflow", f"This is not JSON ({error}). {_EXPORT}") from None
    if not isinstance(graph, dict):
        raise Rejected("invalid_workflow", f"This is no workflow. {_EXPORT}")
    return graph
