"""Keep out of apps_script/ what Google's parser or runtime does not have, and show that each fault is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.npm import NpmFailed, find
from infra.sheet_check import Finding, check
from sandbox.apps_script_syntax import refusals_of

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "apps_script"

# The other file that every planted one stands beside.
OTHER = "const OTHER = 1;\nfunction zoo() {\n  return hidden_();\n}\nfunction hidden_() {\n  return 1;\n}\n"

# What is planted (§ makes its names its own), in which line it is found, and words of the sentence.
FAULTS = {
    "a private field": ("class B§ {\n  #x = 1;\n}\nnew B§();", 2, "private #names"),
    "a private method": ("class B§ {\n  #x() {}\n}\nnew B§();", 2, "private #names"),
    "a static field": ("class B§ {\n  static x = 1;\n}\nnew B§();", 2, "static fields"),
    "a static block": ("class B§ {\n  static {}\n}\nnew B§();", 2, "static blocks"),
    "an import": ("import x§ from 'y';", 1, "no modules"),
    "an export": ("export const x§ = 1;", 1, "no modules"),
    "an import that is a call": ("function go§() {\n  return import('x');\n}", 2, "no modules"),
    "a require": ("function go§() {\n  return require('x');\n}", 2, "no modules"),
    "a timer": ("function go§() {\n  setTimeout(go§, 1);\n}", 2, "no timers"),
    "a repeated timer": ("function go§() {\n  setInterval(go§, 1);\n}", 2, "no timers"),
    "a URL": ("function go§() {\n  return new URL('https://x');\n}", 2, "has no URL"),
    "search parameters": ("function go§() {\n  return new URLSearchParams('a=1');\n}", 2, "has no URLSearchParams"),
    "a fetch": ("function go§() {\n  return fetch('https://x');\n}", 2, "UrlFetchApp"),
    "a text encoder": ("function go§() {\n  return new TextEncoder();\n}", 2, "Utilities.newBlob"),
    "atob": ("function go§() {\n  return atob('eA==');\n}", 2, "base64Decode"),
    "btoa": ("function go§() {\n  return btoa('x');\n}", 2, "base64Decode"),
    "crypto": ("function go§() {\n  return crypto.randomUUID();\n}", 2, "Utilities.getUuid"),
    "a window": ("function go§() {\n  return window.top;\n}", 2, "has no window"),
    "a document": ("function go§() {\n  return document.title;\n}", 2, "has no document"),
    "a stopwatch": ("function go§() {\n  return performance.now();\n}", 2, "has no performance"),
    "a name of Node": ("function go§() {\n  return process.env;\n}", 2, "not Node"),
    "a name that nobody defines": ("function go§() {\n  return nowhere();\n}", 2, "'nowhere' is not defined"),
    "a broken line": ("function go§( {\n}", 2, "cannot be parsed"),
    "a menu item without a function": ("SpreadsheetApp.getUi().createMenu('')\n  .addItem('', 'no');", 2, "menu item"),
    "a private function that nobody uses": ("function alone§_() {\n  return 1;\n}", 1, "used nowhere"),
    "a name of another file while loading": ("const TWO§ = OTHER + 1;", 1, "needs OTHER of Z.js"),
    "the same in a function called while loading": (
        "const TWO§ = two§();\nfunction two§() {\n  return OTHER;\n}",
        3,
        "needs OTHER of Z.js",
    ),
    "the same in a call's function": ("const TWO§ = [1].map((n) =>\n  n + OTHER);", 2, "needs OTHER of Z.js"),
    "the same in a constructor": (
        "class B§ {\n  constructor() {\n    this.x = OTHER;\n  }\n}\nconst TWO§ = new B§();",
        3,
        "needs OTHER of Z.js",
    ),
    "a name that another file has too": ("function zoo() {\n  return 1;\n}", 1, "defined in Z.js too"),
}
# Apart: types are judged only where everything parses.
TYPE_FAULTS = {
    "a wrong type": ("/** @type {number} */\nconst many§ = 'x';", 2, "TS2322"),
    "a method that Google lacks": ("function go§() {\n  SpreadsheetApp.getNothing();\n}", 2, "TS2339"),
    "too few arguments": ("function go§() {\n  Utilities.sleep();\n}", 2, "TS2554"),
    "no type for a parameter": ("function go§(\n  x) {\n  return x;\n}", 2, "TS7006"),
    "a value that may be missing": (
        "function go§() {\n  return PropertiesService.getScriptProperties().getProperty('x').length;\n}",
        2,
        "TS2531",
    ),
}
PAGE_FAULTS = {
    "a name that nobody defines": ("<p>\n<script>\n  nowhere();\n</script>", 3, "'nowhere' is not defined"),
    "a function that the script lacks": ("<script>\n  google.script.run.none();\n</script>", 2, "no function none"),
    "the same behind handlers": (
        "<script>\n  google.script.run.withSuccessHandler(close)\n    .withFailureHandler(alert).none();\n</script>",
        3,
        "no function none",
    ),
    "the same by way of a function": (
        "<script>\n  function call(on, name) {\n    google.script.run[name](on);\n  }\n  call(1, 'none');\n</script>",
        5,
        "no function none",
    ),
    "a private function": ("<script>\n  google.script.run.hidden_();\n</script>", 2, "is private"),
    "text as markup": ("<script>\n  document.body.innerHTML = location.hash;\n</script>", 2, "become markup"),
    "a broken line in the second script": ("<script></script>\n<script>\n  let = ;\n</script>", 3, "cannot be parsed"),
}
# What Google's parser refuses and quickjs does not; the sandbox refuses it by itself, for it has no Node at hand.
PARSER = ["a private field", "a private method", "a static field", "a static block", "an import", "an export"]

GOOD = """
/** What a class may be. */
class Box {
  constructor() {
    this.size = OTHER;
  }

