"""
Rent EC2 instances through an Auto Scaling group of our own (chalicelib/contract/pool.py).

- The group is told how many it should have (SetDesiredCapacity: an absolute number, so a repeat orders nothing twice)
  and which instance to end (TerminateInstanceInAutoScalingGroup). Both can be allowed for one group alone.
- What it has is told by its events; instances whose event got lost are known by their workers' cards.
- What was ordered and has not come is listed as a machine with a made-up id; giving that back takes the order back.
- Word that nothing could be launched takes the order back too, and for a while nothing is granted: another pool's turn.
- A group has a most of its own (the workers' stack's `--max`): no more than that is granted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.card import Seen
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.pool import Machine, MachineState
from chalicelib.group_book import FORGOTTEN_MS, Group, Groups

log = logging.getLogger(__name__)

REFUSED_MS: Final = 600_000
"""How long nothing is ordered after EC2 had nothing."""
ENDING_MS: Final = 900_000
"""After which an instance that was given back counts as gone though nobody said so."""
_INSTANCE: Final = re.compile(r"(i-[0-9a-f]{8,17})(-.+)?")
_KINDS: Final = {"EC2 Instance Launch Successful": "started_at", "EC2 Instance Terminate Successful": "gone_at"}
_REFUSED: Final = "EC2 Instance Launch Unsuccessful"
_ABOVE_MOST: Final = re.compile(r"above max value (\d+)")
"""What SetDesiredCapacity says of a number above the group's MaxSize. In other words it would be refused as a whole."""


class AutoScaling(Protocol):
    """Speak to EC2 Auto Scaling (boto3's client)."""

    def set_desired_capacity(
        self, *, AutoScalingGroupName: str, DesiredCapacity: int, HonorCooldown: bool
    ) -> object: ...
    def terminate_instance_in_auto_scaling_group(
        self, *, InstanceId: str, ShouldDecrementDesiredCapacity: bool
    ) -> object: ...


