"""Judge sizes: how a cell may say one, what is refused and how, where it goes, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import fill
from chalicelib.contract.inputs import resolve_inputs
from chalicelib.contract.manifest import ManifestError, Workflow, from_document, parse_workflow, to_document

NAMED = ["Square 1024x1024", "Portrait (832x1216)", "wide: 1344 × 768", "512x512"]
SETS = [{"node": "1", "input": "width"}, {"node": "1", "input": "height"}]
GRAPH = {
    "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 8, "height": 8, "w": 8, "h": 8, "steps": 1}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def sized(
    *, sets: Any = None, more: dict[str, Any] | None = None, max_cost: int | None = None, **fields: Any
) -> Workflow:
    size = {"type": "size", "default": "1024x1024", "sets": sets or SETS, **fields}
    manifest: dict[str, Any] = {"name": "Sized", "parameters": {"size": size, **(more or {})}}
    if max_cost is not None:
        manifest["max_cost"] = max_cost
    return parse_workflow("sized", manifest, {}, GRAPH, file="sized.yaml")


def resolved(workflow: Workflow, **cells: object) -> object:
    return resolve_inputs(workflow, cells, pick_seed=lambda: 1).inputs["size"]


def refusal(workflow: Workflow, **cells: object) -> str:
    with pytest.raises(Rejected) as refused:
        resolved(workflow, **cells)
    assert refused.value.code == "invalid_input"
    return refused.value.message


def faults(**fields: Any) -> str:
    with pytest.raises(ManifestError) as refused:
        sized(**fields)
    return str(refused.value)


@pytest.mark.parametrize(
    ("cell", "size"),
    [
        ("1024x768", "1024x768"),
        (" 1024 × 768 ", "1024x768"),
        ("1024X768", "1024x768"),
        ("1024*768", "1024x768"),
        ("portrait", "832x1216"),
        ("PORTRAIT (832x1216)", "832x1216"),
        ("Square_1024x1024", "1024x1024"),
        ("Wide", "1344x768"),
        ("512x512", "512x512"),
        ("", "1024x1024"),
    ],
)
def test_a_cell_says_a_size_or_the_name_of_one(cell: str, size: str) -> None:
    """Any of the signs for "by" does; a named size needs its name alone; what is kept is always written alike."""
    assert resolved(sized(choices=NAMED), Size=cell) == size


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("large", 'Size must be a size such as 1024x768, not "large"; Square, Portrait, wide, 512x512 have names.'),
        ("portriat", 'not "portriat": did you mean 832x1216?'),
        (1024, 'must be a size such as 1024x768, not "1024"'),
        ("1024x", 'must be a size such as 1024x768, not "1024x"'),
        ("8x1024", 'must have sides from 64 to 4096 pixels, not "8x1024"'),
        ("1024x4104", 'must have sides from 64 to 4096 pixels, not "1024x4104"'),
        ("1023x770", 'must have sides that are multiples of 8, not "1023x770": did you mean 1024x768?'),
        ("9999999x64", "must be a size such as 1024x768"),
        (True, "must be a size such as 1024x768"),
    ],
)
def test_a_cell_that_is_no_size_is_told_what_would_be(cell: object, says: str) -> None:
    """No size, too small, too large, not a multiple: each has its sentence, with the nearest size that would do."""
    assert says in refusal(sized(choices=NAMED), Size=cell)


def test_bounds_and_multiple_are_the_manifests() -> None:
    """A manifest narrows or widens what a side may be."""
    workflow = sized(min=256, max=512, multiple=64, default="256x256")
    assert resolved(workflow, Size="320x512") == "320x512"
    assert "from 256 to 512" in refusal(workflow, Size="576x512")
    assert "multiples of 64, not" in refusal(workflow, Size="328x512")
    assert resolved(sized(multiple=1), Size="101x103") == "101x103"


def test_each_side_goes_where_the_manifest_says() -> None:
    """Inputs called width and height are understood; others say which side they are."""
    sets = [*SETS, {"node": 1, "input": "w", "part": "width"}, {"node": 1, "input": "h", "part": "height"}]
    workflow = sized(sets=sets)
    filled = fill(workflow, {"size": "640x128"})["1"]["inputs"]
    assert filled == {"width": 640, "height": 128, "w": 640, "h": 128, "steps": 1}
    assert from_document(to_document(workflow)) == workflow


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sets": [SETS[0]]}, "parameters.size.sets: a size sets a width and a height; no height is set"),
        ({"sets": [SETS[0], {"node": "1", "input": "h"}]}, "say for h of node 1 whether it is part: width"),
        ({"default": "8x8"}, "parameters.size.default: must have sides from 64"),
        ({"default": None}, "parameters.size.default: give a default, or say required: true"),
        ({"choices": ["Square 1024x1024", "tiny 8x8"]}, 'parameters.size.choices: must have sides from 64'),
        ({"choices": ["Square"]}, "parameters.size.choices: must be a size"),
        ({"multiple": 0}, "parameters.size.multiple"),
        ({"min": 64.5}, "parameters.size.min: 64.5 is no whole number"),
        ({"min": float("inf"), "choices": NAMED}, "parameters.size.min: must be a number, not inf"),
        ({"min": 512, "max": 256}, "parameters.size.min: 512 is above max 256"),
        ({"type": "string"}, "only a size has parts"),
    ],
)  # fmt: skip
def test_a_size_that_cannot_work_is_a_fault_of_the_manifest(fields: dict[str, Any], says: str) -> None:
    """Whoever writes the manifest is told, with field and reason."""
    if fields.get("type") == "string":
        fields = {**fields, "sets": [{**SETS[0], "part": "width"}]}
    assert says in faults(**fields)


def test_only_a_size_has_a_multiple() -> None:
    """A whole number with a multiple would be a promise that nobody keeps."""
    steps = {
        "type": "integer",
        "default": 1,
        "min": 1,
        "max": 9,
        "multiple": 4,
        "sets": {"node": "1", "input": "steps"},
    }
    assert "parameters.steps.multiple: a integer has none; a size has" in faults(more={"steps": steps})


def test_a_size_counts_into_the_cost_and_the_manifest_says_what_a_job_may_cost() -> None:
    """Width × height × steps against max_cost; a workflow that asks for more may say so."""
    steps = {"type": "integer", "default": 1, "min": 1, "max": 150, "sets": {"node": "1", "input": "steps"}}
    dear = refusal(sized(more={"steps": steps}, max_cost=1024 * 1024 * 20), Size="1024x1024", Steps=21)
    assert dear.startswith(f"Size × Steps is {1024 * 1024 * 21}; one row may ask for {1024 * 1024 * 20}: ")
    assert resolved(sized(more={"steps": steps}, max_cost=1024 * 1024 * 20), Steps=20) == "1024x1024"
    assert "Size × Steps is" in refusal(sized(more={"steps": steps}), Size="4096x4096", Steps=150)
    assert resolved(sized(more={"steps": steps}, max_cost=2**53), Size="4096x4096", Steps=150) == "4096x4096"


def test_the_hash_of_a_workflow_without_a_size_is_what_it_was() -> None:
    """Fields that are new have defaults, so that no stored version changes its name."""
    parameters: dict[str, Any] = {
        "steps": {"type": "integer", "default": 1, "min": 1, "max": 9, "sets": {"node": 1, "input": "steps"}}
    }
    workflow = parse_workflow("old", {"name": "Old", "parameters": parameters}, {}, GRAPH, file="old.yaml")
    assert to_document(workflow) == {
        "id": "old",
        "name": "Old",
        "parameters": [{"name": "steps", **parameters["steps"], "sets": [{"node": "1", "input": "steps"}]}],
        "graph": GRAPH,
    }  # fmt: skip
