"""Judge what rows ask for: cells become values, or one sentence says what is wrong with them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.errors import Rejected
from chalicelib.contract.inputs import resolve_inputs, unknown_workflow
from chalicelib.contract.manifest import MAX_COST, Workflow
from chalicelib.contract.values import MAX_SEED
from infra.workflow_files import read_folder

WORKFLOWS = {workflow.id: workflow for workflow in read_folder()}
SDXL = WORKFLOWS["txt2img-sdxl"]
OPS = WORKFLOWS["image-ops"]


def resolve(workflow: Workflow = SDXL, **cells: object) -> dict[str, Any]:
    """Resolve a row with a prompt and *cells*; a drawn seed is 42."""
    return dict(resolve_inputs(workflow, {"Prompt": "a fox", **cells}, pick_seed=lambda: 42).inputs)


def refusal(given: dict[str, object], workflow: Workflow = SDXL) -> str:
    """Give the sentence of what must be refused."""
    with pytest.raises(Rejected) as refused:
        resolve_inputs(workflow, {"Prompt": "a fox", **given}, pick_seed=lambda: 42)
    assert refused.value.code == "invalid_input"
    return refused.value.message


@pytest.mark.parametrize("cell", [20, 20.0, "20", " 20 ", "20.0", "+20"])
def test_a_whole_number_may_be_written_in_many_ways(cell: object) -> None:
    """A cell may hold 20, 20.0 or the text "20"."""
    assert repr(resolve(Steps=cell)["steps"]) == "20"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("abc", "abc"), (-1, "-1"), (9999, "9999"), (20.5, "20.5"), ("2O", "2O"), (True, "TRUE"), (math.inf, "inf")],
)
def test_a_wrong_whole_number_is_refused_with_column_value_and_range(cell: object, shown: str) -> None:
    """The sentence names the column, what may stand there and what stands there."""
    allowed = "Steps must be a whole number from 1 to 150, not "
    assert refusal({"Steps": cell}).replace('"', "") == f"{allowed}{shown}."


def test_all_faults_of_a_row_stand_in_one_answer() -> None:
    """A row with three wrong cells says so once."""
    message = refusal({"Steps": "abc", "CFG": "hot", "Sampler": "eulr"})
    assert message == (
        'Steps must be a whole number from 1 to 150, not "abc". CFG must be a number from 0 to 30, not "hot". '
        'Sampler cannot be "eulr": did you mean euler?'
    )


@pytest.mark.parametrize("cell", [None, "", "   "])
def test_a_blank_cell_means_the_default(cell: object) -> None:
    """Blank, or only spaces, is the workflow's default; a required cell must be filled in."""
    assert resolve(Steps=cell)["steps"] == 25
    assert refusal({"Prompt": cell}) == "Prompt is missing: fill in its cell."


@pytest.mark.parametrize("header", ["cfg", "CFG", "Cfg_Scale", "cfg-scale", " guidance  scale "])
def test_a_header_is_a_name_a_label_or_an_alias_in_any_case(header: str) -> None:
    """Case and runs of spaces, underscores and hyphens do not count."""
    assert resolve(**{header: 3})["cfg"] == 3.0


def test_a_fault_names_the_column_as_it_is_headed() -> None:
    """Who headed the column "Checkpoint" is not told about a "Model"."""
    assert refusal({"Checkpoint": "../x"}).startswith("Checkpoint must be the name of a model")
    assert refusal({"STEPS": 0}).startswith("Steps must be")


def test_of_two_columns_for_one_parameter_the_first_counts_and_the_other_is_reported() -> None:
    """Nothing that a person typed is dropped without a word; a blank cell is no claim."""
    given = {"Prompt": "", "positive": "a", "Text": "b", "Notes": "n", "Empty": ""}
    resolved = resolve_inputs(SDXL, given, pick_seed=lambda: 42)
    assert resolved.inputs["prompt"] == "a"
    assert resolved.ignored == ("Text", "Notes")


@pytest.mark.parametrize(
    ("cell", "seed"), [("random", 42), ("Random ", 42), ("", 42), (0, 0), ("7", 7), (7.0, 7), (MAX_SEED, MAX_SEED)]
)
def test_a_seed_is_a_number_or_drawn(cell: object, seed: int) -> None:
    """Blank or "random" draws; anything else is taken as it is, up to 2^64-1."""
    assert resolve(Seed=cell)["seed"] == seed


