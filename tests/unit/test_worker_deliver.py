"""Judge the courier: files reach the bucket once, early or late, under the attempt's own names."""

from __future__ import annotations

import errno
import hashlib
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from chalicelib.contract.errors import Rejected, Unavailable
from tests.jobs import new_job
from tests.media import sound, video
from tests.worker_fakes import FakeBlobs, picture
from worker.comfy.outputs import OutputFile, OutputText
from worker.deliver import WAITING_MOST, Courier
from worker.parcel import MEMORY_BYTES, Parcel

PATIENCE_S = 20.0


def named(filename: str, node: str = "9", subfolder: str = "m") -> OutputFile:
    return OutputFile(node, filename, subfolder, "output")


class Server:
    """Hold the files that ComfyUI has made, and note who asks."""

    def __init__(self, **content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[str, int]] = []
        self.is_away = False

    def fetch(self, file: OutputFile, limit_bytes: int, into: BinaryIO) -> None:
        self.asked.append((file.filename, limit_bytes))
        if self.is_away:
            raise Unavailable("ComfyUI cannot be reached (ConnectionError).")
        content = self.content[file.filename]
        if len(content) > limit_bytes:
            raise Rejected("too_large", "The output is larger than this worker accepts (MAX_OUTPUT_MB).")
        for start in range(0, len(content), 1_000_000):
            into.write(content[start : start + 1_000_000])


class Gate(FakeBlobs):
    """Keep every upload waiting until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.reached = threading.Event()

    def put(self, key: str, content: bytes, content_type: str) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S), "nobody opened the gate"
        super().put(key, content, content_type)


class Streams(FakeBlobs):
    """Note what comes as a stream, by its hash."""

    def __init__(self) -> None:
        super().__init__()
        self.streamed: dict[str, tuple[str, int]] = {}

    def put_stream(self, key: str, content: BinaryIO, size_bytes: int, content_type: str) -> None:
        content.seek(0)
        self.streamed[key] = (hashlib.file_digest(content, "sha256").hexdigest(), size_bytes)


Make = Callable[..., Courier]


@pytest.fixture
def courier(tmp_path: Path) -> Iterator[Make]:
    """Make couriers that are closed in the end."""
    made: list[Courier] = []

    def make(server: Server, blobs: FakeBlobs, limit_bytes: int = 10**9, **changes: Any) -> Courier:
        job = changes.get("job") or new_job(attempt=3)
        is_stopped = changes.get("is_stopped", lambda: False)
        made.append(Courier(server.fetch, blobs, job, limit_bytes, tmp_path / "spool", is_stopped))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_files_go_to_the_attempts_own_folder_under_names_of_ours(courier: Make) -> None:
    """Keys hold client, job, attempt, number and hash; the extension is the sniffed one, never ComfyUI's."""
    job, blobs = new_job(attempt=3), FakeBlobs()
    server = Server(**{"evil.svg": picture(1024, 600), "b.txt": b"hello"})
    first, second = courier(server, blobs, job=job).outputs([named("evil.svg"), named("b.txt", node="7")])
    folder = f"outputs/client-1/{job.job_id}/3/"
    assert first.key == f"{folder}0-{first.sha256[:8]}.png"
    assert (first.thumbnail_key, first.thumbnail_type) == (f"{folder}0-thumb.jpg", "image/jpeg")
    assert (first.filename, first.node, first.kind, first.width_px) == ("evil.svg", "9", "image", 1024)
    assert (second.key, second.thumbnail_key) == (f"{folder}1-{second.sha256[:8]}.txt", None)
    assert set(blobs.files) == {first.key, first.thumbnail_key, second.key}
    assert blobs.files[first.key] == (server.content["evil.svg"], "image/png")
    assert first.sha256 == hashlib.sha256(server.content["evil.svg"]).hexdigest()


def test_every_kind_is_described(courier: Make) -> None:
    """Size, duration and thumbnail, as far as the kind has them."""
    server, blobs = Server(v=video(), s=sound(), t=b"text"), FakeBlobs()
    film, tone, text = courier(server, blobs).outputs([named("v"), named("s"), named("t")])
    assert (film.kind, film.width_px, film.duration_s) == ("video", 64, pytest.approx(1.0, abs=0.1))
    assert (tone.kind, tone.width_px, tone.duration_s) == ("audio", None, pytest.approx(1.0, abs=0.1))
    assert (film.thumbnail_type, tone.thumbnail_type, text.thumbnail_type) == ("image/jpeg", "image/png", None)
    assert not film.is_animated


