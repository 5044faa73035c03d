"""The managed ComfyUI, with real child processes: a main.py that answers like ComfyUI, or misbehaves on purpose."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.waiting import wait_until
from worker.clock import Clock
from worker.comfy.command import ComfyCommand, faults_of, python_of
from worker.comfy.process import ManagedComfy

MAIN = '''
"""Answer /system_stats as ComfyUI does; --disable-metadata is known."""
import argparse, http.server, json, os, signal, sys, threading
parser = argparse.ArgumentParser()
for flag in ("--listen", "--port", "--mode"):
    parser.add_argument(flag)
parser.add_argument("--disable-metadata", action="store_true")
told = parser.parse_args()
if told.mode == "dies":
    print("RuntimeError: no GPU here"); sys.exit(3)
if told.mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if told.mode == "hangs":
    threading.Event().wait()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(9)
        body = json.dumps({"argv": sys.argv, "environment": dict(os.environ), "pid": os.getpid()}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
print("10%\\r50%\\r100% loaded"); sys.stdout.flush()
http.server.ThreadingHTTPServer((told.listen, int(told.port)), Handler).serve_forever()
'''


class QuickClock(Clock):
    """Wait a hundredth of the time: pauses between restarts cost nothing."""

    def wait(self, bell: threading.Event, seconds: float) -> bool:
        return bell.wait(min(seconds, 0.05))


class Child:
    """Hold one managed ComfyUI and its thread."""

    def __init__(self, folder: Path, *arguments: str, boot_s: float = 20, **environment: str) -> None:
        (folder / "main.py").write_text(MAIN)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.gave_up = threading.Event()
        self.warmed: list[str] = []
        command = ComfyCommand(folder, sys.executable, self.port, arguments, gpu="1")
        self.comfy = ManagedComfy(
            command,
            QuickClock(),
            environment={**os.environ, **environment},
            boot_s=boot_s,
            warm=self.warmed.append,
            on_give_up=self.gave_up.set,
        )
        self.thread = threading.Thread(target=self.comfy.run, daemon=True)
        self.thread.start()

    def ready(self) -> None:
        assert wait_until(lambda: self.comfy.closed_because() is None, 20)

    def told(self) -> dict[str, object]:
        answer: dict[str, object] = requests.get(f"{self.comfy.url}/system_stats", timeout=5).json()
        return answer

    def end(self) -> None:
        self.comfy.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


@pytest.fixture
def children(tmp_path: Path) -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        child.end()


def test_it_starts_answers_is_warmed_and_ends(tmp_path: Path, children: list[Child]) -> None:
    """On loopback, with the flags that this ComfyUI knows; nothing listens when it was closed."""
    child = Child(tmp_path)
    children.append(child)
    child.ready()
    line = child.told()["argv"]
    assert isinstance(line, list)
    assert line[1:] == ["--listen", "127.0.0.1", "--port", str(child.port), "--disable-metadata"]
    assert child.warmed == [child.comfy.url]
    assert wait_until(lambda: "100% loaded" in child.comfy.last_lines, 5)
    child.end()
    with pytest.raises(requests.ConnectionError):
        child.told()


def test_it_sees_its_gpu_and_none_of_our_credentials(tmp_path: Path, children: list[Child]) -> None:
    """Custom nodes are anybody's code: an allow-list, and nothing that looks like a secret even then."""
    secrets = {"AWS_ACCESS_KEY_ID": "canary", "AWS_SECRET_ACCESS_KEY": "canary", "JOBS_QUEUE_URL": "canary"}
    secrets |= {"CUDA_TOKEN": "canary", "GOOGLE_APPLICATION_CREDENTIALS": "canary", "HF_TOKEN": "canary"}
    child = Child(tmp_path, **secrets, CUDA_HOME="/cuda")
    children.append(child)
    child.ready()
    seen = child.told()["environment"]
    assert isinstance(seen, dict) and "canary" not in seen.values()
    assert (seen["CUDA_VISIBLE_DEVICES"], seen["CUDA_HOME"], seen["PATH"]) == ("1", "/cuda", os.environ["PATH"])


def test_one_that_dies_is_started_again(tmp_path: Path, children: list[Child]) -> None:
    """With another process id; the door is closed meanwhile."""
    child = Child(tmp_path)
    children.append(child)
    child.ready()
    before = child.told()["pid"]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{child.comfy.url}/die", timeout=5)
    assert wait_until(lambda: child.comfy.restarts == 1 and child.comfy.closed_because() is None, 20)
    assert child.told()["pid"] != before


