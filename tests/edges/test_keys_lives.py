"""A key's life on DynamoDB's and SSM's protocols: its terms, two secrets while it is rotated, its end."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.errors import Rejected
from chalicelib.contract.limits import SHEET_LIMITS, Limits
from chalicelib.keymaker import KeyMaker
from chalicelib.keys import UNKNOWN_KEY, ApiKey, Keys, secret_bytes
from tests.conftest import make_table


class Ring:
    """Hold a maker of keys, and look them up as a container does that was just started; *later_s*: in the future."""

    def __init__(self, aws: boto3.Session, resources: dict[str, Any]) -> None:
        self._dynamodb, self._ssm = aws.client("dynamodb"), aws.client("ssm")
        self.table = make_table(self._dynamodb, resources["KeysTable"]["Properties"])
        self.prefix = f"/test/{uuid4().hex[:8]}"
        self.maker = KeyMaker(self._dynamodb, self._ssm, self.table, self.prefix)

    def keys(self, later_s: float = 0) -> Keys:
        import time

        times = (self._dynamodb, self._ssm, self.table, self.prefix)
        return Keys(*times, clock_s=time.monotonic, time_s=lambda: time.time() + later_s)

    def open(self, key: str, later_s: float = 0) -> ApiKey | None:
        try:
            return self.keys(later_s).api_key(f"Bearer {key}")
        except Rejected as no:
            assert no is UNKNOWN_KEY, "the words tell nobody why"
            return None

    def signing(self, key: str, later_s: float = 0) -> tuple[bytes, ...]:
        return self.keys(later_s).sheet_key(key.split("_")[1]).secrets


@pytest.fixture
def ring(aws: boto3.Session, resources: dict[str, Any]) -> Ring:
    return Ring(aws, resources)


def key_id_of(key: str) -> str:
    return key.split("_")[1]


def test_a_key_is_what_it_was_made_and_usual_in_the_rest(ring: Ring) -> None:
    """Scopes, the spreadsheet and limits stand in its record; nothing of them, and it is like any other."""
    usual = ring.open(ring.maker.new_api("studio"))
    assert usual is not None
    assert (usual.client_id, usual.scopes, usual.spreadsheet_id) == ("studio", {"read", "submit"}, "")
    assert usual.limits == Limits()
    terms = {"scopes": "read raw", "spreadsheet_id": "s1", "rate_per_s": "0.5", "burst": "3", "queued_max": "7"}
    special = ring.open(ring.maker.new_api("studio", {**terms, "gpu_s_per_day": "60", "note": "n8n"}))
    assert special is not None
    assert (special.scopes, special.spreadsheet_id) == ({"read", "raw"}, "s1")
    assert special.limits == Limits(rate_per_s=0.5, burst=3, queued_max=7, gpu_s_per_day=60)


def test_terms_change_and_go_back(ring: Ring) -> None:
    """An empty value is what is usual; a key that is not there is not made by it."""
    key = ring.maker.new_api("studio", {"queued_max": "7", "note": "x"})
    assert ring.maker.change(key_id_of(key), {"queued_max": "", "burst": "5"})
    there = ring.open(key)
    assert there is not None and there.limits == Limits(burst=5)
    assert not ring.maker.change("0" * 12, {"burst": "5"}) and len(ring.maker.records()) == 1
    with pytest.raises(ValueError, match="client_id"):
        ring.maker.change(key_id_of(key), {"client_id": "thief"})


def test_a_rotated_key_has_two_secrets_for_a_while(ring: Ring) -> None:
    """Both open until the former one's time is over; its id, client and terms stay."""
    first = ring.maker.new_api("studio", {"queued_max": "7"})
    second = ring.maker.rotate(key_id_of(first), 3600)
    assert key_id_of(second) == key_id_of(first) and second != first
    for key in (first, second):
        there = ring.open(key)
        assert there is not None and there.limits.queued_max == 7
    assert ring.open(first, later_s=3601) is None and ring.open(second, later_s=3601) is not None


