"""
Judge the worker's ComfyUI edge on the stand-in, and on a real server when COMFY_URL names one.

Tests of faults that only test nodes can make run on the stand-in alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.contract.errors import Rejected, Unavailable
from sandbox.comfy import ComfyStandIn
from tests.waiting import Bell
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.doorbell import SocketDoorbell
from worker.comfy.faults import GraphRefused
from worker.comfy.history import Ending, Place
from worker.comfy.outputs import OutputFile, files_of
from worker.ports import InDoubt

Graph = dict[str, Any]


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyStandIn]:
    with ComfyStandIn(tmp_path_factory.mktemp("comfy"), step_ms=20, test_nodes=True) as comfy:
        yield comfy


@pytest.fixture(params=["stand-in", *(["real"] if os.environ.get("COMFY_URL") else [])])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "real":
        return os.environ["COMFY_URL"].rstrip("/")
    found: str = request.getfixturevalue("standin").url
    return found


@pytest.fixture
def client(url: str) -> ComfyClient:
    return ComfyClient(url)


@pytest.fixture
def doorbell(url: str) -> Iterator[SocketDoorbell]:
    with ringing(url) as bell:
        yield bell


class ringing:
    """Run a doorbell while the block lasts."""

    def __init__(self, url: str) -> None:
        self.doorbell = SocketDoorbell(url, Clock())
        self.thread = threading.Thread(target=self.doorbell.run, daemon=True)

    def __enter__(self) -> SocketDoorbell:
        self.thread.start()
        until(lambda: self.doorbell.is_up)
        return self.doorbell

    def __exit__(self, *_: object) -> None:
        self.doorbell.close()
        self.thread.join(10)
        assert not self.thread.is_alive()


def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds, looking often."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.01)


def drawing(prefix: str | None = None, **more: Any) -> Graph:
    """Make a graph that any ComfyUI runs without a model; new each time."""
    prefix = prefix or f"cs/{uuid4()}/1/9"
    graph: Graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 255}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }
    graph |= more
    return graph


def slow(seconds: float = 5.0) -> Graph:
    """Sleep in steps that notice an interrupt (stand-in only)."""
    inputs = {"image": ["1", 0], "seconds": seconds, "steps": 100, "preview": False, "seed": uuid4().int % 2**32}
    graph = drawing(**{"2": {"class_type": "TestSleep", "inputs": inputs}})
    graph["9"]["inputs"]["images"] = ["2", 0]
    return graph


def raising(kind: str) -> Graph:
    inputs = {"image": ["1", 0], "kind": kind, "seed": uuid4().int % 2**32}
    graph = drawing(**{"2": {"class_type": "TestRaise", "inputs": inputs}})
    graph["9"]["inputs"]["images"] = ["2", 0]
    return graph


def submit(client: ComfyClient, graph: Graph) -> str:
    return client.submit(graph, str(uuid4()), None)


def ended(client: ComfyClient, prompt_id: str) -> Any:
    until(lambda: client.ended(prompt_id))
    return client.ended(prompt_id)


def test_a_prompt_is_queued_ends_and_gives_its_file(client: ComfyClient) -> None:
    """Submit, history, view, forget: the bytes are a PNG, and the history is empty afterwards."""
    prompt_id = str(uuid4())
    assert client.submit(drawing(), prompt_id, None) == prompt_id
    entry = ended(client, prompt_id)
    assert entry.ending is Ending.SUCCESS
    assert entry.execution_ms is not None
    (file,) = files_of(entry.outputs)
    into = BytesIO()
    client.fetch(file, 10**6, into)
    assert into.getvalue().startswith(b"\x89PNG")
    client.forget(prompt_id)
    assert client.ended(prompt_id) is None
    assert client.where(prompt_id).place is Place.NOWHERE


def test_the_server_says_who_it_is(client: ComfyClient) -> None:
    """Version and device are for the log and for people; its memory is for the worker's card."""
    facts = client.facts()
    assert facts.vram_total_bytes is not None and facts.vram_free_bytes is not None
    assert facts.version != "unknown"
    assert facts.device != "unknown"


def test_trap_1_a_200_with_node_errors_is_a_refusal(client: ComfyClient) -> None:
    """Two output nodes, one of them wrong: ComfyUI accepts the rest; for us the graph is refused."""
    graph = drawing(
        **{
            "3": {"class_type": "LoadImage", "inputs": {"image": "nothere.png"}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "cs/bad"}},
        }
    )
    with pytest.raises(GraphRefused) as refused:
        submit(client, graph)
    assert refused.value.error.node == "3"
    assert refused.value.error.node_class == "LoadImage"
    assert "nothere.png" in refused.value.error.text


