"""What a deployment would change, decided from what is there: the pure half of infra/deploy."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.catalog_index import Entry, Version
from chalicelib.contract.manifest import Workflow
from infra.deploy.chalice_settings import mapping_faults, wanted_reserve, wanted_variables
from infra.deploy.config_step import write_section
from infra.deploy.first_use import account_in, lacking, unknown_to
from infra.deploy.kept import Kept, adopting, indexes_missing, kept_by
from infra.deploy.preflight import Facts, faults, stage_fault, way_of
from infra.deploy.stack_step import change_of, tells_otherwise
from infra.deploy.steps import Change, Say, Stopped, follow
from infra.deploy.verbs import register
from infra.functions import API, COMPLETION, FUNCTIONS
from infra.resources_only import resources_only

ROOT = Path(__file__).resolve().parents[2]
RESOURCES: dict[str, Any] = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())
FACTS = Facts(
    stage="prod",
    python=(3, 12),
    given={},
    present={},
    declared=RESOURCES["Parameters"],
    way="cloudformation",
    deployed_way="",
    status="",
    unreserved=1000,
    reserved=0,
)


class Recorded:
    """Be a step that would make certain changes, and notes that it was done."""

    name = "recorded"

    def __init__(self, *changes: Change) -> None:
        self.changes = changes
        self.done = False

    def look(self) -> tuple[Change, ...]:
        return () if self.done else self.changes

    def act(self, _say: Say) -> None:
        self.done = True


def yes(_question: str) -> bool:
    return True


def no(_question: str) -> bool:
    return False


def test_a_plan_does_nothing() -> None:
    """With plan_only every step is looked at, and none is done."""
    steps, lines = [Recorded(Change("a")), Recorded(Change("b"))], list[str]()
    assert follow(steps, plan_only=True, ask=no, say=lines.append) == 2
    assert [step.done for step in steps] == [False, False]
    assert [line.split() for line in lines] == [["recorded", "a"], ["recorded", "b"]]


def test_a_second_run_finds_nothing_to_do() -> None:
    """What was done is no change any more."""
    steps = [Recorded(Change("a")), Recorded()]
    assert follow(steps, plan_only=False, ask=no, say=lambda _: None) == 1
    assert follow(steps, plan_only=False, ask=no, say=lambda _: None) == 0


def test_what_loses_something_is_asked_for_first() -> None:
    """A grave change needs a yes; without it the step and all after it are left undone."""
    first, grave, last = Recorded(Change("a")), Recorded(Change("drop", grave=True)), Recorded(Change("c"))
    with pytest.raises(Stopped, match="recorded"):
        follow([first, grave, last], plan_only=False, ask=no, say=lambda _: None)
    assert (first.done, grave.done, last.done) == (True, False, False)
    follow([first, grave, last], plan_only=False, ask=yes, say=lambda _: None)
    assert grave.done and last.done


@pytest.mark.parametrize(
    ("action", "replacement", "kind", "text", "grave"),
    [
        ("Modify", "True", "AWS::DynamoDB::Table", "replace It (AWS::DynamoDB::Table)", True),
        ("Remove", "", "AWS::S3::Bucket", "remove It (AWS::S3::Bucket)", True),
        ("Modify", "Conditional", "AWS::SQS::Queue", "modify It (AWS::SQS::Queue)", False),
        ("Modify", "True", "AWS::Lambda::Function", "replace It (AWS::Lambda::Function)", False),
        ("Add", "", "AWS::SQS::Queue", "add It (AWS::SQS::Queue)", False),
    ],
)
def test_losing_data_or_an_address_is_grave(action: str, replacement: str, kind: str, text: str, grave: bool) -> None:
    """A table, bucket, queue or API that is made anew or taken away is asked for; all else is just said."""
    change = change_of({"Action": action, "Replacement": replacement, "ResourceType": kind, "LogicalResourceId": "It"})
    assert change == Change(text, grave=grave)


def test_what_only_outputs_tell_is_a_change() -> None:
    """A given parameter or an output that differs is brought about even where no resource changes."""
    there = {"Parameters": [{"ParameterKey": "CompletionConcurrency", "ParameterValue": "5"}]}
    template = {"Outputs": {"Api": {"Value": "x", "Description": "where\u2019s the API"}}}
    deployed = {"Outputs": {"Api": {"Value": "x", "Description": "where?s the API"}}}
    assert not tells_otherwise(there, deployed, {}, template)
    assert not tells_otherwise(there, deployed, {"CompletionConcurrency": "5"}, template)
    assert tells_otherwise(there, deployed, {"CompletionConcurrency": "4"}, template)
    assert tells_otherwise(there, deployed, {"ScaleMax": "4"}, template), "a parameter that the stack never had"
    assert tells_otherwise(there, {}, {}, template) and tells_otherwise(there, deployed, {}, {})
    assert tells_otherwise(there, deployed, {}, {"Outputs": {"Api": {"Value": "y"}}})


def test_a_good_deployment_has_no_fault() -> None:
    """The defaults of resources.yaml deploy."""
    assert faults(FACTS) == []
    for url in ("https://pictures.example.com/prod", "http://127.0.0.1:4566/restapis/x/local/_user_request_", ""):
        assert faults(replace(FACTS, given={"PublicUrl": url})) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"python": (3, 10)}, "no Python 3.10"),
        ({"deployed_way": "chalice"}, "--via-chalice"),
        ({"status": "UPDATE_ROLLBACK_FAILED"}, "continue-update-rollback --stack-name comfysheet-prod"),
        ({"given": {"LogLevel": "LOUD"}}, "must be one of DEBUG, INFO"),
        ({"given": {"GpuHourPrice": "cheap"}}, "must look like"),
        ({"given": {"PublicUrl": "pictures.example.com"}}, "must look like"),
        ({"given": {"PublicUrl": "http://pictures.example.com"}}, "must look like"),
        ({"given": {"MaxAssetMb": "0"}}, "must be 1 or more"),
        ({"given": {"CompletionConcurrency": "many"}}, "must be a number"),
        ({"given": {"CompletionConcurrency": "101"}}, "must be 100 or less"),
        ({"given": {"CodeKey": "x"}}, "CodeKey cannot be set"),
        ({"given": {"Loglevel": "INFO"}}, "no parameter Loglevel"),
        ({"given": {"CompletionReservedConcurrency": "4"}}, "below CompletionConcurrency (5)"),
        ({"given": {"ApiReservedConcurrency": "20"}, "unreserved": 110}, "can spare 10"),
    ],
)
def test_each_fault_has_a_sentence(change: dict[str, Any], words: str) -> None:
    """Every check names what is wrong and what would be right."""
    (fault,) = faults(replace(FACTS, **change))
    assert words in fault


@pytest.mark.parametrize("pool", ["ec2", "runpod,ec2"])
def test_chalice_deploys_no_autoscaler_of_ec2(pool: str) -> None:
    """Its stack has no rule for instances' events; so it is refused, whether asked for now or kept from before."""
    chalice = replace(FACTS, way="chalice", deployed_way="chalice")
    for facts in (replace(chalice, given={"ScalePool": pool}), replace(chalice, present={"ScalePool": pool})):
        (fault,) = faults(facts)
        assert "ScalePool=ec2 needs the one stack" in fault
    assert "ScaleEvents" not in resources_only(RESOURCES, {})["Resources"], "why it is refused"
    assert faults(replace(chalice, given={"ScalePool": "runpod"}, present={"ScalePool": pool})) == []
    assert faults(replace(FACTS, given={"ScalePool": pool})) == []


