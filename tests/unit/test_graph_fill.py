"""Judge what becomes of a graph: filled at the declared places only, LoRAs left out, save nodes kept apart."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import check_api_format, fill, isolate
from chalicelib.contract.manifest import Workflow, parse_workflow
from infra.workflow_files import read_folder

WORKFLOWS = {workflow.id: workflow for workflow in read_folder()}


def differences(before: dict[str, Any], after: dict[str, Any]) -> set[tuple[str, ...]]:
    """Give the paths at which two graphs differ: (node,), (node, key) or (node, "inputs", input)."""
    found: set[tuple[str, ...]] = {(node,) for node in before.keys() ^ after.keys()}
    for node in before.keys() & after.keys():
        found |= {(node, key) for key in before[node].keys() ^ after[node].keys()}
        for key in before[node].keys() & after[node].keys() - {"inputs"}:
            found |= {(node, key)} if before[node][key] != after[node][key] else set()
        old, new = before[node]["inputs"], after[node]["inputs"]
        found |= {
            (node, "inputs", name) for name in old.keys() | new.keys() if repr(old.get(name)) != repr(new.get(name))
        }
    return found


def sized() -> Workflow:
    """Make a workflow whose size goes to four places, two of them called as nobody would guess."""
    inputs = {"width": 1, "height": 1, "batch_size": 1}
    graph = {
        "1": {"class_type": "EmptyLatentImage", "inputs": inputs},
        "2": {"class_type": "ImageScale", "inputs": {"image": ["1", 0], "w": 2, "h": 2, "crop": "no"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    sets: list[dict[str, Any]] = [{"node": 1, "input": "width"}, {"node": 1, "input": "height"}]
    sets += [{"node": 2, "input": "w", "part": "width"}, {"node": 2, "input": "h", "part": "height"}]
    parameters = {
        "size": {"type": "size", "default": "64x64", "sets": sets},
        "crop": {"type": "string", "default": "", "sets": {"node": "2", "input": "crop"}},
    }
    return parse_workflow("sized", {"name": "Sized", "parameters": parameters}, {}, graph, file="sized.yaml")


ALL = {**WORKFLOWS, "sized": sized()}
values = st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans()
sides = st.tuples(st.integers(0, 999_999), st.integers(0, 999_999))


FILLED = 20
"""Fillings made of what one example drew: drawing costs Hypothesis far more than filling costs us."""


@settings(max_examples=500, deadline=None)
@given(st.lists(values, min_size=6, max_size=12), sides, st.integers(0, 2**32))
def test_a_filled_graph_differs_at_the_declared_places_only(
    pool: list[object], size: tuple[int, int], seed: int
) -> None:
    """Whatever the inputs hold, and under whatever names, nothing but the declared inputs changes (10,000 fillings)."""
    chance = random.Random(seed)
    for _ in range(FILLED):
        workflow = ALL[chance.choice(sorted(ALL))]
        names = [*(parameter.name for parameter in workflow.parameters), "class_type", "__proto__", "1"]
        inputs = {name: chance.choice(pool) for name in chance.sample(names, chance.randint(0, len(names)))}
        assert_only_declared_places_change(workflow, inputs, size)


def assert_only_declared_places_change(workflow: Workflow, inputs: dict[str, Any], size: tuple[int, int]) -> None:
    """Fill *workflow* with *inputs* (a size among them is made *size*) and compare the graphs place by place."""
    names = [parameter.name for parameter in workflow.parameters]
    if "lora" in names:
        inputs.setdefault("lora", "x")
    width, height = size
    if "size" in names and "size" in inputs:
        inputs["size"] = f"{width}x{height}"
    template = copy.deepcopy(workflow.graph)
    graph = fill(workflow, inputs)
    declared = {
        (place.node, "inputs", place.input)
        for parameter in workflow.parameters
        if parameter.name in inputs
        for place in parameter.sets
    }
    assert differences(workflow.graph, graph) <= declared
    for parameter in workflow.parameters:
        for place in parameter.sets:
            if parameter.name in inputs:
                side = {"width": width, "height": height}.get(place.part)
                is_right = graph[place.node]["inputs"][place.input] == side if side is not None else False
                assert is_right or graph[place.node]["inputs"][place.input] is inputs[parameter.name]
    assert workflow.graph == template


def test_no_lora_takes_the_loader_of_model_and_clip_out() -> None:
    """SDXL's LoraLoader passes model and text encoder on; without it both come straight from the checkpoint."""
    workflow = WORKFLOWS["txt2img-sdxl"]
    graph = fill(workflow, {"lora": None, "lora_strength": 0.5})
    assert differences(workflow.graph, graph) == {
        ("2",),
        ("3", "inputs", "clip"),
        ("4", "inputs", "clip"),
        ("6", "inputs", "model"),
    }
    assert graph["6"]["inputs"]["model"] == ["1", 0]
    assert graph["3"]["inputs"]["clip"] == graph["4"]["inputs"]["clip"] == ["1", 1]


