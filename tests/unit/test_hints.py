"""A batch of news is worked through: what is done is deleted, what is not comes again in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Check, Ended, Errand, Hint
from chalicelib.hints import DELAYS_S, work_through


class Line:
    """Be completion, its errands and its queue."""

    def __init__(self, waits: Mapping[str, float | None] | None = None, errand_fails: float | None = None) -> None:
        self.waits = dict(waits or {})
        self.errand_fails = errand_fails
        self.ended: list[str] = []
        self.ends_fail = False
        self.shown: tuple[list[str], list[str]] | None = None
        self.run_: list[Errand] = []
        self.settled: tuple[list[str], dict[str, int]] | None = None
        self.buried: list[tuple[str, str]] = []
        self.burying_fails: float | None = None

    def bury(self, record: Mapping[str, Any], reason: str) -> None:
        if self.burying_fails is not None:
            raise Unavailable("SQS is away.", retry_in_s=self.burying_fails)
        self.buried.append((record["body"], reason))

    def show(self, job_ids: Any, check: Any) -> dict[str, float | None]:
        self.shown = (list(job_ids), list(check))
        return self.waits

    def run(self, errand: Errand) -> None:
        if self.errand_fails is not None:
            raise Unavailable("busy", retry_in_s=self.errand_fails)
        self.run_.append(errand)

    def end(self, ended: Sequence[Ended]) -> None:
        if self.ends_fail:
            raise Unavailable("The job table is busy.", retry_in_s=3)
        self.ended += [each.ended for each in ended]

    def settle(self, done: Sequence[str], later: Mapping[str, int]) -> None:
        self.settled = (list(done), dict(later))

    def work(self, *records: dict[str, Any]) -> None:
        work_through(records, self, self, self, settle=self.end)  # type: ignore[arg-type]


def record(body: str, receipt: str, times: int = 1) -> dict[str, Any]:
    return {"body": body, "receiptHandle": receipt, "attributes": {"ApproximateReceiveCount": str(times)}}


def hint(job_id: str, receipt: str, times: int = 1) -> dict[str, Any]:
    return record(Hint(job_id=job_id, version=1).model_dump_json(), receipt, times)


A, B, C = (str(uuid4()) for _ in range(3))
ERRAND = Errand(errand="check", spreadsheet_id="s", id="e").model_dump_json()


def test_a_batch_of_all_kinds_is_one_flush() -> None:
    """Hints, second looks and errands; nothing is settled by hand when all is well: SQS deletes the batch."""
    line = Line()
    line.work(hint(A, "r1"), hint(A, "r2"), record(Check(check=[B, C]).model_dump_json(), "r3"), record(ERRAND, "r4"))
    assert line.shown == ([A], [B, C])
    assert [errand.errand for errand in line.run_] == ["check"] and line.settled is None


def test_what_has_to_wait_comes_again_when_its_turn_is() -> None:
    """The wait that was told, in whole seconds, rounded up; the others are deleted."""
    line = Line({A: 2.3})
    with pytest.raises(Unavailable):
        line.work(hint(A, "r1"), hint(B, "r2"), record(Check(check=[A, C]).model_dump_json(), "r3"))
    assert line.settled == (["r2"], {"r1": 3, "r3": 3})


def test_an_outage_is_asked_about_more_and_more_seldom() -> None:
    """Without a told wait the pause grows with every time."""
    for times, pause in [(1, DELAYS_S[0]), (3, DELAYS_S[2]), (40, DELAYS_S[-1])]:
        line = Line({A: None})
        with pytest.raises(Unavailable):
            line.work(hint(A, "r1", times))
        assert line.settled == ([], {"r1": pause})


def test_an_errand_that_has_to_wait_holds_up_no_row() -> None:
    """The rows of the batch are deleted, the errand comes again."""
    line = Line(errand_fails=10)
    with pytest.raises(Unavailable):
        line.work(hint(A, "r1"), record(ERRAND, "r2"))
    assert line.settled == (["r1"], {"r2": 10})


HUGE = f'{{"job_id": "{A}", "version": {"9" * 60}}}'
"""DynamoDB refuses numbers of more than 38 digits."""


def test_what_nobody_understands_is_buried_at_once() -> None:
    """Among the dead letters an alarm looks; in the queue it would hold up its whole group."""
    line = Line({A: 1})
    with pytest.raises(Unavailable):
        line.work(record("{", "r1"), record('{"errand": "rob"}', "r2"), record(HUGE, "r4"), hint(A, "r3"))
    assert line.settled == (["r1", "r2", "r4"], {"r3": 1})
    assert [body for body, _ in line.buried] == ["{", '{"errand": "rob"}', HUGE]
    assert all(reason.startswith("the body is no message of ours (") for _, reason in line.buried)


def test_what_cannot_be_buried_yet_comes_again() -> None:
    """It is not deleted before it lies among the dead letters; the others are done with."""
    line = Line()
    line.burying_fails = 7
    with pytest.raises(Unavailable):
        line.work(record("{", "r1"), hint(A, "r2"))
    assert line.settled == (["r2"], {"r1": 7})


class Faulty(Line):
    """Have a fault of ours, in errands or in rows."""

    def __init__(self, fault: Exception, rows: Exception | None = None) -> None:
        super().__init__()
        self.fault, self.rows = fault, rows
        self.given_up: list[Errand] = []

    def show(self, job_ids: Any, check: Any) -> dict[str, float | None]:
        if self.rows is not None:
            raise self.rows
        return super().show(job_ids, check)

    def run(self, errand: Errand) -> None:
        raise self.fault

    def give_up(self, errand: Errand) -> None:
        self.given_up.append(errand)


def test_a_fault_of_ours_does_not_block_a_spreadsheet_for_ever() -> None:
    """Tried three times, seconds apart; then dropped, and told to whoever asked. The batch's rows are done with."""
    for times in (1, 2):
        line = Faulty(KeyError("replies"))
        with pytest.raises(Unavailable):
            line.work(hint(A, "r1"), record(ERRAND, "r2", times))
        assert line.settled == (["r1"], {"r2": DELAYS_S[times - 1]}) and line.given_up == []
    line = Faulty(KeyError("replies"))
    line.work(hint(A, "r1"), record(ERRAND, "r2", 3))
    assert line.settled is None and [errand.errand for errand in line.given_up] == ["check"]


