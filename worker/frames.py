"""
Look into videos and sounds: how large, how long, one frame of them, and how loud over time.

- FFmpeg is always told the container's format. Left to guess, it would follow playlists to other files and addresses.
- Nothing is decoded further than it must, and never longer than `PATIENCE_S`: what a custom node wrote may be a bomb.
- What cannot be read is None here, not an error: the file is delivered without a size or a thumbnail.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image, ImageDraw, ImageStat

PATIENCE_S: Final = 4.0
"""After this the best that is there so far is taken."""
MAX_PIXELS: Final = 64_000_000
"""A frame above this (8K is 33 million pixels) is not decoded."""
OPENING_S: Final = 2.0
"""Where the poster is looked for: a video may fade in from black."""
DARK: Final = 20
"""A frame without a pixel lighter than this (0-255) counts as black; 16 is the black of most videos."""
SOUND_S: Final = 600.0
"""How much of a sound the waveform shows."""
WAVEFORM_SIZE: Final = (512, 128)

_FORMATS: Final = {
    "mp4": "mov", "mov": "mov", "m4a": "mov", "webm": "matroska", "mkv": "matroska", "mka": "matroska", "avi": "avi",
    "wav": "wav", "flac": "flac", "ogg": "ogg", "ogv": "ogg", "opus": "ogg", "mp3": "mp3", "aiff": "aiff", "aac": "aac",
}  # fmt: skip
_RATE_HZ: Final = 8000
_SLOT: Final = 160
"""Samples that become one peak: 20 ms."""
_FAULTS: Final = (av.FFmpegError, OSError, ValueError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class Reel:
    """Say what a container holds. A cover picture in a sound file is no video."""

    has_video: bool
    width_px: int | None = None
    height_px: int | None = None
    duration_s: float | None = None


def measure(content: BinaryIO, extension: str) -> Reel | None:
    """Read size and duration (seconds, to the millisecond) from the headers; None for what cannot be read."""
    try:
        with _opened(content, extension) as container:
            film = _film(container)
            if film is None and not container.streams.audio:
                return None
            return Reel(
                has_video=film is not None,
                width_px=(film.codec_context.width or None) if film else None,
                height_px=(film.codec_context.height or None) if film else None,
                duration_s=_duration_s(container),
            )
    except _FAULTS:
        return None


def poster(content: BinaryIO, extension: str, longest_px: int) -> Image.Image | None:
    """Give the first frame of the first two seconds that is not black, else the first; shrunk to *longest_px*."""
    until = time.monotonic() + PATIENCE_S
    first: Image.Image | None = None
    try:
        with _opened(content, extension) as container:
            film = _film(container)
            if film is None or not 0 < film.codec_context.width * film.codec_context.height <= MAX_PIXELS:
                return None
            film.thread_type = "AUTO"
            for frame in container.decode(film):
                if frame.width * frame.height > MAX_PIXELS:
                    break
                is_dark = _is_dark(frame)
                if first is None or not is_dark:
                    first = _shrunk(frame, longest_px)
                if not is_dark or (frame.time or 0.0) >= OPENING_S or time.monotonic() >= until:
                    break
    except _FAULTS:
        # A frame that was there before the file broke off is still a good poster.
        return first
    return first


def waveform(content: BinaryIO, extension: str) -> Image.Image | None:
    """Draw the loudness of a sound over its time; None when there is nothing to decode."""
    try:
        peaks = _peaks(content, extension)
    except _FAULTS:
        return None
    return _drawn(peaks) if peaks else None


@contextmanager
def _opened(content: BinaryIO, extension: str) -> Iterator[InputContainer]:
    if extension not in _FORMATS:
        raise ValueError(f"{extension} is no video or sound")
    content.seek(0)
    container = av.open(content, "r", format=_FORMATS[extension], metadata_errors="replace")
    try:
        yield container
    finally:
        container.close()


def _film(container: InputContainer) -> VideoStream | None:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def _duration_s(container: InputContainer) -> float | None:
    if container.duration is not None and container.duration > 0:
        return round(container.duration / av.time_base, 3)
    for stream in container.streams:
        if stream.duration and stream.time_base:
            return round(float(stream.duration * stream.time_base), 3)
    return None


def _is_dark(frame: av.VideoFrame) -> bool:
    tiny = _picture(frame.reformat(width=32, height=32, format="rgb24"))
    return ImageStat.Stat(tiny.convert("L")).extrema[0][1] < DARK


def _shrunk(frame: av.VideoFrame, longest_px: int) -> Image.Image:
    factor = min(1.0, longest_px / max(frame.width, frame.height))
    width, height = max(1, round(frame.width * factor)), max(1, round(frame.height * factor))
    return _picture(frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA"))


def _picture(frame: av.VideoFrame) -> Image.Image:
    picture: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    return picture


def _peaks(content: BinaryIO, extension: str) -> list[int]:
    """Measure the loudest sample (0-32768) of each 20 ms, for ten minutes at most."""
    until = time.monotonic() + PATIENCE_S
    peaks: list[int] = []
    rest = array("h")
    with _opened(content, extension) as container:
        if not container.streams.audio:
            return []
        resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE_HZ)
        try:
            for frame in container.decode(container.streams.audio[0]):
                for small in resampler.resample(frame):
                    rest.frombytes(bytes(small.planes[0])[: small.samples * 2])
                whole = len(rest) - len(rest) % _SLOT
                for start in range(0, whole, _SLOT):
                    slot = rest[start : start + _SLOT]
                    peaks.append(max(max(slot), -min(slot)))
                rest = rest[whole:]
                if len(peaks) * _SLOT >= SOUND_S * _RATE_HZ or time.monotonic() >= until:
                    break
        except _FAULTS:
            # Cut off in the middle: what was heard so far is drawn.
            pass
    return peaks or ([max(max(rest), -min(rest))] if rest else [])


def _drawn(peaks: list[int]) -> Image.Image:
    width, height = WAVEFORM_SIZE
    image = Image.new("RGB", WAVEFORM_SIZE, (255, 255, 255))
    pen = ImageDraw.Draw(image)
    middle = height // 2
    loudest = max(1, *peaks)
    # A quiet sound is drawn quiet, but not so that nothing shows.
    scale = (middle - 4) / max(loudest, 32768 // 8)
    pen.line((0, middle, width, middle), fill=(190, 205, 225))
    for x in range(width):
        start = x * len(peaks) // width
        peak = max(peaks[start : max(start + 1, (x + 1) * len(peaks) // width)])
        reach = round(peak * scale)
        pen.line((x, middle - reach, x, middle + reach), fill=(40, 100, 180))
    return image
