"""
Finish the CloudFormation template: what Chalice packaged + resources.yaml = the one stack.

Pure functions on plain dicts. Chalice writes functions, roles, API and event sources; everything it cannot say is said
here (measured with Chalice 1.34):
- it names a queue by a literal, so the event source would not wait for the queue: GetAtt instead;
- it writes a batching window on every SQS source; FIFO queues refuse one;
- it knows no FunctionResponseTypes; without it a returned `batchItemFailures` counts as success and loses messages;
- it writes environment values as literals; ours are references;
- its API lists picture types as binary, and API Gateway then decodes a picture only for a request whose Accept header
  matches one of them; with */* it decodes for every client (Google's image fetcher included).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from infra.functions import API, FUNCTIONS, SCALE, Function

REQUESTS_A_SECOND: Final = 100
BURST_AT_ONCE: Final = 200
TOO_LARGE: Final = {
    "error": {
        "code": "too_large",
        "message": "The request is larger than API Gateway takes. Ask for an upload of its own "
        "(POST /api/v2/assets/uploads), and PUT the file to the address that it names.",
        "details": None,
    }
}
THROTTLED: Final = {
    "error": {
        "code": "too_many_requests",
        "message": "More requests come in just now than this stage takes, from everybody together. "
        "Ask again in a moment.",
        "details": None,
    }
}
UNANSWERED: Final = {
    "error": {
        "code": "unavailable",
        "message": "The API could not answer this request. Ask again in a moment: with the same Idempotency-Key, or "
        "the same Job ID, nothing is done twice.",
        "details": None,
    }
}


@dataclass(frozen=True)
class GatewayAnswer:
    """Say what API Gateway answers by itself, the app unasked; *status* None: as it is. Ask again after *retry_s*."""

    body: Mapping[str, object]
    status: int | None = None
    retry_s: int | None = None

    @property
    def templates(self) -> dict[str, str]:
        """Return its body by content type."""
        return {"application/json": json.dumps(self.body)}

    @property
    def parameters(self) -> dict[str, str]:
        """Return its headers; a text in quotes is itself."""
        return {} if self.retry_s is None else {"gatewayresponse.header.Retry-After": f"'{self.retry_s}'"}


GATEWAY_ANSWERS: Final[Mapping[str, GatewayAnswer]] = {
    # What a Lambda cannot take (6 MB) never reaches the app: API Gateway itself names the other way.
    "REQUEST_TOO_LARGE": GatewayAnswer(TOO_LARGE, 413),
    "THROTTLED": GatewayAnswer(THROTTLED, 429, retry_s=2),
    # A function that is throttled, takes longer than 29 seconds or fails.
    "DEFAULT_5XX": GatewayAnswer(UNANSWERED, retry_s=2),
}
"""By the type of API Gateway's gateway responses, which are bare words (`Too Many Requests`) otherwise."""


class TemplateConflict(Exception):
    """Say which part of the packaged template is not what the merge was written for."""


