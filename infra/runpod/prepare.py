"""What is done once: the key, the secrets, the saved order, the template; and a look at the catalog."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from pathlib import Path
from typing import Final

from chalicelib.runpod import KEY_PARAMETER, MARK, secret_name
from infra.runpod.farm import farm_of

TEMPLATE: Final = Path(__file__).parent / "template.json"


def gpus(arguments: argparse.Namespace) -> int:
    """List the catalog, the cheapest first."""
    cloud = arguments.cloud.upper()
    offered = [(gpu.hour_price(cloud), gpu) for gpu in farm_of(arguments).api().gpus(cloud)]
    listed = sorted((price, gpu.id, gpu) for price, gpu in offered if price is not None)
    if arguments.json:
        rows = [
            {"id": name, "memory_gb": gpu.memory, "hour_price": price, "stock": gpu.availability.lower()}
            for price, name, gpu in listed
        ]
        print(json.dumps({"gpus": rows}, indent=2))
        return 0
    for price, name, gpu in listed:
        print(f"{name:32} {gpu.memory:4} GB  ${price:6.2f} an hour  stock {gpu.availability.lower()}")
    return 0


def order(arguments: argparse.Namespace) -> int:
    """Show what would be ordered; save it if told to."""
    farm = farm_of(arguments)
    wanted = farm.order(arguments)
    if arguments.save:
        farm.save(wanted)
    print(wanted.model_dump_json(indent=2))
    if arguments.save and not arguments.json:
        print("Saved: `runpod up` and the autoscaler order this.", file=sys.stderr)
    return 0


def key(arguments: argparse.Namespace) -> int:
    """Read the key where nobody sees it, try it, save it encrypted."""
    farm = farm_of(arguments)
    text = getpass.getpass("RunPod API key: ") if sys.stdin.isatty() else sys.stdin.readline()
    farm.save_key(text)
    print(f"RunPod takes the key. It is in SSM as {farm.parameter_name(KEY_PARAMETER)}, encrypted.")
    return 0


def secrets(arguments: argparse.Namespace) -> int:
    """Print the steps; the values never pass through here."""
    farm = farm_of(arguments)
    user = f"comfysheet-{farm.stage}-runpod"
    names = [secret_name(farm.stage, name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    print(
        f"1. A user with the worker's rights and nothing else:\n"
        f"   aws iam create-user --user-name {user}\n"
        f"   aws iam attach-user-policy --user-name {user} --policy-arn {farm.outputs['WorkerPolicyArn']}\n"
        f"   aws iam create-access-key --user-name {user} --output text \\\n"
        f"       --query 'AccessKey.[AccessKeyId,SecretAccessKey]'\n"
        f"2. RunPod's console, Secrets, Create Secret; the first of the two values, then the second:\n"
        f"   {names[0]}\n   {names[1]}\n"
        f"3. Every 30 days make a second key (step 1, last line), change both secrets, `runpod down` and `up`,\n"
        f"   and delete the first: aws iam delete-access-key --user-name {user} --access-key-id ID"
    )
    return 0


def template(arguments: argparse.Namespace) -> int:
    """Create or change the template `comfysheet-STAGE`."""
    farm = farm_of(arguments)
    wanted = farm.order(arguments)
    told = {
        **json.loads(TEMPLATE.read_text()),
        "name": f"comfysheet-{farm.stage}",
        "image": wanted.image,
        "disk": wanted.disk_gb,
        # The console's pods carry no name of ours: `down` leaves them alone, and so does the autoscaler.
        "env": {name: value for name, value in wanted.env.items() if name != MARK},
        **({"registry": wanted.registry} if wanted.registry else {}),
    }
    if arguments.dry_run:
        print(json.dumps(told, indent=2))
        return 0
    saved, is_new = farm.api().save_template(told)
    print(f"{'Created' if is_new else 'Changed'} template {saved.name} ({saved.id}).")
    return 0
