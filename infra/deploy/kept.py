"""
Find what outlived a stage's stack, and take it over into a new one.

Tables and bucket have fixed names and outlive their stack. CloudFormation will not create what exists ("already
exists"), so a new stack begins with an import (change set type IMPORT) of those alone; the update that follows makes
the rest. ImportExistingResources would not do: it knows only names that are written out, and ours hold the stage's.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError, WaiterError

from infra import stack
from infra.deploy.stage import Stage
from infra.deploy.steps import Change, Say
from infra.resources_only import names_in

if TYPE_CHECKING:
    from boto3.session import Session

_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "AWS::DynamoDB::Table": ("TableName", "table"),
    "AWS::S3::Bucket": ("BucketName", "bucket"),
}


@dataclass(frozen=True)
class Kept:
    """Name something that outlives the stack: its resource, its type, its name in the account."""

    logical: str
    type: str
    name: str

    @property
    def noun(self) -> str:
        return _NAMES[self.type][1]

    @property
    def identifier(self) -> dict[str, str]:
        return {_NAMES[self.type][0]: self.name}


def kept_by(template: Mapping[str, Any], stage: str, account: str, region: str) -> list[Kept]:
    """Return what a stack of *template* leaves behind, by the names it gives."""
    words = {"Stage": stage, "AWS::AccountId": account, "AWS::Region": region}
    return [
        Kept(logical, resource["Type"], _written(resource["Properties"][_NAMES[resource["Type"]][0]], words))
        for logical, resource in template["Resources"].items()
        if resource["Type"] in _NAMES and str(resource.get("DeletionPolicy", "")).startswith("Retain")
    ]


def adopting(template: Mapping[str, Any], kept: Sequence[Kept]) -> dict[str, Any]:
    """Return the template of the import: the kept resources and what they refer to. An import may have no outputs."""
    resources = {one.logical: template["Resources"][one.logical] for one in kept}
    used = names_in(resources)
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {name: rule for name, rule in template["Parameters"].items() if name in used},
        "Resources": resources,
    }


def indexes_missing(shape: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """Return the indexes that *shape* (a table's Properties) has and the *table* (as described) has not."""
    there = {index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])}
    return [index["IndexName"] for index in shape.get("GlobalSecondaryIndexes", []) if index["IndexName"] not in there]


def found(session: Session, template: Mapping[str, Any], stage: str) -> list[Kept]:
    """Return what of `kept_by` exists in the account."""
    account = session.client("sts").get_caller_identity()["Account"]
    return [one for one in kept_by(template, stage, account, session.region_name) if _exists(session, one)]


def execute_import(cloudformation: Any, **asked: Any) -> None:
    """Begin the import that *asked* describes (CreateChangeSet). Raises StackFailed with CloudFormation's reason."""
    name = {"StackName": asked["StackName"], "ChangeSetName": asked["ChangeSetName"]}
    try:
        cloudformation.create_change_set(ChangeSetType="IMPORT", **asked)
        cloudformation.get_waiter("change_set_create_complete").wait(
            **name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
        )
        cloudformation.execute_change_set(**name)
    except ClientError as error:
        raise stack.StackFailed(f"The data cannot be taken over: {error.response['Error']['Message']}") from error
    except WaiterError as error:
        reason = error.last_response.get("StatusReason") or error
        raise stack.StackFailed(f"The data cannot be taken over: {reason}") from error


class TakeOver:
    """Begin a new stack with what an earlier one of the stage left behind."""

    name = "data"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._template: dict[str, Any] = json.loads((stage.dist / stage.template).read_text())

    def look(self) -> list[Change]:
        """Say what is taken over; nothing when there is a stack. Raises StackFailed for tables of another shape."""
        if self._stage.stack():
            return []
        there = found(self._stage.session, self._template, self._stage.name)
        self._refuse_other_shapes(there)
        return [Change(f"take over the {one.noun} {one.name}, which an earlier stack left") for one in there]

    def act(self, say: Say) -> None:
        """Import them. Raises StackFailed."""
        session, name = self._stage.session, stack.stack_name(self._stage.name)
        cloudformation = session.client("cloudformation")
        stack.without_husk(cloudformation, name, say)
        there = found(session, self._template, self._stage.name)
        template = adopting(self._template, there)
        values = {**self._stage.parameters, "Stage": self._stage.name}
        made = f"take-over-{time.time_ns()}"
        execute_import(
            cloudformation,
            StackName=name,
            ChangeSetName=made,
            TemplateBody=json.dumps(template, separators=(",", ":")),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": values[key]} for key in template["Parameters"] if key in values
            ],
            ResourcesToImport=[
                {"ResourceType": one.type, "LogicalResourceId": one.logical, "ResourceIdentifier": one.identifier}
                for one in there
            ],
        )
        stack.finished(cloudformation, name, set(), say)

    def _refuse_other_shapes(self, there: Sequence[Kept]) -> None:
        dynamodb = self._stage.session.client("dynamodb")
        for one in there:
            if one.noun != "table":
                continue
            table = dynamodb.describe_table(TableName=one.name)["Table"]
            missing = indexes_missing(self._template["Resources"][one.logical]["Properties"], table)
            if missing:
                raise stack.StackFailed(
                    f"The table {one.name}, which an earlier stack left, lacks the index {', '.join(missing)}. "
                    "CloudFormation would believe that it is there. Deploy the release that made it, then this one."
                )


def _exists(session: Session, one: Kept) -> bool:
    try:
        if one.noun == "bucket":
            session.client("s3").head_bucket(Bucket=one.name)
        else:
            session.client("dynamodb").describe_table(TableName=one.name)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFoundException", "404", "NoSuchBucket"):
            return False
        raise stack.StackFailed(f"The {one.noun} {one.name} cannot be looked at: {error}") from error
    return True


def _written(name: Any, words: Mapping[str, str]) -> str:
    text = name["Fn::Sub"] if isinstance(name, dict) else str(name)
    return re.sub(r"\$\{([\w:]+)\}", lambda match: words[match[1]], text)
