"""Answer a program about its own key."""

from __future__ import annotations

from pydantic import BaseModel, Field

from chalicelib.api_parts import Answer, Call
from chalicelib.contract.ports import Ledger


class MeLimits(BaseModel):
    """Say what a key may use."""

    rate_per_s: float = Field(description="Requests a second, on average.")
    burst: int = Field(description="Requests at once.")
    queued_max: int = Field(description="Open jobs of the client above which this key starts none.")
    gpu_seconds_per_day: int | None = Field(description="GPU time a day (UTC); null: without a limit.")


class MeUsed(BaseModel):
    """Say what a key has used."""

    gpu_seconds_today: float = Field(description="GPU time of this key's jobs that ended today (UTC).")
    queued: int = Field(description="Open jobs of the client, of all its keys.")


class Me(BaseModel):
    """Describe the key that asks."""

    key_id: str
    client: str = Field(description="Whose the jobs are.")
    scopes: list[str]
    spreadsheet_id: str | None = Field(description="The spreadsheet whose rows its jobs may fill; null: none.")
    limits: MeLimits
    used: MeUsed


class MeApi:
    """Answer GET /api/v2/me."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get(self, call: Call) -> Answer:
        """Say what the key may do, and what it has used; raise `Unavailable` when jobs cannot be counted."""
        key = call.caller
        me = Me(
            key_id=key.key_id,
            client=key.client_id,
            scopes=sorted(key.scopes),
            spreadsheet_id=key.spreadsheet_id or None,
            limits=MeLimits(
                rate_per_s=key.limits.rate_per_s,
                burst=key.limits.burst,
                queued_max=key.limits.queued_max,
                gpu_seconds_per_day=key.limits.gpu_s_per_day,
            ),
            used=MeUsed(
                gpu_seconds_today=key.gpu_ms_today / 1000,
                queued=self._ledger.open_jobs(key.client_id),
            ),
        )
        return Answer(200, me.model_dump(mode="json"))
