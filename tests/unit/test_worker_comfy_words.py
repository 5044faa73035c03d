"""Judge how ComfyUI's words are read: events, history, outputs, and the sentences about what went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worker.comfy.faults import GraphRefused, failure, nearest, one_line, refusal
from worker.comfy.history import Ending, Entry, read_entry
from worker.comfy.outputs import OutputFile, files_of, is_contained, strays_of
from worker.comfy.track import Course, News, advance, classes_of, read_frame

GRAPH: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {}},
    "2": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Draw /home/me/x"}},
    "3": {"class_type": "SaveImage", "inputs": {}},
}


def news(kind: str, **data: object) -> str:
    return json.dumps({"type": kind, "data": {"prompt_id": "p", **data}})


def followed(*frames: str) -> Course:
    course = Course(classes_of(GRAPH))
    for frame in frames:
        told = read_frame(frame)
        assert told is not None
        course = advance(course, told)
    return course


def test_progress_counts_nodes_and_steps() -> None:
    """Every node counts the same; the running one by its steps; cached ones are done."""
    course = followed(
        news("execution_start"),
        news("execution_cached", nodes=["1"]),
        news("executing", node="2"),
        news("progress", node="2", value=5, max=20),
    )
    progress = course.progress()
    assert progress is not None
    assert (progress.fraction, progress.node_class, progress.step, progress.steps) == (0.2727, "KSampler", 5, 20)


def test_only_executing_null_ends_the_watch() -> None:
    """Trap 2 and 3: neither execution_error nor execution_success says that the history can be read."""
    course = followed(news("execution_start"), news("execution_error", node_id="2"), news("execution_success"))
    assert not course.is_over
    assert advance(course, News("executing", "p", {"node": None})).is_over


@pytest.mark.parametrize(
    "frame",
    [b"\x00\x00\x00\x01image", '{"type": "progress_state", "data": {', "no json", "[1]", '{"type": 3}', "[" * 100_000],
)
def test_frames_that_nobody_needs_are_skipped(frame: str | bytes) -> None:
    """Binary previews, progress_state (unparsed) and nonsense are no news."""
    assert read_frame(frame) is None


def test_history_of_a_server_without_status_means_success() -> None:
    """Before January 2024 the entry's presence was all; nodes may report anything."""
    assert read_entry({"outputs": {"9": {}}}).ending is Ending.SUCCESS
    odd = read_entry({"outputs": [], "status": {"status_str": "error", "messages": [["x"], None, ["a", "b"]]}})
    assert (odd.ending, odd.outputs, odd.fault) == (Ending.ERROR, {}, {})


RECORDED = Path(__file__).resolve().parents[1] / "data" / "comfyui"


def recorded(name: str) -> dict[str, Any]:
    """Read a recorded history entry (real ComfyUI 0.28.0)."""
    path = next(RECORDED.rglob(f"{name}.json"))
    answer = json.loads(path.read_text())["response"]["json"]
    entry: dict[str, Any] = next(iter(answer.values()))
    return entry


def test_recorded_endings_are_told_apart() -> None:
    """Success, error and interruption as a real server wrote them."""
    assert read_entry(recorded("history_id_success")).ending is Ending.SUCCESS
    assert read_entry(recorded("history_id_success")).execution_ms == 22
    assert read_entry(recorded("history_id_interrupted")).ending is Ending.INTERRUPTED
    assert read_entry(recorded("history_id_error")).ending is Ending.ERROR


def test_a_blocked_branch_is_no_failure() -> None:
    """Trap 2: history says success after an execution_error event of an ExecutionBlocker."""
    assert read_entry(recorded("history_id_execution_blocked")).ending is Ending.SUCCESS


def test_outputs_come_under_any_key_among_anything() -> None:
    """Dictionaries with a filename count, wherever they are; each file once; temp only when nothing else was made."""
    kept = {"filename": "a.mp4", "subfolder": "m", "type": "output", "fullpath": "/opt/out/a.mp4"}
    outputs = {
        "4": {"gifs": [kept], "animated": [True], "text": ["x"], "3d": None, "flag": False},
        "5": {"images": [kept, {"filename": "t.png", "type": "temp"}, {"filename": 3}], "result": ["m.glb", None]},
        "6": None,
    }
    assert files_of(outputs) == (OutputFile("4", "a.mp4", "m", "output"), OutputFile("5", "a.mp4", "m", "output"))
    assert files_of({"5": {"images": [{"filename": "t.png", "type": "temp"}]}})[0].folder == "temp"
    assert files_of({"5": {"images": [{"filename": "u.png", "type": "input"}]}}) == ()


@pytest.mark.parametrize(
    ("filename", "subfolder"),
    [
        ("../x", ""),
        ("/etc/passwd", ""),
        ("x", "/etc"),
        ("x", "a/../.."),
        ("C:\\x", ""),
        ("..\\x", ""),
        ("", "a"),
        ("\0", ""),
    ],
)
def test_paths_that_lead_out_are_left_out(filename: str, subfolder: str) -> None:
    """A custom node may report any path; none outside ComfyUI's folders is asked for."""
    file = OutputFile("1", filename, subfolder, "output")
    assert not is_contained(file)
    outputs = {"1": {"images": [{"filename": filename, "subfolder": subfolder, "type": "output"}]}}
    assert files_of(outputs) == ()
    assert strays_of(outputs) == 1


def test_display_names_are_clean() -> None:
    """A name for people is the last part, without control characters, and not endless."""
    assert OutputFile("1", "a/b\\c\n\x1b.png", "", "output").display_name == "c.png"
    assert len(OutputFile("1", "x" * 500 + ".png", "", "output").display_name) == 120


