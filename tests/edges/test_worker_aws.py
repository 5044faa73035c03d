"""Judge the worker's AWS edges on the local cloud: queue, hints, bucket, and the clock in the answers."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import MAX_MESSAGE_BYTES, Ended, Hint, JobMessage, read_news
from tests.jobs import NOW
from worker.aws import DateSkew, renamed
from worker.blobs import S3Blobs
from worker.hints import SqsHints
from worker.inbox import SqsInbox

MESSAGE = JobMessage(job_id=str(uuid4()), seq=3)


class Queues:
    """Hold a jobs queue, its dead-letter queue and an inbox on them."""

    def __init__(self, aws: boto3.Session) -> None:
        self.client: Any = aws.client("sqs")
        self.url = self.client.create_queue(QueueName=f"jobs-{uuid4().hex}")["QueueUrl"]
        self.dlq_url = self.client.create_queue(QueueName=f"dlq-{uuid4().hex}")["QueueUrl"]
        self.inbox = SqsInbox(self.client, self.url, self.dlq_url, visibility_s=30)

    def send(self, body: str = MESSAGE.model_dump_json()) -> None:
        self.client.send_message(QueueUrl=self.url, MessageBody=body, MessageGroupId="client-1")


@pytest.fixture
def queues(aws: boto3.Session) -> Queues:
    return Queues(aws)


def test_a_message_is_taken_with_its_receive_count(queues: Queues) -> None:
    """One receiver at a time; given back it is there at once, counted."""
    queues.send()
    first = queues.inbox.take(1)
    assert first is not None and (first.message, first.receives) == (MESSAGE, 1)
    assert queues.inbox.take(0) is None
    queues.inbox.hide(first, 0)
    second = queues.inbox.take(5)
    assert second is not None and second.receives == 2
    queues.inbox.drop(second)
    assert queues.inbox.take(0) is None


def test_hidden_seconds_are_rounded_up_and_bounded(queues: Queues) -> None:
    """SQS takes whole seconds to 12 hours; a fraction less would show the message before its job may be claimed."""
    queues.send()
    delivery = queues.inbox.take(1)
    assert delivery is not None
    queues.inbox.hide(delivery, 0.2)
    assert queues.inbox.take(0) is None
    again = queues.inbox.take(5)
    assert again is not None
    queues.inbox.hide(again, 10**9)
    assert queues.inbox.take(0) is None


def test_what_cannot_be_read_is_buried_with_its_reason(queues: Queues) -> None:
    """Body unchanged, reason as an attribute, and gone from the jobs queue."""
    queues.send('{"job_id": 1}')
    delivery = queues.inbox.take(1)
    assert delivery is not None and delivery.message is None
    assert queues.inbox.bury(delivery, delivery.fault)
    answer = queues.client.receive_message(QueueUrl=queues.dlq_url, WaitTimeSeconds=2, MessageAttributeNames=["All"])
    (message,) = answer["Messages"]
    assert message["Body"] == '{"job_id": 1}'
    assert "no job message" in message["MessageAttributes"]["reason"]["StringValue"]
    assert queues.inbox.take(0) is None


def test_the_largest_message_is_buried_without_a_reason(queues: Queues) -> None:
    """SQS counts attributes into its 1 MiB: beside a body of that size there is no room for one."""
    queues.send("x" * MAX_MESSAGE_BYTES)
    delivery = queues.inbox.take(1)
    assert delivery is not None and queues.inbox.bury(delivery, delivery.fault)
    (message,) = queues.client.receive_message(QueueUrl=queues.dlq_url, WaitTimeSeconds=2)["Messages"]
    assert message["Body"] == "x" * MAX_MESSAGE_BYTES


def test_without_a_dead_letter_queue_nothing_is_buried(queues: Queues) -> None:
    """The message stays for the queue's own redrive."""
    inbox = SqsInbox(queues.client, queues.url, None, visibility_s=30)
    queues.send("x")
    delivery = inbox.take(1)
    assert delivery is not None
    assert not inbox.bury(delivery, "r")


