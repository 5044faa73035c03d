"""
S2, S5, S10: what is one client's is nobody else's, at every operation, under every id, with every kind of key.

The matrix is made of the operations that are served: a new one is in it, or fails until somebody says what it takes.
An id of somebody else's must be answered as one that nobody has: same status, same words, same calls behind it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.api_parts import Answer, Call
from chalicelib.openapi import _PARTS
from chalicelib.operation import Operation
from chalicelib.operations import OPERATIONS
from tests.security.figures import IS_WHOLE, Note, of_size
from tests.security.two_tenants import (
    BOUNDARY,
    LINK_BASE,
    PICTURE,
    Office,
    Tenant,
    Work,
    form,
    graph,
    settle_in,
    signed,
    unknown_like,
)

pytestmark = pytest.mark.timeout(1_800 if IS_WHOLE else 400)

Ids = dict[str, str]

NO_ASSET = {"__type": "core/ASSET", "info": {"id": ""}}
SHEET = "spreadsheet"
"""The name of the foreign spreadsheet's id among the ids."""
SPEAKS = {
    "connectSheet": "who has a code and names a connected spreadsheet is told so: its person must know",
}
"""Operations that tell a foreign id from an unknown one, and why."""


def bodies(operation: Operation, theirs: Ids, mine: Tenant, dice: random.Random) -> list[Any]:
    """Give what an operation is asked with *theirs* in it; fails for one that nobody has described."""
    job = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "mine"}}
    upload, output = theirs["asset_id"], theirs["output_id"]
    jobs = [
        {**job, "workflow_id": theirs["workflow_id"]},
        {**job, "target": {"spreadsheet_id": theirs[SHEET], "sheet_id": 0, "job_key": theirs["job_key"]}},
        *({"workflow": _with_asset(name)} for name in (upload, output)),
    ]
    here = {"spreadsheet_id": mine.spreadsheet}
    keys = [theirs["job_key"]]
    there = {"spreadsheet_id": theirs[SHEET]}
    of_rows = [{**there, "job_keys": ["row-1"]}, {**here, "job_keys": keys}]
    row = {"job_key": theirs["job_key"] + "x", "workflow": theirs["workflow_id"], "inputs": {"Prompt": "x"}}
    added = {"id": "mine-too", "manifest": {"name": "Mine too"}, "graph": json.dumps(graph("mine"))}
    described: dict[str, list[Any]] = {
        "createJob": jobs,
        "createBatch": [{"jobs": [one]} for one in jobs] + [{"job": jobs[0], "dry_run": True}],
        "generate": [{"workflow_id": theirs["workflow_id"], "params": {}}],
        "createAsset": [form(PICTURE + theirs["word"].encode(), "mine.png")],
        "createAssetFromHash": [{"hash": theirs["hash"]}, {"hash": theirs["other_hash"]}],
        "createUpload": [{"sha256": upload, "size_bytes": len(PICTURE + b"canary-of-east"), "filename": "x.png"}],
        "createWebhook": [{"url": f"https://mine.example/{theirs['webhook_id']}"}],
        "changeWebhook": [{"description": "mine now"}, {"disabled": True}, {"url": "https://mine.example/"}],
        "putWorkflow": [{"manifest": {"name": "Mine"}, "graph": graph("mine")}],
        "inferWorkflow": [{"graph": graph("mine"), "name": theirs["workflow_id"]}],
        "submitRows": [
            {**there, "sheet_id": 0, "rows": [row]},
            {**here, "sheet_id": 0, "rows": [{**row, "job_key": f"mine-{dice.random()}"}]},
        ],
        "sheetWorkflows": [None],
        "addWorkflow": [{**there, **added}],
        "sheetInferWorkflow": [{**there, "graph": json.dumps(graph("mine"))}],
        "connectSheet": [{**there, "code": mine.code}, {**there, "code": theirs["code"]}],
        "sheetConnection": [there],
        "rowsProgress": of_rows,
        "cancelRows": of_rows,
        "fetchRows": of_rows,
        "switchAuto": [{**there, "sheet_id": 0, "on": False}],
        "claimRows": [{**there, "token": "t" * 16, "hold": True}],
        "sendErrand": [{**there, "what": "check"}],
        "lookAtErrand": [{**there, "id": "errand-1"}, {**here, "id": "errand-1-of-them"}],
    }
    if operation.name in described:
        return described[operation.name]
    assert operation.body is None and not operation.path.startswith("/v1/sheets/"), (
        f"{operation.name} takes a body: say above what it is asked with, that somebody else's ids stand in it"
    )
    return [None]


