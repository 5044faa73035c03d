"""
Find the samplers and what sets them: seed, steps, CFG, sampler, scheduler, denoise.

A sampler is any node with a seed (or noise) and steps (or sigmas), of its own or of small nodes beside it, so that
nodes nobody has heard of are read as well. Several of them run one after the other: base and refiner, a second pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chalicelib.contract.infer import known
from chalicelib.contract.infer.diagram import NUMBERS, TEXT, WHOLE, Diagram
from chalicelib.contract.infer.known import Role
from chalicelib.contract.parameter import Place

MAX_PASSES: Final = 4
"""The settings of more samplers than these are left as they are."""
SEEDS: Final = ("seed", "noise_seed", "rand_seed", "sampler_seed")
_STEPS: Final = ("steps", "num_steps", "num_inference_steps")
SETTINGS: Final[tuple[tuple[Role, tuple[str, ...], tuple[type, ...]], ...]] = (
    (known.SEED, SEEDS, WHOLE),
    (known.STEPS, _STEPS, WHOLE),
    (known.CFG, ("cfg", "cfg_scale", "cfg_conds", "guidance_scale"), NUMBERS),
    (known.SAMPLER, ("sampler_name", "sampler"), TEXT),
    (known.SCHEDULER, ("scheduler", "scheduler_name"), TEXT),
    (known.DENOISE, ("denoise", "denoise_strength", "denoising_strength"), NUMBERS),
)
_BESIDE: Final = re.compile(
    r"^(noise|guider|sigmas|sampler|scheduler|pipe|.*_pipe|settings|sampler_settings|options|script|context|ctx)$"
)
"""Inputs through which a sampler is set by nodes beside it."""
LATENTS: Final = re.compile(r"latent|samples|^images?$|pixels|pipe|ctx|context|image_embeds|^embeds$")
"""Inputs through which a sampler gets what it works on."""


@dataclass(frozen=True)
class Setting:
    """Hold one value that sets a sampler."""

    role: Role
    place: Place
    value: object


@dataclass(frozen=True)
class Pass:
    """Hold a sampler and its settings by role name; *source* is the nearest node that gives its latent a size."""

    node: str
    settings: dict[str, Setting]
    is_shared_schedule: bool
    """It takes a part of the steps that are counted in common (KSamplerAdvanced)."""
    keeps_picture: bool
    """What it starts from is a picture, not emptiness."""


def find_passes(diagram: Diagram) -> list[Pass]:
    """List the samplers in the order in which they run."""
    samplers = [node_id for node_id in diagram.live if _is_sampler(diagram, node_id)]
    stop = frozenset(samplers)
    return [_pass(diagram, node_id, stop) for node_id in samplers]


def _is_sampler(diagram: Diagram, node_id: str) -> bool:
    inputs = diagram.inputs(node_id)
    linked = {name for name, _ in diagram.links(node_id)}
    has_noise = any(name in inputs for name in SEEDS) or "noise" in linked
    return has_noise and (any(name in inputs for name in _STEPS) or "sigmas" in linked)


def _pass(diagram: Diagram, node_id: str, samplers: frozenset[str]) -> Pass:
    settings: dict[str, Setting] = {}
    beside = [one for one in diagram.walk(node_id, _BESIDE, stop=samplers) if one == node_id or one not in samplers]
    for role, names, kinds in SETTINGS:
        for one in beside:
            if role.name in settings or (role is known.SEED and adds_no_noise(diagram, one)):
                continue
            for name in names:
                place = diagram.origin(one, name, kinds) if name in diagram.inputs(one) else None
                if place is not None:
                    settings[role.name] = Setting(role, place, diagram.value(place))
                    break
    inputs = diagram.inputs(node_id)
    return Pass(
        node=node_id,
        settings=settings,
        is_shared_schedule="start_at_step" in inputs and "end_at_step" in inputs,
        keeps_picture=_keeps_picture(diagram, node_id, samplers),
    )


def adds_no_noise(diagram: Diagram, node_id: str) -> bool:
    """Say whether a sampler goes on with the noise of the one before it, so that its own seed means nothing."""
    return diagram.inputs(node_id).get("add_noise") in ("disable", False)


def _keeps_picture(diagram: Diagram, node_id: str, samplers: frozenset[str]) -> bool:
    """Say whether the latent that a sampler works on is a picture's, or another sampler's."""
    for one in diagram.walk(node_id, LATENTS, stop=samplers):
        is_loader = "load" in diagram.kind(one).lower() and "image" in diagram.kind(one).lower()
        if one != node_id and (one in samplers or is_loader or "pixels" in diagram.inputs(one)):
            return True
    return False
