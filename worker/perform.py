"""
Make one attempt at a job on ComfyUI, from the template to the list of files, and say how it came out.

The verdict comes from /history alone. Before anything is rendered again, an earlier attempt of this job that still
runs on this server, or has ended well there, is taken over: a worker that died may have left it behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import structlog

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.graph import fill, isolate
from chalicelib.contract.job import JobError, prompt_id_of
from worker.comfy.faults import OUT_OF_MEMORY, GraphRefused, failure, no_output, not_in_list
from worker.comfy.history import Ending, Entry, Place
from worker.comfy.outputs import KEPT, files_of, strays_of, texts_of
from worker.deliver import Courier
from worker.disk import DiskFull
from worker.lease import Holding
from worker.patience import LOOK_AGAIN_S, Patience, Trouble
from worker.ports import ComfyAway, InDoubt, Watch
from worker.tools import Tools
from worker.verdicts import Again, Broken, Elsewhere, Halted, Made, Stop, Verdict

LOOKS_IN_DOUBT: Final = 2
IN_DOUBT_S: Final = 0.3
HISTORY_LATE_S: Final = 0.2
OOM_RETRY_S: Final = 2.0
COLD_STALL_FACTOR: Final = 3
"""The first picture may load tens of gigabytes first."""
ADOPTABLE: Final = 3
"""How many earlier attempts are looked for."""

log = structlog.get_logger()


def perform(tools: Tools, holding: Holding) -> Verdict:
    """Make the attempt that *holding* stands for. Bugs rise; everything foreseen becomes a verdict."""
    try:
        return _Attempt(tools, holding).run()
    except GraphRefused as refused:
        return Broken(refused.error)
    except Rejected as refused:
        return Broken(JobError(code=refused.code, text=refused.message))
    except Unavailable as error:
        told, is_ours = JobError(code="unavailable", text=error.message), isinstance(error, DiskFull)
        # The bucket, an input's host and the disk have trouble of their own while another job renders.
        is_free = isinstance(error, ComfyAway) and holding.ticket.is_bystander
        return Again(told, error.retry_in_s, is_ours=is_ours, is_free=is_free)


def courier_of(tools: Tools, holding: Holding) -> Courier:
    """Give the courier of this attempt's files; it is made when the first one is there."""
    if holding.courier is None:
        holding.courier = Courier(
            tools.comfy.fetch,
            tools.blobs,
            holding.job,
            tools.settings.max_output_bytes,
            tools.settings.home,
            lambda: holding.stopped is not None,
        )
    return holding.courier


