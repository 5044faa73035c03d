"""S16: whatever bytes arrive, at whichever operation, are answered below 500, in time, and cost little."""

from __future__ import annotations

import json
import random
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import yaml
from PIL import Image, PngImagePlugin

from chalicelib.api_parts import Call
from chalicelib.contract.manifest import ManifestError, parse_workflow
from chalicelib.operation import Operation
from chalicelib.operations import OPERATIONS
from tests.security.figures import IS_WHOLE, Note, of_size
from tests.security.test_tenants_apart import bodies, foreign, paths
from tests.security.two_tenants import BOUNDARY, LINK_BASE, Office, Tenant, form, graph, signed
from worker.sniff import sniff
from worker.thumbs import thumbnail

pytestmark = pytest.mark.timeout(1_800)

LIMIT_S = 3.0
"""What one answer may take of this process's time."""
DEEP = 100_000
BOMBS: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'""',
    "a number": b"7",
    "half": b'{"a":',
    "trailing": b"{} {}",
    "comments": b'{/* */"a":1}',
    "depth of lists": b"[" * DEEP,
    "closed depth of lists": b"[" * DEEP + b"]" * DEEP,
    "depth of objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "depth within": b'{"workflow":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "depth of graph": b'{"graph":' + b'{"a":' * 30_000 + b"1" + b"}" * 30_000 + b',"manifest":{}}',
    "a huge number": b'{"priority":' + b"9" * 200_000 + b"}",
    "a huge negative number": b'{"priority":-' + b"9" * 200_000 + b"}",
    "a huge exponent": b'{"priority":1e999999999}',
    "many digits after the point": b'{"priority":0.' + b"1" * 200_000 + b"}",
    "NaN": b'{"inputs":{"a":NaN}}',
    "Infinity": b'{"inputs":{"a":-Infinity}}',
    "the same key": b"{" + b'"a":1,' * 20_000 + b'"a":2}',
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(15_000)) + b"}",
    "many objects": b'{"jobs":[' + b",".join([b"{}"] * 20_000) + b"]}",
    "a long text": b'{"workflow_id":"' + b"a" * 250_000 + b'"}',
    "a long key": b'{"' + b"a" * 250_000 + b'":1}',
    "escapes": b'{"workflow_id":"' + b"\\u0000" * 40_000 + b'"}',
    "half a character": b'{"workflow_id":"\\ud800"}',
    "half characters": b'{"inputs":{"\\udfff":"\\ud800\\ud800"}}',
    "raw half a character": b'{"workflow_id":"\xed\xa0\x80"}',
    "overlong": b'{"workflow_id":"\xc0\xaf\xc0\xae"}',
    "no UTF-8": b"\xff\xfe\x00\x01" * 1000,
    "UTF-16": '{"workflow_id":"a"}'.encode("utf-16"),
    "a mark of order": b'\xef\xbb\xbf{"workflow_id":"a"}',
    "zeros": b"\x00" * 200_000,
    "__proto__": b'{"__proto__":{"admin":true},"constructor":{"prototype":{}}}',
    "gzip": zlib.compress(b"0" * 10_000_000),
    "too much": b"{" + b" " * 5_000_000 + b"}",
    "xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    "a form without an end": b"--"
    + BOUNDARY.encode()
    + b'\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
    + b"x" * 99_999,
    "a form of parts": (b"--" + BOUNDARY.encode() + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n')
    * 5_000,
    "a form of headers": b"--" + BOUNDARY.encode() + b"\r\n" + b"A: b\r\n" * 30_000 + b"\r\nx",
    "a form of boundaries": (b"--" + BOUNDARY.encode() + b"\r\n") * 20_000,
}
ODD: list[Any] = [None, True, -1, 0, 10**400, 1e308, "", " ", "x" * 100_000, [], {}, [[]], {"": ""}, "\ud800", "\x00"]
ODD += [[None] * 1_000, "../../x", "=1+1", {"__type": "core/ASSET"}, ["1", 0], "a" * 2_049, "é" * 255, "\u202e", 2**63]
NAMES = [
    "",
    " ",
    ".",
    "..",
    "%00",
    "\x00",
    "é",
    "\ud800",
    "a" * 3_000,
    "0" * 100_000,
    "0000000001",
    "1e9",
    "-1",
    "null",
    "*",
    "a/b",
    "'",
    "#",
]


