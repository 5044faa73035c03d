"""The worker's ComfyUI edge: one suite, on the stand-in and on a real ComfyUI."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from uuid import uuid4

import pytest
from PIL import Image

from chalicelib.contract.graph import isolate
from sandbox.waiting import wait_until
from tests.comfy_real.graphs import Graph, drawing, empty, failing, node, slow
from tests.comfy_real.server import ComfyServer
from tests.waiting import Bell
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.doorbell import SocketDoorbell
from worker.comfy.faults import GraphRefused, failure
from worker.comfy.folders import folders_of, sweep
from worker.comfy.history import Ending, Entry, Place
from worker.comfy.outputs import files_of, texts_of
from worker.kit import kit_of
from worker.ports import FileGone, Watch

ours = pytest.mark.ours


class Line:
    """Hold a client and a doorbell of one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = ComfyClient(url)
        self.doorbell = SocketDoorbell(url, Clock())

    def run(self, graph: Graph, patience_s: float = 60) -> Entry:
        """Run *graph* and wait for the doorbell; its history."""
        entry, _ = self.followed(graph, patience_s)
        return entry

    def followed(self, graph: Graph, patience_s: float = 60) -> tuple[Entry, Watch]:
        prompt_id, bell = str(uuid4()), Bell()
        with self.doorbell.watch(prompt_id, graph, bell) as watch:
            assert self.client.submit(graph, prompt_id, watch.client_id) == prompt_id
            assert bell.over.wait(patience_s)
            entry = self.client.ended(prompt_id)
            assert entry is not None
            self.client.forget(prompt_id)
            return entry, watch

    def fetch(self, entry: Entry, place: int = 0) -> bytes:
        into = BytesIO()
        self.client.fetch(files_of(entry.outputs)[place], 10**8, into)
        return into.getvalue()


@contextmanager
def line(url: str) -> Iterator[Line]:
    made = Line(url)
    thread = threading.Thread(target=made.doorbell.run, daemon=True)
    thread.start()
    assert wait_until(lambda: made.doorbell.is_up, 10)
    yield made
    made.doorbell.close()
    thread.join(10)


@pytest.fixture
def server(comfy: ComfyServer) -> Iterator[Line]:
    with line(comfy.url) as made:
        yield made


def test_a_picture_is_made_heard_of_and_fetched(server: Line) -> None:
    """20 in a row: the doorbell rings when the history is there, never before."""
    for _ in range(20):
        entry = server.run(isolate(drawing(), f"cs/{uuid4()}/1"))
        assert entry.ending is Ending.SUCCESS
    with Image.open(BytesIO(server.fetch(entry))) as picture:
        assert (picture.format, picture.size) == ("PNG", (32, 32))


def test_several_files_of_one_node_come_in_order(server: Line) -> None:
    """A batch of three is three files."""
    entry = server.run(drawing(batch_size=3))
    assert len(files_of(entry.outputs)) == 3


@ours
def test_progress_is_heard_node_by_node_and_step_by_step(server: Line) -> None:
    """What runs, how far, and each saved file as soon as its node is done."""
    graph, prompt_id, bell = slow(1.0), str(uuid4()), Bell()
    with server.doorbell.watch(prompt_id, graph, bell) as watch:
        server.client.submit(graph, prompt_id, watch.client_id)
        assert wait_until(lambda: bool((now := watch.course.progress()) and now.step), 20)
        assert bell.has_begun
        now = watch.course.progress()
        assert now is not None and (now.node_class, now.steps) == ("TestSleep", 10)
        assert server.client.where(prompt_id).place is Place.RUNNING
        assert server.client.queue_length() == 1
        assert bell.over.wait(20)
    assert [node for node, _ in watch.course.made] == ["9"]
    events = [event for _, event, _ in watch.timeline]
    assert events[0] == "execution_start" and events[-1] == "executing"


def test_trap_1_a_partly_valid_prompt_is_refused(server: Line) -> None:
    """Two outputs, one of them wrong: the answer is 200, and the rest would run."""
    graph = {**drawing(), "2": empty(width=-5), "8": node("SaveImage", images=["2", 0], filename_prefix="y")}
    with pytest.raises(GraphRefused) as refused:
        server.client.submit(graph, str(uuid4()), None)
    assert "width of EmptyImage must be at least 1" in refused.value.error.text


