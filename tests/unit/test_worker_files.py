"""Judge what the worker knows of files: types from bytes, sizes and durations, thumbnails."""

from __future__ import annotations

import json
import struct
import time
import zipfile
from io import BytesIO
from pathlib import Path

import av
import pytest
from PIL import Image

from tests.media import animation, sound, video
from tests.worker_fakes import picture
from worker.frames import measure, waveform
from worker.sniff import sniff
from worker.thumbs import SMALL_BYTES, thumbnail


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
        (b"\x89PNG\r\n\x1a\nbroken", "image/png", "png", "image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 99, "application/octet-stream", "bin", "file"),
        (b"ply\nformat binary_little_endian 1.0\n\0", "model/ply", "ply", "3d"),
        (b"Kaydara FBX Binary  \0\x1a\0", "application/octet-stream", "fbx", "3d"),
        (b"solid cube\n facet normal 0 0 1\n", "model/stl", "stl", "3d"),
        (b"a" * 80 + struct.pack("<I", 2) + b"\0" * 100, "model/stl", "stl", "3d"),
        (b"# made\no cube\nv 0.0 -1.5 2e-3\nv 1 2 3\nf 1/1/1 2//1 3\n", "model/obj", "obj", "3d"),
        (b'{"asset": {"version": "2.0"}, "scenes": []}', "model/gltf+json", "gltf", "3d"),
        (b'{"asset": "a fox"}', "text/plain; charset=utf-8", "json", "text"),
        (b"[1, 2]\n", "text/plain; charset=utf-8", "json", "text"),
        (b"{ a fox", "text/plain; charset=utf-8", "txt", "text"),
        (b"v for vendetta", "text/plain; charset=utf-8", "txt", "text"),
        (b"solid work", "text/plain; charset=utf-8", "txt", "text"),
        (b"", "application/octet-stream", "bin", "file"),
        (b"\x00\x01\x02", "application/octet-stream", "bin", "file"),
        (b"MZ\x90\x03", "application/octet-stream", "bin", "file"),
    ],
)
def test_the_type_comes_from_the_bytes(content: bytes, content_type: str, extension: str, kind: str) -> None:
    """Whatever a file is called, its bytes say what it is; what could run in a browser is plain bytes."""
    sniffed = sniff(content)
    assert (sniffed.content_type, sniffed.extension, sniffed.kind) == (content_type, extension, kind)


def scene(first: str) -> bytes:
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(first, "x")
    return made.getvalue()


def test_a_zip_is_a_scene_only_when_its_first_file_is_one() -> None:
    """USDZ is a zip that begins with a USD file; any other zip is bytes."""
    assert sniff(scene("a.usdc")).extension == "usdz"
    assert sniff(scene("a.exe")).extension == "bin"


@pytest.mark.parametrize(
    ("content", "name", "extension"),
    [
        (b"a,b\n1,2\n", "t.csv", "csv"),
        (b"# A fox", "t.md", "md"),
        (b"hello", "t.html", "txt"),
        (b"hello", "t.svg", "txt"),
        (b"<p>hello", "t.md", "bin"),
        (b"\0" * 64, "t.splat", "splat"),
        (b"\0" * 65, "t.splat", "bin"),
        (b"\0" * 64, "t.png", "bin"),
        (b"\0" * 64, "t.html", "bin"),
        (picture(), "t.splat", "png"),
    ],
)
def test_a_name_chooses_only_among_the_harmless(content: bytes, name: str, extension: str) -> None:
    """A kind of plain text, or a 3D format without a mark; never a picture, a page or a program."""
    assert sniff(content, name).extension == extension


def test_a_long_text_is_known_by_its_begin() -> None:
    """Only the first megabyte is read, and it may end within a character."""
    assert sniff(b"x" + "é".encode() * 600_000).extension == "txt"
    assert sniff(b"x" * 10 + b"\xe9" + b"x" * 2_000_000).extension == "bin"


