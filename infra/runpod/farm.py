"""What the actions of `runpod` stand on: the stage, its saved order and key, its pods and its workers' cards."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import requests
from boto3.session import Session
from pydantic import ValidationError

from chalicelib.contract.card import LATE_MS, Seen
from chalicelib.contract.errors import Rejected
from chalicelib.crew import Crew
from chalicelib.runpod import KEY_PARAMETER, ORDER_PARAMETER, Order, RunPods, Shelf, worker_env
from chalicelib.runpod_api import API_URL, Pod, RunPodApi
from infra import stack
from infra.release import session

USUAL_GPUS: Final = ("NVIDIA GeForce RTX 4090", "NVIDIA L4", "NVIDIA RTX A5000")
_OPTIONS: Final = {
    "image": "image",
    "gpu": "gpus",
    "gpu_count": "gpu_count",
    "cloud": "cloud",
    "disk_gb": "disk_gb",
    "volume": "volume_id",
    "data_center": "data_centers",
    "max_price": "max_hour_price",
    "min_cuda": "min_cuda",
    "registry": "registry",
}
"""Option to the order's field."""


def add_order_options(verb: argparse.ArgumentParser) -> None:
    """Add the options that say what a pod is like; what is not given is as saved, else as usual."""
    verb.add_argument("--image", help="the worker's image, best by digest: registry/name@sha256:…")
    verb.add_argument("--gpu", action="append", metavar="TYPE", help="RunPod's name; repeat: the next best")
    verb.add_argument("--gpu-count", type=int, help="GPUs in one pod (1)")
    verb.add_argument(
        "--cloud", choices=("secure", "community"), help="RunPod's own data centers, or anybody's (secure)"
    )
    verb.add_argument("--disk-gb", type=int, help="the container's disk (30)")
    verb.add_argument("--volume", metavar="ID", help="network volume with the models; also say its --data-center")
    verb.add_argument("--data-center", action="append", metavar="ID", help="where; repeat for several")
    verb.add_argument("--max-price", type=float, metavar="DOLLARS", help="the most that a pod may cost an hour")
    verb.add_argument("--min-cuda", metavar="VERSION", help="the host's CUDA, at least (13.0)")
    verb.add_argument("--registry", metavar="ID", help="RunPod's id of the login for a private image")
    verb.add_argument("--env", action="append", metavar="NAME=VALUE", help="another setting of the worker; repeatable")


