"""
Create or update the stack from a built folder (package.py): the same steps for a real account and for the local cloud.

The code goes to an artefact bucket under its hash, the template is deployed byte for byte as it was built, and what
differs between stages is told by parameters. A parameter that is not given keeps the value of the deployed stack.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from boto3.session import Session

_INLINE_TEMPLATE_BYTES: Final = 51_200  # CloudFormation's limit for TemplateBody; a larger one is read from S3
DEADLINE_S: Final = 1800.0
HUSKS: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS")
"""States of a stack that holds nothing: its first creation failed, or was never begun."""
_RESTING: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
CAPABILITIES: Final = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]

# Environment variable of functions and workers -> output of the stack.
VARIABLES: Final[Mapping[str, str]] = {
    "JOBS_TABLE": "JobsTable",
    "KEYS_TABLE": "KeysTable",
    "NONCES_TABLE": "NoncesTable",
    "JOBS_QUEUE_URL": "JobsQueueUrl",
    "JOBS_DLQ_URL": "JobsDeadLettersUrl",
    "WORKERS_TABLE": "WorkersTable",
    "SHEETS_TABLE": "SheetsTable",
    "RATES_TABLE": "RatesTable",
    "COMPLETIONS_QUEUE_URL": "CompletionsQueueUrl",
    "COMPLETIONS_QUEUE_NAME": "CompletionsQueueName",
    "S3_BUCKET": "Bucket",
    "EVENTBRIDGE_BUS_NAME": "BusName",
    "SECRETS_PREFIX": "SecretsPrefix",
    "GOOGLE_SECRET_ID": "GoogleSecretId",
}
WORKER_VARIABLES: Final = (
    "JOBS_QUEUE_URL",
    "COMPLETIONS_QUEUE_URL",
    "JOBS_DLQ_URL",
    "JOBS_TABLE",
    "WORKERS_TABLE",
    "S3_BUCKET",
    "EVENTBRIDGE_BUS_NAME",
)
"""Those of VARIABLES that a worker reads (worker/.env.example)."""


class StackFailed(Exception):
    """Say why a stack could not be created or updated: each resource that failed, with the reason given for it."""


def stack_name(stage: str) -> str:
    return f"comfysheet-{stage}"


def environment(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that point a process (a worker, an `infra` verb) at the stack with these *outputs*."""
    return {variable: outputs[output] for variable, output in VARIABLES.items()}


def worker_environment(outputs: Mapping[str, str], region: str) -> dict[str, str]:
    """Return the variables that a worker needs of the stack with these *outputs*, without its AWS key."""
    return {**{variable: outputs[VARIABLES[variable]] for variable in WORKER_VARIABLES}, "AWS_REGION": region}


def read_outputs(session: Session, stage: str) -> dict[str, str]:
    """Return the outputs of the deployed stack. Raises StackFailed when there is none."""
    return outputs_of(described(session, stage))


def described(session: Session, stage: str) -> dict[str, Any]:
    """Return what CloudFormation says of the deployed stack. Raises StackFailed when there is none."""
    stack = describe(session.client("cloudformation"), stack_name(stage))
    if stack is None:
        raise StackFailed(
            f"There is no stack {stack_name(stage)} in {session.region_name}. Is it another region's (--region), or "
            f"stage's (--stage)? `python -m infra deploy --stage {stage}` makes it."
        )
    return stack


def parameters(session: Session, stage: str) -> dict[str, str]:
    """Return the parameters of the deployed stack; none: empty."""
    found = describe(session.client("cloudformation"), stack_name(stage)) or {}
    return {each["ParameterKey"]: each.get("ParameterValue", "") for each in found.get("Parameters", [])}


