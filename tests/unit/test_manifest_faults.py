"""Judge manifests: what a person wrote becomes a workflow, or every fault of it is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.manifest import ManifestError, Workflow, from_document, parse_workflow, to_document
from infra.workflow_files import read_folder

GRAPH: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    "2": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["1", 0], "lora_name": "x", "strength_model": 1.0}},
    "3": {"class_type": "KSampler", "inputs": {"model": ["2", 0], "steps": 20, "cfg": 7.0, "text": "ü 🦊"}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
}
STEPS: dict[str, Any] = {
    "type": "integer",
    "default": 20,
    "min": 1,
    "max": 150,
    "sets": {"node": "3", "input": "steps"},
}


def parse(manifest: object = None, base: object = None, graph: object = GRAPH, **parameters: object) -> Workflow:
    """Parse a manifest named demo.yaml that has *parameters*."""
    wanted: Any = {"name": "Demo", "parameters": parameters} if manifest is None else manifest
    given_base: Any = {} if base is None else base
    given_graph: Any = graph
    return parse_workflow("demo", wanted, given_base, given_graph, file="demo.yaml")


def faults(**asked: Any) -> tuple[str, ...]:
    """Give the faults of what must be refused."""
    with pytest.raises(ManifestError) as refused:
        parse(**asked)
    assert all(fault.startswith("demo.yaml: ") for fault in refused.value.faults)
    return tuple(fault.removeprefix("demo.yaml: ") for fault in refused.value.faults)


@pytest.mark.parametrize(
    ("field", "reason", "steps"),
    [
        ("parameters.steps.type", "Input should be", {"type": "integre"}),
        ("parameters.steps.stpes", "there is no such field", {"stpes": 1}),
        ("parameters.steps.min", "9 is above max 5", {"min": 9, "max": 5, "default": None, "required": True}),
        ("parameters.steps.max", "a number needs one", {"max": None}),
        ("parameters.steps.default", "must be a whole number from 1 to 150", {"default": 9999}),
        ("parameters.steps.default", 'not "abc"', {"default": "abc"}),
        ("parameters.steps.default", "give a default, or say required", {"default": None}),
        ("parameters.steps.choices", "a integer has no choices", {"choices": ["a"]}),
        ("parameters.steps.min", "a string has no bounds", {"type": "string", "max": None}),
        ("parameters.steps.sets", "valid tuple", {"sets": None}),
        ("parameters.steps.sets", "valid tuple", {"sets": 5}),
        ("parameters.steps.sets", "at least 1 item", {"sets": []}),
        ("parameters.steps.sets", "the graph has no node 99", {"sets": {"node": 99, "input": "steps"}}),
        ("parameters.steps.sets", "node 3 (KSampler) has no input stepz", {"sets": {"node": 3, "input": "stepz"}}),
        ("parameters.steps.sets", "is a link to another node", {"sets": {"node": "3", "input": "model"}}),
    ],
)
def test_a_fault_is_named_with_file_field_and_reason(field: str, reason: str, steps: dict[str, Any]) -> None:
    """A wrong parameter is refused with the file, the field and the reason."""
    found = faults(steps={**STEPS, **steps})
    assert any(fault.startswith(f"{field}") and reason in fault for fault in found)


def test_choices_must_be_there_and_differ() -> None:
    """A choice without choices is refused, and so are two that a cell cannot tell apart."""
    choice = {"type": "choice", "sets": {"node": "3", "input": "text"}, "required": True}
    assert faults(mode=choice) == ("parameters.mode.choices: a choice needs at least one",)
    [clash] = faults(mode={**choice, "choices": ["dpm-2", "dpm_2"]})
    assert clash.startswith("parameters.mode.choices: two of them differ only in")


def test_two_parameters_may_not_mean_the_same_header() -> None:
    """Headers are compared without case, spaces, hyphens and underscores; two parameters may not share one."""
    other = {**STEPS, "sets": {"node": "3", "input": "cfg"}, "aliases": ["STEPS"]}
    assert faults(steps=STEPS, more=other) == ('parameters.more.aliases: the header "steps" means steps already',)


def test_two_parameters_may_not_set_the_same_input() -> None:
    """Of two parameters for one input the last would win in silence."""
    assert faults(steps=STEPS, more=STEPS) == ("parameters.more.sets: steps of node 3 is set by steps already",)


def test_a_lora_node_must_be_one_that_can_be_left_out() -> None:
    """A LoRA of None takes its node out, so its class and its links must allow that before anybody tries."""
    lora = {"type": "lora", "default": "None", "sets": {"node": "3", "input": "text"}}
    [reason] = faults(lora=lora)
    assert "node 3 (KSampler) cannot be left out" in reason
    loose = copy.deepcopy(GRAPH)
    loose["2"]["inputs"]["model"] = "none"
    loose["3"]["inputs"]["model"] = ["2", 1]
    found = faults(graph=loose, lora={**lora, "sets": {"node": "2", "input": "lora_name"}})
    assert any("model of node 2 (LoraLoaderModelOnly) must be a link" in fault for fault in found)
    assert any("takes output 1 of node 2, which has no such output" in fault for fault in found)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ({"nodes": [], "links": []}, "Export (API)"),
        ([], "a workflow is a JSON object of nodes"),
        ({}, "has no node"),
        ({"1": "x"}, "node 1 has no class_type"),
        ({"1": {"class_type": "A"}}, "node 1 (A) has no inputs"),
        ({"1": {"class_type": "A", "inputs": {"a": ["7", 0]}}}, "links to node 7, which is missing"),
        ({"1": {"class_type": "A", "inputs": {"a": 1}}}, "no node saves anything"),
    ],
)
def test_a_graph_of_another_shape_is_refused(graph: object, reason: str) -> None:
    """An editor's export, a graph with broken links, and one that saves nothing are refused with what to do."""
    assert any(fault.startswith("graph: ") and reason in fault for fault in faults(graph=graph))


