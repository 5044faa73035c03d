"""Find how large the picture gets, how many there are, and how long a film or a sound is."""

from __future__ import annotations

import re
from typing import Final

from chalicelib.contract.infer import known
from chalicelib.contract.infer.diagram import NUMBERS, WHOLE, Diagram
from chalicelib.contract.infer.draft import Draft, Drafts
from chalicelib.contract.infer.known import Role
from chalicelib.contract.infer.passes import LATENTS, Pass
from chalicelib.contract.parameter import Place

_PAIRS: Final = (
    ("width", "height"),
    ("empty_latent_width", "empty_latent_height"),
    ("image_width", "image_height"),
    ("generation_width", "generation_height"),
    ("target_width", "target_height"),
)
_NO_SIZE: Final = re.compile(r"area|crop|region|mask|box|tile|pad|gligen|text|position", re.IGNORECASE)
"""Classes whose width and height are a part of the picture's."""
_FRAMES: Final = ("num_frames", "video_frames", "frame_count", "length", "frames")
_FPS: Final = ("fps", "frame_rate")
_SECONDS: Final = ("seconds", "seconds_total", "duration", "audio_duration")
_SOUND: Final = re.compile(r"audio|latent|sound|music|acestep", re.IGNORECASE)
_FILM: Final = re.compile(r"animatediff|^ADE_", re.IGNORECASE)
_LARGER: Final = re.compile(r"upscale|scale|resize", re.IGNORECASE)

Size = tuple[Place, Place]


def add_sizes(diagram: Diagram, passes: list[Pass], drafts: Drafts) -> None:
    """Add width and height, batch size or frames, frames per second and seconds."""
    sized = _sizes_of_passes(diagram, passes, drafts)
    if not passes:
        free = (node_id for node_id in diagram.live if not _NO_SIZE.search(diagram.kind(node_id)))
        first = next((node_id for node_id in free if _size(diagram, node_id) is not None), None)
        sized = [first] if first is not None else []
    for turn, node_id in enumerate(sized):
        size = _size(diagram, node_id)
        if size is not None:
            _add_size(diagram, turn, node_id, size, drafts)
    for node_id in sized[:1]:
        _add_batch(diagram, node_id, drafts)
    _add_everywhere(diagram, drafts, known.FRAMES, _FRAMES, WHOLE)
    _add_everywhere(diagram, drafts, known.FPS, _FPS, NUMBERS)
    _add_everywhere(diagram, drafts, known.SECONDS, _SECONDS, NUMBERS)


def _size(diagram: Diagram, node_id: str) -> Size | None:
    """Give the places of a node's width and height; None: it has none, or they are made elsewhere."""
    inputs = diagram.inputs(node_id)
    for wide, high in _PAIRS:
        if wide in inputs and high in inputs:
            width, height = (diagram.origin(node_id, name, WHOLE) for name in (wide, high))
            if width is not None and height is not None:
                return width, height
    return None


def _sizes_of_passes(diagram: Diagram, passes: list[Pass], drafts: Drafts) -> list[str]:
    """Name the nodes that give the samplers' latents their size, in the order of the samplers."""
    samplers = frozenset(one.node for one in passes)
    found: list[str] = []
    for one in passes:
        for node_id in diagram.walk(one.node, LATENTS, stop=samplers):
            inputs = diagram.inputs(node_id)
            if (node_id in samplers and node_id != one.node) or not any(
                wide in inputs and high in inputs for wide, high in _PAIRS
            ):
                continue
            preset = inputs.get("resolution")
            if _size(diagram, node_id) is None:
                drafts.note(f"The size is not offered: {diagram.say(node_id)} gets it from a node that computes it.")
            elif isinstance(preset, str) and "custom" not in preset.lower():
                drafts.note(
                    f"The size is not offered: {diagram.say(node_id)} takes it from its resolution. Set that to its "
                    "custom entry in ComfyUI and export again to have width and height."
                )
            elif node_id not in found:
                found.append(node_id)
            break
    return found


