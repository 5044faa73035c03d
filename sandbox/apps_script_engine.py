"""Start a script in a process of its own, answer its calls, and end it when its time is over."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

HERE: Final = Path(__file__).parent
#: Frames with lower line numbers are the shim's.
FIRST_LINE: Final = 1000
#: What Apps Script allows is not published.
MEMORY_BYTES: Final = 256 * 1024 * 1024
OUT_OF_TIME: Final = "Exceeded maximum execution time"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Hold one file of a project; its lines are numbered on from *first_line*, so that a stack tells the file."""

    name: str
    text: str
    first_line: int


@dataclass(frozen=True, slots=True)
class Ended:
    """Say how an execution ended: *result* is JSON's value, or *error* says what Apps Script would show."""

    result: Any = None
    error: str | None = None
    stack: str = ""


class Answer(Protocol):
    """Answer one call of the script: JSON text in, JSON text (ASCII, one line) out."""

    def __call__(self, call: str, /) -> str:
        """Answer *call*."""


def number_lines(files: Sequence[tuple[str, str]]) -> tuple[SourceFile, ...]:
    """Lay (name, text) pairs out one after the other."""
    numbered: list[SourceFile] = []
    line = FIRST_LINE
    for name, text in files:
        numbered.append(SourceFile(name, text, line))
        line += text.count("\n") + 2
    return tuple(numbered)


def execute(
    files: Sequence[SourceFile],
    function: str,
    args: Sequence[Any],
    answer: Answer,
    *,
    time_zone: str,
    time_limit_s: float,
    html: bool = False,
) -> Ended:
    """
    Load *files* into a fresh global scope and call *function* with *args*; *html*: as google.script.run calls it.

    Calls of the script are answered by *answer* on this thread. An exception that *answer* lets out ends the script
    and comes out here.
    """
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", str(HERE / "apps_script_child.py"), _engine_folder()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"TZ": time_zone, "PATH": os.defpath},
    )
    out_of_time = threading.Event()

    def end() -> None:
        out_of_time.set()
        child.kill()

    timer = threading.Timer(time_limit_s, end)
    timer.daemon = True
    timer.start()
    start = {
        "memory_bytes": MEMORY_BYTES,
        "cpu_s": int(time_limit_s) + 5,
        "shim": (HERE / "apps_script_shim.js").read_text("utf-8"),
        "files": [[file.first_line, file.text] for file in files],
        "function": function,
        "args": list(args),
        "html": html,
    }
    try:
        ended = _converse(child, json.dumps(start), answer)
    finally:
        timer.cancel()
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            _close(pipe)
    if ended is None:
        return Ended(error=OUT_OF_TIME if out_of_time.is_set() else "The script's process died.")
    return ended


def _converse(child: subprocess.Popen[bytes], start: str, answer: Answer) -> Ended | None:
    assert child.stdin and child.stdout
    _say(child, start)
    for line in child.stdout:
        if line[:1] == b"D":
            return Ended(**json.loads(line[1:]))
        _say(child, answer(line[1:].decode()))
    return None


def _say(child: subprocess.Popen[bytes], text: str) -> None:
    assert child.stdin
    try:
        child.stdin.write(text.encode("ascii") + b"\n")
        child.stdin.flush()
    except BrokenPipeError:
        return  # killed meanwhile: reading ends as well


def _close(pipe: Any) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return


def _engine_folder() -> str:
    spec = importlib.util.find_spec("_quickjs")
    if spec is None or spec.origin is None:
        raise RuntimeError("quickjs-ng is not installed (it is in requirements-dev.txt)")
    return str(Path(spec.origin).parent)
