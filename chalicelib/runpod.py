"""
Rent pods on RunPod for one stage's workers: a `Pool` (chalicelib/contract/pool.py).

- A pod is ours by its name, `comfysheet-<stage>-<8 hex digits>`, and by COMFYSHEET_STAGE in its environment. Nothing
  else in the account is ever touched.
- The name is made before the pod: an order whose answer was lost is looked for by it and never repeated blindly.
- One order places one type of GPU (API v2, createPod), so types are tried in the operator's order. What costs more than
  the operator's highest price is not ordered, and given back at once if RunPod charges more than its catalog said.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

import requests
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.pool import Machine, MachineState
from chalicelib.runpod_api import API_URL, Gpu, NotPlaced, Pod, RunPodApi, Unanswered

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

log = logging.getLogger(__name__)

VOLUME_PATH: Final = "/workspace"
"""Where a network volume is seen in the pod; the console's own default too."""
MARK: Final = "COMFYSHEET_STAGE"
KEY_PARAMETER: Final = "runpod-key"
"""Below the stack's SecretsPrefix: the API key, a SecureString."""
ORDER_PARAMETER: Final = "runpod-order"
"""Below the stack's SecretsPrefix: the `Order` that the operator saved, as JSON."""
_DEAD: Final = frozenset({"EXITED", "ERROR"})
_STATES: Final = {"PROVISIONING": MachineState.STARTING, "STARTING": MachineState.STARTING}


class Order(BaseModel):
    """Say what a pod is to be like. `gpus` are RunPod's names, the most wanted first; sizes in GB, prices in $."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1)
    gpus: tuple[str, ...] = Field(min_length=1)
    gpu_count: int = Field(default=1, ge=1, le=16)
    cloud: Literal["SECURE", "COMMUNITY"] = "SECURE"
    disk_gb: int = Field(default=30, ge=1)
    volume_id: str | None = None
    data_centers: tuple[str, ...] = ()
    max_hour_price: float | None = Field(default=None, gt=0)
    """For a whole pod; None: whatever it costs."""
    min_cuda: str | None = Field(default="13.0", pattern=r"^\d+\.\d+$")
    registry: str | None = None
    """RunPod's id of the login for a private image."""
    env: dict[str, str] = {}
    """The worker's settings. Secrets stand here as references only: `{{ RUNPOD_SECRET_name }}`."""

    @model_validator(mode="after")
    def _volume_is_secure(self) -> Self:
        # docs.runpod.io, network volumes: "only available for Pods in the Secure Cloud".
        if self.volume_id and self.cloud != "SECURE":
            raise ValueError("a network volume can be used in the secure cloud only")
        return self

    def body(self, name: str, gpu: str, stage: str) -> dict[str, object]:
        """Write it as RunPod's CreatePodRequest. No port is opened, no SSH or Jupyter started."""
        told: dict[str, object] = {
            "name": name,
            "image": self.image,
            "cloud": self.cloud,
            "gpu": {"id": gpu, "count": self.gpu_count, **({"minCudaVersion": self.min_cuda} if self.min_cuda else {})},
            "disk": self.disk_gb,
            "ports": [],
            "env": {**self.env, MARK: stage},
            "startSsh": False,
            "startJupyter": False,
        }
        if self.data_centers:
            told["dataCenterIds"] = list(self.data_centers)
        if self.volume_id:
            told["mounts"] = {"network": [{"volumeId": self.volume_id, "path": VOLUME_PATH}]}
        if self.registry:
            told["registry"] = self.registry
        return told


@dataclass(frozen=True)
class Ordered:
    """Hold what came of an order: the pods that were made, and why there are not more."""

    pods: tuple[Pod, ...]
    refusals: tuple[str, ...]