def _with_asset(asset_id: str) -> dict[str, Any]:
    nodes = graph("mine")
    nodes["1"] = {"class_type": "LoadImage", "inputs": {"image": {**NO_ASSET, "info": {"id": asset_id}}}}
    return nodes


def foreign(them: Tenant) -> Iterator[Ids]:
    """Give the ids of somebody else's things: each of them once."""
    longest = max(len(ids) for ids in them.ids.values())
    for turn in range(longest):
        one = {name: ids[turn % len(ids)] for name, ids in them.ids.items()}
        hashes = them.ids["hash"]
        one |= {"asset_id": them.ids["asset_id"][0], "output_id": them.ids["asset_id"][1], "other_hash": hashes[1]}
        one |= {SHEET: them.spreadsheet, "job_key": them.job_keys[1], "code": them.code, "word": them.word}
        yield one | {"token": them.view_token}


def unknown(theirs: Ids, dice: random.Random) -> Ids:
    """Give ids of the same forms that name nothing."""
    made = {name: unknown_like(value, dice) for name, value in theirs.items()}
    return made | {"index": "0", "code": theirs["code"], "word": theirs["word"][::-1]}


def paths(operation: Operation, ids: Ids, mine: Tenant) -> list[dict[str, str]]:
    """Give the variable parts of an operation's path: all of theirs, and theirs below one's own."""
    parts = _PARTS.findall(operation.path)
    missing = [part for part in parts if part not in ids]
    assert not missing, f"{operation.name} has {missing} in its path: give each tenant one in two_tenants.py"
    whole = {part: ids[part] for part in parts}
    found = [whole]
    if operation.name in ("getAsset", "getAssetContent", "deleteAsset"):
        found.append({"asset_id": ids["output_id"]})
    if "delivery_id" in parts:
        found += [{**whole, "webhook_id": mine.ids["webhook_id"][0]}, {**whole, "webhook_id": "jobs"}]
    return found


def queries(operation: Operation, ids: Ids, mine: Tenant) -> list[dict[str, str]]:
    """Give what stands behind the question mark."""
    if operation.path.startswith("/o/"):
        tokens = ["", mine.view_token, ids["token"][:-1], ids["token"].swapcase(), "é", "\ud800"]
        return [{"t": token} for token in tokens]
    if operation.name == "listJobs":
        return [{}, {"sheet": ids[SHEET]}, {"batch": ids["batch_id"]}, {"tag": ids["word"]}]
    if operation.name in ("putWorkflow", "deleteWorkflow"):
        return [{}, {"client": ids["word"].rpartition("-")[2]}]
    if operation.name == "getJobLog":
        return [{}, {"attempt": "1"}]
    return [{}]


