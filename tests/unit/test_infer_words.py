"""Judge which words are taken for a prompt, and which titles for a label."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from chalicelib.contract.infer import infer
from chalicelib.contract.infer.titles import slug, title_of

GRAPHS = Path(__file__).parents[1] / "data" / "graphs"


def graph(name: str) -> dict[str, Any]:
    """Give one of the graphs, to be changed."""
    return copy.deepcopy(json.loads((GRAPHS / f"{name}.json").read_text()))


def test_one_encoder_for_both_sides_is_the_prompt_alone() -> None:
    """Flux graphs feed the same words to both sides: they are no negative prompt, and there was no choice."""
    flux = graph("sd15")
    flux["3"]["inputs"]["negative"] = ["6", 0]
    proposal = infer(flux)
    assert proposal.manifest["parameters"]["prompt"]["sets"] == [{"node": "6", "input": "text"}]
    assert "negative_prompt" not in proposal.manifest["parameters"]
    assert proposal.notes == ()


def test_a_text_beside_two_sides_is_no_prompt() -> None:
    """A node on the way that has sides of its own may hold other texts, the name of a preset say."""
    control = graph("controlnet")
    control["7"]["inputs"]["text"] = "canny, the fast one"
    assert infer(control).manifest["parameters"].keys() == infer(graph("controlnet")).manifest["parameters"].keys()


def test_a_size_that_a_preset_decides_is_not_offered() -> None:
    """Easy-Use reads width and height only when its resolution says custom; the note says how to have them."""
    easy = graph("easy_use")
    easy["9"]["inputs"]["resolution"] = "1024 x 1024 (square)"
    proposal = infer(easy)
    assert not {"width", "height"} & proposal.manifest["parameters"].keys()
    assert [note for note in proposal.notes if "takes it from its resolution" in note]


def test_bounds_of_a_server_are_kept() -> None:
    """What object_info says is the least and the most bounds what is proposed."""
    info = {"KSampler": {"input": {"required": {"steps": ["INT", {"min": 5, "max": 40}]}}}}
    steps = infer(graph("sd15"), object_info=info).manifest["parameters"]["steps"]
    assert (steps["min"], steps["max"], steps["default"]) == (5, 40, 20)


@pytest.mark.parametrize(
    ("kind", "title", "label"),
    [
        ("CLIPTextEncode", "CLIP Text Encode (Prompt)", ""),
        ("CLIPTextEncode", "CLIP文本编码器", ""),
        ("CLIPTextEncode", "👉 Positive Prompt 👈", "Positive Prompt"),
        ("CLIPTextEncode", "CLIP Text Encode (Negative Prompt)", ""),
        ("StringConcatenate", "Concatenate Text", ""),
        ("StringConcatenate", "My words", "My words"),
        ("LoadImage", "Load Image", ""),
        ("LoadImage", "加载图像", ""),
        ("LoadImage", "Load the face here", "Load the face here"),
        ("MZ_ChatGLM3", "MinusZone - ChatGLM3TextEncode", ""),
        ("PrimitiveInt", "Int", ""),
        ("X", "a" * 500, "a" * 60),
        ("X", "line\nbreak\x00", "line break"),
        ("X", "***", ""),
    ],
)
def test_a_title_counts_when_it_says_more_than_the_class(kind: str, title: str, label: str) -> None:
    """Display names, in English or translated, are no labels; what a person wrote is one, without its ornaments."""
    assert title_of({"class_type": kind, "_meta": {"title": title}}) == label


def test_a_display_name_is_known_from_object_info() -> None:
    """A class whose display name has nothing to do with its own is recognised where ComfyUI tells."""
    node = {"class_type": "MysteryNode", "_meta": {"title": "Wonder Box"}}
    assert title_of(node) == "Wonder Box"
    assert title_of(node, {"display_name": "Wonder Box"}) == ""


@pytest.mark.parametrize(
    ("label", "name"), [("My Subject!", "my_subject"), ("3rd try", "rd_try"), ("正面", ""), ("é", "")]
)
def test_a_name_is_made_of_a_label(label: str, name: str) -> None:
    """Lower case, ASCII, an underscore for the rest; nothing where nothing is left."""
    assert slug(label) == name
