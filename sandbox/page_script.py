"""
Run the script for a page: what its menu and its google.script.run ask for.

One door for both, so that the page's user, tab and selection always go along, and a sandbox switch can lock it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sandbox.apps_script import ScriptError, ScriptProject, read_sources
from sandbox.apps_script_run import Selection

#: What google.script.run answers when the browser is signed in to two accounts and picks the wrong one.
NOT_AUTHORISED: Final = "Authorization is required to perform that action."
_FUNCTION: Final = re.compile(r"^(?:async\s+)?function\s*\*?\s*([A-Za-z$][\w$]*|_[\w$]+)\s*\(", re.MULTILINE)


class ScriptDoor:
    """Be the way from a page to the script."""

    def __init__(self, project: ScriptProject) -> None:
        """Lead to *project*."""
        self._project = project
        #: While set, google.script.run fails as with two Google accounts; menus go on working.
        self.is_locked = False

    def run(self, asked: Mapping[str, Any], user: str) -> Any:
        """Run a function of the menu."""
        return _perform(self._project, str(asked["function"]), [], _selection(asked), user)

    def call(self, asked: Mapping[str, Any], user: str) -> Any:
        """Run what google.script.run asks for; functions that end in _ are private. Raises ScriptError."""
        if self.is_locked:
            raise ScriptError(NOT_AUTHORISED)
        function = str(asked["function"])
        if function.endswith("_"):
            raise ScriptError(f"Script function not found: {function}")
        return _perform(self._project, function, list(asked.get("args", [])), _selection(asked), user)

    def functions(self) -> list[str]:
        """Name the functions that google.script.run offers."""
        source_dir: Path = self._project._source_dir
        found = {
            name
            for file, text in read_sources(source_dir).items()
            if file.endswith(".js")
            for name in _FUNCTION.findall(text)
        }
        return sorted(name for name in found if not name.endswith("_"))


def _perform(project: ScriptProject, function: str, args: list[Any], selection: Selection, user: str) -> Any:
    """Run for *user*, where the project can; an older one runs everything as its own user."""
    call = getattr(project, "call", None)
    if call is not None:
        return call(function, args, selection, user)
    return project.run(function, selection, args)


def _selection(asked: Mapping[str, Any]) -> Selection:
    ranges = tuple((int(r0), int(c0), int(r1), int(c1)) for r0, c0, r1, c1 in asked.get("ranges", []))
    return Selection(int(asked["sheet"]), ranges)
