"""The pantry: what a job names as its inputs is fetched, checked by its bytes, and uploaded under a name of ours."""

from __future__ import annotations

import base64
import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import fill, media_of
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.media import source_of
from chalicelib.contract.parameter import Parameter, Place
from tests.jobs import NOW, new_job
from tests.worker_fakes import FakeBlobs, FakeClock, FakeComfy, picture
from worker.fetch import Fetched
from worker.larder import Larder
from worker.pantry import Media, Pantry

URL = "https://pictures.example/a.png"


class FakeFetcher:
    """Give files by address, and 304 to whoever knows the tag."""

    def __init__(self) -> None:
        self.files = {URL: picture()}
        self.sent = 0

    def get(self, url: str, into: BinaryIO, *, etag: str = "", modified: str = "") -> Fetched:
        content = self.files[url]
        tag = hashlib.sha256(content).hexdigest()
        if etag == tag:
            return Fetched(is_same=True)
        self.sent += 1
        into.write(content)
        return Fetched(etag=tag)


class Kitchen:
    """Hold a pantry on fakes."""

    def __init__(self, folder: Path) -> None:
        self.fetcher, self.blobs = FakeFetcher(), FakeBlobs()
        self.comfy = FakeComfy(FakeClock(NOW))
        self.pantry = Pantry(self.fetcher, Larder(folder, 10**7), 10**6)

    def bring(self, type_: Any, value: str) -> Media:
        photo = Parameter(name="photo", type=type_, label="Photo", sets=(Place(node="1", input="image"),))
        graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}}
        workflow = Workflow(id="w", name="W", graph=graph, parameters=(photo,))
        job = new_job(inputs={"photo": value})
        return self.pantry.bring(self.blobs, self.comfy, workflow, job, "cs/job/1")


def uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def test_all_three_kinds_of_source_end_as_a_file_of_ours(tmp_path: Path) -> None:
    """An address, an asset, a data URI: uploaded into the attempt's folder, named in the graph, told to the record."""
    kitchen = Kitchen(tmp_path)
    sha256 = hashlib.sha256(picture()).hexdigest()
    kitchen.blobs.files[f"inputs/client-1/{sha256}"] = (picture(), "image/png")
    for value, kind in ((URL, "https"), (f"asset:{sha256}", "asset"), (uri(picture()), "data")):
        media = kitchen.bring("image", value)
        graph = media.put_into({"1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}})
        assert graph["1"]["inputs"]["image"] == "cs/job/1/photo.png"
        [facts] = media.facts
        assert (facts["from"], facts["sha256"], facts["parameter"]) == (kind, sha256, "photo")
    assert kitchen.comfy.uploaded == {"cs/job/1/photo.png": picture()}


def test_an_address_is_fetched_once_and_asked_again(tmp_path: Path) -> None:
    """The second job sends a question and no file; a changed file is fetched anew."""
    kitchen = Kitchen(tmp_path)
    kitchen.bring("image", URL)
    kitchen.bring("image", URL)
    assert kitchen.fetcher.sent == 1
    kitchen.fetcher.files[URL] = picture(9, 9)
    kitchen.bring("image", URL)
    assert kitchen.fetcher.sent == 2
    assert kitchen.comfy.uploaded["cs/job/1/photo.png"] == picture(9, 9)


def test_anothers_asset_is_not_found_even_when_it_is_on_the_disk(tmp_path: Path) -> None:
    """The bucket decides whose it is; a damaged one is refused."""
    kitchen = Kitchen(tmp_path)
    sha256 = hashlib.sha256(picture()).hexdigest()
    kitchen.bring("image", uri(picture()))
    kitchen.blobs.files[f"inputs/client-2/{sha256}"] = (picture(), "image/png")
    with pytest.raises(Rejected, match="Photo: there is no such asset"):
        kitchen.bring("image", f"asset:{sha256}")
    kitchen.blobs.files[f"inputs/client-1/{sha256}"] = (b"other", "image/png")
    with pytest.raises(Rejected, match="damaged"):
        kitchen.bring("image", f"asset:{sha256}")


@pytest.mark.parametrize(
    ("type_", "content", "says"),
    [
        ("image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture that ComfyUI reads"),
        ("mask", b"hello", "no picture that ComfyUI reads"),
        ("image", picture()[:40], "damaged"),
        ("audio", picture(), "not a sound"),
        ("video", picture(), "not a film"),
    ],
)
def test_what_a_file_is_by_its_bytes_counts(tmp_path: Path, type_: str, content: bytes, says: str) -> None:
    """Whatever its address or type said; nothing of it reaches ComfyUI."""
    kitchen = Kitchen(tmp_path)
    with pytest.raises(Rejected, match=says):
        kitchen.bring(type_, uri(content))
    assert kitchen.comfy.uploaded == {}


def test_a_picture_of_too_many_pixels_is_not_opened(tmp_path: Path) -> None:
    """A few KB that would be gigabytes in ComfyUI."""
    kitchen = Kitchen(tmp_path)
    made = BytesIO()
    Image.new("1", (12_000, 9_000)).save(made, "PNG")
    with pytest.raises(Rejected, match="million are allowed"):
        kitchen.bring("image", uri(made.getvalue()))


def moving(form: str, frames: int) -> bytes:
    """Make a picture of 2,000 × 2,000 with so many frames or pages, no two alike."""
    made, pages = BytesIO(), [Image.new("P", (2_000, 2_000), number) for number in range(frames)]
    options: dict[str, Any] = {"compression": "tiff_lzw"} if form == "TIFF" else {"duration": 40}
    pages[0].save(made, form, save_all=True, append_images=pages[1:], **options)
    return made.getvalue()


@pytest.mark.parametrize("form", ["GIF", "TIFF"])
def test_every_frame_and_page_counts(tmp_path: Path, form: str) -> None:
    """ComfyUI decodes them all into one batch: 17 of 4 million pixels are more than a picture of 64 million."""
    kitchen = Kitchen(tmp_path)
    kitchen.fetcher.files[URL] = moving(form, 3)
    kitchen.bring("image", URL)
    kitchen.fetcher.files[URL] = moving(form, 17)
    with pytest.raises(Rejected, match=r"2000 × 2000 × .* million are allowed"):
        kitchen.bring("image", URL)


def test_a_picture_of_a_million_parts_is_not_opened(tmp_path: Path) -> None:
    """To count its frames alone would take a minute."""
    kitchen = Kitchen(tmp_path)
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\0"
    kitchen.fetcher.files[URL] = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * 12_000 + b";"
    with pytest.raises(Rejected, match="too many parts"):
        kitchen.bring("image", URL)


@pytest.mark.parametrize(
    "value",
    [
        "example.png",
        "../../etc/passwd",
        "/etc/passwd",
        "photo.png [output]",
        "http://pictures.example/a.png",
        "https://user:pass@pictures.example/a.png",
        "https://pictures.example:8443/a.png",
        "https:///a.png",
        "https://a b/",
        "ftp://pictures.example/a.png",
        "asset:1234",
        "data:text/html;base64,AAAA",
        "data:image/png;base64,@@@@",
        "data:image/png,plain",
        "data:image/png;base64," + "A" * 200_000,
        "https://" + "a" * 3000,
    ],
)
def test_a_value_that_is_no_source_is_refused_at_submission(value: str) -> None:
    """Above all a name of a file on the server: it could be somebody else's."""
    with pytest.raises(ValueError):
        source_of(value)


def test_a_graph_differs_from_its_template_only_where_it_is_said(tmp_path: Path) -> None:
    """The source itself never gets into the graph."""
    photo = Parameter(name="photo", type="image", sets=(Place(node="1", input="image"),))
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}}
    workflow = Workflow(id="w", name="W", graph=graph, parameters=(photo,))
    assert fill(workflow, {"photo": URL}) == graph
    [(parameter, source)] = media_of(workflow, {"photo": URL})
    assert (parameter.name, source.kind, source.host) == ("photo", "https", "pictures.example")
    assert media_of(workflow, {"photo": None}) == []
