"""
Read field masks and cut values by them: `sheets(properties(sheetId,title),data.rowData.values.note)`.

A mask is a tree of names; an empty tree means "all of it" (also written *).
"""

import re
from collections.abc import Mapping
from typing import Any

from sandbox.sheets_errors import GoogleError

Mask = dict[str, "Mask"]


def read_mask(text: str) -> Mask:
    """Parse *text*; GoogleError 400 when it is no mask."""
    tokens = re.findall(r"[A-Za-z0-9_*]+|[(),./]|\S", text)
    mask, rest = _read_list(tokens)
    if rest or not mask:
        raise GoogleError(400, f"Invalid field selection {text}")
    return {} if "*" in mask else mask


def _read_list(tokens: list[str]) -> tuple[Mask, list[str]]:
    mask: Mask = {}
    while True:
        tokens = _read_path(mask, tokens)
        if not tokens or tokens[0] != ",":
            return mask, tokens
        tokens = tokens[1:]


def _read_path(mask: Mask, tokens: list[str]) -> list[str]:
    if not tokens or not re.fullmatch(r"[A-Za-z0-9_]+|\*", tokens[0]):
        raise GoogleError(400, f"Invalid field selection {tokens[0] if tokens else ''}".rstrip())
    name, tokens = tokens[0], tokens[1:]
    fresh = name not in mask
    below = mask.setdefault(name, {})
    whole = not fresh and not below  # "a,a.b" asks for all of a
    if tokens and tokens[0] in "./":
        tokens = _read_path(below, tokens[1:])
    elif tokens and tokens[0] == "(":
        inner, tokens = _read_list(tokens[1:])
        if not tokens or tokens[0] != ")":
            raise GoogleError(400, f"Invalid field selection {name}")
        below.update(inner)
        tokens = tokens[1:]
    else:
        whole = True
    if whole or "*" in below:
        below.clear()
    return tokens


def cut(value: Any, mask: Mask) -> Any:
    """Keep only the parts of a response that *mask* names; lists are gone through, absent parts stay absent."""
    if not mask:
        return value
    if isinstance(value, list):
        return [cut(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: cut(value[name], below) for name, below in mask.items() if name in value}


def merged(old: Any, new: Any, mask: Mask) -> Any:
    """
    Update *old* by *new* as an update mask says: what *mask* names comes from *new*, and is cleared where it lacks it.

    Gives None where nothing is left.
    """
    if not mask:
        return new
    result: dict[str, Any] = dict(old) if isinstance(old, Mapping) else {}
    given: Mapping[str, Any] = new if isinstance(new, Mapping) else {}
    for name, below in mask.items():
        part = merged(result.get(name), given.get(name), below)
        if part is None:
            result.pop(name, None)
        else:
            result[name] = part
    return result or None