@pytest.mark.parametrize("content", [b"solid" + b"\n" * 900_000, b"v 1 2 3\nf " + b"1" * 900_000, b"[" * 900_000])
def test_a_hostile_text_costs_no_time(content: bytes) -> None:
    """No pattern runs wild on a megabyte of the same character."""
    begun = time.monotonic()
    assert sniff(content).kind in ("text", "3d")
    assert time.monotonic() - begun < 2


def test_pictures_have_a_size() -> None:
    """Width and height come from the header."""
    sniffed = sniff(picture(30, 20))
    assert (sniffed.width_px, sniffed.height_px) == (30, 20)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF"])
def test_an_animation_tells_its_frames_and_shows_the_first(form: str) -> None:
    """Every format that a browser plays; a still picture of the same format does not move."""
    content = animation(form)
    sniffed = sniff(content)
    assert (sniffed.is_animated, sniffed.frames, sniffed.width_px, sniffed.height_px) == (True, 3, 40, 30)
    image, content_type = thumb(content)
    red, green, _ = colour_of(image)
    assert red > 180 and green < 60 and content_type == "image/jpeg"
    assert not sniff(picture(form=form)).is_animated


@pytest.mark.parametrize(
    ("form", "codec", "content_type", "extension"),
    [
        ("mp4", "mpeg4", "video/mp4", "mp4"),
        ("mov", "mpeg4", "video/quicktime", "mov"),
        ("webm", "libvpx-vp9", "video/webm", "webm"),
        ("matroska", "mpeg4", "video/x-matroska", "mkv"),
        ("avi", "mpeg4", "video/x-msvideo", "avi"),
    ],
)
def test_videos_have_size_duration_and_poster(form: str, codec: str, content_type: str, extension: str) -> None:
    """The poster is the first frame that is not black."""
    content = video(form, codec)
    sniffed = sniff(content)
    assert (sniffed.content_type, sniffed.extension, sniffed.kind) == (content_type, extension, "video")
    assert (sniffed.width_px, sniffed.height_px) == (64, 48)
    assert sniffed.duration_s == pytest.approx(1.0, abs=0.1)
    image, shown_type = thumb(content)
    red, green, _ = colour_of(image)
    assert (image.size, shown_type) == ((64, 48), "image/jpeg")
    assert red > 150 and green < 80


def test_a_black_video_shows_black() -> None:
    """Beyond two seconds nobody looks for light: the first frame it is."""
    content = video(colours=[(0, 0, 0), (0, 200, 0)], frames_each=40)
    assert max(colour_of(thumb(content)[0])) < 30


def test_a_poster_is_512_px_at_most() -> None:
    """Shape kept, as with pictures."""
    assert thumb(video(size=(1024, 256), colours=[(9, 99, 9)], frames_each=1))[0].size == (512, 128)


@pytest.mark.parametrize(
    ("form", "codec", "content_type", "extension"),
    [
        ("flac", "flac", "audio/flac", "flac"),
        ("mp3", "libmp3lame", "audio/mpeg", "mp3"),
        ("ogg", "libopus", "audio/ogg", "opus"),
        ("webm", "libopus", "audio/webm", "webm"),
        ("matroska", "flac", "audio/x-matroska", "mka"),
        ("mp4", "aac", "audio/mp4", "m4a"),
        ("adts", "aac", "audio/aac", "aac"),
        ("wav", "pcm_s16le", "audio/wav", "wav"),
        ("aiff", "pcm_s16be", "audio/aiff", "aiff"),
    ],
)
def test_sounds_have_a_duration_and_a_waveform(form: str, codec: str, content_type: str, extension: str) -> None:
    """A sound in a video's container is a sound. The tone grows: its picture has more ink on the right."""
    content = sound(form, codec)
    sniffed = sniff(content)
    assert (sniffed.content_type, sniffed.extension, sniffed.kind) == (content_type, extension, "audio")
    assert sniffed.duration_s == pytest.approx(1.0, abs=0.1)
    image, shown_type = thumb(content)
    assert (image.size, shown_type) == ((512, 128), "image/png")
    grey = image.convert("L").point(lambda value: 255 if value < 128 else 0)
    left, right = (sum(grey.crop((x, 0, x + 256, 128)).histogram()[255:]) for x in (0, 256))
    assert right > 2 * left > 0


