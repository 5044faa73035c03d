"""Start the sandbox: `python -m sandbox` (what `make demo` runs)."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from rich.console import Console

from infra.package import PackagingFailed
from infra.stack import StackFailed
from sandbox.cloud import CloudFailed
from sandbox.once import run_once
from sandbox.world import CLIENT, HOME, Wishes, World, WorldFailed

_SAID = (WorldFailed, CloudFailed, StackFailed, PackagingFailed)


def main(arguments: Sequence[str]) -> int:
    """Start everything, serve until Ctrl-C (or run once), stop everything; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sandbox",
        description="The whole of ComfySheet on this machine: a sheet in the browser, the API, a worker and a ComfyUI.",
    )
    parser.add_argument("--once", action="store_true", help="run the example rows by itself, print a table, and end")
    parser.add_argument("--keep", action="store_true", help="keep the sheet, jobs and pictures from run to run")
    parser.add_argument("--comfy-url", default=os.environ.get("COMFY_URL", ""), help="a real ComfyUI to render on")
    parser.add_argument("--port", type=int, default=0, help="the page's port (default: any free one)")
    parser.add_argument("--step-ms", type=int, default=40, help="the stand-in's time for one sampler step")
    chosen = parser.parse_args(arguments)
    console = Console(highlight=False)
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            # A second Ctrl-C insists.
            raise KeyboardInterrupt
        ended.set()

    wishes = Wishes(
        # Apart, so that what is kept is never mixed with the rest of a run that is not.
        home=HOME / ("kept" if chosen.keep else "run"),
        keep=chosen.keep,
        comfy_url=chosen.comfy_url,
        port=chosen.port,
        step_ms=chosen.step_ms,
    )
    console.print("ComfySheet's sandbox starts …")
    try:
        with World(wishes, say=lambda line: console.print(line, markup=False, soft_wrap=True)) as world:
            console.print(f"  sheet             {world.server.url}/", soft_wrap=True)
            code = world.keys.maker.new_code(CLIENT)
            console.print(f"  code for Settings {code}", soft_wrap=True)
            if chosen.once:
                return run_once(world, console)
            _tell_programs(world, console)
            signal.signal(signal.SIGINT, end)
            signal.signal(signal.SIGTERM, end)
            console.print(f"\nOpen [bold]{world.server.url}/[/] in a browser. Ctrl-C stops everything.")
            ended.wait()
            console.print("stopping …")
    except _SAID as said:
        console.print(str(said), markup=False, style="red")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _tell_programs(world: World, console: Console) -> None:
    """Print what a program needs, to be pasted into a terminal as it is."""
    console.print("\nFor programs and the command comfysheet (client/README.md), in another terminal:")
    key = world.keys.maker.new_api(CLIENT, {"scopes": "read submit raw"})
    for line in (
        f"export COMFYSHEET_URL={world.cloud.api_url}",
        f"export COMFYSHEET_KEY={key}",
        ".venv/bin/comfysheet run empty-color",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
