"""Run ComfyUI's model-free image nodes for real, with Pillow."""

from __future__ import annotations

import hashlib

from PIL import Image, ImageChops, ImageFilter, ImageOps

from sandbox.comfy.cooks import node
from sandbox.comfy.folders import Folders
from sandbox.comfy.kitchen import Kitchen
from sandbox.comfy.values import Named, Pictures, Result

_FILTERS = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def _images(pictures: list[Image.Image]) -> Result:
    return Result((Pictures(pictures),))


@node("EmptyImage")
def empty_image(width: int, height: int, batch_size: int, color: int) -> Result:
    """Fill a picture with one colour, given as 0xRRGGBB."""
    rgb = (color >> 16 & 0xFF, color >> 8 & 0xFF, color & 0xFF)
    return _images([Image.new("RGB", (width, height), rgb)] * batch_size)


def _image_file_exists(folders: Folders, image: str) -> bool | str:
    return folders.find_input(image) is not None or f"Invalid image file: {image}"


def _image_file_hash(folders: Folders, image: str) -> str:
    path = folders.find_input(image)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""


@node("LoadImage", check=_image_file_exists, fingerprint=_image_file_hash)
def load_image(kitchen: Kitchen, image: str) -> Result:
    """Read a picture from the input folder, upright; every frame of it is one picture of the batch."""
    path = kitchen.folders.find_input(image)
    if path is None:
        raise FileNotFoundError(image)
    with Image.open(path) as file:
        frames = []
        for index in range(getattr(file, "n_frames", 1)):
            file.seek(index)
            frames.append(ImageOps.exif_transpose(file).convert("RGB"))
    same_size = [frame for frame in frames if frame.size == frames[0].size]
    return Result((Pictures(same_size), Named(f"mask of {image}")))


def _fitted(picture: Image.Image, width: int, height: int, crop: str, method: str) -> Image.Image:
    """Scale to exactly (width, height); crop "center" keeps the shape and cuts the rest away."""
    if crop == "center":
        return ImageOps.fit(picture, (width, height), _FILTERS[method])
    return picture.resize((width, height), _FILTERS[method])


@node("ImageScale")
def image_scale(image: Pictures, upscale_method: str, width: int, height: int, crop: str) -> Result:
    """Scale to a size; 0 for one side keeps the shape, 0 for both changes nothing."""
    old_width, old_height = image[0].size
    if width == 0 and height == 0:
        return Result((image,))
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    return _images([_fitted(p, width, height, crop, upscale_method) for p in image])


@node("ImageScaleBy")
def image_scale_by(image: Pictures, upscale_method: str, scale_by: float) -> Result:
    """Scale both sides by a factor."""
    width, height = (max(1, round(side * scale_by)) for side in image[0].size)
    return _images([p.resize((width, height), _FILTERS[upscale_method]) for p in image])


@node("ImageInvert")
def image_invert(image: Pictures) -> Result:
    """Turn every colour into its opposite."""
    return _images([ImageChops.invert(p) for p in image])


@node("ImageBatch")
def image_batch(image1: Pictures, image2: Pictures) -> Result:
    """Put two batches into one; the second takes the size of the first."""
    size = image1[0].size
    return _images([*image1, *(p if p.size == size else _fitted(p, *size, "center", "bilinear") for p in image2)])


@node("ImageBlur")
def image_blur(image: Pictures, blur_radius: int, sigma: float) -> Result:
    """Blur with a Gaussian of *sigma* (ComfyUI cuts it at *blur_radius*; the difference is not visible)."""
    return _images([p.filter(ImageFilter.GaussianBlur(sigma if blur_radius else 0)) for p in image])


@node("ImageSharpen")
def image_sharpen(image: Pictures, sharpen_radius: int, sigma: float, alpha: float) -> Result:
    """Sharpen by an unsharp mask of strength *alpha*."""
    mask = ImageFilter.UnsharpMask(sigma if sharpen_radius else 0, round(alpha * 100), 0)
    return _images([p.filter(mask) for p in image])


_BLENDS = {
    "normal": lambda _below, above: above,
    "multiply": ImageChops.multiply,
    "screen": ImageChops.screen,
    "overlay": ImageChops.overlay,
    "soft_light": ImageChops.soft_light,
    "difference": ImageChops.difference,
}


@node("ImageBlend")
def image_blend(image1: Pictures, image2: Pictures, blend_factor: float, blend_mode: str) -> Result:
    """Lay the second batch over the first with a blend mode, as strong as *blend_factor* (0..1)."""
    pairs = [
        (below, _fitted(image2[i % len(image2)].convert(below.mode), *below.size, "center", "bicubic"))
        for i, below in enumerate(image1)
    ]
    return _images([Image.blend(a, _BLENDS[blend_mode](a, b), blend_factor) for a, b in pairs])


@node("ImageCrop")
def image_crop(image: Pictures, width: int, height: int, x: int, y: int) -> Result:
    """Cut a rectangle out; it is moved and cut to lie inside the picture."""
    left, top = min(x, image[0].width - 1), min(y, image[0].height - 1)
    box = (left, top, min(left + width, image[0].width), min(top + height, image[0].height))
    return _images([p.crop(box) for p in image])


@node("ImageFlip")
def image_flip(image: Pictures, flip_method: str) -> Result:
    """Mirror top to bottom (x-axis) or left to right (y-axis)."""
    return _images([(ImageOps.flip if flip_method.startswith("x") else ImageOps.mirror)(p) for p in image])


@node("ImageRotate")
def image_rotate(image: Pictures, rotation: str) -> Result:
    """Turn clockwise by quarter turns."""
    turns = {"90": Image.Transpose.ROTATE_270, "180": Image.Transpose.ROTATE_180, "270": Image.Transpose.ROTATE_90}
    turn = turns.get(rotation.split()[0])
    return Result((image,)) if turn is None else _images([p.transpose(turn) for p in image])


@node("ImageQuantize")
def image_quantize(image: Pictures, colors: int, dither: str) -> Result:
    """Reduce to a palette (the Bayer patterns are drawn as Floyd-Steinberg)."""
    mode = Image.Dither.NONE if dither == "none" else Image.Dither.FLOYDSTEINBERG
    palettes = [p.convert("RGB").quantize(colors=colors) for p in image]
    return _images(
        [
            p.convert("RGB").quantize(palette=palette, dither=mode).convert("RGB")
            for p, palette in zip(image, palettes, strict=True)
        ]
    )
