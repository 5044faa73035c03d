"""Judge prompts: what a field, variants and a wildcard become, what stays as typed, and what is refused how."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.contract.errors import Rejected
from chalicelib.contract.manifest import Workflow, parse_workflow
from chalicelib.contract.values import Value
from chalicelib.prompting.dice import Dice
from chalicelib.prompting.marks import Text, read
from chalicelib.prompting.resolve import (
    MAX_CHOICES,
    GivenWildcards,
    Prompted,
    Prompts,
    Wildcards,
    resolve_prompts,
    seed_of,
)
from chalicelib.prompting.wildcards import Lines, lines_of
from tests.sizes import examples

MOST = 2000
NONE = GivenWildcards()


def workflow(**more: Any) -> Workflow:
    """Make a workflow with a prompt, a negative prompt, steps and a seed."""
    parameters: dict[str, Any] = {
        "prompt": {"type": "string", "default": "", "max_length": MOST, "aliases": ["positive"]},
        "negative_prompt": {"type": "string", "default": "blurry"},
        "steps": {"type": "integer", "default": 20, "min": 1, "max": 99},
        "seed": {"type": "seed", "default": "random"},
        **more,
    }
    graph = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"} | dict.fromkeys(parameters, "")}}
    described = {name: {"sets": {"node": "1", "input": name}, **fields} for name, fields in parameters.items()}
    return parse_workflow("demo", {"name": "Demo", "parameters": described}, {}, graph, file="demo.yaml")


WORKFLOW = workflow()


def lists(**texts: str) -> Wildcards:
    return GivenWildcards({name: lines_of(text) for name, text in texts.items()})


def prompts(
    text: str, *, seed: int = 1, wildcards: Wildcards = NONE, columns: tuple[str, ...] = (), **cells: Any
) -> Prompts:
    inputs: dict[str, Value] = {"prompt": text, "negative_prompt": "blurry", "steps": 20, "seed": seed}
    row = Prompted(WORKFLOW, inputs | cells.pop("inputs", {}), {"Prompt": text, **cells}, columns)
    return resolve_prompts(row, wildcards, seed)


def made(text: str, **more: Any) -> str:
    return str(prompts(text, **more).inputs["prompt"])


def refusal(text: str, **more: Any) -> str:
    with pytest.raises(Rejected) as no:
        prompts(text, **more)
    assert no.value.code == "invalid_prompt"
    return no.value.message


def seen(text: str, seeds: int = 200, **more: Any) -> set[str]:
    return {made(text, seed=seed, **more) for seed in range(seeds)}


# -- fields ----------------------------------------------------------------------------------------------------------


def test_a_field_takes_the_text_of_another_column() -> None:
    """By its header in any case; also of a column that the workflow does not know."""
    assert made("a {{Animal}}, {{ art style }}", Animal="fox", **{"Art Style": "oil"}) == "a fox, oil"
    assert made("{{ANIMAL}}{{animal}}", Animal="🦊") == "🦊🦊"


def test_a_field_takes_an_input_as_it_will_be_used() -> None:
    """A default where the cell is empty, the drawn seed, a whole number as the sheet shows it, yes as TRUE."""
    assert made("{{negative prompt}} {{steps}} {{Seed}}", seed=7) == "blurry 20 7"
    assert made("{{N}} {{Flag}} {{Half}}", N=20.0, Flag=True, Half=0.5) == "20 TRUE 0.5"


def test_an_empty_cell_is_empty_text() -> None:
    """The column is there; the row has nothing in it."""
    assert made("a {{Style}}fox", columns=("Prompt", "Style")) == "a fox"
    assert made("a {{Style}}fox", Style=None) == "a fox" == made("a {{Style}}fox", Style="")


def test_what_is_put_in_is_never_read_again() -> None:
    """No column can bring marks of its own: whoever may fill one cell decides that cell's text, nothing else."""
    evil = "{a|b} {{Secret}} __colors__ {2$$x|y} \\{"
    assert made("<{{Animal}}>", Animal=evil, Secret="s", wildcards=lists(colors="red")) == f"<{evil}>"
    assert made("<{{Animal|upper}}>", Animal="{a|b}") == "<{A|B}>"
    assert made("{x {{Animal}}|x {{Animal}}}", Animal="1|2}") == "x 1|2}"


