"""
Make faults on purpose: nodes that only a test asks for, loaded with `--test-nodes`.

They have the names and inputs of the custom nodes with which the traffic in tests/data/comfyui was recorded on a real
server, so the same graphs run on both:

- TestSleep(image, seconds, steps, preview, seed): sleeps in *steps* parts with a progress tick after each; *preview*
  sends a picture with each tick. Interrupts are noticed at ticks.
- TestHardSleep(image, seconds, seed), TestAsyncSleep(image, seconds, seed): sleep in one piece, out of reach of
  interrupts.
- TestNoise(image, seed): draws noise of the picture's size, which no PNG compresses.
- TestRaise(image, kind, seed): ValueError fails the prompt, OOM fails it as torch.OutOfMemoryError; SystemExit,
  KeyboardInterrupt, CancelledError and GeneratorExit end the executor thread for good (the zombie server, trap 6);
  `os._exit` ends the whole process.
- TestUI(image, shape): an output node that reports text, strings, gifs (as video nodes do), none, or abs (paths that
  lead out of the output folder).
- TestBlock(image, message): hands on an ExecutionBlocker (trap 2); an empty message blocks silently.
"""

from __future__ import annotations

import asyncio
import os
import random

from PIL import Image

from sandbox.comfy.cooks import node
from sandbox.comfy.kitchen import Kitchen, Preview
from sandbox.comfy.nodes_model import PREVIEW_PX
from sandbox.comfy.values import Blocked, Json, Pictures, Result


class OutOfMemoryError(RuntimeError):
    """Be taken for torch's."""


OutOfMemoryError.__module__ = "torch"  # history names the exception by module and class

_KINDS: dict[str, BaseException] = {
    "ValueError": ValueError(f"deliberate failure with secret path {__file__}"),
    "OOM": OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB (simulated)"),
    "SystemExit": SystemExit(1),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "CancelledError": asyncio.CancelledError(),
    "GeneratorExit": GeneratorExit(),
}
_SHAPES: dict[str, Json | None] = {
    "none": None,
    "text": {"text": ["hello"]},
    "strings": {"string": ["a/b.glb", "x"]},
    "gifs": {
        "gifs": [
            {
                "filename": "v_00001.mp4",
                "subfolder": "",
                "type": "output",
                "format": "video/h264-mp4",
                "frame_rate": 8.0,
                "workflow": "v_00001.png",
                "fullpath": "/opt/out/v_00001.mp4",
            }
        ]
    },
    "abs": {"images": [{"filename": "../../../../etc/passwd", "subfolder": "/etc", "type": "output"}]},
}


def _definition(name: str, inputs: Json, output: list[str], *, output_node: bool = False) -> Json:
    required = {"image": ["IMAGE"], **inputs}
    return {
        "input": {"required": required},
        "input_order": {"required": list(required)},
        "is_input_list": False,
        "output": output,
        "output_is_list": [False] * len(output),
        "output_name": output,
        "name": name,
        "display_name": name,
        "description": "",
        "python_module": "custom_nodes.test_nodes",
        "category": "test",
        "output_node": output_node,
        "has_intermediate_output": False,
        "search_aliases": [],
    }


_SECONDS: Json = {"seconds": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 3600.0}]}
_SEED: Json = {"seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1}]}
DEFINITIONS: dict[str, Json] = {
    "TestSleep": _definition(
        "TestSleep",
        {
            **_SECONDS,
            "steps": ["INT", {"default": 10, "min": 1, "max": 10000}],
            "preview": ["BOOLEAN", {}],
            **_SEED,
        },
        ["IMAGE"],
    ),
    "TestHardSleep": _definition("TestHardSleep", {**_SECONDS, **_SEED}, ["IMAGE"]),
    "TestAsyncSleep": _definition("TestAsyncSleep", {**_SECONDS, **_SEED}, ["IMAGE"]),
    "TestNoise": _definition("TestNoise", {**_SEED}, ["IMAGE"]),
    "TestRaise": _definition("TestRaise", {"kind": [[*_KINDS, "os._exit"]], **_SEED}, ["IMAGE"]),
    "TestUI": _definition("TestUI", {"shape": [list(_SHAPES)]}, [], output_node=True),
    "TestBlock": _definition("TestBlock", {"message": ["STRING", {"default": ""}]}, ["IMAGE"]),
}


@node("TestSleep")
def sleep_in_steps(kitchen: Kitchen, image: Pictures, seconds: float, steps: int, preview: bool) -> Result:
    """Take *seconds*, in steps."""
    bar = kitchen.bar(steps)
    for step in range(1, steps + 1):
        kitchen.sleep(seconds / steps)
        bar.tick(step, Preview("JPEG", image[0], PREVIEW_PX) if preview else None)
    return Result((image,))


@node("TestHardSleep")
@node("TestAsyncSleep")
def sleep_in_one(kitchen: Kitchen, image: Pictures, seconds: float) -> Result:
    """Take *seconds*, in one piece."""
    kitchen.sleep(seconds)
    return Result((image,))


@node("TestNoise")
def draw_noise(image: Pictures, seed: int) -> Result:
    """Draw what no PNG can compress, as large as *image*."""
    dice = random.Random(seed)
    drawn = [Image.frombytes("RGB", each.size, dice.randbytes(3 * each.width * each.height)) for each in image]
    return Result((Pictures(drawn),))


@node("TestRaise")
def fail(kind: str) -> Result:
    """Fail in the way that *kind* says."""
    if kind == "os._exit":
        os._exit(1)
    raise _KINDS[kind]


@node("TestUI")
def show(shape: str) -> Result:
    """Report outputs of an odd shape."""
    return Result((), _SHAPES[shape])


@node("TestBlock")
def block(message: str) -> Result:
    """Keep what comes after from running."""
    return Result((Blocked(message or None),))
