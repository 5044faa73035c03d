"""Read what a key may do and use from the command line, and show it (`chalicelib.keymaker.TERMS`)."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping
from typing import Final, get_args

from chalicelib.contract.errors import Rejected
from chalicelib.contract.limits import BURST, QUEUED_MAX, RATE
from chalicelib.gate import Scope
from infra.paper import Column, moment

SCOPES: Final[tuple[str, ...]] = get_args(Scope)
_NUMBERS: Final[tuple[tuple[str, str, float, float, type[int] | type[float]], ...]] = (
    ("rate", "rate_per_s", 0.001, 1000, float),
    ("burst", "burst", 1, 10_000, int),
    ("queued_max", "queued_max", 0, 1_000_000, int),
    ("gpu_seconds_per_day", "gpu_s_per_day", 0, 10_000_000, int),
    ("expires_days", "expires_at", 0.001, 3650, float),
)
"""Option, its name in the key's record, least, most, and what it is."""


def add_terms(action: argparse.ArgumentParser) -> None:
    """Add the options that say what a key may use."""
    action.add_argument("--rate", help=f"requests a second (usually {RATE:g})")
    action.add_argument("--burst", help=f"requests at once (usually {BURST})")
    action.add_argument(
        "--queued-max", help=f"open jobs of its client above which it starts none (usually {QUEUED_MAX})"
    )
    action.add_argument("--gpu-seconds-per-day", help="GPU time a day, UTC (usually without a limit)")
    action.add_argument("--expires-days", help="in how many days it ends (usually never)")
    action.add_argument("--note", help="a word for people")


def terms_of(arguments: argparse.Namespace, now_s: float) -> dict[str, str]:
    """Read a key's terms from the command line; raise `Rejected` (bad_terms) with what is wrong."""
    terms: dict[str, str] = {}
    for option, name, least, most, kind in _NUMBERS:
        text = getattr(arguments, option)
        if text:
            terms[name] = _number(text, option, least, most, kind)
        elif text == "":
            terms[name] = ""
    if terms.get("expires_at"):
        terms["expires_at"] = str(int(now_s + float(terms["expires_at"]) * 24 * 3600))
    if arguments.scopes is not None:
        scopes = re.split(r"[\s,]+", arguments.scopes.strip()) if arguments.scopes.strip() else []
        if unknown := set(scopes) - set(SCOPES):
            raise Rejected("bad_terms", f"There is no scope {min(unknown)}. Scopes are {', '.join(SCOPES)}.")
        terms["scopes"] = " ".join(scope for scope in SCOPES if scope in scopes)
    if arguments.sheet is not None:
        terms["spreadsheet_id"] = spreadsheet_id_of(arguments.sheet)
    if arguments.note is not None:
        terms["note"] = " ".join(arguments.note.split())[:100]
    return terms


def _number(text: str, option: str, least: float, most: float, kind: type[int] | type[float]) -> str:
    name = option.replace("_", "-")
    try:
        number = kind(text)
    except ValueError:
        raise Rejected("bad_terms", f"--{name} is a number, not {text[:40]!r}.") from None
    if not least <= number <= most:
        raise Rejected("bad_terms", f"--{name} is {least:g} to {most:g}.")
    return str(number)


def spreadsheet_id_of(text: str) -> str:
    """Take the id out of a spreadsheet's address; an id is answered as it is."""
    match = re.search(r"/spreadsheets/d/([A-Za-z0-9_-]+)", text)
    return match[1] if match else text.strip()


COLUMNS: Final = (
    Column("Key"),
    Column("Kind"),
    Column("Made"),
    Column("Last used"),
    Column("Client", may_fold=True),
    Column("Not as usual", may_fold=True),
)
_WORDS: Final[Mapping[str, str]] = {
    "spreadsheet_id": "sheet",
    "scopes": "scopes",
    "rate_per_s": "rate",
    "burst": "burst",
    "queued_max": "queued",
    "gpu_s_per_day": "gpu-s/day",
    "note": "note",
}


def shown(record: Mapping[str, str], used_at: int | None, now_s: float) -> tuple[str, ...]:
    """Show a key as a row of `COLUMNS`; *used_at* in ms since the epoch, None: not known. Never a secret or a hash."""
    used = "never" if used_at is None else _day(used_at / 1000)
    terms = [
        f"{word}={record[name].replace(' ', ',' if name == 'scopes' else ' ')}"
        for name, word in _WORDS.items()
        if name in record
    ]
    if "expires_at" in record:
        ends_s = float(record["expires_at"])
        terms.append(f"{'ends' if ends_s > now_s else 'ended'} {_day(ends_s)}")
    if float(record.get("old_until", "0")) > now_s:
        terms.append(f"two secrets until {_day(float(record['old_until']))}")
    made = _day(float(record["created_at"]))
    return (record["key_id"], record["kind"], made, used, record["client_id"], "  ".join(terms))


def document(record: Mapping[str, str], used_at: int | None, now_s: float) -> dict[str, object]:
    """Give a key to scripts: absent terms are null, which is as usual; never a secret or a hash."""
    old_until_s = float(record.get("old_until", "0"))
    expires_at = record.get("expires_at")
    return {
        "key_id": record["key_id"],
        "kind": record["kind"],
        "client": record["client_id"],
        "created_at": moment(float(record["created_at"]) * 1000),
        "used_at": moment(used_at),
        **{name: record.get(name) for name in _WORDS},
        "expires_at": moment(float(expires_at) * 1000) if expires_at else None,
        "is_expired": bool(expires_at) and float(expires_at or 0) <= now_s,
        "old_secret_until": moment(old_until_s * 1000) if old_until_s > now_s else None,
    }


def _day(moment_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment_s))
