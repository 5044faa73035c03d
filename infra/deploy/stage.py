"""Hold what all steps of a deployment ask for: which stage, through which session, from which folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from infra import package, stack

if TYPE_CHECKING:
    from boto3.session import Session


def written_resources() -> dict[str, Any]:
    """Read infra/resources.yaml."""
    return dict(yaml.safe_load((package.ROOT / "infra" / "resources.yaml").read_text()))


@dataclass(frozen=True)
class Stage:
    """
    Name a stage and how it is deployed.

    *dist* is the folder that `package` wrote, *template* the file in it, *project* the folder with app.py and .chalice.
    What the cloud holds is asked anew each time: the steps before have changed it.
    """

    name: str
    session: Session
    dist: Path
    project: Path
    template: str = "template.json"
    parameters: Mapping[str, str] = field(default_factory=dict)

    def stack(self) -> dict[str, Any] | None:
        """Return the deployed stack; None when there is none, or one that holds nothing."""
        there = stack.describe(self.session.client("cloudformation"), stack.stack_name(self.name))
        return None if there is None or there["StackStatus"] in stack.HUSKS else there

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs; none before it is there."""
        return stack.outputs_of(self.stack() or {})

    def who(self) -> str:
        """Say who deploys: the last part of arn:aws:sts::123456789012:assumed-role/Admin/alice."""
        return str(self.session.client("sts").get_caller_identity()["Arn"]).rpartition(":")[2]