def test_an_unknown_column_is_named_with_the_nearest_that_there_is() -> None:
    """As a sentence for the cell; also when the seed would not have chosen that option."""
    expected = 'Prompt asks for "anmal", and there is no such column or input: did you mean Animal?'
    assert refusal("a {{anmal}}", Animal="fox") == expected
    assert {refusal("{cat|cat|cat|{{anmal}}}", seed=seed, Animal="fox") for seed in range(9)} == {expected}
    assert refusal("{{xyzzy}}").endswith("there are Prompt, Negative prompt, Steps, Seed.")
    assert 'asks for "Mood"' in refusal("{{Mood}}", **{"Mode ": "x"}) and "did you mean Mode" in refusal(
        "{{Mood}}", Mode="x"
    )


def test_a_prompt_cannot_hold_itself() -> None:
    """Under none of its names."""
    for name in ("Prompt", "positive", "prompt|upper"):
        assert "cannot be put into itself" in refusal(f"a {{{{{name}}}}}")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{A|lower}}", " ein fuchs "),
        ("{{ A | trim | upper }}", "EIN FUCHS"),
        ("{{A|trim|title}}", "Ein Fuchs"),
        ("{{A|trim|capitalize}}", "Ein fuchs"),
        ('{{A|trim|replace("Fuchs", "Hund")}}', "ein Hund"),
        ("{{Gone|default('cat')}}", "cat"),
        ("{{Empty|default('cat')}}", "cat"),
        ("{{A|default('cat')|trim}}", "ein Fuchs"),
    ],
)
def test_a_few_filters_are_there(template: str, expected: str) -> None:
    """Those that change letters, and one for what is not there or empty."""
    assert made(template, A=" ein Fuchs ", Empty="") == expected


@pytest.mark.parametrize(
    "inner",
    [
        "A|join",
        "A|map('upper')",
        "A|attr('__class__')",
        "A|replace('a', 'b' * 9999999)",
        "A|replace('a', A)",
        "A|replace('a', 'b') + 'c'",
        "A|default([])",
        "A|default(value.__class__)",
        "A|default(cycler)",
        "A|lower if 1 else 2",
        "A|lower == 'a'",
        "A|lower()()",
        "A|lower|lower|lower|lower|lower|lower",
        "A|format(1)",
        "A|replace(old='a', new='b')",
        "A|replace(*'ab')",
        "A|(lower)",
        "A|lower(",
        "A|lower ~ range(9)",
        "A|" + "(" * 5000,
        "A|replace('a')",
        "A|dog",
        "A|",
    ],
)
def test_what_is_no_filter_of_ours_is_refused(inner: str) -> None:
    """Nothing is run: no attribute, call, loop, product, test or other filter."""
    assert "knows no filter" in refusal(f"{{{{{inner}}}}}", A="a")


@pytest.mark.parametrize("inner", ["''.__class__", "A.__class__", "config", "self", "[].append(1)", "7*7", "A[0]"])
def test_an_expression_is_only_an_unknown_name(inner: str) -> None:
    """What stands before the first bar is a header, whatever it looks like."""
    assert "no such column or input" in refusal(f"{{{{{inner}}}}}", A="a")


# -- variants --------------------------------------------------------------------------------------------------------


def test_variants_choose_one_and_may_stand_within_each_other() -> None:
    """Each of them comes up; blanks within are as typed, as on ComfyUI's page."""
    assert seen("a {cat|dog}") == {"a cat", "a dog"}
    assert seen("{a {red|blue} cat|dog|}") == {"a red cat", "a blue cat", "dog", ""}
    assert seen("{very |}good") == {"very good", "good"}
    assert seen("{{cat|dog} a|{x|y} b}") == {"cat a", "dog a", "x b", "y b"}


def test_a_weight_counts() -> None:
    """Three times as likely is three times as often; 0 is never."""
    told = Counter(made("{3::cat|dog|0::cow|.5::ant}", seed=seed) for seed in range(4000))
    assert set(told) == {"cat", "dog", "ant"}
    assert told["cat"] / told["dog"] == pytest.approx(3, rel=0.15)
    assert told["dog"] / told["ant"] == pytest.approx(2, rel=0.15)
    assert "weighs more than 0" in refusal("{0::cat|0::dog}")