QUERIES = ("wait", "limit", "cursor", "status", "t", "client", "attempt", "metadata[a]", "x", "sheet")
HEADERS = ("idempotency-key", "content-type", "if-match", "accept", "x-key-id")
DELETING = ("deleteWorkflow", "deleteWebhook", "deleteAsset")
"""They would take away what the others are asked about."""


def takers() -> list[Operation]:
    """List the operations that read a body."""
    return [one for one in OPERATIONS if one.method in ("POST", "PUT", "PATCH")]


def ask(office: Office, tenant: Tenant, operation: Operation, call: Call) -> tuple[int, float]:
    """Ask with every right; the status (599: it raised), and how long it took."""
    is_sheets = operation.path.startswith("/v1/sheets/")
    own = signed(tenant.sheet_key, call.body) if is_sheets else {"authorization": f"Bearer {office.root}"}  # type: ignore[attr-defined]
    begun = time.process_time()
    try:
        status = office.answer(operation, replace(call, headers={**own, **call.headers}))[0].status
    except Exception:
        status = 599
    return status, time.process_time() - begun


@pytest.fixture(scope="module")
def shop(town: tuple[Office, Tenant, Tenant]) -> tuple[Any, Tenant, dict[str, str]]:
    """Give the stack, a client with all rights, and the ids of its own things."""
    office, east, _ = town
    there: Any = office
    terms = {"scopes": "read submit raw admin", "rate_per_s": "1000", "burst": "100000", "queued_max": "1000000"}
    there.root = office.keeper.maker.new_api(east.name, terms)
    return there, east, next(foreign(east))


def test_no_body_breaks_an_operation(shop: tuple[Any, Tenant, dict[str, str]], note: Note) -> None:
    """Every bomb at every operation that takes a body, sent as JSON, as a form and as nothing in particular."""
    office, tenant, ids = shop
    tried, broken, slow = 0, [], []
    types = ["application/json", f"multipart/form-data; boundary={BOUNDARY}", "multipart/form-data", "", "\x00;=;"]
    dice = random.Random(3)
    for operation in takers():
        path = {part: ids[part] for part in _parts(operation) if part in ids}
        for what, body in BOMBS.items():
            for kind in dice.sample(types, 2) if IS_WHOLE else [dice.choice(types)] if dice.random() < 0.1 else []:
                tried += 1
                call = Call({"content-type": kind, "idempotency-key": f"b{tried}"}, body, LINK_BASE, path)
                status, took_s = ask(office, tenant, operation, call)
                broken += [(operation.name, what, kind, status)] if status >= 500 else []
                slow += [(operation.name, what, round(took_s, 1))] if took_s > LIMIT_S else []
    note("S16", "bombs at operations that take a body: answers of 500 or more", tried, broken, bombs=len(BOMBS))
    note("S16", f"bombs whose answer took longer than {LIMIT_S:g} s", tried, slow)


def _parts(operation: Operation) -> list[str]:
    return [part.strip("{}") for part in operation.path.split("/") if part.startswith("{")]


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to every value in a body, itself included."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in inside:
        yield from leaves(part, (*at, name))


def put_at(value: Any, at: tuple[Any, ...], odd: object) -> Any:
    """Give *value* with *odd* in one place."""
    if not at:
        return odd
    if isinstance(value, dict):
        return {name: put_at(part, at[1:], odd) if name == at[0] else part for name, part in value.items()}
    return [put_at(part, at[1:], odd) if number == at[0] else part for number, part in enumerate(value)]


