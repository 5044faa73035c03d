"""Judge how one job becomes many."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contract.errors import Rejected
from chalicelib.expand import MAX_JOBS, expand


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1..4", [1, 2, 3, 4]),
        ("4..1", [4, 3, 2, 1]),
        ("0..10..5", [0, 5, 10]),
        ("10..0..5", [10, 5, 0]),
        ("0..10..-5", [0, 5, 10]),
        ("1..6..2", [1, 3, 5]),
        ("4..6..0.5", [4, 4.5, 5, 5.5, 6]),
        ("0.1..0.3..0.1", [0.1, 0.2, 0.3]),
        ("-2 .. 0", [-2, -1, 0]),
        ("7..7", [7]),
    ],
)
def test_a_range_reads_as_in_a_shell(text: str, values: list[float]) -> None:
    """Both ends count, a step is optional, it may go down, and decimals are exact."""
    assert [row["x"] for row in expand({"x": text}, "product")] == values


def test_whole_ranges_give_whole_numbers() -> None:
    """A seed of 1.0 would be a fraction to a program."""
    assert all(type(row["seed"]) is int for row in expand({"seed": "1..8"}, "product"))
    assert all(type(row["cfg"]) is float for row in expand({"cfg": "4..6..0.5"}, "product"))


def test_a_product_varies_the_last_name_fastest() -> None:
    """Each with each, in the order of the request."""
    rows = [*expand({"seed": "1..2", "cfg": [4, 6.5, "x"]}, "product")]
    assert [(row["seed"], row["cfg"]) for row in rows] == [(1, 4), (1, 6.5), (1, "x"), (2, 4), (2, 6.5), (2, "x")]


def test_side_by_side_needs_equal_lengths() -> None:
    """The first with the first; what does not fit is told with its lengths."""
    assert [*expand({"a": "1..3", "b": ["x", "y", None]}, "zip")] == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
        {"a": 3, "b": None},
    ]
    with pytest.raises(Rejected, match=r"one length: a has 3, b has 2\.$"):
        expand({"a": "1..3", "b": [1, 2]}, "zip")


def test_nothing_to_expand_is_one_job() -> None:
    """In either mode."""
    assert [*expand({}, "zip")] == [{}] == [*expand({}, "product")][0:1]


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"x": "1..101"}, r"101 jobs \(x: 101\); a batch has at most 100"),
        ({"x": "1..99999999999999999999", "y": "1..99999999999999999999..0.0000000001"}, "at most 100"),
        ({"x": []}, "expand.x is an empty list"),
        ({"x": "1..5..0"}, "never arrives"),
        ({"x": "1-5"}, r"list, or a range like 1\.\.8"),
        ({"x": "١..٣"}, "range like"),
        ({"x": "1..nan"}, "range like"),
    ],
)
def test_what_cannot_be_expanded_is_a_sentence(given_: dict[str, str], sentence: str) -> None:
    """Whatever is asked for, nothing is made before it is counted."""
    with pytest.raises(Rejected, match=sentence) as refused:
        expand(given_, "product")
    assert refused.value.code == "bad_request"


numbers = st.decimals(-1000, 1000, places=2)
ranges = st.builds(
    lambda first, step, length: (first, step, length, f"{first}..{first + step * (length - 1)}..{step}"),
    numbers,
    st.decimals(Decimal("0.01"), 10, places=2),
    st.integers(1, 12),
)
lists = st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)), min_size=1, max_size=12)


@given(ranges)
def test_any_range_has_the_numbers_that_it_says(asked: tuple[Decimal, Decimal, int, str]) -> None:
    """first, first + step, … as exact as they were written."""
    first, step, length, text = asked
    assert [row["x"] for row in expand({"x": text}, "product")] == [float(first + n * step) for n in range(length)]


@given(st.dictionaries(st.text(max_size=4), st.one_of(lists, ranges.map(lambda asked: asked[3])), max_size=4))
def test_a_product_has_every_combination_once_or_is_refused(asked: dict[str, list[object] | str]) -> None:
    """As many rows as the lengths multiply to, never more than a batch holds, all names in each."""
    columns = {name: [row[name] for row in expand({name: each}, "product")] for name, each in asked.items()}
    count = 1
    for column in columns.values():
        count *= len(column)
    if count > MAX_JOBS:
        with pytest.raises(Rejected, match=f"makes {count} jobs"):
            expand(asked, "product")
        return
    rows = [*expand(asked, "product")]
    assert rows == [dict(zip(columns, row, strict=True)) for row in itertools.product(*columns.values())]
    assert len(rows) == count
