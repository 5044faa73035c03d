"""
Refuse what Apps Script's parser refuses and other engines accept, before it runs.

Source of the rules: the agents' notes of googleworkspace/apps-script-samples: private #fields and `static x = ...` in
classes are parse errors, and there are no ES modules.
"""

import re
from dataclasses import dataclass
from typing import Final

#: Comments, texts, templates without their inner code, regular expressions (after what cannot end an operand).
_NOT_CODE: Final = re.compile(
    r"//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|`(?:\\.|[^`\\])*`"
    r"|(?:(?<=[=(,:;!&|?{}\[+\-*%~^<>])|(?<=\breturn)|^)\s*(/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/[a-z]*)",
    re.DOTALL | re.MULTILINE,
)
_REFUSED: Final = (
    (re.compile(r"(?<![\w$])#[A-Za-z_$]"), "private #names"),
    (re.compile(r"\bstatic\s+(?!async\b|get\b|set\b)[\w$]+\s*[=;]"), "static fields"),
    (re.compile(r"\bstatic\s*\{"), "static blocks"),
    (re.compile(r"^\s*(?:import|export)\b", re.MULTILINE), "modules"),
    (re.compile(r"\bimport\s*[(.]"), "modules"),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Say what is refused in which line, counted from 1."""

    line: int
    what: str


def code_of(text: str) -> str:
    """Blank out comments, texts and regular expressions; lines and columns stay."""
    return _NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)


def refusals_of(text: str) -> list[Refusal]:
    """Find what Apps Script does not parse."""
    code = code_of(text)
    found = [
        Refusal(code.count("\n", 0, match.end()) + 1, what)
        for pattern, what in _REFUSED
        for match in pattern.finditer(code)
    ]
    return sorted(found, key=lambda one: one.line)