def test_wrong_values_are_refused_in_words(client: ComfyClient) -> None:
    """Node, input, value and bound are in the sentence."""
    graph = drawing()
    graph["1"]["inputs"]["width"] = -5
    with pytest.raises(GraphRefused) as refused:
        submit(client, graph)
    assert refused.value.message == "width of EmptyImage must be at least 1, not -5."


def test_a_node_that_is_not_installed_is_named(client: ComfyClient) -> None:
    """The class name is what somebody has to install."""
    with pytest.raises(GraphRefused) as refused:
        submit(client, drawing(**{"5": {"class_type": "NoSuchNode", "inputs": {}}}))
    assert "NoSuchNode" in refused.value.message


def test_trap_11_a_prompt_of_the_wrong_shape_is_refused_for_good(client: ComfyClient) -> None:
    """Some shapes make the server answer 500 in text/plain: it would do so again."""
    with pytest.raises(GraphRefused) as refused:
        submit(client, {"last_node_id": 1, "nodes": [{"id": 1}], "links": []})
    assert refused.value.code in ("invalid_graph", "refused_by_comfyui", "missing_node")


def test_the_values_of_a_list_can_be_asked_for(client: ComfyClient) -> None:
    """For hints about the nearest name; a class or an input that is not there has none."""
    assert "lanczos" in client.choices("ImageScale", "upscale_method")
    assert client.choices("ImageScale", "width") == []
    assert client.choices("NoSuchNode", "x") == []


def test_trap_4_an_identical_prompt_names_a_file_that_may_be_gone(client: ComfyClient) -> None:
    """Cached: the old name again. With a prefix of its own the save node runs again and makes a new file."""
    graph = drawing()
    first = files_of(ended(client, submit(client, graph)).outputs)
    again = files_of(ended(client, submit(client, graph)).outputs)
    assert again == first
    graph["9"]["inputs"]["filename_prefix"] = f"cs/{uuid4()}/2/9"
    anew = files_of(ended(client, submit(client, graph)).outputs)
    assert anew != first
    gone = OutputFile("9", "gone_00001_.png", first[0].subfolder, "output")
    with pytest.raises(Unavailable, match="not there"):
        client.fetch(gone, 10**6, BytesIO())


@pytest.mark.parametrize("path", [("../../x.png", ""), ("x.png", "../.."), ("/etc/passwd", "")])
def test_view_gives_nothing_outside_its_folders(client: ComfyClient, path: tuple[str, str]) -> None:
    """Whatever a node reports: refused, or not found; never bytes."""
    with pytest.raises((Rejected, Unavailable)):
        client.fetch(OutputFile("1", path[0], path[1], "output"), 10**6, BytesIO())


def test_a_file_above_the_limit_is_not_read_to_its_end(client: ComfyClient) -> None:
    """The limit is in bytes, and its refusal names the setting."""
    (file,) = files_of(ended(client, submit(client, drawing())).outputs)
    with pytest.raises(Rejected, match="MAX_OUTPUT_MB"):
        client.fetch(file, 10, BytesIO())


