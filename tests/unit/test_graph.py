"""Judge what the graph's rules say of any graph, with values as rows really resolve them (see test_graph_fill)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import check_api_format, fill, is_json, is_link, isolate, save_nodes
from chalicelib.contract.inputs import resolve_inputs
from infra.workflow_files import read_folder

WORKFLOWS = {workflow.id: workflow for workflow in read_folder()}
SHIPPED = pytest.mark.parametrize("workflow_id", ["txt2img-sdxl", "flux-schnell"])


def links(graph: dict[str, Any]) -> list[list[Any]]:
    """Give every link in *graph*."""
    return [value for node in graph.values() for value in node["inputs"].values() if is_link(value)]


cells = st.sampled_from([None, "", "x.safetensors", "random", 1, 64, 64.0, "teal", "euler", "normal", "a fox"])


@settings(deadline=None)
@given(st.sampled_from(sorted(WORKFLOWS)), st.data())
def test_a_row_changes_its_parameters_places_and_nothing_else(workflow_id: str, data: st.DataObject) -> None:
    """From cells to graph: apart from a LoRA of None, only declared inputs differ, and none of them is a link."""
    workflow = WORKFLOWS[workflow_id]
    row = data.draw(st.dictionaries(st.sampled_from([one.name for one in workflow.parameters]), cells))
    try:
        resolved = resolve_inputs(workflow, {"prompt": "a fox", "lora": "x", **row}, pick_seed=lambda: 42).inputs
    except Rejected:
        return
    declared = {(place.node, place.input) for one in workflow.parameters for place in one.sets}
    graph = fill(workflow, resolved)
    for node_id, node in graph.items():
        template = copy.deepcopy(workflow.graph[node_id])
        for name, value in node["inputs"].items():
            if (node_id, name) in declared:
                assert not isinstance(value, list | dict)
                template["inputs"][name] = value
        if resolved.get("lora", "x") is None:
            assert set(node["inputs"]) == set(template["inputs"])
        else:
            assert node == template
    assert is_json(graph)
    assert {link[0] for link in links(graph)} <= set(graph)


@SHIPPED
def test_no_link_leads_to_a_lora_that_is_left_out(workflow_id: str) -> None:
    """Whatever the LoRA node fed is fed by what fed the LoRA node; no link is left in the air, none is lost."""
    workflow = WORKFLOWS[workflow_id]
    [lora] = (one for one in workflow.parameters if one.type == "lora")
    kept, without = fill(workflow, {"lora": "x"}), fill(workflow, {"lora": None})
    [gone] = set(kept) - set(without)
    assert gone == lora.sets[0].node
    assert {link[0] for link in links(without)} <= set(without)
    assert len(links(without)) == len(links(kept)) - len(links({gone: kept[gone]}))


@SHIPPED
def test_the_strength_of_a_lora_that_is_left_out_does_not_matter(workflow_id: str) -> None:
    """A row may hold a strength and no LoRA."""
    workflow = WORKFLOWS[workflow_id]
    assert fill(workflow, {"lora": None, "lora_strength": 3.0}) == fill(workflow, {"lora": None})


@pytest.mark.parametrize("workflow_id", sorted(WORKFLOWS))
def test_isolating_changes_prefixes_only(workflow_id: str) -> None:
    """Each save node gets the attempt's prefix; nothing else differs, and doing it again changes nothing."""
    graph = WORKFLOWS[workflow_id].graph
    own = isolate(graph, "cs/job/2")
    assert isolate(own, "cs/job/2") == own
    for node_id in save_nodes(graph):
        assert own[node_id]["inputs"].pop("filename_prefix") == f"cs/job/2/{node_id}"
    expected = copy.deepcopy(graph)
    for node_id in save_nodes(expected):
        del expected[node_id]["inputs"]["filename_prefix"]
    assert own == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\udc00"], ids=["nan", "infinity", "surrogate"])
def test_what_json_cannot_carry_is_refused_before_it_is_sent(value: object) -> None:
    """ComfyUI would get a request that is no JSON, or none at all."""
    with pytest.raises(Rejected, match="JSON cannot carry") as refused:
        check_api_format({"1": {"class_type": "A", "inputs": {"a": value}}})
    assert refused.value.code == "invalid_workflow"


@pytest.mark.parametrize("value", [["1", 0], ["1", True]])
def test_a_link_is_a_node_id_and_a_slot(value: object) -> None:
    """Only this shape is followed."""
    assert is_link(value)


@pytest.mark.parametrize("value", ["1", [], ["1"], [1, 0], ["1", "0"], ["1", 0, 0], {"1": 0}, None])
def test_what_only_resembles_a_link_is_a_value(value: object) -> None:
    """Lists of numbers or words are values of some nodes."""
    assert not is_link(value)
