"""
Draw a picture for a recipe: a small landscape whose colours and shapes come from a hash, with the prompt below it.

Equal recipe and size give equal pixels. Some words of a prompt choose the colours, so that a sheet full of rows looks
as if somebody had listened; the caption lets a person see which row a picture belongs to.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
import random
import textwrap

from PIL import Image, ImageDraw, ImageFont

from sandbox.comfy.values import Recipe

Colour = tuple[int, int, int]
SUPERSAMPLED_TO_PX = 1536  # draw twice as large and shrink, for smooth edges, when that stays affordable
LAST_DRAWABLE = 0x2500  # Pillow's own font has no letters beyond, only boxes

# Words in a prompt -> hue of the sky, hue of the land, brightness of the sky (all 0..1).
_MOODS: tuple[tuple[tuple[str, ...], tuple[float, float, float]], ...] = (
    (("night", "moon", "star", "space", "dark"), (0.66, 0.70, 0.34)),
    (("snow", "ice", "winter", "frost"), (0.58, 0.57, 0.97)),
    (("sunset", "dusk", "fire", "autumn", "dawn"), (0.04, 0.93, 0.95)),
    (("sea", "ocean", "lake", "water", "beach"), (0.54, 0.52, 0.96)),
    (("forest", "jungle", "garden", "green"), (0.50, 0.34, 0.93)),
    (("desert", "sand", "dune"), (0.11, 0.09, 0.96)),
)


def paint(recipe: Recipe, size: tuple[int, int]) -> Image.Image:
    """Draw *recipe* as an RGB picture of *size* (width, height) in pixels."""
    width, height = size
    scale = 2 if max(size) <= SUPERSAMPLED_TO_PX else 1
    dice = _dice(recipe)
    sky_hue, land_hue, brightness = _mood(recipe.text, dice)
    canvas = _sky((width * scale, height * scale), sky_hue, brightness, dice)
    draw = ImageDraw.Draw(canvas)
    dark = brightness < 0.5
    if dark:
        _stars(draw, canvas.size, dice)
    _sun(draw, canvas.size, dice, dark)
    layers = dice.randint(3, 5)
    for layer in range(layers):
        _hill(draw, canvas.size, layer / layers, _land(land_hue, layer / layers, brightness, dice), dice)
    picture = canvas.reduce(scale) if scale > 1 else canvas
    _caption(picture, recipe.text)
    return picture


def _dice(recipe: Recipe) -> random.Random:
    """Seed the chances of a picture from all that decides it."""
    return random.Random(hashlib.sha256(repr(recipe).encode()).digest())


def _mood(text: str, dice: random.Random) -> tuple[float, float, float]:
    words = text.lower()
    for keys, (sky, land, brightness) in _MOODS:
        if any(key in words for key in keys):
            return (sky + dice.uniform(-0.03, 0.03)) % 1, (land + dice.uniform(-0.03, 0.03)) % 1, brightness
    return dice.random(), dice.random(), 0.95


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, max(0.0, min(1.0, saturation)), max(0.0, min(1.0, value)))
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(size: tuple[int, int], hue: float, brightness: float, dice: random.Random) -> Image.Image:
    """Fill from a deep colour above to a light one at the horizon."""
    turn = dice.uniform(-0.12, 0.12)
    column = Image.new("RGB", (1, 3))
    column.putdata(
        [
            _rgb(hue, 0.62, brightness * 0.78),
            _rgb(hue + turn / 2, 0.42, brightness * 0.95),
            _rgb(hue + turn, 0.22, brightness),
        ]
    )
    return column.resize(size, Image.Resampling.BICUBIC)


def _stars(draw: ImageDraw.ImageDraw, size: tuple[int, int], dice: random.Random) -> None:
    for _ in range(70):
        x, y, radius = dice.random() * size[0], dice.random() * size[1] * 0.6, dice.uniform(0.0007, 0.002) * size[0]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 250, 230))


def _sun(draw: ImageDraw.ImageDraw, size: tuple[int, int], dice: random.Random, dark: bool) -> None:
    """Put a sun or a moon, with a thin ring, somewhere in the upper sky."""
    radius = dice.uniform(0.06, 0.12) * min(size)
    x, y = dice.uniform(0.15, 0.85) * size[0], dice.uniform(0.15, 0.4) * size[1]
    colour = (244, 241, 222) if dark else _rgb(dice.uniform(0.02, 0.15), dice.uniform(0.35, 0.8), 1.0)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    ring = radius * 1.25
    draw.ellipse((x - ring, y - ring, x + ring, y + ring), outline=colour, width=max(1, round(radius / 30)))


def _land(hue: float, nearness: float, brightness: float, dice: random.Random) -> Colour:
    """Colour a row of hills: pale far away, deep nearby."""
    return _rgb(hue + dice.uniform(-0.03, 0.03), 0.25 + 0.45 * nearness, brightness * (0.82 - 0.5 * nearness))


def _hill(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], nearness: float, colour: Colour, dice: random.Random
) -> None:
    """Draw one row of hills as a sum of waves; rows nearby may carry trees."""
    width, height = size
    level, waves = height * (0.55 + 0.33 * nearness), []
    for octave in range(1, 4):
        waves.append((dice.uniform(0.5, 1.6) * octave, dice.random() * math.tau, height * 0.07 / octave))

    def ridge(x: float) -> float:
        return level + sum(depth * math.sin(math.tau * turns * x / width + phase) for turns, phase, depth in waves)

    xs = [width * i / 64 for i in range(65)]
    draw.polygon([(0, height), *((x, ridge(x)) for x in xs), (width, height)], fill=colour)
    for _ in range(dice.randint(0, 9) if nearness > 0.3 else 0):
        x, tall = dice.random() * width, dice.uniform(0.04, 0.09) * height
        foot = ridge(x) + tall * 0.15
        draw.polygon(
            [(x - tall * 0.28, foot), (x, foot - tall), (x + tall * 0.28, foot)],
            fill=(colour[0] * 7 // 10, colour[1] * 7 // 10, colour[2] * 7 // 10),
        )


def _caption(picture: Image.Image, text: str) -> None:
    """Write the prompt, at most two lines of it, on a dark band at the foot; nothing on pictures too small for it."""
    width, height = picture.size
    font_px = max(10, round(min(width, height) / 32))
    columns = int(width / (font_px * 0.5)) - 2
    drawable = "".join(c for c in text[:400] if ord(c) < LAST_DRAWABLE)
    words = " ".join(drawable.split())
    if not words or columns < 12 or height < font_px * 6:
        return
    lines = textwrap.wrap(words, columns, max_lines=2, placeholder=" …")
    top = height - round(font_px * (1.35 * len(lines) + 0.7))
    band = Image.new("RGB", (width, height - top), (16, 18, 24))
    picture.paste(Image.blend(picture.crop((0, top, width, height)), band, 0.72), (0, top))
    ImageDraw.Draw(picture).multiline_text(
        (font_px * 0.8, top + font_px * 0.3),
        "\n".join(lines),
        fill=(240, 240, 235),
        font=ImageFont.load_default(font_px),
        spacing=font_px * 0.25,
    )