def answer(kind: str, *, config: object = None, value: object = None, details: str = "") -> GraphRefused:
    extra = {"input_name": "steps", "input_config": config, "received_value": value}
    fault = {"type": kind, "message": "Message", "details": details, "extra_info": extra}
    return refusal({"node_errors": {"2": {"class_type": "KSampler", "errors": [fault]}}}, GRAPH)


@pytest.mark.parametrize(
    ("kind", "config", "value", "text"),
    [
        ("value_smaller_than_min", ["INT", {"min": 1}], -5, 'steps of KSampler "Draw …" must be at least 1, not -5.'),
        ("value_bigger_than_max", ["INT", {"max": 9}], 10, 'steps of KSampler "Draw …" must be at most 9, not 10.'),
        ("invalid_input_type", ["INT", {}], "abc", 'steps of KSampler "Draw …" must be INT, not "abc".'),
        ("required_input_missing", None, None, 'steps of KSampler "Draw …" is required and was not given.'),
        ("value_not_in_list", [["a", "b"], {}], "c", 'steps of KSampler "Draw …" cannot be "c".'),
    ],
)
def test_a_refusal_names_node_input_value_and_what_is_allowed(
    kind: str, config: object, value: object, text: str
) -> None:
    """One sentence a person can act on, whatever ComfyUI's word for it."""
    error = answer(kind, config=config, value=value).error
    assert (error.text, error.node, error.node_class, error.code) == (text, "2", "KSampler", "invalid_graph")


def test_a_missing_model_names_the_nearest_ones() -> None:
    """A model file that is not there has its own code and the most similar names as hint."""
    names = ["sd_xl_base_1.0.safetensors", "flux/flux1-schnell.safetensors"]
    error = answer("value_not_in_list", config=["COMBO", {"options": names}], value="sdxl_base.safetensors").error
    assert error.code == "missing_model"
    assert error.text == 'This ComfyUI has no file "sdxl_base.safetensors" (steps of KSampler "Draw …").'
    assert error.hint == "Nearest: sd_xl_base_1.0.safetensors."
    assert nearest("Flux1-Schnell.safetensors", names) == ["flux/flux1-schnell.safetensors"]


def test_a_list_too_long_to_be_told_is_to_be_asked_for() -> None:
    """ComfyUI leaves out lists of more than 20 values: the refusal says what to look up."""
    assert answer("value_not_in_list", value="x.ckpt").unlisted == ("KSampler", "steps", "x.ckpt")


def test_missing_nodes_and_empty_graphs_have_their_sentences() -> None:
    """missing_node_type (0.12+) and prompt_no_outputs are recognised."""
    extra = {"node_id": "2", "class_type": "NoSuchNode", "node_title": "T"}
    error = {"type": "missing_node_type", "message": "Node 'T' not found.", "extra_info": extra}
    refused = refusal({"error": error, "node_errors": {}}, GRAPH).error
    assert (refused.code, refused.text) == ("missing_node", 'This ComfyUI has no node "NoSuchNode".')
    assert refusal({"error": {"type": "prompt_no_outputs"}, "node_errors": {}}, GRAPH).error.code == "no_output"
    assert refusal({"error": "Prompt has no outputs"}, GRAPH).error.code == "refused_by_comfyui"


def test_run_time_errors_show_no_path_no_traceback_and_one_line() -> None:
    """What ComfyUI says of an exception is cut to one clean line of at most 200 characters."""
    error = failure(read_entry(recorded("history_id_error")), {})
    assert error.text == "SaveImage failed: ERROR: Saving image outside the output folder is not allowed."
    long = Entry(Ending.ERROR, {}, {"node_type": "X", "exception_message": "a\n" + "b" * 900}, None)
    assert failure(long, {}).text == "X failed: a."
    assert len(one_line("x" * 900)) == 200


def test_out_of_memory_is_known_by_type_or_words() -> None:
    """Both torch's exception and its text lead to the code with the hint about size."""
    error = failure(read_entry(recorded("history_id_oom")), {})
    assert (error.code, error.node) == ("out_of_memory", "2")
    assert "smaller" in error.hint


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at /opt/comfy/base/x.py line 3", "at … line 3"),
        (r"file C:\Users\me\a.png gone", "file … gone"),
        ("open('../../secret/x')", "open('…')"),
        ("1/2 and a/b stay, 50 % too", "1/2 and a/b stay, 50 % too"),
        ("tab\there\nnew\x07line", "tab here new line"),
    ],
)
def test_paths_and_control_characters_do_not_get_out(text: str, clean: str) -> None:
    """Server paths are nobody's business; a cell is one line."""
    assert one_line(text) == clean


def test_steps_tell_what_is_left_also_between_two_of_them() -> None:
    """Ten steps of two seconds: after the fourth 12 s are left, a second later 11; a step that is late counts up."""

    def told(kind: str, **data: object) -> News:
        heard = read_frame(news(kind, **data))
        assert heard is not None
        return heard

    course = Course({"2": "KSampler"}, node="2", is_started=True)
    for step in range(1, 5):
        course = advance(course, told("progress", node="2", value=step, max=10), now=2.0 * step)
    assert course.left_in_node_s(8.0) == 12
    assert course.left_in_node_s(9.0) == 11
    assert course.left_in_node_s(8.0 + 12 + 5) == 5
    first = advance(Course({"2": "KSampler"}, node="2"), told("progress", node="2", value=1, max=10), now=1.0)
    assert first.left_in_node_s(1.0) is None
    assert advance(course, told("executing", node="3")).left_in_node_s(9.0) is None
    sampled = advance(course, told("progress", node="2", value=10, max=10), now=20.0)
    decoding = advance(sampled, told("executing", node="3"), now=20.0)
    assert decoding.left_in_node_s(20.5) == 0.5, "after a sampler's last step the end is near"
