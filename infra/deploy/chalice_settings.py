"""
Set what Chalice's deployer cannot say (1.34): see template.py for the reasons; in the one-stack way it is said there.

Also after a plain `chalice deploy`, which puts the API's definition back to what Chalice knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from infra.deploy.stage import Stage
from infra.deploy.steps import Change, Say
from infra.functions import API, FUNCTIONS, Function
from infra.resources_only import variables_of
from infra.template import BURST_AT_ONCE, GATEWAY_ANSWERS, REQUESTS_A_SECOND, GatewayAnswer

PARTIAL: Final = ["ReportBatchItemFailures"]


class Settings:
    """Bring variables, reserves, queue mappings and API to what the stack's outputs say."""

    name = "settings"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def look(self) -> list[Change]:
        """Say what is otherwise."""
        outputs = self._stage.outputs()
        if not outputs.get("ApiId"):
            return [Change("set partial batches, concurrency, binary answers and throttle once Chalice has deployed")]
        return [
            *(change for function in FUNCTIONS for change in self._of_function(function, outputs)),
            *self._of_api(outputs["ApiId"]),
        ]

    def act(self, _say: Say) -> None:
        """Set it all; what is so already stays so."""
        outputs = self._stage.outputs()
        client = self._stage.session.client("lambda")
        for function in FUNCTIONS:
            name = function.name(self._stage.name)
            if self._variables(name) != wanted_variables(function, outputs):
                client.update_function_configuration(
                    FunctionName=name, Environment={"Variables": wanted_variables(function, outputs)}
                )
            reserved = wanted_reserve(function, outputs)
            if self._reserve(name) != reserved:
                if reserved is None:
                    client.delete_function_concurrency(FunctionName=name)
                else:
                    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
            if function.queue:
                at_once = {"MaximumConcurrency": int(outputs[f"Concurrency{function.title}"])}
                client.update_event_source_mapping(
                    UUID=self._mapping(name)["UUID"],
                    FunctionResponseTypes=["ReportBatchItemFailures"],
                    ScalingConfig=at_once,
                )
        self._set_api(outputs["ApiId"])

    def _of_function(self, function: Function, outputs: Mapping[str, str]) -> list[Change]:
        name = function.name(self._stage.name)
        changes = []
        if self._variables(name) != wanted_variables(function, outputs):
            changes.append(Change(f"set the variables of {name}"))
        if self._reserve(name) != wanted_reserve(function, outputs):
            changes.append(Change(f"set the reserved concurrency of {name}"))
        if function.queue and mapping_faults(self._mapping(name), int(outputs[f"Concurrency{function.title}"])):
            changes.append(Change(f"let {name} report single messages, at most so many at once"))
        return changes

    def _of_api(self, api_id: str) -> list[Change]:
        client = self._stage.session.client("apigateway")
        stage = client.get_stage(restApiId=api_id, stageName=self._stage.name)
        every = stage.get("methodSettings", {}).get("*/*", {})
        right = (
            self._binary(api_id) == ["*/*"]
            and all(self._says(api_id, kind, answer) for kind, answer in GATEWAY_ANSWERS.items())
            and every.get("throttlingRateLimit") == REQUESTS_A_SECOND
        )
        return [] if right else [Change("set binary answers, throttle and what API Gateway itself answers")]

    def _set_api(self, api_id: str) -> None:
        client = self._stage.session.client("apigateway")
        present = self._binary(api_id)
        patches: list[Any] = [
            {"op": "remove", "path": f"/binaryMediaTypes/{one.replace('/', '~1')}"} for one in present if one != "*/*"
        ]
        if "*/*" not in present:
            patches.append({"op": "add", "path": "/binaryMediaTypes/*~1*"})
        if patches:
            client.update_rest_api(restApiId=api_id, patchOperations=patches)
        for kind, answer in GATEWAY_ANSWERS.items():
            client.put_gateway_response(
                restApiId=api_id,
                responseType=kind,
                responseParameters=answer.parameters,
                responseTemplates=answer.templates,
                **({} if answer.status is None else {"statusCode": str(answer.status)}),
            )
        client.create_deployment(restApiId=api_id, stageName=self._stage.name)
        client.update_stage(
            restApiId=api_id,
            stageName=self._stage.name,
            patchOperations=[
                {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": str(REQUESTS_A_SECOND)},
                {"op": "replace", "path": "/*/*/throttling/burstLimit", "value": str(BURST_AT_ONCE)},
            ],
        )

    def _says(self, api_id: str, kind: str, answer: GatewayAnswer) -> bool:
        client = self._stage.session.client("apigateway")
        try:
            told = client.get_gateway_response(restApiId=api_id, responseType=kind)
        except client.exceptions.NotFoundException:
            return False
        return bool(told.get("responseTemplates") == answer.templates)

    def _binary(self, api_id: str) -> list[str]:
        found = self._stage.session.client("apigateway").get_rest_api(restApiId=api_id).get("binaryMediaTypes", [])
        return [one.replace("~1", "/") for one in found]  # as paths of patches write it

    def _variables(self, name: str) -> dict[str, str]:
        found = self._stage.session.client("lambda").get_function_configuration(FunctionName=name)
        return dict(found.get("Environment", {}).get("Variables", {}))

    def _reserve(self, name: str) -> int | None:
        found = self._stage.session.client("lambda").get_function_concurrency(FunctionName=name)
        return None if (size := found.get("ReservedConcurrentExecutions")) is None else int(size)

    def _mapping(self, name: str) -> dict[str, Any]:
        found = self._stage.session.client("lambda").list_event_source_mappings(FunctionName=name)
        return dict(found["EventSourceMappings"][0])


def wanted_variables(function: Function, outputs: Mapping[str, str]) -> dict[str, str]:
    """Return a function's variables: those of all, and the address that links begin with."""
    variables = variables_of(outputs)
    return {**variables, "PUBLIC_URL": outputs["EnvApiPublicUrl"]} if function == API else variables


def wanted_reserve(function: Function, outputs: Mapping[str, str]) -> int | None:
    """Return a function's reserved concurrency; None: it has none."""
    reserved = int(outputs[f"Reserved{function.title}"])
    return reserved if reserved >= 0 else None


def mapping_faults(mapping: Mapping[str, Any], at_once: int) -> list[str]:
    """Say what of a queue's mapping is not as it should be: lost messages, or no bound."""
    faults = [] if mapping.get("FunctionResponseTypes") == PARTIAL else ["FunctionResponseTypes"]
    if mapping.get("ScalingConfig", {}).get("MaximumConcurrency") != at_once:
        faults.append("MaximumConcurrency")
    return faults
