"""
Know the node classes of this ComfyUI: their inputs, outputs, and the code that runs them.

`node_definitions.json` holds the /object_info entries of ComfyUI 0.28.0 for the classes that the stand-in implements
(facts of the interface, without tooltips). Model lists, which are empty on a machine without models, are filled here
with file names as they are usual. The functions that run the classes are in `nodes_*.py`.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.comfy import nodes_image, nodes_model, nodes_output, nodes_test
from sandbox.comfy.cooks import CHECKS, COOKS, FINGERPRINTS, Check, Fingerprint
from sandbox.comfy.kitchen import Kitchen
from sandbox.comfy.values import Json, Result

__all__ = ["Catalogue", "NodeClass", "nodes_image", "nodes_model", "nodes_output"]  # importing these registers cooks

_CHECKPOINTS = (
    "flux1-dev-fp8.safetensors",
    "flux1-schnell-fp8.safetensors",
    "sd_xl_base_1.0.safetensors",
    "sd_xl_turbo_1.0_fp16.safetensors",
    "v1-5-pruned-emaonly.safetensors",
)
_UNETS = ("flux1-dev.safetensors", "flux1-schnell-fp8.safetensors", "flux1-schnell.safetensors")
_CLIPS = ("clip_g.safetensors", "clip_l.safetensors", "t5xxl_fp16.safetensors", "t5xxl_fp8_e4m3fn.safetensors")
_VAES = ("ae.safetensors", "sdxl_vae.safetensors", "pixel_space")
_LORAS = (
    "add-detail-xl.safetensors",
    "flux-watercolor.safetensors",
    "lcm-lora-sdxl.safetensors",
    "offset_noise.safetensors",
    "pixel-art-xl.safetensors",
)
MODEL_FILES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("CheckpointLoaderSimple", "ckpt_name"): _CHECKPOINTS,
    ("UNETLoader", "unet_name"): _UNETS,
    ("VAELoader", "vae_name"): _VAES,
    ("CLIPLoader", "clip_name"): _CLIPS,
    ("DualCLIPLoader", "clip_name1"): _CLIPS,
    ("DualCLIPLoader", "clip_name2"): _CLIPS,
    ("LoraLoader", "lora_name"): _LORAS,
    ("LoraLoaderModelOnly", "lora_name"): _LORAS,
}


class NodeClass:
    """Answer what validation and execution ask about one node class."""

    def __init__(self, class_type: str, definition: Json) -> None:
        self.class_type = class_type
        self.definition = definition
        self.returns: list[str] = definition["output"]
        self.is_output: bool = definition["output_node"]
        self._cook = COOKS[class_type]
        self._uses = frozenset(inspect.signature(self._cook).parameters)
        self.check: Check | None = CHECKS.get(class_type)
        self.fingerprint: Fingerprint | None = FINGERPRINTS.get(class_type)
        self.self_checked: frozenset[str] = (
            frozenset(inspect.signature(self.check).parameters) - {"folders"} if self.check else frozenset()
        )

    def inputs(self) -> list[tuple[str, Any, Json, bool]]:
        """List (name, type, options, required) of the inputs a graph may set, required ones first."""
        found: list[tuple[str, Any, Json, bool]] = []
        for kind in ("required", "optional"):
            for name, spec in self.definition["input"].get(kind, {}).items():
                found.append((name, spec[0], spec[1] if len(spec) > 1 else {}, kind == "required"))
        return found

    def cook(self, kitchen: Kitchen, inputs: Json) -> Result:
        """Run the class, handing it those inputs that it uses."""
        offered = {**inputs, "kitchen": kitchen}
        return self._cook(**{name: value for name, value in offered.items() if name in self._uses})

    def hidden(self) -> frozenset[str]:
        """Name the inputs that the server fills by itself: prompt, extra_pnginfo."""
        return frozenset(self.definition["input"].get("hidden", {}))


class Catalogue:
    """Hold every node class this server knows."""

    def __init__(self, input_dir: Path, *, test_nodes: bool) -> None:
        definitions: dict[str, Json] = json.loads(Path(__file__).with_name("node_definitions.json").read_text())
        for (class_type, name), files in MODEL_FILES.items():
            definitions[class_type]["input"]["required"][name][0] = list(files)
        if test_nodes:
            definitions |= nodes_test.DEFINITIONS
        self._input_dir = input_dir
        self._classes = {name: NodeClass(name, definition) for name, definition in definitions.items()}

    def get(self, class_type: object) -> NodeClass | None:
        """Find a node class; None when this server has not got it."""
        return self._classes.get(class_type) if isinstance(class_type, str) else None

    def __getitem__(self, class_type: str) -> NodeClass:
        return self._classes[class_type]

    def object_info(self, class_type: str | None = None) -> Json:
        """Give the body of /object_info, or of /object_info/{class}: `{}` for an unknown class, as ComfyUI does."""
        names = list(self._classes) if class_type is None else [class_type] if class_type in self._classes else []
        body: Json = {name: self._classes[name].definition for name in names}
        if "LoadImage" in body:
            body["LoadImage"] = copy.deepcopy(body["LoadImage"])
            body["LoadImage"]["input"]["required"]["image"][0] = sorted(
                p.name for p in self._input_dir.iterdir() if p.is_file()
            )
        return body
