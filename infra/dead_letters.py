"""
Look into a dead-letter queue without emptying it, send its letters back, or throw them away.

A letter is sent first and deleted afterwards: whoever is cut short in between sends it twice, and nothing is ever lost.
All our messages are hints, so twice is as good as once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError
from pydantic import ValidationError

from chalicelib.contract.deliveries import LaneHint
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.events import Check, Ended, Errand, Hint, JobMessage, read_news

IN_HAND_S: Final = 120
"""How long nobody else sees what is looked at; it is put back as soon as it was."""
_NO_TASKS: Final = ("InvalidAction", "UnsupportedOperation")


@dataclass(frozen=True)
class Letter:
    """Hold one dead letter as it was received. Times are ms since the epoch."""

    id: str
    receipt: str
    body: str
    sent_at: int
    receives: int
    """How often it was received so far, this time included."""
    group: str
    """Its FIFO or fairness group; empty: it has none."""
    reason: str
    """Why a worker put it there; empty: nobody did, it came too often."""


@dataclass(frozen=True)
class Meaning:
    """Say what a letter is about, if it is one of ours."""

    what: str
    is_ours: bool = True
    job_ids: tuple[str, ...] = ()
    seq: int | None = None
    """Of a job's message: only the newest of its job counts."""


@dataclass(frozen=True)
class Moved:
    """Say what became of a redrive; *unreadable*: letters that were left, for nobody can read them."""

    moved: int
    unreadable: int
    by_task: bool
    unseen: int = 0
    """Letters, about, that wait in a FIFO group behind unreadable ones."""


def meaning_of(queue: str, body: str) -> Meaning:
    """Read a letter of the queue *queue* (jobs, completions, deliveries)."""
    try:
        if queue == "jobs":
            message = JobMessage.model_validate_json(body)
            return Meaning(f"message {message.seq} of a job", job_ids=(message.job_id,), seq=message.seq)
        if queue == "deliveries":
            hint = LaneHint.model_validate_json(body)
            return Meaning(f"deliveries to {hint.lane} of {hint.client_id}")
        match news := read_news(body):
            case Hint():
                return Meaning(f"news of a job, version {news.version}", job_ids=(news.job_id,))
            case Ended():
                return Meaning(f"the end of a job of {news.client_id}", job_ids=(news.ended,))
            case Check():
                return Meaning(f"a second look at {len(news.check)} rows", job_ids=tuple(news.check))
            case Errand():
                return Meaning(f"the errand {news.errand} in spreadsheet {news.spreadsheet_id}")
    except ValidationError:
        pass
    return Meaning("no message of ours", is_ours=False)


