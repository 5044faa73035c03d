"""Show workflows: to programs whole, to a sheet's script what a row may ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.catalog import Held
from chalicelib.catalog_index import EVERYBODY, Version
from chalicelib.contract.manifest import Workflow, to_document
from chalicelib.contract.parameter import Parameter
from chalicelib.contract.size import bounds_of

Choices = Callable[[Workflow, Parameter], tuple[str, ...]]
"""List what live workers have for a parameter; empty: it is about no file, or nobody knows (`Crew.choices`)."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class ParameterView(_View):
    """One thing that a job may set."""

    name: str
    label: str
    type: str
    description: str = ""
    default: str | int | float | bool | None = None
    required: bool = False
    min: int | float | None = None
    max: int | float | None = None
    multiple: int | None = Field(default=None, description="Of a size: what its sides are multiples of.")
    choices: list[str] = Field(
        default_factory=list, description="For a file's name: what live workers have, when they say so."
    )
    aliases: list[str] = Field(default_factory=list)


class VersionView(_View):
    """A version that an id meant."""

    hash: str
    pushed_at: datetime | None = None
    pushed_by: str = ""


class WorkflowSummary(_View):
    """A workflow and what a job of it may set."""

    id: str
    name: str
    description: str
    client: str | None = Field(description="Whose workflow it is; null: everybody's.")
    hash: str = Field(description="Names this very version.")
    pushed_at: datetime | None
    max_runtime_s: int
    max_cost: int = Field(description="Width × height × steps × batch that one job may ask for.")
    parameters: list[ParameterView]


class WorkflowList(_View):
    """All workflows that a key may use, by id."""

    data: list[WorkflowSummary]


class WorkflowObject(WorkflowSummary):
    """A workflow as it was put, for keys that may read it: `manifest` and `graph` go back in with PUT."""

    versions: list[VersionView] = Field(description="The version that counts and those before it, the newest first.")
    manifest: dict[str, Any] | None = Field(description="Null for keys that may not read the graph.")
    graph: dict[str, Any] | None = Field(description="In ComfyUI's API format. Null for keys that may not read it.")


class Removed(_View):
    """What was removed; jobs that exist keep it."""

    id: str
    removed: bool = True


def parameter_view(workflow: Workflow, parameter: Parameter, choices: Choices) -> ParameterView:
    """Show a parameter with the choices that there are now."""
    low, high = bounds_of(parameter) if parameter.type == "size" else (parameter.min, parameter.max)
    return ParameterView(
        name=parameter.name,
        label=parameter.title,
        type=parameter.type,
        description=parameter.description,
        default=parameter.default,
        required=parameter.required,
        min=low,
        max=high,
        multiple=parameter.multiple if parameter.type == "size" else None,
        choices=list(choices(workflow, parameter) or parameter.choices),
        aliases=list(parameter.aliases),
    )


def parameter_views(workflow: Workflow, choices: Choices) -> list[ParameterView]:
    """Show all of a workflow's."""
    return [parameter_view(workflow, parameter, choices) for parameter in workflow.parameters]


def summary(held: Held, choices: Choices) -> WorkflowSummary:
    """Show a workflow in a list."""
    return WorkflowSummary(**_common(held, choices))


def whole(held: Held, choices: Choices, *, open_to_caller: bool) -> WorkflowObject:
    """Show a workflow with its versions, and with its manifest and graph to whom they are open."""
    return WorkflowObject(
        **_common(held, choices),
        versions=[
            VersionView(hash=one.hash, pushed_at=_time(one), pushed_by=one.pushed_by if open_to_caller else "")
            for one in held.entry.versions
        ],
        manifest=manifest_of(held.workflow) if open_to_caller else None,
        graph=held.workflow.graph if open_to_caller else None,
    )


def for_sheet(workflow: Workflow, choices: Choices) -> dict[str, Any]:
    """Show a workflow to a sheet's script."""
    return {
        "id": workflow.id,
        "name": workflow.name,
        "description": workflow.description,
        "parameters": [view.model_dump(mode="json", exclude_none=True) for view in parameter_views(workflow, choices)],
    }


def manifest_of(workflow: Workflow) -> dict[str, Any]:
    """Give the manifest that makes this workflow, with nothing left to shared definitions."""
    document = to_document(workflow)
    parameters = {each.pop("name"): each for each in document.pop("parameters", [])}
    return {key: value for key, value in document.items() if key not in ("id", "graph")} | {"parameters": parameters}


def _common(held: Held, choices: Choices) -> dict[str, Any]:
    workflow = held.workflow
    return {
        "id": workflow.id,
        "name": workflow.name,
        "description": workflow.description,
        "client": None if held.owner == EVERYBODY else held.owner,
        "hash": workflow.hash,
        "pushed_at": _time(held.entry),
        "max_runtime_s": workflow.max_runtime_s,
        "max_cost": workflow.max_cost,
        "parameters": parameter_views(workflow, choices),
    }


def _time(version: Version) -> datetime | None:
    return datetime.fromtimestamp(version.pushed_at / 1000, UTC) if version.pushed_at else None
