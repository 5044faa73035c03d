"""What `python -m infra keys` understands, and how it shows a key."""

from __future__ import annotations

import pytest

from chalicelib.contract.errors import Rejected
from infra.__main__ import parser
from infra.key_terms import document, shown, terms_of

DAY_S = 86_400


def terms(*words: str) -> dict[str, str]:
    return terms_of(parser().parse_args(["keys", "create", "--client", "studio", *words]), now_s=1_000_000)


def test_nothing_said_is_as_usual() -> None:
    """The record of such a key names no terms: a later release's usual limits are its own."""
    assert terms() == {}


def test_all_that_can_be_said() -> None:
    """Scopes in any order and spelling, an address for its id, days for a time."""
    address = "https://docs.google.com/spreadsheets/d/1AbC-d_E/edit#gid=0"
    words = ["--scopes", "submit, read raw", "--sheet", address, "--rate", "2.5", "--burst", "10"]
    more = ["--queued-max", "50", "--gpu-seconds-per-day", "3600", "--expires-days", "2", "--note", " n8n  at home "]
    assert terms(*words, *more) == {
        "scopes": "read submit raw",
        "spreadsheet_id": "1AbC-d_E",
        "rate_per_s": "2.5",
        "burst": "10",
        "queued_max": "50",
        "gpu_s_per_day": "3600",
        "expires_at": str(1_000_000 + 2 * DAY_S),
        "note": "n8n at home",
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--scopes", "read,write"], "no scope write"),
        (["--rate", "fast"], "--rate is a number"),
        (["--rate", "0"], "--rate is 0.001 to 1000"),
        (["--burst", "2.5"], "--burst is a number"),
        (["--queued-max", "-1"], "--queued-max is 0 to"),
        (["--rate", "nan"], "--rate is 0.001 to 1000"),
    ],
)
def test_what_makes_no_sense_is_told(words: list[str], told: str) -> None:
    """In a sentence that names the option."""
    with pytest.raises(Rejected, match=told):
        terms(*words)


def test_an_empty_value_goes_back_to_what_is_usual() -> None:
    """Only for `set`: a key that is made has nothing to go back from."""
    arguments = parser().parse_args(["keys", "set", "0" * 12, "--queued-max", "", "--scopes", "", "--burst", "5"])
    assert terms_of(arguments, now_s=0) == {"queued_max": "", "scopes": "", "burst": "5"}


def test_a_key_is_shown_in_a_row() -> None:
    """Whose, since when, last used, its terms, and that it has two secrets; never a hash."""
    record = {
        "key_id": "0123456789ab",
        "kind": "api",
        "client_id": "studio",
        "created_at": "0",
        "secret_sha256": "canary",
        "old_sha256": "canary",
        "scopes": "read raw",
        "expires_at": str(3 * DAY_S),
        "old_until": str(2 * DAY_S),
    }
    assert shown(record, DAY_S * 1000, now_s=DAY_S) == (
        *("0123456789ab", "api", "1970-01-01", "1970-01-02", "studio"),
        "scopes=read,raw  ends 1970-01-04  two secrets until 1970-01-03",
    )
    told = document(record, None, now_s=DAY_S)
    assert (told["used_at"], told["scopes"], told["rate_per_s"], told["is_expired"]) == (None, "read raw", None, False)
    assert told["old_secret_until"] == "1970-01-03T00:00:00.000Z"
    assert "canary" not in str(told)
    later = shown(record, None, now_s=10 * DAY_S)
    assert (later[3], later[5]) == ("never", "scopes=read,raw  ended 1970-01-04")
