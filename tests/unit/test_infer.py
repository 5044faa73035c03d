"""Judge what is proposed for exported graphs of many families: tests/data/graphs, written for this."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.cells import COLUMNS
from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import fill, is_link
from chalicelib.contract.infer import Proposal, infer, known
from chalicelib.contract.infer.naming import SHARED
from chalicelib.contract.inputs import resolve_inputs
from chalicelib.contract.manifest import Workflow, parse_workflow
from chalicelib.contract.media import MEDIA
from chalicelib.contract.words import fold
from infra.workflow_files import FOLDER

DATA = Path(__file__).parents[1] / "data"
GRAPHS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted((DATA / "graphs").glob("*.json"))
}
EXPECTED: dict[str, dict[str, str | list[str]]] = yaml.safe_load((DATA / "graphs" / "expected.yaml").read_text())
BASE: dict[str, Any] = yaml.safe_load((FOLDER / "base.yaml").read_text())["parameters"]
NODES: dict[str, Any] = json.loads((DATA / "object_info" / "graphs_0.28.0.json").read_text())

every = pytest.mark.parametrize("name", GRAPHS)


def places(proposal: Proposal) -> dict[str, list[str]]:
    """Give the places (node.input) that each proposed parameter sets."""
    found = proposal.manifest["parameters"].items()
    return {name: sorted(f"{place['node']}.{place['input']}" for place in one["sets"]) for name, one in found}


def parsed(proposal: Proposal, graph: Any, base: dict[str, Any] | None = None) -> Workflow:
    """Read a proposal as the catalog does."""
    return parse_workflow("proposed", proposal.manifest, base or {}, graph, file="proposed.yaml")


@every
def test_each_parameter_is_found_where_it_is(name: str) -> None:
    """Prompt, negative prompt, seed, size and all the rest, at the right places, and nothing besides."""
    expected = {key: sorted([one] if isinstance(one, str) else one) for key, one in EXPECTED[name].items()}
    assert places(infer(GRAPHS[name])) == expected


def test_every_graph_has_its_expectation() -> None:
    """Of each family there is a graph, and of each graph a list."""
    assert set(GRAPHS) == set(EXPECTED)
    assert len(GRAPHS) >= 20


@every
@pytest.mark.parametrize("base", [{}, BASE], ids=["alone", "with base.yaml"])
def test_a_proposal_is_a_manifest_without_faults(name: str, base: dict[str, Any]) -> None:
    """The catalog takes it as it is, with the shared definitions and without."""
    proposal = infer(GRAPHS[name])
    assert proposal.faults == ()
    assert len(parsed(proposal, GRAPHS[name], base).parameters) == len(EXPECTED[name])


@every
def test_the_graph_s_own_values_are_the_defaults(name: str) -> None:
    """A row that leaves everything blank, but for prompt and files, runs the graph as it was exported."""
    graph = GRAPHS[name]
    workflow = parsed(infer(graph), graph, BASE)
    cells: dict[str, object] = {one.title: "https://example.org/a" for one in workflow.parameters if one.required}
    inputs = resolve_inputs(workflow, cells, pick_seed=lambda: 42).inputs
    filled = fill(workflow, inputs)
    free = {
        place
        for one in workflow.parameters
        for place in one.sets
        if one.required or one.type == "seed" or one.type in MEDIA
    }
    for node_id, node in graph.items():
        for key, value in node["inputs"].items():
            if not any((place.node, place.input) == (node_id, key) for place in free):
                assert filled[node_id]["inputs"][key] == value, f"{node_id}.{key}"


@every
def test_a_word_prefers_its_title(name: str) -> None:
    """No two parameters answer to one header, and none to a header of the sheet's own columns."""
    workflow = parsed(infer(GRAPHS[name]), GRAPHS[name], BASE)
    ours = {fold(word) for column, words in COLUMNS.items() for word in words if column not in ("prompt", "seed")}
    taken: dict[str, str] = {}
    for parameter in workflow.parameters:
        assert not parameter.words() & ours
        for word in parameter.words():
            assert taken.setdefault(word, parameter.name) == parameter.name


