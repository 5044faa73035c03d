"""Hold the shipped workflows against a real ComfyUI's node definitions, the sheet's columns, and a run."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import requests
import yaml

from chalicelib.cells import COLUMNS
from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import fill, is_link, isolate
from chalicelib.contract.inputs import resolve_inputs, unknown_workflow
from chalicelib.contract.manifest import Workflow, parse_workflow
from chalicelib.contract.parameter import NAMES, Parameter, Type
from chalicelib.contract.words import fold
from infra.workflow_files import FOLDER, read_folder
from sandbox.comfy import ComfyStandIn

RECORDED = Path(__file__).parents[1] / "data" / "object_info" / "comfyui_0.28.0.json"
NODES: dict[str, Any] = json.loads(RECORDED.read_text())
WORKFLOWS = {workflow.id: workflow for workflow in read_folder()}
FILES = {"ckpt_name", "unet_name", "vae_name", "clip_name1", "clip_name2", "lora_name"}
"""Inputs that name files of models: what there is differs from worker to worker."""

every = pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)


def resolved(workflow: Workflow, **cells: object) -> dict[str, Any]:
    """Resolve the workflow's defaults, a prompt and *cells*."""
    return dict(resolve_inputs(workflow, {"Prompt": "a fox", **cells}, pick_seed=lambda: 42).inputs)


def definition(class_type: str, name: str) -> tuple[Any, Mapping[str, Any]]:
    """Give type (or list of choices) and options of an input, as ComfyUI describes it."""
    groups = NODES[class_type]["input"]
    kind, *rest = (groups.get("required", {}) | groups.get("optional", {}))[name]
    options = rest[0] if rest else {}
    return (options["options"] if kind == "COMBO" else kind), options


def fits(class_type: str, name: str, value: object) -> bool:
    """Say whether ComfyUI takes *value* there."""
    kind, options = definition(class_type, name)
    if isinstance(kind, list):
        return value in kind or name in FILES
    if kind in ("INT", "FLOAT"):
        right = isinstance(value, int if kind == "INT" else int | float) and not isinstance(value, bool)
        return right and options["min"] <= value <= options["max"]  # type: ignore[operator]
    return isinstance(value, {"STRING": str, "BOOLEAN": bool}[kind])


def test_the_shipped_workflows_are_there() -> None:
    """Two need no model, two are what people come for."""
    assert set(WORKFLOWS) >= {"empty-color", "image-ops", "txt2img-sdxl", "flux-schnell"}
    wanted = {"prompt", "negative_prompt", "seed", "steps", "cfg", "sampler", "width", "height", "model", "lora"}
    for workflow_id in ("txt2img-sdxl", "flux-schnell"):
        assert wanted <= {parameter.name for parameter in WORKFLOWS[workflow_id].parameters}
    for workflow_id in ("empty-color", "image-ops"):
        used = {name for node in WORKFLOWS[workflow_id].graph.values() for name in node["inputs"]}
        assert not used & FILES


@every
@pytest.mark.parametrize("lora", ["None", "x.safetensors"])
def test_a_filled_graph_is_one_that_comfyui_takes(workflow: Workflow, lora: str) -> None:
    """Every class exists, every required input is there, every value and every link has the right type."""
    graph = isolate(fill(workflow, resolved(workflow, LoRA=lora)), "cs/job/1")
    for node_id, node in graph.items():
        groups = NODES[node["class_type"]]["input"]
        assert set(groups.get("required", {})) <= set(node["inputs"])
        assert set(node["inputs"]) <= set(groups.get("required", {})) | set(groups.get("optional", {}))
        for name, value in node["inputs"].items():
            where = f"{workflow.id}: {name} of node {node_id}"
            if is_link(value):
                source = NODES[graph[value[0]]["class_type"]]["output"]
                assert source[value[1]] == definition(node["class_type"], name)[0], where
            else:
                assert fits(node["class_type"], name, value), where
    assert any(NODES[node["class_type"]]["output_node"] for node in graph.values())


def extremes(parameter: Parameter) -> list[Any]:
    """Give the values at the edges of what a row may ask for."""
    if parameter.type == "seed":
        return [0, 2**64 - 1]
    if parameter.choices:
        return list(parameter.choices)
    return [end for end in (parameter.min, parameter.max) if end is not None]


@every
def test_whatever_a_row_may_ask_for_comfyui_takes(workflow: Workflow) -> None:
    """Each bound and each choice of a manifest lies inside the node's own."""
    for parameter in workflow.parameters:
        for place in parameter.sets:
            class_type = workflow.graph[place.node]["class_type"]
            for value in extremes(parameter):
                assert fits(class_type, place.input, value), f"{workflow.id}: {parameter.name}: {value}"