@pytest.mark.parametrize("cell", [-1, MAX_SEED + 1, 2.0**64, "x", 1.5, True])
def test_a_seed_out_of_range_is_refused(cell: object) -> None:
    """ComfyUI takes 0 to 2^64-1."""
    assert refusal({"Seed": cell}).startswith(f"Seed must be a whole number from 0 to {MAX_SEED}, not ")


@given(st.integers(0, MAX_SEED), st.integers(0, 9), st.integers(0, 9))
def test_a_drawn_seed_keeps_the_bounds_of_its_parameter(drawn: int, low: int, width: int) -> None:
    """A node whose seed is narrower than 64 bits gets a seed it takes."""
    seed = next(p for p in SDXL.parameters if p.name == "seed").model_copy(update={"min": low, "max": low + width})
    narrow = SDXL.model_copy(update={"parameters": (seed,)})
    assert low <= int(str(resolve_inputs(narrow, {}, pick_seed=lambda: drawn).inputs["seed"])) <= low + width


@pytest.mark.parametrize(("cell", "value"), [(7, 7.0), ("7.5", 7.5), ("7,5", 7.5), (" .5 ", 0.5), ("1e1", 10.0)])
def test_a_number_may_be_text_with_point_or_comma(cell: object, value: float) -> None:
    """A text cell of a country with a decimal comma is understood."""
    assert resolve(CFG=cell)["cfg"] == value


@pytest.mark.parametrize("cell", [math.nan, math.inf, "1_0", 10**400, 10**5000], ids=range(5))
def test_what_is_no_sensible_whole_number_is_refused(cell: object) -> None:
    """Numbers beyond all bounds end in a sentence, too: Python does not even write them out."""
    assert refusal({"Steps": cell}).startswith("Steps must be a whole number from 1 to 150, not ")


NO_NUMBERS = [math.nan, math.inf, "nan", "inf", "1_0", "1,000.5", 10**400, 10**5000, 31, True]


@pytest.mark.parametrize("cell", NO_NUMBERS, ids=range(len(NO_NUMBERS)))
def test_what_is_no_sensible_number_is_refused(cell: object) -> None:
    """Not a number, infinite, or so large that Python cannot turn it: a sentence, never a crash."""
    assert refusal({"CFG": cell}).startswith("CFG must be a number from 0 to 30, not ")


@pytest.mark.parametrize(("cell", "value"), [("DPMPP 2M", "dpmpp_2m"), ("dpmpp-2m", "dpmpp_2m"), ("Euler", "euler")])
def test_a_choice_is_found_in_any_case(cell: str, value: str) -> None:
    """A choice is compared as headers are; what the node gets is spelt as the node wants it."""
    assert resolve(Sampler=cell)["sampler"] == value


def test_a_choice_of_numbers_takes_a_number_cell() -> None:
    """A number cell, whole or as a fraction, is the choice that reads the same."""
    mode = next(p for p in OPS.parameters if p.name == "mode").model_copy(update={"choices": ("1", "2")})
    numbered = OPS.model_copy(update={"parameters": (mode,)})
    for cell in (2, 2.0, "2"):
        assert resolve_inputs(numbered, {"mode": cell}, pick_seed=lambda: 42).inputs == {"mode": "2"}


def test_choices_bind_names_of_files_too() -> None:
    """A manifest that lists its models takes no other."""
    model = next(p for p in SDXL.parameters if p.name == "model").model_copy(update={"choices": ("a.ckpt", "b.ckpt")})
    bound = SDXL.model_copy(update={"parameters": (model,)})
    assert "did you mean a.ckpt?" in refusal({"model": "A.ckp"}, bound)


@pytest.mark.parametrize(
    ("cell", "value"),
    [("#33AAFF", 0x33AAFF), (" Teal ", 0x00897B), (35195, 35195), (35195.0, 35195), ("35195", 35195), (0, 0)],
)
def test_a_color_is_a_code_a_name_or_comfyuis_number(cell: object, value: int) -> None:
    """The node gets 0xRRGGBB as a whole number."""
    assert resolve(OPS, Color=cell)["color"] == value


@pytest.mark.parametrize("cell", ["#33aaf", "tael", 0x1000000, -1, 0.5, True, "#gggggg"])
def test_what_is_no_color_is_refused(cell: object) -> None:
    """The sentence shows what a colour looks like."""
    assert refusal({"Color": cell}, OPS).startswith("Color must be a colour like #33aaff or ")


