"""
Write HTML that cannot be broken from inside: every string is escaped, unless this module made it.

Element and attribute names come from our own code; texts and attribute values may come from anyone.
"""

from __future__ import annotations

import re
from html import escape
from typing import Final

_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_VOID: Final = frozenset({"img", "link", "meta", "source"})


class Html(str):
    """Hold markup that was escaped already. Only `tag`, `join` and files of our own make it."""

    __slots__ = ()


Child = str | None
Attribute = str | int | float | bool | None


def text(value: str) -> Html:
    """Escape *value*, whoever wrote it; characters that HTML forbids (and half surrogates) become U+FFFD."""
    return Html(escape(_UNPRINTABLE.sub("\ufffd", value)))


def join(*children: Child) -> Html:
    """Put *children* one after another; None is left out, plain strings are escaped."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children if child is not None))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """
    Make an element.

    `class_` stands for class, an underscore inside a name for a hyphen. True gives the attribute alone; None and
    False leave it out.
    """
    head = name
    for key, value in attributes.items():
        label = key.rstrip("_").replace("_", "-")
        if value is True:
            head += f" {label}"
        elif value is not None and value is not False:
            head += f' {label}="{text(str(value))}"'
    if name in _VOID:
        return Html(f"<{head}>")
    return Html(f"<{head}>{join(*children)}</{name}>")
