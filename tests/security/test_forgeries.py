"""S1: no request of a sheet is taken that its key has not signed, byte for byte, just now; and none twice."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import time
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.security.figures import Note, of_size
from tests.unit.test_api import Desk, request, row, signed

Sent = tuple[dict[str, str], bytes]

SIGNED = ("x-key-id", "webhook-id", "webhook-timestamp", "webhook-signature")
ODD = [
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\x00",
    "\u200b",
    "\ufeff",
    "\u0661",
    "\uff11",
    "ü",
    ".",
    ",",
    "+",
    "-",
    "_",
    "e",
    "=",
    "0",
]


def signature(secret: bytes, nonce: str, stamp: str, body: bytes) -> str:
    """Sign as anybody does who has *secret*."""
    mac = hmac.new(secret, f"{nonce}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


def every_byte(headers: dict[str, str], body: bytes) -> Iterator[Sent]:
    """Change each byte of the body, and each letter of each header, one at a time."""
    for place in range(len(body)):
        for bit in (0x01, 0x20, 0x80):
            yield headers, body[:place] + bytes([body[place] ^ bit]) + body[place + 1 :]
        yield headers, body[:place]
        yield headers, body[:place] + body[place + 1 :]
        yield headers, body[:place] + b" " + body[place:]
    for name in SIGNED:
        text = headers[name]
        for place in range(len(text)):
            for bit in (1, 2, 4, 8, 16):
                yield {**headers, name: text[:place] + chr(ord(text[place]) ^ bit) + text[place + 1 :]}, body
            yield {**headers, name: text[:place] + text[place + 1 :]}, body
            yield {**headers, name: text[:place]}, body
        for place in range(len(text) + 1):
            for odd in ODD[1:]:
                yield {**headers, name: text[:place] + odd + text[place:]}, body


def other_spellings(headers: dict[str, str], body: bytes) -> Iterator[Sent]:
    """Say the same in another way: numbers, letters, encodings, headers left out."""
    stamp, sent = headers["webhook-timestamp"], headers["webhook-signature"]
    for text in (
        f"{stamp}.0",
        f"{stamp}.9",
        f"+{stamp}",
        f"0{stamp}",
        f"{int(stamp):_}",
        f"{float(stamp):e}",
        f"{stamp}e0",
    ):
        yield {**headers, "webhook-timestamp": text}, body
    for digits in ("\u0660", "\uff10", "\u06f0"):
        text = "".join(chr(ord(digits) + int(digit)) for digit in stamp)
        yield {**headers, "webhook-timestamp": text}, body
    for name in SIGNED:
        yield {key: value for key, value in headers.items() if key != name}, body
        yield {**headers, name: headers[name].swapcase()}, body
        yield {**headers, name: ""}, body
        yield {**headers, name: "\ud800"}, body
        yield {**headers, name: headers[name] * 2}, body
        yield {**headers, name: f"{headers[name]}, {headers[name]}"}, body
        yield {**headers, name: headers[name] + "\u0301"}, body
        yield {**headers, name: "x" * 10_000}, body
    mac = sent.partition(",")[2]
    for form in ("v0", "v2", "v1a", "V1", " v1", "", "v1,v1"):
        yield {**headers, "webhook-signature": f"{form},{mac}"}, body
    yield {**headers, "webhook-signature": mac}, body
    yield (
        {**headers, "webhook-signature": "v1," + base64.urlsafe_b64encode(base64.b64decode(mac)).decode() + "=="},
        body,
    )
    yield {**headers, "webhook-signature": "v1," + base64.b64decode(mac).hex()}, body
    yield {**headers, "webhook-signature": "v1," + mac.rstrip("=")}, body
    text = body.decode()
    for other in (
        unicodedata.normalize("NFD", text),
        json.dumps(json.loads(text)),
        json.dumps(json.loads(text), indent=1),
    ):
        yield headers, other.encode()
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-7"):
        yield headers, text.encode(encoding)
    for extra in (b"\n", b"\x00", b"\xff", b"\xed\xa0\x80", b"{}"):
        yield headers, body + extra
        yield headers, extra + body


def cut_elsewhere(headers: dict[str, str], body: bytes) -> Iterator[Sent]:
    """Part the signed text, `id.timestamp.body`, at other dots."""
    nonce, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    whole = f"{nonce}.{stamp}.".encode() + body
    dots = [place for place, byte in enumerate(whole) if byte == ord(".")]
    for first in dots:
        for second in dots:
            if first < second and (first, second) != (len(nonce), len(nonce) + 1 + len(stamp)):
                parts = whole[:first].decode(), whole[first + 1 : second].decode()
                yield {**headers, "webhook-id": parts[0], "webhook-timestamp": parts[1]}, whole[second + 1 :]


def other_keys(headers: dict[str, str], body: bytes) -> Iterator[Sent]:
    """Sign it rightly with what is not this key's secret."""
    nonce, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    secrets = [b"", b"\x00" * 32, b"y" * 32, b"x" * 31, bytes(range(31)), bytes(range(32))[::-1], bytes(range(33))]
    secrets += [bytes(range(32)).hex().encode(), base64.b64encode(bytes(range(32))), b"0123456789ab", b"nobody"]
    for secret in secrets:
        made = signature(secret, nonce, stamp, body)
        yield {**headers, "webhook-signature": made}, body
        yield {**headers, "webhook-signature": f"{made} {made}"}, body
        for key_id in ("ffffffffffff", "", "../0123456789ab", "0123456789AB", "0123456789ab ", "*"):
            yield {**headers, "webhook-signature": made, "x-key-id": key_id}, body
    for key_id in ("ffffffffffff", "000000000000", "0123456789aB"):
        yield {**headers, "x-key-id": key_id}, body


