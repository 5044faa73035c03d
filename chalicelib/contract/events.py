"""
Shape the messages. All of them are hints: who gets one reads the job item before acting.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

MAX_BODY_BYTES: Final = 4096
"""A message of ours is under 300 bytes; anything much larger is not ours."""

MAX_MESSAGE_BYTES: Final = 1_048_576
"""What SQS takes in one message, attributes included (since August 2025)."""

REASON_BYTES: Final = 256
"""Of the sentence that goes with a dead letter."""

JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""A job's id as `job_id_of` makes it."""

Count = Annotated[int, Field(ge=1, lt=2**53)]
"""A number that the job table can be asked about: DynamoDB refuses one of more than 38 digits."""


class Message(BaseModel):
    """Set what all messages share: strict types, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class JobMessage(Message):
    """Tell a worker that job *job_id* waits; *seq* must be the job's newest, or the message is stale."""

    job_id: JobId
    seq: Count


class Hint(Message):
    """Tell completion that *job_id* has news of *version*."""

    job_id: JobId
    version: Count


class Ended(Message):
    """
    Tell completion that job *ended* of *client_id* has ended: the next one that is held back may go.

    A message of its own, for that of the row waits behind its spreadsheet's other news and for Google.
    """

    ended: JobId
    client_id: str = Field(min_length=1, max_length=200)


CHECKED_AT_ONCE: Final = 90
"""Jobs of one `Check`: more would not fit into a message of ours."""


class Check(Message):
    """Tell completion to look at jobs: they lag, or their rows were shown and somebody may have undone it."""

    check: list[JobId] = Field(min_length=1, max_length=CHECKED_AT_ONCE)


class Errand(Message):
    """
    Ask completion for something else about a spreadsheet, in its turn: Google has one writer per spreadsheet.

    prove: is the connecting script an editor; check: may we read and write; prepare: filter views and pictures;
    relink: find rows for results that have none; auto: start the rows that ask for it.
    """

    errand: Literal["prove", "check", "prepare", "relink", "auto"]
    spreadsheet_id: str = Field(min_length=1, max_length=200)
    id: str = Field(min_length=1, max_length=64)
    sheet_id: int = Field(default=0, ge=0, lt=2**31)
    allow_images: bool = False


News = Hint | Check | Errand | Ended


def reason_fits(body: str) -> bool:
    """Say whether the reason still fits beside *body* when it is buried: SQS counts attributes too."""
    spare = len("reason") + len("String") + REASON_BYTES
    return len(body.encode("utf-8", "surrogatepass")) + spare <= MAX_MESSAGE_BYTES


def read_news(body: str) -> News:
    """Read a message of the completions queue; raise pydantic's ValidationError when it is none."""
    return TypeAdapter(News).validate_json(body)


def errand_dedup_id(errand: Errand) -> str:
    """
    Name an errand for the FIFO queue's 5-minute memory, which is one for all groups: the spreadsheet is part of it.

    Hashed, for a name has 128 characters at most.
    """
    return f"{errand.errand}:{errand.id}:{hashlib.sha256(errand.spreadsheet_id.encode()).hexdigest()[:32]}"


def ended_group(client_id: str) -> str:
    """Name the FIFO group in which ends of *client_id*'s jobs are told."""
    return f"ended:{client_id}"


def ended_dedup_id(message: Ended) -> str:
    """Name the end of a job for the FIFO queue's 5-minute memory: it is told once."""
    return f"ended:{message.ended}"


def hint_dedup_id(hint: Hint, sweep_minute: int | None = None) -> str:
    """
    Name a hint for the FIFO queue's 5-minute memory.

    The sweeper adds its minute: with the plain id a re-hint within 5 minutes of a consumed one is silently swallowed.
    """
    suffix = "" if sweep_minute is None else f":s{sweep_minute}"
    return f"{hint.job_id}:{hint.version}{suffix}"