class RunPods:
    """Rent and return the pods of *stage*. *new_suffix* makes eight hex digits, never the same twice."""

    def __init__(
        self,
        api: RunPodApi,
        stage: str,
        order: Order | None,
        new_suffix: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._api = api
        self._stage = stage
        self._order = order
        self._new_suffix = new_suffix
        self._name = re.compile(rf"comfysheet-{re.escape(stage)}-[0-9a-f]{{8}}")

    def pods(self) -> list[Pod]:
        """List our pods that are not gone, dead ones too, the oldest first."""
        ours = [pod for pod in self._api.pods() if self._is_ours(pod) and pod.status != "TERMINATED"]
        return sorted(ours, key=lambda pod: (pod.since_ms, pod.name))

    def machines(self) -> list[Machine]:
        """List our pods as machines. One whose container has ended counts as stopping: it works and costs no more."""
        return [Machine(pod.id, _state(pod), pod.since_ms, pod.cost if pod.cost > 0 else None) for pod in self.pods()]

    def start(self, count: int) -> int:
        """Order *count* pods; answer how many were made. What was refused is in the log."""
        ordered = self.order_pods(count)
        for text in ordered.refusals:
            log.warning("pod refused", extra={"action": "pod_refused", "reason": text})
        return len(ordered.pods)

    def stop(self, ids: Collection[str]) -> None:
        """Remove those of our pods for good; ids that are not ours are left alone."""
        faults: list[Rejected | Unavailable] = []
        for pod in self.pods():
            if pod.id in ids:
                try:
                    self._api.terminate(pod.id)
                except (Rejected, Unavailable) as fault:
                    faults.append(fault)
        if faults:
            raise faults[0]

    def order_pods(self, count: int) -> Ordered:
        """
        Order *count* pods, each of the first type of GPU that can be had.

        Our dead pods are removed first. Raises what went wrong only when no pod at all was made: those that were made
        cost money and must be told.
        """
        order = self._order
        if order is None:
            raise Rejected(
                "no_order", "It is not said what pods are to be ordered: python -m infra runpod order --save …"
            )
        self._remove_dead()
        made: list[Pod] = []
        choices, refusals = self._choices(order)
        while choices and len(made) < count:
            try:
                pod = self._order_one(order, choices, refusals)
            except (Rejected, Unavailable) as fault:
                if not made:
                    raise
                refusals.append(fault.message)
                break
            if pod is None:
                break
            made.append(pod)
        return Ordered(tuple(made), tuple(dict.fromkeys(refusals)))

    def _order_one(self, order: Order, choices: list[str], refusals: list[str]) -> Pod | None:
        """Order one pod; None: no choice could be placed. A choice that could not is taken out of *choices*."""
        name = f"comfysheet-{self._stage}-{self._new_suffix()}"
        for gpu in tuple(choices):
            try:
                pod = self._api.create(order.body(name, gpu, self._stage))
            except NotPlaced as refused:
                refusals.append(f"{gpu}: {refused}")
                choices.remove(gpu)
                continue
            except Unanswered as lost:
                pod = self._look_for(name, lost)
            if order.max_hour_price is not None and pod.cost > order.max_hour_price:
                self._api.terminate(pod.id)
                refusals.append(f"{gpu}: costs ${pod.cost:.2f} an hour, more than ${order.max_hour_price:.2f}.")
                choices.remove(gpu)
                continue
            return pod
        return None

    def _look_for(self, name: str, lost: Unanswered) -> Pod:
        """Find the pod that an unanswered order may have made. Raises `Unavailable` when it is not there (yet)."""
        for pod in self._api.pods():
            if pod.name == name:
                log.warning("order found again", extra={"action": "pod_found", "worker": pod.id})
                return pod
        raise Unavailable(
            f"{lost.message} Should pod {name} come up after all, it is known by its name.", lost.retry_in_s
        )

    def _choices(self, order: Order) -> tuple[list[str], list[str]]:
        """Choose the types that are offered, in stock and not too dear; and say why the others are not."""
        catalog = {gpu.id: gpu for gpu in self._api.gpus(order.cloud, order.gpu_count)}
        choices, refusals = [], []
        for name in order.gpus:
            gpu = catalog.get(name)
            if gpu is None:
                near = difflib.get_close_matches(name, catalog, n=2, cutoff=0.4)
                raise Rejected(
                    "no_gpu", f'RunPod has no GPU "{name}".' + (f" Near it: {', '.join(near)}." if near else "")
                )
            why = _why_not(gpu, order)
            if why:
                refusals.append(f"{name}: {why}")
            else:
                choices.append(name)
        return choices, refusals

    def _remove_dead(self) -> None:
        for pod in self.pods():
            if pod.status in _DEAD:
                log.warning("dead pod removed", extra={"action": "pod_removed", "worker": pod.id, "reason": pod.status})
                with contextlib.suppress(Rejected):  # a locked one; it costs no GPU and hinders nobody
                    self._api.terminate(pod.id)

    def _is_ours(self, pod: Pod) -> bool:
        # Were the environment not told one day, the name must do: a pool that sees none of its pods orders for ever.
        return bool(self._name.fullmatch(pod.name)) and (not pod.env or pod.env.get(MARK) == self._stage)


class Shelf:
    """Read what was saved below *prefix*: the key and the order (`python -m infra runpod key`, `order`)."""

    def __init__(self, ssm: SSMClient, prefix: str) -> None:
        self._ssm = ssm
        self._prefix = prefix

    def read(self, name: str) -> str | None:
        """Read a parameter; None: there is none. Raises `Unavailable`."""
        full = f"{self._prefix}/{name}"
        try:
            return str(self._ssm.get_parameter(Name=full, WithDecryption=True)["Parameter"]["Value"])
        except self._ssm.exceptions.ParameterNotFound:
            return None
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"The parameter {full} cannot be read: {error}") from error

    def pool(self, stage: str, session: requests.Session, url: str = API_URL) -> RunPods:
        """
        Open the pool with the saved key and order.

        Raises `Rejected` where there is no key or the order makes no sense, `Unavailable` when SSM does not answer.
        Without an order it can be looked at and given back, not enlarged.
        """
        key, text = self.read(KEY_PARAMETER), self.read(ORDER_PARAMETER)
        try:
            order = Order.model_validate_json(text) if text else None
        except ValidationError as error:
            said = "The saved order is not understood; save it anew: python -m infra runpod order --save …"
            raise Rejected("bad_order", said) from error
        return RunPods(RunPodApi(session, key or "", url), stage, order)


