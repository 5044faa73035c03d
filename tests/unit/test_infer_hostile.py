"""Judge inference on graphs that nobody should send: rings, thousands of nodes, hostile values, any JSON."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import is_link
from chalicelib.contract.infer import Proposal, infer
from chalicelib.contract.manifest import Workflow, parse_workflow
from infra.workflow_files import FOLDER
from tests.sizes import examples

GRAPHS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "data" / "graphs").glob("*.json"))
}
BASE: dict[str, Any] = yaml.safe_load((FOLDER / "base.yaml").read_text())["parameters"]


def places(proposal: Proposal) -> dict[str, list[str]]:
    """Give the places (node.input) that each proposed parameter sets."""
    found = proposal.manifest["parameters"].items()
    return {name: sorted(f"{place['node']}.{place['input']}" for place in one["sets"]) for name, one in found}


def parsed(proposal: Proposal, graph: Any) -> Workflow:
    """Read a proposal as the catalog does, with the shared definitions."""
    return parse_workflow("proposed", proposal.manifest, BASE, graph, file="proposed.yaml")


def judge(graph: Any) -> None:
    """Hold a proposal against the catalog's check, or see the refusal."""
    try:
        proposal = infer(graph)
    except Rejected as refused:
        assert refused.message.endswith(".")
        assert refused.code in ("workflow_format_ui", "invalid_workflow")
        return
    assert all(note.endswith(".") for note in proposal.notes)
    json.dumps(proposal.model_dump(), allow_nan=False)
    if not proposal.faults:
        parsed(proposal, graph)


def ring(size: int) -> dict[str, Any]:
    """Make nodes that feed one another in a ring."""
    node = "CLIPTextEncode", "ConditioningCombine", "Reroute"
    return {
        str(one): {
            "class_type": node[one % 3],
            "inputs": {"text": [str((one + 1) % size), 0], "conditioning": [str((one + 1) % size), 0]},
        }
        for one in range(size)
    }


@pytest.mark.parametrize("size", [1, 2, 7])
def test_rings_end(size: int) -> None:
    """A graph that ComfyUI would refuse for its ring is read to the end all the same."""
    sampler = {
        **GRAPHS["sd15"]["3"]["inputs"],
        **{key: ["0", 0] for key in ("model", "positive", "negative", "latent_image", "seed", "steps")},
    }
    graph = {**ring(size), "k": {"class_type": "KSampler", "inputs": {**sampler, "filename_prefix": "x"}}}
    assert "prompt" not in places(infer(graph))


