"""
Check everything that can be known before a deployment begins, and name every fault at once.

`faults` is pure; `gather` reads what it needs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra import stack
from infra.functions import FUNCTIONS

if TYPE_CHECKING:
    from boto3.session import Session

# Lambda's Python runtimes for which Chalice 1.34 makes packages, from our own floor on (pyproject.toml).
PYTHONS: Final = ((3, 11), (3, 12), (3, 13), (3, 14))
OURS: Final = frozenset({"Stage", "CodeBucket", "CodeKey", "ApiId"})
"""Parameters that the deployment itself tells."""
SPARE: Final = 100
"""What Lambda keeps unreserved in every account ("Configuring reserved concurrency", AWS Lambda guide)."""
CLOUDFORMATION: Final = "cloudformation"
CHALICE: Final = "chalice"
_STUCK: Final[Mapping[str, str]] = {
    "UPDATE_ROLLBACK_FAILED": "aws cloudformation continue-update-rollback --stack-name {name}",
    "DELETE_FAILED": "python -m infra destroy --stage {stage}",
    "IMPORT_ROLLBACK_FAILED": "aws cloudformation describe-stack-events --stack-name {name}",
}


@dataclass(frozen=True)
class Facts:
    """
    Hold what is known before a deployment.

    `given` are the parameters asked for, `present` the deployed stack's, `declared` the template's own declarations.
    `way` is how the stage shall be deployed, `deployed_way` how it was (empty: it is new). `unreserved` is what the
    account has left beside the `reserved` of this stage's functions.
    """

    stage: str
    python: tuple[int, int]
    given: Mapping[str, str]
    present: Mapping[str, str]
    declared: Mapping[str, Mapping[str, Any]]
    way: str
    deployed_way: str
    status: str
    unreserved: int
    reserved: int


def gather(
    session: Session, *, stage: str, declared: Mapping[str, Mapping[str, Any]], way: str, given: Mapping[str, str]
) -> Facts:
    """Read what `faults` judges; *declared* are the template's parameters."""
    there = stack.describe(session.client("cloudformation"), stack.stack_name(stage))
    functions = session.client("lambda")
    reserved = 0
    for function in FUNCTIONS:
        try:
            found = functions.get_function_concurrency(FunctionName=function.name(stage))
        except functions.exceptions.ResourceNotFoundException:
            continue
        reserved += found.get("ReservedConcurrentExecutions", 0)
    return Facts(
        stage=stage,
        python=sys.version_info[:2],
        given=given,
        present={one["ParameterKey"]: one["ParameterValue"] for one in (there or {}).get("Parameters", [])},
        declared=declared,
        way=way,
        deployed_way=way_of(there),
        status=str((there or {}).get("StackStatus", "")),
        unreserved=int(functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]),
        reserved=reserved,
    )


def way_of(there: Mapping[str, Any] | None) -> str:
    """Say how a stack was deployed: only one of resources alone has the parameter ApiId. Empty: none was."""
    if there is None or there["StackStatus"] in stack.HUSKS:
        return ""
    names = {parameter["ParameterKey"] for parameter in there.get("Parameters", [])}
    if "ApiId" in names:
        return CHALICE
    # Taken-over tables and no more yet: the next update decides.
    return CLOUDFORMATION if "CodeKey" in names else ""


def faults(facts: Facts) -> list[str]:
    """Return a sentence for everything that would stop the deployment or break the stage."""
    return [
        *_of_surroundings(facts),
        *_of_parameters(facts.given, facts.declared),
        *_of_concurrency(facts),
    ]


def _of_surroundings(facts: Facts) -> Iterable[str]:
    if facts.python not in PYTHONS:
        known = ", ".join(f"{major}.{minor}" for major, minor in PYTHONS)
        yield f"Lambda has no Python {facts.python[0]}.{facts.python[1]}; make .venv with one of {known}."
    if facts.deployed_way and facts.deployed_way != facts.way:
        yield (
            f"Stage {facts.stage} was deployed with --via-{facts.deployed_way}. The other way would make its functions "
            f"a second time. Go on with --via-{facts.deployed_way}, or `destroy` first (data stays)."
        )
    if facts.way == CHALICE and "ec2" in facts.given.get("ScalePool", facts.present.get("ScalePool", "")).split(","):
        # resources_only.py drops the rule that tells the function of instances: it names a function of the stack.
        yield (
            "ScalePool=ec2 needs the one stack: with --via-chalice the autoscaler would not hear of instances that "
            "start and end. Use --set ScalePool=runpod (or nothing), or deploy a stage without --via-chalice."
        )
    if facts.status in _STUCK:
        remedy = _STUCK[facts.status].format(name=stack.stack_name(facts.stage), stage=facts.stage)
        yield f"The stack is stuck in {facts.status}. First: {remedy}"