def test_all_faults_come_at_once() -> None:
    """Nobody mends one to be told of the next."""
    bad = replace(FACTS, python=(3, 9), given={"LogLevel": "LOUD", "X": "1"}, deployed_way="chalice")
    assert len(faults(bad)) == 4


def test_reserves_of_the_stage_itself_do_not_stand_in_its_way() -> None:
    """A second run with the same reserves asks the account for nothing."""
    given = {"ApiReservedConcurrency": "50"}
    assert faults(replace(FACTS, given=given, reserved=50, unreserved=100)) == []
    assert faults(replace(FACTS, given=given, reserved=0, unreserved=149)) != []
    assert faults(replace(FACTS, given=given, reserved=40, unreserved=110)) == [], "ten more, and ten to spare"


def test_a_kept_parameter_is_judged_with_the_given_ones() -> None:
    """The stack's present value counts where none is given."""
    present = {"DeliveryReservedConcurrency": "5", "DeliveryConcurrency": "10"}
    assert "DeliveryReservedConcurrency is 5" in faults(replace(FACTS, present=present))[0]
    assert faults(replace(FACTS, present=present, given={"DeliveryConcurrency": "5"})) == []


@pytest.mark.parametrize("name", ["Prod", "1st", "", "a" * 17, "a_b"])
def test_a_stage_is_a_short_lower_case_word(name: str) -> None:
    """It becomes part of bucket, queue and function names."""
    assert "is no stage" in stage_fault(name)
    assert stage_fault("a-2") == ""


