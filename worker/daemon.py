"""Be the worker that takes jobs from the queue: `python -m worker queue` and `python -m worker once`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType
from typing import Final

from worker.gpus import NoGpus
from worker.logs import start_logs
from worker.settings import SettingsError, read_settings
from worker.wiring import build_worker

EPILOG: Final = """\
Settings come from the environment. Places: COMFY_URL (default http://127.0.0.1:8188; several with commas) or COMFY_DIR,
JOBS_QUEUE_URL, COMPLETIONS_QUEUE_URL, JOBS_DLQ_URL (optional), JOBS_TABLE, S3_BUCKET, AWS_REGION, and optionally
WORKERS_TABLE and EVENTBRIDGE_BUS_NAME. The rest has defaults; docs/worker.md lists all.
Ctrl-C or SIGTERM hands running jobs back and ends within two seconds (or finishes what ends within GRACE_S); a second
one ends at once.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what may be said on the command line instead of in the environment."""
    parser.epilog = EPILOG
    parser.add_argument("--comfy-dir", metavar="DIR", help="start ComfyUI from this folder (COMFY_DIR)")
    parser.add_argument("--comfy-args", metavar="ARGS", help='further arguments for it, e.g. "--lowvram" (COMFY_ARGS)')
    parser.add_argument("--gpus", metavar="all|0,1", help="start one ComfyUI for each of these GPUs (GPUS)")
    parser.add_argument("--idle-end", metavar="SECONDS", help="end when nothing was rendered for so long (IDLE_END_S)")
    parser.add_argument("--run-for", metavar="SECONDS", help="end before this time is over (RUN_FOR_S)")


def main(chosen: argparse.Namespace) -> int:
    """Work; the exit code: 0 well, 1 a fault of ours or a ComfyUI that will not run, 2 wrong settings."""
    told = {
        "COMFY_DIR": chosen.comfy_dir,
        "COMFY_ARGS": chosen.comfy_args,
        "GPUS": chosen.gpus,
        "IDLE_END_S": chosen.idle_end,
        "RUN_FOR_S": chosen.run_for,
    }
    try:
        settings = read_settings({**os.environ, **{name: value for name, value in told.items() if value is not None}})
    except SettingsError as error:
        print("The worker cannot start:", *(f"- {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        return 2
    start_logs(settings.log_level, settings.log_format, settings.worker_name)
    try:
        worker = build_worker(settings, once=chosen.command == "once")
    except NoGpus as error:
        print(f"The worker cannot start:\n- {error}", file=sys.stderr)
        return 2
    stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(128 + number)
        stopping = True
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return worker.run()
