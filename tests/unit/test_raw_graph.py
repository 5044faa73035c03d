"""What a program's own graph may not do, and how it brings its files."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import media_of
from chalicelib.contract.manifest import from_document, to_document
from chalicelib.forbidden_nodes import why_forbidden
from chalicelib.raw_graph import MAX_NODES, RawGraph, judge_graph

SHA = "ab" * 32
GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": {"__type": "core/ASSET", "info": {"id": "asset-1"}}}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}, "_meta": {"title": "S"}},
}


def judge(graph: object, **options: Any) -> RawGraph:
    return judge_graph(graph, find_asset={"asset-1": SHA}.get, **options)


def refusal(graph: object, **options: Any) -> Rejected:
    with pytest.raises(Rejected) as no:
        judge(graph, **options)
    return no.value


def with_input(value: object, node_class: str = "LoadImage", name: str = "image") -> dict[str, Any]:
    return {**GRAPH, "1": {"class_type": node_class, "inputs": {name: value}}}


def test_an_asset_becomes_an_input_file() -> None:
    """The reference is taken out of the graph; the value says where the file comes from, as workers read it."""
    before = copy.deepcopy(GRAPH)
    raw = judge(GRAPH)
    assert before == GRAPH, "the program's own graph is left alone"
    assert raw.inputs == {"file_1": f"asset:{SHA}"} and raw.workflow.graph["1"]["inputs"]["image"] == ""
    assert raw.workflow.graph["2"] == GRAPH["2"]
    [(parameter, source)] = media_of(raw.workflow, raw.inputs)
    assert (parameter.type, source.kind, source.place) == ("image", "asset", SHA)
    assert from_document(to_document(raw.workflow)).hash == raw.workflow.hash


def test_two_files_of_one_graph_share_a_version() -> None:
    """Another asset in the same place is another input, not another workflow."""
    other = judge_graph(GRAPH, find_asset=lambda _: "cd" * 32)
    assert other.workflow.hash == judge(GRAPH).workflow.hash and other.inputs != judge(GRAPH).inputs


@pytest.mark.parametrize(
    ("node_class", "name", "kind"),
    [
        ("LoadImage", "image", "image"),
        ("LoadImageMask", "image", "image"),
        ("LoadAudio", "audio", "audio"),
        ("LoadVideo", "file", "video"),
        ("VHS_LoadVideo", "video", "video"),
    ],
)
def test_a_file_may_also_be_an_address(node_class: str, name: str, kind: str) -> None:
    """A loader takes https addresses, and the kind that its worker checks is that of the loader."""
    raw = judge(with_input("https://example.com/a", node_class, name))
    assert raw.workflow.parameters[0].type == kind and raw.inputs == {"file_1": "https://example.com/a"}


@pytest.mark.parametrize(
    "value",
    [
        {"__type": "core/ASSET", "info": {"id": "another's"}},
        {"__type": "core/ASSET", "info": {}},
        {"__type": "core/ASSET"},
        {"__type": "core/ASSET", "info": {"id": 7}},
        [{"__type": "core/ASSET", "info": {"id": "asset-1"}}],
        {"deep": {"__type": "core/ASSET", "info": {"id": "asset-1"}}},
    ],
)
def test_an_asset_that_is_none_of_ours_is_missing(value: object) -> None:
    """Also one that is malformed, or hidden in a list: nothing of it reaches ComfyUI."""
    assert refusal(with_input(value)).code == "missing_asset"


@pytest.mark.parametrize(
    "value",
    [
        "example.png",
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\secret.png",
        "x.png [output]",
        "x.png [temp]",
        "cs/another-job/1/image.png",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "https://user:secret@example.com/x",
        "asset:short",
        "",
        ["9", 0],
        7,
        None,
    ],
)
def test_a_loader_reads_no_file_of_the_server(value: object) -> None:
    """Neither by name nor by a link from a text node: what lies there is somebody else's."""
    graph = {**with_input(value), "9": {"class_type": "PrimitiveString", "inputs": {"value": "x"}}}
    assert refusal(graph).code == "forbidden_value"


@pytest.mark.parametrize(
    "value",
    [
        "../x",
        "a/../../x",
        "..\\x",
        "/etc/passwd",
        "\\\\server\\share",
        "~/x",
        "d:\\x",
        "FILE:///x",
        "name [output]",
        "a\x00b",
        {"deep": ["../x"]},
        {"../x": 1},
        [["../../x"]],
    ],
)
@pytest.mark.parametrize("name", ["filename_prefix", "ckpt_name", "text"])
def test_no_value_leads_out_of_its_folder(name: str, value: object) -> None:
    """Whatever the node: paths that climb or begin at the root, other folders' marks, control characters."""
    graph = {**GRAPH, "3": {"class_type": "AnyNode", "inputs": {name: value}}}
    no = refusal(graph)
    assert no.code == "forbidden_value" and "node_errors" in (no.details or {}), no.message


