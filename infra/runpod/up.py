"""`runpod up`: order pods, tell what they cost, and wait until their workers take jobs."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Final

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.runpod import Order, RunPods
from chalicelib.runpod_api import Pod
from infra.asking import agreed
from infra.runpod.farm import Farm, farm_of, worker_of

MOST: Final = 50
LOOK_S: Final = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Order; exit code 1 when fewer pods or workers came up than were asked for."""
    if not 1 <= arguments.count <= MOST:
        raise Rejected("bad_count", f"--count must be from 1 to {MOST}.")
    farm = farm_of(arguments)
    order = farm.order(arguments)
    dearest = _tell_prices(farm, order, arguments)
    if arguments.dry_run:
        print(json.dumps(order.body(f"comfysheet-{farm.stage}-…", order.gpus[0], farm.stage), indent=2))
        return 0
    total = dearest * arguments.count
    if total > arguments.ask_above and not agreed(
        f"{arguments.count} pods may cost ${total:.2f} an hour. Order them?", yes=arguments.yes
    ):
        print("Nothing was ordered.")
        return 1
    pods = farm.pods(order)
    ordered = pods.order_pods(arguments.count)
    _tell(ordered.pods, ordered.refusals, arguments)
    if not arguments.no_wait and ordered.pods:
        ready = wait_for_workers(farm, pods, ordered.pods, arguments.wait_minutes * 60, say=_say(arguments))
        if not ready:
            return 1
    return 0 if len(ordered.pods) == arguments.count else 1


def wait_for_workers(
    farm: Farm,
    pods: RunPods,
    wanted: tuple[Pod, ...],
    most_s: float,
    *,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
    clock_s: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until the worker of each of *wanted* takes jobs; False: not within *most_s*, or a pod has ended."""
    ends_at, told = clock_s() + most_s, dict.fromkeys((pod.id for pod in wanted), "")
    waiting = set(told)
    while waiting:
        news = _look(farm, pods, waiting)
        for pod_id, state in news.items():
            if state != told[pod_id]:
                say(f"{pod_id}: {state}")
                told[pod_id] = state
        waiting -= {pod_id for pod_id, state in news.items() if state in ("idle", "renders")}
        ended = {pod_id for pod_id in waiting if news.get(pod_id) == "has ended"}
        if ended:
            say(f"{', '.join(sorted(ended))}: look at its log in RunPod's console, then: python -m infra runpod down")
            return False
        if waiting and clock_s() >= ends_at:
            say(f"Still not there: {', '.join(sorted(waiting))}. They cost money: see `runpod status`.")
            return False
        if waiting:
            pause(LOOK_S)
    return True


def _look(farm: Farm, pods: RunPods, waiting: set[str]) -> dict[str, str]:
    """Say how each pod is: RunPod's state while there is no card, then what the card says. Empty: nobody answers."""
    try:
        present = {pod.id: pod for pod in pods.pods()}
    except Unavailable:
        return {}
    cards, news = farm.cards(), {}
    for pod_id in waiting:
        pod = present.get(pod_id)
        if pod is None or pod.status in ("EXITED", "ERROR"):
            news[pod_id] = "has ended"
        elif cards.get(pod_id):
            news[pod_id] = worker_of(cards[pod_id])
        else:
            news[pod_id] = pod.status.lower()
    return news


def _tell_prices(farm: Farm, order: Order, arguments: argparse.Namespace) -> float:
    """Print what the choices cost; answer the dearest that may be ordered, in dollars an hour for a pod."""
    catalog = {gpu.id: gpu for gpu in farm.api().gpus(order.cloud, order.gpu_count)}
    dearest = 0.0
    for name in order.gpus:
        gpu = catalog.get(name)
        price = gpu.hour_price(order.cloud) if gpu else None
        if gpu is None or price is None:
            continue
        cost = price * order.gpu_count
        if order.max_hour_price is None or cost <= order.max_hour_price:
            dearest = max(dearest, cost)
        if not arguments.json:
            print(f"{name:28} {gpu.memory:4} GB  ${cost:6.2f} an hour  stock {gpu.availability.lower()}")
    return dearest


def _tell(made: tuple[Pod, ...], refusals: tuple[str, ...], arguments: argparse.Namespace) -> None:
    if arguments.json:
        listed = [{"id": pod.id, "name": pod.name, "gpu": pod.gpu.id, "hour_price": pod.cost} for pod in made]
        print(json.dumps({"pods": listed, "refusals": refusals}))
        return
    for pod in made:
        print(f"ordered {pod.id}  {pod.name}  {pod.gpu.id}  ${pod.cost:.2f} an hour")
    if len(made) < arguments.count:  # with all that was asked for, nobody need know what else was thought of
        for text in refusals:
            print(f"not ordered: {text}")
        print(f"{len(made)} of {arguments.count} pods were ordered.")
    print(f"Together ${sum(pod.cost for pod in made):.2f} an hour, until you remove them: python -m infra runpod down")


def _say(arguments: argparse.Namespace) -> Callable[[str], None]:
    return (lambda _: None) if arguments.json else (lambda text: print(text, flush=True))
