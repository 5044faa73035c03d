"""Stand in for EC2 Auto Scaling and for the book of its groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from chalicelib.group_book import Group, Known


class MemoryGroups:
    """Be the twin of `chalicelib.group_book.DynamoGroups`; one suite judges both."""

    def __init__(self) -> None:
        self._kept: dict[str, Group] = {}

    def read(self, group: str) -> Group:
        return self._kept.get(group, Group())

    def want(self, group: str, desired: int, now: int) -> None:
        self._kept[group] = replace(self.read(group), desired=desired, desired_at=now)

    def note(self, group: str, instance: str, what: str, at: int) -> None:
        there = self.read(group)
        known = replace(there.instances.get(instance, Known()), **{what: at})
        self._kept[group] = replace(there, instances={**there.instances, instance: known})

    def note_refused(self, group: str, at: int) -> None:
        self._kept[group] = replace(self.read(group), refused_at=at)

    def end(self, group: str, instance: str, now: int) -> None:
        self.note(group, instance, "ending_at", now)
        self._kept[group] = replace(self.read(group), desired=self.read(group).desired - 1)

    def forget(self, group: str, instance: str) -> None:
        there = self.read(group)
        left = {name: known for name, known in there.instances.items() if name != instance}
        self._kept[group] = replace(there, instances=left)


class PaperGroup:
    """
    Be EC2 Auto Scaling with one group: keep as many instances as are wanted, and tell of each launch and end.

    Written by its API reference and the events' page of its user guide; how AWS itself behaves is in
    docs/verify-live.md. *stock* bounds what EC2 has; *tells* False: events get lost.
    """

    def __init__(self, name: str, now_ms: Callable[[], int], most: int = 10) -> None:
        self.name = name
        self.most = most
        self.stock = 100
        self.tells = True
        self.held = ""
        """An instance that cannot be ended: another activity is under way."""
        self.desired = 0
        self.instances: list[str] = []
        self.calls: list[int] = []
        self.listen: Callable[[str, dict[str, object]], None] = lambda _kind, _detail: None
        self._now_ms = now_ms
        self._made = 0

    def set_desired_capacity(self, *, AutoScalingGroupName: str, DesiredCapacity: int, HonorCooldown: bool) -> object:
        if AutoScalingGroupName != self.name:
            raise self._fault(f"AutoScalingGroup name not found - {AutoScalingGroupName}")
        if DesiredCapacity > self.most:
            raise self._fault(f"New SetDesiredCapacity value {DesiredCapacity} is above max value {self.most}")
        self.calls.append(DesiredCapacity)
        self.desired = DesiredCapacity
        self.settle()
        return {}

    def terminate_instance_in_auto_scaling_group(
        self, *, InstanceId: str, ShouldDecrementDesiredCapacity: bool
    ) -> object:
        if InstanceId == self.held:
            raise self._fault("Activity is in progress.", "ScalingActivityInProgress")
        if InstanceId not in self.instances:
            raise self._fault(f"Instance Id not found - No managed instance found for instance ID: {InstanceId}")
        self.desired -= ShouldDecrementDesiredCapacity
        self.lose(InstanceId)
        return {"Activity": {"StatusCode": "InProgress"}}

    def settle(self) -> None:
        """Launch what is missing, as far as there is stock."""
        while len(self.instances) < self.desired:
            if len(self.instances) >= self.stock:
                self._tell("EC2 Instance Launch Unsuccessful", "", "There is no Spot capacity available.")
                return
            self.instances.append(f"i-{self._made:017x}")
            self._made += 1
            self._tell("EC2 Instance Launch Successful", self.instances[-1])

    def lose(self, instance: str) -> None:
        """End an instance; the group replaces it if that leaves too few."""
        self.instances.remove(instance)
        shrinks = len(self.instances) >= self.desired
        self._tell("EC2 Instance Terminate Successful", instance, shrinks=shrinks)
        self.settle()

    def _tell(self, kind: str, instance: str, why: str = "", *, shrinks: bool = False) -> None:
        at = (
            datetime.fromtimestamp(self._now_ms() / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )
        detail: dict[str, object] = {
            "AutoScalingGroupName": self.name,
            "EC2InstanceId": instance,
            "StartTime": at,
            "EndTime": at,
            "StatusMessage": why,
            "Cause": f"At {at} instance {instance} was taken out of service in response to a "
            + ("user request, shrinking the capacity from 2 to 1." if shrinks else "spot interruption."),
        }
        if self.tells:
            self.listen(kind, detail)

    @staticmethod
    def _fault(message: str, code: str = "ValidationError") -> ClientError:
        return ClientError({"Error": {"Code": code, "Message": message}}, "AutoScaling")