@pytest.mark.parametrize(
    ("graph", "says"),
    [
        ({**drawing(), "1": node("NoSuchNode")}, 'no node "NoSuchNode"'),
        (drawing(width=-5), "must be at least 1, not -5"),
        ({"1": empty(), "9": node("SaveImage", images=["1", 0])}, "filename_prefix of SaveImage is required"),
        ({"1": empty()}, "no node that saves"),
        (
            {
                "1": empty(),
                "2": node("ImageScale", image=["1", 0], upscale_method="none", width=8, height=8, crop="disabled"),
                "9": node("SaveImage", images=["2", 0], filename_prefix="x"),
            },
            'upscale_method of ImageScale cannot be "none"',
        ),
    ],
)
def test_wrong_graphs_are_refused_in_a_sentence(server: Line, graph: Graph, says: str) -> None:
    """Unknown class, value out of bounds or not in the list, missing input, nothing saved."""
    with pytest.raises(GraphRefused) as refused:
        server.client.submit(graph, str(uuid4()), None)
    assert says in refused.value.error.text


@pytest.mark.parametrize("shape", [[], {"nodes": [], "links": []}, {"1": "EmptyImage"}])
def test_trap_11_a_prompt_of_the_wrong_shape_is_permanent(server: Line, shape: object) -> None:
    """500 in plain text, or 400: never tried again."""
    with pytest.raises(GraphRefused):
        server.client.submit(shape, str(uuid4()), None)  # type: ignore[arg-type]


@ours
def test_a_run_time_error_names_node_and_reason(server: Line) -> None:
    """The verdict and the traceback come from the history."""
    graph = failing()
    entry = server.run(graph)
    assert entry.ending is Ending.ERROR
    error = failure(entry, graph)
    assert (error.node, error.node_class) == ("2", "TestRaise")
    assert error.text == "TestRaise failed: deliberate failure with secret path …"
    assert entry.fault["traceback"]


@ours
def test_out_of_memory_is_known(server: Line) -> None:
    """By its kind, as torch names it."""
    graph = failing("OOM")
    assert failure(server.run(graph), graph).code == "out_of_memory"


@ours
def test_trap_2_a_blocked_branch_is_a_success_without_that_output(server: Line) -> None:
    """`execution_error` was heard on the way."""
    block = node("TestBlock", image=["1", 0], message="not today")
    graph = {**drawing(), "2": block, "8": node("SaveImage", images=["2", 0], filename_prefix="y")}
    entry = server.run(graph)
    assert entry.ending is Ending.SUCCESS
    assert {file.node for file in files_of(entry.outputs)} == {"9"}


def test_trap_4_the_same_prompt_twice_runs_nothing_and_a_prefix_of_its_own_cures_it(server: Line) -> None:
    """The cached answer names the old file; with a prefix per attempt there is a new one."""
    graph = drawing(prefix=f"same-{uuid4()}")
    first, again = server.run(graph), server.run(graph)
    assert files_of(again.outputs) == files_of(first.outputs)
    names = [files_of(server.run(isolate(graph, f"cs/{uuid4()}/1")).outputs)[0] for _ in range(2)]
    assert names[0].subfolder != names[1].subfolder
    assert names[0].subfolder.startswith("cs/")


@ours
def test_trap_9_cancel_stops_the_running_or_the_waiting_one_and_no_other(server: Line) -> None:
    """By its id; the one behind it goes on."""
    ids = [str(uuid4()) for _ in range(3)]
    for prompt_id in ids:
        server.client.submit(slow(0.6), prompt_id, None)
    assert wait_until(lambda: server.client.where(ids[0]).place is Place.RUNNING, 20)
    server.client.cancel(ids[1])
    assert server.client.where(ids[1]).place is Place.NOWHERE
    server.client.cancel(ids[0])
    assert wait_until(lambda: server.client.ended(ids[0]) is not None, 20)
    ended = server.client.ended(ids[0])
    assert ended is not None and ended.ending is Ending.INTERRUPTED
    assert wait_until(lambda: server.client.ended(ids[2]) is not None, 20)
    last = server.client.ended(ids[2])
    assert last is not None and last.ending is Ending.SUCCESS
    server.client.cancel(ids[2])


def test_an_input_is_uploaded_and_used_under_the_returned_name(server: Line) -> None:
    """A picture in a folder of its own, loaded and scaled."""
    made = BytesIO()
    Image.new("RGB", (16, 16), (200, 0, 0)).save(made, "PNG")
    name = server.client.upload("photo.png", made, f"cs/{uuid4()}/1")
    assert name.startswith("cs/") and name.endswith("/photo.png")
    graph = {
        "1": node("LoadImage", image=name),
        "2": node("ImageScale", image=["1", 0], upscale_method="nearest-exact", width=48, height=24, crop="disabled"),
        "9": node("SaveImage", images=["2", 0], filename_prefix="x"),
    }
    with Image.open(BytesIO(server.fetch(server.run(graph)))) as picture:
        assert picture.size == (48, 24)
        assert picture.convert("RGB").getpixel((1, 1)) == (200, 0, 0)


def test_two_pictures_become_one_batch(server: Line) -> None:
    """ImageBatch, and two files."""
    graph = {
        "1": empty(),
        "2": empty(),
        "3": node("ImageBatch", image1=["1", 0], image2=["2", 0]),
        "9": node("SaveImage", images=["3", 0], filename_prefix="x"),
    }
    assert len(files_of(server.run(graph).outputs)) == 2


