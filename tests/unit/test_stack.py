"""How CloudFormation is waited for and asked, on answers as it gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from infra import change_set, stack
from infra.deploy.kept import execute_import

NAME = "comfysheet-prod"


def client_of_nobody() -> Any:
    """Return a client that is only ever stubbed."""
    return boto3.client(
        "cloudformation", region_name="eu-west-1", aws_access_key_id="AKIATEST", aws_secret_access_key="test"
    )


def told(*statuses: str) -> Any:
    """Return a client whose stack goes through *statuses*, one a look, and has no events."""
    client = client_of_nobody()
    stub = Stubber(client)
    for status in statuses:
        described = {"StackName": NAME, "CreationTime": "2026-01-01T00:00:00Z", "StackStatus": status}
        stub.add_response("describe_stacks", {"Stacks": [described]})
        stub.add_response("describe_stack_events", {"StackEvents": []})
    # What `finished` looks at in the end.
    stub.add_response("describe_stacks", {"Stacks": [{**described, "StackStatus": statuses[-1]}]})
    stub.activate()
    return client


def test_an_import_that_has_not_begun_is_waited_for() -> None:
    """CloudFormation may still say REVIEW_IN_PROGRESS when execute_change_set has answered."""
    client = told("REVIEW_IN_PROGRESS", "REVIEW_IN_PROGRESS", "IMPORT_IN_PROGRESS", "IMPORT_COMPLETE")
    assert stack.finished(client, NAME, set(), lambda _: None)["StackStatus"] == "IMPORT_COMPLETE"


@pytest.mark.parametrize(
    "statuses",
    [("REVIEW_IN_PROGRESS", "IMPORT_IN_PROGRESS", "REVIEW_IN_PROGRESS"), ("CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE")],
)
def test_what_went_back_has_failed(statuses: Sequence[str]) -> None:
    """A stack that is empty again is at rest, and that is no success."""
    with pytest.raises(stack.StackFailed, match=statuses[-1]):
        stack.finished(told(*statuses), NAME, set(), lambda _: None)


def test_a_refused_import_says_why() -> None:
    """The reason that stands in the change set is passed on: it is no fault of the network."""
    client = client_of_nobody()
    stub = Stubber(client)
    stub.add_response("create_change_set", {"Id": "x"})
    refused = "Resources [JobsTable] is missing from ResourceToImport list"
    stub.add_response("describe_change_set", {"Status": "FAILED", "StatusReason": refused})
    stub.activate()
    with pytest.raises(stack.StackFailed, match=r"cannot be taken over: Resources \[JobsTable\] is missing"):
        execute_import(client, StackName=NAME, ChangeSetName="take-over-1", TemplateBody="{}", ResourcesToImport=[])


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ({"Status": "CREATE_COMPLETE", "Changes": []}, []),
        ({"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes."}, None),
    ],
)
def test_an_update_of_outputs_alone_is_an_update(answer: dict[str, Any], wanted: list[Any] | None) -> None:
    """AWS makes a change set without changes for it, and none where there is nothing to do."""
    client = client_of_nobody()
    stub = Stubber(client)
    stub.add_response("describe_change_set", answer)
    stub.activate()
    assert change_set.changes(client, NAME, "plan-1") == wanted