@pytest.mark.parametrize(
    "name", ["artefacts", "prod-completion", "prod-delivery", "prod-sweep", "prod-scale", "prod-workers"]
)
def test_no_stage_has_names_of_another(name: str) -> None:
    """Its bucket would be the one that all stages share, or its API's function or stack that of the stage prod."""
    assert "names would be another's" in stage_fault(name)
    assert stage_fault(f"{name.replace('-', '')}1") == ""


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
def test_both_verbs_refuse_such_a_name_before_they_look(verb: str) -> None:
    """The first thing that is judged is the name; no cloud is asked."""
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    arguments = parser.parse_args([verb, "--stage", "prod-scale"])
    with pytest.raises(Stopped, match="names would be another's"):
        arguments.run(arguments)


def test_the_stack_tells_how_it_was_deployed() -> None:
    """Only a stack of resources alone has ApiId; an empty one, or one of taken-over data, was deployed no way."""

    def stack(status: str, *names: str) -> dict[str, Any]:
        return {"StackStatus": status, "Parameters": [{"ParameterKey": name} for name in names]}

    assert way_of(stack("CREATE_COMPLETE", "Stage", "ApiId")) == "chalice"
    assert way_of(stack("UPDATE_COMPLETE", "Stage", "CodeKey")) == "cloudformation"
    assert way_of(stack("ROLLBACK_COMPLETE", "Stage", "CodeKey")) == ""
    assert way_of(stack("IMPORT_COMPLETE", "Stage")) == ""
    assert way_of(None) == ""


def test_what_outlives_a_stack_is_known_by_name() -> None:
    """Five tables and the bucket, with the names that a new stack would give them."""
    kept = {one.logical: one.name for one in kept_by(RESOURCES, "prod", "123456789012", "eu-west-1")}
    assert kept["JobsTable"] == "comfysheet-prod-jobs"
    assert kept["Bucket"] == "comfysheet-prod-123456789012-eu-west-1"
    assert {"KeysTable", "SheetsTable", "WebhooksTable"} < set(kept)
    assert "RatesTable" in kept, "or the month's cap on dollars would begin at nothing with each new stack"
    assert not {"NoncesTable", "WorkersTable"} & set(kept)


def test_an_import_holds_nothing_but_what_is_imported() -> None:
    """CloudFormation refuses an import with other resources, with outputs, or without a deletion policy."""
    there = [Kept("Bucket", "AWS::S3::Bucket", "b"), Kept("JobsTable", "AWS::DynamoDB::Table", "t")]
    template = adopting(RESOURCES, there)
    assert set(template) == {"AWSTemplateFormatVersion", "Parameters", "Resources"}
    assert set(template["Resources"]) == {"Bucket", "JobsTable"}
    assert set(template["Parameters"]) == {"Stage", "OutputsExpireDays"}
    assert all("DeletionPolicy" in resource for resource in template["Resources"].values())
    assert there[0].identifier == {"BucketName": "b"} and there[1].identifier == {"TableName": "t"}
    assert len(json.dumps(template)) < 51_200