def test_a_small_picture_is_uploaded_once(courier: Make) -> None:
    """It is its own thumbnail."""
    blobs = FakeBlobs()
    (small,) = courier(Server(a=picture()), blobs).outputs([named("a")])
    assert small.thumbnail_key == small.key
    assert (small.thumbnail_type, list(blobs.files)) == ("image/png", [small.key])


def test_texts_follow_the_files(courier: Make) -> None:
    """A text becomes a file of its own, named after its node."""
    blobs = FakeBlobs()
    _, text = courier(Server(a=picture()), blobs).outputs([named("a")], [OutputText("5", "grüße")])
    assert (text.filename, text.node, text.kind, text.size_bytes) == ("text-5.txt", "5", "text", 7)
    assert blobs.files[text.key] == ("grüße".encode(), "text/plain; charset=utf-8")
    assert "/1-" in text.key
    (alone,) = courier(Server(), blobs).outputs([], [OutputText("5", "{}")])
    assert alone.key.endswith(".json")


def test_an_early_upload_is_not_repeated(courier: Make) -> None:
    """While the graph still runs files go up; the end finds them there, and takes them in its own order."""
    server, blobs = Server(a=picture(1024), b=picture(600)), FakeBlobs()
    it = courier(server, blobs)
    it.bring([named("a")])
    it.bring([named("a"), named("a", node="4")])
    second, first = it.outputs([named("b"), named("a")])
    assert [name for name, _ in server.asked] == ["a", "b"]
    assert "/0-" in first.key and "/1-" in second.key
    assert {(each.key, each.early) for each in it.uploads} == {(first.key, True), (second.key, False)}
    assert {(each.sha256, each.size_bytes) for each in it.uploads} == {
        (each.sha256, each.size_bytes) for each in (first, second)
    }


def test_a_file_that_two_nodes_name_is_one_output(courier: Make) -> None:
    """The row shows it once, as the first node's."""
    blobs = FakeBlobs()
    (only,) = courier(Server(a=b"x"), blobs).outputs([named("a", node="4"), named("a", node="5")])
    assert (only.node, list(blobs.files)) == ("4", [only.key])


def test_what_only_the_early_news_named_is_not_listed(courier: Make) -> None:
    """History decides; an early file that it does not confirm is left, and does not count towards the limit."""
    it = courier(Server(a=b"x" * 60, b=b"y" * 60), FakeBlobs(), 100)
    it.bring([named("a")])
    (only,) = it.outputs([named("b")])
    assert only.size_bytes == 60


def test_what_is_uploaded_is_told_in_order_while_the_rest_is_on_its_way(courier: Make) -> None:
    """A file is told when it and all before it lie in the bucket, thumbnails included; a failed one ends the list."""
    blobs = Gate()
    it = courier(Server(a=picture(1024), b=b"text"), blobs)
    assert it.ready() == ()
    it.bring([named("a"), named("b")])
    assert blobs.reached.wait(PATIENCE_S) and it.ready() == ()
    blobs.opened.set()
    outputs = it.outputs([named("a"), named("b")])
    assert it.ready() == outputs and outputs[0].thumbnail_key is not None
    it.close()
    assert it.ready() == outputs, "also after its end, from another thread"


def test_bringing_does_not_wait_for_the_bucket(courier: Make) -> None:
    """The thread that watches the graph is free while the pool uploads; the end waits."""
    blobs = Gate()
    it = courier(Server(a=picture(1024)), blobs)
    it.bring([named("a")])
    assert blobs.reached.wait(PATIENCE_S)
    assert blobs.files == {} and it.uploads == []
    blobs.opened.set()
    (only,) = it.outputs([named("a")])
    assert set(blobs.files) == {only.key, only.thumbnail_key}


def test_few_files_wait_for_a_slow_bucket(courier: Make) -> None:
    """A batch of many pictures is not heaped up in memory: the next is fetched when one has gone."""
    blobs, seen = Gate(), []
    server = Server(**{str(n): b"x%d" % n for n in range(20)})

    def is_stopped() -> bool:
        """Open the gate when the courier has looked three times and fetched nothing meanwhile: it waits."""
        seen.append(len(server.asked))
        if seen[-3:] == [seen[-1]] * 3 and seen[-1]:
            blobs.opened.set()
        if not blobs.opened.is_set():
            waiting.append(len(server.asked))
        return False

    waiting: list[int] = []
    files = [named(str(n)) for n in range(20)]
    done = courier(server, blobs, is_stopped=is_stopped).outputs(files)
    assert max(waiting) == WAITING_MOST
    assert [each.filename for each in done] == [str(n) for n in range(20)]


