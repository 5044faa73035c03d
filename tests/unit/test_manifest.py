"""Judge what a manifest becomes, and faults that only YAML, JSON and base.yaml can bring (see test_manifest_faults)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.manifest import ManifestError, Workflow, from_document, parse_workflow, to_document
from infra.workflow_files import read_folder

GRAPH: dict[str, Any] = {
    "1": {"class_type": "KSampler", "inputs": {"steps": 20, "cfg": 7.0, "mode": "on", "seed": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
STEPS = {"type": "integer", "default": 20, "min": 1, "max": 150, "sets": {"node": "1", "input": "steps"}}
SEED = {"type": "seed", "default": "random", "sets": {"node": "1", "input": "seed"}}
CHOICE = {"type": "choice", "required": True, "sets": {"node": "1", "input": "mode"}}


def parse(graph: Any = GRAPH, **parameters: Any) -> Workflow:
    """Parse a manifest named demo.yaml that has *parameters*."""
    return parse_workflow("demo", {"name": "Demo", "parameters": parameters}, {}, graph, file="demo.yaml")


def faults(graph: Any = GRAPH, **parameters: Any) -> tuple[str, ...]:
    """Give the faults of what must be refused."""
    with pytest.raises(ManifestError) as refused:
        parse(graph, **parameters)
    return refused.value.faults


@pytest.mark.parametrize(
    ("end", "bound", "reason"),
    [
        ("max", -1, "-1 is no seed"),
        ("min", -1, "-1 is no seed"),
        ("min", 2**64, "is no seed"),
        ("max", 0.5, "0.5 is no whole number"),
        ("max", float("inf"), "must be a number, not inf"),
        ("min", float("nan"), "must be a number, not nan"),
    ],
)
def test_bounds_that_no_seed_can_keep_are_refused(end: str, bound: float, reason: str) -> None:
    """A seed is drawn between its bounds, so there must be something between them before a row asks."""
    [fault] = faults(seed={**SEED, end: bound})
    assert fault.startswith(f"demo.yaml: parameters.seed.{end}: ")
    assert reason in fault


@pytest.mark.parametrize(("end", "bound"), [("max", float("inf")), ("min", float("-inf")), ("max", 20.5)])
def test_bounds_of_a_number_are_numbers_that_json_carries(end: str, bound: float) -> None:
    """The sheet reads the bounds as JSON, which has no infinity; a whole number has whole bounds."""
    assert any(
        fault.startswith(f"demo.yaml: parameters.steps.{end}: ") for fault in faults(steps={**STEPS, end: bound})
    )


@pytest.mark.parametrize("choice", [True, None, ["x"], {"a": 1}])
def test_a_choice_is_text_or_a_number(choice: object) -> None:
    """YAML reads a bare `on` as true: the node would be sent "True", which it does not know."""
    [fault] = faults(mode={**CHOICE, "choices": ["auto", choice]})
    assert fault.startswith("demo.yaml: parameters.mode.choices.1: ")


def test_a_choice_may_be_written_as_a_number() -> None:
    """Numbers need no quotes in YAML; the choice is what reads the same."""
    assert parse(mode={**CHOICE, "choices": [1, 2.5, "3"]}).parameters[0].choices == ("1", "2.5", "3")


@pytest.mark.parametrize("value", ["\ud800", float("nan"), float("inf")], ids=["surrogate", "nan", "infinity"])
def test_a_graph_holds_only_what_json_carries(value: object) -> None:
    """Python's JSON reader lets NaN and halves of emoji in; ComfyUI and the bucket do not take them."""
    graph = {**GRAPH, "1": {"class_type": "KSampler", "inputs": {"mode": value}}}
    [fault] = faults(graph)
    assert fault == "demo.yaml: graph: node '1' holds what JSON cannot carry: NaN, infinity or half of an emoji"


def test_halves_of_emoji_in_a_manifest_are_named() -> None:
    """An emoji in JSON's spelling, "\\ud83e\\udd8a", is two halves to YAML; no hash could be made of them."""
    [fault] = faults(steps={**STEPS, "label": "\ud83e\udd8a"})
    assert fault == "demo.yaml: parameters.steps: holds half of an emoji; write the emoji itself"


