"""Judge a registry of spreadsheets: the twin in memory and DynamoDB's protocol, by one suite."""

from __future__ import annotations

from uuid import uuid4

import pytest

from chalicelib.contract.sheets import ErrandNote, Parked, Proof, Registration
from chalicelib.registry import Bound, Registry
from tests.conftest import make_table
from tests.jobs import NOW
from tests.sheet_fakes import MemoryRegistry

PROOF = Proof(text="t" * 24, code_id="0123456789ab", until=NOW + 1000)


@pytest.fixture(params=["memory", "dynamo"])
def registry(request: pytest.FixtureRequest) -> Registry | MemoryRegistry:
    if request.param == "memory":
        return MemoryRegistry()
    client = request.getfixturevalue("aws").client("dynamodb")
    return Registry(client, make_table(client, request.getfixturevalue("resources")["SheetsTable"]["Properties"]))


def test_an_unknown_spreadsheet_is_nobodys(registry: Registry) -> None:
    """Reading makes nothing."""
    assert registry.get("s") == Registration(spreadsheet_id="s")
    registry.unpark("s")
    assert not registry.release("s")


def test_a_spreadsheet_is_one_clients(registry: Registry) -> None:
    """Its own client may bind it again, another one may not, until it is released."""
    registry.start_proof("s", PROOF)
    assert registry.bind("s", "studio-a", "k1", "My film")
    there = registry.get("s")
    assert (there.client_id, there.key_id, there.title, there.proof) == ("studio-a", "k1", "My film", None)
    assert registry.bind("s", "studio-a", "k2", "My film")
    assert not registry.bind("s", "studio-b", "k3", "Mine now")
    assert registry.get("s").key_id == "k2"
    assert registry.release("s")
    assert registry.bind("s", "studio-b", "k3", "Mine now")


def test_parts_do_not_touch_each_other(registry: Registry) -> None:
    """Proof, errand, park and auto mode are written by different hands at the same time."""
    registry.bind("s", "studio-a", "k1", "")
    registry.note_proof("s", PROOF.model_copy(update={"trouble": "not shared"}))
    registry.note_errand("s", ErrandNote(id="e", state="failed", message="No."))
    registry.park("s", Parked(reason="Not shared.", since=NOW, until=NOW + 5))
    registry.set_auto("s", 7, on=True)
    registry.set_auto("s", 0, on=True)
    registry.note_auto("s", NOW)
    there = registry.get("s")
    assert there.proof is not None and there.proof.trouble == "not shared"
    assert there.errand == ErrandNote(id="e", state="failed", message="No.")
    assert there.parked == Parked(reason="Not shared.", since=NOW, until=NOW + 5)
    assert (there.auto_tabs, there.auto_at, there.client_id) == ((0, 7), NOW, "studio-a")
    registry.unpark("s")
    assert registry.get("s").parked is None


def test_only_spreadsheets_with_auto_tabs_are_listed(registry: Registry) -> None:
    """Switching the last tab off takes the spreadsheet from the list."""
    registry.bind("quiet", "studio-a", "k1", "")
    registry.bind("busy", "studio-a", "k2", "")
    registry.set_auto("busy", 3, on=True)
    assert [each.spreadsheet_id for each in registry.autos()] == ["busy"]
    registry.set_auto("busy", 3, on=False)
    assert registry.autos() == [] and registry.get("busy").auto_tabs == ()


def test_one_starts_rows_at_a_time(registry: Registry) -> None:
    """The lease is its holder's until it ends or is let go; nobody else can let it go."""
    mine, other = uuid4().hex, uuid4().hex
    assert registry.hold("s", mine, now=NOW, until=NOW + 60)
    assert registry.hold("s", mine, now=NOW + 30, until=NOW + 90)
    assert not registry.hold("s", other, now=NOW + 90, until=NOW + 150)
    registry.let_go("s", other)
    assert not registry.hold("s", other, now=NOW + 90, until=NOW + 150)
    assert registry.hold("s", other, now=NOW + 91, until=NOW + 150)
    registry.let_go("s", other)
    assert registry.hold("s", mine, now=NOW + 92, until=NOW + 150)


def test_our_own_name_is_known_to_all(registry: Registry) -> None:
    """The API may not read Google's key, and tells people whom to share with all the same."""
    assert registry.account() == ""
    registry.note_account("robot@project.iam.gserviceaccount.com")
    assert registry.account() == "robot@project.iam.gserviceaccount.com"
    assert registry.autos() == []


def test_a_binding_tells_which_key_it_replaced(registry: Registry) -> None:
    """Of this very write: who comes second ends the key of who came first."""
    assert registry.bind("s", "studio-a", "k1", "") == Bound(None)
    assert registry.bind("s", "studio-a", "k2", "") == Bound("k1")
    assert registry.bind("s", "studio-b", "k3", "") is None


def test_what_a_key_was_for_ends_with_it(registry: Registry) -> None:
    """No row starts by itself any more; the spreadsheet stays its client's. A replaced key ends nothing."""
    registry.bind("s", "studio-a", "k1", "My film")
    registry.set_auto("s", 0, on=True)
    assert not registry.disconnect("s", "k0") and registry.get("s").auto_tabs == (0,)
    assert registry.disconnect("s", "k1")
    there = registry.get("s")
    assert (there.client_id, there.key_id, there.auto_tabs, there.title) == ("studio-a", None, (), "My film")
    assert not registry.disconnect("unknown", "k1")


def test_the_parked_ones_are_listed_until_they_are_written_to(registry: Registry) -> None:
    """Whoever looks after the farm sees each that refuses us, and only those."""
    registry.bind("a", "studio-a", "k1", "")
    registry.bind("b", "studio-a", "k2", "")
    registry.park("b", Parked(reason="Not shared.", since=NOW, until=NOW + 5))
    assert [each.spreadsheet_id for each in registry.parked()] == ["b"]
    registry.unpark("b")
    assert registry.parked() == []
