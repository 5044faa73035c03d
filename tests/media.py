"""Make small videos, sounds and animations as ComfyUI's nodes would."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from io import BytesIO

import av
from PIL import Image

RATE_HZ = 48_000


def video(
    form: str = "mp4",
    codec: str = "mpeg4",
    *,
    size: tuple[int, int] = (64, 48),
    colours: Sequence[tuple[int, int, int]] = ((0, 0, 0), (200, 40, 40)),
    frames_each: int = 5,
    rate: int = 10,
) -> bytes:
    """Make a video that shows each of *colours* for *frames_each* frames."""
    made = BytesIO()
    with av.open(made, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            for _ in range(frames_each):
                container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", size, colour))))
        container.mux(stream.encode(None))
    return made.getvalue()


def sound(form: str = "flac", codec: str = "flac", *, seconds: float = 1.0, loudness: float = 0.5) -> bytes:
    """Make a tone that grows from silence to *loudness*."""
    made = BytesIO()
    with av.open(made, "w", format=form) as container:
        stream = container.add_stream(codec, rate=RATE_HZ)
        stream.layout = "mono"
        count = int(RATE_HZ * seconds)
        tone = array(
            "h", (int(32767 * loudness * n / count * math.sin(n * 2 * math.pi * 440 / RATE_HZ)) for n in range(count))
        )
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=RATE_HZ)
        for start in range(0, count, 960):
            part = tone[start : start + 960]
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(part))
            frame.sample_rate, frame.pts = RATE_HZ, start
            frame.planes[0].update(part.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
            for fitting in resampler.resample(frame):
                container.mux(stream.encode(fitting))
        container.mux(stream.encode(None))
    return made.getvalue()


def animation(form: str, frames: int = 3, size: tuple[int, int] = (40, 30)) -> bytes:
    """Make an animated picture whose first frame is red."""
    colours = [(220, 0, 0), (0, 220, 0), (0, 0, 220), (220, 220, 0)]
    images = [Image.new("RGB", size, colours[n % len(colours)]) for n in range(frames)]
    made = BytesIO()
    images[0].save(made, form, save_all=True, append_images=images[1:], duration=100)
    return made.getvalue()
