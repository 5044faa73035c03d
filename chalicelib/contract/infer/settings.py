"""Make parameters of the samplers' settings and of the strengths along the way: equal values become one parameter."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.contract.infer import known
from chalicelib.contract.infer.diagram import NUMBERS, WHOLE, Diagram
from chalicelib.contract.infer.draft import Draft, Drafts, said
from chalicelib.contract.infer.known import Role
from chalicelib.contract.infer.passes import LATENTS, MAX_PASSES, SEEDS, SETTINGS, Pass, Setting, adds_no_noise
from chalicelib.contract.infer.titles import title_of
from chalicelib.contract.parameter import Place

_KINDS: Final = (
    (re.compile(r"facedetailer|detailerfor", re.IGNORECASE), "Face"),
    (re.compile(r"refiner", re.IGNORECASE), "Refiner"),
    (re.compile(r"hi-?res", re.IGNORECASE), "Hires"),
    (re.compile(r"upscale", re.IGNORECASE), "Upscale"),
)
_SAMPLER: Final = re.compile(r"sampler|采样|採樣|サンプラ|샘플러|échantillon|сэмплер|семплер", re.IGNORECASE)
"""What an untouched sampler is called: it does not say what this one is for."""
_LARGER: Final = re.compile(r"latentupscale|imagescale|upscale|latentscale", re.IGNORECASE)
_MODELS: Final = re.compile(r"^model$")
_STRENGTHS: Final[tuple[tuple[Role, tuple[str, ...], frozenset[str]], ...]] = (
    (known.GUIDANCE, ("guidance", "embedded_guidance_scale"), frozenset()),
    (known.CONTROL, ("strength",), frozenset({"control_net", "controlnet"})),
    (known.IPADAPTER, ("weight",), frozenset({"ipadapter"})),
    (known.UPSCALE, ("upscale_by", "scale_by"), frozenset()),
)
"""Role, names of the input, and the links that the node must have, if any."""


@dataclass
class _Group:
    """Collect the places of one setting that hold one value."""

    places: list[Place]
    value: object
    turn: int
    node: str


def add_settings(diagram: Diagram, passes: list[Pass], drafts: Drafts, info: Mapping[str, Any]) -> None:
    """Add what sets the samplers, first sampler first."""
    if len(passes) > MAX_PASSES:
        drafts.note(f"The graph has {len(passes)} samplers: the settings of the first {MAX_PASSES} are offered.")
    together: dict[tuple[str, ...], list[str]] = {}
    for role, _, _ in SETTINGS:
        groups: list[_Group] = []
        for turn, one in enumerate(passes[:MAX_PASSES]):
            setting = one.settings.get(role.name)
            if setting is not None and _is_offered(setting, turn, one):
                _join(groups, setting, turn, one, passes)
        if role is known.SEED:
            _add_further_seeds(diagram, groups)
        for number, group in enumerate(groups, start=1):
            _add_group(diagram, drafts, role, group, number, info)
            if len(set(group.places)) > 1:
                together.setdefault(tuple(diagram.say(place.node) for place in group.places), []).append(role.label)
        if role is known.STEPS:
            _add_switch(diagram, passes[:MAX_PASSES], drafts)
    for nodes, labels in together.items():
        verb, values = ("sets", "value") if len(labels) == 1 else ("set", "values")
        drafts.note(f"{said(labels)} {verb} {said(nodes)} together: they held the same {values}.")


def _is_offered(setting: Setting, turn: int, one: Pass) -> bool:
    """Say whether a setting means anything: denoise does nothing where the sampler starts from emptiness."""
    if setting.role is not known.DENOISE:
        return True
    is_whole = isinstance(setting.value, int | float) and setting.value >= 1
    return not is_whole or (turn == 0 and one.keeps_picture)


def _join(groups: list[_Group], setting: Setting, turn: int, one: Pass, passes: list[Pass]) -> None:
    """Put a setting with those that it is one with, or begin a new group."""
    for group in groups:
        shares = one.is_shared_schedule and passes[group.turn].is_shared_schedule
        is_own = setting.role in (known.STEPS, known.DENOISE) and not shares
        if setting.place in group.places or (group.value == setting.value and not is_own):
            group.places.append(setting.place)
            return
    groups.append(_Group([setting.place], setting.value, turn, one.node))


def _add_further_seeds(diagram: Diagram, groups: list[_Group]) -> None:
    """Let other nodes' seeds go with one of the same value; without any sampler the first seed is the one."""
    known_places = {place for group in groups for place in group.places}
    for node_id in diagram.live:
        for name in SEEDS:
            place = diagram.origin(node_id, name, WHOLE) if name in diagram.inputs(node_id) else None
            if place is None or place in known_places or adds_no_noise(diagram, node_id):
                continue
            value = diagram.value(place)
            same = [group for group in groups if group.value == value]
            if same:
                same[0].places.append(place)
            elif not groups:
                groups.append(_Group([place], value, 0, node_id))