def odd_requests(tenant: Tenant, ids: dict[str, str], dice: random.Random) -> Iterator[tuple[Operation, Call, str]]:
    """Give good requests with one thing changed to something odd: a value, a part of the path, a query, a header."""
    for operation in OPERATIONS:
        for body in bodies(operation, ids, tenant, dice):
            call = Call({"idempotency-key": "k"}, b"", LINK_BASE, paths(operation, ids, tenant)[0])
            for at in leaves(body) if isinstance(body, dict) else ():
                for odd in ODD:
                    yield operation, replace(call, body=_raw(put_at(body, at, odd))), f"{at} {odd!r:.30}"
            raw = b"" if body is None else body if isinstance(body, bytes) else _raw(body)
            whole = replace(call, body=raw)
            if operation.path.startswith("/o/"):
                whole = _link(call, tenant)
            for name in NAMES:
                for part in whole.path:
                    yield operation, replace(whole, path={**whole.path, part: name}), f"{part}={name!r:.30}"
                for key in QUERIES:
                    yield operation, replace(whole, query={**whole.query, key: name}), f"?{key}={name!r:.30}"
                for key in HEADERS:
                    yield operation, replace(whole, headers={key: name}), f"{key}: {name!r:.30}"


def _link(call: Call, tenant: Tenant) -> Call:
    """Make it a link that opens: whoever has one may change the rest of it."""
    ended = tenant.ids["job_id"][1]
    return replace(call, path={**call.path, "job_id": ended}, query={"t": tenant.view_token})


def test_no_odd_value_breaks_an_operation(shop: tuple[Any, Tenant, dict[str, str]], note: Note) -> None:
    """Good bodies with one value changed to something odd, each place with each; odd names in paths and queries."""
    office, tenant, ids = shop
    dice = random.Random(5)
    links = [one for one in OPERATIONS if one.path.startswith("/o/")]
    opens = [_link(Call({}, b"", LINK_BASE, paths(one, ids, tenant)[0]), tenant) for one in links]
    assert {ask(office, tenant, one, call)[0] for one, call in zip(links, opens, strict=True)} <= {200, 302}
    asked = [one for one in odd_requests(tenant, ids, dice) if one[0].name not in DELETING]
    chosen = dice.sample(asked, of_size(150, 4_000))
    broken, slow = [], []
    for operation, call, what in chosen:
        status, took_s = ask(office, tenant, operation, call)
        broken += [(operation.name, what, status)] if status >= 500 else []
        slow += [(operation.name, what, round(took_s, 1))] if took_s > LIMIT_S else []
    note("S16", "odd values, paths, queries, headers: answers of 500 or more", len(chosen), broken, of=len(asked))
    note("S16", f"odd requests whose answer took longer than {LIMIT_S:g} s", len(chosen), slow)


def _raw(body: object) -> bytes:
    return json.dumps(body).encode()


