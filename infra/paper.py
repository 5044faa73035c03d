"""Write what the verbs show: tables of 80 columns for people, JSON for scripts, times and sums in one form."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from chalicelib.contract.errors import Rejected

_UNITS_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}
GOOD, CARE, BAD, FAINT = "green", "yellow", "red", "dim"


@dataclasses.dataclass(frozen=True)
class Column:
    """Describe a column: its header, and how it is laid out. Only columns that *may_fold* give way to the width."""

    title: str
    is_number: bool = False
    may_fold: bool = False


def table(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]], title: str = "") -> Table:
    """Lay rows out below their headers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title_justify="left")
    if title:
        made.title = Text(title, style="bold")
    for column in columns:
        made.add_column(
            Text(column.title),
            justify="right" if column.is_number else "left",
            no_wrap=not column.may_fold,
            overflow="fold",
        )
    for row in rows:
        # Text, not markup: a sheet's title may hold brackets.
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def pairs(named: Iterable[tuple[str, str]]) -> Text:
    """Lay out names and values, one a line; a value is never broken, for it may be an address."""
    shown = [(name, value) for name, value in named if value]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [Text.assemble((f"{name:{width}}", "bold"), f"  {value}") for name, value in shown]
    return Text("\n").join(lines)


def show(*parts: RenderableType) -> None:
    """Print for a person: in colour on a terminal, plain and without trailing blanks elsewhere (or with NO_COLOR)."""
    console = Console(highlight=False)
    if console.is_terminal:
        _lay_out(console, parts)
    else:
        print(text(*parts, width=console.width))


def text(*parts: RenderableType, width: int = 80) -> str:
    """Give what `show` prints where there are no colours."""
    console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None, force_terminal=False)
    _lay_out(console, parts)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _lay_out(console: Console, parts: Iterable[RenderableType]) -> None:
    """Fit tables into the width; lines of text are left whole, for there may be addresses and ids in them."""
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, (str, Text)), markup=False)


def show_json(document: Any, *, one_line: bool = False) -> None:
    """Print for a script: one document, or one line of several."""
    written = json.dumps(plain(document), ensure_ascii=False, indent=None if one_line else 2)
    sys.stdout.write(f"{written}\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Turn values of ours into what JSON knows."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return value


def moment(at_ms: float | None) -> str | None:
    """Write a time (ms since the epoch) as RFC 3339 in UTC, for scripts; None stays None."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(at_ms: float | None) -> str:
    """Write a time for people, in UTC; nothing for None."""
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def span(length_ms: float) -> str:
    """Write a length of time for people: 850 ms, 12 s, 5 min, 3.5 h, 4 d."""
    if length_ms < 1000:
        return f"{max(0, length_ms):.0f} ms"
    if length_ms < 120_000:
        return f"{length_ms / 1000:.0f} s"
    if length_ms < 7_200_000:
        return f"{length_ms / 60_000:.0f} min"
    hours = length_ms / 3_600_000
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.0f} d"


def read_span(words: str) -> int:
    """Read a length of time such as 30s, 10m, 2h, 7d (ms). Raise `Rejected` (bad_time)."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)\s*([smhdw])", words.strip().casefold())
    if match is None:
        raise Rejected("bad_time", f"{words[:40]!r} is no length of time. Say 30s, 10m, 2h, 7d or 1w.")
    return int(float(match[1]) * _UNITS_MS[match[2]])


def money(usd: float) -> str:
    """Write US dollars; what is below a cent keeps two digits that count."""
    return f"${usd:,.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.2g}"


def some(count: int, thing: str) -> str:
    """Count things: 1 letter, 2 letters."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def cut(words: str, length: int) -> str:
    """Shorten to *length* characters, one line, with a sign that there is more."""
    line = " ".join(words.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