@pytest.mark.parametrize(
    "text",
    [
        "a fox, 1/2 portrait and/or landscape",
        "wait... what? ../ no",
        "/imagine a fox",
        "(word:1.2), [a:b:0.5] <lora:x:1>\n\ttabs",
        "ratio 16:9, C: the language",
        "ein Fuchs 🦊 雪",
        "see [output] below",
        r"\(smile\), 1girl",
        "// comment",
        "/imagine a fox and/or hare",
        "~50/50 split",
    ],
)
def test_a_prompt_is_left_alone(text: str) -> None:
    """What people write into prompts is no path."""
    raw = judge({**GRAPH, "3": {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["1", 0]}}})
    assert raw.workflow.graph["3"]["inputs"]["text"] == text


@pytest.mark.parametrize(
    ("node_class", "name", "text"),
    [
        ("RegexReplace", "regex_pattern", r"\d+"),
        ("StringConcatenate", "delimiter", "/"),
        ("PrimitiveString", "value", "/"),
    ],
)
def test_nodes_for_words_take_what_words_are_made_of(node_class: str, name: str, text: str) -> None:
    """A pattern or a slash is no path there; a whole path is one there, too."""
    judge({**GRAPH, "3": {"class_type": node_class, "inputs": {name: text}}})
    no = refusal({**GRAPH, "3": {"class_type": node_class, "inputs": {name: "/etc/passwd"}}})
    assert no.code == "forbidden_value"


@pytest.mark.parametrize(
    "node_class",
    [
        *("KlingTextToVideoNode", "OpenAIDalle3", "GeminiNode", "FluxProUltraImageNode", "WanTextToVideoApi"),
        *("LoadImageFromURL", "SendImageWebSocket", "DownloadAndLoadFlorence2Model", "ImageToWebhook", "SaveImageToS3"),
        *("Image Save", "Load Image Batch", "Save Text File", "VHS_LoadVideoPath", "SaveImageDataSetToFolder"),
        *("LoadImageOutput", "LoadLatent", "Load3D", "LoadImageFromPath", "easy saveText", "CheckpointSave"),
        *("ExecutePythonCode", "ShellCommand", "IDENode", "EvaluateExpression", "TrainLoraNode", "LoraSave"),
    ],
)
def test_a_node_that_leaves_the_machine_or_its_folder_is_forbidden(node_class: str) -> None:
    """It is named with what it does, even when a worker has it."""
    no = refusal({**GRAPH, "5": {"class_type": node_class, "inputs": {}}}, known_classes={node_class, "LoadImage"})
    assert no.code == "forbidden_node" and node_class in no.message and "5" in str(no.details)


@pytest.mark.parametrize(
    "node_class",
    [
        *("KSampler", "KSamplerAdvanced", "SaveImage", "SaveVideo", "SaveAudioMP3", "VAEDecode", "LoraLoader"),
        *("VHS_VideoCombine", "VHS_LoadVideo", "UltimateSDUpscale", "FaceDetailer", "IPAdapterUnifiedLoader"),
        *(
            "CosmosImageToVideoLatent",
            "WanImageToVideo",
            "LTXVConditioning",
            "ReverseImageBatch",
            "TripoSplatConditioning",
        ),
        *("ControlNetApplyAdvanced", "ImpactWildcardProcessor", "Text Concatenate", "ExpressionEditor", "VideoHelper"),
    ],
)
def test_ordinary_nodes_are_not_taken_for_dangerous_ones(node_class: str) -> None:
    """Names that only sound like one of those."""
    assert why_forbidden(node_class) == ""


def test_only_nodes_that_a_live_worker_has_are_taken() -> None:
    """With nobody alive the worker that takes the job refuses what it does not know."""
    assert refusal(GRAPH, known_classes={"LoadImage"}).code == "invalid_workflow"
    assert judge(GRAPH, known_classes={"LoadImage", "SaveImage"}) == judge(GRAPH)


def test_a_graph_has_two_hundred_nodes_at_most() -> None:
    """Beyond it is refused, with the count."""
    node: Mapping[str, Any] = {"class_type": "EmptyImage", "inputs": {}}
    judge({str(number): node for number in range(MAX_NODES)})
    assert "201 nodes" in refusal({str(number): node for number in range(MAX_NODES + 1)}).message


def test_all_faults_are_told_by_node() -> None:
    """The sentence tells the first one, the details all (twenty at most)."""
    bad = {str(number): {"class_type": "CheckpointSave", "inputs": {}} for number in range(30)}
    details = refusal(bad).details
    assert details is not None
    errors = details["node_errors"]
    assert isinstance(errors, dict) and len(errors) == 20
