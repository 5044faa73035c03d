"""Keep out of apps_script/ what Google's parser or runtime does not have."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent.parent / "apps_script"
FILES = sorted(FOLDER.glob("*.js"))
REFUSED = {
    "a private field": r"(?<![\w'\"&/])#[A-Za-z_]\w*\s*(=|;|\()",
    "a static field": r"\bstatic\s+\w+\s*=",
    "a module": r"^\s*(import|export)\b|\brequire\(",
    "a timer": r"\bset(Timeout|Interval)\(",
    "a browser's name": r"(?<![.\w])(fetch|new URL|URLSearchParams|TextEncoder|atob|btoa|crypto|window|document)\(",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_holds_nothing_that_google_refuses(path: Path) -> None:
    """Private fields, static fields, modules, timers and browser names are parse or run-time errors there."""
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
    found = [what for what, pattern in REFUSED.items() if re.search(pattern, code, re.MULTILINE)]
    assert found == []


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("a private field", "class A { #x = 1; }"),
        ("a static field", "class A { static x = 1; }"),
        ("a timer", "setTimeout(f)"),
    ],
)
def test_the_judge_sees_what_it_is_for(what: str, code: str) -> None:
    """The patterns find their prey."""
    assert re.search(REFUSED[what], code, re.MULTILINE)


def test_the_manifest_asks_for_as_little_as_possible() -> None:
    """Three scopes, V8."""
    manifest = json.loads((FOLDER / "appsscript.json").read_text())
    assert manifest["runtimeVersion"] == "V8"
    assert sorted(scope.rsplit("/", 1)[1] for scope in manifest["oauthScopes"]) == [
        "script.container.ui",
        "script.external_request",
        "spreadsheets.currentonly",
    ]