def chain(length: int) -> dict[str, Any]:
    """Make a graph whose prompt goes through a long row of nodes, with as many LoRAs as there is room for."""
    graph = copy.deepcopy(GRAPHS["sd15"])
    before = "6"
    for number in range(100, 100 + length // 2):
        graph[str(number)] = {"class_type": "ConditioningSetArea", "inputs": {"conditioning": [before, 0]}}
        before = str(number)
    graph["3"]["inputs"]["positive"] = [before, 0]
    model = "4"
    for number in range(5000, 5000 + length // 2 - len(graph) % 2):
        inputs = {
            "lora_name": "a",
            "strength_model": 1.0,
            "strength_clip": 1.0,
            "model": [model, 0],
            "clip": [model, 1],
        }
        graph[str(number)] = {"class_type": "LoraLoader", "inputs": inputs}
        model = str(number)
    graph["3"]["inputs"]["model"] = [model, 0]
    return graph


def test_a_thousand_nodes_in_a_row_are_read_in_a_moment() -> None:
    """No recursion, no walk per pair of nodes: the largest graph that is allowed takes well under a few seconds."""
    graph = chain(990)
    began = time.perf_counter()
    proposal = infer(graph)
    assert time.perf_counter() - began < 5
    assert places(proposal)["prompt"] == ["6.text"]
    assert len(proposal.manifest["parameters"]) <= 60
    assert parsed(proposal, graph)


def test_a_thousand_samplers_are_read_in_a_moment() -> None:
    """Each sampler on the latent of the one before: settings of the first few are offered, and it is said."""
    graph = copy.deepcopy(GRAPHS["sd15"])
    for number in range(100, 1090):
        graph[str(number)] = copy.deepcopy(graph["3"])
        graph[str(number)]["inputs"]["latent_image"] = [str(number - 1) if number > 100 else "3", 0]
    graph["8"]["inputs"]["samples"] = ["1089", 0]
    began = time.perf_counter()
    proposal = infer(graph)
    assert time.perf_counter() - began < 5
    assert [note for note in proposal.notes if note.startswith("The graph has 991 samplers")]


HOSTILE: list[Any] = [
    *("", " " * 9000, "a" * 60_000, "\x00\x1b[31m", "../../etc/passwd", "C:\\x\\y", "=SUM(A1)", "None", "random"),
    *(-1, 0, 2**53 + 1, 2**64, 10**400, -(10**30), 1e308, -0.0, 5e-324, True, False, None),
    *([], {}, [1, 2], ["3"], {"lora": "x", "on": True}, ["3", 0], ["4", 99], ["4", -1]),
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_hostile_values_stay_values(value: Any) -> None:
    """Whatever stands in a graph, the proposal passes the check or the graph is refused with a sentence."""
    for name in ("sd15", "flux_dev", "lora_chain", "wan_i2v", "joined_strings", "efficiency"):
        graph = copy.deepcopy(GRAPHS[name])
        for node in graph.values():
            node["inputs"] = {key: one if is_link(one) else value for key, one in node["inputs"].items()}
        judge(graph)


TITLES = ["Status", "Job ID", "prompt", "Seed", "Model", "\x00", "a" * 500, "🦊", "", "Prompt\nStatus", 7, None, "text"]


@pytest.mark.parametrize("title", TITLES, ids=repr)
def test_hostile_titles_name_nothing_wrong(title: Any) -> None:
    """A title that is a column of the sheet's, another parameter's word, or no text, never becomes a header."""
    graph = copy.deepcopy(GRAPHS["joined_strings"])
    for node in graph.values():
        node["_meta"] = {"title": title}
    proposal = infer(graph)
    assert {"seed", "width", "height"} <= set(places(proposal))
    parsed(proposal, graph)


words = st.sampled_from(
    [
        *(
            "positive",
            "negative",
            "text",
            "prompt",
            "seed",
            "steps",
            "cfg",
            "model",
            "clip",
            "samples",
            "pixels",
            "image",
        ),
        *("width", "height", "lora_name", "string_a", "value", "noise", "guider", "sigmas", "latent_image", "fps"),
        *("filename_prefix", "strength", "control_net", "length", "denoise", "vae_name", "lora_1", "start_at_step"),
    ]
)
kinds = st.sampled_from(
    ["KSampler", "CLIPTextEncode", "LoadImage", "LoraLoader", "PrimitiveInt", "EmptyLatentImage", "X", "SaveImage"]
)
ids = st.sampled_from(["1", "2", "3", "4:1", "é"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = (
    scalars | st.tuples(ids, st.integers(-1, 3)).map(list) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)
)
nodes = st.fixed_dictionaries(
    {
        "class_type": kinds | st.text(max_size=8),
        "inputs": st.dictionaries(words | st.text(max_size=5), values, max_size=6),
    },
    optional={"_meta": st.fixed_dictionaries({"title": scalars}) | scalars},
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@settings(max_examples=examples(800), deadline=None)
@given(st.dictionaries(ids, nodes, max_size=5))
def test_any_graph_is_proposed_for_or_refused(graph: dict[str, Any]) -> None:
    """Graphs of likely words in unlikely order: a proposal that passes the check, or a sentence."""
    judge(graph)


@settings(max_examples=examples(500), deadline=None)
@given(anything)
def test_any_json_is_proposed_for_or_refused(document: Any) -> None:
    """JSON of any shape: a proposal or a sentence, never another error."""
    judge(document)


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_a_graph_that_was_tampered_with_is_read_or_refused(data: st.DataObject) -> None:
    """Real graphs with one value changed to anything."""
    graph = copy.deepcopy(GRAPHS[data.draw(st.sampled_from(sorted(GRAPHS)))])
    node = graph[data.draw(st.sampled_from(sorted(graph)))]
    if node["inputs"]:
        node["inputs"][data.draw(st.sampled_from(sorted(node["inputs"])))] = data.draw(values)
    judge(graph)