def test_a_workflows_file_that_unfolds_is_refused(note: Note) -> None:
    """YAML's aliases make a thousand million laughs of ten lines: an operator who pushes a stranger's file is told."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    files = [
        laughs,
        f"name: Mine\nparameters:\n  p:\n    choices: *a9\n{laughs}",
        f"{laughs}name: Mine\nparameters: *a9\n",
    ]
    files += [
        f"{laughs}name: Mine\nparameters:\n  p: {{type: choice, choices: *a9, sets: {{node: '1', input: color}}}}\n"
    ]
    files += ["a: &a [*a]\nname: *a\n", "!!python/object/apply:os.system ['true']\n", "name: " + "[" * 200]
    through = []
    for text in files:
        begun = time.process_time()
        try:
            manifest = yaml.safe_load(text)
            parse_workflow("mine", manifest, {}, graph("x"), file="mine.yaml")
            through.append(text[-80:])
        except (ManifestError, yaml.YAMLError, RecursionError):
            pass
        through += [f"slow: {text[-80:]}"] if time.process_time() - begun > LIMIT_S else []
    note("S16", "YAML bombs that were taken, or took long", len(files), through)


def pictures() -> Iterator[tuple[str, bytes]]:
    """Give pictures that unfold: small files, huge once decoded."""
    for width, height in (
        (30_000, 30_000),
        (65_535, 65_535),
        (100_000, 1),
        (1, 2**31 - 1),
        (16_384, 16_384),
        (9_000, 9_000),
    ):
        yield f"PNG of {width} × {height}", _png(width, height)
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "A" * 60_000_000, zip=True)
    yield "PNG whose text unfolds", _saved("PNG", pnginfo=info)
    yield "PNG of two million chunks", _chunks(_png(64, 64), b"tEXt", b"", 2_000_000)
    yield "JPEG of five million segments", _saved("JPEG")[:2] + b"\xff\xfe\x00\x02" * 5_000_000 + _saved("JPEG")[2:]
    yield (
        "PNG with a profile that unfolds",
        _chunks(_png(64, 64), b"iCCP", b"x\x00\x00" + zlib.compress(bytes(50_000_000)), 1),
    )
    yield "GIF of a million frames", _gif(1_000_000, 1, 1)
    yield "GIF of a comment in ten million parts", _gif(1, 1, 1)[:-1] + b"\x21\xfe" + b"\x01a" * 10_000_000 + b"\x00;"
    yield "GIF of frames of 65,535 × 65,535", _gif(3, 65_535, 65_535)
    if IS_WHOLE:  # it takes a minute to make
        yield "WebP of 16,383 × 16,383", _saved("WEBP", size=(16_383, 16_383))
    yield "a TIFF whose pages lead in a ring", b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00"
    yield "a zip in a zip", b"PK\x03\x04" + zlib.compress(bytes(10_000_000))


def _saved(form: str, size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    made = BytesIO()
    Image.new("L", size).save(made, form, **options)
    return made.getvalue()


def _png(width: int, height: int) -> bytes:
    """Write a PNG's header and as much of nothing as fits into a few kilobytes."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    rows = zlib.compress(bytes(min(4_000_000, (width + 1) * height)), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def _chunks(png: bytes, kind: bytes, content: bytes, count: int) -> bytes:
    return png[:33] + _chunk(kind, content) * count + png[33:]


def _gif(frames: int, width: int, height: int) -> bytes:
    size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    frame = b"\x2c\x00\x00\x00\x00" + size + b"\x00\x02\x02\x44\x01\x00"
    return b"GIF89a" + size + b"\x80\x00\x00\x00\x00\x00\xff\xff\xff" + frame * frames + b"\x3b"


def test_a_picture_that_unfolds_costs_the_worker_little(note: Note) -> None:
    """Looked at and shrunk as an output is: no exception, seconds at most."""
    through, tried = [], 0
    for what, content in pictures():
        tried += 1
        begun = time.process_time()
        try:
            thumbnail(content, sniff(content))
        except Exception as error:
            through.append((what, type(error).__name__))
        took_s = time.process_time() - begun
        through += [(what, f"{took_s:.1f} s")] if took_s > LIMIT_S else []
    note("S16", "pictures that unfold: exceptions, or longer than seconds", tried, through)


def test_an_upload_is_kept_as_it_came(shop: tuple[Any, Tenant, dict[str, str]], note: Note) -> None:
    """The API unpacks nothing and opens no picture: bombs are bytes to it."""
    office, tenant, _ = shop
    [operation] = [one for one in OPERATIONS if one.name == "createAsset"]
    tried, through = 0, []
    for what, content in pictures():
        if len(content) > 4_000_000 or (tried == 6 and not IS_WHOLE):
            continue
        tried += 1
        call = Call({"content-type": f"multipart/form-data; boundary={BOUNDARY}"}, form(content, "x.png"), LINK_BASE)
        status, took_s = ask(office, tenant, operation, call)
        through += [(what, status, took_s)] if status not in (200, 201) or took_s > LIMIT_S else []
    note("S16", "uploads that unfold: refused wrongly, opened or slow", tried, through)