def test_one_that_hangs_is_killed_and_started_again_on_demand(tmp_path: Path, children: list[Child]) -> None:
    """Also when it does not listen to SIGTERM; asking twice restarts it once."""
    child = Child(tmp_path, "--mode", "deaf")
    children.append(child)
    child.ready()
    before = child.told()["pid"]
    child.comfy.restart("its executor hangs")
    child.comfy.restart("its executor hangs")
    assert child.comfy.closed_because() is not None
    assert wait_until(lambda: child.comfy.restarts == 1 and child.comfy.closed_because() is None, 30)
    assert child.told()["pid"] != before


def test_three_restarts_are_the_end(tmp_path: Path, children: list[Child]) -> None:
    """One that dies at each start is given up; its last words are kept."""
    child = Child(tmp_path, "--mode", "dies")
    children.append(child)
    assert child.gave_up.wait(60)
    assert (child.comfy.restarts, child.comfy.has_given_up) == (3, True)
    assert "exit code 3" in str(child.comfy.closed_because())
    assert "RuntimeError: no GPU here" in child.comfy.last_lines


def test_one_that_never_answers_is_given_up_too(tmp_path: Path, children: list[Child]) -> None:
    """A boot that takes too long counts as a death."""
    child = Child(tmp_path, "--mode", "hangs", boot_s=0.3)
    children.append(child)
    assert child.gave_up.wait(60)
    assert "did not answer" in str(child.comfy.closed_because())


def test_a_strangers_server_is_not_taken_for_ours(tmp_path: Path, children: list[Child]) -> None:
    """Whoever listens on the port is left alone, and named."""
    child = Child(tmp_path)
    children.append(child)
    child.ready()
    (tmp_path / "other").mkdir()
    other = ManagedComfy(ComfyCommand(tmp_path, sys.executable, child.port), QuickClock(), environment={})
    thread = threading.Thread(target=other.run, daemon=True)
    thread.start()
    assert wait_until(lambda: other.has_given_up, 20)
    assert "is taken by another program" in str(other.closed_because())
    other.close()
    thread.join(5)
    assert child.told()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_worker_leaves_no_comfyui_behind(tmp_path: Path) -> None:
    """SIGKILL asks nobody: the kernel ends the child."""
    (tmp_path / "main.py").write_text(MAIN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), str(port)], cwd=Path(__file__).parents[2])
    url = f"http://127.0.0.1:{port}/system_stats"

    def answers() -> bool:
        try:
            return requests.get(url, timeout=1).status_code == 200
        except requests.RequestException:
            return False

    try:
        assert wait_until(answers, 20)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert wait_until(lambda: not answers(), 10)


PARENT = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    from worker.clock import Clock
    from worker.comfy.command import ComfyCommand
    from worker.comfy.process import ManagedComfy
    command = ComfyCommand(Path(sys.argv[1]), sys.executable, int(sys.argv[2]))
    ManagedComfy(command, Clock(), environment=os.environ).run()
    """
)


@pytest.mark.parametrize(
    ("arguments", "is_fine"),
    [
        (["--lowvram"], True),
        (["--listen", "127.0.0.1"], True),
        (["--listen"], False),
        (["--listen", "0.0.0.0"], False),
        (["--listen=0.0.0.0"], False),
        (["--port", "9"], False),
        (["--listen=127.0.0.1,0.0.0.0"], False),
        (["--lis", "0.0.0.0"], False),
        (["--li=::"], False),
        (["--lowvram", "--listen", "--cpu"], False),
        (["--po=80"], False),
        (["--enable-cors-header"], False),
        (["--enable-c=*"], False),
        (["--enable-manager"], False),
        (["--preview-size", "512", "--lowvram", "--fast"], True),
    ],
)
def test_arguments_that_would_open_it_to_the_world_are_refused(arguments: list[str], is_fine: bool) -> None:
    """Whoever reaches ComfyUI owns the machine."""
    assert (faults_of(arguments) == []) is is_fine


def test_its_own_python_is_found(tmp_path: Path) -> None:
    """As told; else its venv's; else ours."""
    assert python_of(tmp_path, None) == sys.executable
    own = tmp_path / "venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    assert python_of(tmp_path, None) == str(own)
    assert python_of(tmp_path, "/usr/bin/python9") == "/usr/bin/python9"
