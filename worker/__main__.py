"""Start the worker from the command line: `python -m worker --help` lists what it can do."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

COMMANDS: Final = {
    "queue": ("worker.daemon", "take jobs until stopped"),
    "once": ("worker.daemon", "take jobs until the queue is empty, then end"),
    "run": ("worker.run", "run one workflow on a ComfyUI, without any cloud"),
    "bridge": ("worker.bridge", "keep one workflow ready, and run it when other programs say so"),
    "doctor": ("worker.doctor", "look at everything a worker needs, one by one"),
}
"""Name to the module that does it (`add_arguments(parser)`, `main(chosen) -> exit code`), and what it does."""


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code: 0 well, 1 it failed, 2 wrong settings or arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Render on ComfyUI: jobs from the queue, or a workflow of your own.",
        epilog="`python -m worker COMMAND --help` says more. Settings: docs/worker.md.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(
            name, help=what, description=what.capitalize() + ".", formatter_class=argparse.RawDescriptionHelpFormatter
        )
        # `run` works on a machine that has nothing of the cloud: a command loads only what it needs.
        if name in arguments[:1]:
            import_module(module).add_arguments(command)
    chosen = parser.parse_args(arguments)
    return int(import_module(COMMANDS[chosen.command][0]).main(chosen))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread may still wait in a receive of up to 20 s; nothing is left to do for it.
    os._exit(code)
