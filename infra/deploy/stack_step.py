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
        """Say which resources change, as a change set tells, or that it is outputs alone."""
        there = self._stage.stack()
        template = json.loads((self._stage.dist / self._stage.template).read_text())
        if there is None:
            return [Change(f"create {stack.stack_name(self._stage.name)}: {len(template['Resources'])} resources")]
        found = change_set.preview(
            self._stage.dist,
            stage=self._stage.name,
            session=self._stage.session,
            parameters=self._stage.parameters,
            template=self._stage.template,
        )
        if found:
            return [change_of(one) for one in found]
        # MiniStack's change sets (1.5.33) know of resources only.
        told = self._stage.session.client("cloudformation").get_template(StackName=there["StackName"])["TemplateBody"]
        if found is not None or tells_otherwise(there, dict(told), self._stage.parameters, template):
            return [Change("update parameters and outputs; no resource changes")]
        return []

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


def tells_otherwise(
    there: Mapping[str, Any], deployed: Mapping[str, Any], given: Mapping[str, str], template: Mapping[str, Any]
) -> bool:
    """
    Say whether the stack *there*, of the template *deployed*, has other parameters than *given* or other outputs.

    Descriptions do not count: CloudFormation gives them back with other letters.
    """
    present = {one["ParameterKey"]: one.get("ParameterValue", "") for one in there.get("Parameters", [])}
    if any(present.get(name) != value for name, value in given.items()):
        return True
    before, after = (_without_descriptions(one.get("Outputs", {})) for one in (deployed, template))
    return before != after


def _without_descriptions(outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {part: value for part, value in output.items() if part != "Description"}
        for name, output in outputs.items()
    }


def change_of(resource: Mapping[str, Any]) -> Change:
    """Put CloudFormation's ResourceChange into words; what is dear and would be lost is grave."""
    what = f"{resource['LogicalResourceId']} ({resource['ResourceType']})"
    dear = resource["ResourceType"] in _DEAR
    if resource["Action"] == "Remove":
        return Change(f"remove {what}", grave=dear)
    if resource.get("Replacement") == "True":
        return Change(f"replace {what}", grave=dear)
    return Change(f"{resource['Action'].lower()} {what}")
