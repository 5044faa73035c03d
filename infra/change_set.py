"""Ask CloudFormation what an update of a stack would change, and leave everything as it was."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from infra import stack

if TYPE_CHECKING:
    from boto3.session import Session


def preview(
    dist: Path, *, stage: str, session: Session, parameters: Mapping[str, str], template: str = "template.json"
) -> list[dict[str, Any]] | None:
    """
    Return what `deploy` would change in a stack that is there, as CloudFormation's own ResourceChange.

    An empty list: an update would be made that changes no resource, but perhaps outputs. None: there is none to make.

    A change set is made and deleted again, and with it the template's copy if it had to be put into the artefact
    bucket. Raises StackFailed.
    """
    cloudformation, name = session.client("cloudformation"), stack.stack_name(stage)
    put: list[tuple[str, str]] = []

    def keep_template(session: Session, path: Path, ending: str) -> tuple[str, str]:
        place = stack.artefact(session, path, ending)
        if ending == "json" and not stack.is_there(session.client("s3"), *place):
            stack.upload(session, path, ending)
            put.append(place)
        return place

    asked = stack.request(
        session, dist, template, stage, parameters, stack.describe(cloudformation, name), keep_template
    )
    made = f"plan-{time.time_ns()}"
    try:
        cloudformation.create_change_set(ChangeSetName=made, ChangeSetType="UPDATE", **asked)
        return changes(cloudformation, name, made)
    except ClientError as error:
        raise stack.StackFailed(f"Stack {name} was refused: {error.response['Error']['Message']}") from error
    finally:
        with contextlib.suppress(ClientError):  # it was refused, so there is none
            cloudformation.delete_change_set(StackName=name, ChangeSetName=made)
        for bucket, key in put:
            session.client("s3").delete_object(Bucket=bucket, Key=key)


def changes(cloudformation: Any, name: str, change_set: str) -> list[dict[str, Any]] | None:
    """Wait until the change set is worked out; return its changes, from all its pages, or None for no update."""
    pause_s, deadline = 0.1, time.monotonic() + stack.DEADLINE_S
    while time.monotonic() < deadline:
        page = cloudformation.describe_change_set(StackName=name, ChangeSetName=change_set)
        if page["Status"] == "FAILED":
            reason = page.get("StatusReason", "")
            if "didn't contain changes" in reason or "No updates are to be performed" in reason:
                return None
            raise stack.StackFailed(f"Stack {name} cannot be changed so: {reason}")
        if page["Status"] == "CREATE_COMPLETE":
            break
        time.sleep(pause_s)
        pause_s = min(3.0, pause_s * 1.5)
    found = [change["ResourceChange"] for change in page["Changes"]]
    while token := page.get("NextToken"):
        page = cloudformation.describe_change_set(StackName=name, ChangeSetName=change_set, NextToken=token)
        found += [change["ResourceChange"] for change in page["Changes"]]
    return found
