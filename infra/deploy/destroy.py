"""
Take a stage away. Data stays unless it is asked for: then it is asked for again, for nothing brings it back.

Data are the tables and the bucket that outlive the stack, and the secrets of sheets and webhooks in SSM, without which
the keys in the table would be of no use.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.runpod import KEY_PARAMETER
from infra import stack
from infra.deploy import chalice_way
from infra.deploy.config_step import write_section
from infra.deploy.kept import Kept, found
from infra.deploy.preflight import CHALICE, OURS, way_of
from infra.deploy.stage import written_resources
from infra.deploy.steps import Say, Stopped
from infra.ec2 import fleet
from infra.functions import FUNCTIONS
from infra.runpod.farm import Farm

if TYPE_CHECKING:
    from boto3.session import Session

Ask = Callable[[str, str], bool]


def destroy(session: Session, stage: str, project: Path, *, with_data: bool, ask: Ask, say: Say) -> None:
    """
    Remove the stage's stack (and functions), with its data if asked for; say what is left.

    *ask* is asked with a question and the word that means yes. Raises Stopped and StackFailed.
    """
    cloudformation, name = session.client("cloudformation"), stack.stack_name(stage)
    stack.until_at_rest(cloudformation, name, say)
    if stack.describe(cloudformation, fleet.stack_name(stage)) is not None:
        raise Stopped(f"Stage {stage} has workers on EC2. First: python -m infra ec2 down --stage {stage}")
    _refuse_pods(session, stage, say)
    there = stack.describe(cloudformation, name)
    data, secrets, logs = _data(session, stage), _secrets(session, stage), _log_groups(session, stage)
    if there is None and not (with_data and (data or secrets or logs)):
        _refuse_functions(session, stage)
        _say_what_is_left(session, stage, [] if with_data else data, secrets, say)
        raise Stopped(f"There is no stage {stage} in {session.region_name}; nothing was done.")
    if not ask(f"This ends stage {stage}: its API, queues (with what waits in them) and functions.", stage):
        raise Stopped("Nothing was done.")
    if with_data:
        told = ", ".join([*(one.name for one in data), f"{len(secrets)} secrets in SSM"])
        if not ask(f"And for ever: {told}.", f"{stage} with data"):
            raise Stopped("Nothing was done.")
    if there:
        if way_of(there) == CHALICE:
            chalice_way.delete(session, stage, project, say)
        _detach(session, stack.outputs_of(there).get("WorkerPolicyArn", ""), name, say)
        seen = stack.event_ids(cloudformation, name)
        cloudformation.delete_stack(StackName=name)
        failures = stack.wait(cloudformation, name, seen=seen, say=say)
        if stack.describe(cloudformation, name) is not None:
            raise stack.StackFailed("\n".join([f"Stack {name} is not quite gone:", *(f"  {one}" for one in failures)]))
        _refuse_pods(session, stage, lambda _: None)  # the scaler could order until now; the key is still there
    if with_data:
        _drop(session, _data(session, stage), secrets, say)  # an earlier release's stack may have dropped some itself
    for group in _log_groups(session, stage):  # what a function wrote after its group was gone
        session.client("logs").delete_log_group(logGroupName=group)
    write_section(project / ".chalice" / "config.json", stage, None)
    _refuse_functions(session, stage)
    say(f"stage {stage} is gone")
    _say_what_is_left(session, stage, _data(session, stage), _secrets(session, stage), say)
    if own := own_settings(there or {}, written_resources()["Parameters"]):
        told = " ".join(f"--set {shlex.quote(f'{name}={value}')}" for name, value in own.items())
        say(f"its settings are gone; to have them again: python -m infra deploy --stage {stage} {told}")


def own_settings(there: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the parameters of the stack *there* that somebody set: those that differ from the *declared* defaults."""
    present = {one["ParameterKey"]: str(one.get("ParameterValue", "")) for one in there.get("Parameters", [])}
    return {
        name: value
        for name, value in sorted(present.items())
        if name in declared and name not in OURS and value != str(declared[name].get("Default", ""))
    }


