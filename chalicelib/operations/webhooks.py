"""The routes of outgoing webhooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel

from chalicelib.api_parts import Answer, Call
from chalicelib.contract.deliveries import OF_JOBS
from chalicelib.gate import Scope
from chalicelib.operation import Operation, Shape
from chalicelib.webhooks_api import (
    DeliveryList,
    DeliveryObject,
    NewWebhook,
    SecretObject,
    WebhookChange,
    WebhookList,
    WebhookObject,
    WebhookRequest,
    WebhooksApi,
)
from chalicelib.wiring import World

_ALL: Final = "/api/v2/webhooks"
_ONE: Final = f"{_ALL}/{{webhook_id}}"
_DELIVERIES: Final = f"{_ONE}/deliveries"


def _operation(
    method: str,
    path: str,
    name: str,
    summary: str,
    answer: Callable[[WebhooksApi, Call], Answer],
    *,
    status: int = 200,
    shape: Shape = None,
    body: type[BaseModel] | None = None,
    **more: Any,
) -> Operation:
    def asked(world: World, call: Call) -> Answer:
        return answer(world.webhooks_api, call)

    # A secret, and where all jobs are told, is for keys that may start jobs.
    is_open = method == "GET" and shape is not SecretObject
    scope: Scope = "read" if is_open else "submit"
    answers: dict[int, Shape] = {status: shape}
    return Operation(
        method, path, name, summary, asked, tag="Webhooks", scope=scope, body=body, answers=answers, **more
    )


def _rotate_of_jobs(api: WebhooksApi, call: Call) -> Answer:
    return api.rotate(call, OF_JOBS)


_REFUSED: Final = frozenset({422})

WEBHOOKS: Final = (
    _operation(
        "POST",
        _ALL,
        "createWebhook",
        "Register an address that is told of all jobs.",
        WebhooksApi.create,
        status=201,
        shape=NewWebhook,
        body=WebhookRequest,
    ),
    _operation("GET", _ALL, "listWebhooks", "List the webhooks.", WebhooksApi.list, shape=WebhookList),
    # The secret of the addresses that jobs name; API Gateway prefers a path without a variable.
    _operation(
        "GET",
        f"{_ALL}/secret",
        "getJobsWebhookSecret",
        "Give the secret that signs what goes to the addresses that jobs name.",
        WebhooksApi.secret_of_jobs,
        shape=SecretObject,
    ),
    _operation(
        "POST",
        f"{_ALL}/secret/rotate",
        "rotateJobsWebhookSecret",
        "Renew that secret; the old one lives for a day.",
        _rotate_of_jobs,
        shape=SecretObject,
    ),
    _operation("GET", _ONE, "getWebhook", "Show a webhook.", WebhooksApi.get, shape=WebhookObject),
    _operation(
        "PATCH",
        _ONE,
        "changeWebhook",
        "Change a webhook, or switch it off or on.",
        WebhooksApi.change,
        shape=WebhookObject,
        body=WebhookChange,
    ),
    _operation("DELETE", _ONE, "deleteWebhook", "Delete a webhook.", WebhooksApi.remove, status=204),
    _operation(
        "POST",
        f"{_ONE}/rotate",
        "rotateWebhookSecret",
        "Renew a webhook's secret; the old one lives for a day.",
        WebhooksApi.rotate,
        shape=SecretObject,
    ),
    _operation(
        "POST",
        f"{_ONE}/test",
        "testWebhook",
        "Send a test event.",
        WebhooksApi.test,
        status=202,
        shape=DeliveryObject,
        refusals=_REFUSED,
    ),
    _operation(
        "GET",
        _DELIVERIES,
        "listDeliveries",
        "List a webhook's last deliveries (of the id `jobs`: those to addresses that jobs name).",
        WebhooksApi.deliveries,
        shape=DeliveryList,
    ),
    _operation(
        "POST",
        f"{_DELIVERIES}/{{delivery_id}}/redeliver",
        "redeliver",
        "Send a delivery once more.",
        WebhooksApi.redeliver,
        status=202,
        shape=DeliveryObject,
        refusals=_REFUSED,
    ),
)