  static of() {
    return new Box();
  }

  get half() {
    return this.size / 2;
  }
}

const TABLE = { go, half: () => zoo(), '#x': 'static y = 1; import z', url: 'new URL(window)' };

/** A catch without a name is fine, and so is what the language itself has. */
function go() {
  const { location } = { location: 'here' };
  try {
    return [TABLE, Box.of().half, /#a/.test(location), OTHER, new Map(Object.entries({})), Math.max(1, 2)];
  } catch {
    return Utilities.getUuid() + hidden_();
  }
}
"""
GOOD_PAGE = """<style>p { color: red; }</style>
<script type="application/json">{"import": 1}</script>
<script>
  google.script.run.withSuccessHandler((said) => { document.title = said; }).zoo();
  setTimeout(() => new URL(location.href), 1);
</script>
"""


def plant(folder: Path, snippets: dict[str, str], ending: str) -> dict[str, list[Finding]]:
    """Judge one folder in which every snippet is a file; return what was found in each."""
    (folder / "Z.js").write_text(OTHER)
    for at, text in enumerate(snippets.values()):
        (folder / f"F{at}{ending}").write_text(text.replace("§", str(at)))
    found = check(folder)
    return {name: [one for one in found if one.file == f"F{at}{ending}"] for at, name in enumerate(snippets)}


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    return plant(tmp_path_factory.mktemp("scripts"), {name: fault[0] for name, fault in FAULTS.items()}, ".js")


@pytest.fixture(scope="module")
def type_faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    return plant(tmp_path_factory.mktemp("types"), {name: fault[0] for name, fault in TYPE_FAULTS.items()}, ".js")


@pytest.fixture(scope="module")
def page_faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    return plant(tmp_path_factory.mktemp("pages"), {name: fault[0] for name, fault in PAGE_FAULTS.items()}, ".html")


def test_the_script_holds_nothing_that_google_refuses() -> None:
    """What is in apps_script/ parses, loads and fits Google's types there."""
    assert [str(one) for one in check(FOLDER)] == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_in_its_line(name: str, faults: dict[str, list[Finding]]) -> None:
    """Every kind of fault is said with file and line, and nothing else is said of that file."""
    _, line, words = FAULTS[name]
    assert [one.line for one in faults[name]] == [line]
    assert words in faults[name][0].what


@pytest.mark.parametrize("name", TYPE_FAULTS)
def test_what_does_not_fit_googles_types_is_found(name: str, type_faults: dict[str, list[Finding]]) -> None:
    """The scripts are type-checked, strictly, against @types/google-apps-script."""
    _, line, words = TYPE_FAULTS[name]
    assert [one.line for one in type_faults[name]] == [line]
    assert words in type_faults[name][0].what


@pytest.mark.parametrize("name", PAGE_FAULTS)
def test_a_fault_in_a_page_is_found_in_its_line(name: str, page_faults: dict[str, list[Finding]]) -> None:
    """A script inside HTML is judged as the browser's, with the lines of the HTML file."""
    _, line, words = PAGE_FAULTS[name]
    assert [one.line for one in page_faults[name]] == [line]
    assert words in page_faults[name][0].what


def test_what_google_takes_is_not_refused(tmp_path: Path) -> None:
    """Classes, catch without a name, names in texts, and a browser's names in a page pass."""
    (tmp_path / "Z.js").write_text(OTHER)
    (tmp_path / "Good.js").write_text(GOOD)
    (tmp_path / "Page.html").write_text(GOOD_PAGE)
    assert [str(one) for one in check(tmp_path)] == []


def test_a_page_is_not_called_as_a_script_is(tmp_path: Path) -> None:
    """At Google files have no endings, and two of one name are refused when they are pushed."""
    (tmp_path / "Z.js").write_text(OTHER)
    (tmp_path / "Z.html").write_text("<p>\n")
    assert [str(one) for one in check(tmp_path)] == ["Z.html:0:0 Z.js has the same name; Google takes one."]


@pytest.mark.parametrize("name", FAULTS)
def test_the_sandbox_refuses_what_the_parser_refuses(name: str) -> None:
    """What the sandbox refuses to load is the parser's part of the check: no more, no less."""
    refused = refusals_of(FAULTS[name][0].replace("§", "1"))
    assert bool(refused) == (name in PARSER or name == "an import that is a call")


def test_the_command_names_the_place_and_fails(tmp_path: Path) -> None:
    """`python -m infra sheet check` prints file:line:column and a sentence, and its exit code is 1."""
    (tmp_path / "Bad.js").write_text("function go() {\n  fetch('https://x');\n}\n")
    command = [sys.executable, "-m", "infra", "sheet", "check", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    sentence = "Apps Script has no fetch; UrlFetchApp.fetch(url, options) does it."
    assert done.stdout.splitlines()[-1] == f"{tmp_path.name}/Bad.js:2:3 {sentence}"


def test_no_node_is_a_sentence_and_no_pass(tmp_path: Path) -> None:
    """Without Node nothing is judged, and that is said."""
    with pytest.raises(NpmFailed, match=r"node is not here\. `make setup` brings it"):
        find("node", python=tmp_path / "python", path=str(tmp_path))


def test_the_manifest_asks_for_as_little_as_possible() -> None:
    """Three scopes, V8; the address list is stamped when it goes to Google."""
    manifest = json.loads((FOLDER / "appsscript.json").read_text())
    assert manifest["runtimeVersion"] == "V8"
    assert "urlFetchWhitelist" not in manifest
    assert sorted(scope.rsplit("/", 1)[1] for scope in manifest["oauthScopes"]) == [
        "script.container.ui",
        "script.external_request",
        "spreadsheets.currentonly",
    ]