def write(folder: Path, **texts: str | bytes) -> Path:
    """Write a sound folder with one workflow, `a`; *texts* (a_yaml, a_json, base_yaml) replace its files."""
    sound: dict[str, str | bytes] = {"base_yaml": "parameters: {}", "a_yaml": "name: A", "a_json": json.dumps(GRAPH)}
    for name, text in {**sound, **texts}.items():
        content = text if isinstance(text, bytes) else text.encode()
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("texts", "start"),
    [
        ({"a_yaml": "name: Fü".encode("latin-1")}, "a.yaml: the file: cannot be read: 'utf-8'"),
        ({"a_yaml": "name: 2026-13-45"}, "a.yaml: the file: cannot be read: month must be"),
        ({"a_yaml": "name: " + "9" * 5000}, "a.yaml: the file: cannot be read: Exceeds the limit"),
        ({"a_yaml": "name: " + "[" * 5000}, "a.yaml: the file: cannot be read: maximum recursion"),
        ({"a_yaml": "- name"}, "a.yaml: the file: must be a mapping"),
        ({"a_yaml": ""}, "a.yaml: the file: must be a mapping"),
        ({"a_yaml": "name: A\nname: B"}, "a.yaml: the file: cannot be read: name stands here twice"),
        ({"a_json": '{"ü": 1}'.encode("latin-1")}, "a.json: graph: is not JSON: 'utf-8'"),
        ({"a_json": "[" * 100_000}, "a.json: graph: is not JSON: maximum recursion"),
        ({"a_json": "null"}, "a.json: graph: must be a JSON object"),
        ({"base_yaml": "parameter: {}"}, "base.yaml: parameter: there is no such field"),
        ({"base_yaml": "parameters: {x: {type: integre}}"}, "base.yaml: parameters.x.type: Input should be"),
        ({"base_yaml": "parameters: {x: {stpes: 1}}"}, "base.yaml: parameters.x.stpes: there is no such field"),
        ({"base_yaml": "parameters: {x: 5}"}, "base.yaml: parameters.x: must be a mapping"),
    ],
    ids=range(14),
)
def test_a_file_with_one_fault_is_answered_with_that_fault(
    tmp_path: Path, texts: dict[str, str | bytes], start: str
) -> None:
    """Whatever is wrong with a file, also with a shared definition that nobody uses yet, is a line and not a crash."""
    with pytest.raises(ManifestError) as refused:
        read_folder(write(tmp_path, **texts))
    [fault] = refused.value.faults
    assert fault.startswith(start)


def test_a_sound_folder_is_read_and_anchors_still_work(tmp_path: Path) -> None:
    """YAML's own ways of sharing text, anchors and merges, are no repeated names."""
    shared = "{type: integer, default: 1, min: 1, max: 9}"
    text = (
        f"name: A\nparameters:\n  steps: &s\n    <<: {shared}\n    sets: {{node: '1', input: steps}}\n"
        "  more:\n    <<: *s\n    default: 2\n    sets: {node: '1', input: seed}\n"
    )
    [workflow] = read_folder(write(tmp_path, a_yaml=text))
    assert [(one.name, one.default, one.max) for one in workflow.parameters] == [("steps", 1, 9), ("more", 2, 9)]


def test_a_missing_folder_is_a_fault(tmp_path: Path) -> None:
    """A wrong --folder is told, not a crash and not an empty catalog."""
    with pytest.raises(ManifestError, match=r"base\.yaml: the file: cannot be read"):
        read_folder(tmp_path / "none")


def test_a_hash_is_the_same_everywhere_and_for_ever() -> None:
    """
    Stored versions are found by it, so no release may change it.

    A field that is added to Workflow or Parameter needs a default, which is left out of the document.
    """
    assert parse(steps=STEPS).hash == "26c602143a5664f9cf5ad2cb2e703983478630395b1a73ead9fb00e7b0e3310e"


def test_a_hash_does_not_see_the_order_of_a_graphs_nodes() -> None:
    """ComfyUI's export orders nodes as it likes; the same graph is the same version."""
    turned = {node: dict(reversed(GRAPH[node].items())) for node in reversed(GRAPH)}
    assert parse(turned, steps=STEPS).hash == parse(steps=STEPS).hash


plain = st.text() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@given(st.dictionaries(st.text(), plain), plain, st.text(), st.booleans())
def test_every_workflow_comes_back_exactly(
    inputs: dict[str, Any], default: Any, description: str, is_required: bool
) -> None:
    """Whatever a sound workflow holds, the bucket's JSON gives back values, types and hash."""
    text = {"type": "string", "default": default, "required": is_required, "description": description}
    graph = {**GRAPH, "3": {"class_type": "Note", "inputs": {**inputs, "text": ""}, "_meta": {"title": description}}}
    try:
        workflow = parse(graph, text={**text, "sets": {"node": "3", "input": "text"}})
    except ManifestError as refused:
        # Only a default that no prompt may be is refused here.
        assert all(fault.startswith("demo.yaml: parameters.text.default: ") for fault in refused.faults)
        return
    again = from_document(json.loads(json.dumps(to_document(workflow), ensure_ascii=False).encode()))
    assert repr(again.parameters) == repr(workflow.parameters)
    assert repr(again.graph) == repr(workflow.graph)
    assert again.hash == workflow.hash
