"""Secrets of webhooks lie in SSM, two of them live after a rotation, and one is made for whoever needs it first."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from uuid import uuid4

import boto3
import pytest

from chalicelib.webhook_secrets import OLD_LIVES_MS, WebhookSecrets
from tests.jobs import NOW

WH = "wh_0123456789abcdef"


class Clock:
    """Stand still."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def prefix() -> Iterator[str]:
    yield f"/test/{uuid4().hex[:8]}"


def test_a_secret_is_made_once_and_is_a_secure_string(aws: boto3.Session, prefix: str) -> None:
    """Whoever comes first; the parameter is encrypted, and its name is the endpoint's."""
    ssm = aws.client("ssm")
    api, delivering = WebhookSecrets(ssm, prefix, Clock()), WebhookSecrets(ssm, prefix, Clock())
    secret = api.current("a", WH)
    assert secret.startswith("whsec_") and len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert delivering.live("a", WH, NOW) == [secret] == api.live("a", WH, NOW)
    kept = ssm.get_parameter(Name=f"{prefix}/webhook-secrets/{WH}")["Parameter"]
    assert kept["Type"] == "SecureString"


def test_each_client_has_a_secret_of_its_own_for_its_jobs(aws: boto3.Session, prefix: str) -> None:
    """Whatever the client is called: names of parameters hold less than names of clients."""
    secrets = WebhookSecrets(aws.client("ssm"), prefix, Clock())
    assert secrets.current("käufer #1/../x", "jobs") != secrets.current("b", "jobs")
    assert secrets.current("b", "jobs") == secrets.current("b", "jobs")


def test_two_secrets_live_for_a_day_after_a_rotation(aws: boto3.Session, prefix: str) -> None:
    """The newest first; another rotation leaves two, not three; who has it cached learns of it within a minute."""
    ssm, clock = aws.client("ssm"), Clock()
    api, delivering = WebhookSecrets(ssm, prefix, Clock()), WebhookSecrets(ssm, prefix, clock)
    first = delivering.live("a", WH, NOW)[0]
    second, until = api.rotate("a", WH, NOW)
    assert until == NOW + OLD_LIVES_MS
    assert delivering.live("a", WH, NOW) == [first]
    clock.s = 60
    assert delivering.live("a", WH, NOW) == [second, first] == delivering.live("a", WH, until - 1)
    assert delivering.live("a", WH, until) == [second]
    third, _ = api.rotate("a", WH, NOW + 1)
    clock.s = 120
    assert delivering.live("a", WH, NOW + 2) == [third, second]


def test_the_first_rotation_makes_a_secret(aws: boto3.Session, prefix: str) -> None:
    """And forgetting twice is no fault."""
    secrets = WebhookSecrets(aws.client("ssm"), prefix, Clock())
    made, _ = secrets.rotate("a", "jobs", NOW)
    assert secrets.live("a", "jobs", NOW) == [made]
    secrets.forget("a", "jobs")
    secrets.forget("a", "jobs")
    assert secrets.current("a", "jobs") != made
