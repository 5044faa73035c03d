"""Dead letters on SQS's own protocol: looking keeps them, redriving never loses one, whoever is cut short goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from chalicelib.contract.errors import Rejected, Unavailable
from infra.dead_letters import DeadLetters, Letter, Moved, read_ids
from infra.dlq import not_found

ID = "0999bb5e-70de-50af-a875-4e49c05ff925"


class Post:
    """Hold a queue and its dead letters in the local cloud, standard or FIFO."""

    def __init__(self, aws: boto3.Session, *, is_fifo: bool) -> None:
        self.sqs: Any = aws.client("sqs")
        self._is_fifo = is_fifo
        ending, more = (".fifo", {"FifoQueue": "true"}) if is_fifo else ("", {})
        name = uuid4().hex[:10]
        self.source = self.sqs.create_queue(QueueName=f"{name}{ending}", Attributes=more)["QueueUrl"]
        self.dead = self.sqs.create_queue(QueueName=f"{name}-dlq{ending}", Attributes=more)["QueueUrl"]

    def letters(self, sqs: Any = None) -> DeadLetters:
        queue = "completions" if self._is_fifo else "jobs"
        return DeadLetters(sqs or self.sqs, queue, self.source, self.dead)

    def bury(self, body: str, group: str = "g") -> str:
        more = {"MessageGroupId": group, "MessageDeduplicationId": uuid4().hex} if self._is_fifo else {}
        return str(self.sqs.send_message(QueueUrl=self.dead, MessageBody=body, **more)["MessageId"])

    def counts(self) -> tuple[int, int]:
        """Count what is in the queue, and in its dead letters."""
        name = "ApproximateNumberOfMessages"
        asked = [self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name]) for url in (self.source, self.dead)]
        return int(asked[0]["Attributes"][name]), int(asked[1]["Attributes"][name])

    def bodies(self) -> list[dict[str, Any]]:
        """Take what is in the queue."""
        told = self.sqs.receive_message(
            QueueUrl=self.source, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        ).get("Messages", [])
        return [{**json.loads(each["Body"]), "group": each["Attributes"].get("MessageGroupId")} for each in told]


class Cut:
    """Be SQS until the *number*-th call of *operation*, which the line does not survive."""

    def __init__(self, sqs: Any, operation: str, number: int) -> None:
        self._sqs, self._operation, self._left = sqs, operation, number

    def __getattr__(self, name: str) -> Any:
        if name == self._operation:
            self._left -= 1
            if self._left == 0:
                raise ConnectionError("the line is dead")
        return getattr(self._sqs, name)


def news(seq: int) -> str:
    return json.dumps({"job_id": ID, "seq": seq})


def hint(version: int) -> str:
    return json.dumps({"job_id": ID, "version": version})


def quiet(_letter: Letter) -> None:
    return None


@pytest.fixture
def post(aws: boto3.Session) -> Post:
    return Post(aws, is_fifo=False)


@pytest.fixture
def fifo(aws: boto3.Session) -> Post:
    return Post(aws, is_fifo=True)


def test_looking_keeps_every_letter(post: Post) -> None:
    """More than one call holds, each once; all are there afterwards, at once."""
    ids = {post.bury(news(number)) for number in range(1, 13)}
    assert {letter.id for letter in post.letters().peek(100)} == ids
    assert len(post.letters().peek(5)) == 5
    assert post.counts() == (0, 12)


def test_what_can_be_read_goes_back_and_the_rest_stays(post: Post) -> None:
    """With the fairness group of its client; one that nobody can read is left where it is."""
    post.bury(news(1)), post.bury("nonsense"), post.bury(news(2))
    moved = post.letters().redrive(None, lambda meaning: f"client of {meaning.job_ids[0][:4]}", quiet)
    assert moved == Moved(2, 1, by_task=False)
    assert post.counts() == (2, 1)
    assert [(each["seq"], each["group"]) for each in post.bodies()] == [(1, "client of 0999"), (2, "client of 0999")]


def test_one_letter_goes_back_by_the_start_of_its_id(post: Post) -> None:
    """Also one that cannot be read, when it is asked for; the others stay."""
    post.bury(news(1))
    wanted = post.bury('{"hello": 1}')
    assert post.letters().redrive([wanted[:8]], lambda _meaning: "", quiet).moved == 1
    assert post.counts() == (1, 1)
    with pytest.raises(Rejected, match="too short"):
        read_ids(["abc"])


@pytest.mark.parametrize("operation", ["send_message", "delete_message"])
def test_whoever_is_cut_short_loses_nothing_and_goes_on(post: Post, operation: str) -> None:
    """Between sending and deleting a letter may go twice, for all are hints; none is lost, and none stays hidden."""
    for number in (1, 2, 3):
        post.bury(news(number))
    with pytest.raises(ConnectionError):
        post.letters(Cut(post.sqs, operation, 2)).redrive(None, lambda _meaning: "", quiet)
    sent = 1 if operation == "send_message" else 2
    assert post.counts() == (sent, 2), "those that were not deleted are back at once"
    assert post.letters().redrive(None, lambda _meaning: "", quiet).moved == 2
    assert {each["seq"] for each in post.bodies()} == {1, 2, 3}


def test_a_fifo_letter_goes_back_once_and_in_its_group(fifo: Post) -> None:
    """Sent and not deleted, it is sent again: within five minutes the queue takes it once. The order is kept."""
    for number in (1, 2):
        fifo.bury(hint(number), group="sheet-1")
    with pytest.raises(ConnectionError):
        fifo.letters(Cut(fifo.sqs, "delete_message", 1)).redrive(None, lambda _meaning: "", quiet)
    assert fifo.letters().redrive(None, lambda _meaning: "", quiet).moved == 2
    assert [(each["version"], each["group"]) for each in fifo.bodies()] == [(1, "sheet-1"), (2, "sheet-1")]


def test_letters_behind_ten_that_nobody_can_read_are_counted(fifo: Post) -> None:
    """SQS shows ten of a FIFO group; what is behind them is not passed over in silence."""
    for number in range(10):
        fifo.bury(f"nonsense {number}", group="sheet-1")
    behind = [fifo.bury(hint(number), group="sheet-1") for number in (1, 2)]
    fifo.bury(hint(3), group="sheet-2")
    letters = fifo.letters()
    assert letters.redrive(None, lambda _meaning: "", quiet) == Moved(1, 10, by_task=False, unseen=2)
    assert letters.redrive(behind[:1], lambda _meaning: "", quiet).moved == 0
    assert "redrive or drop those before it" in not_found("completions", 1, is_fifo=letters.is_fifo)
    assert "before it" not in not_found("jobs", 1, is_fifo=False)


def test_what_is_dropped_was_written_down_first(post: Post) -> None:
    """When it cannot be written down, nothing is deleted."""
    post.bury(news(1)), post.bury(news(2))

    def full(_batch: Sequence[Letter]) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        post.letters().drop(None, full)
    kept: list[Letter] = []
    assert post.letters().drop(None, kept.extend) == 2
    assert sorted(letter.body for letter in kept) == [news(1), news(2)] and post.counts() == (0, 0)


class Mover:
    """Be an SQS that moves letters by itself, as AWS does (API reference, StartMessageMoveTask)."""

    def __init__(self, *stands: dict[str, Any], refusal: str = "") -> None:
        self._stands = list(stands)
        self._refusal = refusal
        self.asked: dict[str, str] = {}

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        return {"Attributes": {"QueueArn": f"arn:{QueueUrl}"}}

    def start_message_move_task(self, **call: str) -> dict[str, str]:
        if self._refusal:
            raise ClientError({"Error": {"Code": self._refusal, "Message": "no"}}, "StartMessageMoveTask")
        self.asked = call
        return {"TaskHandle": "t1"}

    def list_message_move_tasks(self, *, SourceArn: str) -> dict[str, Any]:
        return {"Results": [self._stands.pop(0)]}


def move(mover: Mover, say: Callable[[int], None] = lambda _count: None) -> tuple[Moved | None, list[float]]:
    waits: list[float] = []
    return DeadLetters(mover, "jobs", "source", "dead").move_all(waits.append, say), waits


def test_sqs_moves_all_itself_where_it_can() -> None:
    """From the dead letters to their queue; it is waited for, and how far it is is told."""
    running = {"TaskHandle": "t1", "Status": "RUNNING", "ApproximateNumberOfMessagesMoved": 40}
    mover = Mover(running, {"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 100})
    counts: list[int] = []
    assert move(mover, counts.append) == (Moved(100, 0, by_task=True), [1.0])
    assert counts == [40, 100]
    assert mover.asked == {"SourceArn": "arn:dead", "DestinationArn": "arn:source"}


def test_where_sqs_cannot_it_is_done_by_hand() -> None:
    """An engine without the call, and a queue that it refuses; any other refusal is told."""
    for code in ("InvalidAction", "AWS.SimpleQueueService.UnsupportedOperation"):
        assert move(Mover(refusal=code)) == (None, [])
    with pytest.raises(ClientError, match="AccessDenied"):
        move(Mover(refusal="AccessDenied"))
    with pytest.raises(Unavailable, match="moved 3 letters, then it stopped: no key"):
        move(Mover({"Status": "FAILED", "FailureReason": "no key", "ApproximateNumberOfMessagesMoved": 3}))
