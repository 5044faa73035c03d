"""Find the files that a graph names: models, LoRAs, ControlNets, and the pictures, sounds and films it starts from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.contract.graph import lora_faults
from chalicelib.contract.infer import known
from chalicelib.contract.infer.diagram import NUMBERS, TEXT, Diagram, is_scalar
from chalicelib.contract.infer.draft import Draft, Drafts, said
from chalicelib.contract.infer.known import Role
from chalicelib.contract.infer.passes import MAX_PASSES, Pass
from chalicelib.contract.infer.titles import title_of
from chalicelib.contract.media import MEDIA
from chalicelib.contract.parameter import Place, Type

_MODELS: Final[tuple[tuple[re.Pattern[str], Role, Type], ...]] = (
    (re.compile(r"^ckpt_name$"), known.MODEL, "model"),
    (re.compile(r"^unet_name$"), known.MODEL, "unet"),
    (re.compile(r"^model$"), known.MODEL, "model"),
    (re.compile(r"^vae_name$"), known.VAE, "vae"),
    (re.compile(r"^clip_name\d?$"), known.CLIP, "clip"),
    (re.compile(r"^control_net_name$"), known.CONTROLNET, "model"),
)
_MODEL_LINK: Final = re.compile(r"^model$|pipe")
MAX_LORAS: Final = 12
"""More LoRAs than these are left as they are."""
_LORA: Final = re.compile(r"^lora(?:_name)?(?:_?(\d+))?$")
_STRENGTHS: Final = (
    ("strength_model{}", "strength_clip{}"),
    ("lora_model_strength{}", "lora_clip_strength{}"),
    ("model_str{}", "clip_str{}"),
    ("model_strength{}", "clip_strength{}"),
    ("strength{}", ""),
    ("lora_wt{}", ""),
    ("lora_strength{}", ""),
    ("weight{}", ""),
)
_MEDIA: Final[tuple[tuple[re.Pattern[str], str, Role], ...]] = (
    (re.compile(r"^LoadImageMask$"), "image", known.MASK),
    (re.compile(r"load.*audio|audio.*load", re.IGNORECASE), "audio", known.AUDIO),
    (re.compile(r"load.*video|video.*load", re.IGNORECASE), "video", known.VIDEO),
    (re.compile(r"load.*video|video.*load", re.IGNORECASE), "file", known.VIDEO),
    (re.compile(r"load.*image|image.*load", re.IGNORECASE), "image", known.IMAGE),
)
_MEDIA_USES: Final = (
    (re.compile(r"control_?net", re.IGNORECASE), "Control image"),
    (re.compile(r"ip.?adapter|instant.?id|pulid|faceid", re.IGNORECASE), "Reference image"),
)
_NOT_FILES: Final = re.compile(r"output|folder|path|url|base64|temp|dataset", re.IGNORECASE)
"""Loaders that read from other places than the input folder."""


def add_models(diagram: Diagram, passes: list[Pass], drafts: Drafts) -> None:
    """Add checkpoints, VAEs, text encoders and ControlNets, in the order in which the samplers need them."""
    needed = _in_order_of_need(diagram, passes)
    for pattern, role, type_ in _MODELS:
        # The same file in two loaders is one file: it is changed in both.
        found: dict[object, list[Place]] = {}
        for node_id in needed:
            if not _names_a_model(pattern, diagram.kind(node_id)):
                continue
            for name in [name for name in diagram.inputs(node_id) if pattern.search(name)]:
                place = diagram.origin(node_id, name, TEXT)
                if place is not None:
                    found.setdefault(diagram.value(place), []).append(place)
        for number, (value, places) in enumerate(found.items()):
            is_refiner = number > 0 and role is known.MODEL and "refiner" in str(value).lower()
            drafts.add(Draft(role, tuple(places), value, label="Refiner model" if is_refiner else "", type=type_))
            nodes = list(dict.fromkeys(diagram.say(place.node) for place in places))
            if len(nodes) > 1:
                drafts.note(f"{role.label} sets {said(nodes)} together: they load the same file.")
    for node_id in diagram.live:
        if diagram.kind(node_id) == "UpscaleModelLoader" and is_scalar(diagram.inputs(node_id).get("model_name"), TEXT):
            place = Place(node=node_id, input="model_name")
            drafts.add(Draft(known.UPSCALER, (place,), diagram.value(place)))


def _in_order_of_need(diagram: Diagram, passes: list[Pass]) -> list[str]:
    """List the nodes, those first that the first sampler's model comes from."""
    first: dict[str, int] = {}
    for turn, one in enumerate(passes[:MAX_PASSES]):
        for node_id in diagram.walk(one.node, _MODEL_LINK):
            first.setdefault(node_id, turn)
    return sorted(diagram.live, key=lambda node_id: (first.get(node_id, MAX_PASSES), diagram.rank[node_id]))


