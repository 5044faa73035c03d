"""Fetch workflows from the bucket by hash, once each: what a hash names never changes."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Final

from chalicelib.contract.errors import Rejected
from chalicelib.contract.manifest import Workflow, from_document
from worker.ports import Blobs

KEPT: Final = 64
DAMAGED: Final = "The stored workflow is damaged. Push the workflows again, then generate the row again."


class Templates:
    """Keep the workflows used last. All threads share one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Workflow] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, blobs: Blobs, workflow_hash: str) -> Workflow:
        """Give the workflow of this hash; `Rejected` when it is gone or is not what its name says."""
        with self._lock:
            if workflow_hash in self._kept:
                self._kept.move_to_end(workflow_hash)
                return self._kept[workflow_hash]
        document = blobs.get(f"workflows/by-hash/{workflow_hash}.json")
        if document is None:
            raise Rejected("workflow_gone", "This version of the workflow is no longer stored. Generate the row again.")
        try:
            workflow = from_document(json.loads(document))
        except (ValueError, KeyError, TypeError) as error:
            raise Rejected("workflow_damaged", DAMAGED) from error
        if workflow.hash != workflow_hash:
            raise Rejected("workflow_damaged", DAMAGED)
        with self._lock:
            self._kept[workflow_hash] = workflow
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return workflow
