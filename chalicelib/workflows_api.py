"""Answer programs about the catalog: parse strictly, call one use case. Whose key it is, the gate has seen to."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import Field

from chalicelib.api_parts import Answer, Call, check_size, parse, parse_query
from chalicelib.catalog import Held
from chalicelib.catalog_index import EVERYBODY
from chalicelib.contract.errors import Rejected
from chalicelib.curate import MAX_WORKFLOW_BYTES, Curator
from chalicelib.publish import ANY
from chalicelib.submit import Request
from chalicelib.workflow_view import Choices, Removed, WorkflowList, summary, whole

_TOO_LARGE = "Take out what no node needs, or split the workflow."


class WorkflowPut(Request):
    """What an id is to mean."""

    manifest: dict[str, Any] = Field(description="What workflows/<id>.yaml holds, as JSON.")
    graph: dict[str, Any] = Field(description="The graph as ComfyUI exports it (API format).")


class InferRequest(Request):
    """A graph to propose a manifest for."""

    graph: dict[str, Any] = Field(description="The graph as ComfyUI exports it (API format).")
    name: str = Field(default="", max_length=100, description="What to call it; empty: what the graph suggests.")


class OwnerQuery(Request):
    """Say whose workflow is meant."""

    client: str = Field(
        default="", pattern=r"^([a-z0-9][a-z0-9-]{0,39})?$", description="A client's own workflow; empty: everybody's."
    )


class Shelf(Protocol):
    """Look at the catalog (`chalicelib.catalog.Catalog`)."""

    def shelf(self, client_id: str = EVERYBODY) -> tuple[Held, ...]:
        """Answer what a client may use."""

    def held(self, workflow_id: str, client_id: str = EVERYBODY) -> Held | None:
        """Answer the one of exactly this id."""


class WorkflowsApi:
    """Answer below /api/v2/workflows. Each method raises `Rejected` or `Unavailable`."""

    def __init__(self, *, shelf: Shelf, curator: Curator, choices: Choices) -> None:
        self._shelf = shelf
        self._curator = curator
        self._choices = choices

    def list(self, call: Call) -> Answer:
        """GET /api/v2/workflows: what this key may use."""
        listed = [summary(held, self._choices) for held in self._shelf.shelf(call.caller.client_id)]
        return Answer(200, WorkflowList(data=listed).model_dump(mode="json"))

    def get(self, call: Call) -> Answer:
        """GET /api/v2/workflows/{id}: the graph for keys that may send one of their own, or change the catalog."""
        key = call.caller
        held = self._shelf.held(call.path["workflow_id"], key.client_id)
        if held is None:
            raise Rejected("not_found", "There is no workflow of this id.")
        is_own = held.owner != EVERYBODY
        return self._shown(200, held, open_to_caller=is_own or bool(key.scopes & {"raw", "admin"}))

    def put(self, call: Call) -> Answer:
        """PUT /api/v2/workflows/{id}: 201 for a new one, 200 for a new version or the same."""
        owner = parse_query(OwnerQuery, call.query).client
        check_size(call.body, MAX_WORKFLOW_BYTES, _TOO_LARGE)
        asked = parse(WorkflowPut, call.body)
        held, is_new = self._curator.put(
            call.path["workflow_id"],
            asked.manifest,
            asked.graph,
            by=f"key {call.caller.key_id}",
            owner=owner,
            instead_of=_instead_of(call),
        )
        return self._shown(201 if is_new else 200, held, open_to_caller=True)

    def delete(self, call: Call) -> Answer:
        """DELETE /api/v2/workflows/{id}: no new job can be made of it; those that exist keep it."""
        owner = parse_query(OwnerQuery, call.query).client
        workflow_id = call.path["workflow_id"]
        by = f"key {call.caller.key_id}"
        self._curator.remove(workflow_id, by=by, owner=owner, instead_of=_instead_of(call))
        return Answer(200, Removed(id=workflow_id).model_dump(mode="json"))

    def infer(self, call: Call) -> Answer:
        """POST /api/v2/workflows:infer: propose a manifest."""
        check_size(call.body, MAX_WORKFLOW_BYTES, _TOO_LARGE)
        asked = parse(InferRequest, call.body)
        # An operator's workflow is everybody's: its id must be free there.
        client_id = EVERYBODY if "admin" in call.caller.scopes else call.caller.client_id
        proposed = self._curator.propose(asked.graph, name=asked.name, client_id=client_id)
        return Answer(200, proposed.model_dump(mode="json"))

    def _shown(self, status: int, held: Held, *, open_to_caller: bool) -> Answer:
        view = whole(held, self._choices, open_to_caller=open_to_caller)
        return Answer(status, view.model_dump(mode="json"), {"ETag": f'"{held.workflow.hash}"'})


def _instead_of(call: Call) -> str:
    """Read what the caller believes to be there: If-Match with the hash, or If-None-Match: *."""
    if call.headers.get("if-none-match", "").strip() == "*":
        return ""
    return call.headers.get("if-match", ANY).strip().removeprefix("W/").strip('"') or ANY