def _names_a_model(pattern: re.Pattern[str], kind: str) -> bool:
    """Say whether an input of this name means the model itself in a node of this class."""
    if pattern.search("model"):
        return kind.endswith("ModelLoader")
    return not (pattern.search("clip_name") and "vision" in kind.lower())


def add_loras(diagram: Diagram, drafts: Drafts) -> None:
    """Add LoRAs with their strengths, the one next to the model first."""
    number = 0
    for node_id in diagram.live:
        for name, value in diagram.inputs(node_id).items():
            found = _LORA.search(name)
            if found is None:
                continue
            if isinstance(value, Mapping) and "lora" in value:
                drafts.note(
                    f"The LoRAs of {diagram.say(node_id)} are not offered: that node keeps name and strength in one "
                    "value. Load LoRA nodes in its place can be set by a row."
                )
                continue
            place = diagram.origin(node_id, name, TEXT)
            is_slot = found[1] is not None
            if place is None or (is_slot and str(diagram.value(place)).lower() == "none"):
                continue
            if number == MAX_LORAS:
                drafts.note(f"The graph has more than {MAX_LORAS} LoRAs: the first ones are offered.")
                return
            if not _add_lora(diagram, drafts, place, number + 1):
                continue
            number += 1
            _add_strengths(diagram, drafts, node_id, name.removeprefix("lora_name").removeprefix("lora"), number)


def _add_lora(diagram: Diagram, drafts: Drafts, place: Place, number: int) -> bool:
    fault = next(lora_faults(diagram.graph, place.node), None)
    note = ""
    if fault is not None:
        note = (
            f"LoRA {number} is offered as a plain file name: {diagram.say(place.node)} cannot be taken out of the "
            "graph, so None works only if that node knows it."
        )
    return drafts.add(
        Draft(
            known.LORA,
            (place,),
            diagram.value(place),
            index=number,
            type="lora" if fault is None else "model",
            note=note,
        )
    )


def _add_strengths(diagram: Diagram, drafts: Drafts, node_id: str, slot: str, number: int) -> None:
    """Add a LoRA's strength: one number for model and CLIP when the graph has them equal."""
    inputs = diagram.inputs(node_id)
    for model, clip in ((one.format(slot), two.format(slot)) for one, two in _STRENGTHS):
        place = diagram.origin(node_id, model, NUMBERS) if model in inputs else None
        if place is None:
            continue
        other = diagram.origin(node_id, clip, NUMBERS) if clip in inputs else None
        value = diagram.value(place)
        if other is not None and diagram.value(other) == value:
            drafts.add(Draft(known.LORA_STRENGTH, (place, other), value, index=number))
        else:
            drafts.add(Draft(known.LORA_STRENGTH, (place,), value, index=number))
            if other is not None:
                drafts.add(Draft(known.LORA_CLIP, (other,), diagram.value(other), index=number))
        return


def add_media(diagram: Diagram, drafts: Drafts, info: Mapping[str, Any]) -> None:
    """Add the files that a row has to bring along."""
    for node_id in diagram.live:
        kind = diagram.kind(node_id)
        for pattern, name, role in _MEDIA:
            if not pattern.search(kind) or not is_scalar(diagram.inputs(node_id).get(name), TEXT):
                continue
            if _NOT_FILES.search(kind):
                drafts.note(f"{diagram.say(node_id).capitalize()} reads its file from the worker itself: not offered.")
                break
            slots = {slot for _, slot in diagram.uses.get(node_id, [])}
            only_mask = role is known.IMAGE and kind == "LoadImage" and slots == {1}
            label = title_of(diagram.graph[node_id], info.get(kind)) or _use(diagram, node_id)
            place = Place(node=node_id, input=name)
            drafts.add(
                Draft(
                    known.MASK if only_mask else role,
                    (place,),
                    None,
                    label=label,
                    is_required=True,
                )
            )
            break
    if any(draft.is_required and draft.role.type in MEDIA for draft in drafts.drafts):
        drafts.note("Each row must bring its own files: those in the graph lie on the computer it was exported from.")


def _use(diagram: Diagram, node_id: str) -> str:
    """Say what a picture is for, by the node that takes it in the end; empty when that is nothing special."""
    waiting, seen = [node_id], {node_id}
    for _ in range(20):
        if not waiting:
            return ""
        for place, _slot in diagram.uses.get(waiting.pop(0), []):
            if place.input in ("start_image", "end_image"):
                return place.input.replace("_", " ").capitalize()
            for pattern, label in _MEDIA_USES:
                if pattern.search(diagram.kind(place.node)) or pattern.search(place.input):
                    return label
            is_picture = place.input in ("image", "images", "source")
            if is_picture and place.node not in seen:
                seen.add(place.node)
                waiting.append(place.node)
    return ""
