"""Check the bench's arithmetic and the shape of its file."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path

import pytest

from bench.figures import single, spread, write
from bench.relay import Relay, kind_of


def test_a_spread_names_median_and_95th_by_nearest_rank() -> None:
    """Of 1..100 the median is 50 and the 95th percentile 95; order does not matter."""
    figure = spread([float(number) for number in range(100, 0, -1)], "ms")
    assert (figure.p50, figure.p95, figure.n) == (50.0, 95.0, 100)


def test_a_spread_of_nothing_is_refused() -> None:
    """No sample, no figure."""
    with pytest.raises(ValueError):
        spread([], "ms")


def test_the_file_holds_only_the_fields_that_apply_and_when(tmp_path: Path) -> None:
    """A spread has no value, a single figure no percentiles; what this run did not measure is kept with its date."""
    path = tmp_path / "results" / "latest.json"
    path.parent.mkdir()
    path.write_text('{"old": {"value": 1, "measured": "2026-01-01"}, "b": {"value": 2}}')
    write({"a_ms": spread([3.0], "ms"), "b": single(7, "calls", 100)}, path)
    told = json.loads(path.read_text())
    today = told["a_ms"].pop("measured")
    assert told["b"].pop("measured") == today
    assert told == {
        "old": {"value": 1, "measured": "2026-01-01"},
        "a_ms": {"p50": 3.0, "p95": 3.0, "n": 1, "unit": "ms"},
        "b": {"value": 7, "n": 100, "unit": "calls"},
    }


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n\r\n", "SendMessage"),
        (b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.UpdateItem\r\n\r\n{}", "UpdateItem"),
        (b"PUT /bucket/outputs/a/b.png HTTP/1.1\r\nHost: x\r\n\r\n", "PUT outputs"),
        (b"the rest of a body", None),
    ],
)
def test_the_relay_knows_calls_by_kind(head: bytes, kind: str | None) -> None:
    """From the beginning of a request, whatever comes behind it."""
    assert kind_of(head) == kind


async def _relayed(delay_s: float) -> tuple[float, float, bytes]:
    """Ask a server directly and through a relay, some times; the medians in seconds, and the last answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(b"you said " + line)
            await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    relay = Relay(port, delay_s)
    medians, said = [], b""
    for place in (port, await relay.start()):
        reader, writer = await asyncio.open_connection("127.0.0.1", place)
        samples = []
        for _ in range(15):
            begun = time.perf_counter()
            writer.write(b"hello\n")
            said = await reader.readline()
            samples.append(time.perf_counter() - begun)
        medians.append(statistics.median(samples))
        writer.close()
    return medians[0], medians[1], said


def test_the_relay_adds_its_delay_and_changes_nothing() -> None:
    """Every answer is held back by so much, and is what the server said."""
    direct, relayed, said = asyncio.run(_relayed(0.04))
    assert said == b"you said hello\n"
    assert relayed - direct >= 0.039
