"""
Judge what a row asks for: turn cells into values, or say in one sentence what is wrong with them.

A cell may hold 20, 20.0 or "20" for a whole number; blank means the default. All faults of a row are named at once.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Frozen
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.parameter import Parameter
from chalicelib.contract.size import sides_of
from chalicelib.contract.values import MAX_SEED, Value, one_line, short, value_of
from chalicelib.contract.words import fold


class Resolved(Frozen):
    """Hold what a row resolved to: values by parameter name, and the headers that the workflow does not know."""

    inputs: dict[str, Value]
    ignored: tuple[str, ...] = ()


def resolve_inputs(
    workflow: Workflow,
    given: Mapping[str, object],
    *,
    pick_seed: Callable[[], int],
    files: Callable[[Parameter], tuple[str, ...]] = lambda _: (),
) -> Resolved:
    """
    Match *given* (values by header text) to the workflow's parameters, fill defaults, draw seeds.

    *files* lists the file names that a parameter can have now (empty: nobody knows).

    Raise `Rejected` (invalid_input) with one sentence that names every fault.
    """
    parameter_of = {word: parameter for parameter in workflow.parameters for word in parameter.words()}
    headers: dict[str, str] = {}
    ignored = []
    for header, value in given.items():
        parameter = parameter_of.get(fold(header))
        if _is_blank(value):
            continue
        if parameter is None or parameter.name in headers:
            # Of two columns that mean the same the first counts, as for our own columns; the answer says so.
            ignored.append(header)
        else:
            headers[parameter.name] = header
    inputs: dict[str, Value] = {}
    faults = []
    for described in workflow.parameters:
        asked = headers.get(described.name)
        known = files(described)
        parameter = described.model_copy(update={"choices": known}) if known else described
        try:
            inputs[parameter.name] = _resolve(parameter, None if asked is None else given[asked], pick_seed)
        except ValueError as fault:
            faults.append(_sentence(f"{_column(parameter, asked)} {fault}"))
    if not faults:
        faults += _cost(workflow, inputs)
    if faults:
        raise Rejected("invalid_input", " ".join(faults))
    return Resolved(inputs=inputs, ignored=tuple(ignored))


def unknown_workflow(name: str, known: Iterable[str]) -> Rejected:
    """Say that there is no workflow *name*, with the nearest ones that there are."""
    names = sorted(known)
    near = difflib.get_close_matches(fold(name), names, n=2, cutoff=0.4)
    advice = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names[:10]) or 'none'}."
    return Rejected("unknown_workflow", f"There is no workflow called {short(name)}. {advice}")


def _resolve(parameter: Parameter, value: object, pick_seed: Callable[[], int]) -> Value:
    if value is None:
        if parameter.required and parameter.default is None:
            raise ValueError("is missing: fill in its cell")
        value = parameter.default
    if parameter.type == "seed" and (value is None or (isinstance(value, str) and fold(value) == "random")):
        low = int(parameter.min or 0)
        high = MAX_SEED if parameter.max is None else int(parameter.max)
        return low + pick_seed() % (high - low + 1)
    return None if value is None else value_of(parameter, value)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _column(parameter: Parameter, header: str | None) -> str:
    """Name the column as the person who reads the sentence sees it: by its header, if that is not just the title."""
    if header is None or fold(header) in (fold(parameter.title), fold(parameter.name)):
        return parameter.title
    return one_line(header)


def _sentence(text: str) -> str:
    return text if text.endswith(("?", ".")) else f"{text}."


def _cost(workflow: Workflow, inputs: Mapping[str, Value]) -> Iterable[str]:
    """Judge what the whole asks of a GPU; of several sizes the largest counts."""
    factors = {name: inputs.get(name) for name in ("width", "height", "steps", "batch_size")}
    counted = {name.replace("_", " ").capitalize(): value for name, value in factors.items() if isinstance(value, int)}
    areas = {
        parameter.title: math.prod(sides_of(str(inputs[parameter.name])))
        for parameter in workflow.parameters
        if parameter.type == "size" and inputs.get(parameter.name) is not None
    }
    if areas:
        largest = max(areas, key=lambda title: areas[title])
        counted = {largest: areas[largest], **counted}
    cost = math.prod(counted.values())
    if cost > workflow.max_cost:
        product = " × ".join(counted)
        yield f"{product} is {cost}; one row may ask for {workflow.max_cost}: choose a smaller size or fewer steps."
