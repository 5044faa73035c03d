"""
Bear victims: a process that has imported all of ours forks one for each order, so that none pays for the imports.

Orders come as lines of JSON on standard input (`faults.victim.run`; beside it `number`, `environment`, `log`), what
became of each goes to standard output: `{"number", "code", …}` with what the victim told. Ends with its input, and all
victims with it. The parent has one thread and touches no cloud: a fork of it is a fresh process in all but its imports.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, Final

IMPORTED: Final = ("app", "chalicelib.sheet", "worker.__main__", "worker.daemon", "PIL.PngImagePlugin")
LOOK_S: Final = 0.01
_SERVICES: Final = ("dynamodb", "sqs", "s3", "events", "ssm", "secretsmanager")


def main() -> int:
    """Serve until standard input ends."""
    _warm_up()
    alive: dict[int, tuple[int, Path]] = {}
    print(json.dumps({"ready": True}), flush=True)
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], LOOK_S if alive else None)
        if ready:
            part = os.read(0, 1 << 16)
            if not part:
                break
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                order = json.loads(line)
                told = Path(order["log"]).with_suffix(".told")
                alive[_born(order, told)] = (order["number"], told)
        while alive:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            number, told = alive.pop(pid)
            cpu_s = used.ru_utime + used.ru_stime
            became = {"number": number, "code": os.waitstatus_to_exitcode(status), "cpu_s": cpu_s, **_read(told)}
            print(json.dumps(became), flush=True)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return 0


def _read(told: Path) -> dict[str, Any]:
    lines = told.read_text().splitlines() if told.exists() else []
    told.unlink(missing_ok=True)
    return dict(json.loads(lines[-1])) if lines else {}


def _born(order: dict[str, Any], told: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        with open(order["log"], "ab") as log:  # noqa: PTH123 - of a process that is about to lose its files
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.close(0)
        os.environ.clear()
        os.environ.update(order["environment"])
        line = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        from faults.victim import run

        code = run(order, lambda text: _write(line, text))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)


def _write(line: int, text: str) -> None:
    rest = f"{text}\n".encode()
    while rest:
        rest = rest[os.write(line, rest) :]


def _warm_up() -> None:
    """Import all that victims import, and read the descriptions of AWS's services once for all of them."""
    import botocore.loaders
    from PIL import Image

    shared = botocore.loaders.create_loader()
    botocore.loaders.create_loader = lambda *_given: shared

    from boto3.session import Session

    for name in IMPORTED:
        importlib.import_module(name)

    session = Session("warm", "warm", region_name="us-east-1")
    for name in _SERVICES:
        client: Any = name
        session.client(client)
    Image.init()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