def credentials(
    operation: Operation, mine: Tenant, them: Tenant, office: Office, body: bytes
) -> dict[str, dict[str, str]]:
    """Give every kind of key that somebody could come with who is not *them*."""
    if operation.path.startswith("/v1/sheets/"):
        key_id = them.sheet_key.split("_")[1]
        return {
            "none": {},
            "another's sheet key": signed(mine.sheet_key, body),
            "another's second sheet key": signed(mine.second_sheet_key, body),
            "another's secret under their key id": signed(mine.sheet_key, body, key_id=key_id),
            "another's program key": signed(mine.key, body),
            "their program's key": signed(them.key, body),
            "a program's key as a bearer": {"authorization": f"Bearer {mine.key}"},
            "their sheet key as a bearer": {"authorization": f"Bearer {them.sheet_key}"},
            "revoked": signed(office.revoked, body),  # type: ignore[attr-defined]
        }
    if operation.scope is None:
        return {"none": {}, "another's program key": {"authorization": f"Bearer {mine.key}"}}
    their_id = them.key.split("_")[1]
    bearers = {
        "none": "",
        "no key": "ck_000000000000_" + "A" * 43,
        "another's": mine.key,
        "another's, bound to a spreadsheet": mine.bound,
        "another's, bound to theirs": office.misbound[mine.name],  # type: ignore[attr-defined]
        "another's without the scope": mine.reader,
        "another's sheet key": mine.sheet_key,
        "their sheet key": them.sheet_key,
        "their one-time code": them.code,
        "another's secret under their key id": f"ck_{their_id}_{mine.key.split('_', 2)[2]}",
        "revoked": office.revoked,  # type: ignore[attr-defined]
        "expired": office.expired,  # type: ignore[attr-defined]
    }
    return {what: {"authorization": f"Bearer {key}"} if key else {} for what, key in bearers.items()}


def shape(answer: Answer) -> tuple[int, str]:
    """Give an answer without what differs from call to call: ids, hashes, times, signatures, names."""
    text = json.dumps([answer.body if not isinstance(answer.body, bytes) else "bytes", answer.headers], default=str)
    for pattern in (
        r"(flow|row|sheet)-of-\w+",
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        r"wh_[0-9a-f]{16}|whsec_[\w/+=-]+",
        r"20\d\d-\d\d-\d\dT[\d:.]+(Z|\+00:00)?",
        r"X-Amz-[^&\"]*",
        r"[\w%/+=-]{22,}",
        r"\b\d{6,}\b",
    ):
        text = re.sub(pattern, "*", text)
    return answer.status, text


Seen = tuple[str, str, Answer, Work]


def rounds(office: Office, mine: Tenant, them: Tenant) -> Iterator[tuple[str, str, Seen, Seen, str, bool]]:
    """Ask everything, with every key: once with *their* ids, once with ids of nobody."""
    dice = random.Random(11)
    turns = list(enumerate(foreign(them)))[: None if IS_WHOLE else 1]
    both = [(turn, theirs, operation) for turn, theirs in turns for operation in OPERATIONS]
    # Last the uploads of bytes that they have too: from then on they are one's own as well.
    for turn, theirs, operation in sorted(both, key=lambda one: one[2].name == "createAsset"):
        nobodys = unknown(theirs, dice)
        asked = [list(_asked(operation, ids, mine, dice)) for ids in (theirs, nobodys)]
        for one, other in zip(*asked, strict=True):
            for who, headers in credentials(operation, mine, them, office, one.body).items():
                if who not in _ALWAYS and (turn or not IS_WHOLE) and dice.random() < 0.9:
                    continue
                others = credentials(operation, mine, them, office, other.body)[who]
                seen = []
                for call, given in ((one, headers), (other, others)):
                    whole = Call({**call.headers, **given}, call.body, LINK_BASE, call.path, call.query)
                    seen.append((operation.name, who, *office.answer(operation, whole)))
                    _make_room(office, mine, seen[-1][2])
                # What somebody sends may be told back.
                yield operation.name, who, seen[0], seen[1], f"{one.body!r} {one.path} {one.query}", one != other


def _make_room(office: Office, mine: Tenant, answer: Answer) -> None:
    """Delete a webhook that was made: a client may have few, and the next one would be refused for that."""
    if answer.status == 201 and isinstance(answer.body, dict) and "secret" in answer.body:
        office.ask("deleteWebhook", mine.key, webhook_id=answer.body["id"])