class Ec2Pool:
    """Rent the instances of *group*, beside the stage's *other_groups*. *read_cards* reads the workers' cards."""

    def __init__(
        self,
        client: AutoScaling,
        groups: Groups,
        group: str,
        read_cards: Callable[[], Sequence[Seen]],
        now_ms: Callable[[], int],
        other_groups: Collection[str] = (),
    ) -> None:
        self._client = client
        self._groups = groups
        self._group = group
        self._other_groups = other_groups
        self._read_cards = read_cards
        self._now_ms = now_ms

    def machines(self) -> list[Machine]:
        """List the instances that are not gone, and what is ordered. An order that EC2 refused is taken back."""
        known, now = self._groups.read(self._group), self._now_ms()
        self._forget(known, now)
        known = self._adopt(known, now)
        missing_since = _missing_since(known)
        if known.refused_at > missing_since and _pending(known, now):
            self._want(len(_here(known, now)), now)
            known = self._groups.read(self._group)
        machines = [
            Machine(name, MachineState.STOPPING if facts.ending_at else MachineState.RUNNING, facts.started_at)
            for name, facts in known.instances.items()
            if _is_listed(known, name, now)
        ]
        pending = _pending(known, now)
        return machines + [
            Machine(f"{self._group}#{number}", MachineState.ORDERED, missing_since) for number in range(pending)
        ]

    def start(self, count: int) -> int:
        """Order *count* more; none is granted for a while after EC2 had nothing to launch."""
        known, now = self._groups.read(self._group), self._now_ms()
        if now - known.refused_at < REFUSED_MS:
            return 0
        there = len(_here(known, now)) + _pending(known, now)
        try:
            self._want(there + count, now)
        except Rejected as refused:
            most = _ABOVE_MOST.search(refused.message)
            if not most:
                raise
            count = max(0, int(most[1]) - there)
            if count:
                self._want(there + count, now)
        return count

    def stop(self, ids: Collection[str]) -> None:
        """End instances; what is only ordered is taken back. One that is refused does not keep the others."""
        known, now = self._groups.read(self._group), self._now_ms()
        ordered = [each for each in ids if each.startswith(f"{self._group}#")]
        faults: list[Rejected | Unavailable] = []
        try:
            if ordered:
                self._want(len(_here(known, now)) + max(0, _pending(known, now) - len(ordered)), now)
        except (Rejected, Unavailable) as fault:
            faults.append(fault)
        for instance in (each for each in ids if each in known.instances):
            try:
                self._end(instance, now)
            except (Rejected, Unavailable) as fault:
                faults.append(fault)
        if faults:
            raise faults[0]

    def note_event(self, kind: str, detail: Mapping[str, object]) -> None:
        """Note what an event of EC2 Auto Scaling tells of this group; any other changes nothing. `Unavailable`."""
        if detail.get("AutoScalingGroupName") != self._group:
            return
        told = str(detail.get("EndTime") or detail.get("StartTime") or "")
        at = int(datetime.fromisoformat(told).timestamp() * 1000) if told else self._now_ms()
        instance = str(detail.get("EC2InstanceId") or "")
        if kind == _REFUSED:
            reason = str(detail.get("StatusMessage"))[:500]
            log.warning("EC2 launched nothing", extra={"group": self._group, "reason": reason})
            self._groups.note_refused(self._group, self._now_ms())
        elif kind in _KINDS and instance:
            # It costs since it was launched, which is some seconds before the group calls it in service.
            begun = str(detail.get("StartTime") or "")
            if kind == "EC2 Instance Launch Successful" and begun:
                at = int(datetime.fromisoformat(begun).timestamp() * 1000)
            elif self._shrank(instance, detail):
                self._groups.end(self._group, instance, at)
            self._groups.note(self._group, instance, _KINDS[kind], at)

    def _shrank(self, instance: str, detail: Mapping[str, object]) -> bool:
        """
        Say whether the group wants one less because somebody else ended *instance*: the worker itself, or a person.

        "… was taken out of service in response to a user request, shrinking the capacity from 2 to 1." (its activities'
        causes). A spot machine that EC2 took is replaced, and the cause says nothing of shrinking.
        """
        known = self._groups.read(self._group).instances.get(instance)
        is_news = known is not None and not known.ending_at and not known.gone_at
        return is_news and "shrinking the capacity" in str(detail.get("Cause"))

    def _want(self, desired: int, now: int) -> None:
        """Say how many there should be. Raises `Rejected`, which leaves no trace, and `Unavailable`."""
        before = self._groups.read(self._group)
        # Written first: when the answer is lost, the number stands and can be said again.
        self._groups.want(self._group, desired, now)
        try:
            self._client.set_desired_capacity(
                AutoScalingGroupName=self._group, DesiredCapacity=desired, HonorCooldown=False
            )
        except ClientError as error:
            fault = self._renamed(error)
            if isinstance(fault, Rejected):
                self._groups.want(self._group, before.desired, before.desired_at)
            raise fault from error
        except BotoCoreError as error:
            raise Unavailable("EC2 Auto Scaling cannot be reached.") from error

    def _end(self, instance: str, now: int) -> None:
        try:
            self._client.terminate_instance_in_auto_scaling_group(
                InstanceId=instance, ShouldDecrementDesiredCapacity=True
            )
        except ClientError as error:
            # "Instance Id not found - No managed instance found for instance ID: …"
            if "not found" not in str(error):
                raise self._renamed(error) from error
            self._groups.note(self._group, instance, "gone_at", now)
            return
        except BotoCoreError as error:
            raise Unavailable("EC2 Auto Scaling cannot be reached.") from error
        self._groups.end(self._group, instance, now)

    def _renamed(self, error: ClientError) -> Exception:
        told = error.response["Error"]
        if told["Code"] in ("ScalingActivityInProgress", "ResourceContention", "Throttling", "ThrottlingException"):
            return Unavailable("The Auto Scaling group is busy. Try again in a minute.")
        if told["Code"] in ("AccessDenied", "AccessDeniedException", "ValidationError"):
            text = f"The Auto Scaling group {self._group} refused: {told.get('Message', told['Code'])}"
            return Rejected("group_refused", f"{text} Compare ScaleMax and WorkerGroup with the workers' stack.")
        return Unavailable(f"EC2 Auto Scaling answered {told['Code']}.")

    def _adopt(self, known: Group, now: int) -> Group:
        """Take in instances whose launch nobody told, while some are missing: their workers have cards."""
        missing = _pending(known, now)
        if not missing:
            return known
        taken = {name for group in (self._group, *self._other_groups) for name in self._groups.read(group).instances}
        for card in self._read_cards():
            match = _INSTANCE.fullmatch(card.worker)
            if match and match[1] not in taken and missing and card.is_alive(now):
                started_at = min(_missing_since(known), card.seen_at)
                self._groups.note(self._group, match[1], "started_at", started_at)
                taken.add(match[1])
                missing -= 1
        return self._groups.read(self._group)

    def _forget(self, known: Group, now: int) -> None:
        for name, facts in known.instances.items():
            if facts.gone_at and now - facts.gone_at > FORGOTTEN_MS:
                self._groups.forget(self._group, name)


def _is_listed(known: Group, name: str, now: int) -> bool:
    """Say whether an instance still costs."""
    facts = known.instances[name]
    is_over = bool(facts.ending_at) and now - facts.ending_at > ENDING_MS
    return bool(facts.started_at) and not facts.gone_at and not is_over


def _here(known: Group, now: int) -> list[str]:
    """List the instances that count towards the desired number."""
    return [name for name, facts in known.instances.items() if _is_listed(known, name, now) and not facts.ending_at]


def _pending(known: Group, now: int) -> int:
    return max(0, known.desired - len(_here(known, now)))


def _missing_since(known: Group) -> int:
    """Say when what is missing was ordered: by us, or by the group itself when it lost one that nobody gave back."""
    lost = (facts.gone_at for facts in known.instances.values() if facts.gone_at and not facts.ending_at)
    return max([known.desired_at, *lost])