def deploy(
    dist: Path,
    *,
    stage: str,
    session: Session,
    parameters: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    template: str = "template.json",
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """
    Bring the stack of *stage* to what the folder *dist* holds; return its outputs.

    *template* is the file in *dist*; *say* gets a line for every resource that changes. Raises StackFailed.
    """
    cloudformation = session.client("cloudformation")
    name = stack_name(stage)
    stack = without_husk(cloudformation, name, say)
    asked: dict[str, Any] = {
        **request(session, dist, template, stage, parameters or {}, stack, upload),
        **({"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]} if tags else {}),
    }
    seen = event_ids(cloudformation, name) if stack else set()
    try:
        if stack:
            cloudformation.update_stack(**asked)
        else:
            cloudformation.create_stack(**asked)
    except ClientError as error:
        if stack and "No updates are to be performed" in str(error):
            say(f"{name} is up to date")
            return outputs_of(stack)
        raise StackFailed(f"Stack {name} was refused: {error.response['Error']['Message']}") from error
    return outputs_of(finished(cloudformation, name, seen, say))


def without_husk(cloudformation: Any, name: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Return the stack, or None; one that holds nothing is removed, for it can be neither updated nor made."""
    stack = describe(cloudformation, name)
    if stack is None or stack["StackStatus"] not in HUSKS:
        return stack
    say(f"removing {name}, whose first creation had failed")
    cloudformation.delete_stack(StackName=name)
    wait(cloudformation, name, seen=set(), say=say)
    return None


def request(
    session: Session,
    dist: Path,
    template: str,
    stage: str,
    parameters: Mapping[str, str],
    stack: Mapping[str, Any] | None,
    keep: Callable[[Session, Path, str], tuple[str, str]],
) -> dict[str, Any]:
    """Return what create, update and change set are asked with; *keep* puts a file into the artefact bucket."""
    declared = json.loads((dist / template).read_text())["Parameters"]
    ours = {"Stage": stage}
    if "CodeKey" in declared:
        ours["CodeBucket"], ours["CodeKey"] = keep(session, dist / "deployment.zip", "zip")
    present = {parameter["ParameterKey"] for parameter in stack.get("Parameters", [])} if stack else set()
    return {
        "StackName": stack_name(stage),
        "Capabilities": CAPABILITIES,
        "Parameters": _parameters({**parameters, **ours}, declared=declared, present=present),
        **_template_location(session, dist / template, keep),
    }


def _parameters(given: Mapping[str, str], *, declared: Mapping[str, Any], present: set[str]) -> list[dict[str, Any]]:
    """Return CloudFormation's list: what is given, and "as it is" for the rest that the stack already has."""
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise StackFailed(f"The template has no parameter {', '.join(unknown)}; it has {', '.join(sorted(declared))}.")
    kept = sorted((set(declared) & present) - set(given))
    values: list[dict[str, Any]] = [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]
    return values + [{"ParameterKey": key, "UsePreviousValue": True} for key in kept]


def _template_location(
    session: Session, path: Path, keep: Callable[[Session, Path, str], tuple[str, str]]
) -> dict[str, str]:
    body = path.read_text()
    if len(body.encode()) <= _INLINE_TEMPLATE_BYTES:
        return {"TemplateBody": body}
    bucket, key = keep(session, path, "json")
    return {"TemplateURL": f"{session.client('s3').meta.endpoint_url}/{bucket}/{key}"}


def artefact(session: Session, path: Path, ending: str) -> tuple[str, str]:
    """Return bucket and key of a file in the artefact bucket: it is kept under its hash."""
    account = session.client("sts").get_caller_identity()["Account"]
    return artefacts(account, session.region_name), f"{hashlib.sha256(path.read_bytes()).hexdigest()}.{ending}"


def artefacts(account: str, region: str) -> str:
    """Name the artefact bucket, which all stages of an account and region share."""
    return f"comfysheet-artefacts-{account}-{region}"


def upload(session: Session, path: Path, ending: str) -> tuple[str, str]:
    """Put the file in the artefact bucket under its hash, once; return bucket and key."""
    s3 = session.client("s3")
    bucket, key = artefact(session, path, ending)
    if not is_there(s3, bucket, key):
        make_bucket(s3, bucket, session.region_name)
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    return bucket, key


def is_there(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:  # HEAD says 404 for a missing bucket and for a missing key
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise StackFailed(f"The artefact bucket {bucket} cannot be read: {error}") from error
        return False
    return True


def has_bucket(s3: Any, bucket: str) -> bool:
    """Say whether the bucket is there; one that is not ours to look at is."""
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] != 404)
    return True


def make_bucket(s3: Any, bucket: str, region: str) -> None:
    """Make the artefact bucket, private, if it is not there."""
    # us-east-1 is the one region that must not be named (S3 API, CreateBucket).
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        s3.create_bucket(Bucket=bucket, **place)
    except (s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        return
    blocked = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)


def describe(cloudformation: Any, name: str) -> dict[str, Any] | None:
    try:
        stack: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return stack if stack["StackStatus"] != "DELETE_COMPLETE" else None


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output.get("OutputValue", "") for output in stack.get("Outputs", [])}


def address_of(stack: Mapping[str, Any]) -> str:
    """Return where people reach the API of a stack: its PublicUrl, else API Gateway's own; empty: it has none yet."""
    given = {each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", [])}
    return str(given.get("PublicUrl") or outputs_of(stack).get("ApiUrl", ""))


def finished(cloudformation: Any, name: str, seen: set[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Wait for the operation under way; return the stack, or raise StackFailed with the reasons."""
    failures = wait(cloudformation, name, seen=seen, say=say)
    stack = describe(cloudformation, name)
    if stack and stack["StackStatus"] in _RESTING:
        return stack
    status = stack["StackStatus"] if stack else "gone"
    if any("DescribeEvents" in failure for failure in failures):  # refused before it began: the reasons lie elsewhere
        failures = _validation_errors(cloudformation, name) or failures
    reasons = failures or [str((stack or {}).get("StackStatusReason", "no reason given"))]
    raise StackFailed(f"Stack {name} did not deploy ({status}):\n" + "\n".join(f"  {reason}" for reason in reasons))


def _validation_errors(cloudformation: Any, name: str) -> list[str]:
    """Return what CloudFormation's checks before the newest operation found, as `_wait` words it."""
    events = cloudformation.describe_events(StackName=name)["OperationEvents"]  # newest operation first
    return [
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event['ValidationStatusReason']}"
        for event in events
        if event["EventType"] == "VALIDATION_ERROR" and event["OperationId"] == events[0]["OperationId"]
    ]


def wait(cloudformation: Any, name: str, *, seen: set[str], say: Callable[[str], None]) -> list[str]:
    """
    Follow the stack's events until it rests; return "resource (type): reason" for each that failed of itself.

    A new stack is still in review for a moment after its import was begun: that is no rest unless it comes back to it.
    """
    failures: list[str] = []
    begun = False
    pause_s, deadline = 0.1, time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        stack = describe(cloudformation, name)
        for event in _new_events(cloudformation, name, seen) if stack else ():
            status, reason = event["ResourceStatus"], event.get("ResourceStatusReason", "")
            line = f"{event['LogicalResourceId']} ({event['ResourceType']})"
            if status.endswith("_FAILED") and "cancelled" not in reason:  # "cancelled": stopped by another's failure
                failures.append(f"{line}: {reason}")
            if not status.endswith("_IN_PROGRESS"):
                say(f"{status.lower().replace('_', ' ')}  {line}")
        if stack is None or not stack["StackStatus"].endswith("_IN_PROGRESS"):
            return failures
        if stack["StackStatus"] != "REVIEW_IN_PROGRESS":
            begun = True
        elif begun:
            return failures
        time.sleep(pause_s)
        pause_s = min(3.0, pause_s * 1.5)
    raise StackFailed(f"Stack {name} is still busy after {DEADLINE_S / 60:.0f} minutes; look at its events.")


def until_at_rest(cloudformation: Any, name: str, say: Callable[[str], None]) -> None:
    """Wait for what another deployment began, perhaps one that was cut short here."""
    stack = describe(cloudformation, name)
    if stack and stack["StackStatus"].endswith("_IN_PROGRESS") and stack["StackStatus"] not in HUSKS:
        say(f"{name} is still {stack['StackStatus'].lower().replace('_', ' ')}; waiting")
        wait(cloudformation, name, seen=event_ids(cloudformation, name), say=say)


def event_ids(cloudformation: Any, name: str) -> set[str]:
    seen: set[str] = set()
    _new_events(cloudformation, name, seen)
    return seen


def _new_events(cloudformation: Any, name: str, seen: set[str]) -> list[dict[str, Any]]:
    """Return the stack's events that are not in *seen*, oldest first, and add them to it."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=name)
    events = [event for page in pages for event in page["StackEvents"] if event["EventId"] not in seen]
    seen.update(event["EventId"] for event in events)
    return events[::-1]
