"""The command `comfysheet`: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from comfysheet.cli import main
from tests.client_server import KEY, PICTURE, Fault, JobsServer, jobs_server

CLIENT = Path(__file__).resolve().parents[2] / "client"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[JobsServer]:
    with jobs_server() as server:
        monkeypatch.setenv("COMFYSHEET_URL", server.url)
        monkeypatch.setenv("COMFYSHEET_KEY", KEY)
        monkeypatch.chdir(tmp_path)
        server.looks = 1
        yield server


def start(server: JobsServer, arguments: Sequence[str], error: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start the command as a program of its own."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CLIENT),
        "COMFYSHEET_URL": server.url,
        "COMFYSHEET_KEY": KEY,
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    command = [sys.executable, "-m", "comfysheet", *arguments]
    # Started in the background (`make test &`) we ignore Ctrl-C, and a child would inherit that.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=error,
        text=True,
        preexec_fn=heed,
    )


def test_run_saves_and_prints_the_paths(server: JobsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Paths on standard output, one a line; nothing else when nobody looks on."""
    assert main(["run", "colour", "-p", "color=red", "--set", "pictures=2", "-o", "out", "--tag", "t"]) == 0
    assert capsys.readouterr() == ("out/fox.png\nout/fox.png\n", "")
    assert Path("out/fox.png").read_bytes() == PICTURE
    asked = server.seen[0].json()
    assert asked == {"workflow_id": "colour", "inputs": {"color": "red", "pictures": "2"}, "tags": ["t"]}