def test_several_different_ones_are_picked_and_joined() -> None:
    """In the order drawn; more than there are is all of them."""
    assert seen("{2$$a|b|c}") == {"a, b", "b, a", "a, c", "c, a", "b, c", "c, b"}
    assert seen("{2$$ and $$ a | b }") == {"a and b", "b and a"}
    assert seen("{9$$+$$a|b}") == {"a+b", "b+a"}
    assert seen("{1-2$$+$$a|b}") == {"a", "b", "a+b", "b+a"}
    assert seen("{-1$$a}") == {"", "a"}
    assert seen("{1-$$+$$a|b}") == {"a", "b", "a+b", "b+a"}


@pytest.mark.parametrize("text", ["{3-2$$a|b}", "{101$$a|b}", "{1-101$$a|b}"])
def test_what_cannot_be_picked_is_refused(text: str) -> None:
    """A count that makes no sense is more likely a mistake than a prompt."""
    assert "cannot pick that many" in refusal(text)


def test_variants_too_deep_are_refused_whatever_the_seed() -> None:
    """Ten within each other are enough for anybody."""

    def deep(depth: int) -> str:
        return "{a|" * depth + "b" + "}" * depth

    assert seen(deep(10), 50) == {"a"}
    assert {refusal(deep(11), seed=seed) for seed in range(5)} == {refusal(deep(1000))}


# -- wildcards -------------------------------------------------------------------------------------------------------


def test_a_wildcard_is_a_line_of_a_list() -> None:
    """Comments and empty lines are none; a line may weigh more."""
    book = lists(colors="# warm\nred\n\n 0::never\nyellow # not a comment\n")
    assert seen("a __colors__ car", wildcards=book) == {"a red car", "a yellow # not a comment car"}
    assert seen("__Colors__", wildcards=book) == {"red", "yellow # not a comment"}


def test_a_line_may_have_marks_of_its_own() -> None:
    """Lists are the operator's: they may use other lists, variants and the row's columns."""
    book = lists(animals="{big|small} __pets__\n{{Animal}}", pets="cat\ndog", **{"a/b-c.d_e": "x"})
    found = seen("__animals__ __a/b-c.d_e__", wildcards=book, Animal="fox")
    assert found == {"big cat x", "big dog x", "small cat x", "small dog x", "fox x"}


def test_several_different_lines_are_picked() -> None:
    """A pick of one wildcard is of its lines."""
    assert seen("{2$$__c__}", wildcards=lists(c="a\nb")) == {"a, b", "b, a"}
    assert made("{3$$__c__|x}", wildcards=lists(c="a")) in ("a, x", "x, a")


def test_an_unknown_wildcard_is_named_with_the_nearest_that_there_is() -> None:
    """As a sentence for the cell."""
    expected = "Prompt asks for __colrs__, and there is no such list of wildcards: did you mean __colors__?"
    assert refusal("{a|__colrs__}", wildcards=lists(colors="red")) == expected
    assert refusal("__x__").endswith("there are none.")


def test_lists_that_lead_to_themselves_end() -> None:
    """With a sentence, not with a full stack or a full memory."""
    assert "more than 10 deep" in refusal("__a__", wildcards=lists(a="x __b__", b="y __a__"))
    bomb = lists(**{f"l{n}": f"__l{n + 1}__" * 9 for n in range(9)}, l9="b")
    assert f"more than {MAX_CHOICES} choices" in refusal("__l0__", wildcards=bomb)


def test_a_line_that_cannot_be_read_names_its_list() -> None:
    """So that the person can tell the operator."""
    assert "line of the wildcard __a__" in refusal("__a__", wildcards=lists(a="{3-2$$x|y}"))


