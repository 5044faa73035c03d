"""Judge what the worker finds among a prompt's outputs, on ComfyUI's recorded answers and on odd ones."""

from __future__ import annotations

from typing import Any

import pytest

from worker.comfy.outputs import TEXTS_MOST, TEXTS_MOST_BYTES, OutputFile, OutputText, files_of, strays_of, texts_of


def names(outputs: dict[str, Any]) -> list[str]:
    return [file.filename for file in files_of(outputs)]


@pytest.mark.parametrize("key", ["images", "gifs", "audio", "latents", "files", "3d", "a_images", "whatever"])
def test_files_are_found_under_every_key(key: str) -> None:
    """No node's key is special: what counts is the filename. A full path and other entries are ignored."""
    told = {"filename": "x.bin", "subfolder": "m", "type": "output", "fullpath": "/opt/x.bin", "id": "asset-1"}
    assert files_of({"s": {key: [told]}}) == (OutputFile("s", "x.bin", "m", "output"),)


@pytest.mark.parametrize(
    "value",
    [
        {"filename": "x.glb"},
        [{"filename": "x.glb", "subfolder": None, "type": None}],
        [[{"filename": "x.glb"}], None, True, 3, "y.png", {"filename": 7}],
    ],
)
def test_odd_shapes_are_read(value: object) -> None:
    """A lone dictionary, a list in a list, a missing subfolder or type: the file is in the output folder's top."""
    assert files_of({"s": {"3d": value}}) == (OutputFile("s", "x.glb", "", "output"),)


def test_an_endless_nest_of_lists_is_left_alone() -> None:
    """Three levels are enough for every known node."""
    nest: object = {"filename": "x.png"}
    for _ in range(5000):
        nest = [nest]
    assert files_of({"s": {"images": nest}, "t": {"images": [{"filename": "y.png"}]}})[0].filename == "y.png"


def test_a_path_in_the_name_becomes_the_subfolder() -> None:
    """ComfyUI's /view takes the last part of a name only; the rest must come as the subfolder."""
    assert files_of({"s": {"files": [{"filename": "a/b/x.txt"}]}})[0] == OutputFile("s", "x.txt", "a/b", "output")


def test_preview3d_names_its_model_as_a_string() -> None:
    """`result` holds path, camera and background; only a path with a 3D ending is a file, in the output folder."""
    assert files_of({"s": {"result": ["3d/m.glb", None, "camera.png"]}}) == (OutputFile("s", "m.glb", "3d", "output"),)
    assert files_of({"s": {"result": ["done", "x.png"]}}) == ()


def test_a_model_that_is_saved_and_shown_is_one_file() -> None:
    """Preview3D shows what SaveGLB reports, also when it is listed first; it is not delivered twice."""
    saved = {"3d": [{"filename": "m.glb", "subfolder": "3d", "type": "output"}]}
    shown = {"result": ["3d/m.glb", None, None]}
    assert files_of({"1": shown, "2": saved}) == (OutputFile("2", "m.glb", "3d", "output"),)


@pytest.mark.parametrize("path", ["/etc/x.glb", "../x.glb", "a/../../x.glb", "C:/x.glb", "\\\\host\\x.glb"])
def test_a_shown_path_that_leads_out_is_a_stray(path: str) -> None:
    """Strings under `result` are judged like any reported file."""
    outputs = {"s": {"result": [path]}}
    assert (files_of(outputs), strays_of(outputs)) == ((), 1)


def test_texts_become_files_when_their_node_has_none() -> None:
    """PreviewAny and ShowText give strings; SaveText's are in its file already."""
    saved = {"text": ["hello"], "files": [{"filename": "t.txt"}]}
    outputs = {"1": {"text": ["hello 世界", "", None, 5]}, "2": saved, "3": {"text": "alone"}, "4": None}
    assert texts_of(outputs) == (OutputText("1", "hello 世界"), OutputText("3", "alone"))
    assert names(outputs) == ["t.txt"]


def test_texts_are_bounded() -> None:
    """1 MB for all together, cut between characters, and a hundred of them."""
    long = "é" * (TEXTS_MOST_BYTES // 2 - 1)
    first, second = texts_of({"1": {"text": [long, "ab€", "no more"]}})
    assert (first.text, second.text) == (long, "ab")
    assert len(texts_of({"1": {"text": ["x"] * 500}})) == TEXTS_MOST


def test_half_a_character_does_no_harm() -> None:
    """JSON may hold a lone surrogate, which no file can."""
    (text,) = texts_of({"1": {"text": ["a\ud800b"]}})
    assert text.text == "a?b"


def test_previews_count_only_when_nothing_else_was_made() -> None:
    """A text is something; a comparison of pictures alone is delivered."""
    compared = {"s": {name: [{"filename": f"{name}.png", "type": "temp"}] for name in ("a_images", "b_images")}}
    assert names(compared) == ["a_images.png", "b_images.png"]
    assert names(compared | {"t": {"text": ["hello"]}}) == []
    assert names(compared | {"t": {"images": [{"filename": "kept.png", "type": "output"}]}}) == ["kept.png"]


def test_a_text_s_name_is_clean() -> None:
    """The node's id may be anything."""
    assert OutputText("57:9", "x").display_name == "text-579.txt"
    assert OutputText("../\n", "x").display_name == "text-.txt"
