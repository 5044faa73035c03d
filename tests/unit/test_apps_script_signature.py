"""The script signs as the Standard Webhooks library does: golden vectors for both."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from sandbox.apps_script import PropertyStore, ScriptProject, Selection
from sandbox.workbook import Workbook
from tests.edges.test_apps_script import Quiet

SCRIPT = Path(__file__).resolve().parents[2] / "apps_script"
SECRET = bytes(range(240, 256)) + bytes(range(16))
KEY = "ck_0a1b2c3d4e5f_" + base64.urlsafe_b64encode(SECRET).decode().rstrip("=")
AT = 1_795_200_000


def call(function: str, *args: Any) -> Any:
    book = Workbook("book", "Book")
    book.add_sheet("Tab")
    project = ScriptProject(SCRIPT, book, properties=PropertyStore(), ui=Quiet())
    return project.run(function, Selection(0, ()), args)


def signed_bytes(raw: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in raw]


@pytest.mark.parametrize(
    "body", ["", "{}", '{"Prompt": "a fox"}', '{"Prompt": "狐狸 🦊 é ß"}', "\u2028\u00ff\x00" * 100, "🦊" * 8_000]
)
def test_both_sides_sign_alike(body: str) -> None:
    """Emoji, Chinese characters, line separators, long text and no text at all."""
    key = {"id": "0a1b2c3d4e5f", "secret": signed_bytes(SECRET)}
    headers = call("signedHeaders_", key, call("bytesOf_", body), "msg-1", AT)
    wanted = Webhook(base64.b64encode(SECRET).decode()).sign("msg-1", datetime.fromtimestamp(AT, UTC), body)
    assert headers == {
        "x-key-id": "0a1b2c3d4e5f",
        "webhook-id": "msg-1",
        "webhook-timestamp": str(AT),
        "webhook-signature": wanted,
    }


def test_a_vector_that_no_library_can_change() -> None:
    """The bytes of one signature, worked out once with openssl."""
    key = {"id": "0a1b2c3d4e5f", "secret": signed_bytes(SECRET)}
    headers = call("signedHeaders_", key, call("bytesOf_", '{"Prompt":"狐狸 🦊"}'), "msg-1", AT)
    assert headers["webhook-signature"] == "v1,+055wdHWHH+5oi4To8Sbd5tIGZpI7r1qIk4D9QPBql4="


def test_a_key_is_taken_apart_at_its_first_two_underscores() -> None:
    """The secret itself may hold underscores and hyphens."""
    assert "_" in KEY[16:] and "-" in KEY[16:]
    assert call("parseKey_", f" {KEY}\n") == {"id": "0a1b2c3d4e5f", "secret": signed_bytes(SECRET)}


@pytest.mark.parametrize("key", ["", "ck__", KEY[:-1], KEY + "A", KEY.upper(), KEY.replace("ck_", "sk_"), KEY + "="])
def test_what_is_no_key_is_refused(key: str) -> None:
    """A cut or padded key is noticed when it is pasted, not when it is used."""
    assert call("parseKey_", key) is None


@pytest.mark.parametrize("text", ["", "a", "é", "狐", "🦊", "a🦊狐é\u07ff\u0800\uffff"])
def test_bytes_are_counted_as_they_are_sent(text: str) -> None:
    """The size of a request is known before it is made."""
    assert call("utf8Length_", text) == len(text.encode())
