"""
Read the Lambdas' settings from an environment mapping, once, and name every fault at once.

Durations have defaults, places never do. infra/template.py sets all of these by reference.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chalicelib.contract.addresses import Networks, read_networks

MAX_BODY_BYTES = 256 * 1024
"""A request body larger than this is refused before it is parsed."""


class SettingsError(Exception):
    """Say which settings are missing or wrong, all in one message."""


class Settings(BaseModel):
    """Hold where everything is. Field aliases are the names in the environment."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    stage: str = Field(alias="STAGE", min_length=1)
    jobs_table: str = Field(alias="JOBS_TABLE", min_length=1)
    keys_table: str = Field(alias="KEYS_TABLE", min_length=1)
    nonces_table: str = Field(alias="NONCES_TABLE", min_length=1)
    sheets_table: str = Field(alias="SHEETS_TABLE", min_length=1)
    rates_table: str = Field(alias="RATES_TABLE", min_length=1)
    workers_table: str = Field(alias="WORKERS_TABLE", min_length=1)
    jobs_queue_url: str = Field(alias="JOBS_QUEUE_URL", min_length=1)
    completions_queue_url: str = Field(alias="COMPLETIONS_QUEUE_URL", min_length=1)
    webhooks_table: str = Field(alias="WEBHOOKS_TABLE", min_length=1)
    deliveries_queue_url: str = Field(alias="DELIVERIES_QUEUE_URL", min_length=1)
    bus_name: str = Field(alias="EVENTBRIDGE_BUS_NAME", min_length=1)
    bucket: str = Field(alias="S3_BUCKET", min_length=1)
    secrets_prefix: str = Field(alias="SECRETS_PREFIX", min_length=1)
    google_secret_id: str = Field(alias="GOOGLE_SECRET_ID", min_length=1)
    completions_dlq_url: str = Field(default="", alias="COMPLETIONS_DLQ_URL")
    deliveries_dlq_url: str = Field(default="", alias="DELIVERIES_DLQ_URL")
    """Where messages go that nobody can read; empty (for a moment, in an upgrade): they stay until it is known."""
    public_url: str = Field(default="", alias="PUBLIC_URL")
    """The API's address as people reach it; empty: taken from each request."""
    gpu_hour_price: float | None = Field(default=None, alias="GPU_HOUR_PRICE", ge=0)
    """What an hour of a GPU costs, in US dollars; None: costs are not shown."""
    gpu_seconds_per_day: int = Field(default=0, alias="GPU_SECONDS_PER_DAY", ge=0)
    """What the whole stage is meant to use a day (UTC), for the alarm; 0: no such bound. It stops nobody."""
    max_asset_mb: float = Field(default=32, alias="MAX_ASSET_MB", gt=0, le=4096)
    """The largest file that a client may upload; workers have a bound of their own (MAX_INPUT_MB)."""
    webhook_networks: Networks = Field(default=(), alias="WEBHOOK_NETWORKS")
    """The operator's own networks in which webhooks may be received, beside public https: `10.1.0.0/16, …`."""
    sheets_api_endpoint: str = Field(default="", alias="SHEETS_API_ENDPOINT")
    """Another address for the Sheets API; empty: Google's."""

    @field_validator("webhook_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return read_networks(value) if isinstance(value, str) else value

    @property
    def max_asset_bytes(self) -> int:
        """Give the bound of uploads in bytes."""
        return int(self.max_asset_mb * 1_000_000)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read and check the settings; raise `SettingsError` that names every variable at fault."""
    try:
        given = {name: value for name, value in environment.items() if not (name == "GPU_HOUR_PRICE" and value == "")}
        return Settings.model_validate(given)
    except ValidationError as error:
        names = sorted({str(fault["loc"][0]) for fault in error.errors()})
        raise SettingsError(
            f"These environment variables are missing or empty: {', '.join(names)}. "
            "They come from the deployed stack; deploy with `python -m infra deploy`."
        ) from None
