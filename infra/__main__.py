"""
Run one verb: `python -m infra <verb> --help`.

Every module of this package may add verbs: it defines `register(verbs)`, adds parsers to *verbs* and gives each a
`run=` default, a function of the parsed arguments that returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence

import infra


def lacking(missing: ModuleNotFoundError) -> str:
    """Say which Python would have the package that is *missing*. Raise it where it is a module of ours."""
    package = str(missing.name).split(".")[0]
    if package in ("infra", "chalicelib"):
        raise missing
    return (
        f"This Python ({sys.executable}) lacks {package}. `make setup` makes one that has all: "
        "type .venv/bin/python -m infra, or . .venv/bin/activate first."
    )


try:
    from botocore.exceptions import BotoCoreError, ClientError

    from chalicelib.contract.errors import Rejected, Unavailable
    from infra.aws_words import sentence
    from infra.deploy.steps import Stopped
    from infra.npm import NpmFailed
    from infra.package import PackagingFailed
    from infra.sheet import SheetFailed
    from infra.stack import StackFailed
    from infra.template import TemplateConflict
except ModuleNotFoundError as missing:
    sys.exit(lacking(missing))

# What a person can do something about: shown as one sentence, without a traceback.
_SAID = (Stopped, NpmFailed, PackagingFailed, SheetFailed, StackFailed, TemplateConflict, Rejected, Unavailable)


def parser() -> argparse.ArgumentParser:
    """Return the command line with the verbs of every module in this package."""
    top = argparse.ArgumentParser(prog="python -m infra", description="Build, deploy and operate ComfySheet.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="<verb>")
    for module in pkgutil.iter_modules(infra.__path__, "infra."):
        if module.name != "infra.__main__":
            register = getattr(importlib.import_module(module.name), "register", None)
            if register:
                register(verbs)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except _SAID as said:
        print(said, file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError) as refusal:
        print(sentence(refusal), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has read enough (`… | head`); Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ModuleNotFoundError as missing:
        sys.exit(lacking(missing))
