"""
Say in a sentence what ComfyUI refused or what broke: the texts that a cell shows.

ComfyUI's own texts carry server paths, tracebacks and the node's inputs. What goes out is one line of at most 200
characters without any of those; traceback and inputs are never passed on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import JobError
from worker.comfy.history import Entry

MAX_TEXT: Final = 200
OUT_OF_MEMORY: Final = "out_of_memory"
MISSING_MODEL: Final = "missing_model"
TOO_LARGE: Final = (
    "The output is larger than this worker accepts: use a smaller size or fewer pictures, or ask the operator to raise "
    "MAX_OUTPUT_MB."
)
ANOTHER_WAY: Final = "Try a smaller size or another workflow, or ask the operator to look at the workers' logs."
ROW_OR_WORKFLOW: Final = "Change the row's values, or ask whoever made the workflow."

MODEL_FILE: Final = re.compile(r"\.(safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)$", re.IGNORECASE)
_PATH: Final = re.compile(r"""(?:\b[A-Za-z]:\\|(?<![\w<>/])(?:~|\.{1,2})?/(?=[\w.]))[^\s"'<>|,;:)]*""")


class GraphRefused(Rejected):
    """Say that ComfyUI will not run this graph, with everything the row should show."""

    def __init__(self, error: JobError, unlisted: tuple[str, str, str] | None = None) -> None:
        super().__init__(error.code, error.text)
        self.error = error
        self.unlisted = unlisted
        """Class, input and value, when ComfyUI did not say which values it allows (it does not for > 20)."""