class SavedPods:
    """Be the pool of the key and the order that are saved now: *open_pool* reads both, for each call anew."""

    def __init__(self, open_pool: Callable[[], RunPods]) -> None:
        self._open_pool = open_pool

    def machines(self) -> list[Machine]:
        """List our pods as machines. Raises what opening the pool does, as all of these."""
        return self._open_pool().machines()

    def start(self, count: int) -> int:
        """Order *count* pods."""
        return self._open_pool().start(count)

    def stop(self, ids: Collection[str]) -> None:
        """Remove those of our pods for good."""
        self._open_pool().stop(ids)


def reference(stage: str, name: str) -> str:
    """Write the reference to a secret of RunPod's: a template and the API show this, only the pod sees the value."""
    return "{{ RUNPOD_SECRET_" + secret_name(stage, name) + " }}"


def secret_name(stage: str, name: str) -> str:
    """Say what the secret is called in RunPod's console."""
    return f"comfysheet_{stage.replace('-', '_')}_{name.lower()}"


def worker_env(stage: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Write a pod's environment: the stack's *variables*, and its AWS key as references to secrets."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return {**variables, **{name: reference(stage, name) for name in keys}}


def _why_not(gpu: Gpu, order: Order) -> str | None:
    price = gpu.hour_price(order.cloud)
    if price is None:
        return f"is not offered in the {order.cloud.lower()} cloud."
    cost = price * order.gpu_count
    if order.max_hour_price is not None and cost > order.max_hour_price:
        return f"costs ${cost:.2f} an hour, more than ${order.max_hour_price:.2f}."
    if gpu.availability == "NONE":
        return "none free now."
    return None


def _state(pod: Pod) -> MachineState:
    # A status that we do not know may cost money: it counts as running.
    return MachineState.STOPPING if pod.status in _DEAD else _STATES.get(pod.status, MachineState.RUNNING)
