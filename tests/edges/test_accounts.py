"""Judge the accounts of keys on DynamoDB's protocol: rates, a day's GPU time, and what a request costs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.accounts import Accounts
from chalicelib.contract.errors import Exhausted, Unavailable
from chalicelib.contract.limits import DAY_MS, Limits
from tests.conftest import make_table
from tests.jobs import NOW

MIDNIGHT = NOW - NOW % DAY_MS


class Counted:
    """Count the calls of a client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self._client, name)


@pytest.fixture
def client(aws: boto3.Session) -> Counted:
    return Counted(aws.client("dynamodb"))


@pytest.fixture
def accounts(client: Counted, resources: dict[str, Any]) -> Accounts:
    table = make_table(client, resources["RatesTable"]["Properties"])
    client.calls = 0
    return Accounts(cast(Any, client), table)


def taken(accounts: Accounts, many: int, at: int, limits: Limits, key_id: str = "k") -> int:
    """Ask *many* times at one moment; how often it was allowed."""
    allowed = 0
    for _ in range(many):
        try:
            accounts.take(key_id, limits, at)
            allowed += 1
        except Exhausted:
            continue
    return allowed


def test_a_bucket_gives_its_burst_and_then_its_rate(accounts: Accounts) -> None:
    """Ten at once, two a second after that, and the full burst again when it has rested."""
    limits = Limits(rate_per_s=2, burst=10)
    assert taken(accounts, 15, NOW, limits) == 10
    assert taken(accounts, 5, NOW + 1_000, limits) == 2
    assert taken(accounts, 15, NOW + 60_000, limits) == 10
    assert taken(accounts, 3, NOW + 60_000, limits, key_id="another") == 3


def test_who_asks_too_often_is_told_when_to_ask_again(accounts: Accounts) -> None:
    """And then it is right: one request earlier is refused, one at that time is not."""
    limits = Limits(rate_per_s=0.5, burst=1)
    accounts.take("k", limits, NOW)
    with pytest.raises(Exhausted) as told:
        accounts.take("k", limits, NOW + 500)
    assert (told.value.code, told.value.retry_in_s) == ("rate_limited", 1.5)
    assert taken(accounts, 1, NOW + 1_999, limits) == 0
    assert taken(accounts, 1, NOW + 2_000, limits) == 1


def test_a_request_costs_one_write(accounts: Accounts, client: Counted) -> None:
    """A guess that is wrong costs a second: at the first request, and after a rest that nobody saw."""
    for number in range(50):
        accounts.take("k", Limits(), NOW + number)
    assert client.calls == 50
    again = Accounts(cast(Any, client), accounts._table)
    again.take("k", Limits(), NOW + 60)
    assert client.calls == 52


def test_many_containers_share_one_bucket(accounts: Accounts, client: Counted) -> None:
    """Forty threads with an eye of their own each get no more than the burst."""
    limits = Limits(rate_per_s=0.001, burst=10)

    def ask(_: int) -> int:
        return taken(Accounts(cast(Any, client), accounts._table), 1, NOW, limits)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(40))) == 10


def test_a_days_gpu_time_adds_up_and_begins_anew_at_midnight(accounts: Accounts) -> None:
    """A charge that comes late for yesterday is dropped; what was used is told with every request."""
    limits = Limits(gpu_s_per_day=10)
    accounts.charge("k", 4_000, MIDNIGHT)
    accounts.charge("k", 5_000, MIDNIGHT + 1)
    account = accounts.take("k", limits, MIDNIGHT + 2)
    assert account.gpu_ms_today == 9_000 and account.refusal(MIDNIGHT) is None
    accounts.charge("k", 1_000, MIDNIGHT + 3)
    spent = accounts.take("k", limits, MIDNIGHT + DAY_MS - 60_000)
    refusal = spent.refusal(MIDNIGHT + DAY_MS - 60_000)
    assert refusal is not None and (refusal.code, refusal.retry_in_s) == ("budget_spent", 60.0)
    assert accounts.take("k", limits, MIDNIGHT + DAY_MS).gpu_ms_today == 0
    accounts.charge("k", 2_000, MIDNIGHT + DAY_MS)
    accounts.charge("k", 7_000, MIDNIGHT)
    assert accounts.account("k", MIDNIGHT + DAY_MS).gpu_ms_today == 2_000


def test_an_account_tells_the_limits_of_its_last_request(accounts: Accounts) -> None:
    """Rows that start by themselves come without their key: they keep to what it was allowed."""
    assert accounts.account("k", NOW).limits == Limits()
    accounts.take("k", Limits(queued_max=7, gpu_s_per_day=60), NOW)
    assert accounts.account("k", NOW).limits == Limits(queued_max=7, gpu_s_per_day=60)
    accounts.take("k", Limits(), NOW)
    assert accounts.account("k", NOW).limits == Limits()


def test_counters_out_of_reach_are_renamed() -> None:
    """The gate lets everybody pass then."""

    class Away:
        def update_item(self, **_: object) -> None:
            raise EndpointConnectionError(endpoint_url="http://nowhere")

    with pytest.raises(Unavailable, match="cannot be reached"):
        Accounts(cast(Any, Away()), "t").take("k", Limits(), NOW)
