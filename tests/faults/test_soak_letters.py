"""The judge of dead letters sees what is missing and what does not belong there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faults.soak.letters import Letters


class Queue:
    """Be the queues of jobs: ten letters at a time, and one message that is still hidden."""

    def __init__(self, *bodies: str) -> None:
        self._letters = dict(enumerate(bodies))

    def receive_message(self, **_: object) -> dict[str, Any]:
        return {"Messages": [{"Body": body, "ReceiptHandle": n} for n, body in list(self._letters.items())[:10]]}

    def delete_message(self, *, QueueUrl: str, ReceiptHandle: int) -> None:
        del self._letters[ReceiptHandle]

    def get_queue_attributes(self, **_: object) -> dict[str, Any]:
        return {"Attributes": {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "1"}}


def found(sent: list[str], *there: str) -> list[str]:
    """Look once for what was *sent* among what is *there*."""
    urls = {"JobsDeadLettersUrl": "dead", "JobsQueueUrl": "jobs"}
    letters = Letters(SimpleNamespace(sqs=Queue(*there), outputs=urls))  # type: ignore[arg-type]
    letters.wait(sent, 0)
    return letters.breaches(sent)


def test_letters_that_are_all_there_are_right() -> None:
    """Also those that were buried twice, and more than one answer holds."""
    many = [f"{n}" for n in range(25)]
    assert found(many, *many, "3") == []


def test_a_letter_that_is_missing_is_seen_and_where_it_may_be() -> None:
    """P10: each one; two of a kind are two."""
    wrong = found(["{}", "{}"], "{}")
    assert len(wrong) == 2 and "1 MessagesNotVisible" in wrong[1]


def test_a_message_of_ours_among_the_letters_is_seen() -> None:
    """P10: what is well formed has no business there."""
    assert len(found(["{}"], "{}", '{"job_id": "x"}')) == 1
