"""Who may ask, what is well formed, and one answer per row."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job, Timings, run_key
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.ports import Claimed
from chalicelib.gate import Gate
from chalicelib.job_watch import Clock
from chalicelib.jobs_api import Desk as JobsDesk
from chalicelib.jobs_api import JobsApi
from chalicelib.keys import UNKNOWN_KEY, ApiKey, SheetKey, secret_bytes, split_key
from chalicelib.link_api import LinkApi
from chalicelib.operations import OPERATIONS
from chalicelib.pairing import Pairing
from chalicelib.panel import Edges, Panel
from chalicelib.programs import Programs, Surroundings
from chalicelib.records import MAX_INLINE_BYTES, Records
from chalicelib.sent_graph import SentGraphs
from chalicelib.sheet_api import SheetApi
from chalicelib.submit import Submit
from infra.workflow_files import read_folder
from tests.catalog_fakes import shelf_of
from tests.fakes import MemoryLedger, MemorySeats
from tests.jobs import NOW, output
from tests.sheet_fakes import Crowd, Locksmith, MemoryRegistry, NoteBook, Post

SECRET = bytes(range(32))
SHEET_KEY = "ck_0123456789ab_" + base64.urlsafe_b64encode(SECRET).decode().rstrip("=")
SHIPPED = {workflow.id: workflow for workflow in read_folder()}


class Ring:
    """Know one sheet key and two API keys."""

    def sheet_key(self, key_id: str) -> SheetKey:
        if key_id != "0123456789ab":
            raise UNKNOWN_KEY
        return SheetKey(key_id, "studio", "sheet-1", (b"x" * 32, SECRET))

    def look_again(self, _key_id: str) -> bool:
        return False

    def api_key(self, authorization: str) -> ApiKey:
        if authorization not in ("Bearer a", "Bearer b"):
            raise UNKNOWN_KEY
        return ApiKey("k", authorization[-1], frozenset({"read", "submit"}))


class Desk:
    """Hold an API on fakes."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.sent: list[str] = []
        self.hinted: list[str] = []
        self.seen: set[str] = set()
        self.kept: dict[str, bytes] = {}
        self.crowd = Crowd()
        self.registry, self.post_box, self.books, self.locksmith = MemoryRegistry(), Post(), NoteBook(), Locksmith()
        self.registry.bind("sheet-1", "studio", "0123456789ab", "")
        submit = Submit(self.ledger, self, self, lambda: NOW, files=lambda *asked: self.crowd.choices(*asked))
        records = Records(self)
        self.gate = Gate(Ring())
        jobs_desk = JobsDesk(
            programs=Programs(submit, self.ledger, Surroundings(shelf=self)),
            ledger=self.ledger,
            records=records,
            graphs=SentGraphs(self, self),
            hints=self,
            seats=MemorySeats(),
            clock=Clock(time.monotonic, lambda _: None),
            now_ms=lambda: NOW,
        )
        self.jobs_api = JobsApi(jobs_desk)
        self.link_api = LinkApi(ledger=self.ledger, files=self, now_ms=lambda: NOW)
        edges = Edges(
            ledger=self.ledger,
            spreadsheets=self.registry,
            books=self.books,
            workers=self.crowd,
            line=self.post_box,
            news=self.post_box,
            now_ms=lambda: NOW,
            gpu_hour_price=0.5,
        )
        self.sheet_api = SheetApi(
            submit=submit,
            panel=Panel(edges),
            pairing=Pairing(self.locksmith, self.locksmith, self.registry, self.post_box, lambda: NOW),
            keys=Ring(),
            nonces=self,
            shelf=shelf_of([*SHIPPED.values()], self.crowd.choices)[1],
        )

    def find(self, name: str, client_id: str) -> Workflow:
        if name not in SHIPPED:
            raise Rejected("unknown_workflow", f"There is no workflow called {name}.")
        return SHIPPED[name]

    def list(self, client_id: str) -> list[Workflow]:
        return [*SHIPPED.values()]

    def by_hash(self, workflow_hash: str) -> Workflow:
        return next(workflow for workflow in SHIPPED.values() if workflow.hash == workflow_hash)

    def put(self, key: str, content: bytes) -> None:
        self.kept[key] = content

    def send(self, jobs: Sequence[Job]) -> int:
        self.sent += [job.job_id for job in jobs]
        return len(jobs)

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        self.hinted.append(job.job_id)

    def is_new(self, nonce: str, memory_s: int) -> bool:
        known = nonce in self.seen
        self.seen.add(nonce)
        return not known

    def get(self, key: str) -> bytes | None:
        return b"picture" if key.endswith("thumb") else self.kept.get(key)

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        return f"https://files/{key}?{content_type}&{disposition}"

    def post(self, body: bytes, *, headers: dict[str, str] | None = None, at: int | None = None) -> Answer:
        call = Call(headers or signed(body, at=at), body, "https://host/api")
        return guarded(lambda: self.sheet_api.submit_rows(call))

    def ask(self, name: str, call: Call, **path: str) -> Answer:
        """Call an operation as app.py does."""
        [operation] = [one for one in OPERATIONS if one.name == name]
        there: Any = self
        return guarded(lambda: operation.answer(there, self.gate.admitted(replace(call, path=path), operation.scope)))

    def rows(self, *rows: dict[str, Any], **fields: Any) -> Answer:
        return self.post(request(*rows, **fields))

    def on(self, name: str, headers: dict[str, str], body: bytes) -> Answer:
        """Send what a script might to the operation *name*."""
        return self.ask(name, Call(headers, body, "https://host/api"))

    def sheet_routes(self) -> list[str]:
        """Name the operations of the sheets' scripts."""
        return [one.name for one in OPERATIONS if one.path.startswith("/v1/sheets/")]


