"""Judge how cells become values where only one workflow of a kind shows it (see test_inputs_cells)."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.contract.errors import Rejected
from chalicelib.contract.inputs import resolve_inputs
from chalicelib.contract.manifest import Workflow, parse_workflow
from chalicelib.contract.values import MAX_SEED

KINDS: dict[str, dict[str, Any]] = {
    "string": {"default": "a", "max_length": 5},
    "integer": {"default": 1, "min": -5, "max": 5},
    "float": {"default": 1.5, "min": -5, "max": 5},
    "boolean": {"default": True},
    "choice": {"default": "One", "choices": ["One", "two_2"]},
    "seed": {"default": "random"},
    "color": {"default": "teal"},
    "model": {"default": "m.ckpt"},
    "lora": {"default": "None"},
    "vae": {"default": "v.ckpt"},
    "clip": {"default": "c.ckpt"},
    "unet": {"default": "u.ckpt"},
}
"""One parameter of every type, named as its type."""


def every_kind() -> Workflow:
    """Make a workflow with a parameter of every type."""
    inputs = dict.fromkeys(KINDS, "") | {"model_in": ["2", 0]}
    graph = {
        "1": {"class_type": "SaveImage", "inputs": {**inputs, "filename_prefix": "x"}},
        "2": {"class_type": "LoraLoaderModelOnly", "inputs": {"model": ["3", 0], "lora_name": ""}},
        "3": {"class_type": "UNETLoader", "inputs": {}},
    }
    places = {kind: {"node": "1", "input": kind} for kind in KINDS} | {"lora": {"node": "2", "input": "lora_name"}}
    parameters = {kind: {"type": kind, "sets": places[kind], **fields} for kind, fields in KINDS.items()}
    return parse_workflow("kinds", {"name": "Kinds", "parameters": parameters}, {}, graph, file="kinds.yaml")


WORKFLOW = every_kind()


def resolve(**cells: object) -> dict[str, Any]:
    """Resolve a row of *cells*; a drawn seed is 42."""
    return dict(resolve_inputs(WORKFLOW, cells, pick_seed=lambda: 42).inputs)


def test_a_blank_row_is_all_defaults_of_the_right_type() -> None:
    """Every type has a default that the node takes as it is."""
    assert repr(list(resolve().items())) == repr(
        [
            ("string", "a"),
            ("integer", 1),
            ("float", 1.5),
            ("boolean", True),
            ("choice", "One"),
            ("seed", 42),
            ("color", 0x00897B),
            ("model", "m.ckpt"),
            ("lora", None),
            ("vae", "v.ckpt"),
            ("clip", "c.ckpt"),
            ("unet", "u.ckpt"),
        ]
    )


@pytest.mark.parametrize("cell", [True, 1, 1.0, "TRUE", "yes", " X ", "on", "1"])
def test_yes_may_be_said_in_many_ways(cell: object) -> None:
    """A checkbox, a number or a word."""
    assert resolve(Boolean=cell)["boolean"] is True


@pytest.mark.parametrize("cell", [False, 0, 0.0, "false", "No", "off", "0"])
def test_no_may_be_said_in_many_ways(cell: object) -> None:
    """An empty checkbox is no, and not blank."""
    assert resolve(Boolean=cell)["boolean"] is False


@pytest.mark.parametrize(
    ("kind", "cell", "sentence"),
    [
        ("string", "abcdef", "String has 6 characters; 5 are allowed."),
        ("integer", -6, 'Integer must be a whole number from -5 to 5, not "-6".'),
        ("float", "-5.1", 'Float must be a number from -5 to 5, not "-5.1".'),
        ("boolean", "maybe", 'Boolean must be yes or no, not "maybe".'),
        ("boolean", 2, 'Boolean must be yes or no, not "2".'),
        ("choice", "tow-2", 'Choice cannot be "tow-2": did you mean two_2?'),
        ("choice", "zzz", 'Choice cannot be "zzz": choose one of One, two_2.'),
        ("seed", "abc", f'Seed must be a whole number from 0 to {MAX_SEED}, not "abc".'),
        ("seed", 10**5000, f'Seed must be a whole number from 0 to {MAX_SEED}, not "a very large number".'),
        ("vae", "../v", 'Vae must be the name of a vae, not "../v".'),
        ("clip", "/v", 'Clip must be the name of a clip, not "/v".'),
        ("unet", "C:v", 'Unet must be the name of a unet, not "C:v".'),
    ],
    ids=range(12),
)
def test_each_type_says_what_it_wants(kind: str, cell: object, sentence: str) -> None:
    """A wrong cell is answered with its column, what is allowed there and what stands there."""
    with pytest.raises(Rejected) as refused:
        resolve(**{kind: cell})
    assert (refused.value.code, refused.value.message) == ("invalid_input", sentence)


def test_every_column_of_a_row_may_be_wrong_at_once() -> None:
    """All faults stand in one answer, in the order of the manifest."""
    with pytest.raises(Rejected) as refused:
        resolve(**{kind: ["4", 0] for kind in reversed(KINDS)})
    assert refused.value.message == " ".join(f"{kind.capitalize()} must be a plain value." for kind in KINDS)


def test_what_stands_in_a_cell_is_shown_short_and_on_one_line() -> None:
    """A novel in a number's cell does not fill the Error cell."""
    with pytest.raises(Rejected) as refused:
        resolve(Integer="one\ntwo\u2028three four five six seven " * 1000)
    assert refused.value.message.endswith('not "one two three four five six s…".')


def test_a_seed_is_drawn_only_where_one_is_wanted() -> None:
    """A row that names its seed draws none: whoever counts draws sees nothing."""
    drawn = []

    def pick() -> int:
        drawn.append(1)
        return 42

    assert resolve_inputs(WORKFLOW, {"seed": 7}, pick_seed=pick).inputs["seed"] == 7
    assert not drawn
