"""Read the autoscaler's settings from the environment, once, and name every fault at once (docs/scaling.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chalicelib.contract.errors import Rejected
from chalicelib.scale_memory import Terms
from chalicelib.scaling import Policy

POOLS: Final = ("runpod", "ec2")
EC2_LEAST_S: Final = 60.0
"""EC2 bills by the second, and a minute at least."""
_WHOLE: Final = {"SCALE_MIN": 0, "SCALE_MAX": 1, "SCALE_GPUS": 1}
_SECONDS: Final = {"SCALE_TARGET_WAIT_S": 300.0, "SCALE_IDLE_S": 300.0, "SCALE_BOOT_S": 180.0, "SCALE_JOB_S": 30.0}
_ABOVE_ZERO: Final = ("SCALE_TARGET_WAIT_S", "SCALE_BOOT_S", "SCALE_JOB_S", "SCALE_GPUS")
_DOLLARS: Final = ("SCALE_DAY_DOLLARS", "SCALE_MONTH_DOLLARS", "SCALE_HOUR_PRICE", "SCALE_FALLBACK_HOUR_PRICE")


@dataclass(frozen=True)
class ScaleSettings:
    """Hold which pools are asked, in turn, and how. `groups` are EC2's, the first before the fallback."""

    pools: tuple[str, ...]
    groups: tuple[str, ...]
    policy: Policy
    terms: Mapping[str, Terms]
    """What a machine costs, by "runpod" or the group's name."""


def read_scale_settings(environment: Mapping[str, str]) -> ScaleSettings | None:
    """Read the settings; None: there is no autoscaler. Raises `Rejected` that names every fault."""
    pools = tuple(name.strip() for name in environment.get("SCALE_POOL", "").split(",") if name.strip())
    if not pools:
        return None
    faults: list[str] = []
    numbers = _numbers(environment, faults)
    groups = tuple(filter(None, (environment.get(name, "").strip() for name in ("WORKER_GROUP", "WORKER_GROUP_2"))))
    unknown = [name for name in pools if name not in POOLS]
    if unknown or len(set(pools)) < len(pools):
        faults.append(f"SCALE_POOL is {', '.join(pools)}: it names {' or '.join(POOLS)}, each once, in turn.")
    if "ec2" in pools and not groups:
        faults.append("WORKER_GROUP is empty: SCALE_POOL=ec2 needs the name of the workers' Auto Scaling group.")
    if len(set(groups)) < len(groups):
        faults.append(
            "WORKER_GROUP_2 is the same as WORKER_GROUP: it is where on-demand machines are, if spot has none."
        )
    price = numbers.get("SCALE_HOUR_PRICE") or _price(environment.get("GPU_HOUR_PRICE", ""))
    if not price:
        faults.append("SCALE_HOUR_PRICE is missing: without a price no cost can be counted or capped.")
    if numbers.get("SCALE_DAY_DOLLARS") is None and numbers.get("SCALE_MONTH_DOLLARS") is None:
        faults.append("SCALE_DAY_DOLLARS and SCALE_MONTH_DOLLARS are missing: say what may be spent at most.")
    least, most = int(numbers.get("SCALE_MIN") or 0), int(numbers.get("SCALE_MAX") or 0)
    if least > most:
        faults.append(f"SCALE_MIN is {least} and SCALE_MAX {most}: the least cannot be more than the most.")
    if faults:
        raise Rejected("bad_settings", "The autoscaler does nothing. " + " ".join(faults))
    assert price
    other = numbers.get("SCALE_FALLBACK_HOUR_PRICE") or price
    policy = Policy(
        least=least,
        most=most,
        target_wait_s=numbers["SCALE_TARGET_WAIT_S"] or 1.0,
        idle_s=numbers["SCALE_IDLE_S"] or 0.0,
        boot_s=numbers["SCALE_BOOT_S"] or 1.0,
        job_s=numbers["SCALE_JOB_S"] or 1.0,
        gpus=int(numbers["SCALE_GPUS"] or 1),
        day_dollars=numbers["SCALE_DAY_DOLLARS"],
        month_dollars=numbers["SCALE_MONTH_DOLLARS"],
    )
    named = {"runpod": Terms(price)} | {
        group: Terms(other if place else price, EC2_LEAST_S) for place, group in enumerate(groups)
    }
    return ScaleSettings(pools, groups, policy, named)


def _numbers(environment: Mapping[str, str], faults: list[str]) -> dict[str, float | None]:
    """Read all numbers; an empty amount is None."""
    found: dict[str, float | None] = {}
    defaults: dict[str, float | None] = {**_WHOLE, **_SECONDS, **dict.fromkeys(_DOLLARS)}
    for name, default in defaults.items():
        text = environment.get(name, "").strip()
        try:
            found[name] = float(text) if text else default
        except ValueError:
            faults.append(f"{name} is {text!r}: it must be a number.")
            found[name] = default
            continue
        number = found[name] or 0.0
        if not 0 <= number < 1e9:
            faults.append(f"{name} is {text}: it must be 0 or more.")
        elif name in _WHOLE and number != int(number):
            faults.append(f"{name} is {text}: it must be a whole number.")
        elif number == 0 and name in _ABOVE_ZERO:
            faults.append(f"{name} is 0: it must be more.")
        else:
            continue
        found[name] = default
    return found


def _price(text: str) -> float | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return None
