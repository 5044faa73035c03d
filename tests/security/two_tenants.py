"""
Hold two clients in one running stack: each with a spreadsheet, keys, and one of everything that has an id, and a word
of its own in everything that it ever wrote. The API's own code answers in this process, over the local cloud.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.contract.job import Output, Timings, job_id_of, output_prefix, run_key
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import ErrandNote, Parked
from chalicelib.keys import secret_bytes, split_key
from chalicelib.ledger import DynamoLedger
from chalicelib.operation import Operation
from chalicelib.operations import OPERATIONS
from infra.functions import API
from infra.keys import Doorkeeper
from sandbox.world import World

BY_NAME = {operation.name: operation for operation in OPERATIONS}
LINK_BASE = "https://host/api"
PICTURE = b"\x89PNG\r\n\x1a\n of "
COUNTERS = ("KeysTable", "NoncesTable", "RatesTable", "WorkersTable")
"""Tables that are asked about whoever asks, or every few seconds: they say nothing of what was asked for."""
REFRESHED = ("workflows/index.json", "workflows/base.json")
"""What is looked at every few seconds, whoever asks."""
WRITES = ("Put", "Update", "Delete", "Copy", "Send", "Batch", "Transact")


@dataclass
class Tenant:
    """Hold a client: its *word* stands in all that it wrote; *ids* are its things', by the name of a path's part."""

    name: str
    word: str
    spreadsheet: str
    key: str = ""
    reader: str = ""
    bound: str = ""
    """A key of a program that may fill the spreadsheet's rows."""
    sheet_key: str = ""
    second_sheet_key: str = ""
    code: str = ""
    ids: dict[str, list[str]] = field(default_factory=dict)
    view_token: str = ""
    job_keys: list[str] = field(default_factory=list)
    cursor: str = ""

    @property
    def marks(self) -> list[str]:
        """Give what no answer to anybody else, and no write for anybody else, may hold."""
        jobs = [one for one in self.ids.get("job_id", ()) if "." not in one]
        return [self.word, f"/{self.name}/", f'"{self.name}"', f"#{self.name}", self.view_token, *jobs]


@dataclass
class Work:
    """Note what one answer cost: calls of AWS by name and place, and the writes, whole."""

    calls: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)


@contextmanager
def lambdas_of(world: World) -> Iterator[Any]:
    """Make what the API's function is made of, in this process: with its own environment, as the account's root."""
    from chalicelib.wiring import World as Lambdas

    functions: Any = world.cloud.session().client("lambda")
    settings = functions.get_function_configuration(FunctionName=API.name("local"))["Environment"]["Variables"]
    told = {**settings, **world.cloud.env()}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield Lambdas(told)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Office:
    """Answer operations as app.py does, and note what is asked of AWS meanwhile."""

    def __init__(self, world: World, lambdas: Any) -> None:
        self.cloud = world.cloud
        self.lambdas = lambdas
        self.session = world.cloud.session()
        self.outputs = world.cloud.outputs
        self.keeper: Doorkeeper = world.keys
        self.ledger = DynamoLedger(self.session.client("dynamodb"), self.outputs["JobsTable"])
        self.s3: Any = self.session.client("s3")
        self.work = Work()
        self.lambdas._session.events.register("before-parameter-build", self._note)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        place = params.get("TableName") or params.get("QueueUrl") or params.get("Bucket") or ""
        if place in [self.outputs[name] for name in COUNTERS] or params.get("Key") in REFRESHED:
            return
        if "/sheet-keys/" in params.get("Name", ""):
            return
        self.work.calls.append(f"{model.name} {place}")
        if model.name.startswith(WRITES):
            self.work.writes.append(f"{model.name} {json.dumps(params, default=str)}")

    def answer(self, operation: Operation, call: Call) -> tuple[Answer, Work]:
        """Answer a call, and what it cost."""
        self.work = Work()
        answer = guarded(lambda: operation.answer(self.lambdas, self.lambdas.gate.admitted(call, operation.scope)))
        return answer, self.work

    def ask(
        self, name: str, key: str = "", body: object = None, query: Mapping[str, str] | None = None, **path: str
    ) -> Any:
        """Call an operation that must succeed; its body."""
        headers = {"authorization": f"Bearer {key}", "idempotency-key": str(uuid4())}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        if isinstance(body, bytes):
            headers["content-type"] = f"multipart/form-data; boundary={BOUNDARY}"
        answer, _ = self.answer(BY_NAME[name], Call(headers, raw, LINK_BASE, path, query or {}))
        assert answer.status < 300, (name, answer)
        return answer.body

    def signed(self, name: str, key: str, body: object) -> Any:
        """Call an operation of the sheets' scripts that must succeed; its body."""
        raw = json.dumps(body).encode()
        answer, _ = self.answer(BY_NAME[name], Call(signed(key, raw), raw, LINK_BASE))
        assert answer.status < 300, (name, answer)
        return answer.body