# -- what stays, and what is too much --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "(masterpiece:1.2), [day:night:0.5], ((sharp)), <lora:x:1>",
        "embedding:bad-hands, \\(series\\), C:\\dir\\x, a\\_b",
        "{ }{} a { b } c } {{}} {{ }} {word} {1girl} a | b || c",
        "{unclosed | a {here|",
        "}|{ {",
        "snake__case__name x__y__ ___ ____ __ __a b__ __-x__",
        '{"prompt": "a|b", "deep": {"x": ["{c|d}", "__w__"]}}',
        "${x} {%if%} {# c #} $$ 2$$ 16::9 {$$}",
        "\\\\ \\n \\u007b",
        "// no comment, https://example.com /* nor this */",
        "{" * 5000 + "}" * 5000,
    ],
)
def test_a_prompt_without_our_marks_is_not_changed(text: str) -> None:
    """Also when it is full of what looks a little like them: ComfyUI's own marks, JSON, braces, paths."""
    told = prompts(text[:MOST])
    assert told.inputs["prompt"] == text[:MOST] and told.templates == {}


@pytest.mark.parametrize(
    "text", ["{" * 25_000 + "}" * 25_000, '{"a":' * 10_000, "{{" + "a" * 49_990, "__a" * 16_000, "{a|" * 16_000]
)
@pytest.mark.timeout(20)
def test_no_text_takes_long_to_read(text: str) -> None:
    """Work grows with a text's length, however it is nested; half a minute once did not."""
    assert "".join(part.text for part in read(text) if isinstance(part, Text)) == text


def test_marks_can_be_escaped() -> None:
    """A backslash before a brace or a bar is taken away, as on ComfyUI's page; also before two underscores."""
    assert made("\\{a|b\\} {a\\|b|a\\|b} \\{\\{A\\}\\}") == "{a|b} a|b {{A}}"
    assert made("\\__init__ \\_\\_x__ \\__y\\_\\_") == "__init__ __x__ __y__"
    assert made("\\\\{a|a}") == "\\\\a"


def test_a_field_in_json_is_a_field() -> None:
    """Bars and braces are the JSON's own."""
    assert made('{"style": "{{Style}}", "x": "{a|b}"}', Style="oil") == '{"style": "oil", "x": "{a|b}"}'


