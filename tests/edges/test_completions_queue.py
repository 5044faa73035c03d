"""News of many spreadsheets on one FIFO queue: what SQS remembers for five minutes swallows no other's."""

from __future__ import annotations

from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import MAX_MESSAGE_BYTES, Ended, Errand, Hint, errand_dedup_id, read_news
from chalicelib.contract.states import State
from chalicelib.queues import CompletionQueue, DeliveryQueue
from tests.jobs import new_job


def received(client: object, url: str) -> list[str]:
    """Take all that is there; the spreadsheets that are named."""
    found: list[str] = []
    while True:
        taken = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])  # type: ignore[attr-defined]
        if not taken:
            return sorted(found)
        for message in taken:
            news = read_news(message["Body"])
            assert isinstance(news, Errand)
            found.append(news.spreadsheet_id)
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])  # type: ignore[attr-defined]


def test_the_same_minute_of_many_spreadsheets_is_an_errand_each(aws: boto3.Session) -> None:
    """The sweeper asks all auto sheets with the minute as id: each gets its errand, and a repeat is swallowed."""
    client = aws.client("sqs")
    url = client.create_queue(QueueName=f"q{uuid4().hex[:8]}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    queue = CompletionQueue(client, url)
    for name in ("a", "b", "c", "a"):
        queue.ask(Errand(errand="auto", spreadsheet_id=name, id="30000000"))
    assert received(client, url) == ["a", "b", "c"]


def test_an_errands_name_fits_whatever_the_spreadsheets_id() -> None:
    """SQS takes 128 characters."""
    longest = Errand(errand="prepare", spreadsheet_id="x" * 200, id="i" * 64)
    assert len(errand_dedup_id(longest)) <= 128


def test_an_end_is_told_apart_from_its_rows_news(aws: boto3.Session) -> None:
    """In its client's own group, where no spreadsheet holds it up; a job that was never sent frees nothing."""
    client = aws.client("sqs")
    url = client.create_queue(QueueName=f"q{uuid4().hex[:8]}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    queue = CompletionQueue(client, url)
    ended, held = new_job(state=State.CANCELED), new_job(state=State.CANCELED, seq=0)
    for job in (ended, held, new_job()):
        queue.hint(job)
    taken = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"])
    told = [(read_news(each["Body"]), each["Attributes"]["MessageGroupId"]) for each in taken["Messages"]]
    assert [group for news, group in told if isinstance(news, Hint)].count("sheet-1") >= 1
    words = [(news, group) for news, group in told if isinstance(news, Ended)]
    assert words == [(Ended(ended=ended.job_id, client_id="client-1"), "ended:client-1")]


@pytest.mark.parametrize("body", ["nonsense", "x" * MAX_MESSAGE_BYTES])
def test_what_cannot_be_read_is_buried_once_and_for_each_to_see(aws: boto3.Session, body: str) -> None:
    """Body unchanged, with its reason where there is room; a repeat is swallowed, and each is its own group."""
    client = aws.client("sqs")
    fifo = {"FifoQueue": "true"}
    url = client.create_queue(QueueName=f"q{uuid4().hex[:8]}.fifo", Attributes=fifo)["QueueUrl"]
    dead_url = client.create_queue(QueueName=f"d{uuid4().hex[:8]}.fifo", Attributes=fifo)["QueueUrl"]
    record = {"body": body, "messageId": str(uuid4()), "receiptHandle": "r"}
    for queue in (CompletionQueue(client, url, dead_url), DeliveryQueue(client, url, dead_url)):
        queue.bury(record, "no message of ours")
    (letter,) = client.receive_message(
        QueueUrl=dead_url,
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["MessageGroupId"],
    )["Messages"]
    assert letter["Body"] == body and letter["Attributes"]["MessageGroupId"] == record["messageId"]
    reasons = [each["StringValue"] for each in letter.get("MessageAttributes", {}).values()]
    assert reasons == (["no message of ours"] if len(body) < 100 else [])


def test_dead_letters_out_of_reach_are_unavailable(aws: boto3.Session) -> None:
    """The message comes again."""
    client = aws.client("sqs")
    with pytest.raises(Unavailable):
        CompletionQueue(client, "x", "http://127.0.0.1:1/nowhere").bury({"body": "b", "messageId": "m"}, "why")
