"""
Follow one prompt by the WebSocket's news: how far it is, and when to look at /history.

News is a doorbell, never a verdict: `execution_error` may come from a blocked branch of a prompt that goes on to
succeed (ComfyUI 0.28, ExecutionBlocker), and `execution_success` comes before the history is written. Only `executing`
with node null says, in all versions since 2024-03, that the history can be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from chalicelib.contract.job import Progress

SKIPPED: Final = '{"type": "progress_state"'
"""A frame that repeats all nodes each time: 7.9 MB for a chain of 200; `progress` and `executing` say enough."""

SAMPLER_WEIGHT: Final = 20.0
"""A sampler that has not told its steps yet counts as twenty nodes."""
STEPS_MOST: Final = 50.0
STEPS_TELLING: Final = 2
_NO_STEPS: Final[dict[str, Any]] = {"step": 0, "steps": 0, "first_step": 0, "first_step_at": None, "step_at": 0.0}


@dataclass(frozen=True)
class News:
    """Hold one event: its kind, whose prompt it is about (None: nobody's), and its data."""

    kind: str
    prompt_id: str | None
    data: Mapping[str, Any]


def read_frame(frame: str | bytes) -> News | None:
    """Parse a frame; None for what nobody needs: binary previews, progress_state, and anything malformed."""
    if isinstance(frame, bytes) or frame.startswith(SKIPPED):
        return None
    try:
        told = json.loads(frame)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("type"), str):
        return None
    data = told.get("data")
    data = data if isinstance(data, dict) else {}
    prompt_id = data.get("prompt_id")
    return News(told["type"], prompt_id if isinstance(prompt_id, str) else None, data)


@dataclass(frozen=True)
class Course:
    """Hold how far a prompt is. *classes* maps the graph's node ids to their class names."""

    classes: Mapping[str, str]
    done: frozenset[str] = field(default_factory=frozenset)
    node: str | None = None
    step: float = 0
    steps: float = 0
    first_step_at: float | None = None
    """Monotonic time of the running node's first step: the model is loaded by then."""
    first_step: float = 0
    step_at: float = 0.0
    """Monotonic time of its newest step."""
    stepped_at: float | None = None
    """Monotonic time at which the last node that told all its steps ended: the long part is over."""
    made: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """What finished nodes reported, as `executed` told: node id and output. The history confirms it, or not."""
    is_started: bool = False
    is_over: bool = False

    def progress(self) -> Progress | None:
        """Say how far, each node by its weight and the running one by its steps; None before the start."""
        if not self.is_started:
            return None
        done = self.done & self.classes.keys()
        part = min(1.0, self.step / self.steps) if self.steps > 0 else 0.0
        return Progress(
            fraction=1.0 if self.is_over else round(self._fraction(done, part), 4),
            nodes_done=len(done),
            nodes_total=len(self.classes),
            node=self.node,
            node_class=self.classes.get(self.node or ""),
            step=int(self.step) if self.steps else None,
            steps=int(self.steps) if self.steps else None,
        )

    def _fraction(self, done: frozenset[str] | set[str], part: float) -> float:
        """
        Weigh what is done: a node that reports steps counts as many times as it has steps, at most 50; others once.

        Only the running node's steps are known, so samplers are told by their class until then.
        """
        weights = {node: SAMPLER_WEIGHT if "Sampler" in name else 1.0 for node, name in self.classes.items()}
        if self.node in weights and self.steps > 1:
            weights[self.node] = max(weights[self.node], min(STEPS_MOST, self.steps))
        whole = sum(weights.values()) or 1.0
        finished = sum(weights[node] for node in done) + weights.get(self.node or "", 0.0) * part
        return min(1.0, max(0.0, finished / whole))

    def left_in_node_s(self, now: float) -> float | None:
        """
        Guess from its steps how long the running node still needs; None when too few steps are over to tell.

        What follows a sampler (decode, save) tells nothing and is short: it may take as long again as it has taken.
        """
        if self.first_step_at is None or self.step - self.first_step < STEPS_TELLING:
            return None if self.stepped_at is None else now - self.stepped_at
        step_s = (self.step_at - self.first_step_at) / (self.step - self.first_step)
        # Between two steps the time goes on; a step that is late may be late for long.
        return abs(step_s * (self.steps - self.step) - (now - self.step_at))


def classes_of(graph: Mapping[str, Any]) -> dict[str, str]:
    """Map the node ids of *graph* to class names."""
    return {node_id: str(node.get("class_type", "")) for node_id, node in graph.items()}


def advance(course: Course, news: News, now: float = 0.0) -> Course:
    """Take one piece of news of this prompt into account; *now* is monotonic."""
    data = news.data
    if news.kind == "execution_start":
        return replace(course, is_started=True)
    if news.kind == "execution_cached":
        nodes = data.get("nodes")
        cached = {node for node in nodes if isinstance(node, str)} if isinstance(nodes, list) else set()
        return replace(course, is_started=True, done=course.done | cached)
    if news.kind == "executing":
        before = course.done | ({course.node} if course.node else set())
        node = data.get("node")
        if 1 < course.steps <= course.step:
            course = replace(course, stepped_at=now)
        if node is None:
            return replace(course, is_started=True, is_over=True, done=before, node=None, **_NO_STEPS)
        return replace(course, is_started=True, done=before - {str(node)}, node=str(node), **_NO_STEPS)
    if news.kind == "progress" and data.get("node") in (course.node, None):
        step, steps = data.get("value"), data.get("max")
        if isinstance(step, int | float) and isinstance(steps, int | float) and abs(step) + abs(steps) < 1e9:
            if course.first_step_at is None or step < course.step:
                return replace(course, step=step, steps=steps, first_step=step, first_step_at=now, step_at=now)
            return replace(course, step=step, steps=steps, step_at=now)
    if news.kind == "executed" and isinstance(data.get("output"), dict):
        return replace(course, made=(*course.made, (str(data.get("node")), data["output"])))
    return course