@pytest.mark.parametrize("cell", ["None", "none", " NONE ", ""])
def test_no_lora_is_none(cell: str) -> None:
    """ "None" in any case, or a blank cell, leaves the LoRA out."""
    assert resolve(LoRA=cell)["lora"] is None


@pytest.mark.parametrize("cell", ["../x", "/etc/passwd", "\\\\host\\x", "C:\\x", "a/../../b"])
def test_a_file_name_that_climbs_is_refused(cell: str) -> None:
    """A model, VAE or LoRA is a file below ComfyUI's own folders."""
    assert refusal({"Model": cell}).startswith("Model must be the name of a model, not ")
    assert refusal({"LoRA": cell}).startswith("LoRA must be the name of a lora, not ")


def test_a_file_name_may_have_a_folder() -> None:
    """Model files are often kept in subfolders."""
    assert resolve(Model="sdxl/base 1.0.safetensors")["model"] == "sdxl/base 1.0.safetensors"


@pytest.mark.parametrize("prompt", ['=IMPORTXML("http://x","//y")', "+1", "@a", "-", "line\nline\ttab", "🦊" * 8000])
def test_a_prompt_goes_through_unharmed(prompt: str) -> None:
    """What looks like a formula is text; 8,000 characters are allowed, emoji count as one."""
    assert resolve(Prompt=prompt)["prompt"] == prompt


def test_a_prompt_that_is_too_long_is_refused() -> None:
    """8,001 characters are one too many."""
    assert refusal({"Prompt": "🦊" * 8001}) == "Prompt has 8001 characters; 8000 are allowed."


@pytest.mark.parametrize("bad", ["\0", "\x07", "\x1b", "\x7f", "\ud800", "\udfff", "\ufffe", "\uffff"])
def test_what_cannot_be_sent_is_refused(bad: str) -> None:
    """Control characters and halves of emoji are refused in any text, and never shown in the sentence."""
    assert refusal({"Prompt": f"a{bad}b"}).startswith("Prompt holds a control character")
    assert bad not in refusal({"Sampler": f"x{bad}y"})


@pytest.mark.parametrize("cell", [["4", 0], {"a": 1}, ("4", 0)])
def test_a_link_is_no_value(cell: object) -> None:
    """A list or an object could rewire the graph; every parameter refuses it."""
    for parameter in SDXL.parameters:
        assert f"{parameter.title} must be a plain value" in refusal({parameter.title: cell})


def test_what_a_row_costs_is_bounded() -> None:
    """Size and steps may each be allowed and still be too much together."""
    message = refusal({"Width": 4096, "Height": 4096, "Steps": 150})
    assert message.startswith(f"Width × Height × Steps is {4096 * 4096 * 150}; one row may ask for {MAX_COST}: ")
    assert resolve(Width=4096, Height=4096, Steps=40)["steps"] == 40


cells = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.lists(st.integers(), max_size=2)
    | st.sampled_from(["None", "random", "euler", "#fff", "1e999", "0" * 99, 10**400])
)


@given(st.sampled_from(sorted(WORKFLOWS)), st.data())
def test_any_cell_gets_a_value_or_a_sentence(workflow_id: str, data: st.DataObject) -> None:
    """Whatever a row holds, the answer is a value that JSON can carry for each parameter, or a refusal."""
    workflow = WORKFLOWS[workflow_id]
    headers = [parameter.name for parameter in workflow.parameters] + ["Notes"]
    given_cells = data.draw(st.dictionaries(st.sampled_from(headers), cells))
    try:
        resolved = resolve_inputs(workflow, given_cells, pick_seed=lambda: 42)
    except Rejected as refused:
        assert refused.message[0].isupper()
        assert refused.message[-1] in ".?"
    else:
        assert set(resolved.inputs) == {parameter.name for parameter in workflow.parameters}
        assert all(value is None or isinstance(value, str | int | float) for value in resolved.inputs.values())


def test_an_unknown_workflow_is_answered_with_the_nearest_one() -> None:
    """A typing mistake is met with the name that was meant; a name like no other with those that there are."""
    assert "Did you mean flux-schnell" in unknown_workflow("Flux schnel", WORKFLOWS).message
    assert "There are: empty-color, flux-schnell" in unknown_workflow("zzz", WORKFLOWS).message
