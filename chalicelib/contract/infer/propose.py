"""Make a manifest of drafts: types, defaults, bounds, and a last look with the eyes of the catalog's own check."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.contract.infer.draft import Draft, Drafts
from chalicelib.contract.infer.known import Role
from chalicelib.contract.infer.naming import SHARED, Names, in_naming_order
from chalicelib.contract.infer.settings import spec_of
from chalicelib.contract.manifest import ManifestError, parse_workflow
from chalicelib.contract.parameter import MAX_PROMPT, Parameter, Place
from chalicelib.contract.values import MAX_SEED, value_of
from chalicelib.contract.words import fold

MAX_PARAMETERS: Final = 60
_MAX_LENGTH: Final = 50_000
_SMALL_SEEDS: Final = re.compile(r"rgthree|^easy ", re.IGNORECASE)
_SMALL_SEED: Final = 2**50
"""The largest seed that the seed nodes of these packs take."""
_NAMED: Final = re.compile(r"parameters\.([a-z0-9_]+)")


def parameters_of(graph: Mapping[str, Any], drafts: Drafts, info: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Make the manifest's parameters, by name, in the order of the drafts."""
    names = Names()
    kept = drafts.drafts[:MAX_PARAMETERS]
    if len(drafts.drafts) > MAX_PARAMETERS:
        drafts.note(f"{len(drafts.drafts)} values could be set; the first {MAX_PARAMETERS} are offered.")
    named = {id(draft): names.name(draft) for draft in in_naming_order(kept)}
    made: dict[str, dict[str, Any]] = {}
    for draft in kept:
        name, label, aliases = named[id(draft)]
        made[name] = _fields(name, label, aliases, draft, graph, info, drafts)
    return made


def _fields(
    name: str,
    label: str,
    aliases: tuple[str, ...],
    draft: Draft,
    graph: Mapping[str, Any],
    info: Mapping[str, Any],
    drafts: Drafts,
) -> dict[str, Any]:
    """Write one parameter as the yaml has it."""
    role, type_ = draft.role, draft.type or draft.role.type
    fields: dict[str, Any] = {"type": type_, "label": label}
    if aliases or (name in SHARED and role.aliases):
        fields["aliases"] = list(aliases)
    if role.description:
        fields["description"] = role.description
    if draft.is_required:
        fields["required"] = True
    elif type_ == "seed":
        fields |= {"default": "random", **_seed_bounds(draft, graph, info)}
    elif type_ in ("integer", "float"):
        fields |= _numbers(type_, draft, graph, info, drafts, label)
    elif type_ == "choice":
        fields |= _choice(draft)
    elif type_ == "color":
        fields["default"] = f"#{int(str(draft.value)):06x}"
    else:
        fields["default"] = draft.value
        if isinstance(draft.value, str) and len(draft.value) > MAX_PROMPT:
            fields["max_length"] = _MAX_LENGTH
    fields["sets"] = [{"node": place.node, "input": place.input} for place in draft.places]
    _judge_default(name, fields, drafts)
    return fields


def _seed_bounds(draft: Draft, graph: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, int]:
    """Give a seed's largest value where the node takes fewer than ComfyUI's own do."""
    most = MAX_SEED
    for place in draft.places:
        kind = str(graph[place.node]["class_type"])
        top = _limits(info, kind, place.input)[1]
        if top is None and _SMALL_SEEDS.search(kind):
            top = _SMALL_SEED
        most = min(most, int(top)) if top is not None and top > 0 else most
    return {"max": most} if most < MAX_SEED else {}


def _limits(info: Mapping[str, Any], kind: str, name: str) -> tuple[float | None, float | None]:
    """Give the least and the largest value that ComfyUI says an input takes."""
    spec = spec_of(info, kind, name)
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], Mapping) else {}
    found = (options.get("min"), options.get("max"))
    low, high = (one if isinstance(one, int | float) and not isinstance(one, bool) else None for one in found)
    return low, high


def _numbers(
    type_: str, draft: Draft, graph: Mapping[str, Any], info: Mapping[str, Any], drafts: Drafts, label: str
) -> dict[str, Any]:
    """Give default and bounds: sane ones, widened to the graph's own value as far as the nodes take it."""
    role = draft.role
    lowest, highest = _reach(role, draft.places, graph, info)
    value = draft.value if isinstance(draft.value, int | float) else lowest
    kept = min(max(value, lowest), highest)
    if kept != value:
        drafts.note(f"{label} begins at {_plain(kept, type_)}: the graph's own value lies outside what is sane.")
    low = max(lowest, min(role.low if role.low is not None else lowest, kept))
    high = min(highest, max(role.high if role.high is not None else highest, kept))
    return {
        "default": _plain(kept, type_),
        "min": _plain(low, type_),
        "max": _plain(high, type_),
    }


def _reach(
    role: Role, places: tuple[Place, ...], graph: Mapping[str, Any], info: Mapping[str, Any]
) -> tuple[float, float]:
    """Give the bounds that every node at *places* keeps."""
    lowest = role.lowest if role.lowest is not None else 0.0
    highest = role.highest if role.highest is not None else 1e6
    for place in places:
        low, high = _limits(info, str(graph[place.node]["class_type"]), place.input)
        lowest = max(lowest, low) if low is not None and low <= highest else lowest
        highest = min(highest, high) if high is not None and high >= lowest else highest
    return lowest, highest


def _plain(value: float, type_: str) -> int | float:
    """Write a number as a person would: 20, not 20.0."""
    if type_ == "integer":
        return math.trunc(value)
    return int(value) if abs(value) < 1e15 and float(value).is_integer() else value


def _choice(draft: Draft) -> dict[str, Any]:
    """Give choices that a header's reader can tell apart, the graph's own first among equals."""
    value = str(draft.value)
    by_word = {fold(one): one for one in reversed(draft.choices)} | {fold(value): value}
    choices = list(dict.fromkeys(by_word.get(fold(one), one) for one in (*draft.choices, value)))
    return {"default": value, "choices": choices}


def _judge_default(name: str, fields: dict[str, Any], drafts: Drafts) -> None:
    """Ask for a value where the graph's own is none that a row might have."""
    if "default" not in fields or fields["default"] == "random":
        return
    try:
        value_of(Parameter.model_validate({**fields, "name": name}), fields["default"])
    except ValueError:
        del fields["default"]
        fields["required"] = True
        drafts.note(f"{fields['label']} must be given by each row: the graph's own value cannot be a default.")


def checked(
    graph: Mapping[str, Any], manifest: dict[str, Any], drafts: Drafts
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Hold the manifest against the catalog's own check; leave out what does not pass.

    Give what is left, and the faults that lie in the graph itself.
    """
    faults: tuple[str, ...] = ()
    for _ in range(MAX_PARAMETERS):
        try:
            parse_workflow("proposal", manifest, {}, graph, file="proposal")
        except ManifestError as error:
            faults = tuple(fault.removeprefix("proposal: ") for fault in error.faults)
            bad = {found[1] for fault in faults if (found := _NAMED.match(fault))} & manifest["parameters"].keys()
            if not bad:
                return manifest, faults
            for name in sorted(bad):
                drafts.note(f"{manifest['parameters'][name]['label']} was left out: it would not pass the check.")
            left = {key: value for key, value in manifest["parameters"].items() if key not in bad}
            manifest = {**manifest, "parameters": left}
        else:
            return manifest, ()
    return manifest, faults
