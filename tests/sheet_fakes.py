"""Stand in for what completion and the sheets' API are handed, with the rules of the real thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalicelib.contract.errors import Rejected
from chalicelib.contract.events import Errand
from chalicelib.contract.job import Job
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.parameter import Parameter
from chalicelib.contract.sheets import ErrandNote, Parked, Proof, Registration
from chalicelib.keys import UNKNOWN_CODE, Code
from chalicelib.rates import Usage
from chalicelib.registry import Bound


class MemoryRegistry:
    """Be the twin of `chalicelib.registry.Registry`; one suite judges both."""

    def __init__(self) -> None:
        self.kept: dict[str, Registration] = {}
        self.holders: dict[str, tuple[str, int]] = {}
        self.email = ""
        self.unparked: list[str] = []

    def get(self, spreadsheet_id: str) -> Registration:
        return self.kept.get(spreadsheet_id, Registration(spreadsheet_id=spreadsheet_id))

    def bind(self, spreadsheet_id: str, client_id: str, key_id: str, title: str) -> Bound | None:
        before = self.get(spreadsheet_id)
        if before.client_id not in (None, client_id):
            return None
        self._set(spreadsheet_id, client_id=client_id, key_id=key_id, title=title, proof=None, parked=None)
        return Bound(before.key_id)

    def disconnect(self, spreadsheet_id: str, key_id: str) -> bool:
        if self.get(spreadsheet_id).key_id != key_id:
            return False
        self._set(spreadsheet_id, key_id=None, auto_tabs=())
        return True

    def release(self, spreadsheet_id: str) -> bool:
        return self.kept.pop(spreadsheet_id, None) is not None

    def start_proof(self, spreadsheet_id: str, proof: Proof) -> None:
        self._set(spreadsheet_id, proof=proof)

    def note_proof(self, spreadsheet_id: str, proof: Proof) -> None:
        self._set(spreadsheet_id, proof=proof)

    def park(self, spreadsheet_id: str, parked: Parked) -> None:
        self._set(spreadsheet_id, parked=parked)

    def unpark(self, spreadsheet_id: str) -> None:
        self.unparked.append(spreadsheet_id)
        if spreadsheet_id in self.kept:
            self._set(spreadsheet_id, parked=None)

    def parked(self) -> list[Registration]:
        return [each for each in self.kept.values() if each.parked is not None]

    def note_errand(self, spreadsheet_id: str, note: ErrandNote) -> None:
        self._set(spreadsheet_id, errand=note)

    def set_auto(self, spreadsheet_id: str, sheet_id: int, *, on: bool) -> None:
        tabs = set(self.get(spreadsheet_id).auto_tabs) - {sheet_id} | ({sheet_id} if on else set())
        self._set(spreadsheet_id, auto_tabs=tuple(sorted(tabs)))

    def autos(self) -> list[Registration]:
        return [each for each in self.kept.values() if each.auto_tabs]

    def note_auto(self, spreadsheet_id: str, now: int) -> None:
        self._set(spreadsheet_id, auto_at=now)

    def hold(self, spreadsheet_id: str, token: str, *, now: int, until: int) -> bool:
        holder, held_until = self.holders.get(spreadsheet_id, (token, 0))
        if holder != token and held_until >= now:
            return False
        self.holders[spreadsheet_id] = (token, until)
        return True

    def let_go(self, spreadsheet_id: str, token: str) -> None:
        if self.holders.get(spreadsheet_id, ("", 0))[0] == token:
            del self.holders[spreadsheet_id]

    def note_account(self, email: str) -> None:
        self.email = email

    def account(self) -> str:
        return self.email

    def _set(self, spreadsheet_id: str, **fields: Any) -> None:
        self.kept[spreadsheet_id] = self.get(spreadsheet_id).model_copy(update=fields)


class FreeTurns:
    """Give everybody a turn at once; *waits* are what the next ones are told instead."""

    def __init__(self, *waits: int) -> None:
        self.waits = list(waits)
        self.asked: list[tuple[str, int]] = []
        self.taken: list[str] = []

    def turn(self, spreadsheet_id: str, now: int) -> int:
        self.asked.append((spreadsheet_id, now))
        if self.waits:
            return self.waits.pop(0)
        self.taken.append(spreadsheet_id)
        return 0


class NoteBook:
    """Note which jobs were booked."""

    def __init__(self) -> None:
        self.noted: list[str] = []
        self.noted_at: list[int] = []
        self.pace: dict[str, int] = {}

    def note(self, job: Job, now: int) -> None:
        self.noted.append(job.job_id)
        self.noted_at.append(now)

    def today(self, spreadsheet_id: str, now: int) -> Usage:
        return Usage(images=len(self.noted), gpu_ms=36_000 * len(self.noted))

    def pace_ms(self, workflow_hash: str) -> int | None:
        return self.pace.get(workflow_hash)


class Post:
    """Note what is sent to workers and to completion."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.hinted: list[tuple[str, int | None]] = []
        self.again: list[str] = []
        self.checked: list[list[str]] = []
        self.checked_in: list[int] = []
        """The minutes of the rounds that asked for these looks."""
        self.errands: list[Errand] = []

    def send(self, jobs: Sequence[Job]) -> int:
        self.sent += [(job.job_id, job.seq) for job in jobs]
        return len(jobs)

    def waiting(self) -> int:
        return len(self.sent)

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        self.hinted.append((job.job_id, sweep_minute))

    def hint_again(self, job: Job) -> None:
        self.again.append(job.job_id)

    def check(self, jobs: Sequence[Job], sweep_minute: int) -> None:
        self.checked.append([job.job_id for job in jobs])
        self.checked_in.append(sweep_minute)

    def ask(self, errand: Errand) -> None:
        self.errands.append(errand)


