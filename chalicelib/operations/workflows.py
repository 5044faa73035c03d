"""The routes of the workflow catalog."""

from __future__ import annotations

from typing import Final

from chalicelib.curate import Proposed
from chalicelib.operation import Operation
from chalicelib.workflow_view import Removed, WorkflowList, WorkflowObject
from chalicelib.workflows_api import InferRequest, OwnerQuery, WorkflowPut

_ALL: Final = "/api/v2/workflows"
_ONE: Final = f"{_ALL}/{{workflow_id}}"

_CONDITIONS: Final = {"If-Match": "The ETag of the version that you read: 412 when it is another by now."}

WORKFLOWS: Final = (
    Operation(
        "GET",
        _ALL,
        "listWorkflows",
        "List the workflows that this key may use, with the choices that there are now.",
        lambda world, call: world.workflows_api.list(call),
        tag="Workflows",
        scope="read",
        answers={200: WorkflowList},
    ),
    Operation(
        "POST",
        f"{_ALL}:infer",
        "inferWorkflow",
        "Propose a manifest for a graph exported from ComfyUI.",
        lambda world, call: world.workflows_api.infer(call),
        tag="Workflows",
        scope="read",
        body=InferRequest,
        answers={200: Proposed},
    ),
    Operation(
        "GET",
        _ONE,
        "getWorkflow",
        "Show a workflow.",
        lambda world, call: world.workflows_api.get(call),
        tag="Workflows",
        scope="read",
        answers={200: WorkflowObject},
    ),
    Operation(
        "PUT",
        _ONE,
        "putWorkflow",
        "Add a workflow or a new version of it; it can be used at once.",
        lambda world, call: world.workflows_api.put(call),
        tag="Workflows",
        scope="admin",
        body=WorkflowPut,
        query=OwnerQuery,
        headers=_CONDITIONS,
        answers={200: WorkflowObject, 201: WorkflowObject},
        refusals=frozenset({412}),
    ),
    Operation(
        "DELETE",
        _ONE,
        "deleteWorkflow",
        "Remove a workflow; jobs that exist keep the version they were made with.",
        lambda world, call: world.workflows_api.delete(call),
        tag="Workflows",
        scope="admin",
        query=OwnerQuery,
        headers=_CONDITIONS,
        answers={200: Removed},
        refusals=frozenset({412}),
    ),
)
