"""Judge what becomes of messages whose job cannot be had."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.contract.ports import Claimed, Refused
from chalicelib.contract.states import State
from tests.fakes import MemoryLedger
from tests.jobs import NOW
from tests.worker_shop import Shop


def test_a_message_of_an_ended_job_says_its_news_again_and_goes() -> None:
    """The worker that ended it died before the delete."""
    shop = Shop()
    shop.ledger.cancel(shop.job_id, now=NOW)
    shop.work()
    assert [hint.version for hint, _ in shop.hints.sent] == [shop.job.version]
    assert shop.inbox.messages == {}
    assert shop.comfy.submitted == []


def test_a_stale_message_goes_without_a_word() -> None:
    """A newer message is under way."""
    shop = Shop()
    assert shop.ledger.resend(shop.job, now=NOW) == 2
    shop.work()
    assert (shop.inbox.messages, shop.hints.sent) == ({}, [])


def test_a_held_job_s_message_waits_for_the_lease() -> None:
    """It comes back when the holder should have ended, spread by jitter."""
    shop = Shop()
    shop.ledger.claim(shop.job_id, 1, owner="w2", token="t2", now=NOW, lease_ms=40_000)
    shop.work()
    assert shop.inbox.hidden == [42.5]


def test_a_job_that_waits_keeps_its_message_until_then() -> None:
    """not_before is when the message becomes visible."""
    shop = Shop()
    shop.inbox.messages.clear()
    shop.job_id = shop.submit(not_before=NOW + 7000)
    shop.work()
    assert shop.inbox.hidden == [7.0]


@pytest.mark.parametrize("receives", [1, 2, 3])
def test_an_unknown_job_gets_three_chances(receives: int) -> None:
    """The put may be late; after the third receive the message is buried with a reason."""
    shop = Shop()
    shop.inbox.messages.clear()
    shop.inbox.send("12345678-1234-1234-1234-123456789012")
    for _ in range(receives):
        shop.work()
        shop.clock.pass_time(31)
    if receives < 3:
        assert shop.inbox.hidden == [30.0] * receives
        assert len(shop.inbox.messages) == 1
    else:
        assert [reason for _, reason in shop.inbox.buried] == ["no such job"]


SOME_ID = "12345678-1234-1234-1234-123456789012"
HUGE = f'{{"job_id": "{SOME_ID}", "seq": {"9" * 60}}}'
"""DynamoDB refuses numbers of more than 38 digits: claiming by it ended one worker after another."""
NO_UUID = f'{{"job_id": "{"ü" * 36}", "seq": 1}}'


@pytest.mark.parametrize(
    "body", ["", "{}", '{"job_id": "x", "seq": 1}', "\ud800", "x" * 9000, "[" * 3000, HUGE, NO_UUID]
)
def test_a_poison_message_is_buried_by_its_third_receiver(body: str) -> None:
    """It stops nobody: other jobs run meanwhile; without a dead-letter queue it just stays."""
    shop = Shop()
    shop.inbox.send_body(body)
    for _ in range(3):
        shop.work()
        shop.clock.pass_time(31)
    assert shop.job.state is State.SUCCEEDED
    assert [buried for buried, _ in shop.inbox.buried] == [body]
    shop = Shop()
    shop.inbox.has_dlq = False
    shop.inbox.send_body(body)
    for _ in range(4):
        shop.work()
        shop.clock.pass_time(31)
    assert len(shop.inbox.messages) == 1


class Faulty(MemoryLedger):
    """Have a bug that one message finds."""

    def claim(self, *args: Any, **kwargs: Any) -> Claimed | Refused:
        raise KeyError("what nobody thought of")


def test_a_message_that_ends_workers_ends_three_at_most() -> None:
    """A bug before the claim costs the job no attempt, so the message is counted: the third worker buries it."""
    shop = Shop()
    shop.tools = replace(shop.tools, ledger=Faulty())
    for _ in range(2):
        with pytest.raises(KeyError):
            shop.work()
        assert len(shop.inbox.messages) == 1 and shop.inbox.buried == []
        shop.clock.pass_time(31)
    with pytest.raises(KeyError):
        shop.work()
    assert [reason for _, reason in shop.inbox.buried] == ["a worker has a fault of its own here (KeyError)"]
    assert shop.inbox.messages == {}
    assert shop.work().inbox.buried != [], "the next worker has nothing to trip over"


class ShutOut(MemoryLedger):
    """Refuse this worker."""

    code = "AccessDeniedException"

    def claim(self, *args: Any, **kwargs: Any) -> Claimed | Refused:
        raise ClientError({"Error": {"Code": self.code, "Message": "not authorized"}}, "UpdateItem")


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException", "ResourceNotFoundException"])
def test_a_worker_that_is_shut_out_buries_nothing(code: str) -> None:
    """It ends, and again when it is started again; its key or its policy is wrong, not the messages."""
    shop = Shop()
    shop.tools = replace(shop.tools, ledger=ShutOut())
    ShutOut.code = code
    for _ in range(5):
        with pytest.raises(ClientError):
            shop.work()
        assert (len(shop.inbox.messages), shop.inbox.buried) == (1, [])
        shop.clock.pass_time(31)


def test_a_job_without_attempts_left_is_given_up_with_a_sentence() -> None:
    """Each worker died with it: the row says so instead of waiting for ever."""
    shop = Shop()
    for attempt in range(3):
        then = NOW - 300_000 + attempt * 10_000
        shop.ledger.claim(shop.job_id, 1, owner="w", token=f"t{attempt}", now=then, lease_ms=1000)
    shop.work()
    assert shop.job.error is not None
    assert shop.job.error.code == "gave_up"
    assert "Given up after 3 attempts" in shop.job.error.text
    assert shop.inbox.messages == {}
    assert shop.hints.sent[-1][0].version == shop.job.version


def test_a_job_past_its_deadline_is_given_up() -> None:
    """Nobody wants a picture of yesterday's row."""
    shop = Shop()
    shop.inbox.messages.clear()
    shop.job_id = shop.submit(deadline=NOW - 1)
    shop.work()
    assert shop.job.error is not None
    assert shop.job.error.text == "No worker took the job before its time ran out."