def test_a_table_of_an_older_shape_is_not_taken_over() -> None:
    """An import believes the template, so an index that the table lacks would never be made."""
    shape = RESOURCES["Resources"]["JobsTable"]["Properties"]
    names = [index["IndexName"] for index in shape["GlobalSecondaryIndexes"]]
    assert indexes_missing(shape, {"GlobalSecondaryIndexes": [{"IndexName": name} for name in names]}) == []
    assert indexes_missing(shape, {"GlobalSecondaryIndexes": [{"IndexName": names[0]}]}) == names[1:]
    assert indexes_missing(shape, {}) == names


def test_a_deployment_pushes_only_versions_that_the_stage_never_had() -> None:
    """What was changed or removed in the stage since is its people's, not the folder's."""
    now, new = Workflow(id="w", name="W", graph={}), Workflow(id="w", name="W2", graph={})
    other = Version(hash="f" * 64)
    assert unknown_to({}, [now]) == [now]
    assert unknown_to({"w": Entry(hash=now.hash)}, [now]) == []
    assert unknown_to({"w": Entry(hash=other.hash, former=(Version(hash=now.hash),))}, [now]) == []
    assert unknown_to({"w": Entry(hash=now.hash)}, [new]) == [new]
    assert unknown_to({"w": Entry(hash=other.hash, removed_at=1)}, [new]) == []


def test_keys_are_made_for_a_stage_that_has_none() -> None:
    """A program's key once; a code unless there is one, or a sheet that used one."""
    assert len(lacking([])) == 2
    assert lacking([{"kind": "api"}]) == ["a one-time code that connects a spreadsheet"]
    assert lacking([{"kind": "api"}, {"kind": "sheet"}]) == []
    assert lacking([{"kind": "code"}]) == ["the first key"]


def test_the_account_to_share_with_is_read_from_either_kind_of_secret() -> None:
    """A key names it plainly, a keyless configuration within an address."""
    url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.iam.gserviceaccount.com:generateAccessToken"
    assert account_in('{"client_email": "a@b"}') == "a@b"
    assert account_in(json.dumps({"service_account_impersonation_url": url})) == "a@b.iam.gserviceaccount.com"
    assert "no JSON" in account_in("secret!") and "secret!" not in account_in("secret!")


def test_one_stage_is_written_and_the_others_stay(tmp_path: Path) -> None:
    """A section is put in whole, or taken out; what stands above the stages is not touched."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"app_name": "x", "stages": {"a": {"k": 1}}}))
    write_section(path, "b", {"k": 2})
    write_section(path, "a", None)
    assert json.loads(path.read_text()) == {"app_name": "x", "stages": {"b": {"k": 2}}}
    assert [one.name for one in tmp_path.iterdir()] == ["config.json"]


OUTPUTS = {
    **{f"Reserved{function.title}": "-1" for function in FUNCTIONS},
    "ReservedCompletion": "7",
    "EnvPublicUrl": "https://own",
    "EnvApiPublicUrl": "",
}


def test_the_api_alone_asks_each_request_for_its_address() -> None:
    """As in the one-stack way: every other function is told the API's address."""

    named = dict.fromkeys(resources_only(RESOURCES, {})["Outputs"], "x")
    outputs = {**named, **OUTPUTS}
    assert wanted_variables(API, outputs)["PUBLIC_URL"] == ""
    assert wanted_variables(COMPLETION, outputs)["PUBLIC_URL"] == "https://own"
    assert (wanted_reserve(API, outputs), wanted_reserve(COMPLETION, outputs)) == (None, 7)


def test_a_mapping_as_chalice_leaves_it_loses_messages() -> None:
    """Without ReportBatchItemFailures an answered failure counts as success."""
    assert mapping_faults({}, 5) == ["FunctionResponseTypes", "MaximumConcurrency"]
    right = {"FunctionResponseTypes": ["ReportBatchItemFailures"], "ScalingConfig": {"MaximumConcurrency": 5}}
    assert mapping_faults(right, 5) == []
    assert mapping_faults(right, 6) == ["MaximumConcurrency"]
