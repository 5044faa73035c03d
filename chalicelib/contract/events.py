"""
Shape the messages. All of them are hints: who gets one reads the job item before acting.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

MAX_BODY_BYTES: Final = 4096
"""A message of ours is under 300 bytes; anything much larger is not ours."""


class Message(BaseModel):
    """Set what all messages share: strict types, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class JobMessage(Message):
    """Tell a worker that job *job_id* waits; *seq* must be the job's newest, or the message is stale."""

    job_id: str = Field(min_length=36, max_length=36)
    seq: int = Field(ge=1)


class Hint(Message):
    """Tell completion that *job_id* has news of *version*."""

    job_id: str = Field(min_length=36, max_length=36)
    version: int = Field(ge=1)


def hint_dedup_id(hint: Hint, sweep_minute: int | None = None) -> str:
    """
    Name a hint for the FIFO queue's 5-minute memory.

    The sweeper adds its minute: with the plain id a re-hint within 5 minutes of a consumed one is silently swallowed.
    """
    suffix = "" if sweep_minute is None else f":s{sweep_minute}"
    return f"{hint.job_id}:{hint.version}{suffix}"
