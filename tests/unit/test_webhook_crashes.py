"""Wherever a function dies between a job's end and its delivery, the receiver is told all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.complete import Complete
from chalicelib.contract.deliveries import DeliveryState, LaneHint
from chalicelib.contract.job import Job, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.deliver import Deliver
from chalicelib.herald import Herald
from chalicelib.lanes import LaneSweep
from chalicelib.sweep import Sweep
from chalicelib.webhooks import Webhooks
from chalicelib.window import Window
from tests.delivery_fakes import Bell, Board, MemoryBook, PaperPoster, PaperSecrets
from tests.fakes import MemoryLedger, MemorySeats
from tests.jobs import NOW, new_job
from tests.paper import HEADER, SHEET, PaperSheet
from tests.sheet_fakes import FreeTurns, MemoryRegistry, NoteBook, Post

CLIENT = "client-1"
STEPS = 40
"""More than one round from a job's end to its delivery has."""


class Killed(BaseException):
    """Be the power cut: nobody catches it."""


class Fuse:
    """Count the steps of everything that is wired through it, and cut the power before or after one of them."""

    def __init__(self, step: int | None, *, after: bool) -> None:
        self.left = step
        self.after = after
        self.steps: list[str] = []

    def wire(self, thing: object) -> Any:
        """Give *thing* with every call counted."""
        return _Wired(thing, self)

    def call(self, name: str, act: Callable[[], object]) -> object:
        self.steps.append(name)
        is_last = self.left is not None and len(self.steps) == self.left
        if is_last and not self.after:
            raise Killed(name)
        answer = act()
        if is_last:
            raise Killed(name)
        return answer


class _Wired:
    def __init__(self, thing: object, fuse: Fuse) -> None:
        self._thing, self._fuse = thing, fuse

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._thing, name)
        if not callable(real):
            return real
        label = f"{type(self._thing).__name__}.{name}"
        return lambda *given, **named: self._fuse.call(label, lambda: real(*given, **named))


class Line:
    """Hold what lies between a job's end and its receiver; the tables outlive every power cut."""

    def __init__(self, fuse: Fuse, *, with_row: bool) -> None:
        self.now = NOW
        self.ledger, self.book, self.secrets, self.poster = MemoryLedger(), MemoryBook(), PaperSecrets(), PaperPoster()
        self.post, self.bell, self.board, self.seats = Post(), Bell(), Board(), MemorySeats()
        job = new_job() if with_row else new_job(target=None)
        self.sheet = PaperSheet({"Prompt": "a fox", "Status": "queued", "Job ID": job.job_key})
        if with_row:
            job = new_job(job_key=job.job_key, target=job.target.model_copy(update={"spreadsheet_id": SHEET}))
        Webhooks(self.book, self.secrets, self.bell, lambda: NOW).create(CLIENT, "https://hooks.example/")
        self.job = self.ledger.submit(job.model_copy(update={"synced_version": 1})).job
        claim = self.ledger.claim(self.job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(claim, Claimed)
        assert self.ledger.commit(claim.lease, now=NOW, outputs=[], timings=Timings())
        self.wire(fuse)

    def wire(self, fuse: Fuse) -> None:
        """Start the functions anew."""
        ledger, book, bell = fuse.wire(self.ledger), fuse.wire(self.book), fuse.wire(self.bell)
        clock = lambda: self.now  # noqa: E731
        herald = Herald(book, bell, fuse.wire(self.board), clock)
        registry = MemoryRegistry()
        self.complete = Complete(ledger, fuse.wire(self.sheet), registry, FreeTurns(), NoteBook(), herald, clock)
        self.deliver = Deliver(
            book,
            ledger,
            self.secrets,
            fuse.wire(self.poster),
            self.board,
            fuse.wire(self.seats),
            clock,
            lambda: 0.0,
        )
        window = Window(ledger, self.post, lambda: 0, clock)
        self.sweep = Sweep(ledger, self.post, fuse.wire(self.post), registry, clock, window)
        self.lane_sweep = LaneSweep(book, bell, clock)

    def round(self) -> None:
        """Act on all hints that are there."""
        hinted, self.post.hinted = self.post.hinted, []
        checked, self.post.checked = self.post.checked, []
        named = {job_id for jobs in checked for job_id in jobs}
        self.complete.show([*(job_id for job_id, _ in hinted), *named], check=named)
        rung, self.bell.rung = self.bell.rung, []
        for hint in rung:
            self.deliver.look(LaneHint(client_id=hint.client_id, lane=hint.lane, delivery_id=hint.delivery_id))

    def minute(self) -> None:
        self.now += 60_000
        self.sweep.sweep()
        self.lane_sweep.sweep()
        self.round()

    def stands(self) -> Job:
        there = self.ledger.get(self.job.job_id)
        assert there is not None
        return there


@pytest.mark.parametrize("with_row", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_power_cut_between_any_two_steps_loses_no_delivery(with_row: bool, after: bool) -> None:
    """
    Cut before or after each call of table, queue, sheet and receiver in turn; hints in flight are lost as well.

    Then the sweeper's minutes alone bring it to the end: delivered, shown, and nothing left in any index.
    """
    assert HEADER
    cut: list[str] = []
    for step in range(1, STEPS):
        fuse = Fuse(step, after=after)
        line = Line(fuse, with_row=with_row)
        line.post.hinted.append((line.job.job_id, None))
        try:
            line.round()
        except Killed as place:
            cut.append(str(place))
            line.post.hinted.clear()
            line.bell.rung.clear()
        line.wire(Fuse(None, after=False))
        for _ in range(15):
            line.minute()
        [delivery] = line.book.kept.values()
        assert delivery.state is DeliveryState.DELIVERED, place_of(cut)
        assert 1 <= len(line.poster.posts) <= 2 and len(set(line.poster.ids())) == 1, place_of(cut)
        assert line.stands().is_shown, place_of(cut)
        assert all(lane.due_at is None for lane in line.book.lanes.values()), place_of(cut)
        assert line.job.job_id in {job_id for job_id, _ in line.board.ended}, place_of(cut)
    assert {"MemoryBook.announce", "MemoryBook.ring", "Bell.ring", "PaperPoster.post", "MemoryBook.move"} <= set(cut)
    assert {"MemoryLedger.mark_synced", "Board.tell_ended", "MemoryBook.rest"} <= set(cut)


def place_of(cut: list[str]) -> str:
    return f"cut at {cut[-1] if cut else 'nowhere'}"