class Farm:
    """Hold a stage and its RunPod account. Pods can be looked at and ended when the stage's stack is gone, too."""

    def __init__(self, made: Session, stage: str, environment: Mapping[str, str] = os.environ) -> None:
        self.stage = stage
        self.session = made
        self._environment = environment
        self._ssm: Any = self.session.client("ssm")

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Read the stack's outputs. Raises StackFailed when there is no stack."""
        return stack.read_outputs(self.session, self.stage)

    def key(self) -> str | None:
        """Find the API key in the environment (RUNPOD_API_KEY), else the saved one; None: there is none."""
        return self._environment.get("RUNPOD_API_KEY") or self._parameter(KEY_PARAMETER)

    def api(self) -> RunPodApi:
        """Connect. Raises `Rejected` where there is no key."""
        key = self.key()
        if not key:
            raise Rejected(
                "no_key",
                "There is no RunPod API key: set RUNPOD_API_KEY, or save one with the stage: "
                f"python -m infra runpod key --stage {self.stage}",
            )
        return RunPodApi(requests.Session(), key, self._environment.get("RUNPOD_API_URL") or API_URL)

    def pods(self, order: Order | None = None) -> RunPods:
        """Give the stage's pods."""
        return RunPods(self.api(), self.stage, order)

    def cards(self) -> dict[str, list[Seen]]:
        """Read the workers' cards, by pod: a worker is called by its pod's id, or by `id-…`. No stack, no cards."""
        there = stack.describe(self.session.client("cloudformation"), stack.stack_name(self.stage)) or {}
        table = stack.outputs_of(there).get("WorkersTable")
        if table is None:
            return {}
        crew = Crew(self.session.client("dynamodb"), table, now_ms)
        found: dict[str, list[Seen]] = {}
        for card in crew.seen():
            found.setdefault(card.worker.partition("-")[0], []).append(card)
        return found

    def order(self, arguments: argparse.Namespace) -> Order:
        """Read the saved order and lay the options over it. Raises `Rejected` with every fault."""
        told: dict[str, Any] = {"gpus": USUAL_GPUS, **self.saved()}
        for option, field in _OPTIONS.items():
            value = getattr(arguments, option)
            if value is not None:
                told[field] = value.upper() if option == "cloud" else value
        if not told.get("image"):
            raise Rejected("no_image", "Which image? Give --image; docs/runpod.md says how to build and push it.")
        told["env"] = {**told.get("env", {}), **_settings(arguments.env or []), **self._variables()}
        try:
            return Order.model_validate(told)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, each['loc'])) or 'order'}: {each['msg']}" for each in error.errors()
            )
            raise Rejected("bad_order", f"This cannot be ordered: {faults}.") from error

    def saved(self) -> dict[str, Any]:
        """Read the saved order; empty: there is none."""
        text = self._parameter(ORDER_PARAMETER)
        loaded: dict[str, Any] = json.loads(text) if text else {}
        return loaded

    def save(self, order: Order) -> None:
        """Save what is ordered from now on."""
        self._put(ORDER_PARAMETER, order.model_dump_json(exclude_defaults=True), "String")

    def save_key(self, key: str) -> None:
        """Save RunPod's API key, encrypted. Raises `Rejected` when RunPod refuses it."""
        RunPodApi(requests.Session(), key, self._environment.get("RUNPOD_API_URL") or API_URL).pods()
        self._put(KEY_PARAMETER, key.strip(), "SecureString")

    def parameter_name(self, name: str) -> str:
        """Say what a parameter of the stage is called in SSM."""
        return f"{self._prefix}/{name}"

    @property
    def _prefix(self) -> str:
        return f"/comfysheet/{self.stage}"  # the stack's SecretsPrefix; what is there outlives the stack

    def _variables(self) -> dict[str, str]:
        return worker_env(self.stage, stack.worker_environment(self.outputs, str(self.session.region_name)))

    def _parameter(self, name: str) -> str | None:
        return Shelf(self._ssm, self._prefix).read(name)

    def _put(self, name: str, value: str, kind: str) -> None:
        self._ssm.put_parameter(Name=self.parameter_name(name), Value=value, Type=kind, Overwrite=True)


def farm_of(arguments: argparse.Namespace) -> Farm:
    """Open the farm that the command line names."""
    return Farm(session(arguments), str(arguments.stage))


def now_ms() -> int:
    """Read this machine's clock."""
    return int(time.time() * 1000)


def worker_of(cards: list[Seen]) -> str:
    """Say in two words how a pod's worker is."""
    if not cards:
        return "not there yet"
    if all(now_ms() - card.seen_at > LATE_MS for card in cards):
        return "silent"
    if not any(card.open_servers for card in cards):
        return "takes no jobs"
    return "renders" if renders(cards) else "idle"


def renders(cards: list[Seen]) -> bool:
    """Say whether a pod's worker has a job on its GPU."""
    return any(server.running for card in cards for server in card.servers)


def cost_so_far(pod: Pod) -> float:
    """Reckon what a pod has cost until now, in dollars: its price since it started. RunPod's bill counts."""
    return pod.cost * max(0, now_ms() - pod.since_ms) / 3_600_000 if pod.since_ms else 0.0


def _settings(given: list[str]) -> dict[str, str]:
    told = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise Rejected("bad_env", f'--env wants NAME=VALUE, not "{item}".')
        if (
            any(word in name.upper() for word in ("SECRET", "TOKEN", "PASSWORD", "_KEY"))
            and "RUNPOD_SECRET_" not in value
        ):
            raise Rejected(
                "secret_env",
                f"{name} looks like a secret: put it into RunPod's secrets, and here "
                f"--env '{name}={{{{ RUNPOD_SECRET_its_name }}}}'.",
            )
        told[name] = value
    return told
