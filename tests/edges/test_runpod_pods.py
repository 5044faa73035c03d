"""RunPod's pods as a pool of machines, against its API's stand-in, which is made from its public schema."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import requests

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.pool import MachineState, Pool
from chalicelib.runpod import MARK, Order, RunPods, SavedPods, Shelf, reference, worker_env
from chalicelib.runpod_api import RunPodApi
from tests.runpod_site import KEY, Site, runpod_site

L4, RTX, H100, A5000 = "NVIDIA L4", "NVIDIA GeForce RTX 4090", "NVIDIA H100 PCIe", "NVIDIA RTX A5000"
ENV = worker_env("prod", {"JOBS_TABLE": "jobs"})


@pytest.fixture
def site() -> Iterator[Site]:
    with runpod_site() as made:
        yield made


def pool(site: Site, key: str = KEY, stage: str = "prod", **told: object) -> RunPods:
    order = Order.model_validate({"image": "me/worker:1", "gpus": [RTX, L4], "env": ENV, **told})
    numbers = itertools.count(1)
    api = RunPodApi(requests.Session(), key, site.url)
    return RunPods(api, stage, order, lambda: f"{next(numbers):08x}")


def ours(site: Site, number: int, **told: str) -> str:
    return site.add(f"comfysheet-prod-{number:08x}", env={MARK: "prod"}, **told)  # type: ignore[arg-type]


def test_a_started_pod_is_what_was_ordered_and_opens_nothing(site: Site) -> None:
    """No port, no SSH, no Jupyter, secrets as references; the schema takes every field that is sent."""
    volume = {"volume_id": "vol1", "data_centers": ["EU-RO-1"]}
    machines: Pool = pool(site, **volume)
    assert machines.start(1) == 1
    (sent,) = site.orders()
    assert sent["name"] == "comfysheet-prod-00000001" and sent["image"] == "me/worker:1" and sent["cloud"] == "SECURE"
    assert sent["ports"] == [] and sent["startSsh"] is False and sent["startJupyter"] is False
    assert sent["mounts"] == {"network": [{"volumeId": "vol1", "path": "/workspace"}]}
    assert sent["env"] == {**ENV, MARK: "prod"}
    assert sent["env"]["AWS_SECRET_ACCESS_KEY"] == "{{ RUNPOD_SECRET_comfysheet_prod_aws_secret_access_key }}"
    (machine,) = machines.machines()
    assert machine.state is MachineState.STARTING and machine.hour_price == 0.69 and machine.started_at > 1.7e12


def test_states_are_told_apart(site: Site) -> None:
    """One that is being made, one that runs, one whose container has ended: it costs nothing any more."""
    ids = [ours(site, number, status=status) for number, status in enumerate(("STARTING", "RUNNING", "EXITED"))]
    found = {machine.id: machine for machine in pool(site).machines()}
    assert [found[each].state.value for each in ids] == ["starting", "running", "stopping"]
    assert found[ids[2]].hour_price is None


def test_pods_of_others_are_neither_seen_nor_touched(site: Site) -> None:
    """Other names, other stages (also one whose name begins alike), and our name with another stage's mark."""
    strangers = [
        site.add("my-notebook"),
        site.add("comfysheet-prod-notes"),
        site.add("comfysheet-prod-two-00000001", env={MARK: "prod-two"}),
        site.add("comfysheet-prod-0000000a", env={MARK: "other"}),
    ]
    mine = ours(site, 1)
    machines = pool(site)
    assert [machine.id for machine in machines.machines()] == [mine]
    machines.stop([*strangers, mine, "gone"])
    assert set(site.pods) == set(strangers)
    machines.stop([mine])
    first, second = ours(site, 2), ours(site, 3)
    machines.stop([second])
    assert set(site.pods) == {*strangers, first}


def test_pods_are_known_by_name_if_the_environment_is_not_told(site: Site) -> None:
    """A pool that sees none of its pods would order for ever."""
    site.hides_env = True
    machines = pool(site)
    assert machines.start(2) == 2 and len(machines.machines()) == 2


