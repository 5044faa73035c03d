"""Stand in for the bucket, with S3's rules for conditional reads and writes (tests/edges/test_blobs.py judges both)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any

from chalicelib.catalog import Catalog
from chalicelib.contract.documents import Look
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.infer import Proposal
from chalicelib.contract.manifest import Workflow, parse_workflow
from chalicelib.curate import Curator
from chalicelib.publish import Publisher
from chalicelib.sheet_shelf import SheetShelf
from chalicelib.workflow_view import Choices
from chalicelib.workflows_api import WorkflowsApi

PUSHED_AT = 1_800_000_000_000


class MemoryBlobs:
    """Keep documents in memory, note each call, and refuse writes beyond *writes_left*."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.read: list[str] = []
        self.sent: list[str] = []
        """Keys whose content was given away: a look that finds nothing new gives none."""
        self.written: list[str] = []
        self.writes_left = 10_000
        self._lock = threading.RLock()

    def get(self, key: str) -> bytes | None:
        return self.look(key, "").content

    def look(self, key: str, known: str) -> Look:
        with self._lock:
            self.read.append(key)
            if key not in self.kept:
                return Look("")
            tag = self._tag(key)
            if tag == known:
                return Look(tag)
            self.sent.append(key)
            return Look(tag, self.kept[key])

    def put(self, key: str, content: bytes, content_type: str = "application/json") -> None:
        with self._lock:
            if not self.writes_left:
                raise Unavailable("The store is away.")
            self.writes_left -= 1
            self.written.append(key)
            self.kept[key] = content

    def replace(self, key: str, content: bytes, tag: str) -> bool:
        with self._lock:
            if tag != (self._tag(key) if key in self.kept else ""):
                return False
            self.put(key, content)
            return True

    def _tag(self, key: str) -> str:
        return f'"{hashlib.md5(self.kept[key]).hexdigest()}"'


class Clock:
    """Tell the seconds that the test says."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def push(store: MemoryBlobs, workflows: list[Workflow], owner: str = "") -> list[str]:
    """Publish as an operator does."""
    return Publisher(store, lambda: PUSHED_AT).push(workflows, by="operator", owner=owner)


def demo_graph(size: int = 1) -> dict[str, Any]:
    """Make a small graph."""
    return {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ü", "size": size}}}


def version(size: int = 1, workflow_id: str = "demo", name: str = "") -> Workflow:
    """Make a small workflow."""
    manifest = {"name": name or f"Name of {workflow_id}"}
    return parse_workflow(workflow_id, manifest, {}, demo_graph(size), file="demo.yaml")


def small_infer(graph: Mapping[str, Any], *, name: str = "") -> Proposal:
    """Propose what these tests need and no more: a seed for every node that has one."""
    seeds = [node_id for node_id, node in graph.items() if "seed" in node["inputs"]]
    sets = [{"node": node_id, "input": "seed"} for node_id in seeds]
    parameters = {"seed": {"type": "seed", "label": "Seed", "default": "random", "sets": sets}} if sets else {}
    return Proposal(manifest={"name": name or "Workflow", "parameters": parameters}, notes=("Seeds were looked for.",))


def shelf_of(
    workflows: list[Workflow], choices: Choices = lambda _workflow, _parameter: (), store: MemoryBlobs | None = None
) -> tuple[WorkflowsApi, SheetShelf]:
    """Make what programs and sheets see of a catalog that holds *workflows*, with room for more."""
    kept = MemoryBlobs() if store is None else store
    push(kept, workflows)
    catalog = Catalog(kept, Clock())
    curator = Curator(catalog, Publisher(kept, lambda: PUSHED_AT), small_infer, choices)
    shelf = SheetShelf(catalog, curator, choices)
    return WorkflowsApi(shelf=catalog, curator=curator, choices=choices), shelf
