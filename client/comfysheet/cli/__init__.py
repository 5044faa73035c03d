"""
Be the command `comfysheet`.

Results go to standard output and are made for pipes; what is for people's eyes goes to standard error. Exit codes: 0 it
went well, 1 a job failed or was cancelled, 2 wrong usage or settings (also: the server refuses what was asked for),
3 no answer in time, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from comfysheet.cli.arguments import make_parser
from comfysheet.cli.typed import Usage
from comfysheet.errors import (
    ComfySheetError,
    DownloadFailed,
    JobCanceled,
    JobFailed,
    RateLimited,
    ServerError,
    Timeout,
    Unreachable,
)

FAILED, USAGE, NO_ANSWER, STOPPED = 1, 2, 3, 130


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for; the exit code."""
    chosen = make_parser().parse_args(arguments)
    try:
        code: int = chosen.do(chosen)
        sys.stdout.flush()
        return code
    except (ComfySheetError, Usage, OSError, ValueError) as error:
        if isinstance(error, BrokenPipeError):
            # Whoever reads has seen enough. Python must not meet the closed pipe again when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"comfysheet: {error}", file=sys.stderr)
        return _code_of(error)
    except KeyboardInterrupt:
        print("comfysheet: stopped.", file=sys.stderr)
        return STOPPED


def _code_of(error: Exception) -> int:
    if isinstance(error, JobFailed | JobCanceled | DownloadFailed):
        return FAILED
    if isinstance(error, Unreachable | ServerError | RateLimited | Timeout):
        return NO_ANSWER
    return USAGE


def run() -> None:
    """Be the installed command."""
    sys.exit(main(sys.argv[1:]))
