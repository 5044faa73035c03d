"""
Run queued prompts, one at a time, in one thread, telling clients and history what happens in ComfyUI's order:

    execution_start  execution_cached  {progress_state executing [progress_state progress preview]* [executed]
    progress_state}*  execution_success | execution_error | execution_interrupted
    -> history written -> status -> executing(node null)

The thread is not guarded: what is no Exception (SystemExit, KeyboardInterrupt ...) ends it for good while HTTP goes on
answering, and the prompt stays in queue_running for ever (trap 6).
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable

from sandbox.comfy.catalogue import Catalogue
from sandbox.comfy.folders import Folders
from sandbox.comfy.kitchen import Interrupted, Kitchen, Preview, Stopping
from sandbox.comfy.node_cache import NodeCache, cache_keys
from sandbox.comfy.progress import Progress
from sandbox.comfy.prompt_queue import Free, Order, PromptQueue
from sandbox.comfy.running_order import RunningOrder, is_link, sources
from sandbox.comfy.sockets import Sockets
from sandbox.comfy.values import Blocked, Json, Result

log = logging.getLogger(__name__)

OOM_TIP = (
    "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have "
    "accidentally set the batch_size to a large number."
)


class Executor:
    """Be ComfyUI's executor thread."""

    def __init__(
        self,
        queue: PromptQueue,
        catalogue: Catalogue,
        folders: Folders,
        step_s: float,
        meter: Callable[[str, str, int], None] = lambda _what, _prompt_id, _at: None,
    ) -> None:
        self.queue = queue
        self._meter = meter
        self.catalogue = catalogue
        self.folders = folders
        self.step_s = step_s
        self.stopping = threading.Event()
        self.cache = NodeCache()
        self.client_id: str | None = None  # whose prompt runs, or ran last
        self.node_id: str | None = None  # what runs of it now
        self.spans: list[tuple[str, int, int]] = []  # what ran, from when to when (ns since the epoch): for the bench

    def running_node(self, client_id: str) -> str | None:
        """Name the node that runs for this client now, for its new socket; None when nothing of it runs."""
        return self.node_id if client_id == self.client_id else None

    def run(self, sockets: Sockets) -> None:
        """Work until the queue is closed."""
        try:
            while (work := self.queue.take()) is not None:
                if isinstance(work, Free):
                    if work.node_cache:
                        self.cache.clear()
                    continue
                ticket, order = work
                begun = time.time_ns()
                self._meter("begun", order.prompt_id, begun)
                entry = Run(self, order, sockets).perform()
                self.queue.finish(ticket, entry)
                ended = time.time_ns()
                self._meter("ended", order.prompt_id, ended)
                self.spans.append((order.prompt_id, begun, ended))
                if self.client_id is not None:
                    sockets.tell("executing", {"node": None, "prompt_id": order.prompt_id}, self.client_id)
        except Stopping:
            pass
        except BaseException:
            log.exception("The executor thread is dead; this server takes prompts and runs none (trap 6)")


