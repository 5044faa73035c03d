"""The routes of webhooks: who may do what, what goes in, what comes out."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.contract.deliveries import ENDPOINTS_MOST, ENDS
from chalicelib.keys import ApiKey
from chalicelib.operations.webhooks import WEBHOOKS
from chalicelib.webhooks import Webhooks
from chalicelib.webhooks_api import WebhooksApi
from chalicelib.wiring import World
from tests.delivery_fakes import Bell, MemoryBook, PaperSecrets
from tests.jobs import NOW

URL = "https://hooks.example/comfy"


class Desk:
    """Serve the routes on fakes."""

    def __init__(self, *, has_networks: bool = False) -> None:
        self.now = NOW
        self.book, self.secrets, self.bell = MemoryBook(), PaperSecrets(), Bell()
        self.webhooks = Webhooks(self.book, self.secrets, self.bell, lambda: self.now, has_networks=has_networks)
        self.webhooks_api = WebhooksApi(self.webhooks)

    def ask(self, name: str, body: object = None, client: str = "a", **path: str) -> Answer:
        """Call the operation called *name*."""
        [operation] = [each for each in WEBHOOKS if each.name == name]
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        key = ApiKey("k", client, frozenset({"read", "submit"}))
        call = Call({}, raw, "https://host", path=path, key=key)
        answer = guarded(lambda: operation.answer(cast(World, self), call))
        shape = operation.answers.get(answer.status)
        if answer.status < 300 and shape is not None:
            assert not isinstance(shape, str)
            shape.model_validate(answer.body)
        return answer

    def created(self, **fields: Any) -> dict[str, Any]:
        answer = self.ask("createWebhook", {"url": URL, **fields})
        assert answer.status == 201, answer.body
        return dict(answer.body)


def test_a_webhook_is_shown_with_its_secret_once() -> None:
    """When it is made; never in a listing."""
    desk = Desk()
    made = desk.created(description="night shift")
    assert made["secret"].startswith("whsec_") and made["events"] == list(ENDS)
    shown = desk.ask("getWebhook", webhook_id=made["id"]).body
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert shown["disabled"] is False and shown["disabled_reason"] is None and shown["failing_since"] is None
    assert desk.ask("listWebhooks").body == {"webhooks": [shown]}


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example/", "https://me:pw@hooks.example/", "https://hooks.example:444/", "nonsense", "https://"],
)
def test_an_address_to_which_nothing_would_go_is_refused(url: str) -> None:
    """At once, and with a sentence; on a change as well."""
    desk = Desk()
    made = desk.created()
    for answer in (
        desk.ask("createWebhook", {"url": url}),
        desk.ask("changeWebhook", {"url": url}, webhook_id=made["id"]),
    ):
        assert (answer.status, answer.body["error"]["code"]) == (422, "bad_webhook_url")
        assert answer.body["error"]["message"].startswith("The webhook's URL must")
    assert len(desk.book.endpoints("a")) == 1


def test_the_operators_own_networks_may_be_named() -> None:
    """Plain http and any port are fine there; a login never is."""
    desk = Desk(has_networks=True)
    assert desk.ask("createWebhook", {"url": "http://10.1.2.3:8080/hook"}).status == 201
    assert desk.ask("createWebhook", {"url": "http://me@10.1.2.3:8080/hook"}).status == 422


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": URL, "events": []},
        {"url": URL, "events": ["job.exploded"]},
        {"url": URL, "description": "x" * 201},
        {"url": URL, "more": 1},
        {"url": 5},
        {"url": ""},
        b"",
        b"[" * 5_000,
        b'{"url": "\xff"}',
    ],
)
def test_what_is_not_well_formed_is_said_to_be(body: object) -> None:
    """400, and nothing is kept."""
    desk = Desk()
    answer = desk.ask("createWebhook", body)
    assert (answer.status, answer.body["error"]["code"]) == (400, "bad_request")
    assert desk.book.lanes == {} and desk.secrets.kept == {}


def test_a_client_has_ten_webhooks_at_most() -> None:
    """The eleventh is refused with what to do; another client has its own ten; one that is deleted makes room."""
    desk = Desk()
    made = [desk.created() for _ in range(ENDPOINTS_MOST)]
    answer = desk.ask("createWebhook", {"url": URL})
    assert (answer.status, answer.body["error"]["code"]) == (422, "too_many_webhooks")
    assert desk.ask("createWebhook", {"url": URL}, client="b").status == 201
    assert desk.ask("deleteWebhook", webhook_id=made[0]["id"]).status == 204
    assert desk.ask("createWebhook", {"url": URL}).status == 201


def test_a_webhook_is_its_clients_own() -> None:
    """For anybody else, and for whatever is no id, there is none."""
    desk = Desk()
    webhook_id = desk.created()["id"]
    test = desk.ask("testWebhook", webhook_id=webhook_id).body
    named = {"webhook_id": webhook_id, "delivery_id": test["id"]}
    for operation in WEBHOOKS:
        if "{webhook_id}" not in operation.path:
            continue
        for path in (
            named,
            named | {"webhook_id": "wh_ffffffffffffffff"},
            named | {"webhook_id": "a#wh_" + "x" * 3000},
        ):
            client = "b" if path is named else "a"
            answer = desk.ask(operation.name, {"disabled": True} if operation.body else None, client=client, **path)
            assert answer.status == 404, operation.name
    assert desk.ask("getWebhook", webhook_id=webhook_id).body["disabled"] is False
    assert desk.ask("redeliver", webhook_id=webhook_id, delivery_id="dlv_" + "0" * 31).status == 404
    assert desk.ask("redeliver", webhook_id=webhook_id, delivery_id="../x").status == 404


def test_only_what_is_given_is_changed() -> None:
    """Events in their order, each once; an empty change changes nothing."""
    desk = Desk()
    made = desk.created(description="d")
    change = {"events": ["job.failed", "job.started", "job.failed"]}
    changed = desk.ask("changeWebhook", change, webhook_id=made["id"]).body
    assert changed["events"] == ["job.failed", "job.started"] and changed["description"] == "d"
    assert desk.ask("changeWebhook", {}, webhook_id=made["id"]).body == changed
    off = desk.ask("changeWebhook", {"disabled": True}, webhook_id=made["id"]).body
    assert (off["disabled"], off["disabled_reason"]) == (True, "switched_off")
    for name, path in (("testWebhook", {}), ("redeliver", {"delivery_id": "dlv_" + "0" * 31})):
        answer = desk.ask(name, webhook_id=made["id"], **path)
        assert (answer.status, answer.body["error"]["code"]) == (422, "webhook_off")


def test_a_rotation_tells_until_when_the_old_secret_lives() -> None:
    """A day; of an endpoint, and of the addresses that jobs name."""
    desk = Desk()
    made = desk.created()
    rotated = desk.ask("rotateWebhookSecret", webhook_id=made["id"]).body
    assert rotated["secret"] != made["secret"] and rotated["previous_expires_at"] == "2027-01-16T08:00:00.000Z"
    of_jobs = desk.ask("getJobsWebhookSecret").body
    assert desk.ask("getJobsWebhookSecret").body == of_jobs != {"secret": made["secret"]}
    assert desk.ask("rotateJobsWebhookSecret").body["secret"] != of_jobs["secret"]
    assert desk.ask("listDeliveries", webhook_id="jobs").body == {"deliveries": []}


def test_a_test_event_is_a_delivery_like_any_other() -> None:
    """It waits, rings, and is listed."""
    desk = Desk()
    made = desk.created()
    answer = desk.ask("testWebhook", webhook_id=made["id"])
    assert (answer.status, answer.body["event"], answer.body["state"]) == (202, "webhook.test", "waiting")
    assert [hint.delivery_id for hint in desk.bell.rung] == [answer.body["id"]]
    assert desk.ask("listDeliveries", webhook_id=made["id"]).body == {"deliveries": [answer.body]}


def test_secrets_are_for_keys_that_may_start_jobs() -> None:
    """A key that may only look learns no secret and changes nothing."""
    for operation in WEBHOOKS:
        looks = operation.method == "GET" and "secret" not in operation.path
        assert operation.scope == ("read" if looks else "submit"), operation.name