def test_what_grows_too_long_is_refused() -> None:
    """A column, a list or a filter cannot make more than the input may hold, nor ten megabytes on the way."""
    assert f"more than {MOST} characters" in refusal("{{A}}" * 3, A="x" * (MOST // 2))
    assert f"more than {MOST} characters" in refusal("{{A}}", A="x" * 10_000_000)
    assert "grows too long" in refusal("{{A|replace('x', 'xxxxxxxxxxxx')}}", A="x" * 10_000)
    assert "needs a text to look for" in refusal("{{A|replace('', 'xxxxxxxxxxxx')}}", A="x")
    assert f"more than {MOST} characters" in refusal("{9$$" + "j" * 500 + "$$a|b|c|d|e|f}")


def test_all_texts_of_a_row_together_have_a_limit() -> None:
    """They lie in one item of a table."""
    wide = workflow(**{f"text_{n}": {"type": "string", "default": "", "max_length": 50_000} for n in range(9)})
    inputs: dict[str, Value] = {f"text_{n}": "{{A}}" for n in range(9)}
    with pytest.raises(Rejected, match="more than 100 KB"):
        resolve_prompts(Prompted(wide, inputs, {"A": "雪" * 5_000}), NONE, 1)
    assert resolve_prompts(Prompted(wide, inputs, {"A": "s" * 5_000}), NONE, 1).templates


def test_what_a_column_brings_is_judged_like_what_is_typed() -> None:
    """A control character that a cell of another column hides is no way around the rule."""
    assert "control character" in refusal("{{A}}", A="x\x00y")


def test_all_faults_of_a_row_are_named_at_once() -> None:
    """One sentence each."""
    message = refusal("{{A}}", inputs={"negative_prompt": "__b__"})
    assert message.startswith('Prompt asks for "A"') and "Negative prompt asks for __b__" in message


def test_only_text_is_read() -> None:
    """A choice or a file's name is not: braces in it are its own. Two texts draw by themselves."""
    told = prompts("{a|b|c|d|e}", inputs={"negative_prompt": "{a|b|c|d|e}", "model": "{a|b}.safetensors"})
    assert told.inputs["model"] == "{a|b}.safetensors" and told.inputs["steps"] == 20
    both = [prompts("{a|b}", seed=n, inputs={"negative_prompt": "{a|b}"}).inputs for n in range(50)]
    assert {one["prompt"] == one["negative_prompt"] for one in both} == {True, False}


def test_a_manifest_may_keep_an_input_plain() -> None:
    """A program's text, a pattern: nothing in it is ours."""
    plain = workflow(code={"type": "string", "default": "", "plain": True})
    row = Prompted(plain, {"prompt": "{a|a}", "code": "{{x}} {a|b} __c__"}, {})
    told = resolve_prompts(row, NONE, 1)
    assert told.inputs == {"prompt": "a", "code": "{{x}} {a|b} __c__"} and set(told.templates) == {"prompt"}


def test_what_was_typed_is_kept_where_it_differs() -> None:
    """And only there."""
    told = prompts("a {{Animal}}", Animal="fox", inputs={"negative_prompt": "{word}"})
    assert told.templates == {"prompt": "a {{Animal}}"} and told.inputs["prompt"] == "a fox"
    assert told.used == {"Animal"}


# -- the same again --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_prompt_for_ever() -> None:
    """On every machine and with every Python: these were written down once."""
    book = lists(colors="red\ngreen\nblue")
    template = "a {big|small|tiny} __colors__ {2$$cat|dog|cow} {3::x|y}"
    told = {seed: made(template, seed=seed, wildcards=book) for seed in (0, 1, 2**32 - 1, 2**64 - 1)}
    assert told == RECORDED


RECORDED = {
    0: "a big green cow, dog x",
    1: "a small blue cat, cow x",
    2**32 - 1: "a small blue cat, dog x",
    2**64 - 1: "a small blue cat, dog x",
}


def test_a_job_without_a_seed_draws_by_its_id() -> None:
    """The same job always gives the same; another one may differ."""
    plain = Prompted(workflow(seed={"type": "integer", "default": 1, "min": 0, "max": 9}), {"seed": 5}, {})
    one, other = "5f1f8f0e-3b52-4d0e-9d0a-6f2b8c1d7e42", "00000000-0000-4000-8000-000000000000"
    assert seed_of(plain, one) == seed_of(plain, one) != seed_of(plain, other)
    assert seed_of(Prompted(WORKFLOW, {"seed": 0}, {}), one) == 0


def test_draws_are_even() -> None:
    """No side of the dice is favoured."""
    told = Counter(Dice(seed, "prompt").below(6) for seed in range(12_000))
    assert set(told) == set(range(6)) and all(count == pytest.approx(2000, rel=0.1) for count in told.values())


@settings(max_examples=examples(300), deadline=None)
@given(st.text(alphabet="{}|_\\$:.ab1 -\"'()[]%#\n", max_size=60), st.integers(0, 2**64 - 1))
@example("{{a|lower}}", 0)
@example("{1-2$$_$$a|__b__}", 3)
def test_anything_becomes_text_or_is_refused(text: str, seed: int) -> None:
    """Never anything else; and the same seed gives the same."""
    book = GivenWildcards({"a": Lines(("1", "{b|__b__}"), (1, 2)), "b": Lines(("__a__", "x"), (1, 1))})

    def told() -> str:
        try:
            return made(text, seed=seed, wildcards=book, a="A", b="{x|y}")
        except Rejected as no:
            return f"{no.code}: {no.message}"

    assert told() == told()


@settings(max_examples=examples(300), deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="{\\", exclude_categories=["Cc", "Cs", "Cn"]), max_size=99))
def test_plain_text_comes_back_as_it_is(text: str) -> None:
    """Without a brace, a backslash and two underscores in a row there is nothing of ours in it."""
    text = text.replace("__", "_ ")
    assert prompts(text).templates == {} and made(text) == text


@settings(max_examples=examples(200), deadline=None)
@given(
    st.recursive(
        st.text("ab|{}_1", max_size=5) | st.integers() | st.none(),
        lambda inner: st.dictionaries(st.text("ab|{}_", max_size=4), inner, max_size=3) | st.lists(inner, max_size=3),
        max_leaves=9,
    )
)
def test_json_comes_back_as_it_is(value: object) -> None:
    """Some workflows take JSON as text."""
    text = json.dumps({"x": value})
    if "{{" not in text:
        assert made(text) == text
