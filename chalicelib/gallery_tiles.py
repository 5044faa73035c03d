"""
Draw a job's files: pictures, videos and sounds as what they are, the beginning of a text, anything else by its name.

A browser is only shown what it can show. Of the rest the tile says what it is, with its thumbnail if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from chalicelib.contract.job import Job, Output
from chalicelib.gallery_html import Html, tag
from chalicelib.links import download_link, is_shown_in_a_page, output_link, thumbnail_link

_PLAYED: Final = (
    frozenset({"video/mp4", "video/webm", "video/ogg", "video/quicktime"})
    | frozenset({"audio/mpeg", "audio/mp4", "audio/ogg", "audio/webm", "audio/wav", "audio/x-wav", "audio/flac"})
    | frozenset({"audio/x-flac", "audio/aac", "audio/opus"})
)
"""What browsers play; Matroska and AVI, for example, they do not."""

_SPACE: Final = "\N{NO-BREAK SPACE}"

_KIND: Final[dict[str, str]] = {"3d": "3D model", "latent": "latent", "file": "file"}


def hero(job: Job, index: int, prompt: str, excerpt: str | None) -> Html:
    """Draw one output large, from the file itself."""
    return tag("div", _figure(job, index, prompt, excerpt, is_large=True), class_="hero")


def tiles(job: Job, large: int, prompt: str, excerpts: Mapping[int, str]) -> Html | None:
    """Draw all outputs but the *large* one small, in order; None when there is no other."""
    others = [index for index in range(len(job.outputs)) if index != large]
    drawn = [
        tag(
            "li",
            _figure(job, index, prompt, excerpts.get(index), is_large=False),
            # A phone shows pictures two in a row; what has buttons or lines needs the whole.
            class_="wide" if job.outputs[index].kind == "text" or _plays(job.outputs[index]) else None,
        )
        for index in others
    ]
    # Safari forgets that a list without bullets is a list, unless it is told.
    return tag("ul", *drawn, class_="tiles", role="list") if drawn else None


def shortened(text: str, most: int) -> str:
    """Put *text* on one line of at most *most* characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def file_size(size_bytes: int) -> str:
    """Say a size for people: 980 B, 12 KB, 1.4 MB."""
    size = float(size_bytes)
    for unit in ("B", "KB", "MB"):
        if size < 999.5:
            return f"{size:.0f}{_SPACE}{unit}" if unit in ("B", "KB") or size >= 99.5 else f"{size:.1f}{_SPACE}{unit}"
        size /= 1000
    return f"{size:.1f}{_SPACE}GB"


def _figure(job: Job, index: int, prompt: str, excerpt: str | None, *, is_large: bool) -> Html:
    output = job.outputs[index]
    count = len(job.outputs)
    label = f"Output {index + 1} of {count}" + (f": {shortened(prompt, 120)}" if prompt else "")
    acts = [
        tag("a", "Open", href=output_link(job, index), aria_label=f"Open output {index + 1}")
        if _opens(output)
        else None,
        tag(
            "a",
            "Download",
            href=download_link(job, index),
            aria_label=f"Download output {index + 1}: {shortened(output.filename, 80)}",
        ),
    ]
    caption = tag(
        "figcaption",
        tag("div", tag("bdi", shortened(output.filename, 120)), class_="name"),
        tag("div", " · ".join(_facts(output)), class_="about"),
        tag("div", *acts, class_="acts"),
    )
    return tag("figure", _frame(job, index, label, excerpt, is_large=is_large), caption)


def _plays(output: Output) -> bool:
    return output.kind in ("video", "audio") and output.content_type in _PLAYED


def _opens(output: Output) -> bool:
    """Say whether a browser can show or play the file."""
    return is_shown_in_a_page(output) and (output.kind not in ("video", "audio") or _plays(output))


def _facts(output: Output) -> Iterator[str]:
    form, kind = _form(output), _KIND.get(output.kind, "")
    yield f"{form} {kind}" if kind and kind.upper() != form else form
    if output.is_animated:
        yield "animated"
    if output.width_px and output.height_px:
        yield f"{output.width_px} × {output.height_px} px".replace(" ", _SPACE)
    if output.duration_s is not None:
        yield f"{output.duration_s:.1f}{_SPACE}s"
    yield file_size(output.size_bytes)
    if output.thumbnail_key and not _opens(output):
        yield "browsers show only this small picture of it"


def _form(output: Output) -> str:
    """Say a file's form in a few letters: its extension, else the end of its type."""
    extension = re.search(r"\.([A-Za-z0-9]{1,8})$", output.filename)
    kind = output.content_type.partition(";")[0].rpartition("/")[2]
    return (extension[1] if extension else kind[:20] or "file").upper()


def _frame(job: Job, index: int, label: str, excerpt: str | None, *, is_large: bool) -> Html:
    output = job.outputs[index]
    if output.kind == "image" and is_shown_in_a_page(output):
        return _picture(job, index, label, is_large=is_large)
    if output.kind == "video" and _plays(output):
        return _video(job, index, label, is_large=is_large)
    if output.kind == "audio" and _plays(output):
        return _sound(job, index, label, is_large=is_large)
    if excerpt is not None:
        # A box that scrolls must be reachable by keyboard.
        return tag("div", tag("pre", excerpt, tabindex=0, role="group", aria_label=label, dir="auto"), class_="frame")
    return _other(job, index, label)


def _picture(job: Job, index: int, label: str, *, is_large: bool) -> Html:
    output = job.outputs[index]
    whole, small = output_link(job, index), thumbnail_link(job, index) if output.thumbnail_key else None
    source = whole if is_large or small is None else small
    still = None
    if output.is_animated and small and is_large:
        still = tag("source", media="(prefers-reduced-motion: reduce)", srcset=small)
    image = tag(
        "img",
        src=source,
        alt=label,
        width=output.width_px,
        height=output.height_px,
        loading=None if is_large else "lazy",
        decoding="async",
    )
    picture = tag("picture", still, image) if still else image
    return tag("div", tag("a", picture, href=whole), class_="frame")


def _video(job: Job, index: int, label: str, *, is_large: bool) -> Html:
    output = job.outputs[index]
    poster = thumbnail_link(job, index) if output.thumbnail_key else None
    video = tag(
        "video",
        tag("a", "Open the video", href=output_link(job, index)),
        src=output_link(job, index),
        poster=poster,
        width=output.width_px,
        height=output.height_px,
        controls=True,
        playsinline=True,
        preload="none" if poster and not is_large else "metadata",
        aria_label=label,
    )
    return tag("div", video, class_="frame")


def _sound(job: Job, index: int, label: str, *, is_large: bool) -> Html:
    output = job.outputs[index]
    drawn = tag("img", src=thumbnail_link(job, index), alt="", loading="lazy") if output.thumbnail_key else None
    source, preload = output_link(job, index), "metadata" if is_large else "none"
    audio = tag("audio", src=source, controls=True, preload=preload, aria_label=label)
    return tag("div", drawn, audio, class_="frame sound")


def _other(job: Job, index: int, label: str) -> Html:
    output = job.outputs[index]
    if output.thumbnail_key:
        image = tag("img", src=thumbnail_link(job, index), alt=label, loading="lazy")
        return tag("div", tag("a", image, href=download_link(job, index)), class_="frame")
    is_text = output.kind == "text" and is_shown_in_a_page(output)
    words = "A long text: open or download it." if is_text else "Browsers do not show this kind of file: download it."
    return tag("div", tag("div", _form(output), class_="form"), tag("div", words), class_="frame file")
