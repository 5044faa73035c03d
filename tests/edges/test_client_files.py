"""The Python client's files, down and up: whole or not at all, the very bytes, each content once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfysheet import Asset, DownloadFailed, Output, Unreachable
from comfysheet._uploads import INLINE_BYTES
from tests.client_kinds import Client
from tests.client_server import PICTURE, Fault, JobsServer, jobs_server


@pytest.fixture
def server() -> Iterator[JobsServer]:
    with jobs_server() as server:
        yield server


@pytest.fixture(params=["blocking", "awaiting"])
def client(request: pytest.FixtureRequest, server: JobsServer) -> Iterator[Client]:
    client = Client(request.param, server)
    yield client
    client.close()


def output_of(client: Client) -> Output:
    """Have a picture made."""
    output: Output = client.make().run("colour").outputs[0]
    return output


def test_an_output_saves_itself(client: Client, tmp_path: Path) -> None:
    """As a named file (folders are made), into a folder under its own name, or as bytes."""
    output = output_of(client)
    assert output.save(tmp_path / "new" / "red.png").read_bytes() == PICTURE
    assert output.save(tmp_path) == tmp_path / "fox.png"
    assert output.save(f"{tmp_path}/deep/") == tmp_path / "deep" / "fox.png"
    assert output.bytes() == PICTURE
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["fox.png", "fox.png", "red.png"]


def test_nothing_is_overwritten_unless_told(client: Client, tmp_path: Path) -> None:
    """Another file in its place stays and is named; the very same content counts as saved and is not fetched again."""
    output, there = output_of(client), tmp_path / "fox.png"
    there.write_text("mine")
    with pytest.raises(FileExistsError, match=r"fox.png is there already. .* overwrite=True"):
        output.save(there)
    assert there.read_text() == "mine"
    assert output.save(there, overwrite=True).read_bytes() == PICTURE
    assert output.save(there) == there
    assert [path.name for path in tmp_path.iterdir()] == ["fox.png"]


def test_the_same_content_is_not_fetched_again(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """What is on disk already costs no download."""
    output = output_of(client)
    output.save(tmp_path)
    output.save(tmp_path)
    assert len(server.lines("/bucket/")) == 1


def test_all_outputs_find_names_of_their_own(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """Files of one name get numbers; one that somebody else put there stays."""
    (tmp_path / "a-fox.png").write_text("mine")
    result = client.make().run("colour", pictures=1)
    assert [path.name for path in result.save_all(tmp_path, prefix="a-")] == ["a-fox-2.png"]
    assert [path.name for path in result.save_all(tmp_path, prefix="a-")] == ["a-fox-2.png"], "saved already"
    assert (tmp_path / "a-fox.png").read_text() == "mine"


@pytest.mark.parametrize("how", ["cut", "drop", "twist", 503])
def test_a_download_that_goes_wrong_is_begun_again(
    client: Client, server: JobsServer, tmp_path: Path, how: str | int
) -> None:
    """Half an answer, none, other bytes or a fault: the file is fetched once more and is right."""
    server.faults.append(Fault("^GET /bucket/", how))
    assert output_of(client).save(tmp_path).read_bytes() == PICTURE
    assert len(server.lines("/bucket/")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["fox.png"]


def test_a_file_that_stays_wrong_is_not_kept(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """Other bytes twice, or never an end: an error, and nothing on disk, not even a part."""
    output = output_of(client)
    server.faults.append(Fault("^GET /bucket/", "twist", times=2))
    with pytest.raises(DownloadFailed, match="other content than was made"):
        output.save(tmp_path)
    server.faults[:] = [Fault("^GET /bucket/", "cut", times=999)]
    with pytest.raises(Unreachable, match=r"fox.png cannot be fetched from 127\.0\.0\.1"):
        output.save(tmp_path)
    server.faults[:] = [Fault("^GET /bucket/", 404)]
    with pytest.raises(DownloadFailed, match="kept for a limited time"):
        output.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_leads_in_circles_is_left(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """Five addresses are enough."""
    output = output_of(client)
    server.faults.append(Fault("^GET /api/o/", 302, times=999, headers={"Location": output.url}))
    with pytest.raises(DownloadFailed, match="without an end"):
        output.save(tmp_path)


def test_a_path_as_an_input_is_uploaded_once(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """A `Path` becomes the asset's reference; the same content is not sent again, nor under another name."""
    (tmp_path / "fox ü.png").write_bytes(PICTURE)
    (tmp_path / "copy.png").write_bytes(PICTURE)
    made = client.make()
    made.run("colour", image=tmp_path / "fox ü.png")
    made.run("colour", image=tmp_path / "copy.png")
    [asset_id] = server.assets
    assert server.assets[asset_id] == PICTURE
    assert [job["asked"]["inputs"]["image"] for job in server.jobs.values()] == [f"asset:{asset_id}"] * 2
    assert len(server.lines("/assets$")) == 1


def test_files_in_a_graph_become_references(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """A raw graph's `Path` or `Asset` becomes v2's asset reference; the caller's graph stays as it was."""
    path = tmp_path / "in.png"
    path.write_bytes(b"picture")
    made = client.make()
    asset = made.upload(b"mask", name="mask.png")
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": path, "mask": asset, "n": 1}}, "2": "odd"}
    made.submit_graph(graph)
    sent = server.seen[-1].json()["workflow"]
    assert sent["1"]["inputs"]["image"] == {
        "__type": "core/ASSET",
        "info": {"id": hashlib.sha256(b"picture").hexdigest()[:8], "file_path": "in.png"},
    }
    assert sent["1"]["inputs"]["mask"]["info"]["id"] == asset.id and sent["2"] == "odd"
    assert graph["1"]["inputs"]["image"] is path  # type: ignore[index]


def test_a_large_file_goes_straight_to_the_bucket(client: Client, server: JobsServer, tmp_path: Path) -> None:
    """It goes along a signed address, without our key, again after a fault, and only if it is not there."""
    content = bytes(range(256)) * (INLINE_BYTES // 256 + 1)
    (tmp_path / "film.mp4").write_bytes(content)
    server.faults.append(Fault("^PUT /bucket/", 503))
    asset = client.make().upload(tmp_path / "film.mp4")
    assert isinstance(asset, Asset) and server.assets[asset.id] == content
    [asked] = server.uploads.values()
    assert (asked["size_bytes"], asked["content_type"], asked["filename"]) == (len(content), "video/mp4", "film.mp4")
    put = next(one for one in server.seen if one.line.startswith("PUT"))
    assert put.headers["x-checked"] == hashlib.sha256(content).hexdigest()
    assert client.make().upload(content, name="same.mp4").id == asset.id
    assert len(server.lines("^PUT")) == 2, "what is there is not sent again, by no client"


def test_a_file_that_is_not_there_is_said_before_a_job_is_made(client: Client, server: JobsServer) -> None:
    """Python's own error names the file."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        client.make().submit("colour", image=Path("nowhere.png"))
    assert server.seen == []


def test_a_blocking_output_opens_as_a_file(server: JobsServer) -> None:
    """`open()` gives something to read from, from its start."""
    client = Client("blocking", server)
    with output_of(client).open() as file:
        assert file.read(4) == PICTURE[:4] and file.read() == PICTURE[4:]
    client.close()