def test_a_queue_that_is_not_there_is_unavailable(queues: Queues) -> None:
    """The slot waits and asks again; it may be created."""
    inbox = SqsInbox(queues.client, queues.url + "-gone", None, visibility_s=30)
    with pytest.raises(Unavailable):
        inbox.take(0)


def test_a_hint_arrives_once_in_its_sheet_s_group(aws: boto3.Session) -> None:
    """The same version twice within five minutes is one message; the group is the sheet."""
    client: Any = aws.client("sqs")
    url = client.create_queue(QueueName=f"c-{uuid4().hex}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    hints, hint = SqsHints(client, url), Hint(job_id=str(uuid4()), version=2)
    hints.send(hint, "sheet-1")
    hints.send(hint, "sheet-1")
    answer = client.receive_message(
        QueueUrl=url, WaitTimeSeconds=2, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    )
    (message,) = answer["Messages"]
    assert json.loads(message["Body"]) == {"job_id": hint.job_id, "version": 2}
    assert message["Attributes"]["MessageGroupId"] == "sheet-1"
    with pytest.raises(Unavailable):
        SqsHints(client, url + "x").send(hint, "sheet-1")


@pytest.fixture
def bucket(aws: boto3.Session) -> str:
    name = f"bucket-{uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=name)
    return name


def test_a_file_is_written_once_and_read_back_exactly(aws: boto3.Session, bucket: str) -> None:
    """A second write of the same key changes nothing and is no error: it is our own, repeated."""
    client = aws.client("s3")
    blobs = S3Blobs(client, bucket)
    blobs.put("outputs/a.png", b"one", "image/png")
    blobs.put("outputs/a.png", b"two", "image/png")
    assert blobs.get("outputs/a.png") == b"one"
    head = client.head_object(Bucket=bucket, Key="outputs/a.png")
    assert (head["ContentType"], head["ContentDisposition"]) == ("image/png", "inline")
    assert blobs.get("outputs/none.png") is None


def test_bytes_of_unknown_kind_are_downloads(aws: boto3.Session, bucket: str) -> None:
    """A browser that opens the link saves the file; it does not run it."""
    client = aws.client("s3")
    S3Blobs(client, bucket).put("outputs/b.bin", b"<svg/>", "application/octet-stream")
    assert client.head_object(Bucket=bucket, Key="outputs/b.bin")["ContentDisposition"] == "attachment"


def test_a_bucket_that_is_not_there_is_unavailable(aws: boto3.Session) -> None:
    """The job waits; the picture is rendered again rather than lost."""
    with pytest.raises(Unavailable):
        S3Blobs(aws.client("s3"), f"gone-{uuid4().hex}").put("k", b"x", "text/plain")


def test_refused_access_is_no_hiccup() -> None:
    """A wrong policy is told by a crash with its name, not by endless retries."""
    error: Any = {"Error": {"Code": "AccessDenied", "Message": "no"}}
    with pytest.raises(ClientError), renamed("The bucket"):
        raise ClientError(error, "PutObject")


@pytest.mark.parametrize("ahead_s", [0, 42, -3600])
def test_the_clock_s_fault_is_read_from_a_date_header(ahead_s: int) -> None:
    """Positive: this machine is ahead. A header that is no date changes nothing."""
    gauge = DateSkew(lambda: NOW + ahead_s * 1000)
    gauge.note(formatdate(NOW / 1000, usegmt=True))
    gauge.note("no date")
    assert abs(gauge.skew_s - ahead_s) <= 0.5


def test_word_of_ends_goes_by_client_and_once(aws: boto3.Session) -> None:
    """A repeat within five minutes is swallowed by its name."""
    client: Any = aws.client("sqs")
    url = client.create_queue(QueueName=f"c-{uuid4().hex}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    ends = [Ended(ended=str(uuid4()), client_id=name) for name in ("a", "b")]
    assert SqsHints(client, url).tell_ends(ends) == set() == SqsHints(client, url).tell_ends(ends[:1])
    answer = client.receive_message(
        QueueUrl=url, WaitTimeSeconds=2, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    )
    told = [(read_news(each["Body"]), each["Attributes"]["MessageGroupId"]) for each in answer["Messages"]]
    assert told == [(end, f"ended:{end.client_id}") for end in ends]
