"""
Nodes for tests, loaded by a real ComfyUI from its custom_nodes folder (this file is copied there).

They behave as the stand-in's nodes of the same names do (sandbox/comfy/nodes_test.py), so that one graph runs on both.
"""

import asyncio
import os
import time

import comfy.utils
import torch
from comfy_execution.graph_utils import ExecutionBlocker

KINDS = {
    "ValueError": lambda: ValueError(f"deliberate failure with secret path {__file__}"),
    "OOM": lambda: torch.OutOfMemoryError("Allocation on device"),
    "SystemExit": lambda: SystemExit("gone"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
    "GeneratorExit": GeneratorExit,
}
SEED = ("INT", {"default": 0, "min": 0, "max": 2**64 - 1})
SECONDS = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1000.0})


class TestSleep:
    CATEGORY, FUNCTION, RETURN_TYPES = "test", "sleep", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        steps = ("INT", {"default": 10, "min": 1, "max": 10000})
        wanted = {"image": ("IMAGE",), "seconds": SECONDS, "steps": steps, "preview": ("BOOLEAN", {}), "seed": SEED}
        return {"required": wanted}

    def sleep(self, image, seconds, steps, preview, seed):
        bar = comfy.utils.ProgressBar(steps)
        for step in range(1, steps + 1):
            time.sleep(seconds / steps)
            bar.update_absolute(step, steps)
        return (image,)


class TestHardSleep:
    CATEGORY, FUNCTION, RETURN_TYPES = "test", "sleep", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "seconds": SECONDS, "seed": SEED}}

    def sleep(self, image, seconds, seed):
        time.sleep(seconds)
        return (image,)


class TestRaise:
    CATEGORY, FUNCTION, RETURN_TYPES = "test", "fail", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "kind": ([*KINDS, "os._exit"],), "seed": SEED}}

    def fail(self, image, kind, seed):
        if kind == "os._exit":
            os._exit(1)
        raise KINDS[kind]()


class TestBlock:
    CATEGORY, FUNCTION, RETURN_TYPES = "test", "block", ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "message": ("STRING", {"default": ""})}}

    def block(self, image, message):
        return (ExecutionBlocker(message or None),)


class TestUI:
    CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "test", "show", (), True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",), "shape": (["text", "strings", "none"],)}}

    def show(self, image, shape):
        shapes = {"text": {"text": ["hello"]}, "strings": {"strings": ["a", "b"]}}
        return {"ui": shapes[shape]} if shape in shapes else {}


NODE_CLASS_MAPPINGS = {each.__name__: each for each in (TestSleep, TestHardSleep, TestRaise, TestBlock, TestUI)}
