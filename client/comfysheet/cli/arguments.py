"""Say what can be typed after `comfysheet`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from comfysheet.cli import commands

_CODES = """exit codes: 0 it went well, 1 a job failed or was cancelled, 2 wrong usage or settings,
3 no answer in time, 130 stopped by Ctrl-C"""
_PARAMETER = """an input: NAME=VALUE, or NAME=@FILE to upload a file (of a .txt file its text is given; NAME=@- gives
standard input; NAME=@@… begins with a single @)"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="comfysheet",
        description="Have pictures made by a ComfySheet render farm. The API's address and key are read from "
        "COMFYSHEET_URL and COMFYSHEET_KEY.",
        epilog=_CODES,
    )
    parser.add_argument("--version", action="version", version=f"comfysheet {_version()}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)

    def verb(name: str, summary: str, do: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=_CODES)
        one.add_argument("--url", help="the API's address (instead of COMFYSHEET_URL)")
        one.add_argument("--json", action="store_true", help="print JSON, one object a line")
        one.set_defaults(do=do)
        return one

    _run(verb("run", "make a job, wait for it and save its files", commands.run))
    _job(verb("submit", "make a job and print its id; do not wait", commands.submit))
    _wait(verb("wait", "wait until jobs have ended", commands.wait))
    status = verb("status", "show jobs (without ids: the latest)", commands.status)
    status.add_argument("jobs", nargs="*", metavar="ID")
    logs = verb("logs", "print the record of a job's run (JSON lines)", commands.logs)
    logs.add_argument("job", metavar="ID")
    cancel = verb("cancel", "cancel jobs", commands.cancel)
    cancel.add_argument("jobs", nargs="+", metavar="ID")
    workflows = verb("workflows", "list the workflows, or the parameters of one", commands.workflows)
    workflows.add_argument("workflow", nargs="?", metavar="ID")
    _map(verb("map", "make a job of each row of a CSV file and save their files", commands.map_rows))
    return parser


def _job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", metavar="WORKFLOW", help="a workflow's id, or a .json file in ComfyUI's API format")
    parser.add_argument(
        "-p", "--set", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help=_PARAMETER
    )
    parser.add_argument("--key", metavar="TEXT", help="idempotency key: the same key and inputs are the same job")
    _common(parser)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--priority", type=int, metavar="N", help="-100 to 100, among your own jobs")
    parser.add_argument("--tag", dest="tags", action="append", default=[], metavar="TEXT", help="a tag to find it by")


def _waiting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, metavar="S", help="wait at most this long for a job, in seconds")
    parser.add_argument("-q", "--quiet", action="store_true", help="draw no progress bar")


def _run(parser: argparse.ArgumentParser) -> None:
    _job(parser)
    _waiting(parser)
    parser.add_argument("-o", "--output", metavar="DIR", default=".", help="where to save the files (default: here)")


def _wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", nargs="+", metavar="ID")
    _waiting(parser)
    parser.add_argument("-o", "--output", metavar="DIR", help="save the files here")


def _map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workflow", metavar="WORKFLOW", help="a workflow's id")
    parser.add_argument("rows", metavar="ROWS.csv", help="a header line of input names, then a line a job")
    parser.add_argument("-n", "--in-flight", type=int, default=8, metavar="N", help="jobs at once (default: 8)")
    parser.add_argument(
        "--key", metavar="TEXT", help="a name for this table: run again, it makes only what has not succeeded"
    )
    parser.add_argument(
        "--file", dest="files", action="append", default=[], metavar="COLUMN", help="a column that holds files' paths"
    )
    _common(parser)
    _waiting(parser)
    parser.add_argument("-o", "--output", metavar="DIR", default=".", help="where to save the files (default: here)")


def _version() -> str:
    try:
        return version("comfysheet-client")
    except PackageNotFoundError:
        return "(not installed)"
