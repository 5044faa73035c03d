"""The step that writes what a stage is called into `.chalice/config.json`: names and addresses, no secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.deploy.stage import Stage
from infra.deploy.steps import Change, Say

Section = Mapping[str, Any]


class Config:
    """Write the stage's section; the sections of other stages, and what stands above them, stay."""

    name = "config"

    def __init__(self, stage: Stage, section: Callable[[], Section]) -> None:
        self._stage = stage
        self._section = section

    def look(self) -> list[Change]:
        """Say whether the section differs from what is deployed."""
        if not self._stage.outputs():
            return [Change(f"write the stage's names into {self.path}")]
        present = json.loads(self.path.read_text()).get("stages", {}).get(self._stage.name)
        if present == self._section():
            return []
        return [Change(f"write stages.{self._stage.name} in {self.path}")]

    def act(self, _say: Say) -> None:
        """Write it."""
        write_section(self.path, self._stage.name, self._section())

    @property
    def path(self) -> Path:
        return self._stage.project / ".chalice" / "config.json"


def names_section(way: str, stage: Stage) -> Section:
    """Return what is written about a stage that is one stack: for people and scripts; Chalice reads none of it."""
    return {"deployed_by": way, "region": stage.session.region_name, "outputs": dict(sorted(stage.outputs().items()))}


def recorded_region(path: Path, stage: str) -> str:
    """Return the region that the stage was deployed into, as its section says; empty: it does not."""
    return str(json.loads(path.read_text()).get("stages", {}).get(stage, {}).get("region", ""))


def write_section(path: Path, stage: str, section: Section | None) -> None:
    """Put *section* in the place of the stage's present one, or take that away (None); whole or not at all."""
    settings = json.loads(path.read_text())
    stages = dict(settings.get("stages", {}))
    stages.pop(stage, None)
    if section is not None:
        stages[stage] = section
    settings["stages"] = dict(sorted(stages.items()))
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(settings, indent=2) + "\n")
    partial.replace(path)
