"""
Run the script for a page: what its menu and its google.script.run ask for.

The page's user, tab and selection always go along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sandbox.apps_script import ScriptProject, read_sources
from sandbox.apps_script_run import Selection

_FUNCTION: Final = re.compile(r"^(?:async\s+)?function\s*\*?\s*([A-Za-z_$][\w$]*)\s*\(", re.MULTILINE)


def run_for_page(project: ScriptProject, asked: Mapping[str, Any], user: str) -> Any:
    """Run a function of the menu: {function, sheet, ranges}. Raises ScriptError."""
    return project.run(str(asked["function"]), _selection(asked), user=user)


def call_for_page(project: ScriptProject, asked: Mapping[str, Any], user: str) -> Any:
    """Run what google.script.run asks for: {function, args, sheet, ranges}. Raises ScriptError."""
    return project.call(str(asked["function"]), list(asked.get("args", [])), _selection(asked), user)


def public_functions(source_dir: Path) -> list[str]:
    """Name the functions that google.script.run offers: those of the files' top level that do not end in _."""
    found = {
        name
        for file, text in read_sources(source_dir).items()
        if file.endswith(".js")
        for name in _FUNCTION.findall(text)
    }
    return sorted(name for name in found if not name.endswith("_"))


def _selection(asked: Mapping[str, Any]) -> Selection:
    ranges = tuple((int(r0), int(c0), int(r1), int(c1)) for r0, c0, r1, c1 in asked.get("ranges", []))
    return Selection(int(asked["sheet"]), ranges)
