"""
Judge a graph as ComfyUI 0.28.0 does before it queues it, and convert constants in place ("12" -> 12).

Every error below was seen on a real server (tests/data/comfyui/http/prompt_*.json). What ComfyUI answers with 500 and
text/plain (a prompt or node that is no object) rises here as the TypeError, AttributeError or LookupError it is.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import Any

from sandbox.comfy.catalogue import Catalogue, NodeClass
from sandbox.comfy.folders import Folders
from sandbox.comfy.values import Graph, Json

LONG_LIST = 20  # longer lists of choices are not repeated in the error


@dataclass(frozen=True)
class Verdict:
    """Say what came of a prompt: *error* None = queue *outputs*, although *node_errors* may be there (trap 1)."""

    error: Json | None
    outputs: list[str]
    node_errors: Json


def validate(graph: Graph, catalogue: Catalogue, folders: Folders, targets: object = None) -> Verdict:
    """Judge *graph*; *targets* limits it to these output nodes (partial_execution_targets)."""
    outputs = []
    for node_id in graph:
        missing = _missing_class(node_id, graph[node_id], catalogue)
        if missing:
            return Verdict(missing, [], {})
        if catalogue[graph[node_id]["class_type"]].is_output and (not targets or node_id in targets):  # type: ignore[operator]
            outputs.append(node_id)
    if not outputs:
        return Verdict(_error("prompt_no_outputs", "Prompt has no outputs"), [], {})
    return _Judge(graph, catalogue, folders).judge(outputs)


def _missing_class(node_id: str, node: Any, catalogue: Catalogue) -> Json | None:
    if "class_type" not in node:
        class_type, title = None, node.get("_meta", {}).get("title")
        message = (
            f"Node '{title or f'ID #{node_id}'}' has no class_type. "
            "The workflow may be corrupted or a custom node is missing."
        )
    else:
        class_type = node["class_type"]
        if catalogue.get(class_type):
            return None
        title = node.get("_meta", {}).get("title", class_type)
        message = f"Node '{title}' not found. The custom node may not be installed."
    return _error(
        "missing_node_type",
        message,
        f"Node ID '#{node_id}'",
        {"node_id": node_id, "class_type": class_type, "node_title": title},
    )


def _error(kind: str, message: str, details: str = "", extra_info: Json | None = None) -> Json:
    return {"type": kind, "message": message, "details": details, "extra_info": extra_info or {}}


@dataclass
class _Judge:
    """Walk from each output to its sources, once per node, collecting what is wrong with each."""

    graph: Graph
    catalogue: Catalogue
    folders: Folders
    errors: dict[str, list[Json]] = field(default_factory=dict)  # node id -> its own errors; a key for each judged node
    broken: set[str] = field(default_factory=set)  # judged nodes that cannot run, for their own or a source's fault
    path: list[str] = field(default_factory=list)

    def judge(self, outputs: list[str]) -> Verdict:
        good: list[str] = []
        told: list[str] = []
        node_errors: Json = {}
        for output in outputs:
            try:
                fine = self._runs(output)
            except Exception as exc:
                fine = self._fail(output, _exception("exception_during_validation", "node", exc))
            if fine:
                good.append(output)
                continue
            told += [f"{e['message']}: {e['details']}" for e in self.errors.get(output, [])]
            for node_id, errors in self.errors.items():
                if errors:
                    entry = node_errors.setdefault(
                        node_id,
                        {"errors": errors, "dependent_outputs": [], "class_type": self.graph[node_id]["class_type"]},
                    )
                    entry["dependent_outputs"].append(output)
        if good:
            return Verdict(None, good, node_errors)
        error = _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(told))
        return Verdict(error, [], node_errors)

    def _fail(self, node_id: str, error: Json) -> bool:
        self.errors.setdefault(node_id, []).append(error)
        self.broken.add(node_id)
        return False

    def _runs(self, node_id: str) -> bool:
        """Say whether *node_id* and all its sources can run. Raises what ComfyUI raises on a malformed node."""
        if node_id in self.path:
            return self._cycle(self.path[self.path.index(node_id) :])
        if node_id in self.errors:
            return node_id not in self.broken
        cls = self.catalogue[self.graph[node_id]["class_type"]]
        inputs = self.graph[node_id]["inputs"]
        self.errors[node_id] = []
        self.path.append(node_id)
        try:
            fine = False not in [self._input(node_id, inputs, cls, *spec) for spec in cls.inputs()]
        finally:
            self.path.pop()
        if fine and cls.check:
            fine = self._custom(node_id, inputs, cls)
        if not fine or node_id in self.broken:
            self.broken.add(node_id)
            return False
        return True

    def _cycle(self, nodes: list[str]) -> bool:
        names = [f"{n} ({self.graph[n]['class_type']})" for n in [*nodes, nodes[0]]]
        for node_id in nodes:
            self._fail(
                node_id,
                _error(
                    "dependency_cycle",
                    "Dependency cycle detected",
                    " -> ".join(names),
                    {"node_id": node_id, "cycle_nodes": nodes},
                ),
            )
        return False

    def _input(
        self, node_id: str, inputs: Json, cls: NodeClass, name: str, kind: Any, options: Json, required: bool
    ) -> bool:
        """Judge one input of one node."""
        if name not in inputs:
            return not required or self._fail(
                node_id, _error("required_input_missing", "Required input is missing", name, {"input_name": name})
            )
        info = {"input_name": name, "input_config": [kind, options]}
        value = inputs[name]
        if isinstance(value, list):
            return self._link(node_id, name, kind, info, value)
        return self._constant(node_id, inputs, cls, name, kind, options)

    def _link(self, node_id: str, name: str, kind: Any, info: Json, link: list[Any]) -> bool:
        if len(link) != 2:
            return self._fail(
                node_id,
                _error(
                    "bad_linked_input",
                    "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                    name,
                    {**info, "received_value": link},
                ),
            )
        source, slot = link
        received = self.catalogue[self.graph[source]["class_type"]].returns[slot]
        if not _fits(received, kind):
            return self._fail(
                node_id,
                _error(
                    "return_type_mismatch",
                    "Return type mismatch between linked nodes",
                    f"{name}, received_type({received}) mismatch input_type({kind})",
                    {**info, "received_type": received, "linked_node": link},
                ),
            )
        try:
            return self._runs(source)
        except Exception as exc:
            error = _exception("exception_during_inner_validation", "inner node", exc)
            error["extra_info"] |= {**info, "exception_message": str(exc), "linked_node": link}
            return self._fail(source, error)

    def _constant(self, node_id: str, inputs: Json, cls: NodeClass, name: str, kind: Any, options: Json) -> bool:
        info: Json = {"input_name": name, "input_config": [kind, options]}
        value = inputs[name]
        try:
            value = inputs[name] = _converted(value, kind)
        except (ValueError, TypeError, OverflowError) as exc:
            return self._fail(
                node_id,
                _error(
                    "invalid_input_type",
                    f"Failed to convert an input value to a {kind} value",
                    f"{name}, {value}, {exc}",
                    {**info, "received_value": value, "exception_message": str(exc)},
                ),
            )
        if name in cls.self_checked:
            return True
        info = {**info, "received_value": value}
        if "min" in options and value < options["min"]:
            return self._fail(
                node_id,
                _error("value_smaller_than_min", f"Value {value} smaller than min of {options['min']}", name, info),
            )
        if "max" in options and value > options["max"]:
            return self._fail(
                node_id,
                _error("value_bigger_than_max", f"Value {value} bigger than max of {options['max']}", name, info),
            )
        choices = kind if isinstance(kind, list) else options.get("options") if kind == "COMBO" else None
        if choices is None or value in choices:
            return True
        shown = str(choices) if len(choices) <= LONG_LIST else f"(list of length {len(choices)})"
        if len(choices) > LONG_LIST:
            info = {**info, "input_config": None}
        return self._fail(
            node_id, _error("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {shown}", info)
        )

    def _custom(self, node_id: str, inputs: Json, cls: NodeClass) -> bool:
        """Ask the class itself about the constants that it wants to judge."""
        asked = {name: inputs[name] for name in cls.self_checked if not isinstance(inputs.get(name), list)}
        answer = cls.check(self.folders, **asked) if cls.check and asked else True
        if answer is True:
            return True
        for name in asked:
            self._fail(
                node_id,
                _error(
                    "custom_validation_failed",
                    "Custom validation failed for node",
                    name if answer is False else f"{name} - {answer}",
                    {"input_name": name},
                ),
            )
        return False


def _fits(received: Any, wanted: Any) -> bool:
    """Say whether an output of type *received* may feed an input of type *wanted*; `*` is any, `A,B` is either."""
    received, wanted = ("COMBO" if isinstance(t, list) else str(t) for t in (received, wanted))
    return "*" in (received, wanted) or set(received.split(",")) <= set(wanted.split(","))


def _converted(value: Any, kind: Any) -> Any:
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if kind == "INT":
        return int(value)
    if kind == "FLOAT":
        return float(value)
    if kind == "STRING":
        return str(value)
    if kind == "BOOLEAN":
        return bool(value)
    return value


def _exception(kind: str, where: str, exc: Exception) -> Json:
    return _error(
        kind,
        f"Exception when validating {where}",
        str(exc),
        {"exception_type": type(exc).__name__, "traceback": traceback.format_tb(exc.__traceback__)},
    )