def stage_fault(stage: str) -> str:
    """Say what is wrong with a stage's name; empty: nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", stage):
        return f"{stage!r} is no stage: a lower-case letter, then up to 15 lower-case letters, digits and hyphens."
    # comfysheet-artefacts-ACCOUNT-REGION is the artefact bucket, comfysheet-prod-scale a function of the stage prod.
    endings = sorted({function.suffix for function in FUNCTIONS if function.suffix} | {"-workers"})
    if stage == "artefacts" or stage.endswith(tuple(endings)):
        taken = ", ".join(endings)
        return f"{stage!r} is no stage: its names would be another's. Not artefacts, nor what ends in {taken}."
    return ""


def region_fault(stage: str, region: str, recorded: str) -> str:
    """Say that a stage known in the region *recorded* would be made a second time; empty: it would not."""
    if recorded in ("", region):
        return ""
    return (
        f"Stage {stage} is in {recorded}, by .chalice/config.json, and this is {region}: it would be made a second "
        f"time. Go on there with --region {recorded}; --region {region} says that a second one is meant."
    )


def _of_parameters(given: Mapping[str, str], declared: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    known = sorted(set(declared) - OURS)
    for name, value in given.items():
        if name in OURS:
            yield f"{name} cannot be set: the deployment tells it."
        elif name not in declared:
            yield f"There is no parameter {name}; there are {', '.join(known)}."
        elif fault := _of_value(value, declared[name]):
            yield f"{name}={value}: {fault}"


def _of_value(value: str, rules: Mapping[str, Any]) -> str:
    allowed = [str(one) for one in rules.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"must be one of {', '.join(allowed)}."
    if "AllowedPattern" in rules and not re.fullmatch(str(rules["AllowedPattern"]), value):
        return f"must look like {rules['AllowedPattern']}."
    if rules["Type"] == "Number":
        return _of_number(value, rules)
    return ""


def _of_number(value: str, rules: Mapping[str, Any]) -> str:
    try:
        number = float(value)
    except ValueError:
        return "must be a number."
    if "MinValue" in rules and number < rules["MinValue"]:
        return f"must be {rules['MinValue']} or more."
    if "MaxValue" in rules and number > rules["MaxValue"]:
        return f"must be {rules['MaxValue']} or less."
    return ""


def _of_concurrency(facts: Facts) -> Iterable[str]:
    """Judge reserves as they will be: what is given, else what the stack has, else the default."""
    wanted = 0
    for function in FUNCTIONS:
        reserve = _number(facts, f"{function.title}ReservedConcurrency")
        if reserve is None or reserve < 0:
            continue
        wanted += reserve
        at_once = _number(facts, f"{function.title}Concurrency") if function.queue else None
        if at_once is not None and reserve < at_once:
            yield (
                f"{function.title}ReservedConcurrency is {reserve}, below {function.title}Concurrency ({at_once}): "
                "messages would be refused and end as dead letters."
            )
    if wanted > facts.reserved and facts.unreserved + facts.reserved - wanted < SPARE:
        yield (
            f"{wanted} concurrent calls are to be reserved; this account can spare "
            f"{max(0, facts.unreserved + facts.reserved - SPARE)} in this region (Lambda keeps {SPARE} unreserved). "
            "Reserve less, or ask AWS for more: Service Quotas > AWS Lambda > Concurrent executions."
        )


def _number(facts: Facts, name: str) -> int | None:
    value = facts.given.get(name, facts.present.get(name, facts.declared.get(name, {}).get("Default")))
    try:
        return int(str(value))
    except ValueError:
        return None