def test_the_next_type_is_taken_when_there_is_none_of_the_first(site: Site) -> None:
    """In the operator's order, each until it is used up; fewer are granted when all are."""
    site.room = {RTX: 1, L4: 2}
    machines = pool(site)
    assert machines.start(5) == 3
    assert [pod["gpu"]["id"] for pod in site.pods.values()] == [RTX, L4, L4]
    # Not once more for a type that has just been refused.
    assert len(site.orders()) == 5
    ordered = pool(site, gpus=[RTX]).order_pods(1)
    assert ordered.pods == () and "no instances" in ordered.refusals[0]


def test_no_more_is_paid_than_was_allowed(site: Site) -> None:
    """Neither by the catalog nor, when the pod turns out dearer, after all: it is given back at once."""
    ordered = pool(site, gpus=[H100, A5000, L4], max_hour_price=0.5).order_pods(1)
    assert [pod.gpu.id for pod in ordered.pods] == [L4]
    assert ordered.refusals == (f"{H100}: costs $2.39 an hour, more than $0.50.", f"{A5000}: none free now.")
    site.pods.clear()
    site.extra_cost = 0.2
    assert pool(site, gpus=[L4], max_hour_price=0.5).start(3) == 0
    assert site.pods == {} and [method for method, _, _ in site.requests].count("DELETE") == 1


@pytest.mark.parametrize("after", [0, 500, 504])
def test_an_order_whose_answer_was_lost_is_found_and_not_repeated(site: Site, after: int) -> None:
    """The pod was made before the connection broke: it is known by its name, and costs once."""
    site.answers_after = [after]
    assert pool(site).start(1) == 1
    assert len(site.pods) == 1 and len(site.orders()) == 1


def test_an_order_that_was_not_carried_out_is_told_with_the_pods_name(site: Site) -> None:
    """Nothing is there: come again later; what comes up late is ours by its name."""
    site.next_answers = [("POST", 0, {})]
    with pytest.raises(Unavailable, match="comfysheet-prod-00000001") as told:
        pool(site).start(1)
    assert told.value.retry_in_s and len(site.orders()) == 1
    site.next_answers = [("POST", 500, {})]
    with pytest.raises(Unavailable):
        pool(site).start(1)


def test_no_money_left_is_told_in_words(site: Site) -> None:
    """Nobody need ask again before somebody has paid."""
    site.next_answers = [("POST", 402, {})]
    with pytest.raises(Rejected, match="no money left"):
        pool(site).start(1)


def test_some_pods_before_a_fault_are_granted(site: Site) -> None:
    """Two are made, then RunPod says that it was asked too often."""

    class Tired(RunPodApi):
        def create(self, order):  # type: ignore[no-untyped-def]
            if len(site.orders()) == 2:
                site.next_answers = [("POST", 429, {"Retry-After": "7"})]
            return super().create(order)

    order = Order(image="i", gpus=(RTX,))
    ordered = RunPods(Tired(requests.Session(), KEY, site.url), "prod", order).order_pods(5)
    assert len(ordered.pods) == 2 and "too often" in ordered.refusals[0]


def test_dead_pods_are_removed_when_the_next_is_ordered(site: Site) -> None:
    """A locked one hinders nobody."""
    dead, locked, live = ours(site, 1, status="EXITED"), ours(site, 2, status="ERROR"), ours(site, 3)
    site.locked = {locked}
    assert pool(site, stage="prod").start(1) == 1
    assert dead not in site.pods and {locked, live} <= set(site.pods)


def test_a_pod_that_cannot_be_removed_does_not_keep_the_others(site: Site) -> None:
    """A locked pod is told of after the rest is gone."""
    first, second = ours(site, 1), ours(site, 2)
    site.locked = {first}
    with pytest.raises(Rejected, match="the pod is locked"):
        pool(site).stop([first, second])
    assert set(site.pods) == {first}