def signed(body: bytes, *, at: int | None = None, nonce: str | None = None) -> dict[str, str]:
    """Sign as apps_script/Signature.js does, written out from the specification."""
    nonce, stamp = nonce or str(uuid4()), str(at if at is not None else int(time.time()))
    mac = hmac.new(SECRET, f"{nonce}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "x-key-id": "0123456789ab",
        "webhook-id": nonce,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def request(*rows: dict[str, Any], **fields: Any) -> bytes:
    body = {"spreadsheet_id": "sheet-1", "sheet_id": 0, "rows": list(rows), **fields}
    return json.dumps(body, ensure_ascii=False).encode()


def row(workflow: str = "txt2img-sdxl", key: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"job_key": key or str(uuid4()), "workflow": workflow, "inputs": {"Prompt": "ein Fuchs 🦊 雪", **inputs}}


def test_each_row_is_answered_by_itself_in_order() -> None:
    """Accepted, rejected with a sentence, unknown workflow, no workflow: the good rows run."""
    desk = Desk()
    answer = desk.rows(row(), row(Steps="abc"), row("nope"), row(" "), row("empty-color", Notes="mine"))
    results = answer.body["results"]
    assert answer.status == 200
    assert [result["result"] for result in results] == ["accepted", "rejected", "rejected", "rejected", "accepted"]
    assert results[1]["message"] == 'Steps must be a whole number from 1 to 150, not "abc".'
    assert [result.get("code") for result in results] == [
        None,
        "invalid_input",
        "unknown_workflow",
        "no_workflow",
        None,
    ]
    assert set(results[4]["ignored"]) == {"Prompt", "Notes"}
    assert desk.sent == [results[0]["job_id"], results[4]["job_id"]]


def test_what_is_too_much_for_a_row_is_told_in_that_row_alone() -> None:
    """A page of text in the Workflow cell, or more filled columns than a job has: the other rows run."""
    desk = Desk()
    wide = row(**{f"Column {number}": "x" for number in range(250)})
    results = desk.rows(row(), row("w" * 300), wide, row()).body["results"]
    assert [result["result"] for result in results] == ["accepted", "rejected", "rejected", "accepted"]
    assert "300 characters: choose a workflow" in results[1]["message"]
    assert "251 filled columns; 200 are allowed" in results[2]["message"]


def test_a_repeated_row_is_a_duplicate_and_its_unstarted_message_is_sent_again() -> None:
    """Whoever lost the answer may ask again; what may be the lost message is healed at once."""
    desk, wanted = Desk(), row()
    first, again = desk.rows(wanted), desk.rows(wanted)
    assert [answer.body["results"][0]["result"] for answer in (first, again)] == ["accepted", "duplicate"]
    assert len(set(desk.sent)) == 1 and len(desk.sent) == 2
    job = desk.ledger.get(desk.sent[0])
    assert job is not None
    desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    desk.rows(wanted)
    assert len(desk.sent) == 2


def test_a_key_that_stands_for_another_row_is_refused() -> None:
    """Same key, other inputs: nothing is overwritten."""
    desk, key = Desk(), str(uuid4())
    desk.rows(row(key=key))
    [result] = desk.rows(row(key=key, Steps=3)).body["results"]
    assert (result["result"], result["code"]) == ("rejected", "idempotency_key_reuse")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-key-id": "ffffffffffff"},
        {"x-key-id": "../../etc"},
        {"x-key-id": "0123456789ab", "webhook-id": "a", "webhook-timestamp": "x", "webhook-signature": "v1,!"},
        {"x-key-id": "0123456789ab", "webhook-id": "ü", "webhook-timestamp": "1", "webhook-signature": "ÿ"},
    ],
)
def test_malformed_headers_are_a_401(headers: dict[str, str]) -> None:
    """Never an exception, never a hint at what was wrong."""
    assert Desk().post(request(row()), headers={"x-key-id": "", **headers}).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"spreadsheet_id": "sheet-1"}',
        b"[" * 5_000,
        request(),
        request(*[row() for _ in range(101)]),
        request(row(), extra=1),
        request({"job_key": "a b", "workflow": "x"}),
        request(row(Steps=[1])),
        request(row(Steps={"a": 1})),
        b'{"spreadsheet_id":"sheet-1","sheet_id":0,"rows":[{"job_key":"a","inputs":{"Steps":NaN}}]}',
        b'{"spreadsheet_id":"sheet-1","sheet_id":0,"rows":[{"job_key":"a","inputs":{"Steps":1e999}}]}',
        b'{"spreadsheet_id":"sheet-1","sheet_id":0,"rows":[{"job_key":"a","inputs":{"P":"\\ud800"}}]}',
    ],
)
def test_malformed_bodies_are_told_and_lose_nothing(body: bytes) -> None:
    """A 400 with a sentence; never a 500."""
    answer = Desk().post(body)
    assert answer.status == 400
    assert answer.body["error"]["code"] == "bad_request" and answer.body["error"]["message"]


