"""The stack of a stage whose functions Chalice makes, and what Chalice is told from it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.functions import FUNCTIONS
from infra.package import read_policies
from infra.resources_only import names_in, rendered, resources_only, variables_of
from infra.template import environment

ROOT = Path(__file__).resolve().parents[2]
RESOURCES: dict[str, Any] = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())
POLICIES = read_policies(ROOT)
TEMPLATE = resources_only(RESOURCES, POLICIES)
PSEUDO = {"Stage": "trial", "AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "1" * 12}


def test_it_is_the_same_text_without_functions_and_api() -> None:
    """Every resource of resources.yaml that needs neither is there, letter for letter."""
    functions = {function.logical for function in FUNCTIONS} | {"RestAPI"}
    gone = set(RESOURCES["Resources"]) - set(TEMPLATE["Resources"])
    assert all(names_in(RESOURCES["Resources"][name]) & (functions | gone) for name in gone)
    assert {"JobsTable", "JobsQueue", "CompletionsQueue", "Bucket", "Bus", "ApiLogs", "WorkerPolicy"} <= set(
        TEMPLATE["Resources"]
    )
    for name, resource in TEMPLATE["Resources"].items():
        assert resource == RESOURCES["Resources"][name]


def test_it_refers_to_nothing_that_is_not_there() -> None:
    """No reference to a function, the API or the code is left."""
    there = set(TEMPLATE["Resources"]) | set(TEMPLATE["Parameters"])
    assert names_in(TEMPLATE["Resources"]) | names_in(TEMPLATE["Outputs"]) <= there
    assert not {"CodeBucket", "CodeKey"} & set(TEMPLATE["Parameters"])
    assert len(TEMPLATE["Outputs"]) <= 200, "CloudFormation's limit"


def test_it_tells_every_variable_of_a_function() -> None:
    """Chalice reads literals, so what a template refers to is an output here."""
    outputs = {name: f"<{name}>" for name in TEMPLATE["Outputs"]}
    assert set(variables_of(outputs)) == {*environment(), "PUBLIC_URL"}
    for name, value in environment().items():
        assert TEMPLATE["Outputs"][variables_of(outputs)[name][1:-1]]["Value"] == value


@pytest.mark.parametrize("word", sorted(POLICIES))
def test_policies_are_written_with_names(word: str) -> None:
    """No intrinsic, no placeholder and no lone star is left for Chalice to send to IAM."""
    outputs = {name: f"arn:aws:x:::{name}" for name in TEMPLATE["Outputs"]}
    policy = rendered(POLICIES[word], outputs, PSEUDO)
    text = json.dumps(policy)
    assert "Fn::" not in text and "${" not in text and "Ref" not in text
    assert [s["Action"] for s in policy["Statement"]] == [s["Action"] for s in POLICIES[word]["Statement"]]
    for statement in policy["Statement"]:
        listed = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        assert all(resource.startswith("arn:aws:") for resource in listed), statement["Sid"]


def test_an_arn_within_a_text_is_replaced() -> None:
    """`${Table.Arn}/index/x` and pseudo parameters, as CloudFormation would; what nobody knows is an error."""
    policy = {"Resource": {"Fn::Sub": "${JobsTable.Arn}/index/due:${AWS::Region}:${Stage}"}}
    assert rendered(policy, {"ArnJobsTable": "arn:t"}, PSEUDO) == {"Resource": "arn:t/index/due:eu-west-1:trial"}
    with pytest.raises(KeyError):
        rendered(policy, {}, PSEUDO)