def test_json_is_one_object_a_line(server: JobsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives the server's own object, and what was saved."""
    assert main(["run", "colour", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "succeeded" and told["saved"] == ["fox.png"]


def test_values_come_from_files_and_pipes(server: JobsServer) -> None:
    """@file uploads, a .txt file gives its text, @- reads standard input, @@ is a single @, = may be in a value."""
    Path("in.png").write_bytes(PICTURE)
    Path("prompt.txt").write_text("a fox,\nin snow\n")
    typed = ["a=@in.png", "b=@prompt.txt", "c=@-", "d=@@home", "e=x=y", "f="]
    child = start(server, ["submit", "colour", *[part for value in typed for part in ("-p", value)]])
    said, complaint = child.communicate("from a pipe\n", timeout=60)
    assert child.returncode == 0, complaint
    [asset] = server.assets
    assert server.seen[-1].json()["inputs"] == {
        "a": f"asset:{asset}",
        "b": "a fox,\nin snow",
        "c": "from a pipe",
        "d": "@home",
        "e": "x=y",
        "f": "",
    }
    assert said == "job-1\n"


def test_a_graphs_file_is_run(server: JobsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A .json file is a raw graph."""
    Path("graph.json").write_text('{"1": {"class_type": "EmptyImage", "inputs": {}}}')
    assert main(["run", "graph.json", "-q"]) == 0
    assert "class_type" in str(server.seen[0].json()["workflow"])
    assert main(["run", "graph.json", "-p", "a=b"]) == 2
    assert main(["run", "nowhere.json"]) == 2
    Path("graph.json").write_text("[]")
    assert main(["run", "graph.json"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 1)[1][:12] for line in said] == ["A graph take", "There is no ", "graph.json h"]


def test_jobs_are_shown_waited_for_and_cancelled(server: JobsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """status, wait, logs and cancel take ids; wait answers 1 when a job did not succeed."""
    server.looks = 0
    for end in ("succeeded", "failed", "canceled"):
        main(["submit", "colour", "-p", f"end={end}"])
    assert main(["status", "job-1"]) == 0
    assert main(["cancel", "job-3"]) == 0
    server.end("job-1")
    server.end("job-2", "failed")
    assert main(["status"]) == 0
    assert main(["wait", "job-1"]) == 0
    assert main(["wait", "job-1", "job-2", "-o", "out"]) == 1
    assert main(["logs", "job-1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "job-1\tqueued\tcolour" and lines[4] == "job-3\tcanceled\tcolour"
    assert [line.split("\t")[0] for line in lines[5:8]] == ["job-3", "job-2", "job-1"]
    assert "node 6, KSampler" in lines[6] and lines[7] == "job-1\tsucceeded\tcolour\t1 file"
    assert lines[8] == "job-1\tsucceeded\tcolour\t1 file"
    assert lines[9] == "out/fox.png" and lines[10].startswith("job-2\tfailed") and lines[11] == '{"kind":"run"}'


def test_workflows_are_listed(server: JobsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """All by id and name; one with its parameters."""
    assert main(["workflows"]) == 0 and main(["workflows", "colour"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("colour\tOne colour\n") and "color\tcolor\tdefault #1e88e5" in out


def test_map_saves_each_rows_files(server: JobsServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Names begin with the row's number; a failed row is told on standard error, and the code is 1."""
    Path("rows.csv").write_text("color,end\nred,\nblue,failed\ngreen,\n")
    assert main(["map", "colour", "rows.csv", "-o", "out", "-n", "2", "--key", "k"]) == 1
    out, err = capsys.readouterr()
    assert sorted(out.split()) == ["out/0001-fox.png", "out/0003-fox.png"]
    assert "row 2: Job job-" in err and "1 of 3 rows failed." in err
    assert main(["map", "colour", "nowhere.csv"]) == 2


@pytest.mark.parametrize(
    ("arguments", "fault", "code", "says"),
    [
        (["run", "colour", "-p", "end=failed"], None, 1, "memory is full"),
        (["run", "none"], None, 2, "There is no workflow none"),
        (["run", "colour", "-p", "color"], None, 2, "write NAME=VALUE"),
        (["run", "colour", "-p", "image=@nowhere.png"], None, 2, "There is no file nowhere.png"),
        (["status", "job-9"], None, 2, "no job of this id"),
        (["workflows", "--url", "ftp://x"], None, 2, "must begin with https://"),
        (["workflows"], 500, 3, "HTTP 500"),
        (["run", "colour", "--timeout", "0"], None, 3, "still queued after 0 s"),
    ],
)
def test_a_fault_is_one_sentence_and_a_code(
    server: JobsServer,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    fault: int | None,
    code: int,
    says: str,
) -> None:
    """No traceback: one line on standard error."""
    if "--timeout" in arguments:
        server.looks = 0
    if fault:
        server.faults.append(Fault(".", fault, times=99))
    assert main(arguments) == code
    out, err = capsys.readouterr()
    assert out == "" and says in err and err.startswith("comfysheet: ") and err.count("\n") == 1


def test_missing_settings_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Both variables, at once."""
    monkeypatch.delenv("COMFYSHEET_URL", raising=False)
    monkeypatch.delenv("COMFYSHEET_KEY", raising=False)
    assert main(["workflows"]) == 2
    err = capsys.readouterr().err
    assert "COMFYSHEET_URL" in err and "COMFYSHEET_KEY" in err


@pytest.mark.parametrize("command", ["", "run", "submit", "wait", "status", "logs", "cancel", "workflows", "map"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows what can be typed, and the exit codes."""
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0 and "exit codes: 0 it went well" in capsys.readouterr().out


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse has it: usage on standard error."""
    with pytest.raises(SystemExit) as end:
        main(["paint"])
    assert end.value.code == 2 and "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "map"])
def test_ctrl_c_cancels_what_is_out(server: JobsServer, tmp_path: Path, command: str) -> None:
    """Interrupted in the middle: the jobs are cancelled, one sentence, exit code 130."""
    server.holds, server.looks = True, 0
    (tmp_path / "rows.csv").write_text("color\nred\nblue\n")
    number = 1 if command == "run" else 2
    child = start(server, [command, "colour"] if command == "run" else [command, "colour", str(tmp_path / "rows.csv")])
    assert server.wait_for(lambda: len(server.lines("GET .*/jobs/")) == number)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (130, "", "comfysheet: stopped.\n")
    assert [job["status"] for job in server.jobs.values()] == ["canceled"] * number


def test_a_bar_is_drawn_where_a_person_looks_on(server: JobsServer, tmp_path: Path) -> None:
    """On a terminal standard error shows how far the job is; standard output stays the paths alone."""
    server.looks = 2
    screen, terminal = os.openpty()
    child = start(server, ["run", "colour", "-o", str(tmp_path)], terminal)
    os.close(terminal)
    seen = b""
    # Reading a terminal whose other end was closed is an error on Linux, not an end.
    with suppress(OSError):
        while piece := os.read(screen, 4096):
            seen += piece
    os.close(screen)
    out, _ = child.communicate(timeout=30)
    assert (child.returncode, out) == (0, f"{tmp_path}/fox.png\n")
    assert b"KSampler 3/6" in seen and b"50%" in seen


def test_a_closed_pipe_is_no_error(server: JobsServer) -> None:
    """`comfysheet status | head -1`: whoever has seen enough may go."""
    for _ in range(3):
        main(["submit", "colour"])
    child = start(server, ["status"])
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert child.wait(30) == 0 and child.stderr.read() == ""
    child.stderr.close()
