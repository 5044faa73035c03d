"""Propose a manifest for a graph that somebody exported from ComfyUI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.contract.graph import check_api_format
from chalicelib.contract.job import Frozen


class Proposal(Frozen):
    """
    Hold a proposed manifest: what workflows/<id>.yaml would hold, complete without base.yaml.

    *notes* are sentences for the person: what was guessed and why, what was left out. *faults* are sentences that say
    what keeps the graph from being a workflow until it is changed in ComfyUI; usually there are none.
    """

    manifest: dict[str, Any]
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def infer(graph: Mapping[str, Any], *, name: str = "") -> Proposal:
    """
    Propose a manifest for *graph*.

    Raise `Rejected`: workflow_format_ui for the editor's own format, invalid_workflow for what is no graph.
    """
    check_api_format(graph)
    parameters: dict[str, Any] = {}
    for node_id, node in graph.items():
        if node["class_type"] == "KSampler" and not isinstance(node["inputs"].get("seed", []), list):
            place = {"node": node_id, "input": "seed"}
            parameters["seed"] = {"type": "seed", "label": "Seed", "default": "random", "sets": [place]}
    return Proposal(manifest={"name": name or "Workflow", "parameters": parameters})
