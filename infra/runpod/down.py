"""`runpod down` and `runpod status`: give pods back, and see what they do and cost."""

from __future__ import annotations

import argparse
import json
from typing import Any

from chalicelib.contract.card import Seen
from chalicelib.contract.errors import Rejected
from chalicelib.runpod_api import Pod
from infra.asking import agreed
from infra.runpod.farm import cost_so_far, farm_of, now_ms, renders, worker_of


def run(arguments: argparse.Namespace) -> int:
    """Remove pods. Their workers' jobs go on elsewhere: handed back on SIGTERM, else when their lease ends (60 s)."""
    farm = farm_of(arguments)
    pods = farm.pods()
    present, cards = {pod.id: pod for pod in pods.pods()}, farm.cards()
    strangers = [pod_id for pod_id in arguments.pods if pod_id not in present]
    if strangers:
        raise Rejected("no_pod", f"Stage {farm.stage} has no pod {', '.join(strangers)}; nothing was removed.")
    chosen = [present[pod_id] for pod_id in dict.fromkeys(arguments.pods or present)]
    if arguments.idle:
        chosen = [pod for pod in chosen if not _may_render(pod, cards.get(pod.id, []))]
    busy = sum(_may_render(pod, cards.get(pod.id, [])) for pod in chosen)
    if arguments.dry_run or not chosen:
        _tell(arguments, [], chosen if arguments.dry_run else [])
        return 0
    if busy and not agreed(
        f"{busy} of {len(chosen)} pods render, or do not say; their jobs would begin anew.", yes=arguments.yes
    ):
        print("Nothing was removed.")
        return 1
    pods.stop([pod.id for pod in chosen])
    _tell(arguments, chosen, [])
    return 0


def status(arguments: argparse.Namespace) -> int:
    """Show the pods."""
    farm = farm_of(arguments)
    pods, cards = farm.pods().pods(), farm.cards()
    if arguments.json:
        print(json.dumps({"pods": [_facts(pod, cards.get(pod.id, [])) for pod in pods]}, indent=2))
        return 0
    if not pods:
        print(f"Stage {farm.stage} has no pods.")
        return 0
    print(
        f"{'pod':16} {'GPU':26} {'place':10} {'state':12} {'worker':14} {'jobs':>6} {'up':>7} {'$/h':>6} {'so far':>8}"
    )
    for pod in pods:
        facts = _facts(pod, cards.get(pod.id, []))
        print(
            f"{pod.id:16} {facts['gpu']:26.26} {facts['data_center']:10.10} {facts['state']:12} {facts['worker']:14} "
            f"{facts['jobs_done']:6} {_span(facts['up_s']):>7} {pod.cost:6.2f} {facts['cost_so_far']:8.2f}"
        )
    total, spent = sum(pod.cost for pod in pods), sum(map(cost_so_far, pods))
    print(f"Together ${total:.2f} an hour; ${spent:.2f} so far for the pods that are there (RunPod's bill counts).")
    return 0


def _may_render(pod: Pod, cards: list[Seen]) -> bool:
    """Say whether work may be lost with a pod: its worker renders, or it runs and its worker does not tell."""
    return renders(cards) if cards else pod.status == "RUNNING"


def _facts(pod: Pod, cards: list[Seen]) -> dict[str, Any]:
    return {
        "id": pod.id,
        "name": pod.name,
        "gpu": f"{pod.gpu.count} × {pod.gpu.id}" if pod.gpu.count > 1 else pod.gpu.id,
        "cloud": pod.cloud.lower(),
        "data_center": pod.data_center or "",
        "state": pod.status.lower(),
        "worker": worker_of(cards) if pod.cost > 0 or cards else "ended",
        "jobs_done": sum(card.jobs_done for card in cards),
        "up_s": max(0, now_ms() - pod.since_ms) // 1000 if pod.since_ms else 0,
        "hour_price": pod.cost,
        "cost_so_far": round(cost_so_far(pod), 4),
    }


def _tell(arguments: argparse.Namespace, removed: list[Pod], would: list[Pod]) -> None:
    if arguments.json:
        print(json.dumps({"removed": [pod.id for pod in removed], "would_remove": [pod.id for pod in would]}))
        return
    for pod in removed:
        print(f"removed {pod.id}  {pod.gpu.id}  ${cost_so_far(pod):.2f} so far")
    for pod in would:
        print(f"would remove {pod.id}  {pod.gpu.id}  ${pod.cost:.2f} an hour")
    if not removed and not would:
        print("There is nothing to remove.")


def _span(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}"
