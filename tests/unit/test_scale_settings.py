"""Judge how the autoscaler's settings are read: none means that it is off, and wrong ones are all named at once."""

from __future__ import annotations

import pytest
import yaml

from chalicelib.contract.errors import Rejected
from chalicelib.scale_memory import Terms
from chalicelib.scale_settings import read_scale_settings
from infra.template import environment
from tests.conftest import ROOT

GIVEN = {"SCALE_POOL": "ec2", "WORKER_GROUP": "gpu", "SCALE_HOUR_PRICE": "0.5", "SCALE_DAY_DOLLARS": "20"}


def faults(**changed: str) -> str:
    with pytest.raises(Rejected) as refused:
        read_scale_settings({**GIVEN, **changed})
    return refused.value.message


def test_without_a_pool_there_is_no_autoscaler() -> None:
    """The other settings are not looked at."""
    assert read_scale_settings({}) is None
    assert read_scale_settings({**GIVEN, "SCALE_POOL": "", "SCALE_MAX": "many"}) is None


def test_what_is_given_is_read_and_the_rest_has_defaults() -> None:
    """One machine at most, five minutes' wait; EC2 bills a minute at least."""
    read = read_scale_settings(
        {**GIVEN, "SCALE_MAX": "4", "WORKER_GROUP_2": "dear", "SCALE_FALLBACK_HOUR_PRICE": "1.2"}
    )
    assert read is not None
    assert (read.policy.most, read.policy.target_wait_s, read.policy.day_dollars) == (4, 300, 20)
    assert (read.policy.month_dollars, read.pools, read.groups) == (None, ("ec2",), ("gpu", "dear"))
    assert (read.terms["gpu"], read.terms["dear"]) == (Terms(0.5, 60), Terms(1.2, 60))


def test_the_price_that_people_see_will_do() -> None:
    """GPU_HOUR_PRICE is taken when no other price is given."""
    read = read_scale_settings({**GIVEN, "SCALE_HOUR_PRICE": "", "GPU_HOUR_PRICE": "0.7", "SCALE_POOL": "runpod"})
    assert read is not None and read.terms["runpod"] == Terms(0.7)


def test_all_faults_are_named_at_once() -> None:
    """Each in a sentence."""
    text = faults(
        SCALE_POOL="ec2,azure",
        WORKER_GROUP="",
        SCALE_MAX="1.5",
        SCALE_MIN="3",
        SCALE_JOB_S="x",
        SCALE_HOUR_PRICE="",
        SCALE_DAY_DOLLARS="",
    )
    for part in (
        "SCALE_POOL is ec2, azure",
        "WORKER_GROUP is empty",
        "SCALE_MAX is 1.5: it must be a whole number",
        "SCALE_MIN is 3 and SCALE_MAX 1",
        "SCALE_JOB_S is 'x'",
        "SCALE_HOUR_PRICE is missing",
        "SCALE_DAY_DOLLARS and SCALE_MONTH_DOLLARS are missing",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("name", "value"), [("SCALE_TARGET_WAIT_S", "0"), ("SCALE_IDLE_S", "-1"), ("SCALE_MAX", "nan"), ("SCALE_GPUS", "0")]
)
def test_numbers_that_make_no_sense_are_refused(name: str, value: str) -> None:
    """Zero seconds, less than nothing, no number at all."""
    assert f"{name} is {value}" in faults(**{name: value})


def test_no_cap_no_autoscaler() -> None:
    """Somebody must have said what may be spent."""
    assert "say what may be spent at most" in faults(SCALE_DAY_DOLLARS="")


def test_one_group_twice_is_no_fallback() -> None:
    """The same group has no other machines."""
    assert "the same as WORKER_GROUP" in faults(WORKER_GROUP_2="gpu")


def test_the_stacks_defaults_are_the_settings_defaults() -> None:
    """What a parameter says when nobody gives it is what the code says too."""
    parameters = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())["Parameters"]
    told = {
        name: str(parameters[value["Ref"]]["Default"])
        for name, value in environment().items()
        if name.startswith(("SCALE_", "WORKER_GROUP"))
    }
    assert len(told) == 14 and read_scale_settings(told) is None
    by_stack, by_code = read_scale_settings({**told, **GIVEN}), read_scale_settings(GIVEN)
    assert by_stack == by_code
