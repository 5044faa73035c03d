"""The verb `runpod`: rent pods for a stage's workers, look at them, give them back (docs/runpod.md)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from infra.release import add_stage_options
from infra.runpod import down, prepare, up
from infra.runpod.farm import add_order_options

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("runpod", help="GPU pods on RunPod: up, down, status, …")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    order = actions.add_parser("up", help="order pods and wait until their workers take jobs")
    order.add_argument("--count", type=int, default=1, help="how many more pods (default: 1)")
    order.add_argument("--ask-above", type=float, default=2.0, metavar="DOLLARS", help="ask first above this an hour")
    order.add_argument("--yes", action="store_true", help="do not ask")
    order.add_argument("--no-wait", action="store_true", help="do not wait for the workers")
    order.add_argument("--wait-minutes", type=float, default=20, help="how long to wait for them (default: 20)")
    order.add_argument("--dry-run", action="store_true", help="show what would be ordered, with its price")
    order.set_defaults(run=up.run)
    end = actions.add_parser("down", help="remove pods for good: all of the stage's, or those named")
    end.add_argument("pods", nargs="*", metavar="POD", help="a pod's id")
    end.add_argument("--idle", action="store_true", help="only those whose worker renders nothing now")
    end.add_argument("--yes", action="store_true", help="do not ask")
    end.add_argument("--dry-run", action="store_true", help="only show which")
    end.set_defaults(run=down.run)
    status = actions.add_parser("status", help="the pods beside what their workers say, and what they cost")
    status.set_defaults(run=down.status)
    gpus = actions.add_parser("gpus", help="list the types of GPU: memory, price, stock")
    gpus.add_argument("--cloud", choices=("secure", "community"), default="secure")
    gpus.set_defaults(run=prepare.gpus)
    saved = actions.add_parser("order", help="show or save what `up` and the autoscaler order")
    saved.add_argument("--save", action="store_true", help="save it with the stage; options not given stay as saved")
    saved.set_defaults(run=prepare.order)
    key = actions.add_parser("key", help="save RunPod's API key with the stage, for the autoscaler and these commands")
    key.set_defaults(run=prepare.key)
    secret = actions.add_parser("secrets", help="say which secrets RunPod must hold, and how to make them")
    secret.set_defaults(run=prepare.secrets)
    template = actions.add_parser("template", help="create or change the template for the console's Deploy page")
    template.add_argument("push", choices=("push",), help="push it to RunPod")
    template.add_argument("--dry-run", action="store_true", help="only show it")
    template.set_defaults(run=prepare.template)
    for action in (order, saved, template):
        add_order_options(action)
    for action in (order, end, status, gpus, saved, key, secret, template):
        add_stage_options(action)
    for action in (order, end, status, gpus, saved):
        action.add_argument("--json", action="store_true", help="for programs")