def _add_size(diagram: Diagram, turn: int, node_id: str, size: Size, drafts: Drafts) -> None:
    """Add a size, with the nodes that are told the same size besides."""
    values = tuple(diagram.value(place) for place in size)
    if size[0] == size[1]:
        drafts.add(Draft(known.WIDTH, size[:1], values[0], note="One number sets both width and height."))
        return
    alike: list[Size] = [size]
    for other in diagram.live if turn == 0 else ():
        inputs = diagram.inputs(other)
        if other != node_id and (diagram.kind(other).startswith("CLIPTextEncode") or not _is_part(diagram, other)):
            for wide, high in _PAIRS:
                if (inputs.get(wide), inputs.get(high)) == values and is_whole(inputs[wide]):
                    alike.append((Place(node=other, input=wide), Place(node=other, input=high)))
    prefix = "Upscale" if turn and _LARGER.search(diagram.kind(node_id)) else ""
    for role, places, value in zip((known.WIDTH, known.HEIGHT), zip(*alike, strict=True), values, strict=True):
        label = f"{prefix} {role.label.lower()}" if prefix else ""
        drafts.add(Draft(role, places, value, label=label, slug=label.lower().replace(" ", "_")))
    if len(alike) > 1:
        drafts.note(f"Width and height are set in {len(alike)} places that hold the same size.")


def _is_part(diagram: Diagram, node_id: str) -> bool:
    return bool(_NO_SIZE.search(diagram.kind(node_id)))


def is_whole(value: object) -> bool:
    """Say whether *value* is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _add_batch(diagram: Diagram, node_id: str, drafts: Drafts) -> None:
    """Add how many pictures there are; with AnimateDiff they are the frames of a film."""
    inputs = diagram.inputs(node_id)
    place = diagram.origin(node_id, "batch_size", WHOLE) if "batch_size" in inputs else None
    if place is None or any(name in inputs for name in _FRAMES):
        return
    value = diagram.value(place)
    alike = [Place(node=one, input="batch_size") for one in diagram.live if _is_twin(diagram, one, node_id)]
    if any(_FILM.search(diagram.kind(one)) for one in diagram.live):
        note = "The batch size is the number of frames."
        drafts.add(Draft(known.FRAMES, (place, *alike), value, note=note))
    else:
        drafts.add(Draft(known.BATCH, (place, *alike), value))


def _is_twin(diagram: Diagram, other: str, node_id: str) -> bool:
    """Say whether two nodes are of one class and hold the very same."""
    return (
        other != node_id
        and diagram.kind(other) == diagram.kind(node_id)
        and diagram.inputs(other) == diagram.inputs(node_id)
        and not any(True for _ in diagram.links(other))
    )


def _add_everywhere(
    diagram: Diagram, drafts: Drafts, role: Role, names: tuple[str, ...], kinds: tuple[type, ...]
) -> None:
    """Add one parameter for what the graph holds under *names*; places with another value are left as they are."""
    found: dict[Place, object] = {}
    # What is saved counts: the last node in the order of work.
    for node_id in reversed(diagram.live):
        for name in names:
            if name not in diagram.inputs(node_id) or not _means(diagram, node_id, name):
                continue
            place = diagram.origin(node_id, name, kinds)
            if place is not None and place not in drafts.taken:
                found[place] = diagram.value(place)
    if not found or any(draft.role is role for draft in drafts.drafts):
        return
    value = next(iter(found.values()))
    same = tuple(place for place, one in found.items() if one == value)
    is_fraction = isinstance(value, float) and not value.is_integer()
    drafts.add(Draft(role, same, value, type="float" if is_fraction else None))
    for place in sorted(found.keys() - set(same), key=lambda one: diagram.rank.get(one.node, 0)):
        drafts.note(
            f"{role.label} leaves {place.input} of {diagram.say(place.node)} as it is: it holds {found[place]}, "
            f"not {value}."
        )


def _means(diagram: Diagram, node_id: str, name: str) -> bool:
    """Say whether an input of a common name means a length here: texts and lists have a length, too."""
    if name in ("length", "frames"):
        return bool({"width", "batch_size"} & set(diagram.inputs(node_id)))
    if name in ("seconds", "duration"):
        return bool(_SOUND.search(diagram.kind(node_id)))
    return True
