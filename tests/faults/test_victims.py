"""Victims die where they are told to, and say where; nothing of theirs happens after that."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from faults.kills import End, by_deed, points_of, sample
from faults.victim import Point

ROOT = Path(__file__).resolve().parents[2]
WATCHED = """
import json, sys
from faults.victim import Point, Watch
point, out = json.loads(sys.argv[1]), open(sys.argv[2], "wb", buffering=0)
watch = Watch(Point(**point) if point else None, lambda line: out.write(line.encode()))
watch.over_sockets()
watch.over_files()
"""
ASKS = """
import socket
with socket.create_connection(("127.0.0.1", int(sys.argv[3])), 20) as line:
    line.sendall(b"question")
    for _ in range(5):
        line.recv(1)
out.write(json.dumps(watch.calls).encode())
"""
WRITES = """
from pathlib import Path
Path(sys.argv[3]).write_text("a whole sentence")
Path(sys.argv[3]).replace(sys.argv[3] + ".moved")
out.write(json.dumps(watch.calls).encode())
"""
NOBODY = "nobody of ours"


class Host:
    """Answer one caller: remember what came, answer at once."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = str(self._listener.getsockname()[1])
        self.heard = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        caller, _ = self._listener.accept()
        with caller:
            caller.settimeout(20)
            try:
                self.heard = caller.recv(100)
                caller.sendall(b"answer")
                caller.recv(1)
            except OSError:
                return

    def close(self) -> bytes:
        """Wait for the caller's end; what it said."""
        self._thread.join(20)
        self._listener.close()
        return self.heard


def run(program: str, point: Point | None, tmp_path: Path, argument: str) -> tuple[int, str]:
    """Run *program* watched, to die at *point*; its exit code and what it told."""
    told = tmp_path / "told"
    named = json.dumps(vars(point) if point else None)
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED + program, named, str(told), argument], cwd=ROOT, timeout=60, check=False
    )
    return ended.returncode, told.read_text()


def test_a_victim_dies_before_what_it_would_send_leaves(tmp_path: Path) -> None:
    """The other side hears nothing; the victim has named the call."""
    host = Host()
    code, told = run(ASKS, Point("network", f"send {NOBODY}"), tmp_path, host.port)
    assert (code, json.loads(told)) == (-signal.SIGKILL, {"died": f"send {NOBODY} #1"})
    assert host.close() == b""


def test_a_victim_dies_of_an_answer_that_has_come(tmp_path: Path) -> None:
    """The other side heard all and answered; the victim never reads it."""
    host = Host()
    code, _ = run(ASKS, Point("network", f"receive {NOBODY}"), tmp_path, host.port)
    assert code == -signal.SIGKILL
    assert host.close() == b"question"


def test_an_answer_read_in_crumbs_counts_a_few_times(tmp_path: Path) -> None:
    """Its 1st, 2nd and 4th reading are calls, the others are not; a life that was watched lists its points."""
    host = Host()
    code, told = run(ASKS, None, tmp_path, host.port)
    assert code == 0 and host.close() == b"question"
    end = End(calls=[(kind, name) for kind, name in json.loads(told)])
    assert [point.told().replace(f" {NOBODY}", "") for point in points_of(end, "network")] == [
        "connect #1",
        "send #1",
        "receive #1",
        "receive #2",
        "receive #3",
    ]


@pytest.mark.parametrize("deed, left", [("open", None), ("write", "a whole "), ("rename", "a whole sentence")])
def test_a_victim_of_the_disk_leaves_what_a_power_cut_would(tmp_path: Path, deed: str, left: str | None) -> None:
    """Killed before the file is there, with half of it written, before it is moved."""
    file = tmp_path / "file"
    code, told = run(WRITES, Point("file", f"{deed} {NOBODY}"), tmp_path, str(file))
    assert (code, json.loads(told)["died"]) == (-signal.SIGKILL, f"{deed} {NOBODY} #1")
    assert (file.read_text() if file.exists() else None) == left
    assert not (tmp_path / "file.moved").exists()


def test_a_sample_is_spread_over_the_whole_life() -> None:
    """First and last are in it, no point twice; few points are taken as they are."""
    life = [Point("network", "send", turn) for turn in range(1, 101)]
    taken = [point.turn for point in sample(life, 5)]
    assert taken[0] == 1 and taken[-1] == 100 and len(set(taken)) == 5
    assert sample(life[:3], 5) == life[:3]


def test_deaths_are_counted_by_what_was_done() -> None:
    """Those who lived are not counted."""
    ends = [End("send a #1"), End("send b #1"), End("receive a #1"), End()]
    assert by_deed(ends) == "receive 1 send 2"