class Run:
    """Perform one prompt."""

    def __init__(self, executor: Executor, order: Order, sockets: Sockets) -> None:
        self.executor = executor
        self.order = order
        self.sockets = sockets
        executor.client_id, executor.node_id = order.extra_data.get("client_id"), None
        self.progress = Progress(order.prompt_id, executor.client_id, sockets)
        self.key_of = cache_keys(order.prompt, self._fingerprint)
        self.results: dict[str, Result] = {}  # node id -> what it gave, now or before
        self.executed: list[str] = []
        self.messages: list[tuple[str, Json]] = []  # what history tells of the run
        self.outputs: Json = {}
        self.meta: Json = {}

    def perform(self) -> Json:
        """Run every output of the prompt; give what history keeps of it beside the prompt itself."""
        executor, order = self.executor, self.order
        self._note("execution_start", {"prompt_id": order.prompt_id})
        reachable = self._reachable()
        for node_id in order.prompt:
            if node_id in reachable and (kept := executor.cache.get(self.key_of(node_id))):
                self.results[node_id] = kept.result
        self._note("execution_cached", {"nodes": list(self.results), "prompt_id": order.prompt_id})
        good = self._run_nodes()
        if good:
            self._note("execution_success", {"prompt_id": order.prompt_id})
        executor.node_id = None
        status = {
            "status_str": "success" if good else "error",
            "completed": good,
            "messages": [list(message) for message in self.messages],
        }
        return {"outputs": self.outputs, "status": status, "meta": self.meta}

    def _run_nodes(self) -> bool:
        """Run node after node; says whether all of them ended well."""
        catalogue, prompt = self.executor.catalogue, self.order.prompt
        todo = RunningOrder(
            prompt,
            self.order.outputs,
            lambda n: n in self.results,
            lambda n: catalogue[prompt[n]["class_type"]].is_output,
        )
        while (node_id := todo.take()) is not None:
            try:
                self._run_node(node_id)
            except Interrupted:
                self._note(
                    "execution_interrupted",
                    {
                        "prompt_id": self.order.prompt_id,
                        "node_id": node_id,
                        "node_type": prompt[node_id]["class_type"],
                        "executed": self.executed,
                    },
                    everybody=True,
                )
                return False
            except Exception as exc:
                self._note("execution_error", self._failure(node_id, exc))
                return False
            todo.done(node_id)
        return True

    def _run_node(self, node_id: str) -> None:
        """Run one node, or show again what it gave before."""
        key = self.key_of(node_id)
        kept = self.executor.cache.get(key)
        if node_id in self.results or kept:
            if kept:
                self.results[node_id] = kept.result
            result = self.results[node_id]
            self._tell("executed", {"node": node_id, "display_node": node_id, "output": result.ui})
            if result.ui is not None:
                self._show(node_id, result, kept.meta if kept else _meta(node_id))
            self.progress.finish(node_id)
            return
        self.progress.start(node_id)
        self.executor.node_id = node_id
        self._tell("executing", {"node": node_id, "display_node": node_id})
        result = self._cook(node_id)
        self.results[node_id] = result
        if result.ui is not None:
            self._show(node_id, result, _meta(node_id))
            self._tell("executed", {"node": node_id, "display_node": node_id, "output": result.ui})
        self.progress.finish(node_id)
        self.executor.cache.keep(key, result, _meta(node_id))
        self.executed.append(node_id)

    def _cook(self, node_id: str) -> Result:
        """Hand a node its inputs and let it run, unless something before it blocked it."""
        cls = self.executor.catalogue[self.order.prompt[node_id]["class_type"]]
        self._throw_if_interrupted()
        inputs = self._inputs(node_id)
        blocked = next((value for value in inputs.values() if isinstance(value, Blocked)), None)
        if blocked:
            if blocked.message is not None:
                self._tell(
                    "execution_error",
                    {
                        "node_id": node_id,
                        "node_type": cls.class_type,
                        "executed": self.executed,
                        "exception_message": f"Execution Blocked: {blocked.message}",
                        "exception_type": "ExecutionBlocked",
                        "traceback": [],
                        "current_inputs": [],
                        "current_outputs": [],
                    },
                )
            return Result((Blocked(None),) * len(cls.returns))
        return cls.cook(self._kitchen(node_id), inputs)

    def _inputs(self, node_id: str) -> Json:
        """Collect the inputs that the class knows: constants, values through links, and the hidden ones."""
        given = self.order.prompt[node_id]["inputs"]
        cls = self.executor.catalogue[self.order.prompt[node_id]["class_type"]]
        inputs: Json = {}
        for name, *_ in cls.inputs():
            if name in given:
                value = given[name]
                inputs[name] = self.results[value[0]].outputs[value[1]] if is_link(value) else value
        hidden = {"prompt": self.order.prompt, "extra_pnginfo": self.order.extra_data.get("extra_pnginfo")}
        return inputs | {name: hidden[name] for name in cls.hidden()}

    def _kitchen(self, node_id: str) -> Kitchen:
        def tick(value: int, total: int, preview: Preview | None) -> None:
            self.progress.tick(node_id, value, total, preview)

        return Kitchen(
            self.executor.folders,
            self.executor.step_s,
            self.executor.stopping,
            self.order.extra_data,
            tick,
            self._throw_if_interrupted,
        )

    def _throw_if_interrupted(self) -> None:
        if self.executor.stopping.is_set():
            raise Stopping
        if self.executor.queue.interrupted():
            raise Interrupted

    def _fingerprint(self, node_id: str) -> str:
        """Ask a node's class what it reads from outside; "" for most, a hash of the file for LoadImage."""
        node = self.order.prompt[node_id]
        cls = self.executor.catalogue[node["class_type"]]
        constants = {n: v for n, v in node["inputs"].items() if n in cls.self_checked and not is_link(v)}
        return cls.fingerprint(self.executor.folders, **constants) if cls.fingerprint and constants else ""

    def _reachable(self) -> set[str]:
        """Collect the outputs and all that feeds them; branches that failed validation are not among them."""
        found: set[str] = set()
        stack = list(self.order.outputs)
        while stack:
            node_id = stack.pop()
            if node_id not in found:
                found.add(node_id)
                stack += sources(self.order.prompt, node_id)
        return found

    def _failure(self, node_id: str, exc: Exception) -> Json:
        """Say all that ComfyUI says about a node that raised."""
        kind = type(exc)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        inputs = self._inputs(node_id)
        return {
            "prompt_id": self.order.prompt_id,
            "node_id": node_id,
            "node_type": self.order.prompt[node_id]["class_type"],
            "executed": self.executed,
            "exception_message": f"{exc}\n{OOM_TIP if name == 'torch.OutOfMemoryError' else ''}",
            "exception_type": name,
            "traceback": traceback.format_tb(exc.__traceback__),
            "current_inputs": {
                k: [v if isinstance(v, int | float | str | None) else str(v)] for k, v in inputs.items()
            },
            "current_outputs": list(self.order.prompt),
        }

    def _show(self, node_id: str, result: Result, meta: Json) -> None:
        self.outputs[node_id] = result.ui
        self.meta[node_id] = meta

    def _note(self, event: str, data: Json, *, everybody: bool = False) -> None:
        """Keep an event for the history and send it; *everybody* = to all sockets when nobody owns the prompt."""
        data = {**data, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, data))
        if self.executor.client_id is not None or everybody:
            self.sockets.tell(event, data, self.executor.client_id)

    def _tell(self, event: str, data: Json) -> None:
        """Send an event to the prompt's owner; history does not keep it."""
        if self.executor.client_id is not None:
            self.sockets.tell(event, {**data, "prompt_id": self.order.prompt_id}, self.executor.client_id)


def _meta(node_id: str) -> Json:
    return {"node_id": node_id, "display_node": node_id, "parent_node": None, "real_node_id": node_id}
