"""
Say what a ComfyUI can render: its node classes, and the model files that its loaders offer.

A graph that needs more than that is for another server. Only names of model files count here: any other value that is
not allowed is a mistake in the job, and ComfyUI's own answer says which.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.contract.graph import is_link
from chalicelib.contract.job import JobError
from worker.comfy.faults import MISSING_MODEL, MODEL_FILE, choices_of, nearest, not_in_list, one_line

CARD_MOST_BYTES: Final = 350_000
"""DynamoDB items hold 400 KB."""


@dataclass(frozen=True)
class Lack:
    """Name what a graph needs and a server has not: a node class, or (with *input* and *value*) a model file."""

    node: str
    node_class: str
    input: str = ""
    value: str = ""


@dataclass(frozen=True)
class Kit:
    """Hold a server's node classes, and the model files by (class, input)."""

    classes: frozenset[str]
    models: Mapping[tuple[str, str], frozenset[str]]

    @staticmethod
    def of(object_info: Mapping[str, Any]) -> Kit:
        """Read /object_info (both ways of listing choices, 2024-03 to 0.38)."""
        models = {}
        for node_class, told in object_info.items():
            for name, config in _inputs_of(told):
                files = frozenset(each for each in choices_of(config) if MODEL_FILE.search(each))
                if files or _is_model_list(name, config):
                    models[(node_class, name)] = files
        return Kit(frozenset(object_info), models)

    def lacks(self, graph: Mapping[str, Any]) -> list[Lack]:
        """List what *graph* needs and is not here."""
        lacks = []
        for node, told in graph.items():
            node_class = str(told.get("class_type", ""))
            if node_class not in self.classes:
                lacks.append(Lack(node, node_class))
                continue
            for name, value in told.get("inputs", {}).items():
                files = self.models.get((node_class, name))
                if files is None or is_link(value) or not isinstance(value, str) or not MODEL_FILE.search(value):
                    continue
                if value not in files:
                    lacks.append(Lack(node, node_class, name, value))
        return lacks


def unfit(lack: Lack, kits: Iterable[Kit]) -> JobError:
    """Say that no running ComfyUI has what is lacking, with the nearest names that one has."""
    kits = list(kits)
    if not lack.input:
        known = sorted({each for kit in kits for each in kit.classes})
        near = nearest(lack.node_class, known)
        hint = f"Nearest: {', '.join(near)}. " if near else ""
        return JobError(
            code="missing_node",
            text=one_line(f'No running ComfyUI has the node "{lack.node_class}".'),
            hint=one_line(f"{hint}Install the custom node, or use another workflow."),
            node=lack.node,
            node_class=one_line(lack.node_class, 100),
        )
    known = sorted({each for kit in kits for each in kit.models.get((lack.node_class, lack.input), ())})
    where = f"{lack.input} of {lack.node_class}"
    error = not_in_list(lack.node, lack.node_class, where, lack.value, known)
    text = one_line(f'No running ComfyUI has the file "{one_line(lack.value, 60)}" ({where}).')
    return error.model_copy(update={"code": MISSING_MODEL, "text": text})


def bare_url(url: str) -> str:
    """Give a server's address without login, query and fragment: for those who are only to know where it is."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url)[0])


@dataclass(frozen=True)
class Post:
    """Describe one server for a card: its address, version, device, prompts in its queue, and its kit."""

    name: str
    version: str
    device: str
    queue: int
    kit: Kit


@dataclass(frozen=True)
class Card:
    """Say of one worker what it can render, and when (ms since the epoch) it said so."""

    worker: str
    seen_at: int
    servers: tuple[Mapping[str, Any], ...]
    """Each: name, version, device, queue."""
    kits: tuple[Kit, ...]

    @staticmethod
    def of(worker: str, seen_at: int, posts: Iterable[Post]) -> Card:
        """Make a card of a worker's servers."""
        posts = list(posts)
        servers = tuple(
            {"name": bare_url(post.name), "version": post.version, "device": post.device, "queue": post.queue}
            for post in posts
        )
        kits: list[Kit] = []
        for post in posts:
            if post.kit not in kits:
                kits.append(post.kit)
        return Card(worker, seen_at, servers, tuple(kits))

    def packed_kits(self) -> str:
        """Give the kits as text for one table attribute: gzip, base64. Too much of it: without the models' names."""
        text = _packed([_kit_json(kit) for kit in self.kits])
        return text if len(text) <= CARD_MOST_BYTES else _packed([])


def unpacked_kits(text: str) -> tuple[Kit, ...]:
    """Read what `packed_kits` gave; raise ValueError or KeyError when it is something else."""
    told = json.loads(gzip.decompress(base64.b64decode(text)))
    return tuple(
        Kit(
            frozenset(each["classes"]),
            {(node_class, name): frozenset(files) for node_class, name, files in each["models"]},
        )
        for each in told
    )


def _packed(told: object) -> str:
    return base64.b64encode(gzip.compress(json.dumps(told, separators=(",", ":")).encode(), mtime=0)).decode()


def _kit_json(kit: Kit) -> dict[str, Any]:
    models = sorted((node_class, name, sorted(files)) for (node_class, name), files in kit.models.items())
    return {"classes": sorted(kit.classes), "models": models}


def _inputs_of(told: object) -> Iterator[tuple[str, object]]:
    groups = told.get("input") if isinstance(told, Mapping) else None
    for group in groups.values() if isinstance(groups, Mapping) else ():
        if isinstance(group, Mapping):
            yield from group.items()


def _is_model_list(name: str, config: object) -> bool:
    """Know a loader whose list is empty on this server: a choice whose input is called after a model file."""
    is_list = isinstance(config, list) and bool(config) and (isinstance(config[0], list) or config[0] == "COMBO")
    return is_list and not choices_of(config) and name.endswith("_name")