BOUNDARY = "b-7e1f"


def form(content: bytes, file_path: str) -> bytes:
    """Write a form with a file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file_path"\r\n\r\n{file_path}\r\n'
    head += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f.png"\r\n'
    head += "Content-Type: image/png\r\n\r\n"
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def signed(key: str, body: bytes, *, key_id: str = "") -> dict[str, str]:
    """Sign as a script does with *key*, under another *key_id* if one is given."""
    own_id, secret = split_key(key)
    nonce, stamp = str(uuid4()), str(int(time.time()))
    mac = hmac.new(secret_bytes(secret), f"{nonce}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "x-key-id": key_id or own_id,
        "webhook-id": nonce,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def graph(word: str) -> dict[str, Any]:
    """Make a graph of one's own."""
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": word}},
    }


def settle_in(office: Office, name: str, word: str) -> Tenant:
    """Make a client with one of everything."""
    tenant = Tenant(name, word, f"sheet-of-{name}")
    maker, keeper = office.keeper.maker, office.keeper
    plenty = {"rate_per_s": "1000", "burst": "100000"}
    tenant.key = maker.new_api(name, {"scopes": "read submit raw", **plenty})
    tenant.reader = maker.new_api(name, {"scopes": "read", **plenty})
    tenant.bound = maker.new_api(name, {"scopes": "read submit", "spreadsheet_id": tenant.spreadsheet, **plenty})
    tenant.sheet_key = keeper.new_sheet(name, tenant.spreadsheet)
    tenant.second_sheet_key = keeper.new_sheet(name, f"{tenant.spreadsheet}-2")
    for sheet_key in (tenant.sheet_key, tenant.second_sheet_key):
        maker.change(sheet_key.split("_")[1], plenty)
    tenant.code = maker.new_code(name)
    _register_spreadsheet(office, tenant)
    _make_things(office, tenant)
    return tenant


def _register_spreadsheet(office: Office, tenant: Tenant) -> None:
    registry, here = office.keeper.registry, tenant.spreadsheet
    registry.note_errand(here, ErrandNote(id="errand-1", state="done", message=tenant.word))
    registry.park(here, Parked(reason=tenant.word, since=1, until=1))
    registry.set_auto(here, 0, on=True)
    tenant.job_keys = ["row-1", f"row-of-{tenant.name}"]
    rows = [{"job_key": key, "workflow": "txt2img-sdxl", "inputs": {"Prompt": tenant.word}} for key in tenant.job_keys]
    office.signed("submitRows", tenant.sheet_key, {"spreadsheet_id": here, "sheet_id": 0, "rows": rows})


