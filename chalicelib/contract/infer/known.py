"""
Say what the usual parameters look like: name, type, label, bounds.

Where base.yaml defines one too, this says the same (a test holds them together): a proposal is whole without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chalicelib.contract.parameter import Type


@dataclass(frozen=True)
class Role:
    """
    Describe a usual parameter.

    *low* and *high* are the sane bounds that are proposed; *lowest* and *highest* are how far they widen when the
    graph's own value lies beyond: what ComfyUI's nodes take.
    """

    name: str
    type: Type
    label: str
    low: float | None = None
    high: float | None = None
    lowest: float | None = None
    highest: float | None = None
    aliases: tuple[str, ...] = ()
    description: str = ""


def _number(name: str, type_: Type, label: str, sane: tuple[float, float], most: tuple[float, float]) -> Role:
    return Role(name, type_, label, *sane, *most, description=_SAID.get(name, ""), aliases=_ALSO.get(name, ()))


_SAID: Final = {
    "guidance": "How closely the picture follows the prompt (distilled guidance; not CFG).",
    "denoise": "How much is made anew: 0 keeps the picture, 1 keeps nothing of it.",
    "batch_size": "How many pictures one row makes.",
    "frames": "How many frames the film has.",
    "fps": "Frames per second.",
    "seconds": "How long it is.",
    "switch_at_step": "The step at which the second model takes over.",
    "upscale_by": "How many times wider and higher the picture gets.",
}
_ALSO: Final[dict[str, tuple[str, ...]]] = {
    "cfg": ("cfg scale", "guidance scale"),
    "frames": ("length", "video length"),
    "fps": ("frame rate",),
    "batch_size": ("batch",),
    "seconds": ("duration",),
    "denoise": ("denoising strength",),
}

PROMPT: Final = Role("prompt", "string", "Prompt", aliases=("positive prompt", "positive", "text"))
NEGATIVE: Final = Role("negative_prompt", "string", "Negative prompt", aliases=("negative",))
PROMPT_START: Final = Role("prompt_start", "string", "Prompt start", description="Is put before the prompt.")
PROMPT_END: Final = Role("prompt_end", "string", "Prompt end", description="Is put after the prompt.")
LYRICS: Final = Role("lyrics", "string", "Lyrics", description="The words that are sung.")
SEED: Final = Role("seed", "seed", "Seed")
STEPS: Final = _number("steps", "integer", "Steps", (1, 150), (1, 10_000))
CFG: Final = _number("cfg", "float", "CFG", (0, 30), (0, 100))
GUIDANCE: Final = _number("guidance", "float", "Guidance", (0, 30), (0, 100))
DENOISE: Final = _number("denoise", "float", "Denoise", (0, 1), (0, 1))
SWITCH: Final = _number("switch_at_step", "integer", "Switch at step", (0, 150), (0, 10_000))
SAMPLER: Final = Role("sampler", "choice", "Sampler", aliases=("sampler name",))
SCHEDULER: Final = Role("scheduler", "choice", "Scheduler")
WIDTH: Final = _number("width", "integer", "Width", (64, 4096), (16, 16_384))
HEIGHT: Final = _number("height", "integer", "Height", (64, 4096), (16, 16_384))
BATCH: Final = _number("batch_size", "integer", "Batch size", (1, 16), (1, 4096))
FRAMES: Final = _number("frames", "integer", "Frames", (1, 1000), (1, 16_384))
FPS: Final = _number("fps", "integer", "FPS", (1, 120), (1, 1000))
SECONDS: Final = _number("seconds", "float", "Seconds", (1, 600), (0, 1000))
UPSCALE: Final = _number("upscale_by", "float", "Upscale by", (1, 4), (0.05, 8))
CONTROL: Final = _number("controlnet_strength", "float", "ControlNet strength", (0, 2), (0, 10))
IPADAPTER: Final = _number("ipadapter_weight", "float", "IPAdapter weight", (0, 3), (-1, 5))
MODEL: Final = Role("model", "model", "Model", aliases=("checkpoint", "ckpt"))
VAE: Final = Role("vae", "vae", "VAE", description="The file's name on the worker.")
CLIP: Final = Role("clip", "clip", "CLIP", aliases=("text encoder",), description="The file's name on the worker.")
CONTROLNET: Final = Role("controlnet", "model", "ControlNet", description="The file's name on the worker.")
UPSCALER: Final = Role("upscale_model", "model", "Upscale model", description="The file's name on the worker.")
LORA: Final = Role("lora", "lora", "LoRA", aliases=("lora name",))
LORA_STRENGTH: Final = _number("lora_strength", "float", "LoRA strength", (-4, 4), (-100, 100))
LORA_CLIP: Final = _number("lora_clip_strength", "float", "LoRA CLIP strength", (-4, 4), (-100, 100))
IMAGE: Final = Role("image", "image", "Image", aliases=("input image",), description="An https address.")
MASK: Final = Role("mask", "mask", "Mask", description="An https address of a picture.")
AUDIO: Final = Role("audio", "audio", "Audio", description="An https address.")
VIDEO: Final = Role("video", "video", "Video", description="An https address.")
COLOR: Final = Role("color", "color", "Color", aliases=("colour",))

SAMPLERS: Final = (
    *("euler", "euler_ancestral", "heun", "dpm_2", "lms", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde", "dpmpp_3m_sde"),
    *("ddim", "uni_pc"),
)
SCHEDULERS: Final = ("normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform", "beta")
"""What every ComfyUI of the last years has; a worker's own list is asked for where it can be."""

RESERVED: Final = frozenset(
    {
        *("workflow", "workflow id", "template", "status", "state", "output url", "output", "output link", "result"),
        *("result url", "preview", "thumbnail", "picture", "started at", "started", "start time", "finished at"),
        *("finished", "completed at", "end time", "error", "error message", "message", "run", "job id", "job", "jobid"),
        *("submitted by", "prompt", "positive prompt", "positive", "text", "seed"),
    }
)
"""Headers of the sheet's own columns, folded: another parameter headed like one would never be sent."""
