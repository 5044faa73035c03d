"""Describe one thing that a row may set: its type, its bounds, the words for it, and where in the graph it goes."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from chalicelib.contract.job import Frozen
from chalicelib.contract.words import fold

Type = Literal[
    "string",
    "integer",
    "float",
    "boolean",
    "choice",
    "seed",
    "size",
    "color",
    "model",
    "lora",
    "vae",
    "clip",
    "unet",
    "image",
    "mask",
    "audio",
    "video",
]
NAMES: Final = frozenset({"model", "lora", "vae", "clip", "unet"})
"""Types whose value is the name of a file that lies on the worker."""

MAX_PROMPT: Final = 8_000
MIN_SIDE: Final = 64
MAX_SIDE: Final = 4096
SIDE_STEP: Final = 8
"""What a side of a size may be in pixels when the manifest says nothing: what latents are made of, eight at a time."""
NO_LORA: Final = "none"
"""What a LoRA cell says, folded, to have none."""


class Place(Frozen):
    """Name an input of a node that a parameter sets; *part* says which side of a size it takes."""

    node: str
    input: str
    part: Literal["", "width", "height"] = ""


class Parameter(Frozen):
    """Describe one thing that a row may set; a column's header is its name, its label or an alias."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    type: Type
    label: str = ""
    aliases: tuple[str, ...] = ()
    description: str = ""
    default: str | int | float | bool | None = None
    required: bool = False
    min: int | float | None = None
    max: int | float | None = None
    multiple: int = Field(default=SIDE_STEP, ge=1, le=MAX_SIDE)
    choices: tuple[str, ...] = ()
    max_length: int = Field(default=MAX_PROMPT, ge=1, le=50_000)
    plain: bool = False
    """Of a string: True when it is no prose, so that fields, variants and wildcards are not looked for in it."""
    sets: tuple[Place, ...] = Field(min_length=1)

    @property
    def title(self) -> str:
        """Name the parameter as a person reads it in a header."""
        return self.label or self.name.replace("_", " ").capitalize()

    def words(self) -> set[str]:
        """Give every folded word that a header may use for this parameter."""
        return {fold(word) for word in (self.name, self.title, *self.aliases)}
