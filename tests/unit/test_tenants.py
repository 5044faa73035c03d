"""Two clients and three spreadsheets: nobody sees, stops, writes or switches what is another's, by any route."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.contract.job import Job, Timings, job_id_of
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import ErrandNote
from chalicelib.contract.states import State
from chalicelib.keys import UNKNOWN_KEY, ApiKey, SheetKey
from tests.jobs import NOW, new_job, target
from tests.unit.test_api import Desk

OWNERS = {"a-1": "studio-a", "a-2": "studio-a", "b-1": "studio-b"}
"""Spreadsheets, and whose they are."""
SECRETS = {name: bytes([number]) * 32 for number, name in enumerate(OWNERS)}
KEY_IDS = {f"{number:012x}": name for number, name in enumerate(OWNERS)}
ROUTES: dict[str, dict[str, Any]] = {
    "connection": {},
    "progress": {"job_keys": []},
    "cancel": {"job_keys": []},
    "fetch": {"job_keys": []},
    "errands": {"what": "check"},
    "look_at_errand": {"id": "x"},
    "auto": {"sheet_id": 0, "on": True},
    "claims": {"token": "t" * 16, "hold": True},
    "submit_rows": {"sheet_id": 0, "rows": [{"job_key": "k", "workflow": "txt2img-sdxl", "inputs": {"Prompt": "x"}}]},
}
EACH_OTHER = [(mine, other) for mine in OWNERS for other in OWNERS if mine != other]


class Ring:
    """Know a key of each spreadsheet."""

    def sheet_key(self, key_id: str) -> SheetKey:
        if key_id not in KEY_IDS:
            raise UNKNOWN_KEY
        name = KEY_IDS[key_id]
        return SheetKey(key_id, OWNERS[name], name, (SECRETS[name],))

    def look_again(self, _key_id: str) -> bool:
        return False

    def api_key(self, authorization: str) -> ApiKey:
        raise UNKNOWN_KEY


class Town:
    """Hold an API and a job of each spreadsheet, all of the same key: copies of one sheet."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.desk.sheet_api._keys = Ring()
        for key_id, name in KEY_IDS.items():
            assert self.desk.registry.bind(name, OWNERS[name], key_id, "")

    def ask(self, mine: str, route: str, named: str, **fields: Any) -> Answer:
        """Ask with the key of *mine* about the spreadsheet *named*."""
        body = json.dumps({"spreadsheet_id": named, **fields}).encode()
        nonce, stamp = str(uuid4()), str(int(time.time()))
        mac = hmac.new(SECRETS[mine], f"{nonce}.{stamp}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "x-key-id": next(key_id for key_id, name in KEY_IDS.items() if name == mine),
            "webhook-id": nonce,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        return guarded(lambda: getattr(self.desk.sheet_api, route)(Call(headers, body, "https://host/api")))

    def job(self, of: str) -> Job:
        job = new_job(client_id=OWNERS[of], target=target(of), link_base="https://h", inputs={"prompt": "secret fox"})
        return self.desk.ledger.submit(job).job

    def ended(self, of: str) -> Job:
        claimed = self.desk.ledger.claim(self.job(of).job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(claimed, Claimed)
        assert self.desk.ledger.commit(claimed.lease, now=NOW, outputs=[], timings=Timings())
        there = self.desk.ledger.get(claimed.job.job_id)
        assert there is not None and self.desk.ledger.mark_synced(there)
        return there


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("mine", "other"), EACH_OTHER)
def test_a_key_opens_its_own_spreadsheet_only(route: str, mine: str, other: str) -> None:
    """Named in the body: 403 on every route, and nothing happened there."""
    town = Town()
    before = town.desk.registry.get(other)
    answer = town.ask(mine, route, other, **ROUTES[route])
    assert (answer.status, answer.body["error"]["code"]) == (403, "forbidden")
    assert town.desk.registry.get(other) == before and town.desk.registry.holders == {}
    assert town.desk.post_box.errands == [] and town.desk.sent == []
    assert town.ask(mine, route, mine, **ROUTES[route]).status == 200


@pytest.mark.parametrize(("mine", "other"), EACH_OTHER)
def test_anothers_rows_are_unknown_here(mine: str, other: str) -> None:
    """By their keys, on every route that takes some: neither told, nor stopped, nor written again."""
    town = Town()
    open_, done = town.job(other), town.ended(other)
    keys = [open_.job_key, done.job_key]
    before = town.desk.ledger.get_many([open_.job_id, done.job_id])
    for route in ("progress", "cancel", "fetch"):
        body = town.ask(mine, route, mine, job_keys=keys).body
        told = body.get("results") or body["jobs"]
        assert {each.get("result") or each["state"] for each in told} == {"unknown"}
        assert "secret fox" not in str(body) and "/o/" not in str(body)
    assert town.desk.ledger.get_many([open_.job_id, done.job_id]) == before
    assert town.desk.post_box.hinted == [] and town.desk.post_box.again == []


@pytest.mark.parametrize(("mine", "other"), EACH_OTHER)
def test_anothers_errands_leases_and_auto_mode_are_out_of_reach(mine: str, other: str) -> None:
    """The same names on this side touch nothing on the other."""
    town = Town()
    registry = town.desk.registry
    registry.note_errand(other, ErrandNote(id="e1", state="done", message="secret"))
    registry.set_auto(other, 0, on=True)
    assert registry.hold(other, "t" * 16, now=NOW, until=NOW + 60_000)
    before = registry.get(other)
    assert "secret" not in str(town.ask(mine, "look_at_errand", mine, id="e1").body)
    town.ask(mine, "auto", mine, sheet_id=0, on=False)
    town.ask(mine, "claims", mine, token="t" * 16, hold=False)
    assert registry.get(other) == before and other in registry.holders


def test_the_same_key_of_two_clients_is_two_jobs() -> None:
    """A Job ID that was copied to another client's sheet names that client's own job."""
    town = Town()
    rows = [{"job_key": "same", "workflow": "txt2img-sdxl", "inputs": {"Prompt": "x"}}]
    for mine in ("a-1", "b-1"):
        answer = town.ask(mine, "submit_rows", mine, sheet_id=0, rows=rows)
        assert answer.body["results"][0]["result"] == "accepted"
    town.ask("b-1", "cancel", "b-1", job_keys=["same"])
    theirs = town.desk.ledger.get(job_id_of("studio-a", "same"))
    assert theirs is not None and theirs.state is State.QUEUED


def test_auto_mode_goes_off_everywhere_and_is_limited() -> None:
    """Off is the whole spreadsheet's, as Settings says; more tabs than a few would eat everybody's reads."""
    town = Town()
    for tab in range(5):
        assert town.ask("a-1", "auto", "a-1", sheet_id=tab, on=True).status == 200
    assert town.ask("a-1", "auto", "a-1", sheet_id=4, on=True).status == 200
    answer = town.ask("a-1", "auto", "a-1", sheet_id=5, on=True)
    assert (answer.status, answer.body["error"]["code"]) == (422, "too_many_tabs")
    assert town.ask("a-1", "auto", "a-1", sheet_id=4, on=False).body == {"on": False}
    assert town.desk.registry.get("a-1").auto_tabs == ()


@pytest.mark.parametrize("sheet_id", [-1, 2**31, 10**40])
@pytest.mark.parametrize("route", ["auto", "errands", "fetch", "progress", "submit_rows"])
def test_a_tab_that_cannot_be_is_a_400(route: str, sheet_id: int) -> None:
    """DynamoDB holds 38 digits, Google 31 bits: told before either is asked."""
    answer = Town().ask("a-1", route, "a-1", **{**ROUTES[route], "sheet_id": sheet_id})
    assert (answer.status, answer.body["error"]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("name", ["*", "", "a b", "ü", "../x", "x" * 129, "a\n"])
def test_what_is_no_spreadsheets_id_is_not_connected(name: str) -> None:
    """ "*" is where our own account is noted; others name no message group, and nobody would ever answer."""
    body = json.dumps({"code": "a", "spreadsheet_id": name}).encode()
    town = Town()
    answer = guarded(lambda: town.desk.sheet_api.connect(Call({}, body, "")))
    assert answer.status == 400 and set(town.desk.registry.kept) <= {*OWNERS, "sheet-1"}


def test_a_key_that_outlives_its_connection_switches_nothing() -> None:
    """Keys are cached for half a minute: the next owner must not inherit what the former one switches then."""
    town = Town()
    town.desk.registry.release("a-1")
    town.desk.registry.bind("a-1", "studio-b", "k2", "")
    assert town.ask("a-1", "auto", "a-1", sheet_id=0, on=True).status == 403
    assert town.desk.registry.get("a-1").auto_tabs == ()