def _make_things(office: Office, tenant: Tenant) -> None:
    word, key = tenant.word, tenant.key
    asked = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": word}, "tags": [word], "metadata": {"word": word}}
    queued = office.ask("createJob", key, asked)["id"]
    ended = office.ask("createJob", key, {**asked, "webhook_url": f"https://hooks.example/{word}"})["id"]
    _render(office, tenant, ended)
    rows = [job_id_of(tenant.name, row) for row in tenant.job_keys]
    batch = office.ask("createBatch", key, {"jobs": [asked, asked]})
    upload = office.ask("createAsset", key, form(PICTURE + word.encode(), f"{word}.png"))
    hook = office.ask("createWebhook", key, {"url": f"https://hooks.example/{word}", "description": word})
    delivery = office.ask("testWebhook", key, webhook_id=hook["id"])
    flow = f"flow-of-{tenant.name}"
    office.signed(
        "addWorkflow",
        tenant.sheet_key,
        {
            "spreadsheet_id": tenant.spreadsheet,
            "id": flow,
            "manifest": {"name": f"Flow {word}", "description": word},
            "graph": json.dumps(graph(word)),
        },
    )
    tenant.cursor = office.ask("listJobs", key, query={"limit": "1"})["next_cursor"]
    jobs = [queued, ended, *rows, batch["jobs"][0]["id"]]
    output = f"{ended}.1.0"
    tenant.ids = {
        "job_id": jobs,
        "task_id": jobs,
        "batch_id": [batch["id"]],
        "asset_id": [upload["id"], output],
        "upload_id": [upload["id"]],
        "hash": [f"sha256:{upload['id']}", upload["hash"]],
        "webhook_id": [hook["id"]],
        "delivery_id": [delivery["id"]],
        "workflow_id": [flow],
        "index": ["0"],
    }


def _render(office: Office, tenant: Tenant, job_id: str) -> None:
    """Do a worker's work: a picture, its thumbnail, the run record, the commit."""
    now = time.time_ns() // 1_000_000
    claimed = office.ledger.claim(job_id, 1, owner="w", token="t", now=now, lease_ms=60_000)
    assert isinstance(claimed, Claimed)
    content = PICTURE + tenant.word.encode()
    prefix = output_prefix(tenant.name, job_id, 1)
    bucket = office.outputs["Bucket"]
    files = {f"{prefix}0-a.png": content, f"{prefix}0-thumb.png": content}
    files[run_key(tenant.name, job_id, 1)] = json.dumps({"kind": "run", "graph": graph(tenant.word)}).encode()
    for key, body in files.items():
        office.s3.put_object(Bucket=bucket, Key=key, Body=body)
    output = Output(
        key=f"{prefix}0-a.png",
        filename=f"{tenant.word}.png",
        content_type="image/png",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        node="2",
        kind="image",
        thumbnail_key=f"{prefix}0-thumb.png",
        thumbnail_type="image/png",
    )
    assert office.ledger.commit(claimed.lease, now=now, outputs=[output], timings=Timings())
    tenant.view_token = claimed.job.view_token


def unknown_like(text: str, dice: random.Random) -> str:
    """Make an id of the same form that names nothing."""
    head, dot, tail = text.partition(".")
    if len(head) == 36:
        return str(UUID(int=dice.getrandbits(128), version=5)) + dot + tail
    if text.startswith("flow-of-"):
        return f"flow-of-{dice.choice(('wust', 'wyst', 'vest', 'wost'))}"
    if text.startswith(("row-of-", "sheet-of-")):
        return f"{text.partition('-of-')[0]}-of-{dice.choice(('wust', 'wyst', 'vest', 'wost'))}"
    mark, colon, digits = text.rpartition(":")
    if len(digits) == 64:
        return mark + colon + dice.randbytes(32).hex()
    if text.startswith("wh_"):
        return f"wh_{dice.randbytes(8).hex()}"
    if text.startswith("dlv_"):
        return text[:-8] + dice.randbytes(4).hex()
    return "".join(_other(letter, dice) for letter in text)


def _other(letter: str, dice: random.Random) -> str:
    if letter.isdigit():
        return dice.choice("0123456789")
    if letter.isalpha():
        return dice.choice("abcdefghijklmnopqrstuvwxyz" if letter.islower() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return letter