def by_dice(headers: dict[str, str], body: bytes, times: int) -> Iterator[Sent]:
    """Change several things at once, by dice."""
    dice = random.Random(7)
    for _ in range(times):
        changed, bytes_now = dict(headers), bytearray(body)
        for _ in range(dice.randint(1, 4)):
            name = dice.choice((*SIGNED, "body", "body"))
            if name == "body":
                at = dice.randrange(len(bytes_now))
                bytes_now[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
            else:
                text = changed[name]
                at = dice.randrange(len(text) + 1)
                changed[name] = (
                    text[:at] + dice.choice(ODD) + chr(dice.randrange(1, 0x250)) + text[at + dice.randint(0, 2) :]
                )
        yield changed, bytes(bytes_now)


def test_every_changed_byte_breaks_the_signature(note: Note) -> None:
    """10,000 mutations of one good request: nothing is taken, no job is made, and every answer is a 401."""
    body = request(row(key="k1"))
    headers = signed(body)
    desk = Desk()
    mutations = [*every_byte(headers, body), *other_spellings(headers, body), *cut_elsewhere(headers, body)]
    mutations += other_keys(headers, body)
    mutations += by_dice(headers, body, max(2_000, 10_500 - len(mutations)))
    tried, taken = 0, []
    for changed, sent in mutations:
        if (changed, sent) == (headers, body):
            continue
        tried += 1
        if desk.post(sent, headers=changed).status != 401:
            taken.append((changed, sent))
    assert tried >= 10_000
    note("S1", "mutations of a signed request taken", tried, taken)
    assert desk.sent == [] and desk.seen == set()
    assert desk.post(body, headers=headers).status == 200, "the request itself is good"


def test_the_genuine_signature_among_others_is_the_same_request(note: Note) -> None:
    """A header may hold several (while a key is rotated); the id is the same, so it is taken once."""
    body = request(row())
    headers = signed(body)
    wrong = signature(b"y" * 32, headers["webhook-id"], headers["webhook-timestamp"], body)
    lists = [f"{wrong} {headers['webhook-signature']}", f"{headers['webhook-signature']} {wrong}"]
    desk = Desk()
    statuses = [desk.post(body, headers={**headers, "webhook-signature": text}).status for text in [*lists, *lists]]
    assert statuses == [200, 409, 409, 409]
    note("S1", "repeats under another list of signatures taken", len(statuses) - 1, desk.sent[1:])


@pytest.mark.parametrize("age_s", [0, 299, 301, -299, -301, 86_400, -86_400, 10**12, -(10**12)])
def test_a_signature_lives_five_minutes_either_way(age_s: int, note: Note) -> None:
    """Old requests cannot be kept for later; a slow clock is forgiven; a time that no clock knows is a 401."""
    desk, body = Desk(), request(row())
    begun = time.time()
    # A second's edge counts against whoever is late: 299 and 301 are a whole second from the bound.
    answer = desk.post(body, at=int(begun) - age_s + (1 if age_s == 299 else 0))
    is_fresh = abs(age_s) < 300
    assert answer.status == (200 if is_fresh else 401)
    if not is_fresh:
        note("S1", f"requests of a clock off by {age_s} s taken", 1, desk.sent)


def test_a_captured_request_is_taken_once(note: Note) -> None:
    """Played again, also at the same moment: 409, and no job. If its id were forgotten the row is there already."""
    desk, body = Desk(), request(row())
    headers = signed(body)
    assert desk.post(body, headers=headers).status == 200
    first = list(desk.sent)
    times = of_size(200, 2_000)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: desk.post(body, headers=headers).status, range(times)))
    note("S1", "repeats of a captured request taken", times, [status for status in statuses if status != 409])
    assert desk.sent == first
    desk.seen.clear()
    again = desk.post(body, headers=headers)
    assert again.body["results"][0]["result"] == "duplicate"
    note("S1", "jobs made by a repeat whose id was forgotten", 1, [*{*desk.sent} - {*first}])


def test_a_captured_request_opens_no_other_route(note: Note) -> None:
    """Sent to every other route of the sheets it is a repeat, whatever its body would mean there."""
    desk, body = Desk(), json.dumps({"spreadsheet_id": "sheet-1", "sheet_id": 0, "job_keys": ["k"]}).encode()
    headers = signed(body)
    assert desk.on("rowsProgress", headers, body).status == 200
    routes = [each for each in desk.sheet_routes() if each != "connectSheet"]
    statuses = {name: desk.on(name, headers, body).status for name in routes}
    note(
        "S1",
        "captured requests taken by another route",
        len(routes),
        [one for one in statuses.items() if one[1] != 409],
    )
