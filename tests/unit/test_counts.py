"""What is counted leaves as one line a call, in the form that CloudWatch turns into metrics."""

from __future__ import annotations

import io
import json
import logging
from types import SimpleNamespace

import pytest
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.metric_properties import MetricUnit

from chalicelib.api_parts import count_answer
from chalicelib.contract.counts import UNITS, Metric
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import Target
from chalicelib.logs import MAX_TEXT, Lines, ids_of, named_call, told
from chalicelib.metrics import Metrics


def lines_of(metrics: Metrics, out: io.StringIO) -> list[dict[str, object]]:
    metrics.tell()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_call_writes_one_line_with_sums_and_every_duration() -> None:
    """Two rows of a call are one number; percentiles need each duration."""
    out = io.StringIO()
    metrics = Metrics("prod", out)
    metrics.add(Metric.ROWS_WRITTEN)
    metrics.add(Metric.ROWS_WRITTEN, 2)
    metrics.add(Metric.COMMIT_TO_CELL, 900)
    metrics.add(Metric.COMMIT_TO_CELL, 1500)
    (line,) = lines_of(metrics, out)
    assert line["_aws"]["CloudWatchMetrics"] == [  # type: ignore[index]
        {
            "Namespace": "ComfySheet",
            "Dimensions": [["stage"]],
            "Metrics": [{"Name": "CommitToCellMs", "Unit": "Milliseconds"}, {"Name": "RowsWritten", "Unit": "Count"}],
        }
    ]
    assert (line["stage"], line["RowsWritten"], line["CommitToCellMs"]) == ("prod", [3.0], [900.0, 1500.0])


def test_what_was_told_is_not_told_again() -> None:
    """The next call of a warm container begins at nothing, and a call that counted nothing writes nothing."""
    out = io.StringIO()
    metrics = Metrics("prod", out)
    metrics.add(Metric.SWEEPS)
    assert len(lines_of(metrics, out)) == 1
    assert len(lines_of(metrics, out)) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_left_out(value: float) -> None:
    """NaN is no JSON: CloudWatch would drop the whole line, the good figures with it."""
    out = io.StringIO()
    metrics = Metrics("prod", out)
    metrics.add(Metric.GPU_SECONDS_TODAY, value)
    metrics.add(Metric.SWEEPS)
    (line,) = lines_of(metrics, out)
    assert line["Sweeps"] == [1.0] and "GpuSecondsToday" not in line


class Torn(io.StringIO):
    """Be a standard output that nobody reads any more."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError("gone")


def test_a_figure_that_cannot_be_told_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """A batch that was done would come again, and a 202 become a 500; the log tells of it instead."""
    metrics = Metrics("prod", Torn())
    metrics.add(Metric.SWEEPS)
    metrics.tell()
    assert [record.message for record in caplog.records] == ["figures not told"]


def test_many_durations_are_spread_over_lines() -> None:
    """A line takes a hundred values of a metric at most; none is lost."""
    out = io.StringIO()
    metrics = Metrics("prod", out)
    for number in range(250):
        metrics.add(Metric.COMMIT_TO_CELL, number)
    lines = lines_of(metrics, out)
    values = [value for line in lines for value in line["CommitToCellMs"]]  # type: ignore[attr-defined]
    assert values == [float(number) for number in range(250)]
    assert all(len(line["CommitToCellMs"]) < 100 for line in lines)  # type: ignore[arg-type]


def test_every_unit_is_cloudwatchs() -> None:
    """A misspelt unit would be refused in the middle of a call."""
    assert set(UNITS.values()) <= {unit.value for unit in MetricUnit}


@pytest.mark.parametrize(
    ("status", "metric"),
    [
        (200, None),
        (302, None),
        (404, Metric.REQUESTS_REFUSED),
        (429, Metric.REQUESTS_TURNED_AWAY),
        (500, Metric.REQUESTS_FAILED),
        (503, Metric.REQUESTS_FAILED),
    ],
)
def test_an_answer_is_counted_by_whose_turn_it_is(status: int, metric: Metric | None) -> None:
    """Theirs to change the request, theirs to wait, ours to mend."""
    out = io.StringIO()
    metrics = Metrics("prod", out)
    count_answer(status, metrics)
    lines = lines_of(metrics, out)
    assert [set(line) - {"_aws", "stage"} for line in lines] == ([{metric.value}] if metric else [])


# -- log lines --------------------------------------------------------------------------------------------------------


def line_of(message: str, error: BaseException | None = None, **extra: object) -> dict[str, object]:
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "module": "m", "funcName": "f", **extra})
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    line: dict[str, object] = json.loads(Lines().format(record))
    return line


def test_only_named_fields_and_plain_numbers_get_into_a_line() -> None:
    """A prompt that somebody passes by mistake is dropped, whatever it is called."""
    line = line_of("sweep", action="sweep", prompt="a fox", inputs={"x": "a fox"}, job_id="j1", **{"re-sent": 2})
    assert (line["action"], line["job_id"], line["re-sent"]) == ("sweep", "j1", 2)
    assert "fox" not in json.dumps(line)


def test_a_signed_link_loses_what_signs_it() -> None:
    """A presigned URL, or a password in a URL, is a key; and a text has an end."""
    line = line_of("see https://me:pw@b/k?X-Amz-Signature=abc", reason="http://h/o/1?t=token " + "x" * 1000)
    assert line["message"] == "see https://b/k"
    assert "token" not in str(line["reason"]) and len(str(line["reason"])) == MAX_TEXT


def test_a_fault_is_told_by_its_trace_and_not_by_what_somebody_sent() -> None:
    """Pydantic quotes the value that it refuses, and a refusal may quote a cell; `Unavailable` quotes nobody."""
    sent = "".join(("f", "o", "x"))  # a trace shows the source's lines, this one too
    try:
        try:
            Target.model_validate({"spreadsheet_id": 1, "prompt_hash": sent})
        except ValueError as inner:
            raise Rejected("bad", f"The prompt {sent} is wrong.") from inner
    except Rejected as error:
        line = line_of("failed", error)
    assert sent not in json.dumps(line)
    assert line["exception_name"] == "Rejected" and "ValidationError" in str(line["exception"])
    assert "test_counts.py" in str(line["exception"]), "where it happened"
    assert told(Unavailable("The table is busy.")) == "Unavailable: The table is busy."


def test_every_line_of_a_call_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda's request, API Gateway's, and AWS's trace id, which lead from one log to the next."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-abc;Parent=def;Sampled=0")
    request = SimpleNamespace(context={"requestId": "gw"}, lambda_context=SimpleNamespace(aws_request_id="fn"))
    with named_call(ids_of(request)):
        line = line_of("accepted")
    assert (line["request_id"], line["api_request_id"], line["trace_id"]) == ("fn", "gw", "1-abc")
    assert "request_id" not in line_of("after")
    assert ids_of(SimpleNamespace(context=SimpleNamespace(aws_request_id="fn"))) == {"request_id": "fn"}