class DeadLetters:
    """Reach one dead-letter queue, and the queue that its letters come from."""

    def __init__(self, sqs: Any, queue: str, source_url: str, dead_url: str) -> None:
        self.queue = queue
        self._sqs = sqs
        self._source_url = source_url
        self._url = dead_url
        self.is_fifo = dead_url.endswith(".fifo")
        """Whether of each group only the first ten letters can be reached; the others wait behind these."""

    def depth(self) -> int:
        """Count the letters, about; those that somebody has in hand count."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)

    def peek(self, most: int) -> list[Letter]:
        """
        Look at up to *most* letters and put them back. Their receive count rises; here that has no further effect.

        Of a FIFO group ten are seen at most: the others wait behind these.
        """
        seen: list[Letter] = []
        try:
            for batch in self._batches(most):
                seen += batch
                if len(seen) >= most:
                    break
        finally:
            self._put_back(seen)
        return seen[:most]

    def redrive(
        self, ids: Collection[str] | None, group_of: Callable[[Meaning], str], say: Callable[[Letter], None]
    ) -> Moved:
        """
        Send letters back to their queue one by one: those of *ids*, or all that can be read (None).

        *group_of* names the fairness group of a letter that lost it; *say* is told of each that was sent. Whoever is
        cut short calls it again. Ten letters of a FIFO group that are left keep those behind them from being seen.
        """
        aside: list[Letter] = []
        moved = unreadable = 0
        try:
            for batch in self._batches():
                aside += batch
                for letter in batch:
                    meaning = meaning_of(self.queue, letter.body)
                    if not _wanted(letter, ids) or (ids is None and not meaning.is_ours):
                        unreadable += ids is None
                        continue
                    self._send_back(letter, letter.group or group_of(meaning))
                    self._delete(letter)
                    aside.remove(letter)
                    moved += 1
                    say(letter)
                if ids is not None and moved == len(ids):
                    break
        finally:
            self._put_back(aside)
        unseen = self.depth() - unreadable if unreadable and self.is_fifo else 0
        return Moved(moved, unreadable, by_task=False, unseen=max(0, unseen))

    def move_all(self, wait: Callable[[float], None], say: Callable[[int], None]) -> Moved | None:
        """
        Have SQS itself move all letters, the unreadable too; None: it cannot. *say* is told how many were moved so far.

        Raise `Unavailable` when the task fails. It goes on when nobody waits for it.
        """
        dead, source = self._arn(self._url), self._arn(self._source_url)
        try:
            handle = self._sqs.start_message_move_task(SourceArn=dead, DestinationArn=source)["TaskHandle"]
        except ClientError as error:
            if error.response["Error"]["Code"].rpartition(".")[2] in _NO_TASKS:
                return None
            raise
        while True:
            # A task that has ended has no handle any more; the newest comes first.
            tasks: Sequence[Mapping[str, Any]] = self._sqs.list_message_move_tasks(SourceArn=dead)["Results"]
            task = next((each for each in tasks if each.get("TaskHandle") == handle), tasks[0] if tasks else {})
            moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
            say(moved)
            if task.get("Status") == "COMPLETED":
                return Moved(moved, 0, by_task=True)
            if task.get("Status") in ("FAILED", "CANCELLED"):
                why = task.get("FailureReason", task["Status"])
                raise Unavailable(f"SQS moved {moved} letters, then it stopped: {why}. Run it again for the rest.")
            wait(1.0)

    def drop(self, ids: Collection[str] | None, keep: Callable[[Sequence[Letter]], None]) -> int:
        """Delete the letters of *ids*, or all (None); *keep* writes each batch down before it goes. Answer how many."""
        aside: list[Letter] = []
        dropped = 0
        try:
            for batch in self._batches():
                aside += batch
                wanted = [letter for letter in batch if _wanted(letter, ids)]
                if wanted:
                    keep(wanted)
                for letter in wanted:
                    self._delete(letter)
                    aside.remove(letter)
                    dropped += 1
                if ids is not None and dropped == len(ids):
                    break
        finally:
            self._put_back(aside)
        return dropped

    # -- parts --------------------------------------------------------------------------------------------------

    def _batches(self, most: int | None = None) -> Iterator[list[Letter]]:
        """Receive ten by ten, each letter once, until there are no more (or *most* were received)."""
        taken: set[str] = set()
        while most is None or len(taken) < most:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(10, 10 if most is None else most - len(taken)),
                VisibilityTimeout=IN_HAND_S,
                # Asks all of SQS's servers; without waiting a short queue often looks empty.
                WaitTimeSeconds=1,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["reason"],
            )
            batch = [_letter(message) for message in answer.get("Messages", [])]
            fresh = [letter for letter in batch if letter.id not in taken]
            if not fresh:
                return
            taken |= {letter.id for letter in fresh}
            yield fresh

    def _send_back(self, letter: Letter, group: str) -> None:
        call: dict[str, Any] = {"QueueUrl": self._source_url, "MessageBody": letter.body}
        if group or self.is_fifo:
            call["MessageGroupId"] = group or "redriven"
        if self.is_fifo:
            # Within five minutes the same letter counts once, should we be cut short and begin again.
            call["MessageDeduplicationId"] = f"redriven:{letter.id}"
        self._sqs.send_message(**call)

    def _delete(self, letter: Letter) -> None:
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt)

    def _put_back(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            # One whose time in hand is over is back already, and SQS says so.
            with contextlib.suppress(ClientError):
                self._sqs.change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=letter.receipt, VisibilityTimeout=0
                )

    def _arn(self, url: str) -> str:
        told = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(told["Attributes"]["QueueArn"])


def _wanted(letter: Letter, ids: Collection[str] | None) -> bool:
    """Say whether a letter is meant; an id may be cut to its beginning, as it is shown."""
    return ids is None or any(letter.id.startswith(each) for each in ids)


def read_ids(words: Sequence[str]) -> list[str]:
    """Check ids from the command line; raise `Rejected` (bad_id) for one that is too short to mean a single letter."""
    for word in words:
        if len(word) < 8:
            raise Rejected("bad_id", f"--id {word} is too short: give at least 8 characters of it.")
    return list(dict.fromkeys(words))


def _letter(message: Mapping[str, Any]) -> Letter:
    told: Mapping[str, str] = message.get("Attributes", {})
    return Letter(
        id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        sent_at=int(told.get("SentTimestamp", "0")),
        receives=int(told.get("ApproximateReceiveCount", "1")),
        group=told.get("MessageGroupId", ""),
        reason=message.get("MessageAttributes", {}).get("reason", {}).get("StringValue", ""),
    )