def test_a_key_that_is_saved_anew_counts_with_the_next_call(site: Site) -> None:
    """A function's container lives for hours, for its schedule strikes every minute: nothing is kept between calls."""
    keys = ["deleted"]
    saved: Pool = SavedPods(lambda: pool(site, keys[-1]))
    with pytest.raises(Rejected, match="refused the API key"):
        saved.machines()
    keys.append(KEY)
    assert saved.machines() == [] and saved.start(1) == 1
    (machine,) = saved.machines()
    saved.stop([machine.id])
    assert site.pods == {}


def test_a_saved_order_that_makes_no_sense_is_told_in_a_sentence() -> None:
    """Of an older version, or written by hand: one pool that cannot be opened, not a fault of the whole round."""

    class Parameters:
        """Be SSM with an order of another version in it."""

        exceptions = type("Faults", (), {"ParameterNotFound": KeyError})

        def get_parameter(self, *, Name: str, WithDecryption: bool) -> dict[str, dict[str, str]]:
            return {"Parameter": {"Value": '{"gpu": 1}' if Name.endswith("order") else KEY}}

    with pytest.raises(Rejected, match="save it anew"):
        Shelf(Parameters(), "/comfysheet/prod").pool("prod", requests.Session())  # type: ignore[arg-type]


def test_an_answer_that_does_not_come_does_not_keep_the_others(site: Site) -> None:
    """RunPod is asked too often for one pod's end: the next one's is asked all the same."""
    first, second = ours(site, 1), ours(site, 2)
    site.next_answers = [("DELETE", 429, {})]
    with pytest.raises(Unavailable, match="too often"):
        pool(site).stop([first, second])
    assert len(site.pods) == 1


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, Rejected, "refused the API key"),
        (403, Rejected, "may not do this"),
        (422, Rejected, "planned"),
        (302, Unavailable, "status 302"),
        (500, Unavailable, "status 500"),
        (0, Unavailable, "cannot be reached"),
    ],
)
def test_faults_are_renamed(site: Site, status: int, kind: type[Exception], says: str) -> None:
    """Wrong keys for good, all else for later; a redirect is never followed with our key."""
    site.next_answers = [("GET", status, {"Location": f"{site.url}/v2/pods"})]
    with pytest.raises(kind, match=says):
        pool(site).machines()
    assert len(site.requests) == 1


def test_a_busy_api_says_when_to_come_again(site: Site) -> None:
    """Its own Retry-After; half a minute where there is none."""
    for headers, wait_s in (({"Retry-After": "12"}, 12), ({}, 30)):
        site.next_answers = [("GET", 429, headers)]
        with pytest.raises(Unavailable) as told:
            pool(site).machines()
        assert told.value.retry_in_s == wait_s


def test_a_wrong_order_names_what_is_wrong(site: Site) -> None:
    """A GPU that RunPod does not have, with the nearest names; none saved; a volume outside the secure cloud."""
    with pytest.raises(Rejected, match=r"no GPU.*Near it: NVIDIA GeForce RTX 4090"):
        pool(site, gpus=["RTX 4090"]).start(1)
    with pytest.raises(Rejected, match="runpod order --save"):
        RunPods(RunPodApi(requests.Session(), KEY, site.url), "prod", None).start(1)
    with pytest.raises(ValueError, match="secure cloud only"):
        Order(image="i", gpus=(L4,), cloud="COMMUNITY", volume_id="v")


def test_the_key_goes_to_runpod_alone(site: Site, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never over plain http, and no netrc file takes its place."""
    with pytest.raises(Rejected, match="https"):
        RunPodApi(requests.Session(), KEY, "http://api.runpod.io")
    for key in ("", "two words", "schlüssel"):
        with pytest.raises(Rejected, match="no RunPod API key"):
            RunPodApi(requests.Session(), key)
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:  # noqa: PTH123
        file.write("default login a password b\n")
    monkeypatch.setenv("NETRC", netrc)
    assert pool(site).machines() == []


def test_secrets_have_names_that_a_stage_cannot_bend() -> None:
    """A hyphen is not part of a secret's name."""
    assert reference("my-stage", "AWS_ACCESS_KEY_ID") == "{{ RUNPOD_SECRET_comfysheet_my_stage_aws_access_key_id }}"