def test_an_animated_picture_is_one_file(server: Line) -> None:
    """SaveAnimatedWEBP."""
    save = node(
        "SaveAnimatedWEBP",
        images=["1", 0],
        filename_prefix="x",
        fps=6.0,
        lossless=True,
        quality=80,
        method="default",
    )
    kit = kit_of(server.client.object_info())
    assert "SaveAnimatedWEBP" in kit.classes
    content = server.fetch(server.run({"1": empty(batch_size=4), "9": save}))
    with Image.open(BytesIO(content)) as picture:
        assert (picture.format, getattr(picture, "n_frames", 1)) == ("WEBP", 4) or picture.format == "WEBP"


def test_a_file_that_is_gone_is_told_from_a_server_that_is_away(server: Line) -> None:
    """/view answers 404."""
    entry = server.run(drawing())
    gone = files_of(entry.outputs)[0].__class__("9", "nothing_00001_.png", "", "output")
    with pytest.raises(FileGone):
        server.client.fetch(gone, 10**6, BytesIO())


def test_the_history_is_purged_and_only_that(server: Line) -> None:
    """An entry is gone after `forget`; the others stay."""
    kept, dropped = str(uuid4()), str(uuid4())
    for prompt_id in (kept, dropped):
        server.client.submit(drawing(), prompt_id, None)
        assert wait_until(lambda prompt_id=prompt_id: server.client.ended(prompt_id) is not None, 20)  # type: ignore[misc]
    server.client.forget(dropped)
    assert server.client.ended(dropped) is None
    assert server.client.ended(kept) is not None
    server.client.forget(kept)


@ours
def test_a_jobs_files_are_removed_where_the_server_keeps_them(server: Line, comfy: ComfyServer) -> None:
    """The server says where its folders are; only the job's own folder goes."""
    job = str(uuid4())
    server.run(isolate(drawing(prefix="kept"), f"cs/{job}/1"))
    server.run(drawing(prefix="kept"))
    folders = folders_of(server.url, server.client.facts().argv)
    assert (comfy.folder / "output" / "cs" / job / "1").is_dir()
    server.run(isolate(drawing(), f"cs/{job}/2"))
    assert sweep(folders, f"cs/{job}/1") == 1
    assert (comfy.folder / "output" / "cs" / job / "2").is_dir()
    assert sweep(folders, f"cs/{job}/2") == 1
    assert not (comfy.folder / "output" / "cs" / job).exists()
    assert list((comfy.folder / "output").glob("kept*"))


def test_a_body_that_is_too_large_is_refused_for_good(server: Line) -> None:
    """413 beyond 100 MB, in a sentence."""
    graph = {**drawing(), "1": {**empty(), "_meta": {"title": "x" * (101 * 1024 * 1024)}}}
    with pytest.raises(GraphRefused) as refused:
        server.client.submit(graph, str(uuid4()), None)
    assert refused.value.error.code == "too_large"


@ours
def test_the_text_of_a_node_is_an_output(server: Line) -> None:
    """Nodes that show text, as PreviewAny does."""
    graph = {"1": empty(), "9": node("TestUI", image=["1", 0], shape="text")}
    entry = server.run(graph)
    assert [text.text for text in texts_of(entry.outputs)] == ["hello"]


@ours
def test_trap_10_a_killed_server_loses_its_queue_and_the_socket_comes_back(mortal: ComfyServer) -> None:
    """The prompt is nowhere afterwards; a new connection has a new id, and hears again."""
    with line(mortal.url) as made:
        before, prompt_id = made.doorbell.client_id, str(uuid4())
        made.client.submit(slow(30), prompt_id, before)
        assert wait_until(lambda: made.client.where(prompt_id).place is Place.RUNNING, 20)
        mortal.kill()
        assert wait_until(lambda: not made.doorbell.is_up, 20)
        mortal.start()
        assert made.client.where(prompt_id).place is Place.NOWHERE
        assert wait_until(lambda: made.doorbell.is_up, 20)
        assert made.doorbell.client_id != before
        assert made.run(drawing()).ending is Ending.SUCCESS


@ours
def test_trap_6_a_dead_executor_answers_and_runs_nothing(mortal: ComfyServer) -> None:
    """/system_stats is green, a new prompt is taken, and stays where it is."""
    with line(mortal.url) as made:
        made.client.submit(failing("SystemExit"), str(uuid4()), None)
        later = str(uuid4())
        assert wait_until(lambda: made.client.facts().version != "", 10)
        made.client.submit(drawing(), later, None)
        assert not wait_until(lambda: made.client.ended(later) is not None, 2)
        assert made.client.where(later).place is Place.PENDING
