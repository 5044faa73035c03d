"""Answer below /api/v2/webhooks: shapes in, shapes out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from chalicelib.api_parts import Answer, Call, check_size, parse
from chalicelib.contract.addresses import MAX_URL_CHARS
from chalicelib.contract.deliveries import ENDS, Delivery, Endpoint, EventType, Health
from chalicelib.submit import Request
from chalicelib.webhooks import Webhooks

Events = Annotated[list[EventType], Field(min_length=1, max_length=4)]
Url = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARS)]
Description = Annotated[str, Field(max_length=200)]


class WebhookRequest(Request):
    """Register an address that is told of all jobs of the client."""

    url: Url
    events: Events = Field(default_factory=lambda: list(ENDS))
    description: Description = ""


class WebhookChange(Request):
    """Change what is given."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    disabled: bool | None = None


class WebhookObject(BaseModel):
    """Show an endpoint. *disabled_reason*: switched_off, gone (it answered 410) or failing (for five days)."""

    id: str
    url: str
    events: list[str]
    description: str
    disabled: bool
    disabled_reason: Literal["switched_off", "gone", "failing"] | None
    created_at: str
    failures: int
    """Attempts that failed since the last one that did not."""
    failing_since: str | None


class NewWebhook(WebhookObject):
    """Show an endpoint and, this once, its secret."""

    secret: str


class WebhookList(BaseModel):
    """List a client's endpoints, the oldest first."""

    webhooks: list[WebhookObject]


class SecretObject(BaseModel):
    """Show a signing secret. *previous_expires_at*: until then the one before signs as well."""

    secret: str
    previous_expires_at: str | None = None


class AttemptObject(BaseModel):
    """Show one attempt; *answer* is how the answer began, *error* why it failed."""

    at: str
    status: int | None
    duration_ms: int
    answer: str
    error: str | None


class DeliveryObject(BaseModel):
    """Show a delivery; its id is the `webhook-id` header of every attempt."""

    id: str
    webhook_id: str
    event: str
    job_id: str | None
    state: Literal["waiting", "delivered", "failed"]
    created_at: str
    next_attempt_at: str | None
    ended_at: str | None
    attempts: list[AttemptObject]


class DeliveryList(BaseModel):
    """List an endpoint's last deliveries, the newest first."""

    deliveries: list[DeliveryObject]


class WebhooksApi:
    """Check shapes and call the use case. Each method raises `Rejected` or `Unavailable`."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    def create(self, call: Call) -> Answer:
        """POST /api/v2/webhooks: 201 with the endpoint and its secret."""
        check_size(call.body)
        asked = parse(WebhookRequest, call.body)
        endpoint, secret = self._webhooks.create(
            call.caller.client_id, asked.url, tuple(asked.events), asked.description
        )
        return _answer(201, NewWebhook(**_fields(endpoint, Health()), secret=secret))

    def list(self, call: Call) -> Answer:
        """GET /api/v2/webhooks."""
        found = self._webhooks.all_of(call.caller.client_id)
        return _answer(200, WebhookList(webhooks=[WebhookObject(**_fields(*each)) for each in found]))

    def get(self, call: Call) -> Answer:
        """GET /api/v2/webhooks/{id}."""
        return _answer(200, WebhookObject(**_fields(*self._webhooks.one(call.caller.client_id, _id(call)))))

    def change(self, call: Call) -> Answer:
        """PATCH /api/v2/webhooks/{id}."""
        check_size(call.body)
        asked = parse(WebhookChange, call.body)
        changed = self._webhooks.change(
            call.caller.client_id,
            _id(call),
            url=asked.url,
            events=tuple(asked.events) if asked.events else None,
            description=asked.description,
            disabled=asked.disabled,
        )
        return _answer(200, WebhookObject(**_fields(*changed)))

    def remove(self, call: Call) -> Answer:
        """DELETE /api/v2/webhooks/{id}."""
        self._webhooks.remove(call.caller.client_id, _id(call))
        return Answer(204, "")

    def secret_of_jobs(self, call: Call) -> Answer:
        """GET /api/v2/webhooks/secret."""
        return _answer(200, SecretObject(secret=self._webhooks.secret_of_jobs(call.caller.client_id)))

    def rotate(self, call: Call, webhook_id: str = "") -> Answer:
        """POST /api/v2/webhooks/{id}/rotate, or for *webhook_id*."""
        secret, until = self._webhooks.rotate(call.caller.client_id, webhook_id or _id(call))
        return _answer(200, SecretObject(secret=secret, previous_expires_at=_time(until)))

    def deliveries(self, call: Call) -> Answer:
        """GET /api/v2/webhooks/{id}/deliveries."""
        found = self._webhooks.deliveries(call.caller.client_id, _id(call))
        return _answer(200, DeliveryList(deliveries=[_delivery(each) for each in found]))

    def redeliver(self, call: Call) -> Answer:
        """POST /api/v2/webhooks/{id}/deliveries/{delivery}/redeliver."""
        asked = self._webhooks.redeliver(call.caller.client_id, _id(call), call.path["delivery_id"])
        return _answer(202, _delivery(asked))

    def test(self, call: Call) -> Answer:
        """POST /api/v2/webhooks/{id}/test."""
        return _answer(202, _delivery(self._webhooks.test(call.caller.client_id, _id(call))))


def _id(call: Call) -> str:
    return call.path["webhook_id"]


def _answer(status: int, body: BaseModel) -> Answer:
    return Answer(status, body.model_dump(mode="json"))


def _fields(endpoint: Endpoint, health: Health) -> dict[str, Any]:
    return {
        "id": endpoint.webhook_id,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "disabled": bool(endpoint.off),
        "disabled_reason": endpoint.off or None,
        "created_at": _time(endpoint.created_at),
        "failures": health.failures,
        "failing_since": _time(health.failing_since),
    }


def _delivery(delivery: Delivery) -> DeliveryObject:
    return DeliveryObject(
        id=delivery.delivery_id,
        webhook_id=delivery.webhook_id,
        event=delivery.event,
        job_id=delivery.job_id,
        state=delivery.state.value,
        created_at=_time(delivery.created_at) or "",
        next_attempt_at=_time(delivery.next_attempt_at),
        ended_at=_time(delivery.ended_at),
        attempts=[
            AttemptObject(
                at=_time(each.at) or "",
                status=each.status,
                duration_ms=each.duration_ms,
                answer=each.answer,
                error=each.error or None,
            )
            for each in delivery.attempts
        ],
    )


def _time(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
