"""Start the worker from the command line: `python -m worker queue` (until stopped) or `once` (until nothing waits)."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final

from worker.logs import start_logs
from worker.settings import SettingsError, read_settings
from worker.wiring import build_worker

EPILOG: Final = """\
Settings come from the environment. Places: COMFY_URL (default http://127.0.0.1:8188), JOBS_QUEUE_URL,
COMPLETIONS_QUEUE_URL, JOBS_DLQ_URL (optional), JOBS_TABLE, S3_BUCKET, AWS_REGION. The rest has defaults:
SLOTS, MAX_OUTPUT_MB, STALL_S, LEASE_S, HEARTBEAT_S, VISIBILITY_S, CLOCK_SKEW_S, POLL_UP_S, POLL_DOWN_S,
WAIT_S, WORKER_NAME, LOG_LEVEL, LOG_FORMAT (json or text). See docs/worker.md.
Ctrl-C or SIGTERM hands running jobs back and ends within two seconds; a second one ends at once.
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code: 0 well, 1 a fault of ours, 2 wrong settings."""
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Take jobs from the queue and render them on ComfyUI.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="queue|once")
    commands.add_parser("queue", help="take jobs until stopped")
    commands.add_parser("once", help="take jobs until the queue is empty, then end")
    chosen = parser.parse_args(arguments)
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print("The worker cannot start:", *(f"- {fault}" for fault in error.faults), sep="\n", file=sys.stderr)
        return 2
    start_logs(settings.log_level, settings.log_format, settings.worker_name)
    worker = build_worker(settings, once=chosen.command == "once")
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


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # A slot may still wait in a receive of up to 20 s; nothing is left to do for it.
    os._exit(code)
