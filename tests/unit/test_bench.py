"""Check the bench's arithmetic and the shape of its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import single, spread, write


def test_a_spread_names_median_and_95th_by_nearest_rank() -> None:
    """Of 1..100 the median is 50 and the 95th percentile 95; order does not matter."""
    figure = spread([float(number) for number in range(100, 0, -1)], "ms")
    assert (figure.p50, figure.p95, figure.n) == (50.0, 95.0, 100)


def test_a_spread_of_nothing_is_refused() -> None:
    """No sample, no figure."""
    with pytest.raises(ValueError):
        spread([], "ms")


def test_the_file_holds_only_the_fields_that_apply(tmp_path: Path) -> None:
    """A spread has no value, a single figure no percentiles."""
    write({"a_ms": spread([3.0], "ms"), "b": single(7, "calls", 100)}, tmp_path / "results" / "latest.json")
    assert json.loads((tmp_path / "results" / "latest.json").read_text()) == {
        "a_ms": {"p50": 3.0, "p95": 3.0, "n": 1, "unit": "ms"},
        "b": {"value": 7, "n": 100, "unit": "calls"},
    }
