"""Judge what the worker knows of files: types from bytes, thumbnails, and the delivery to the bucket."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.ports import Lease
from tests.jobs import new_job
from tests.worker_fakes import FakeBlobs, picture
from worker.comfy.outputs import OutputFile
from worker.deliver import deliver
from worker.lease import Holding
from worker.ports import Delivery
from worker.sniff import sniff
from worker.thumbs import thumbnail
from worker.verdicts import Stop


def safetensors(*names: str) -> bytes:
    header = json.dumps({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    ("content", "content_type", "extension", "kind"),
    [
        (picture(), "image/png", "png", "image"),
        (picture(form="JPEG"), "image/jpeg", "jpg", "image"),
        (picture(form="WEBP"), "image/webp", "webp", "image"),
        (picture(form="GIF"), "image/gif", "gif", "image"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 99, "video/mp4", "mp4", "video"),
        (b"\0\0\0\x18ftypqt  " + b"\0" * 99, "video/quicktime", "mov", "video"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "video/webm", "webm", "video"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav", "wav", "audio"),
        (b"fLaC\0\0\0\x22", "audio/flac", "flac", "audio"),
        (b"ID3\x04\0\0", "audio/mpeg", "mp3", "audio"),
        (b"\xff\xfb\x90\x64\0\0", "audio/mpeg", "mp3", "audio"),
        (b"OggS\0\x02", "audio/ogg", "ogg", "audio"),
        (b"glTF\x02\0\0\0", "model/gltf-binary", "glb", "3d"),
        (safetensors("latent_tensor", "latent_format_version_0"), "application/octet-stream", "latent", "latent"),
        (safetensors("weight"), "application/octet-stream", "safetensors", "file"),
        ("grüße\n".encode(), "text/plain; charset=utf-8", "txt", "text"),
        (b"<svg onload='x'/>", "application/octet-stream", "bin", "file"),
        (b"\xef\xbb\xbf <!doctype html>", "application/octet-stream", "bin", "file"),
        (b"\x89PNG\r\n\x1a\nbroken", "application/octet-stream", "bin", "file"),
        (b"\x00\x01\x02", "application/octet-stream", "bin", "file"),
        (b"MZ\x90\x03", "application/octet-stream", "bin", "file"),
    ],
)
def test_the_type_comes_from_the_bytes(content: bytes, content_type: str, extension: str, kind: str) -> None:
    """Whatever a file is called, its bytes say what it is; what could run in a browser is plain bytes."""
    sniffed = sniff(content)
    assert (sniffed.content_type, sniffed.extension, sniffed.kind) == (content_type, extension, kind)


def test_pictures_have_a_size() -> None:
    """Width and height come from the header."""
    sniffed = sniff(picture(30, 20))
    assert (sniffed.width_px, sniffed.height_px) == (30, 20)


def thumb(content: bytes) -> tuple[Image.Image, str]:
    small = thumbnail(content, sniff(content))
    assert small is not None
    return Image.open(BytesIO(small.content)), small.content_type


def test_a_thumbnail_is_a_jpeg_of_512_px_at_most() -> None:
    """The longer side becomes 512, the shape stays, small pictures are not blown up."""
    image, content_type = thumb(picture(2048, 1024))
    assert (image.format, image.size, content_type) == ("JPEG", (512, 256), "image/jpeg")
    assert thumb(picture(40, 30))[0].size == (40, 30)


def test_a_thumbnail_keeps_transparency_as_png() -> None:
    """What shines through must still do so in the cell; an alpha channel that hides nothing makes a JPEG."""
    image, content_type = thumb(picture(800, 800, mode="RGBA"))
    assert (image.format, image.mode, content_type) == ("PNG", "RGBA", "image/png")
    opaque = BytesIO()
    Image.new("RGBA", (20, 20), (1, 2, 3, 255)).save(opaque, "PNG")
    assert thumb(opaque.getvalue())[1] == "image/jpeg"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_mode_of_picture_has_a_thumbnail(mode: str) -> None:
    """Grey, palette, 16 bits and print colours too."""
    made = BytesIO()
    Image.new(mode, (16, 16)).save(made, "TIFF" if mode == "CMYK" else "PNG")
    assert thumb(made.getvalue())[0].size == (16, 16)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """A 16-bit grey of one half is a half in the thumbnail."""
    made = BytesIO()
    Image.new("I;16", (16, 16), 32768).save(made, "PNG")
    grey = thumb(made.getvalue())[0].convert("L").getpixel((8, 8))
    assert isinstance(grey, int | float)
    assert 120 <= grey <= 136


def test_no_thumbnail_of_what_is_no_picture_or_too_big() -> None:
    """A video, a broken picture and a picture bomb have none; none of them is an error."""
    assert thumbnail(b"fLaC", sniff(b"fLaC")) is None
    cut = picture(600, 600, form="JPEG")[:400]
    assert thumbnail(cut, sniff(cut)) is None
    made = BytesIO()
    Image.new("1", (12_000, 12_000)).save(made, "PNG")
    assert sniff(made.getvalue()).width_px == 12_000
    assert thumbnail(made.getvalue(), sniff(made.getvalue())) is None


def holding(**fields: Any) -> Holding:
    job = new_job(attempt=3, **fields)
    return Holding(job, Lease(job.job_id, 3, "t"), Delivery("r", 1, None), 0.0)


def test_files_go_to_the_attempts_own_folder_under_names_of_ours() -> None:
    """Keys hold client, job, attempt, index and hash; the extension is the sniffed one, never ComfyUI's."""
    blobs, held = FakeBlobs(), holding()
    content = {"evil.svg": picture(1024, 600), "b.txt": b"hello"}
    files = [OutputFile("9", "evil.svg", "", "output"), OutputFile("7", "b.txt", "m", "output")]
    first, second = deliver(lambda file, _: content[file.filename], blobs, held, files, 10**9)
    folder = f"outputs/client-1/{held.job.job_id}/3/"
    assert first.key == f"{folder}0-{first.sha256[:8]}.png"
    assert (first.thumbnail_key, first.thumbnail_type) == (f"{folder}0-thumb.jpg", "image/jpeg")
    assert (first.filename, first.node, first.kind, first.width_px) == ("evil.svg", "9", "image", 1024)
    assert (second.key, second.thumbnail_key) == (f"{folder}1-{second.sha256[:8]}.txt", None)
    assert set(blobs.files) == {first.key, first.thumbnail_key, second.key}
    assert blobs.files[first.key] == (content["evil.svg"], "image/png")


def test_the_size_limit_is_for_all_files_together() -> None:
    """Each file gets what the ones before have left."""
    limits: list[int] = []

    def fetch(file: OutputFile, limit_bytes: int) -> bytes:
        limits.append(limit_bytes)
        return b"12345"

    deliver(fetch, FakeBlobs(), holding(), [OutputFile("1", "a", "", "output")] * 2, 100)
    assert limits == [100, 95]


def test_empty_files_and_a_bucket_out_of_reach_are_told_apart() -> None:
    """An empty file is refused for good, a bucket that is away may work later."""
    blobs, file = FakeBlobs(), OutputFile("1", "a", "", "output")
    with pytest.raises(Rejected):
        deliver(lambda *_: b"", blobs, holding(), [file], 100)
    blobs.is_away = True
    with pytest.raises(Unavailable):
        deliver(lambda *_: b"x", blobs, holding(), [file], 100)


def test_a_stopped_holding_delivers_nothing_more() -> None:
    """Between two files a stop is heard."""
    held, blobs = holding(), FakeBlobs()
    held.stop(Stop.LOST)
    assert deliver(lambda *_: b"x", blobs, held, [OutputFile("1", "a", "", "output")], 100) == ()
    assert blobs.files == {}