_ALWAYS = frozenset({"none", "another's", "another's sheet key", "another's secret under their key id"})
"""Keys that are tried with each id; the others with the first of a kind in the full size, else a tenth of them."""


def _asked(operation: Operation, ids: Ids, mine: Tenant, dice: random.Random) -> Iterator[Call]:
    for body in bodies(operation, ids, mine, dice):
        is_form = isinstance(body, bytes)
        headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} if is_form else {}
        raw = body if is_form else b"" if body is None else json.dumps(body).encode()
        for path in paths(operation, ids, mine):
            for query in queries(operation, ids, mine):
                yield Call(headers, raw, LINK_BASE, path, query)


_PROOF = re.compile(r"SET proof = :proof|errand.{5}prove\\")
"""What whoever has a code may begin: to show that he can write there. `test_without_proof_there_is_no_key`."""


def test_nothing_of_anothers_is_read_written_or_known(town: tuple[Office, Tenant, Tenant], note: Note) -> None:
    """The whole matrix, both ways: no word of theirs in an answer, no write to what is theirs, no oracle."""
    office, _, _ = town
    # Two of its own: what other attacks have made (a workflow of the same name) would tell theirs from unknown ones.
    east, west = (settle_in(office, name, f"canary-of-{name}") for name in ("north", "south"))
    _make_dead_keys(office, east, west)
    reads: list[Any] = []
    writes: list[Any] = []
    oracles: list[Any] = []
    costs: list[Any] = []
    broken: list[Any] = []
    tried, served, own_writes = 0, set(), 0
    for mine, them in ((east, west), (west, east))[: of_size(1, 2)]:
        for name, who, seen, twin, asked, holds_ids in rounds(office, mine, them):
            tried += 2
            served.add(name)
            for _, _, answer, work in (seen, twin):
                told = _told(answer)
                reads += [(name, who, mark) for mark in them.marks if mark in told and mark not in asked]
                places = [*them.marks, them.spreadsheet]
                held = [write for write in work.writes if any(place in write for place in places)]
                writes += [(name, who, write) for write in held if name != "connectSheet" or not _PROOF.search(write)]
                own_writes += sum(mine.spreadsheet in write for write in work.writes)
                broken += [(name, who, answer.status)] if answer.status >= 500 else []
            if name in SPEAKS or not holds_ids:
                continue
            if shape(seen[2]) != shape(twin[2]):
                oracles.append((name, who, shape(seen[2]), shape(twin[2])))
            if sorted(seen[3].calls) != sorted(twin[3].calls):
                costs.append((name, who, sorted(seen[3].calls), sorted(twin[3].calls)))
    assert served == {operation.name for operation in OPERATIONS}
    assert own_writes, "a write to a spreadsheet is seen as one: the client's own rows are such writes"
    note("S5", "operations × foreign ids × keys: another's word in an answer", tried, reads, operations=len(served))
    note("S5", "operations × foreign ids × keys: writes to what is another's", tried, writes)
    note("S5", "foreign ids told from unknown ones by status or words", tried // 2, oracles)
    note("S3", "foreign ids told from unknown ones by the calls behind the answer", tried // 2, costs)
    note("S16", "answers of 500 or more in the matrix of tenants", tried, broken)


def _told(answer: Answer) -> str:
    body = str(answer.body) if isinstance(answer.body, bytes) else json.dumps(answer.body)
    return body + json.dumps(answer.headers)


def _make_dead_keys(office: Any, east: Tenant, west: Tenant) -> None:
    maker = office.keeper.maker
    office.expired = maker.new_api("west", {"expires_at": "1"})
    office.revoked = maker.new_api("west")
    maker.revoke(office.revoked.split("_")[1])
    office.misbound = {
        mine.name: maker.new_api(
            mine.name, {"spreadsheet_id": them.spreadsheet, "rate_per_s": "1000", "burst": "100000"}
        )
        for mine, them in ((east, west), (west, east))
    }