def _refuse_pods(session: Session, stage: str, say: Say) -> None:
    """Raise Stopped while the stage has pods on RunPod, which cost until they are ended, or RunPod cannot be asked."""
    farm = Farm(session, stage)
    if not farm.key():
        say("RunPod was not asked for pods: no key is saved with the stage, and RUNPOD_API_KEY is not set")
        return
    down = f"python -m infra runpod down --stage {stage}"
    try:
        pods = farm.pods().pods()
    except (Rejected, Unavailable) as reason:
        raise Stopped(
            f"Whether stage {stage} has pods on RunPod cannot be known: {reason.message} If the key is no good "
            f"any more, set RUNPOD_API_KEY: it comes before the saved one ({farm.parameter_name(KEY_PARAMETER)})."
        ) from reason
    if pods:
        raise Stopped(
            f"Stage {stage} has pods on RunPod, and they cost: {', '.join(pod.id for pod in pods)}. First: {down} "
            "(with the autoscaler on RunPod, first deploy with --set ScalePool= : it would order new ones)."
        )


def _refuse_functions(session: Session, stage: str) -> None:
    """Raise Stopped when functions of a stage without a stack exist: then it is not gone."""
    if standing := chalice_way.functions_there(session.client("lambda"), stage):
        told = "".join(f"\n  aws lambda delete-function --function-name {one}" for one in standing)
        raise Stopped(f"Stage {stage} is not quite gone: it has functions, but no stack. Delete them:{told}")


def _data(session: Session, stage: str) -> list[Kept]:
    """Return what of the stage outlives its stack and exists; by the template of this release."""
    return found(session, written_resources(), stage)


def _secrets(session: Session, stage: str) -> list[str]:
    pages = (
        session.client("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(Path=f"/comfysheet/{stage}", Recursive=True)
    )
    return [parameter["Name"] for page in pages for parameter in page["Parameters"]]


def _log_groups(session: Session, stage: str) -> list[str]:
    name = f"/aws/lambda/{stack.stack_name(stage)}"
    pages = session.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    every = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    ours = {f"{name}{function.suffix}" for function in FUNCTIONS}
    return [group for group in every if group in ours]


def _detach(session: Session, policy: str, name: str, say: Say) -> None:
    """Take the worker's policy from users and roles outside the stack: IAM deletes none that somebody has."""
    if not policy:
        return
    iam, cloudformation = session.client("iam"), session.client("cloudformation")
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    ours = {one.get("PhysicalResourceId", "") for page in pages for one in page["StackResourceSummaries"]}
    try:
        holders: Mapping[str, Any] = iam.list_entities_for_policy(PolicyArn=policy)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchEntity":
            return
        raise
    for user in (one["UserName"] for one in holders["PolicyUsers"] if one["UserName"] not in ours):
        iam.detach_user_policy(UserName=user, PolicyArn=policy)
        say(f"took the worker's policy from the user {user}")
    for role in (one["RoleName"] for one in holders["PolicyRoles"] if one["RoleName"] not in ours):
        iam.detach_role_policy(RoleName=role, PolicyArn=policy)
        say(f"took the worker's policy from the role {role}")


def _drop(session: Session, data: Sequence[Kept], secrets: Sequence[str], say: Say) -> None:
    for one in data:
        if one.noun == "table":
            session.client("dynamodb").delete_table(TableName=one.name)
        else:
            _empty(session, one.name)
            session.client("s3").delete_bucket(Bucket=one.name)
        say(f"dropped the {one.noun} {one.name}")
    for start in range(0, len(secrets), 10):  # as many as SSM takes at once
        session.client("ssm").delete_parameters(Names=list(secrets[start : start + 10]))
    if secrets:
        say(f"dropped {len(secrets)} secrets in SSM")


def _empty(session: Session, bucket: str) -> None:
    """Delete every object, a thousand at a time, and every version if there are any."""
    s3 = session.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        wanted: list[Any] = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in listed]
        if wanted:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted, "Quiet": True})


def _say_what_is_left(session: Session, stage: str, data: Sequence[Kept], secrets: Sequence[str], say: Say) -> None:
    for one in data:
        say(f"left: the {one.noun} {one.name}")
    if secrets:
        say(f"left: {len(secrets)} secrets in SSM below /comfysheet/{stage}/")
    google = f"comfysheet/{stage}/google"
    client = session.client("secretsmanager")
    try:
        client.describe_secret(SecretId=google)
        say(f"left: Google's secret (aws secretsmanager delete-secret --secret-id {google})")
    except client.exceptions.ResourceNotFoundException:
        pass
    account = session.client("sts").get_caller_identity()["Account"]
    artefacts, s3 = stack.artefacts(account, str(session.region_name)), session.client("s3")
    if stack.has_bucket(s3, artefacts):
        say(f"left: the bucket {artefacts}, which all stages share")
    if data or secrets:
        say(f"`python -m infra deploy --stage {stage}` takes them over; `destroy --with-data` drops them")