def test_no_lora_takes_the_loader_of_the_model_out() -> None:
    """Flux's LoraLoaderModelOnly passes the model on."""
    workflow = WORKFLOWS["flux-schnell"]
    graph = fill(workflow, {"lora": None})
    assert differences(workflow.graph, graph) == {("4",), ("8", "inputs", "model")}
    assert graph["8"]["inputs"]["model"] == ["1", 0]


@pytest.mark.parametrize(("first", "second", "source"), [(None, None, "1"), ("a", None, "2"), (None, "b", "3")])
def test_loras_in_a_chain_are_left_out_one_by_one(first: str | None, second: str | None, source: str) -> None:
    """Of two LoRAs in a row each may be left out, and both."""
    lora = {"type": "lora", "default": "None"}
    workflow: Workflow = parse_workflow(
        "chain",
        {
            "name": "Chain",
            "parameters": {
                "first": {**lora, "sets": {"node": "2", "input": "lora_name"}},
                "second": {**lora, "sets": {"node": "3", "input": "lora_name"}},
            },
        },
        {},
        {
            "1": {"class_type": "UNETLoader", "inputs": {}},
            "2": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0], "lora_name": "x"}},
            "3": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["2", 0], "lora_name": "x"}},
            "4": {"class_type": "SaveModel", "inputs": {"model": ["3", 0], "filename_prefix": "x"}},
        },
        file="chain.yaml",
    )
    graph = fill(workflow, {"first": first, "second": second})
    assert graph["4"]["inputs"]["model"] == [source, 0]
    assert ("2" in graph, "3" in graph) == (first is not None, second is not None)
    if first is None and second is not None:
        assert graph["3"]["inputs"]["model"] == ["1", 0]


def test_each_save_node_gets_a_prefix_of_its_own() -> None:
    """
    A repeated prompt would be answered from ComfyUI's cache with a file that may be gone (trap 4).

    A prefix that comes over a link is replaced as well, and no node id can climb out of the attempt's folder.
    """

    def save(prefix: object) -> dict[str, Any]:
        return {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}}

    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}}
    graph |= {"9": save("x"), "12:3": save(["7", 0]), "../../up": save("x")}
    own = isolate(graph, "cs/job/1")
    assert [own[node]["inputs"]["filename_prefix"] for node in ("9", "12:3", "../../up")] == [
        "cs/job/1/9",
        "cs/job/1/12_3",
        "cs/job/1/______up",
    ]
    assert own["1"] == graph["1"]
    assert graph["9"]["inputs"]["filename_prefix"] == "x"


@pytest.mark.parametrize(
    ("graph", "code"),
    [
        ({"nodes": [], "links": [], "version": 0.4}, "workflow_format_ui"),
        ({"1": "x"}, "invalid_workflow"),
        ({"1": {"class_type": 5, "inputs": {}}}, "invalid_workflow"),
        ([], "invalid_workflow"),
        (None, "invalid_workflow"),
        ({}, "invalid_workflow"),
    ],
)
def test_a_graph_of_another_shape_is_refused_before_it_is_sent(graph: object, code: str) -> None:
    """ComfyUI 0.28 answers such graphs with a 500 in plain text (trap 11)."""
    with pytest.raises(Rejected) as refused:
        check_api_format(graph)
    assert refused.value.code == code
    assert refused.value.message.startswith("The workflow cannot be run: ")