class Crowd:
    """Be *alive* workers that have *files* for every parameter that names a file."""

    def __init__(self, alive: int = 1, **files: tuple[str, ...]) -> None:
        self._alive = alive
        self.files = files

    def alive(self) -> int:
        return self._alive

    def choices(self, workflow: Workflow, parameter: Parameter) -> tuple[str, ...]:
        return self.files.get(parameter.type, ())


class Locksmith:
    """Know one-time codes and make keys."""

    def __init__(self, **codes: Code) -> None:
        self.codes = codes
        self.made: list[str] = []
        self.revoked: list[str] = []

    def code(self, text: str) -> Code:
        if text not in self.codes:
            raise UNKNOWN_CODE
        return self.codes[text]

    def forget(self, key_id: str) -> None:
        assert key_id in self.revoked

    def use_code(self, code_id: str, spreadsheet_id: str) -> bool:
        for text, code in self.codes.items():
            if code.code_id == code_id and code.used_by in ("", spreadsheet_id):
                self.codes[text] = Code(code.code_id, code.client_id, spreadsheet_id)
                return True
        return False

    def new_sheet(self, client_id: str, spreadsheet_id: str) -> str:
        key_id = f"{len(self.made):012x}"
        self.made.append(key_id)
        return f"ck_{key_id}_{'s' * 43}"

    def revoke(self, key_id: str) -> bool:
        self.revoked.append(key_id)
        return True


def refused(call: Any) -> Rejected:
    """Give the rejection that *call* ends with."""
    try:
        call()
    except Rejected as no:
        return no
    raise AssertionError("it was not rejected")


class MemoryCounters:
    """Be the twin of `chalicelib.rates.Counters`; one suite judges both."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}

    def get(self, slot: str) -> dict[str, Any]:
        return dict(self._kept.get(slot, {}))

    def add(
        self, slot: str, amounts: dict[str, Any], *, expires_s: int, limit: tuple[str, int] | None = None
    ) -> dict[str, Any] | None:
        item = self._kept.setdefault(slot, {})
        if limit is not None and int(item.get(limit[0], {"N": "0"})["N"]) >= limit[1]:
            return None
        item["ttl"] = {"N": str(expires_s)}
        for name, amount in amounts.items():
            if "N" in amount:
                item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(amount["N"]))}
            else:
                item[name] = {"SS": sorted({*item.get(name, {"SS": []})["SS"], *amount["SS"]})}
        return dict(item)

    def put(self, slot: str, value: int, *, expires_s: int) -> None:
        self._kept[slot] = {"value": {"N": str(value)}, "ttl": {"N": str(expires_s)}}