@pytest.mark.parametrize("content", [video(), video("webm", "libvpx"), sound("mp4", "aac"), sound(), animation("WEBP")])
def test_a_broken_file_keeps_its_kind(content: bytes) -> None:
    """Wherever it breaks off, it is what its mark says; a thumbnail is there or not, an error never."""
    kind = sniff(content).kind
    for length in (40, 100, len(content) // 3, len(content) - 20):
        cut = content[:length]
        assert sniff(cut).kind in (kind, "video")
        small = thumbnail(cut, sniff(cut))
        assert small is None or small.content


def test_a_playlist_is_never_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg left to guess would open the file that this one names; told a format, it finds a broken sound."""
    (tmp_path / "secret.wav").write_bytes(sound("wav", "pcm_s16le"))
    monkeypatch.chdir(tmp_path)
    playlist = b"ffconcat version 1.0\nfile secret.wav\n"
    with av.open(BytesIO(playlist)) as guessed:
        assert guessed.streams.audio
    assert sniff(playlist, "x.mp3").kind == "text"
    assert measure(BytesIO(playlist), "mp3") is None
    assert waveform(BytesIO(playlist), "mp3") is None


def colour_of(image: Image.Image) -> tuple[int, int, int]:
    colour = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    assert isinstance(colour, tuple)
    return colour[0], colour[1], colour[2]


def thumb(content: bytes) -> tuple[Image.Image, str]:
    small = thumbnail(content, sniff(content))
    assert small is not None and small.content is not None
    return Image.open(BytesIO(small.content)), small.content_type


def test_a_thumbnail_is_a_jpeg_of_512_px_at_most() -> None:
    """The longer side becomes 512, the shape stays, a small picture of many bytes is not blown up."""
    image, content_type = thumb(picture(2048, 1024))
    assert (image.format, image.size, content_type) == ("JPEG", (512, 256), "image/jpeg")
    assert thumb(picture(40, 30, form="WEBP"))[0].size == (40, 30)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_small_picture_is_its_own_thumbnail(form: str) -> None:
    """Up to 512 px and 64 KB nothing is made; a broken one is not shown, a heavy one is made lighter."""
    content = picture(512, 300, form=form)
    small = thumbnail(content, sniff(content))
    assert small is not None and small.content is None
    assert small.content_type == f"image/{form.lower()}"
    assert thumbnail(content[:-50], sniff(content)) is None
    heavy = content + b"\0" * SMALL_BYTES
    made = thumbnail(heavy, sniff(heavy))
    assert made is not None and made.content is not None
    wide = picture(513, 300, form=form)
    assert thumb(wide)[0].size == (512, 299)


def test_a_thumbnail_keeps_transparency_as_png() -> None:
    """What shines through must still do so in the cell; an alpha channel that hides nothing makes a JPEG."""
    image, content_type = thumb(picture(800, 800, mode="RGBA"))
    assert (image.format, image.mode, content_type) == ("PNG", "RGBA", "image/png")
    opaque = BytesIO()
    Image.new("RGBA", (600, 20), (1, 2, 3, 255)).save(opaque, "PNG")
    assert thumb(opaque.getvalue())[1] == "image/jpeg"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "I;16", "CMYK"])
def test_every_mode_of_picture_has_a_thumbnail(mode: str) -> None:
    """Grey, palette, 16 bits and print colours too."""
    made = BytesIO()
    Image.new(mode, (1600, 800)).save(made, "TIFF" if mode == "CMYK" else "PNG")
    assert thumb(made.getvalue())[0].size == (512, 256)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    """A 16-bit grey of one half is a half in the thumbnail."""
    made = BytesIO()
    Image.new("I;16", (600, 16), 32768).save(made, "PNG")
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
