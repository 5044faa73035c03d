"""
Judge apps_script/ as Google would, before it goes there.

What Apps Script's parser and runtime lack is written down once, in infra/apps_script/eslint.config.mjs; the types come
from @types/google-apps-script. Scripts inside HTML files are judged as browser code.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.npm import NpmFailed, install, run_node

TOOLS: Final = Path(__file__).with_name("apps_script")
#: What tsc prints with --pretty false; lines that go on with a finding are indented.
_TYPE_ERROR: Final = re.compile(r"^(?P<path>[^\s(][^(]*)\((?P<line>\d+),(?P<column>\d+)\): error (?P<rest>TS\d+: .*)$")
_UNPARSED: Final = "This cannot be parsed:"
_MODULES: Final = "Apps Script has no modules; all files share one global scope."


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Name one fault; line and column count from 1, 0 where the fault has no place."""

    file: str
    line: int
    column: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.what}"


def check(folder: Path, say: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """Return every fault of the scripts in *folder*, in the order of files and lines. Raises NpmFailed."""
    if not list(folder.glob("*.js")):
        raise NpmFailed(f"There are no scripts in {folder}.")
    install(TOOLS, say)
    found = [*_lint(folder), *_names(folder)]
    places = {(one.file, one.line, one.column) for one in found}
    broken = {one.file for one in found if one.what.startswith(_UNPARSED)}
    types = (one for one in _types(folder) if one.file not in broken)
    return sorted({*found, *(one for one in types if (one.file, one.line, one.column) not in places)})


def _lint(folder: Path) -> list[Finding]:
    eslint = TOOLS / "node_modules" / "eslint" / "bin" / "eslint.js"
    config = TOOLS / "eslint.config.mjs"
    done = run_node([str(eslint), "--no-config-lookup", "-c", str(config), "--format", "json", "."], folder)
    if done.returncode not in (0, 1):
        raise NpmFailed(f"eslint failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    found: list[Finding] = []
    for report in json.loads(done.stdout):
        file = Path(report["filePath"]).name
        for said in report["messages"]:
            found.append(Finding(file, said.get("line") or 0, said.get("column") or 0, _sentence(said["message"])))
    return found


def _sentence(message: str) -> str:
    if "'import' and 'export' may appear only" in message:
        return _MODULES
    return re.sub(r"^Unexpected use of '\S+'\. ", "", message).replace("Parsing error:", _UNPARSED)


def _names(folder: Path) -> list[Finding]:
    """Find pages that are called as a script is: files have no endings at Google, and it refuses a name twice."""
    scripts = {path.stem: path.name for path in folder.glob("*.js")}
    pages = [path for path in folder.glob("*.html") if path.stem in scripts]
    return [Finding(page.name, 0, 0, f"{scripts[page.stem]} has the same name; Google takes one.") for page in pages]


def _types(folder: Path) -> list[Finding]:
    """Run tsc over the folder with the settings of TOOLS/tsconfig.json."""
    config = {
        "extends": str(TOOLS / "tsconfig.json"),
        "include": [str(TOOLS / "names.d.ts"), f"{folder.resolve().as_posix()}/*.js"],
    }
    with tempfile.TemporaryDirectory(prefix="comfysheet-types-") as place:
        path = Path(place, "tsconfig.json")
        path.write_text(json.dumps(config))
        tsc = TOOLS / "node_modules" / "typescript" / "bin" / "tsc"
        done = run_node([str(tsc), "-p", str(path), "--pretty", "false"], folder)
    found: list[Finding] = []
    for line in done.stdout.splitlines():
        match = _TYPE_ERROR.match(line)
        if match:
            found.append(Finding(Path(match["path"]).name, int(match["line"]), int(match["column"]), match["rest"]))
    if done.returncode and not found:
        raise NpmFailed(f"tsc failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")
    return found