def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    """The limit stands before signature and parser."""
    assert Desk().post(b"x" * (256 * 1024 + 1)).status == 413


def test_a_key_writes_to_its_own_spreadsheet_only() -> None:
    """A copied sheet is told to get a key of its own."""
    answer = Desk().rows(row(), spreadsheet_id="another")
    assert (answer.status, answer.body["error"]["code"]) == (403, "forbidden")


def test_links_need_their_token_and_hide_what_is_wrong() -> None:
    """The right token leads to the file; any other answer is the same 404."""
    desk = Desk()
    job_id = desk.rows(row()).body["results"][0]["job_id"]
    claimed = desk.ledger.claim(job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    own = f"outputs/studio/{job_id}/1/"
    small = {"thumbnail_key": f"{own}thumb", "thumbnail_type": "image/png"}
    made = [output(f"{own}a.png").model_copy(update=small), output(f"{own}b")]
    evil = output(f"{own}c").model_copy(update={"content_type": "text/html", "filename": 'x"\r\n.html'})
    desk.ledger.commit(claimed.lease, now=NOW, outputs=[*made, evil], timings=Timings())
    token = claimed.job.view_token
    shown = guarded(lambda: desk.link_api.output(job_id, "0", token))
    assert shown.status == 302 and "image/png&inline" in shown.headers["Location"]
    risky = guarded(lambda: desk.link_api.output(job_id, "2", token)).headers["Location"]
    assert "application/octet-stream&attachment" in risky and "\r" not in risky and '"' not in risky
    picture = guarded(lambda: desk.link_api.thumbnail(job_id, "0", token))
    assert (picture.body, picture.headers["Content-Type"]) == (b"picture", "image/png")
    for job, index, given in (
        (job_id, "0", "wrong"),
        (job_id, "0", ""),
        (job_id, "3", token),
        (job_id, "-1", token),
        (job_id, "x", token),
        (job_id, "00", token),
        (job_id, "0000000001", token),
        (job_id, "9" * 5_000, token),
        (str(uuid4()), "0", token),
        (job_id, "1", "é"),
    ):
        assert guarded(lambda job=job, index=index, given=given: desk.link_api.output(job, index, given)).status == 404
    assert guarded(lambda: desk.link_api.thumbnail(job_id, "1", token)).status == 404


def test_a_keys_secret_may_hold_any_base64url_character() -> None:
    """The secret's own underscores and hyphens do not split it."""
    secret = bytes([251, 255, 190] * 10 + [1, 2])
    text = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    assert "_" in text and "-" in text
    key_id, found = split_key(f" ck_0123456789ab_{text}\n")
    assert (key_id, secret_bytes(found)) == ("0123456789ab", secret)


def test_a_jobs_run_record_is_for_its_owner_alone() -> None:
    """The committed attempt's by default, another by number; a stranger and a job without one get a 404."""
    desk = Desk()

    def log(job_id: str, key: str = "a", attempt: str = "") -> Answer:
        call = Call({"authorization": f"Bearer {key}"}, b"", "https://host/api")
        return desk.ask("getJobLog", replace(call, query={"attempt": attempt}), job_id=job_id)

    body = json.dumps({"workflow_id": "empty-color", "inputs": {"color": "red"}}).encode()
    made = desk.ask("createJob", Call({"authorization": "Bearer a"}, body, "https://host/api"))
    job_id = made.body["id"]
    assert log(job_id).status == 404
    desk.ledger.claim(job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
    job = desk.ledger.get(job_id)
    assert job is not None
    desk.kept[run_key(job.client_id, job_id, 1)] = b'{"kind":"run"}\n'
    answer = log(job_id)
    assert (answer.status, answer.body) == (200, '{"kind":"run"}\n'), "text: a Lambda's answer is JSON"
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert log(job_id, "b").status == 404
    for wrong in ("2", "0", "x", "-1", "1e3"):
        assert log(job_id, attempt=wrong).status == 404, wrong
    desk.kept[run_key(job.client_id, job_id, 1)] = b"x" * 5_000_000
    large = log(job_id, attempt="1")
    assert large.status == 302 and "application/x-ndjson&attachment" in large.headers["Location"]


def test_a_later_attempt_without_a_record_points_to_the_earlier_ones() -> None:
    """While an attempt runs its record is not there; what the one before it wrote still is, by number."""
    desk = Desk()
    body = json.dumps({"workflow_id": "empty-color", "inputs": {"color": "red"}}).encode()
    call = Call({"authorization": "Bearer a"}, body, "https://host/api")
    job_id = desk.ask("createJob", call).body["id"]
    for attempt in (1, 2):
        at = NOW + attempt * 100_000
        claimed = desk.ledger.claim(job_id, 1, owner="w", token=f"t{attempt}", now=at, lease_ms=1000)
        assert isinstance(claimed, Claimed)
    desk.kept[run_key(claimed.job.client_id, job_id, 1)] = "{}ü".encode()
    missing = desk.ask("getJobLog", replace(call, query={"attempt": ""}), job_id=job_id)
    assert missing.status == 404 and "?attempt=" in missing.body["error"]["message"]
    assert desk.ask("getJobLog", replace(call, query={"attempt": "1"}), job_id=job_id).body == "{}ü"
    desk.ledger.commit(claimed.lease, now=NOW + 300_000, outputs=[], timings=Timings())
    desk.kept[run_key(claimed.job.client_id, job_id, 2)] = b"second"
    assert desk.ask("getJobLog", replace(call, query={"attempt": ""}), job_id=job_id).body == "second"


def test_the_largest_record_that_is_sent_whole_fits_a_lambdas_answer() -> None:
    """6 MB of JSON, whatever the record is made of: quotation marks double, umlauts become six bytes."""
    for letter in ('"', "\\", "ü", "雪", "🦊"):
        text = letter * (MAX_INLINE_BYTES // len(letter.encode()))
        assert len(json.dumps(text)) < 6_000_000 - 10_000, letter