def _add_group(
    diagram: Diagram, drafts: Drafts, role: Role, group: _Group, number: int, info: Mapping[str, Any]
) -> None:
    label = ""
    if number > 1:
        prefix = _prefix(diagram, group.node, info)
        label = f"{prefix} {role.label if role.label.isupper() else role.label.lower()}" if prefix else ""
    choices: tuple[str, ...] = ()
    if role.type == "choice":
        choices = _choices(diagram, role, group, info)
    places = tuple(dict.fromkeys(group.places))
    used = drafts.add(
        Draft(role, places, group.value, label=label, choices=choices, is_random=role is known.SEED, index=number)
    )
    if not used:
        return
    if choices == (group.value,):
        drafts.note(f"{label or role.label} knows only {group.value}: add the other choices of that node to the list.")


def _prefix(diagram: Diagram, node_id: str, info: Mapping[str, Any]) -> str:
    """Say in a word what a further sampler is for; empty when that is not to be seen."""
    kind = diagram.kind(node_id)
    title = title_of(diagram.graph[node_id], info.get(kind))
    for pattern, word in _KINDS:
        if pattern.search(kind) or pattern.search(title):
            return word
    if title and len(title) <= 30 and not _SAMPLER.search(title):
        return title
    encoder = diagram.link(node_id, "positive")
    names = [str(diagram.inputs(one).get("ckpt_name", "")) for one in diagram.walk(node_id, _MODELS)]
    if (encoder and "refiner" in diagram.kind(encoder).lower()) or any("refiner" in name.lower() for name in names):
        return "Refiner"
    for one in diagram.walk(node_id, LATENTS):
        if _LARGER.search(diagram.kind(one)):
            return "Hires"
    return ""


def _choices(diagram: Diagram, role: Role, group: _Group, info: Mapping[str, Any]) -> tuple[str, ...]:
    """List what a sampler or scheduler may be: as ComfyUI says, or what every ComfyUI has."""
    value = str(group.value)
    place = group.places[0]
    told = choices_of(info, diagram.kind(place.node), place.input)
    if told:
        return told if value in told else (value, *told)
    usual = known.SAMPLERS if role is known.SAMPLER else known.SCHEDULERS
    if value in usual:
        return usual
    # A video wrapper's own list has other words altogether.
    is_ours = "sampler_name" in diagram.inputs(group.node) or len(diagram.inputs(place.node)) <= 4
    return (*usual, value) if is_ours else (value,)


def choices_of(info: Mapping[str, Any], kind: str, name: str) -> tuple[str, ...]:
    """Read an input's choices out of ComfyUI's object_info, in its old and its new form; empty: none are known."""
    spec = spec_of(info, kind, name)
    if not spec:
        return ()
    listed = spec[0]
    if listed == "COMBO" and len(spec) > 1 and isinstance(spec[1], Mapping):
        listed = spec[1].get("options")
    return tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()


def spec_of(info: Mapping[str, Any], kind: str, name: str) -> list[Any]:
    """Give what object_info says of an input: its type, then its options; empty: nothing."""
    node = info.get(kind)
    groups = node.get("input") if isinstance(node, Mapping) else None
    for group in ("required", "optional"):
        inputs = groups.get(group) if isinstance(groups, Mapping) else None
        spec = inputs.get(name) if isinstance(inputs, Mapping) else None
        if isinstance(spec, list):
            return spec
    return []


def _add_switch(diagram: Diagram, passes: list[Pass], drafts: Drafts) -> None:
    """Add the step at which the next sampler takes over, where two count their steps in common."""
    for one, following in itertools.pairwise(passes):
        places = (Place(node=one.node, input="end_at_step"), Place(node=following.node, input="start_at_step"))
        values = [diagram.inputs(place.node).get(place.input) for place in places]
        if values[0] == values[1] and isinstance(values[0], int) and not isinstance(values[0], bool):
            drafts.add(
                Draft(
                    known.SWITCH,
                    places,
                    values[0],
                    note='Steps counts both samplers together; the second takes over at "Switch at step".',
                )
            )


def add_strengths(diagram: Diagram, drafts: Drafts) -> None:
    """Add guidance, the strength of ControlNets and of IPAdapters, and how much larger a picture gets."""
    for role, names, linked in _STRENGTHS:
        found: dict[object, list[Place]] = {}
        for node_id in diagram.live:
            links = {name for name, _ in diagram.links(node_id)}
            for name in names if not linked or links & linked else ():
                place = diagram.origin(node_id, name, NUMBERS) if name in diagram.inputs(node_id) else None
                if place is not None:
                    value = diagram.value(place)
                    # Guidance is one thing wherever it stands; two ControlNets are two.
                    found.setdefault(value if role is known.GUIDANCE else place, []).append(place)
        for number, places in enumerate(found.values(), start=1):
            drafts.add(Draft(role, tuple(places), diagram.value(places[0]), index=number))
