"""Publish events on an EventBridge bus (Classic: `events`, as Chalice and the local engines know it)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from worker.aws import renamed
from worker.ports import Event

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE: Final = "comfyui.monitor"


class EventBus:
    """Send to the bus *bus_name*."""

    def __init__(self, client: EventBridgeClient, bus_name: str) -> None:
        self._client = client
        self._bus_name = bus_name

    def send(self, events: Sequence[Event]) -> int:
        """Send up to ten events; how many were not taken (200 with some of them refused is a normal answer)."""
        with renamed("The event bus", optional=True):
            answer = self._client.put_events(
                Entries=[
                    {
                        "EventBusName": self._bus_name,
                        "Source": SOURCE,
                        "DetailType": event.kind,
                        "Detail": event.detail_json(),
                    }
                    for event in events
                ]
            )
        return answer.get("FailedEntryCount", 0)
