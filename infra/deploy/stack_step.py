"""The step that creates or updates the stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from infra import change_set, stack
from infra.deploy.stage import Stage
from infra.deploy.steps import Change, Say

# What people notice when it is made anew or taken away: its content, or its address, is gone.
_DEAR: Final = frozenset(
    {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::ApiGateway::RestApi", "AWS::Events::EventBus"}
)


class Stack:
    """Bring the stack to the built template."""

    name = "stack"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def look(self) -> list[Change]:
        """Say which resources change, as a change set tells."""
        if self._stage.stack() is None:
            template = json.loads((self._stage.dist / self._stage.template).read_text())
            return [Change(f"create {stack.stack_name(self._stage.name)}: {len(template['Resources'])} resources")]
        found = change_set.preview(
            self._stage.dist,
            stage=self._stage.name,
            session=self._stage.session,
            parameters=self._stage.parameters,
            template=self._stage.template,
        )
        return [change_of(one) for one in found]

    def act(self, say: Say) -> None:
        """Do it, and wait for the end. Raises StackFailed; CloudFormation has then gone back to what was."""
        stack.deploy(
            self._stage.dist,
            stage=self._stage.name,
            session=self._stage.session,
            parameters=self._stage.parameters,
            template=self._stage.template,
            say=lambda line: say(f"{'':12} {line}"),
        )


def change_of(resource: Mapping[str, Any]) -> Change:
    """Put CloudFormation's ResourceChange into words; what is dear and would be lost is grave."""
    what = f"{resource['LogicalResourceId']} ({resource['ResourceType']})"
    dear = resource["ResourceType"] in _DEAR
    if resource["Action"] == "Remove":
        return Change(f"remove {what}", grave=dear)
    if resource.get("Replacement") == "True":
        return Change(f"replace {what}", grave=dear)
    return Change(f"{resource['Action'].lower()} {what}")
