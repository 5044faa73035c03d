"""Look into the dead-letter queue of jobs: what nobody can read lies there, all of it and nothing else (P10)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sandbox.waiting import wait_until

if TYPE_CHECKING:
    from faults.farm import Farm

BURIED_WITHIN_S: Final = 60.0
"""How long a message may still be on its way when all is quiet: several visibilities and polls."""


class Letters:
    """Take the letters out; *bodies*: those found."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self.bodies: list[str] = []

    def wait(self, sent: Sequence[str], within_s: float = BURIED_WITHIN_S) -> float:
        """
        Wait until all that was *sent* is there; how long that took (s).

        What was handed to a worker that died is hidden until its visibility is over, and the quiet of jobs does not
        wait for it.
        """
        begun, wanted = time.monotonic(), Counter(sent)

        def is_buried() -> bool:
            self._take()
            return not wanted - Counter(self.bodies)

        wait_until(is_buried, within_s, 0.5)
        return round(time.monotonic() - begun, 1)

    def breaches(self, sent: Sequence[str]) -> list[str]:
        """Say what is missing, and what of ours lies there. A message may be delivered, and so buried, twice."""
        wanted, there = Counter(sent), Counter(self.bodies)
        missing = [f"a malformed message is not in the dead-letter queue: {body[:60]}" for body in wanted - there]
        ours = [f"a message of ours is in the dead-letter queue: {body[:90]}" for body in set(there) - set(wanted)]
        if missing:
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            url = self._farm.outputs["JobsQueueUrl"]
            left = self._farm.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            missing.append("in the queue of jobs are still " + ", ".join(f"{left[name]} {name[19:]}" for name in names))
        return missing + ours

    def _take(self) -> None:
        url = self._farm.outputs["JobsDeadLettersUrl"]
        while True:
            answer = self._farm.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            messages = answer.get("Messages", [])
            if not messages:
                return
            for message in messages:
                self.bodies.append(message["Body"])
                self._farm.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
