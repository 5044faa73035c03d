"""P12: in whatever order, how often and how late hints arrive, the rows in the end are the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.complete import Complete
from chalicelib.contract.events import Hint
from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.ports import Claimed, Lease
from chalicelib.contract.states import TERMINAL
from tests.delivery_fakes import QuietHerald
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output, target
from tests.paper import SHEET, PaperSheet
from tests.sheet_fakes import FreeTurns, MemoryRegistry, NoteBook
from tests.sizes import examples

ROWS = 3
FAULT = JobError(code="c", text="It broke.", hint="Mend it.")

moves = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.sampled_from(["claim", "retry", "commit", "fail", "cancel"])), max_size=14
)


@dataclass
class Shop:
    """Hold jobs, their rows, and the hints that were sent."""

    sheet: PaperSheet
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    leases: dict[int, Lease] = field(default_factory=dict)
    hints: list[Hint] = field(default_factory=list)

    @staticmethod
    def open() -> Shop:
        keys = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(ROWS)]
        shop = Shop(PaperSheet(*({"Prompt": f"p{n}", "Status": "queued", "Job ID": key} for n, key in enumerate(keys))))
        for number, key in enumerate(keys):
            prompt = f"p{number}"
            asked = {"target": target(SHEET, prompt=prompt), "inputs": {"prompt": prompt, "seed": 5}}
            job = new_job(job_key=key, synced_version=1, view_token="v", link_base="https://host/api", **asked)
            shop.ledger.submit(job)
            shop.jobs.append(job.job_id)
        return shop

    def __post_init__(self) -> None:
        self.jobs: list[str] = []

    def job(self, number: int) -> Job:
        there = self.ledger.get(self.jobs[number])
        assert there is not None
        return there

    def move(self, number: int, what: str) -> None:
        """Make a move if it can be made now, and hint at it."""
        job, lease = self.job(number), self.leases.get(number)
        now = NOW + len(self.hints)
        if what == "claim":
            got = self.ledger.claim(job.job_id, job.seq, owner="w", token=f"{number}-{now}", now=now, lease_ms=10**9)
            if isinstance(got, Claimed):
                self.leases[number] = got.lease
        elif what == "cancel":
            self.ledger.cancel(job.job_id, now=now)
        elif lease is not None and what == "retry":
            self.ledger.retry(lease, now=now, not_before=now, error=FAULT)
        elif lease is not None and what == "fail":
            self.ledger.fail(lease, now=now, error=FAULT)
        elif lease is not None and what == "commit":
            made = output(f"outputs/{job.job_id}/{lease.attempt}/0.png")
            self.ledger.commit(lease, now=now, outputs=[made], timings=Timings())
        after = self.job(number)
        if after.version != job.version:
            self.hints.append(Hint(job_id=after.job_id, version=after.version))

    def end(self, number: int) -> None:
        """Bring a job to an end if it has none."""
        for what in ("claim", "commit"):
            if self.job(number).state not in TERMINAL:
                self.move(number, what)

    def deliver(self, hints: list[Hint]) -> None:
        """Let a fresh completion act on one batch."""
        work = Complete(
            self.ledger, self.sheet, self.registry, FreeTurns(), NoteBook(), QuietHerald(), lambda: NOW + 1000
        )
        assert work.show(dict.fromkeys(hint.job_id for hint in hints)) == {}


@settings(max_examples=examples(300), deadline=None)
@given(moves, st.data())
def test_no_order_of_hints_changes_what_rows_show_in_the_end(steps: list[tuple[int, str]], data: st.DataObject) -> None:
    """
    Jobs move on while hints arrive late, twice, reversed and in batches; then all arrive in any order, and all again.

    The sheet is that of a queue which delivers each hint at once, once, in order.
    """
    plain, wild = Shop.open(), Shop.open()
    assert plain.jobs == wild.jobs
    for number, what in [*steps, *((number, "end") for number in range(ROWS))]:
        for shop in (plain, wild):
            before = len(shop.hints)
            if what == "end":
                shop.end(number)
            else:
                shop.move(number, what)
            if shop is plain:
                for hint in shop.hints[before:]:
                    shop.deliver([hint])
        if wild.hints and data.draw(st.booleans(), label="some arrive now"):
            wild.deliver(data.draw(st.lists(st.sampled_from(wild.hints), min_size=1, max_size=4)))
    every = data.draw(st.permutations(wild.hints * 2))
    for hint in every:
        wild.deliver([hint])
    shown = [list(line) for line in wild.sheet.grid]
    assert shown == plain.sheet.grid
    writes = wild.sheet.writes
    wild.deliver(data.draw(st.permutations(wild.hints)))
    assert (wild.sheet.grid, wild.sheet.writes) == (shown, writes), "a day later nothing is written"
