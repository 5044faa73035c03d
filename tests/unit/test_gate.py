"""The gate: whose key, which scope, how often; and what a key learns about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from chalicelib.api_parts import Call, guarded
from chalicelib.contract.errors import Exhausted, Rejected, Unavailable
from chalicelib.contract.limits import SHEET_LIMITS, Account, Limits
from chalicelib.gate import Gate, Meter
from chalicelib.keys import UNKNOWN_KEY, ApiKey, SheetKey
from chalicelib.me_api import Me, MeApi
from chalicelib.operations import OPERATIONS
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job

KEY = ApiKey("k1", "studio", frozenset({"read"}), "s1", Limits(queued_max=9, gpu_s_per_day=60))


@dataclass
class Ring:
    """Know one key."""

    key: ApiKey = field(default_factory=lambda: KEY)

    def api_key(self, authorization: str) -> ApiKey:
        if authorization != "Bearer right":
            raise UNKNOWN_KEY
        return self.key


@dataclass
class Books:
    """Count requests; *trouble* is raised instead."""

    trouble: Exception | None = None
    taken: list[str] = field(default_factory=list)

    def take(self, key_id: str, limits: Limits, now: int) -> Account:
        if self.trouble is not None:
            raise self.trouble
        self.taken.append(key_id)
        return Account(key_id, limits, gpu_ms_today=1_500)


def call(key: str = "right") -> Call:
    return Call({"authorization": f"Bearer {key}"}, b"", "https://host")


def gate(books: Books) -> Gate:
    return Gate(Ring(), Meter(books, lambda: NOW))


def test_a_counted_key_carries_what_it_has_used() -> None:
    """Who is let in is counted once; an open route counts nobody."""
    books = Books()
    admitted = gate(books).admitted(call(), "read")
    assert admitted.caller.account == Account("k1", Ring().key.limits, 1_500)
    assert gate(books).admitted(call("wrong"), None).key is None
    assert books.taken == ["k1"]


def test_a_key_that_lacks_the_scope_is_counted_and_refused() -> None:
    """Whoever tries doors uses up their rate; an unknown key has none to use up."""
    books = Books()
    with pytest.raises(Rejected, match="lacks the scope admin"):
        gate(books).admitted(call(), "admin")
    with pytest.raises(Rejected) as unknown:
        gate(books).admitted(call("wrong"), "read")
    assert unknown.value is UNKNOWN_KEY and books.taken == ["k1"]


def test_too_many_requests_are_a_429_with_a_time() -> None:
    """In whole seconds, at least one."""
    spent = Exhausted("rate_limited", "This key may ask 20 times a second.", retry_in_s=0.05)

    def answer() -> object:
        gate(Books(spent)).admitted(call(), "read")
        raise AssertionError("let in")

    told = guarded(answer)  # type: ignore[arg-type]
    assert (told.status, told.headers, told.body["error"]["code"]) == (429, {"Retry-After": "1"}, "rate_limited")


def test_counters_out_of_reach_let_everybody_pass() -> None:
    """A rate is worth less than the service; what was used counts as nothing then."""
    admitted = gate(Books(Unavailable("away"))).admitted(call(), "read")
    assert admitted.caller.gpu_ms_today == 0


def test_a_sheets_requests_are_counted_by_the_same_meter() -> None:
    """With its own, more generous limits."""
    key = SheetKey("k2", "studio", "s1", ())
    counted = Meter(Books(), lambda: NOW).counted(key)
    assert counted.limits == SHEET_LIMITS and counted.account.gpu_ms_today == 1_500


def test_a_key_learns_what_it_may_and_what_it_has_used() -> None:
    """GET /api/v2/me: the open jobs are those of the whole client."""
    ledger = MemoryLedger()
    for client in ("studio", "studio", "another"):
        ledger.submit(new_job(client_id=client))
    told = MeApi(ledger).get(gate(Books()).admitted(call(), "read"))
    assert (told.status, Me.model_validate(told.body).model_dump()) == (
        200,
        {
            "key_id": "k1",
            "client": "studio",
            "scopes": ["read"],
            "spreadsheet_id": "s1",
            "limits": {"rate_per_s": 20.0, "burst": 100, "queued_max": 9, "gpu_seconds_per_day": 60},
            "used": {"gpu_seconds_today": 1.5, "queued": 2},
        },
    )
    [route] = [each for each in OPERATIONS if each.name == "getMe"]
    assert (route.method, route.path, route.scope) == ("GET", "/api/v2/me", "read")
