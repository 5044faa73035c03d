"""
Propose a manifest for a graph that somebody exported from ComfyUI.

The way: `diagram` says which nodes count and where a value is really set; `passes` finds the samplers; `texts` follows
their links to the words; `settings`, `sizes`, `files` and `words` draft what a row may set (`draft`, `known`);
`naming` and `propose` write it down. Classes are hardly ever asked for by name: what counts is what an input is called
and where its link leads, so that custom nodes are read like ComfyUI's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import check_api_format
from chalicelib.contract.infer import known
from chalicelib.contract.infer.diagram import Diagram
from chalicelib.contract.infer.draft import Drafts
from chalicelib.contract.infer.files import add_loras, add_media, add_models
from chalicelib.contract.infer.passes import Pass, find_passes
from chalicelib.contract.infer.propose import checked, parameters_of
from chalicelib.contract.infer.settings import add_settings, add_strengths
from chalicelib.contract.infer.sizes import add_sizes
from chalicelib.contract.infer.words import add_colors, add_texts, add_titled
from chalicelib.contract.job import Frozen
from chalicelib.contract.manifest import MAX_COST
from chalicelib.contract.values import one_line

MAX_NAME: Final = 100
FILM_S: Final = 3600
"""How long an attempt at a film may take."""

_FILM: Final = re.compile(r"video|webm|animated|gif|vhs_", re.IGNORECASE)
_SOUND: Final = re.compile(r"audio|sound|music", re.IGNORECASE)
_WRAPS: Final = ("prompt", "output", "workflow", "graph")


class Proposal(Frozen):
    """
    Hold a proposed manifest: what workflows/<id>.yaml would hold, complete without base.yaml.

    *notes* are sentences for the person: what was guessed and why, what was left out. *faults* are sentences that say
    what keeps the graph from being a workflow until it is changed in ComfyUI; usually there are none.
    """

    manifest: dict[str, Any]
    notes: tuple[str, ...] = Field(default=())
    faults: tuple[str, ...] = Field(default=())


def infer(graph: Mapping[str, Any], *, name: str = "", object_info: Mapping[str, Any] | None = None) -> Proposal:
    """
    Propose a manifest for *graph*, called *name*.

    *object_info* is what ComfyUI answers to GET /object_info, or a part of it: choices, bounds and display names are
    taken from there. Raise `Rejected`: workflow_format_ui for the editor's own format, invalid_workflow for what is no
    graph.
    """
    _check_wrapping(graph)
    check_api_format(graph)
    told = object_info if isinstance(object_info, Mapping) else {}
    info = {kind: node for kind, node in told.items() if isinstance(node, Mapping)}
    diagram, drafts = Diagram(graph), Drafts()
    passes = find_passes(diagram)
    add_texts(diagram, passes, drafts, info)
    add_media(diagram, drafts, info)
    add_settings(diagram, passes, drafts, info)
    add_strengths(diagram, drafts)
    add_sizes(diagram, passes, drafts)
    add_colors(diagram, drafts)
    add_models(diagram, passes, drafts)
    add_loras(diagram, drafts)
    add_titled(diagram, drafts, info)
    if not drafts.drafts:
        drafts.note("Nothing was found that a row could set: name it in the manifest by hand.")
    manifest = _head(diagram, passes, drafts, name) | {"parameters": parameters_of(graph, drafts, info)}
    manifest |= _room_for_defaults(manifest["parameters"], drafts)
    manifest, faults = checked(graph, manifest, drafts)
    return Proposal(manifest=manifest, notes=tuple(drafts.notes), faults=faults)


def _room_for_defaults(parameters: Mapping[str, Any], drafts: Drafts) -> dict[str, int]:
    """Raise the bound on width × height × steps × batch where the graph as it was exported is beyond it."""
    sides = [parameters.get(name, {}).get("default") for name in ("width", "height", "steps", "batch_size")]
    cost = math.prod(one for one in sides if isinstance(one, int))
    if not MAX_COST < cost <= 2**53:
        return {}
    drafts.note("The graph asks for more than a row usually may: max_cost is raised to what it asks for.")
    return {"max_cost": cost}


def _check_wrapping(graph: object) -> None:
    """Say where the graph is, when somebody pasted what a program sends or what a picture carries."""
    if not isinstance(graph, Mapping):
        return
    for key in _WRAPS:
        inner = graph.get(key)
        if isinstance(inner, Mapping) and inner and "class_type" not in inner and "inputs" not in inner:
            nodes = [node for node in inner.values() if isinstance(node, Mapping) and "class_type" in node]
            if nodes and len(nodes) == len(inner):
                raise Rejected(
                    "invalid_workflow",
                    f'The workflow cannot be run: the graph lies in "{key}". Use what stands there, without the rest.',
                )


def _head(diagram: Diagram, passes: list[Pass], drafts: Drafts, name: str) -> dict[str, Any]:
    """Give name, description and the time that an attempt may take."""
    ends = " ".join(diagram.kind(node_id) for node_id in diagram.saves)
    made = "video" if _FILM.search(ends) else "audio" if _SOUND.search(ends) else "image"
    roles = {draft.role.name: draft for draft in reversed(drafts.drafts)}
    given = next((one for one in ("image", "video", "audio") if one in roles), "")
    if "prompt" in roles and not (passes and passes[0].keeps_picture) and not (given and made == "video"):
        # A ControlNet's picture, or a style's, is not what the result is made of.
        given = "text"
    task = f"{given.capitalize()} to {made}" if given and (passes or "prompt" in roles) else made.capitalize()
    if known.UPSCALER.name in roles and not passes:
        task = f"Upscale {given or made}"
    model = roles.get("model")
    stem = one_line(str(model.value).replace("\\", "/").rsplit("/", 1)[-1].rsplit(".", 1)[0]) if model else ""
    # One line: a workflow's name stands in cells and lists.
    title = " ".join(name.split())[:MAX_NAME].strip() or (f"{task} ({stem})" if stem else task)
    head: dict[str, Any] = {"name": title, "description": f"{task} with {stem}." if stem else f"{task}."}
    if made == "video":
        head["max_runtime_s"] = FILM_S
        drafts.note("A film takes long: one attempt may take an hour (max_runtime_s).")
    return head