def test_no_parameter_is_headed_like_a_column_of_ours() -> None:
    """A column that completion writes is never sent: a parameter of that name would never get a value."""
    written = {fold(word) for name, words in COLUMNS.items() if name not in ("prompt", "seed") for word in words}
    for workflow in WORKFLOWS.values():
        for parameter in workflow.parameters:
            assert not parameter.words() & written, f"{workflow.id}: {parameter.name}"


@every
def test_the_prompt_answers_to_every_header_of_the_prompt_column(workflow: Workflow) -> None:
    """The sheet's Prompt column has aliases; a row under any of them must reach the graph."""
    for parameter in workflow.parameters:
        if parameter.name == "prompt":
            assert {fold(word) for word in COLUMNS["prompt"]} <= parameter.words()


def test_the_recording_holds_the_classes_in_use_and_no_other() -> None:
    """It is a trimmed copy: a new workflow adds its classes from a real ComfyUI, one that goes takes them along."""
    assert set(NODES) == {node["class_type"] for workflow in WORKFLOWS.values() for node in workflow.graph.values()}


def test_every_shared_definition_is_used() -> None:
    """base.yaml holds what workflows share: a definition that no workflow uses was never checked."""
    shared = set(yaml.safe_load((FOLDER / "base.yaml").read_text())["parameters"])
    assert shared <= {parameter.name for workflow in WORKFLOWS.values() for parameter in workflow.parameters}


def test_file_names_are_not_checked_twice() -> None:
    """The inputs that this test does not hold against the recording are those that name files."""
    for workflow in WORKFLOWS.values():
        for parameter in workflow.parameters:
            named = {place.input for place in parameter.sets} & FILES
            assert bool(named) == (parameter.type in NAMES), f"{workflow.id}: {parameter.name}"


def test_the_documented_example_is_a_workflow_that_comfyui_takes() -> None:
    """What docs/workflows.md tells an operator to write passes the check; the sentences it shows are the real ones."""
    text = (FOLDER.parent / "docs" / "workflows.md").read_text()
    [graph] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    [manifest] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    base = yaml.safe_load((FOLDER / "base.yaml").read_text())["parameters"]
    poster = parse_workflow("poster", yaml.safe_load(manifest), base, json.loads(graph), file="poster.yaml")
    for node in fill(poster, resolved(poster, **{"How many": 4, "Colour": "#33aaff"})).values():
        assert all(
            fits(node["class_type"], name, value) for name, value in node["inputs"].items() if not is_link(value)
        )
    sentences = [unknown_workflow("flux-schnel", WORKFLOWS).message]
    for row in ({"Prompt": "a fox", "Steps": "abc", "Sampler": "eulr"}, {}):
        with pytest.raises(Rejected) as refused:
            resolve_inputs(WORKFLOWS["txt2img-sdxl"], row, pick_seed=lambda: 42)
        sentences.append(refused.value.message)
    for sentence in sentences:
        assert f"- `{sentence}`" in text


@pytest.mark.parametrize("model", [Parameter, Workflow])
def test_every_field_of_a_manifest_is_documented(model: type[Parameter] | type[Workflow]) -> None:
    """An operator finds each field and each type in docs/workflows.md."""
    text = (FOLDER.parent / "docs" / "workflows.md").read_text()
    rows = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    for field in set(model.model_fields) - {"id", "graph"} | set(get_args(Type)):
        assert f"`{field}`" in rows


@pytest.fixture(scope="module")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyStandIn]:
    """Run the ComfyUI stand-in."""
    with ComfyStandIn(tmp_path_factory.mktemp("comfy"), instant=True) as server:
        yield server


def rendered(comfy: ComfyStandIn, graph: dict[str, Any], patience_s: float = 20) -> dict[str, Any]:
    """Give the history entry of *graph*, run on *comfy*."""
    answer = requests.post(f"{comfy.url}/prompt", json={"prompt": graph}, timeout=5).json()
    assert answer.get("node_errors") == {}, answer
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        entry = requests.get(f"{comfy.url}/history/{answer['prompt_id']}", timeout=5).json()
        if entry:
            return dict(entry[answer["prompt_id"]])
        threading.Event().wait(0.02)
    raise AssertionError("the prompt did not end in time")


@every
def test_a_row_of_defaults_renders(workflow: Workflow, comfy: ComfyStandIn) -> None:
    """Filled with its defaults and a prompt, each workflow ends well and saves a file below the attempt's prefix."""
    entry = rendered(comfy, isolate(fill(workflow, resolved(workflow)), f"cs/{workflow.id}/1"))
    assert entry["status"]["status_str"] == "success"
    files = [image for output in entry["outputs"].values() for image in output["images"]]
    assert files
    assert {file["subfolder"] for file in files} == {f"cs/{workflow.id}/1"}
