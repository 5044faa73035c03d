"""
Name what travels along the links of a graph while it runs, and what a node hands back.

Everything here is frozen, because a value may sit in the node cache and be handed to many later prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

Json = dict[str, Any]
Graph = dict[str, Any]  # {"<node id>": {"class_type": str, "inputs": {...}, "_meta": {...}}}, as the client sent it


class Pictures(tuple[Image.Image, ...]):
    """Carry an IMAGE batch: equally sized RGB (or RGBA) pictures, never empty."""

    __slots__ = ()

    @property
    def size_bytes(self) -> int:
        """Give the memory that the distinct pictures of the batch take (a batch may repeat one picture)."""
        return sum(p.width * p.height * len(p.getbands()) for p in {id(p): p for p in self}.values())

    def __str__(self) -> str:
        """Print as ComfyUI's errors do: a torch tensor of floats, cut to its corners (seen in 0.28.0 history)."""
        picture = self[0].convert("RGB")
        width, height = picture.size
        xs = _edges(width)
        rows = [
            "[" + ",\n          ".join(_pixel(picture, x, y) for x in xs) + "]" if y >= 0 else "..."
            for y in _edges(height)
        ]
        return "tensor([[" + ",\n\n         ".join(rows) + "]])"


def _edges(count: int) -> list[int]:
    """Give the first and last three indices; -1 stands for the cut between them."""
    return list(range(count)) if count <= 6 else [0, 1, 2, -1, count - 3, count - 2, count - 1]


def _pixel(picture: Image.Image, x: int, y: int) -> str:
    if x < 0:
        return "..."
    red, green, blue = picture.getpixel((x, y))  # type: ignore[misc]  # an RGB picture gives three numbers
    return f"[{red / 255:.4f}, {green / 255:.4f}, {blue / 255:.4f}]"


@dataclass(frozen=True)
class Model:
    """Stand for a diffusion model: the file it came from and the LoRAs laid over it."""

    file: str
    loras: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Named:
    """Stand for a thing that is only its file or name here: CLIP, VAE, SAMPLER, MASK."""

    name: str


@dataclass(frozen=True)
class Conditioning:
    """Stand for an encoded prompt: its text."""

    text: str


@dataclass(frozen=True)
class Sigmas:
    """Stand for a noise schedule: how many steps it has and how much of the latent it repaints (0..1)."""

    steps: int
    denoise: float


@dataclass(frozen=True)
class Guider:
    """Stand for a guider: the model and what it is asked to draw and to avoid."""

    model: Model
    positive: str
    negative: str = ""


@dataclass(frozen=True)
class Recipe:
    """Hold all that decides a drawn picture; equal recipes draw equal pictures."""

    text: str
    negative: str
    seed: int
    model: Model


@dataclass(frozen=True)
class Latent:
    """Stand for a LATENT batch: its size in pixels, the pictures it was made from, and what was sampled onto it."""

    width: int
    height: int
    batch: int
    base: Pictures | None = None
    recipe: Recipe | None = None
    denoise: float = 1.0


@dataclass(frozen=True)
class Blocked:
    """Stand for ComfyUI's ExecutionBlocker: whoever receives it is not run; *message* is told once (trap 2)."""

    message: str | None


@dataclass(frozen=True)
class Result:
    """Hold what one node gave: a value per output slot, and what it shows (`ui`; None = shows nothing)."""

    outputs: tuple[object, ...] = ()
    ui: Mapping[str, Any] | None = None