@every
def test_bounds_and_choices_lie_inside_the_node_s_own(name: str) -> None:
    """Whatever a row may ask for, ComfyUI takes: bounds and choices are held against a real server's definitions."""
    graph = GRAPHS[name]
    for parameter in parsed(infer(graph, object_info=NODES), graph).parameters:
        for place in parameter.sets:
            node = NODES.get(graph[place.node]["class_type"])
            if node is None:
                continue
            groups = node["input"]
            kind, *rest = (groups.get("required", {}) | groups.get("optional", {})).get(place.input, [None])
            options = rest[0] if rest else {}
            if kind in ("INT", "FLOAT") and parameter.min is not None and parameter.max is not None:
                assert options["min"] <= parameter.min <= parameter.max <= options["max"], parameter.name
            if parameter.type == "choice":
                listed = kind if isinstance(kind, list) else options["options"]
                assert set(parameter.choices) <= set(listed), parameter.name


def test_the_graphs_are_such_as_comfyui_exports() -> None:
    """Every node of ComfyUI's own has the inputs it needs, and its links have the right types."""
    for name, graph in GRAPHS.items():
        for node_id, node in graph.items():
            if node["class_type"] not in NODES:
                continue
            groups = NODES[node["class_type"]]["input"]
            known_inputs = groups.get("required", {}) | groups.get("optional", {})
            assert set(groups.get("required", {})) <= set(node["inputs"]), f"{name}: {node_id}"
            for key, value in node["inputs"].items():
                source = NODES.get(graph[value[0]]["class_type"]) if is_link(value) else None
                if source is not None:
                    types = {source["output"][value[1]], known_inputs[key][0]}
                    assert len(types) == 1 or "*" in types, f"{name}: {node_id}.{key}"


@pytest.mark.parametrize(
    ("name", "parameter", "label"),
    [
        ("sdxl_two_texts", "prompt", "Positive Prompt"),
        ("rgthree", "prompt", "My subject"),
        ("joined_strings", "prompt", "Subject"),
        ("joined_strings", "style", "Style"),
        ("chinese_titles", "prompt", "正向提示词"),
        ("img2img", "image", "Photo to redraw"),
        ("controlnet", "image", "Control image"),
        ("controlnet", "image_2", "Depth map"),
        ("ipadapter", "image", "Reference image"),
        ("wan_i2v", "image", "Start image"),
        ("flux_dev", "prompt", "Prompt"),
        ("sd15", "prompt", "Prompt"),
        ("hires_fix", "steps_2", "Hires steps"),
        ("sdxl_refiner_image", "steps_2", "Refiner steps"),
        ("sdxl_base_refiner", "model_2", "Refiner model"),
        ("face_detailer", "face_prompt", "Face prompt"),
        ("face_detailer", "steps_2", "Face steps"),
    ],
)
def test_titles_become_labels_where_they_say_something(name: str, parameter: str, label: str) -> None:
    """A node's own title is the label; one that is only its class's name is not, nor is that of a plain second node."""
    assert infer(GRAPHS[name]).manifest["parameters"][parameter]["label"] == label


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("flux_schnell", "There is no negative prompt: node 33 (ConditioningZeroOut) leaves that side empty."),
        ("svd", "No prompt was found"),
        ("svd", "FPS leaves fps of node 12"),
        ("img2img", "Each row must bring its own files"),
        ("rgthree", "The LoRAs of node 2 (Power Lora Loader (rgthree)) are not offered"),
        ("efficiency", "LoRA 1 is offered as a plain file name"),
        ("joined_strings", 'Of 3 texts the prompt is that of node 2 (PrimitiveString), titled "Subject".'),
        ("sdxl_base_refiner", "Steps, CFG, Sampler and Scheduler set node 10 (KSamplerAdvanced) and node 11"),
        ("animatediff", "The batch size is the number of frames."),
        ("wan_wrapper", "Scheduler knows only unipc"),
        ("wan_i2v", "A film takes long"),
        ("two_pictures", "Model sets node 1 (CheckpointLoaderSimple) and node 11"),
    ],
)
def test_what_was_guessed_is_said(name: str, sentence: str) -> None:
    """The person who adds the workflow reads what was guessed, joined or left out, in sentences."""
    notes = infer(GRAPHS[name]).notes
    assert [note for note in notes if note.startswith(sentence)]
    assert all(note.endswith(".") and note[0].isupper() for note in notes)