def test_a_server_that_is_not_there_is_unavailable_not_in_doubt() -> None:
    """A refused connection is certain: nothing was sent."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = ComfyClient(f"http://127.0.0.1:{port}")
    with pytest.raises(Unavailable) as caught:
        submit(client, drawing())
    assert not isinstance(caught.value, InDoubt)
    with pytest.raises(Unavailable):
        client.facts()


def test_a_connection_that_breaks_after_sending_is_in_doubt() -> None:
    """The server took the request and died: the prompt may run."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(65_536)
            connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        client = ComfyClient(f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(InDoubt):
            submit(client, drawing())


def test_a_closed_kept_alive_connection_is_opened_again(tmp_path: Path) -> None:
    """A server that was restarted between two jobs costs no error."""
    with ComfyStandIn(tmp_path / "a", instant=True) as first:
        client = ComfyClient(first.url)
        client.facts()
        port = int(first.url.rpartition(":")[2])
    with ComfyStandIn(tmp_path / "b", instant=True, port=port):
        assert client.facts().version == "0.28.0"
        client.forget("x")


# -- waiting and stopping -------------------------------------------------------------------------------------------


def test_the_doorbell_rings_when_the_history_can_be_read(client: ComfyClient, doorbell: SocketDoorbell) -> None:
    """Trap 3: it rings at executing(null), never before the history is there; 20 prompts in a row."""
    for _ in range(20):
        graph, prompt_id, bell = drawing(), str(uuid4()), Bell()
        with doorbell.watch(prompt_id, graph, bell) as watch:
            client.submit(graph, prompt_id, watch.client_id)
            assert bell.over.wait(10)
            assert watch.course.is_over
            assert watch.heard_at is not None
            assert client.ended(prompt_id) is not None
        client.forget(prompt_id)


def test_progress_is_heard_on_the_way(standin: ComfyStandIn) -> None:
    """Steps of the running node, and which node it is."""
    client = ComfyClient(standin.url)
    with ringing(standin.url) as doorbell:
        graph, prompt_id, bell = slow(0.5), str(uuid4()), Bell()
        with doorbell.watch(prompt_id, graph, bell) as watch:
            client.submit(graph, prompt_id, watch.client_id)
            until(lambda: (progress := watch.course.progress()) and progress.step)
            progress = watch.course.progress()
            assert progress is not None
            assert (progress.node_class, progress.steps) == ("TestSleep", 100)
            assert 0 < progress.fraction < 1
            assert client.where(prompt_id).place is Place.RUNNING
            assert bell.over.wait(10)


def test_trap_7_every_connection_has_a_client_id_of_its_own(standin: ComfyStandIn, tmp_path: Path) -> None:
    """After a reconnect events come again; a prompt of the old connection rings by the status frames all get."""
    first = ComfyStandIn(tmp_path / "a", instant=True, test_nodes=True).start()
    port = int(first.url.rpartition(":")[2])
    with ringing(first.url) as doorbell:
        old = doorbell.client_id
        bell = Bell()
        with doorbell.watch("p", {}, bell) as watch:
            assert watch.is_live
            first.stop()
            assert bell.wait(10)
            assert not watch.is_live
            bell.clear()
            with ComfyStandIn(tmp_path / "b", instant=True, port=port) as second:
                until(lambda: doorbell.is_up)
                assert doorbell.client_id not in (None, old)
                client = ComfyClient(second.url)
                graph, prompt_id, own = drawing(), str(uuid4()), Bell()
                with doorbell.watch(prompt_id, graph, own) as mine:
                    client.submit(graph, prompt_id, mine.client_id)
                    assert own.over.wait(10)
                    assert mine.course.is_over
                assert bell.wait(10)


def test_trap_8_big_previews_do_not_stop_the_doorbell(standin: ComfyStandIn) -> None:
    """Binary frames are dropped; the end still rings."""
    client = ComfyClient(standin.url)
    with ringing(standin.url) as doorbell:
        graph, prompt_id, bell = slow(0.2), str(uuid4()), Bell()
        graph["2"]["inputs"]["preview"] = True
        with doorbell.watch(prompt_id, graph, bell) as watch:
            client.submit(graph, prompt_id, watch.client_id)
            assert bell.over.wait(10)


def test_trap_9_cancel_stops_only_its_own_prompt(standin: ComfyStandIn) -> None:
    """Running, waiting, ended or unknown: whatever else runs goes on."""
    client = ComfyClient(standin.url)
    running, waiting = submit(client, slow()), submit(client, drawing())
    until(lambda: client.where(running).place is Place.RUNNING)
    assert client.where(waiting).place is Place.PENDING
    client.cancel(waiting)
    client.cancel(str(uuid4()))
    assert client.where(running).place is Place.RUNNING
    client.cancel(running)
    assert ended(client, running).ending is Ending.INTERRUPTED
    client.cancel(running)
    assert client.where(waiting).place is Place.NOWHERE


def test_a_run_time_error_and_out_of_memory_end_as_errors(standin: ComfyStandIn) -> None:
    """With the data that the sentences are made of."""
    client = ComfyClient(standin.url)
    for kind, exception in (("ValueError", "ValueError"), ("OOM", "torch.OutOfMemoryError")):
        entry = ended(client, submit(client, raising(kind)))
        assert entry.ending is Ending.ERROR
        assert entry.fault["exception_type"] == exception
    client.free()


def test_trap_2_a_blocked_branch_still_ends_well(standin: ComfyStandIn) -> None:
    """An execution_error event comes, and the history says success."""
    client = ComfyClient(standin.url)
    graph = drawing(**{"2": {"class_type": "TestBlock", "inputs": {"image": ["1", 0], "message": "no"}}})
    graph["8"] = {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": f"cs/{uuid4()}"}}
    entry = ended(client, submit(client, graph))
    assert entry.ending is Ending.SUCCESS
    assert [file.node for file in files_of(entry.outputs)] == ["9"]


def test_trap_5_the_prompt_id_is_found_while_it_runs_and_after(standin: ComfyStandIn) -> None:
    """That is how a lost answer is cleared up without sending twice."""
    client = ComfyClient(standin.url)
    prompt_id = submit(client, slow(0.3))
    assert client.where(prompt_id).place in (Place.PENDING, Place.RUNNING)
    ended(client, prompt_id)
    assert client.where(prompt_id).place is Place.ENDED


def test_trap_6_a_dead_executor_shows_as_waiting_while_nothing_runs(tmp_path: Path) -> None:
    """HTTP stays green; the prompt that killed it stays running, the next one waits for ever."""
    with ComfyStandIn(tmp_path, instant=True, test_nodes=True) as comfy:
        client = ComfyClient(comfy.url)
        killer = submit(client, raising("SystemExit"))
        until(lambda: client.where(killer).place is Place.RUNNING)
        after = submit(client, drawing())
        assert client.facts().version == "0.28.0"
        assert client.where(after).place is Place.PENDING
        assert client.ended(killer) is None


class OldComfy(BaseHTTPRequestHandler):
    """Answer as a server before 0.26 does to what cancel asks: no jobs route, one prompt running."""

    running = "theirs"
    asked: list[tuple[str, Any]]

    def do_GET(self) -> None:
        queue = {"queue_running": [[0, self.running, {}, {}, []]], "queue_pending": []}
        self._answer(200, queue if self.path == "/queue" else {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.asked.append((self.path, json.loads(body) if body else None))
        self._answer(405 if self.path.startswith("/api/jobs") else 200, {})

    def _answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        return None


@pytest.mark.parametrize("running", ["ours", "theirs"])
def test_trap_9_an_old_server_is_interrupted_only_while_our_prompt_runs(running: str) -> None:
    """Before 0.3.57 /interrupt ignores the id and stops whatever runs: it is sent only when that is ours."""
    handler = type("Handler", (OldComfy,), {"running": running, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ComfyClient(f"http://127.0.0.1:{server.server_address[1]}").cancel("ours")
        server.shutdown()
    expected: list[tuple[str, Any]] = [("/api/jobs/ours/cancel", None), ("/queue", {"delete": ["ours"]})]
    if running == "ours":
        expected.append(("/interrupt", {"prompt_id": "ours"}))
    assert handler.asked == expected  # type: ignore[attr-defined]


def test_a_half_open_socket_is_noticed_and_left() -> None:
    """A server that is gone without a word answers no ping: the doorbell connects anew, under a new id."""
    ids: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake_hands_and_fall_silent() -> None:
            while len(ids) < 2:
                connection, _ = server.accept()
                kept.append(connection)
                request = connection.recv(65_536).decode()
                ids.append(re.findall(r"clientId=(\w+)", request)[0])
                key = re.findall(r"Sec-WebSocket-Key: (\S+)", request)[0]
                proof = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
                answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                accept = f"Sec-WebSocket-Accept: {base64.b64encode(proof).decode()}\r\n\r\n"
                connection.sendall((answer + accept).encode())

        kept: list[socket.socket] = []
        threading.Thread(target=shake_hands_and_fall_silent, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        doorbell = SocketDoorbell(url, Clock(), ping_after_s=0.1, pong_within_s=0.1)
        thread = threading.Thread(target=doorbell.run, daemon=True)
        thread.start()
        until(lambda: len(ids) == 2)
        doorbell.close()
        thread.join(10)
        for connection in kept:
            connection.close()
    assert ids[0] != ids[1]
    assert not thread.is_alive()


def test_an_answer_that_comes_too_late_is_none() -> None:
    """Whatever is asked: the attempt, or the cleaning up after it, hears `Unavailable`, and the worker lives."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes calls and never answers
        client = ComfyClient(f"http://127.0.0.1:{server.getsockname()[1]}", ask_s=0.1)
        asks: tuple[Callable[[], object], ...] = (
            client.facts,
            client.queue_length,
            client.free,
            lambda: client.where("x"),
            lambda: client.forget("x"),
            lambda: client.cancel("x"),
        )
        for ask in asks:
            with pytest.raises(Unavailable):
                ask()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"queue_running": null}', b'{"queue_running": [[]]}'])
def test_an_answer_that_cannot_be_read_is_none(body: bytes) -> None:
    """A proxy's page, half a text, another shape: it says nothing about the prompt, least of all that it is lost."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(Unavailable, match="cannot be read"):
            ComfyClient(f"http://127.0.0.1:{server.server_port}").where("x")
    finally:
        server.shutdown()
        server.server_close()