def test_all_faults_are_named_at_once() -> None:
    """Whoever mends a manifest sees everything in one go, whichever stage finds it."""
    manifest = {
        "title": "Demo",
        "parameters": {"a": {**STEPS, "type": "x"}, "b": {**STEPS, "default": 0}, "c": 5},
        "overrides": {"zzz": {}},
    }
    found = faults(manifest=manifest, graph={"nodes": []})
    for start in (
        "overrides.zzz: ",
        "parameters.a.type: ",
        "parameters.b.default: ",
        "parameters.c: ",
        "title: there is no such field",
        "graph: ",
        "name: ",
    ):
        assert any(fault.startswith(start) for fault in found), start


@pytest.mark.parametrize("shape", [None, [], "x", 5])
def test_what_is_no_mapping_is_refused(shape: object) -> None:
    """A list or a word where names should stand is a fault, not a crash."""
    assert "must be a mapping" in " ".join(faults(manifest={"name": "n", "parameters": shape}))
    if shape is not None:
        assert "must be a mapping" in " ".join(faults(base=shape, steps=STEPS))


def test_base_is_merged_and_left_alone() -> None:
    """base.yaml's definition counts unless the workflow, or its overrides, say otherwise; nobody's input is changed."""
    base = {"steps": {**STEPS, "label": "Steps", "sets": {"node": 3, "input": "steps"}}}
    before = copy.deepcopy(base)
    manifest = {"name": "n", "parameters": {"steps": {"default": 8, "max": 90}}, "overrides": {"steps": {"max": 50}}}
    [steps] = parse(manifest=manifest, base=base).parameters
    assert (steps.label, steps.min, steps.default, steps.max) == ("Steps", 1, 8, 50)
    assert base == before


def test_a_document_reads_back_exactly_and_keeps_its_hash() -> None:
    """The bucket's JSON gives back the same workflow, with types and hash, and any change gives another hash."""
    workflow = parse(steps=STEPS, cfg={**STEPS, "type": "float", "sets": {"node": "3", "input": "cfg"}, "max": 30.0})
    again = from_document(json.loads(json.dumps(to_document(workflow))))
    assert again == workflow
    assert again.hash == workflow.hash
    assert repr(again.graph) == repr(workflow.graph)
    assert parse(steps={**STEPS, "max": 151}).hash != parse(steps=STEPS).hash != parse().hash


scraps = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.sampled_from(["1", "steps", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["parameters", "overrides", "steps", "sets", "type", "node", "input", "name", "nodes"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["name", "parameters", "overrides", "x"]), scraps), scraps, scraps)
def test_nothing_that_yaml_can_hold_makes_the_check_crash(manifest: Any, base: Any, graph: Any) -> None:
    """Whatever the files hold, the answer is a workflow or a list of faults."""
    try:
        parse(manifest=manifest, base=base, graph=graph)
    except ManifestError as refused:
        assert refused.faults


def test_the_folder_names_the_faults_of_all_files(tmp_path: Path) -> None:
    """YAML and JSON that do not parse, files without their twin and shared names are all named, each by its file."""
    good = json.dumps({"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}})
    for name, text in {
        "base.yaml": "parameters: {}",
        "a.yaml": "name: [",
        "a.json": good,
        "b.yaml": "name: B",
        "b.json": "{",
        "c.yaml": "name: C",
        "d.json": good,
        "e.yaml": "name: E",
        "e.json": "[]",
        "f.yaml": "name: G",
        "f.json": good,
        "g.yaml": "name: Other",
        "g.json": good,
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ManifestError) as refused:
        read_folder(tmp_path)
    found = refused.value.faults
    for start in (
        "a.yaml: the file: cannot be read",
        "b.json: graph: is not JSON",
        "c.json: graph: is missing",
        "d.json: manifest: there is no d.yaml",
        "e.json: graph: must be a JSON object",
        'g.yaml: name: "g" means f already',
    ):
        assert any(fault.startswith(start) for fault in found), (start, found)
    assert len(found) == 6