class _Attempt:
    """Hold what one attempt knows."""

    def __init__(self, tools: Tools, holding: Holding) -> None:
        self._tools = tools
        self._holding = holding
        self._job = holding.job
        self._workflow = tools.templates.get(tools.blobs, self._job.workflow_hash)
        self._brought = 0
        """How many of the course's outputs were looked at."""
        self._files: Sequence[Mapping[str, object]] = ()
        self._log = log.bind(job_id=self._job.job_id, attempt=self._job.attempt)

    def run(self) -> Verdict:
        graph = fill(self._workflow, self._job.inputs)
        graph = isolate(graph, self._folder)
        adopted = self._adopt(graph)
        if adopted is not None:
            return adopted
        lack = self._tools.server.lacks(graph)
        if lack is not None:
            return Elsewhere(lack, graph)
        return self._render(self._with_media(graph))

    @property
    def _folder(self) -> str:
        return f"cs/{self._job.job_id}/{self._job.attempt}"

    def _with_media(self, graph: dict[str, Any]) -> dict[str, Any]:
        """Bring the job's input files to ComfyUI and name them in *graph*."""
        if self._tools.pantry is None:
            return graph
        media = self._tools.pantry.bring(self._tools.blobs, self._tools.comfy, self._workflow, self._job, self._folder)
        self._files = media.facts
        named: dict[str, Any] = media.put_into(graph)
        return named

    def _render(self, graph: dict[str, Any]) -> Verdict:
        if self._holding.stopped is not None:
            return Halted(self._holding.stopped)
        prompt_id = prompt_id_of(self._job.job_id, self._job.attempt)
        with self._tools.doorbell.watch(prompt_id, graph, self._holding) as watch:
            self._begin_record(graph, prompt_id)
            accepted = self._submit(graph, prompt_id, watch.client_id)
            self._holding.ticket.submitted()
            if accepted == prompt_id:
                return self._follow(accepted, graph, watch)
        # ComfyUI before 0.3.45 (July 2025) makes its own ids; news that came meanwhile is found in the history.
        with self._tools.doorbell.watch(accepted, graph, self._holding) as watch:
            return self._follow(accepted, graph, watch)

    def _begin_record(self, graph: dict[str, Any], prompt_id: str, *, adopted: bool = False) -> None:
        job, facts = self._job, self._tools.health.facts
        self._holding.record.begin(
            graph,
            at=self._tools.clock.now_ms(),
            job_id=job.job_id,
            attempt=job.attempt,
            prompt_id=prompt_id,
            adopted=adopted,
            workflow_id=job.workflow_id,
            workflow_hash=job.workflow_hash,
            inputs=dict(job.inputs),
            seed=job.inputs.get("seed"),
            files=self._files,
            comfyui=facts.version if facts else None,
            device=facts.device if facts else None,
            worker=self._tools.settings.worker_name,
        )

    def _adopt(self, graph: dict[str, Any]) -> Verdict | None:
        """Take over an earlier attempt's prompt; None when there is none, or it came to nothing."""
        for attempt in range(self._job.attempt - 1, max(0, self._job.attempt - 1 - ADOPTABLE), -1):
            prompt_id = prompt_id_of(self._job.job_id, attempt)
            seen = self._tools.comfy.where(prompt_id)
            if seen.place is Place.NOWHERE or (seen.entry and seen.entry.ending is not Ending.SUCCESS):
                continue
            self._log.info("an earlier attempt's prompt is taken over", action="adopt", prompt_id=prompt_id)
            with self._tools.doorbell.watch(prompt_id, graph, self._holding) as watch:
                self._begin_record(graph, prompt_id, adopted=True)
                verdict = self._follow(prompt_id, graph, watch)
            # Its former owner may cancel it under our eyes: then it is as if it had not been there.
            if isinstance(verdict, Made):
                return replace(verdict, is_adopted=True)
            if not (isinstance(verdict, Broken | Again) and verdict.error.code in ("interrupted", "prompt_lost")):
                return verdict
        return None

    def _submit(self, graph: dict[str, Any], prompt_id: str, client_id: str | None) -> str:
        """Queue the graph. After a lost answer look for the prompt first; send again only when it is nowhere."""
        comfy = self._tools.comfy
        self._holding.prompt_id = prompt_id
        try:
            return comfy.submit(graph, prompt_id, client_id)
        except GraphRefused as refused:
            raise self._refused(refused, prompt_id) from refused
        except InDoubt as doubt:
            if self._has_arrived(prompt_id):
                return prompt_id
            self._log.info("the workflow is sent again", action="submit", reason=doubt.message)
        return comfy.submit(graph, prompt_id, client_id)

    def _has_arrived(self, prompt_id: str) -> bool:
        for _ in range(LOOKS_IN_DOUBT):
            if self._tools.comfy.where(prompt_id).place is not Place.NOWHERE:
                return True
            self._tools.clock.wait(self._holding.bell, IN_DOUBT_S)
        return False

    def _refused(self, refused: GraphRefused, prompt_id: str) -> GraphRefused:
        """Stop the branches that ComfyUI runs in spite of its node_errors, and find the nearest allowed values."""
        self._holding.record.note("history", status="refused", error=refused.error.model_dump())
        with contextlib.suppress(Unavailable):
            self._tools.comfy.cancel(prompt_id)
            if refused.unlisted is not None:
                node_class, name, value = refused.unlisted
                allowed = self._tools.comfy.choices(node_class, name)
                where = f"{name} of {node_class}"
                return GraphRefused(not_in_list(refused.error.node, node_class, where, value, allowed))
        return refused

    def _follow(self, prompt_id: str, graph: dict[str, Any], watch: Watch) -> Verdict:
        """Wait for the end: the WebSocket rings; /history is asked now and then as well, and gives the verdict."""
        holding, ticket = self._holding, self._holding.ticket
        holding.prompt_id, holding.watch, holding.phase = prompt_id, watch, "rendering"
        ticket.left_in_node_s = lambda now: watch.course.left_in_node_s(now)
        try:
            return self._wait(prompt_id, graph, watch)
        finally:
            ticket.over()
            holding.record.note_timeline(watch.timeline, watch.course.classes)

    def _wait(self, prompt_id: str, graph: dict[str, Any], watch: Watch) -> Verdict:
        tools, holding = self._tools, self._holding
        stall_s = tools.settings.stall_s * (1 if tools.health.is_warm else COLD_STALL_FACTOR)
        patience = Patience(self._workflow.max_runtime_s, stall_s)
        while holding.stopped is None:
            tools.clock.wait(holding.bell, self._pause_s(watch, patience))
            holding.bell.clear()
            if holding.stopped is not None:
                break
            try:
                entry = tools.comfy.ended(prompt_id) if watch.course.is_over else None
                trouble = None
                if entry is None and not self._bring_early(watch):
                    seen = tools.comfy.where(prompt_id)
                    entry = seen.entry
                    if seen.place is Place.RUNNING:
                        holding.begun()
                    live_since = (watch.heard_at or 0.0) if watch.is_live else None
                    trouble = patience.see(seen, tools.clock.monotonic(), live_since=live_since)
            except Unavailable:
                trouble = patience.miss(tools.clock.monotonic())
                entry = None
            if entry is not None:
                return self._verdict(entry, prompt_id, graph)
            if trouble is not None:
                return self._despair(trouble, prompt_id)
        return self._halt(prompt_id, holding.stopped)

    def _bring_early(self, watch: Watch) -> bool:
        """
        Upload what finished nodes have saved while the graph still runs; whether there was anything.

        Only what the history confirms is shown in the end. What fails here is tried again then, and told then.
        """
        made = watch.course.made[self._brought :]
        self._brought += len(made)
        files = [file for node, output in made for file in files_of({node: output}) if file.folder == KEPT]
        if not files or watch.course.is_over:
            return False
        try:
            courier_of(self._tools, self._holding).bring(files)
        except (Unavailable, Rejected) as error:
            self._log.info("an early upload did not work", action="upload", reason=error.message)
        self._holding.bell.set()
        return True

    def _pause_s(self, watch: Watch, patience: Patience) -> float:
        if watch.course.is_over:
            return HISTORY_LATE_S
        if patience.is_worried:
            return LOOK_AGAIN_S
        return self._tools.settings.poll_up_s if watch.is_live else self._tools.settings.poll_down_s

    def _verdict(self, entry: Entry, prompt_id: str, graph: dict[str, Any]) -> Verdict:
        self._holding.ticket.over()
        error = {"error": dict(entry.fault)} if entry.fault else {}
        self._holding.record.note("history", status=entry.status, execution_ms=entry.execution_ms, **error)
        if entry.ending is Ending.INTERRUPTED:
            text = "Somebody interrupted the run on the ComfyUI server."
            return Broken(JobError(code="interrupted", text=text, hint="Generate the row again."))
        if entry.ending is Ending.ERROR:
            return self._failed(failure(entry, graph))
        self._tools.health.is_warm = True
        files, texts = files_of(entry.outputs), texts_of(entry.outputs)
        strays = strays_of(entry.outputs)
        if strays:
            self._log.warning("files outside the output folder are left out", action="outputs", files=strays)
        if not files and not texts:
            return Broken(no_output())
        return Made(files, texts, prompt_id, entry.execution_ms)

    def _failed(self, error: JobError) -> Verdict:
        """Judge a run-time error: out of memory may pass when the server has freed its models; the rest will not."""
        if error.code != OUT_OF_MEMORY:
            return Broken(error)
        with contextlib.suppress(Unavailable):
            self._tools.comfy.free()
        before = self._job.last_error
        if not before or before.code != OUT_OF_MEMORY:
            return Again(error, OOM_RETRY_S)
        if self._tools.server.process is not None:
            # What a first /free did not give back may be lost to a leak or to fragmentation.
            self._tools.server.process.restart("it ran out of memory twice")
        return Broken(error)

    def _despair(self, trouble: Trouble, prompt_id: str) -> Verdict:
        """End a wait that leads nowhere, and stop the prompt if it is still there."""
        ticket = self._holding.ticket
        is_free = ticket.is_bystander
        if trouble is not Trouble.TOO_LONG:
            ticket.went_down()
        if trouble is Trouble.LOST:
            text = "ComfyUI lost the job: it was restarted, or its queue was cleared."
            return Again(JobError(code="prompt_lost", text=text), is_free=is_free)
        if trouble is Trouble.UNREACHABLE:
            error = JobError(code="unavailable", text="ComfyUI went away while it was rendering.")
            return Again(error, is_free=is_free)
        with contextlib.suppress(Unavailable):
            self._tools.comfy.cancel(prompt_id)
        if trouble is Trouble.STALLED:
            self._tools.health.suspect(prompt_id)
            if self._tools.server.process is not None:
                self._tools.server.process.restart("its executor hangs")
            return Again(JobError(code="stalled", text="ComfyUI stopped working on the job without saying why."))
        minutes = max(1, round(self._workflow.max_runtime_s / 60))
        text = f"The run took longer than the {minutes} minutes that this workflow may take."
        return Broken(JobError(code="too_long", text=text, hint="Use fewer steps or a smaller size."))

    def _halt(self, prompt_id: str, why: Stop) -> Halted:
        if why is Stop.LOST:
            with contextlib.suppress(Unavailable):
                self._tools.comfy.cancel(prompt_id)
        return Halted(why)
