"""
Say what a ComfyUI can render: its node classes, and the model files that its loaders offer.

A graph that needs more than that is for another server. Only names of model files count here: any other value that is
not allowed is a mistake in the job, and ComfyUI's own answer says which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.contract.card import ServerCard
from chalicelib.contract.graph import is_link
from chalicelib.contract.job import JobError
from chalicelib.contract.kit import Kit, packed_kits
from worker.comfy.faults import MISSING_MODEL, MODEL_FILE, choices_of, nearest, not_in_list, one_line

CARD_MOST_BYTES: Final = 350_000
"""DynamoDB items hold 400 KB."""

# ComfyUI 0.28: an empty folder makes an empty list, or one of what needs no file (vae_name: ["pixel_space"]). Such a
# list is known by its input's name: ckpt_name, clip_name1, text_encoder. One of somebody's own (CustomCombo) is not.
_LOADER_INPUT: Final = re.compile(r"(?<!sampler_)name\d*$|model|encoder|lora|vae|unet|ckpt|clip", re.IGNORECASE)


@dataclass(frozen=True)
class Lack:
    """Name what a graph needs and a server has not: a node class, or (with *input* and *value*) a model file."""

    node: str
    node_class: str
    input: str = ""
    value: str = ""


def kit_of(object_info: Mapping[str, Any]) -> Kit:
    """Read /object_info (both ways of listing choices, 2024-03 to 0.38)."""
    models = {}
    for node_class, told in object_info.items():
        for name, config in _inputs_of(told):
            if _is_open(config):
                continue
            files = frozenset(each for each in choices_of(config) if MODEL_FILE.search(each))
            if files or _is_model_list(name, config):
                models[(node_class, name)] = files
    return Kit(frozenset(object_info), models)


def lacks_of(kit: Kit, graph: Mapping[str, Any]) -> list[Lack]:
    """List what *graph* needs and *kit* has not."""
    lacks = []
    for node, told in graph.items():
        node_class = str(told.get("class_type", ""))
        if node_class not in kit.classes:
            lacks.append(Lack(node, node_class))
            continue
        for name, value in told.get("inputs", {}).items():
            files = kit.models.get((node_class, name))
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
    """Describe one server for a card; *kit* None: it does not answer."""

    server: ServerCard
    kit: Kit | None


@dataclass(frozen=True)
class Card:
    """Say of one worker what it can render, and when (ms since the epoch) it said so."""

    worker: str
    seen_at: int
    servers: tuple[ServerCard, ...]
    kits: tuple[Kit, ...]
    started_at: int = 0
    """When the worker began (ms since the epoch); 0: an older one, which does not say."""
    jobs_done: int = 0
    """How many jobs it has brought to a good end since then."""

    @staticmethod
    def of(worker: str, seen_at: int, posts: Iterable[Post], *, started_at: int = 0, jobs_done: int = 0) -> Card:
        """Make a card of a worker's servers."""
        posts = list(posts)
        servers = tuple(post.server.model_copy(update={"name": bare_url(post.server.name)}) for post in posts)
        kits: list[Kit] = []
        for post in posts:
            if post.kit is not None and post.kit not in kits:
                kits.append(post.kit)
        return Card(worker, seen_at, servers, tuple(kits), started_at, jobs_done)

    def packed_kits(self) -> str:
        """
        Give the kits as text for one table attribute: gzip, base64.

        Too many names (some ten thousand files) and those of the models are left out: classes are a few thousand.
        """
        text = packed_kits(self.kits)
        if len(text) > CARD_MOST_BYTES:
            text = packed_kits([Kit(kit.classes, {}, is_whole=False) for kit in self.kits])
        return text


def _inputs_of(told: object) -> Iterator[tuple[str, object]]:
    groups = told.get("input") if isinstance(told, Mapping) else None
    for group in groups.values() if isinstance(groups, Mapping) else ():
        if isinstance(group, Mapping):
            yield from group.items()


def _is_model_list(name: str, config: object) -> bool:
    """Know a loader's list that holds no model file on this server."""
    is_list = isinstance(config, list) and bool(config) and (isinstance(config[0], list) or config[0] == "COMBO")
    return is_list and bool(_LOADER_INPUT.search(name))


def _is_open(config: object) -> bool:
    """Know a list that is not all: what is uploaded joins it, or the page fetches it from elsewhere."""
    options = config[1] if isinstance(config, list) and len(config) > 1 else None
    return isinstance(options, Mapping) and any(name == "remote" or name.endswith("_upload") for name in options)
