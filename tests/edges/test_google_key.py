"""The secret that lets us into Google Sheets: keyless through AWS, another one while rows are written, broken ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.cells import Unreachable
from chalicelib.contract.errors import Unavailable
from chalicelib.google_key import READ_AGAIN_S, KeyRing
from chalicelib.sheet import Sheets, connect
from sandbox.google_auth import make_service_account
from tests.edges.sheets_world import BOOK, World
from tests.google_federation import REGION, Federation

EMAIL = "comfysheet@a-project.iam.gserviceaccount.com"


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        world.book.shared_with.add(EMAIL)
        yield world


class Ring:
    """Keep a secret in the local cloud, and the edge that reads it, with a clock of its own."""

    def __init__(self, aws: boto3.Session, world: World) -> None:
        self.client: Any = aws.client("secretsmanager")
        self.name, self.now_s, self.built, self._world = f"google-{uuid4().hex[:8]}", 0.0, 0, world
        self.ring = KeyRing(self.client, self.name, lambda: self.now_s, may_be_local=True)
        self._made: tuple[Any, Any] = (None, None)
        self.sheets = Sheets(self._service, renew=self.ring.renew)

    def _service(self) -> Any:
        key = self.ring.key()
        if self._made[0] != key:
            self.built += 1
            self._made = key, connect(key, self._world.served.url)
        return self._made[1]

    def put(self, secret: object) -> None:
        text = secret if isinstance(secret, str) else json.dumps(secret)
        try:
            self.client.create_secret(Name=self.name, SecretString=text)
        except self.client.exceptions.ResourceExistsException:
            self.client.put_secret_value(SecretId=self.name, SecretString=text)


@pytest.fixture
def ring(aws: boto3.Session, world: World) -> Ring:
    return Ring(aws, world)


def account(world: World) -> dict[str, str]:
    made = make_service_account(f"{world.served.url}/token", email=EMAIL)
    world.auth.register(made)
    return made


def test_completion_writes_without_any_google_key(ring: Ring, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS vouches for the role by a signature with the function's own credentials; Google gives the account's token."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the role's own secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the session")
    monkeypatch.setenv("AWS_REGION", REGION)
    with Federation(world.auth, EMAIL, {"ASIAEXAMPLE": "the role's own secret"}) as google:
        ring.put(google.configuration())
        assert ring.sheets.tabs(BOOK) and ring.ring.key().email == EMAIL
        assert google.refused == []


def test_google_gives_nothing_to_whom_aws_does_not_know(
    ring: Ring, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong signature is refused, and said as a sentence."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebody else's")
    monkeypatch.setenv("AWS_REGION", REGION)
    with Federation(world.auth, EMAIL, {"ASIAEXAMPLE": "the role's own secret"}) as google:
        ring.put(google.configuration())
        with pytest.raises(Unreachable, match="refused the service account's key"):
            ring.sheets.tabs(BOOK)
        assert google.refused == ["the signature is not AWS's"]


def test_a_new_key_is_taken_up_at_once_when_the_old_one_is_dead(ring: Ring, world: World) -> None:
    """The refused call looks into the secret again; made again by the queue, it goes through, without a deployment."""
    old = account(world)
    ring.put(old)
    assert ring.sheets.tabs(BOOK)
    new = account(world)
    ring.put(new)
    world.auth.delete_key(old)
    with pytest.raises(Unavailable, match="has just been changed") as caught:
        ring.sheets.tabs(BOOK)
    assert caught.value.retry_in_s == 1
    assert ring.sheets.tabs(BOOK) and ring.built == 2


def test_a_new_key_is_taken_up_within_minutes_while_the_old_one_works(ring: Ring, world: World) -> None:
    """Nobody is refused: the old key may be deleted five minutes after the new one was put there."""
    ring.put(account(world))
    assert ring.sheets.tabs(BOOK)
    ring.put(account(world))
    ring.now_s = READ_AGAIN_S - 1
    assert ring.sheets.tabs(BOOK) and ring.built == 1
    ring.now_s = READ_AGAIN_S
    assert ring.sheets.tabs(BOOK) and ring.built == 2


def test_a_deleted_key_without_a_new_one_is_said(ring: Ring, world: World) -> None:
    """Google refuses, the secret is the same: a person has to do something."""
    old = account(world)
    ring.put(old)
    world.auth.delete_key(old)
    with pytest.raises(Unreachable, match="refused the service account's key") as caught:
        ring.sheets.tabs(BOOK)
    assert caught.value.may_heal


def test_a_broken_secret_is_a_sentence_and_heals(ring: Ring, world: World) -> None:
    """No secret, an empty one, a wrong one: said each time it is tried, and forgotten with the next good one."""
    with pytest.raises(Unreachable, match="There is no secret with Google's key yet"):
        ring.sheets.tabs(BOOK)
    good = account(world)
    broken = [(" ", "is empty"), ("{", "is no JSON"), ('{"type": "authorized_user"}', "of the type authorized_user")]
    torn = {**good, "private_key": good["private_key"][:200]}
    for secret, said in [*broken, (torn, "holds a private key that cannot be read")]:
        ring.put(secret)
        ring.now_s += READ_AGAIN_S
        with pytest.raises(Unreachable, match=said) as caught:
            ring.sheets.tabs(BOOK)
        assert caught.value.may_heal and "BEGIN" not in caught.value.reason
    ring.put(good)
    ring.now_s += READ_AGAIN_S
    assert ring.sheets.tabs(BOOK)


def test_a_key_that_was_read_outlives_secrets_manager(ring: Ring, world: World) -> None:
    """What is known goes on being used while the secret cannot be read."""

    class Away:
        def get_secret_value(self, **_: Any) -> Any:
            from botocore.exceptions import EndpointConnectionError

            raise EndpointConnectionError(endpoint_url="x")

    ring.put(account(world))
    assert ring.sheets.tabs(BOOK)
    ring.ring._secrets = Away()  # type: ignore[assignment]
    ring.now_s = READ_AGAIN_S
    assert ring.sheets.tabs(BOOK)
    with pytest.raises(Unavailable, match="cannot be read just now"):
        KeyRing(Away(), "x", lambda: 0).key()  # type: ignore[arg-type]