def test_a_job_table_out_of_reach_brings_the_rows_back_soon() -> None:
    """Not after the queue's six minutes; and the errands are run."""
    line = Faulty(Unavailable("x"), rows=Unavailable("The job table is busy.", retry_in_s=2))
    with pytest.raises(Unavailable):
        line.work(hint(A, "r1"), record(Check(check=[B]).model_dump_json(), "r2"), record(ERRAND, "r3"))
    assert line.settled == ([], {"r1": 2, "r2": 2, "r3": DELAYS_S[0]})


def test_errands_behind_slow_rows_are_left_to_the_next_call() -> None:
    """A call has 60 seconds; one that is cut off holds up its spreadsheets for six minutes."""
    line, clock = Line(), iter([0.0, 21.0])
    with pytest.raises(Unavailable):
        work_through([hint(A, "r1"), record(ERRAND, "r2")], line, line, line, lambda: next(clock), settle=line.end)  # type: ignore[arg-type]
    assert line.settled == (["r1"], {"r2": 1}) and line.run_ == []


def test_ends_are_settled_before_rows_are_written() -> None:
    """A GPU waits for the next job; a row may wait for Google. What could not be settled comes again."""
    line = Line()
    end = Ended(ended=A, client_id="studio").model_dump_json()
    line.work(record(end, "r1"))
    assert (line.ended, line.shown, line.settled) == ([A], None, None)
    line.ends_fail = True
    with pytest.raises(Unavailable):
        line.work(record(end, "r1"), hint(B, "r2"))
    assert line.settled == (["r2"], {"r1": 3})