def test_an_early_failure_is_mended_in_the_end(courier: Make) -> None:
    """A bucket that was away, or a file that was not there yet, is tried again, under the same number."""
    server, blobs = Server(a=picture(1024), b=b"x"), FakeBlobs()
    it = courier(server, blobs)
    server.is_away = True
    with pytest.raises(Unavailable):
        it.bring([named("a")])
    server.is_away, blobs.is_away = False, True
    it.bring([named("b")])
    with pytest.raises(Unavailable):
        it.outputs([named("b")])
    blobs.is_away = False
    first, second = it.outputs([named("a"), named("b")])
    assert ("/0-" in first.key, "/1-" in second.key) == (True, True)
    assert set(blobs.files) == {first.key, first.thumbnail_key, second.key}


def test_the_size_limit_is_for_all_files_together(courier: Make) -> None:
    """Each file gets what the ones before have left; a text counts too."""
    server = Server(a=b"12345", b=b"12345")
    it = courier(server, FakeBlobs(), 100)
    it.outputs([named("a"), named("b")])
    assert [limit for _, limit in server.asked] == [100, 95]
    for files, texts in (([named("a"), named("b")], []), ([named("a")], [OutputText("1", "12345")])):
        with pytest.raises(Rejected) as refused:
            courier(server, FakeBlobs(), 9).outputs(files, texts)
        assert refused.value.code == "too_large"


def test_empty_files_and_a_bucket_out_of_reach_are_told_apart(courier: Make) -> None:
    """An empty file is refused for good, a bucket that is away may work later."""
    blobs = FakeBlobs()
    with pytest.raises(Rejected):
        courier(Server(a=b""), blobs).outputs([named("a")])
    blobs.is_away = True
    with pytest.raises(Unavailable):
        courier(Server(a=b"x"), blobs).outputs([named("a")])


def test_a_stopped_courier_brings_nothing_more(courier: Make) -> None:
    """Between two files a stop is heard, and nobody waits for uploads that hang."""
    server, blobs = Server(a=b"x", b=b"y"), FakeBlobs()
    assert courier(server, blobs, is_stopped=lambda: True).outputs([named("a")]) == ()
    assert (server.asked, blobs.files) == ([], {})
    gate, stopped = Gate(), threading.Event()
    it = courier(server, gate, is_stopped=stopped.is_set)
    it.bring([named("a")])
    stopped.set()
    assert it.outputs([named("a"), named("b")]) == ()
    gate.opened.set()


def test_large_files_pass_through_the_disk(courier: Make, tmp_path: Path) -> None:
    """Above 8 MB memory stays flat, and nothing is left in the folder."""
    content, blobs = bytes(range(256)) * 160_000, Streams()
    it = courier(Server(a=content, b=content[1:]), blobs)
    tracemalloc.start()
    try:
        first, second = it.outputs([named("a"), named("b")])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert blobs.streamed == {each.key: (each.sha256, each.size_bytes) for each in (first, second)}
    assert first.sha256 == hashlib.sha256(content).hexdigest()
    assert peak_bytes < len(content)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_full_disk_may_have_room_later(tmp_path: Path) -> None:
    """It is this worker's trouble, not the job's: another attempt may go elsewhere."""

    def fill(into: BinaryIO) -> None:
        into.write(b"x")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="This worker's disk is full"):
        Parcel(tmp_path, fill)


def test_readers_of_a_parcel_do_not_disturb_each_other(tmp_path: Path) -> None:
    """The upload and the thumbnail read at once, from memory or from the disk."""
    for size in (1000, MEMORY_BYTES + 1000):
        content = bytes(n % 251 for n in range(1000)) * (size // 1000)

        def fill(into: BinaryIO, content: bytes = content) -> None:
            into.write(content)

        parcel = Parcel(tmp_path, fill)
        first, second = parcel.reader(), parcel.reader()
        assert first.read(300) == content[:300]
        assert second.seek(-100, 2) == size - 100
        assert second.read() == content[-100:]
        assert first.read() == content[300:]
        assert parcel.is_large == (size > MEMORY_BYTES)
        parcel.keep()
        parcel.let_go()
        with pytest.raises(ValueError, match="closed"):
            parcel.whole()
