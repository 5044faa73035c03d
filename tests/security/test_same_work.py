"""S3: a key that is unknown, wrong, ended or of another kind is refused in the same words, after the same work."""

from __future__ import annotations

import hmac
import json
import math
import random
import secrets
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job
from chalicelib.keymaker import _hash
from chalicelib.keys import Keys
from chalicelib.links import linked_job
from tests.jobs import new_job
from tests.security.figures import IS_WHOLE, RESULTS, Note, of_size

RIGHT = "R" * 43
RECORDS = {
    "0" * 12: {"kind": "api", "client_id": "studio", "secret_sha256": _hash(RIGHT)},
    "1" * 12: {"kind": "api", "client_id": "studio", "secret_sha256": _hash(RIGHT), "expires_at": "1"},
    "2" * 12: {"kind": "sheet", "client_id": "studio", "spreadsheet_id": "s"},
    "3" * 12: {"kind": "code", "client_id": "studio", "secret_sha256": _hash(RIGHT), "expires_at": "9e9"},
    "4" * 12: {
        "kind": "api",
        "client_id": "x",
        "secret_sha256": _hash("N" * 43),
        "old_sha256": _hash(RIGHT),
        "old_until": "1",
    },
}
REFUSED = {
    "an unknown id": f"ck_{'9' * 12}_{RIGHT}",  # digits as the known ones: a letter takes the pattern longer
    "a wrong secret": f"ck_{'0' * 12}_{'W' * 43}",
    "a secret with the right beginning": f"ck_{'0' * 12}_{RIGHT[:-1]}W",
    "an ended key": f"ck_{'1' * 12}_{RIGHT}",
    "a sheet's key": f"ck_{'2' * 12}_{RIGHT}",
    "a code": f"ck_{'3' * 12}_{RIGHT}",
    "a former secret": f"ck_{'4' * 12}_{RIGHT}",
}


class Table:
    """Be the table of keys, and count who reads it."""

    def __init__(self) -> None:
        self.reads = 0

    def get_item(self, Key: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.reads += 1
        record = RECORDS.get(Key["key_id"]["S"])
        return {"Item": {name: {"S": value} for name, value in record.items()}} if record else {}


def keys(table: Table, is_same: Callable[[str, str], bool] = hmac.compare_digest) -> Keys:
    there: Any = table
    return Keys(there, there, "keys", "/p", lambda: 0.0, is_same=is_same)


def refusal(ring: Keys, key: str) -> Rejected:
    with pytest.raises(Rejected) as no:
        ring.api_key(f"Bearer {key}")
    return no.value


def test_every_refused_key_costs_the_same_and_is_told_the_same(note: Note) -> None:
    """One read, two comparisons in constant time, one sentence, whichever it is; and again from the cache."""
    compared: list[tuple[int, int]] = []

    def counted(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    seen = {}
    for what, key in REFUSED.items():
        table = Table()
        ring = keys(table, counted)
        costs = []
        for _ in range(2):
            compared.clear()
            reads = table.reads
            no = refusal(ring, key)
            costs.append((table.reads - reads, tuple(compared), no.code, no.message))
        seen[what] = costs
    first = seen["an unknown id"]
    note(
        "S3",
        "refused keys that cost or are told something else",
        len(seen),
        [it for it in seen.items() if it[1] != first],
    )
    assert first[0][0] == 1 and first[1][0] == 0 and set(first[0][1]) == {(64, 64)}


def test_links_are_not_found_by_trying(note: Note) -> None:
    """A token has 128 random bits; guesses, tokens of other jobs and ones that nearly fit open nothing."""
    job, times = new_job(view_token=secrets.token_urlsafe(16)), of_size(5_000, 100_000)
    right = job.view_token
    near = [right[:at] + "-_"[right[at] == "-"] + right[at + 1 :] for at in range(len(right))]
    guesses = [*near, right[:-1], right + "=", right.swapcase(), "", *(secrets.token_urlsafe(16) for _ in range(times))]
    note("S10", "guessed tokens that opened a job's page", len(guesses), [one for one in guesses if _opens(job, one)])
    assert _opens(job, right)


def _opens(job: Job, token: str) -> bool:
    try:
        return linked_job(job, token) is job
    except Rejected:
        return False


def test_no_secret_can_be_read_from_what_is_kept(note: Note) -> None:
    """Of a random secret the table holds its SHA-256: no part of it of eight letters stands there."""
    made = [secrets.token_urlsafe(32) for _ in range(of_size(100, 1_000))]
    kept = json.dumps([_hash(secret) for secret in made])
    pieces = [secret[at : at + 8] for secret in made for at in range(36)]
    note("S3", "pieces of secrets found in what the table keeps", len(pieces), [one for one in pieces if one in kept])


def test_timing_tells_nothing_about_keys() -> None:
    """
    Measured, by rank (Mann-Whitney), interleaved: a key that is known against one that is not; a right beginning.

    A figure, no fence: a busy machine may say anything, and 10,000 samples find differences of 100 ns, which nobody
    sees through a network. It is written beside the others, in the full size alone.
    """
    times = of_size(300, 10_000)
    ring = keys(Table())
    for key in REFUSED.values():
        refusal(ring, key)
    pairs = [("a wrong secret", "an unknown id"), ("a secret with the right beginning", "a wrong secret")]
    told = {f"{one} / {other}": _p_value(_timed(ring, REFUSED[one], REFUSED[other], times)) for one, other in pairs}
    job = new_job()
    unknown: Job | None = None
    told["a link's token: known job / unknown job"] = _p_value(
        _samples(lambda: _linked(job, "w" * 22), lambda: _linked(unknown, "w" * 22), times)
    )
    assert all(0 <= p <= 1 for p, _ in told.values())
    if IS_WHOLE:
        document = {name: {"p": round(p, 3), "medians_ns": medians, "n": times} for name, (p, medians) in told.items()}
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        (RESULTS.parent / "timing.json").write_text(json.dumps(document, indent=2) + "\n")


Samples = tuple[list[int], list[int]]


def _linked(job: Job | None, token: str) -> None:
    try:
        linked_job(job, token)
    except Rejected:
        return


def _timed(ring: Keys, one: str, other: str, times: int) -> Samples:
    def ask(key: str) -> None:
        try:
            ring.api_key(f"Bearer {key}")
        except Rejected:
            return

    return _samples(lambda: ask(one), lambda: ask(other), times)


def _samples(one: Callable[[], None], other: Callable[[], None], times: int) -> Samples:
    """Time both in turns, in an order of dice."""
    dice, found = random.Random(1), ([], [])  # type: ignore[var-annotated]
    for _ in range(times):
        for number, what in sorted(((0, one), (1, other)), key=lambda _: dice.random()):
            begun = time.perf_counter_ns()
            what()
            found[number].append(time.perf_counter_ns() - begun)
    return found


def _p_value(samples: Samples) -> tuple[float, tuple[float, float]]:
    """Give the chance of a difference of ranks as large as this by accident (two-sided, normal approximation)."""
    one, other = samples
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    ranks = [0.0, 0.0]
    place = 0
    while place < len(ranked):
        end = place
        while end < len(ranked) and ranked[end][0] == ranked[place][0]:
            end += 1
        for _, whose in ranked[place:end]:
            ranks[whose] += (place + end + 1) / 2
        place = end
    n, m = len(one), len(other)
    u = ranks[0] - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2)), (statistics.median(one), statistics.median(other))
