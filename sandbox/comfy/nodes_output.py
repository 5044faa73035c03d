"""Run the nodes that give something to see: saved files, temporary previews, texts, pictures over the WebSocket."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sandbox.comfy.cooks import node
from sandbox.comfy.folders import SavePlace, save_place
from sandbox.comfy.kitchen import Kitchen, Preview
from sandbox.comfy.values import Json, Pictures, Result


def _embedded(prompt: object, extra_pnginfo: Json | None) -> dict[str, str]:
    """Collect what ComfyUI writes into every file: the whole prompt, and each key of extra_pnginfo."""
    return {key: json.dumps(value) for key, value in {"prompt": prompt, **(extra_pnginfo or {})}.items()}


def _png_info(prompt: object, extra_pnginfo: Json | None) -> PngInfo:
    info = PngInfo()
    for key, text in _embedded(prompt, extra_pnginfo).items():
        info.add_text(key, text)
    return info


def _entry(place: SavePlace, name: str, kind: str) -> Json:
    return {"filename": name, "subfolder": place.subfolder, "type": kind}


def _save_pngs(root: Path, kind: str, images: Pictures, prefix: str, info: PngInfo, level: int) -> Result:
    """Write each picture as `stem_00001_.png`; *level* is zlib's (ComfyUI: 4 for outputs, 1 for previews)."""
    place = save_place(root, prefix, images[0].size)
    entries = []
    for number, picture in enumerate(images):
        stem = place.stem.replace("%batch_num%", str(number))
        name = f"{stem}_{place.counter + number:05}_.png"
        picture.save(place.folder / name, pnginfo=info, compress_level=level)
        entries.append(_entry(place, name, kind))
    return Result((images,), {"images": entries})


@node("SaveImage")
def save_image(
    kitchen: Kitchen, images: Pictures, filename_prefix: str, prompt: object, extra_pnginfo: Json | None
) -> Result:
    """Write the batch into the output folder."""
    return _save_pngs(kitchen.folders.output, "output", images, filename_prefix, _png_info(prompt, extra_pnginfo), 4)


@node("PreviewImage")
def preview_image(kitchen: Kitchen, images: Pictures, prompt: object, extra_pnginfo: Json | None) -> Result:
    """Write the batch into the temp folder under a random name."""
    letters = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(5))
    return _save_pngs(
        kitchen.folders.temp, "temp", images, f"ComfyUI_temp_{letters}", _png_info(prompt, extra_pnginfo), 1
    )


def _save_animation(kitchen: Kitchen, images: Pictures, prefix: str, suffix: str, **options: Any) -> Result:
    place = save_place(kitchen.folders.output, prefix, images[0].size)
    name = f"{place.stem}_{place.counter:05}_{suffix}"
    images[0].save(place.folder / name, save_all=True, append_images=images[1:], **options)
    return Result((images,), {"images": [_entry(place, name, "output")], "animated": [True]})


@node("SaveAnimatedWEBP")
def save_animated_webp(
    kitchen: Kitchen,
    images: Pictures,
    filename_prefix: str,
    fps: float,
    lossless: bool,
    quality: int,
    method: str,
    prompt: object,
    extra_pnginfo: Json | None,
) -> Result:
    """Write the batch as one moving WebP; the prompt goes into EXIF Model, the others into the tags below it."""
    exif = Image.Exif()
    for offset, (key, text) in enumerate(_embedded(prompt, extra_pnginfo).items()):
        exif[0x0110 - offset] = f"{key}:{text}"
    speed = {"default": 4, "fastest": 0, "slowest": 6}[method]
    return _save_animation(
        kitchen,
        images,
        filename_prefix,
        ".webp",
        duration=int(1000 / fps),
        lossless=lossless,
        quality=quality,
        method=speed,
        exif=exif,
    )


@node("SaveAnimatedPNG")
def save_animated_png(
    kitchen: Kitchen,
    images: Pictures,
    filename_prefix: str,
    fps: float,
    compress_level: int,
    prompt: object,
    extra_pnginfo: Json | None,
) -> Result:
    """Write the batch as one moving PNG."""
    info = PngInfo()
    for key, text in _embedded(prompt, extra_pnginfo).items():
        info.add(b"comf", key.encode("latin-1", "strict") + b"\0" + text.encode("latin-1", "strict"), after_idat=True)
    return _save_animation(
        kitchen, images, filename_prefix, ".png", pnginfo=info, compress_level=compress_level, duration=int(1000 / fps)
    )


@node("SaveImageWebsocket")
def save_image_websocket(kitchen: Kitchen, images: Pictures) -> Result:
    """Send the pictures as binary frames at full size; nothing of it stands in the history."""
    bar = kitchen.bar(len(images))
    for number, picture in enumerate(images):
        bar.tick(number, Preview("PNG", picture, None))
    return Result()


@node("SaveText")
def save_text(kitchen: Kitchen, text: str, filename_prefix: str, format: str) -> Result:
    """Write a text file `stem_00001.txt`."""
    place = save_place(kitchen.folders.output, filename_prefix)
    name = f"{place.stem}_{place.counter:05}.{format}"
    (place.folder / name).write_text(text, encoding="utf-8")
    return Result((text,), {"text": [text], "files": [_entry(place, name, "output")]})


@node("PreviewAny")
def preview_any(source: object) -> Result:
    """Show any value as text."""
    text = source if isinstance(source, str) else str(source)
    return Result((text,), {"text": [text]})


@node("PrimitiveString")
@node("PrimitiveStringMultiline")
@node("PrimitiveInt")
@node("PrimitiveFloat")
@node("PrimitiveBoolean")
def primitive(value: object) -> Result:
    """Hand a constant on."""
    return Result((value,))
