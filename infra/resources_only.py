"""
Write the stack of a stage whose functions and API Chalice's own deployer makes: resources.yaml without those.

What refers to the functions or the API as resources goes. The rest is the same text, so both ways make the same tables,
queues and alarms. What the functions must be told (variables, concurrency) and what their policies name becomes
outputs: Chalice reads literals only. Pure functions on plain dicts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from infra.functions import FUNCTIONS
from infra.template import environment

_OF_THE_CODE: Final = ("CodeBucket", "CodeKey")
_API_URL: Final = "https://${ApiId}.execute-api.${AWS::Region}.${AWS::URLSuffix}/${Stage}"


def resources_only(resources: Mapping[str, Any], policies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """
    Return the template of the resources alone, from resources.yaml and the functions' *policies*.

    Its outputs are those of resources.yaml that need no function, and: `ApiId`, `ApiUrl` (once the parameter ApiId is
    told), `Env…` a function's variable, `Arn…` and
    `Named…` of what a policy names, `Reserved…` and `Concurrency…` of a function.
    """
    template: dict[str, Any] = deepcopy({"AWSTemplateFormatVersion": "2010-09-09", **resources})
    template["Description"] = "ComfySheet: what its functions and its API stand on. Chalice makes those."
    for name in _OF_THE_CODE:
        template["Parameters"].pop(name, None)
    template["Parameters"]["ApiId"] = {
        "Type": "String",
        "Default": "",
        "Description": "The API that Chalice made. Empty until it has.",
    }
    template["Conditions"]["HasApi"] = {"Fn::Not": [{"Fn::Equals": [{"Ref": "ApiId"}, ""]}]}
    _drop_what_dangles(template)
    template["Outputs"] |= {
        "ApiId": {"Condition": "HasApi", "Value": {"Ref": "ApiId"}},
        "ApiUrl": {"Condition": "HasApi", "Value": {"Fn::Sub": _API_URL}},
        **{_output(name): {"Value": value} for name, value in environment().items()},
        "EnvPublicUrl": {"Value": {"Fn::If": ["OwnUrl", {"Fn::If": ["HasApi", {"Fn::Sub": _API_URL}, ""]}, _PUBLIC]}},
        "EnvApiPublicUrl": {"Value": _PUBLIC},
    }
    for name in sorted(set().union(*(arns_in(policy) for policy in policies.values()))):
        template["Outputs"][f"Arn{name}"] = {"Value": {"Fn::GetAtt": [name, "Arn"]}}
    named = names_in(list(policies.values())) & set(template["Parameters"]) - {"Stage"}
    template["Outputs"] |= {f"Named{name}": {"Value": {"Ref": name}} for name in sorted(named)}
    for function in FUNCTIONS:
        reserved = {"Ref": f"{function.title}ReservedConcurrency"}
        template["Outputs"][f"Reserved{function.title}"] = {"Value": reserved}
        if function.queue:
            template["Outputs"][f"Concurrency{function.title}"] = {"Value": {"Ref": f"{function.title}Concurrency"}}
    used = conditions_in(template["Resources"]) | conditions_in(template["Outputs"])
    template["Conditions"] = {name: rule for name, rule in template["Conditions"].items() if name in used}
    return template


_PUBLIC: Final = {"Ref": "PublicUrl"}


def variables_of(outputs: Mapping[str, str]) -> dict[str, str]:
    """Return what every function of such a stack gets as variables; `PUBLIC_URL` is all but the API's own."""
    return {**{name: outputs[_output(name)] for name in environment()}, "PUBLIC_URL": outputs["EnvPublicUrl"]}


def rendered(policy: Any, outputs: Mapping[str, str], pseudo: Mapping[str, str]) -> Any:
    """
    Return *policy* with names instead of intrinsics.

    *pseudo* holds Stage and AWS::Partition, AWS::Region, AWS::AccountId. Raises KeyError for what neither knows.
    """
    if isinstance(policy, list):
        return [rendered(part, outputs, pseudo) for part in policy]
    if not isinstance(policy, dict):
        return policy
    if set(policy) == {"Fn::GetAtt"}:
        return outputs[f"Arn{policy['Fn::GetAtt'][0]}"]
    if set(policy) == {"Fn::Sub"}:
        return re.sub(r"\$\{([\w.:]+)\}", lambda found: _named(found[1], outputs, pseudo), policy["Fn::Sub"])
    return {name: rendered(part, outputs, pseudo) for name, part in policy.items()}


def arns_in(value: Any) -> set[str]:
    """Return the resources whose Arn *value* names, by GetAtt or within a Sub."""
    if isinstance(value, dict):
        if set(value) == {"Fn::GetAtt"}:
            return {value["Fn::GetAtt"][0]}
        if set(value) == {"Fn::Sub"}:
            return set(re.findall(r"\$\{(\w+)\.Arn\}", value["Fn::Sub"]))
        return set().union(*map(arns_in, value.values()), set())
    return set().union(*map(arns_in, value), set()) if isinstance(value, list) else set()


def names_in(value: Any) -> set[str]:
    """Return the logical names and parameters that *value* refers to, also those in a DependsOn."""
    if isinstance(value, dict):
        found = set()
        for name, part in value.items():
            if name == "Ref":
                found.add(part)
            elif name == "Fn::GetAtt":
                found.add(part[0] if isinstance(part, list) else part.split(".")[0])
            elif name == "Fn::Sub":
                text, own = (part, {}) if isinstance(part, str) else part
                found |= {one.split(".")[0] for one in re.findall(r"\$\{([\w.:]+)\}", text)} - set(own)
                found |= names_in(list(own.values()))
            elif name == "DependsOn":
                found |= {part} if isinstance(part, str) else set(part)
            else:
                found |= names_in(part)
        return {one for one in found if "::" not in one}
    return set().union(*map(names_in, value), set()) if isinstance(value, list) else set()


def conditions_in(value: Any) -> set[str]:
    """Return the conditions that *value* asks, by Fn::If or as a resource's or output's own."""
    if isinstance(value, dict):
        own = {value["Condition"]} if isinstance(value.get("Condition"), str) else set()
        asked = {value["Fn::If"][0]} if "Fn::If" in value else set()
        return own.union(asked, *map(conditions_in, value.values()))
    return set().union(*map(conditions_in, value), set()) if isinstance(value, list) else set()


def _drop_what_dangles(template: dict[str, Any]) -> None:
    """Take out, again and again, the resources and outputs that refer to something that is not there."""
    while True:
        there = set(template["Resources"]) | set(template["Parameters"])
        gone = [
            (section, name)
            for section in ("Resources", "Outputs")
            for name, entry in template[section].items()
            if names_in(entry) - there
        ]
        if not gone:
            return
        for section, name in gone:
            del template[section][name]


def _output(variable: str) -> str:
    return "Env" + variable.title().replace("_", "")


def _named(name: str, outputs: Mapping[str, str], pseudo: Mapping[str, str]) -> str:
    if name.endswith(".Arn"):
        return outputs[f"Arn{name.removesuffix('.Arn')}"]
    return pseudo[name] if name in pseudo else outputs[f"Named{name}"]