def one_line(text: str, limit: int = MAX_TEXT) -> str:
    """Make *text* fit a cell: no paths, no line breaks, no control characters, *limit* characters at most."""
    text = _PATH.sub("…", text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def ended(text: str) -> str:
    """End a foreign text as a sentence, so that what follows it can be read."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def refusal(answer: Mapping[str, Any], graph: Mapping[str, Any]) -> GraphRefused:
    """Turn the answer of POST /prompt (400, or 200 with node_errors) into the sentence about its first fault."""
    node_errors = answer.get("node_errors")
    if isinstance(node_errors, dict):
        for node, told in node_errors.items():
            if isinstance(told, dict) and isinstance(told.get("errors"), list) and told["errors"]:
                return _node_refusal(str(node), told, graph)
    error = answer.get("error")
    if not isinstance(error, dict):
        text = one_line(f"ComfyUI refused the workflow: {error}")
        return GraphRefused(JobError(code="refused_by_comfyui", text=text, hint=ROW_OR_WORKFLOW))
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    missing = _missing_class(error, extra)
    if missing:
        return GraphRefused(
            JobError(
                code="missing_node",
                text=one_line(f'This ComfyUI has no node "{missing}".'),
                hint="Install the custom node there, or use another workflow.",
                node=str(extra.get("node_id")) if extra.get("node_id") is not None else None,
                node_class=one_line(missing, 100),
            )
        )
    if error.get("type") == "prompt_no_outputs":
        return GraphRefused(no_output("The workflow has no node that saves anything."))
    text = one_line(f"ComfyUI refused the workflow: {error.get('message')}")
    return GraphRefused(JobError(code="refused_by_comfyui", text=text, hint=ROW_OR_WORKFLOW))


def _missing_class(error: Mapping[str, Any], extra: Mapping[str, Any]) -> str | None:
    """Find the class that this ComfyUI does not know: 0.12+ names it apart, 0.3.x in the sentence alone."""
    message = str(error.get("message"))
    if extra.get("class_type") and "not found" in message:
        return str(extra["class_type"])
    told = re.search(r"node (.+) does not exist", message)
    return told[1] if told else None


def _node_refusal(node: str, told: Mapping[str, Any], graph: Mapping[str, Any]) -> GraphRefused:
    fault = told["errors"][0] if isinstance(told["errors"][0], dict) else {}
    extra = fault.get("extra_info")
    extra = extra if isinstance(extra, dict) else {}
    node_class = str(told.get("class_type") or "")
    name = str(extra.get("input_name") or "")
    value = extra.get("received_value")
    where = f"{name} of {title_of(node, node_class, graph)}" if name else title_of(node, node_class, graph)
    kind, hint = fault.get("type"), ""
    if kind == "value_not_in_list":
        allowed = choices_of(extra.get("input_config"))
        error = not_in_list(node, node_class, where, value, allowed)
        return GraphRefused(error, None if allowed else (node_class, name, str(value)))
    config = extra.get("input_config")
    limits = config[1] if isinstance(config, list) and len(config) > 1 and isinstance(config[1], dict) else {}
    if kind == "value_smaller_than_min":
        text = f"{where} must be at least {limits.get('min')}, not {_shown(value)}."
    elif kind == "value_bigger_than_max":
        text = f"{where} must be at most {limits.get('max')}, not {_shown(value)}."
    elif kind == "invalid_input_type":
        wanted = config[0] if isinstance(config, list) and config and isinstance(config[0], str) else "another type"
        text = f"{where} must be {wanted}, not {_shown(value)}."
    elif kind == "required_input_missing":
        text = f"{where} is required and was not given."
    else:
        hint = ROW_OR_WORKFLOW
        text = f"{where}: {fault.get('message')} ({fault.get('details')})."
        if kind in ("exception_during_validation", "exception_during_inner_validation"):
            text = f"{where}: ComfyUI could not check the value."
    about = {"node": node, "node_class": node_class or None}
    return GraphRefused(JobError(code="invalid_graph", text=one_line(text), hint=hint, **about))


def not_in_list(node: str | None, node_class: str, where: str, value: object, allowed: Sequence[str]) -> JobError:
    """Say that a value is none of the *allowed*, naming the nearest; a model file gets a code of its own."""
    is_model = bool(MODEL_FILE.search(str(value)))
    text = f"This ComfyUI has no file {_shown(value)} ({where})." if is_model else f"{where} cannot be {_shown(value)}."
    near = nearest(str(value), allowed)
    hint = f"Nearest: {', '.join(near)}." if near else ""
    if not allowed:
        hint = "Copy the file to that server's models folder, or choose another." if is_model else ""
    elif not near:
        hint = f"It has: {', '.join(allowed[:5])}{' …' if len(allowed) > 5 else ''}."
    code = MISSING_MODEL if is_model else "invalid_graph"
    return JobError(code=code, text=one_line(text), hint=one_line(hint), node=node, node_class=node_class or None)


def nearest(value: str, allowed: Sequence[str]) -> list[str]:
    """Find up to three of *allowed* that look most like *value*, folders and case not counting."""
    by_stem: dict[str, str] = {}
    for name in allowed:
        by_stem.setdefault(_stem(name), name)
    return [by_stem[found] for found in difflib.get_close_matches(_stem(value), list(by_stem), n=3, cutoff=0.5)]


def _stem(name: str) -> str:
    """Drop folders and a model file's extension, which would make all names look alike."""
    return MODEL_FILE.sub("", re.split(r"[/\\]", name)[-1]).lower()


def choices_of(config: object) -> list[str]:
    """Read the allowed values out of an input's definition: `[[...], {}]`, or `["COMBO", {"options": [...]}]`."""
    if not isinstance(config, list) or not config:
        return []
    listed = config[0]
    if not isinstance(listed, list) and len(config) > 1 and isinstance(config[1], dict):
        listed = config[1].get("options")
    return [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []


def failure(entry: Entry, graph: Mapping[str, Any]) -> JobError:
    """Turn the history's `execution_error` into the sentence about it."""
    fault = entry.fault
    node, node_class = str(fault.get("node_id") or ""), str(fault.get("node_type") or "")
    kind, message = str(fault.get("exception_type") or ""), str(fault.get("exception_message") or "")
    about = {"node": node, "node_class": one_line(node_class, 100)}
    if "OutOfMemory" in kind or "out of memory" in message.lower():
        return JobError(
            code=OUT_OF_MEMORY,
            text="The GPU ran out of memory.",
            hint="Use a smaller width and height, or a smaller batch.",
            **about,
        )
    where = title_of(node, node_class, graph) if node_class else "ComfyUI"
    first = next((line for line in message.splitlines() if line.strip(" *")), kind)
    text = one_line(f"{where} failed: {first.strip(' *')}")
    return JobError(code="execution_failed", text=ended(text), hint=ROW_OR_WORKFLOW, **about)


def no_output(text: str = "The workflow finished but made no file.") -> JobError:
    """Say that there is nothing to show."""
    return JobError(code="no_output", text=text, hint="It needs a node that saves, such as SaveImage.")


def title_of(node: str, node_class: str, graph: Mapping[str, Any]) -> str:
    """Name a node for people: its title when it has one of its own, else its class, else its id."""
    meta = graph.get(node, {}).get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    if isinstance(title, str) and title.strip() and title != node_class:
        return f'{node_class} "{one_line(title, 40)}"'
    return node_class or f"node {node}"


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{one_line(value, 60)}"'
    return one_line(str(value), 60)