def test_the_shared_definitions_are_the_ones_of_base_yaml() -> None:
    """A proposal says the same as base.yaml, so that the file it is written to can leave it out."""
    roles = {role.name: role for role in vars(known).values() if isinstance(role, known.Role)}
    assert set(BASE) == SHARED
    for name, shared in BASE.items():
        role = roles[name]
        assert (role.type, role.label, list(role.aliases)) == (
            shared["type"],
            shared["label"],
            shared.get("aliases", []),
        )
        assert (role.low, role.high) == (shared.get("min"), shared.get("max"))
    assert list(known.SAMPLERS) == BASE["sampler"]["choices"]
    assert list(known.SCHEDULERS) == BASE["scheduler"]["choices"]


def test_the_reserved_headers_are_those_of_the_sheet() -> None:
    """Every header that the sheet keeps for itself is known here."""
    assert {fold(word) for words in COLUMNS.values() for word in words} == known.RESERVED


def test_the_editor_s_format_is_told_how_to_export_the_right_one() -> None:
    """Nodes in a list and links are the editor's own file: the sentence names the menu."""
    with pytest.raises(Rejected) as refused:
        infer({"nodes": [{"id": 1, "type": "KSampler"}], "links": [], "version": 0.4})
    assert refused.value.code == "workflow_format_ui"
    assert "Export (API)" in refused.value.message


@pytest.mark.parametrize("key", ["prompt", "output"])
def test_a_graph_in_a_wrapping_is_told_where_it_lies(key: str) -> None:
    """What a program posts to ComfyUI holds the graph under "prompt": the sentence says so."""
    with pytest.raises(Rejected) as refused:
        infer({key: GRAPHS["sd15"], "client_id": "x"})
    assert refused.value.code == "invalid_workflow"
    assert f'"{key}"' in refused.value.message


def test_a_graph_that_saves_nothing_is_a_fault() -> None:
    """Inference still proposes, and says what keeps it from being a workflow."""
    graph = copy.deepcopy(GRAPHS["sd15"])
    graph["9"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    proposal = infer(graph)
    assert places(proposal)["prompt"] == ["6.text"]
    assert [fault for fault in proposal.faults if "no node saves anything" in fault]


def test_a_graph_with_nothing_to_set_is_said_to_be_one() -> None:
    """No crash, an empty list and a sentence."""
    graph = {"1": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}}}
    proposal = infer({**graph, "2": {"class_type": "Mystery", "inputs": {"a": {"b": 1}, "c": None, "d": [1, 2, 3]}}})
    assert proposal.manifest["parameters"] == {}
    assert proposal.notes == ("Nothing was found that a row could set: name it in the manifest by hand.",)


def test_a_graph_beyond_the_usual_cost_keeps_its_own() -> None:
    """What was exported runs with its defaults: the manifest's max_cost is raised to it, and it is said."""
    graph = copy.deepcopy(GRAPHS["sd15"])
    graph["5"]["inputs"] |= {"width": 4096, "height": 4096}
    graph["3"]["inputs"]["steps"] = 60
    proposal = infer(graph)
    assert proposal.manifest["max_cost"] == 4096 * 4096 * 60
    assert [note for note in proposal.notes if "max_cost" in note]
    assert resolve_inputs(parsed(proposal, graph, BASE), {"Prompt": "a fox"}, pick_seed=lambda: 42)
    assert "max_cost" not in infer(GRAPHS["sd15"]).manifest


def test_an_option_that_says_negative_is_no_prompt() -> None:
    """Without any sampler words are looked for by name: a switch called use_negative, or a sum, are none."""
    graph = copy.deepcopy(GRAPHS["upscale"])
    graph["3"]["inputs"] |= {"mask_hint_use_negative": "False", "value": "a*b"}
    assert places(infer(graph)) == places(infer(GRAPHS["upscale"]))


def test_a_seed_keeps_to_what_its_node_takes() -> None:
    """-1, 0 and beyond 2^53 are seeds like any other: the default is random, the node's own bounds are kept."""
    parameters = infer(GRAPHS["rgthree"]).manifest["parameters"]
    assert parameters["seed"]["default"] == "random"
    assert parameters["seed"]["max"] == 2**50
    assert "max" not in infer(GRAPHS["sdxl_two_texts"]).manifest["parameters"]["seed"]


def test_what_is_left_lying_in_the_editor_is_not_offered() -> None:
    """A sampler and an encoder that nothing saved depends on are none of the row's business."""
    graph = copy.deepcopy(GRAPHS["sd15"])
    graph["20"] = {**copy.deepcopy(graph["3"]), "_meta": {"title": "Old try"}}
    assert places(infer(graph)) == places(infer(GRAPHS["sd15"]))
