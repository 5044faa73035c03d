"""Run the ComfyUI stand-in as a server of its own: `python -m sandbox.comfy --port 8188 --dir /tmp/comfy`."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sandbox.comfy.standin import DEFAULT_STEP_MS, ComfyStandIn


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.comfy",
        description="A stand-in for ComfyUI 0.28.0 on 127.0.0.1: the real protocol, no models, no GPU.",
    )
    parser.add_argument("--port", type=int, default=8188, help="0 takes a free one (default: 8188)")
    parser.add_argument(
        "--dir", metavar="DIR", help="where input/, output/ and temp/ live (default: a new temporary folder)"
    )
    parser.add_argument(
        "--step-ms",
        type=float,
        default=DEFAULT_STEP_MS,
        metavar="MS",
        help="how long one sampler step takes (default: %(default)g)",
    )
    parser.add_argument("--instant", action="store_true", help="take no time for sampler steps")
    parser.add_argument(
        "--test-nodes",
        action="store_true",
        help="also load the nodes that fail, sleep, run out of memory or kill the executor on purpose",
    )
    parser.add_argument("--meter", type=Path, metavar="FILE", help="add a line here when a run begins or ends")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    arguments = _arguments(argv)
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # before the threads start, so that only sigwait sees them
    comfy = ComfyStandIn(
        arguments.dir or tempfile.mkdtemp(prefix="comfy-stand-in-"),
        step_ms=arguments.step_ms,
        instant=arguments.instant,
        test_nodes=arguments.test_nodes,
        port=arguments.port,
        meter=arguments.meter,
    )
    try:
        comfy.start()
    except OSError as exc:
        print(f"cannot listen on 127.0.0.1:{arguments.port}: {exc.strerror}", file=sys.stderr)
        return 1
    print(f"ComfyUI stand-in on {comfy.url}", flush=True)
    signal.sigwait(signals)
    comfy.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