def finish(packaged: Mapping[str, Any], resources: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the deployable template: *packaged* (Chalice's sam.json) finished and merged with *resources*.

    Neither argument is changed. Raises TemplateConflict when a name is defined twice or a function is missing.
    """
    template = deepcopy(dict(packaged))
    packaged_names = [function.packaged for function in FUNCTIONS]
    for name in (*packaged_names, "RestAPI"):
        if name not in template["Resources"]:
            raise TemplateConflict(
                f"The packaged app has no {name}. Of app.py it needs routes and {', '.join(packaged_names[1:])}."
            )
    for function in FUNCTIONS:
        _rename(template["Resources"], function)
    template["Outputs"] = {}  # Chalice's say the same in other words, with the path of another stage
    template = merge(template, resources)
    for function in FUNCTIONS:
        properties = template["Resources"][function.logical]["Properties"]
        _finish_function(properties, function)
        if function.queue:
            _finish_source(properties, function)
    _finish_schedule(template["Resources"][SCALE.logical]["Properties"])
    _finish_api(template["Resources"]["RestAPI"]["Properties"])
    return template


def merge(template: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return *template* with the sections of *extra* added. Raises TemplateConflict when a name is in both."""
    merged = deepcopy(dict(template))
    for section, entries in extra.items():
        present = merged.setdefault(section, {})
        twice = sorted(set(present) & set(entries))
        if twice:
            raise TemplateConflict(f"{section} defined by the app and by resources.yaml: {', '.join(twice)}")
        present.update(deepcopy(entries))
    return merged


def environment() -> dict[str, Any]:
    """Return the variables that every function gets, by reference. PUBLIC_URL differs per function, see _public_url."""
    return {
        "STAGE": {"Ref": "Stage"},
        "GPU_SECONDS_PER_DAY": {"Ref": "GpuSecondsPerDay"},
        "JOBS_TABLE": {"Ref": "JobsTable"},
        "KEYS_TABLE": {"Ref": "KeysTable"},
        "NONCES_TABLE": {"Ref": "NoncesTable"},
        "SHEETS_TABLE": {"Ref": "SheetsTable"},
        "RATES_TABLE": {"Ref": "RatesTable"},
        "WORKERS_TABLE": {"Ref": "WorkersTable"},
        "GPU_HOUR_PRICE": {"Ref": "GpuHourPrice"},
        "MAX_ASSET_MB": {"Ref": "MaxAssetMb"},
        "JOBS_QUEUE_URL": {"Ref": "JobsQueue"},
        "COMPLETIONS_QUEUE_URL": {"Ref": "CompletionsQueue"},
        "COMPLETIONS_DLQ_URL": {"Ref": "CompletionsDeadLetters"},
        "COMPLETIONS_QUEUE_NAME": {"Fn::GetAtt": ["CompletionsQueue", "QueueName"]},
        "WEBHOOKS_TABLE": {"Ref": "WebhooksTable"},
        "DELIVERIES_QUEUE_URL": {"Ref": "DeliveriesQueue"},
        "DELIVERIES_DLQ_URL": {"Ref": "DeliveriesDeadLetters"},
        "DELIVERIES_QUEUE_NAME": {"Fn::GetAtt": ["DeliveriesQueue", "QueueName"]},
        "WEBHOOK_NETWORKS": {"Ref": "WebhookNetworks"},
        "S3_BUCKET": {"Ref": "Bucket"},
        "EVENTBRIDGE_BUS_NAME": {"Ref": "Bus"},
        "SECRETS_PREFIX": {"Fn::Sub": "/comfysheet/${Stage}"},
        "GOOGLE_SECRET_ID": {"Fn::Sub": "comfysheet/${Stage}/google"},
        "SHEETS_API_ENDPOINT": {"Ref": "SheetsApiEndpoint"},
        "LOG_LEVEL": {"Ref": "LogLevel"},
        "SCALE_POOL": {"Ref": "ScalePool"},
        "SCALE_MIN": {"Ref": "ScaleMin"},
        "SCALE_MAX": {"Ref": "ScaleMax"},
        "SCALE_TARGET_WAIT_S": {"Ref": "ScaleTargetWaitS"},
        "SCALE_IDLE_S": {"Ref": "ScaleIdleS"},
        "SCALE_BOOT_S": {"Ref": "ScaleBootS"},
        "SCALE_JOB_S": {"Ref": "ScaleJobS"},
        "SCALE_GPUS": {"Ref": "ScaleGpus"},
        "SCALE_DAY_DOLLARS": {"Ref": "ScaleDayDollars"},
        "SCALE_MONTH_DOLLARS": {"Ref": "ScaleMonthDollars"},
        "SCALE_HOUR_PRICE": {"Ref": "ScaleHourPrice"},
        "SCALE_FALLBACK_HOUR_PRICE": {"Ref": "ScaleFallbackHourPrice"},
        "WORKER_GROUP": {"Ref": "WorkerGroup"},
        "WORKER_GROUP_2": {"Ref": "WorkerGroupFallback"},
    }


def _public_url(function: Function) -> dict[str, Any]:
    """Return where people reach the API; empty for the API function, which cannot refer to its own API (a circle)."""
    if function == API:
        return {"Ref": "PublicUrl"}
    own = {"Fn::Sub": "https://${RestAPI}.execute-api.${AWS::Region}.${AWS::URLSuffix}/${Stage}"}
    return {"Fn::If": ["OwnUrl", own, {"Ref": "PublicUrl"}]}


def _rename(resources: dict[str, Any], function: Function) -> None:
    """Give the function, and with it its event sources, the stack's logical name: it must not change (functions.py)."""
    resources[function.logical] = found = resources.pop(function.packaged)
    events = found["Properties"].get("Events", {})
    for name in [name for name in events if name.startswith(function.packaged)]:
        events[function.logical + name.removeprefix(function.packaged)] = events.pop(name)


def _finish_function(properties: dict[str, Any], function: Function) -> None:
    """Name the function, point it at its package and log group, give it its environment and its reserve."""
    properties["FunctionName"] = {"Fn::Sub": function.name("${Stage}")}
    properties["CodeUri"] = {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}}
    properties["LoggingConfig"] = {"LogGroup": {"Ref": f"{function.title}Logs"}}
    properties["Environment"] = {"Variables": {**environment(), "PUBLIC_URL": _public_url(function)}}
    properties["ReservedConcurrentExecutions"] = {
        "Fn::If": [
            f"{function.title}Reserved",
            {"Ref": f"{function.title}ReservedConcurrency"},
            {"Ref": "AWS::NoValue"},
        ]
    }
    properties["Tags"] = {"app": "comfysheet", "stage": {"Ref": "Stage"}}


def _finish_source(properties: dict[str, Any], function: Function) -> None:
    """Point a queue's handler at the queue of this stack, by reference."""
    sources = [event["Properties"] for event in properties.get("Events", {}).values() if event["Type"] == "SQS"]
    if len(sources) != 1:
        raise TemplateConflict(f"The handler of {function.queue} must have one queue, not {len(sources)}.")
    (source,) = sources
    source.pop("MaximumBatchingWindowInSeconds", None)
    source["Queue"] = {"Fn::GetAtt": [f"{function.queue}Queue", "Arn"]}
    source["FunctionResponseTypes"] = ["ReportBatchItemFailures"]
    source["ScalingConfig"] = {"MaximumConcurrency": {"Ref": f"{function.title}Concurrency"}}


def _finish_schedule(properties: dict[str, Any]) -> None:
    """Have the autoscaler's minute strike only where there is an autoscaler."""
    for event in properties.get("Events", {}).values():
        event["Properties"]["State"] = {"Fn::If": ["Scales", "ENABLED", "DISABLED"]}


def _finish_api(properties: dict[str, Any]) -> None:
    properties["StageName"] = {"Ref": "Stage"}
    properties["BinaryMediaTypes"] = ["*/*"]
    properties["DefinitionBody"]["x-amazon-apigateway-binary-media-types"] = ["*/*"]
    properties["DefinitionBody"]["x-amazon-apigateway-gateway-responses"] = {
        kind: {
            **({} if answer.status is None else {"statusCode": answer.status}),
            **({"responseParameters": answer.parameters} if answer.parameters else {}),
            "responseTemplates": answer.templates,
        }
        for kind, answer in GATEWAY_ANSWERS.items()
    }
    properties["MethodSettings"] = [
        {
            "ResourcePath": "/*",
            "HttpMethod": "*",
            "ThrottlingRateLimit": REQUESTS_A_SECOND,
            "ThrottlingBurstLimit": BURST_AT_ONCE,
        }
    ]