def test_a_key_that_is_rotated_twice_has_two_secrets_still(ring: Ring) -> None:
    """The oldest one is dead at once; and with no hours left the present one, too."""
    first = ring.maker.new_api("studio")
    second = ring.maker.rotate(key_id_of(first), 3600)
    third = ring.maker.rotate(key_id_of(first), 3600)
    assert [ring.open(key) is not None for key in (first, second, third)] == [False, True, True]
    fourth = ring.maker.rotate(key_id_of(first), 0)
    assert [ring.open(key) is not None for key in (second, third, fourth)] == [False, False, True]


def test_a_sheets_key_is_rotated_alike(ring: Ring) -> None:
    """Scripts sign with either secret until the former one's time is over."""
    first = ring.maker.new_sheet("studio", "s1")
    second = ring.maker.rotate(key_id_of(first), 3600)
    new, old = (secret_bytes(key.split("_", 2)[2]) for key in (second, first))
    assert ring.signing(first) == (new, old)
    assert ring.signing(first, later_s=3601) == (new,)
    third = ring.maker.rotate(key_id_of(first), 3600)
    assert ring.signing(first) == (secret_bytes(third.split("_", 2)[2]), new)
    assert ring.keys().sheet_key(key_id_of(first)).limits == SHEET_LIMITS


def test_a_secret_that_was_cached_before_a_rotation_signs_on(ring: Ring) -> None:
    """What says how long the former secret lives is never older than the secrets."""
    now = [0.0]
    times = (ring._dynamodb, ring._ssm, ring.table, ring.prefix)
    keys = Keys(*times, clock_s=lambda: now[0])
    first = ring.maker.new_sheet("studio", "s1")
    keys.sheet_key(key_id_of(first))
    now[0] = 20.0
    keys._secrets.clear()
    ring.maker.rotate(key_id_of(first), 3600)
    assert secret_bytes(first.split("_", 2)[2]) in keys.sheet_key(key_id_of(first)).secrets


def test_a_key_ends_in_its_time_and_by_revoking(ring: Ring) -> None:
    """An ended key opens nothing, with the words of an unknown one; both its secrets are dead."""
    import time

    key = ring.maker.new_api("studio", {"expires_at": str(int(time.time()) + 60)})
    assert ring.open(key) is not None and ring.open(key, later_s=61) is None
    rotated = ring.maker.rotate(key_id_of(key), 3600)
    assert ring.maker.revoke(key_id_of(key))
    assert [ring.open(each) for each in (key, rotated)] == [None, None]


def test_what_is_no_key_cannot_be_rotated(ring: Ring) -> None:
    """A code is used once; an unknown id has no key."""
    code = ring.maker.new_code("studio")
    for key_id in (code.split("_")[1], "0" * 12):
        with pytest.raises(Rejected, match="There is no key"):
            ring.maker.rotate(key_id, 3600)


def test_no_secret_lies_in_the_table(ring: Ring) -> None:
    """Whoever reads the table of keys opens nothing with it."""
    key = ring.maker.new_api("studio")
    both = [key, ring.maker.rotate(key_id_of(key), 3600), ring.maker.new_sheet("studio", "s1")]
    dump = str(ring.maker.records())
    assert not [each for each in both if each.split("_", 2)[2] in dump]


def test_a_new_secret_opens_at_once_where_the_old_one_is_known(ring: Ring) -> None:
    """A secret that does not fit is looked up again, though not within a second: a guesser costs a read a second."""
    now = [0.0]
    keys = Keys(ring._dynamodb, ring._ssm, ring.table, ring.prefix, clock_s=lambda: now[0])
    first = ring.maker.new_api("studio")
    assert keys.api_key(f"Bearer {first}")
    second = ring.maker.rotate(key_id_of(first), 3600)
    now[0] = 0.9
    with pytest.raises(Rejected):
        keys.api_key(f"Bearer {second}")
    now[0] = 1.0
    assert keys.api_key(f"Bearer {second}") and keys.api_key(f"Bearer {first}")
    script = ring.maker.new_sheet("studio", "s1")
    assert len(keys.sheet_key(key_id_of(script)).secrets) == 1
    ring.maker.rotate(key_id_of(script), 3600)
    now[0] = 2.0
    assert keys.look_again(key_id_of(script)) and len(keys.sheet_key(key_id_of(script)).secrets) == 2
