"""Compare all that was promised in a run with what is there in the end."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chalicelib.contract.states import TERMINAL, State
from faults.cells import differences, shown_text, unfit
from faults.desk import columns_of
from faults.farm import Farm
from faults.files import unfetchable
from faults.report import Tally
from faults.soak.crowd import SoakDesk
from faults.soak.gpu import breaches, unjudged, usage
from faults.soak.letters import Letters
from faults.soak.links import Shown, misleading
from faults.soak.plan import Blow
from faults.soak.record import Record, Row
from faults.soak.waits import UNJUDGED, Waits
from faults.soak.watch import Body, Bus, States
from faults.strays import LINK


@dataclass
class Finding:
    """Hold what was found: breaches by promise, and figures."""

    wrong: list[tuple[str, str]] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    unjudged: list[str] = field(default_factory=list)
    """What this run had too little of to judge."""

    def blame(self, promise: str, sentences: Iterable[str]) -> None:
        """Note breaches of a promise."""
        self.wrong += [(promise, sentence) for sentence in sentences]


class Judge:
    """Judge one run that has become quiet."""

    def __init__(self, farm: Farm, record: Record, desks: Sequence[SoakDesk]) -> None:
        self._farm = farm
        self._record = record
        self._desks = desks
        self._gone: list[Row] = []
        self._shown: dict[str, Shown] = {}
        """What the rows of jobs that succeeded show, by job id."""
        self.jobs = {job.job_id: job for job in farm.ledger.get_many(record.job_ids())}
        self.found = Finding()

    def judge(self, states: States, bus: Bus, oldest: Body | None, meters: Sequence[Path]) -> Finding:
        """Look at everything."""
        parts: tuple[Callable[[], None], ...] = (
            self._jobs_ended, self._same_answers, self._rows, self._deleted, self._files, self._cancelled,
            self._messages, self._lags,
            lambda: self._gpu(meters),
            lambda: self.found.blame("P19", bus.breaches(self.jobs)),
        )  # fmt: skip
        for part in parts:
            try:
                part()
            except Exception as error:
                # What a long run has shown is not thrown away for it; but nothing is called judged that was not.
                frame = traceback.extract_tb(error.__traceback__)[-1]
                self.found.blame("harness", [f"not judged: {type(error).__name__}: {error} ({frame.name})"])
        self.found.blame("P7", states.wrong)
        self.found.figures["samples of states (P7)"] = states.samples
        self.found.figures["events heard (P19)"] = bus.count
        if oldest is not None:
            first, last = oldest.samples[0], oldest.samples[-1]
            self.found.figures["the spared worker lived s"] = round(oldest.life_s)
            self.found.figures["its memory MB, first and last"] = f"{first[1]:.0f}, {last[1]:.0f}"
            self.found.figures["its memory's slope MB/min"] = round(oldest.slope(), 3)
            self.found.figures["its open files, first and last and most"] = (
                f"{first[2]}, {last[2]}, {max(files for _, _, files in oldest.samples)}"
            )
        return self.found

    # -- jobs ---------------------------------------------------------------------------------------------------

    def _jobs_ended(self) -> None:
        """P1: what was acknowledged is there, and has ended (the run is quiet)."""
        promised = {one.job_id for one in self._record.asked if one.is_acknowledged}
        promised |= {job_id for row in self._record.rows.values() for job_id in _ids(row, row.acknowledged)}
        everything = set(self._record.job_ids())
        lost = [job_id for job_id in promised if job_id not in self.jobs or self.jobs[job_id].state not in TERMINAL]
        self.found.blame("P1", [f"job {each} was acknowledged and {self._plainly(each)}" for each in lost])
        stuck = [job for job in self.jobs.values() if job.state not in TERMINAL and job.job_id not in promised]
        self.found.blame("P1", [f"job {job.job_id} never ended: {job.state}" for job in stuck])
        ended = Counter(job.state for job in self.jobs.values())
        codes = Counter(job.error.code for job in self.jobs.values() if job.error)
        figures = self.found.figures
        figures["succeeded"], figures["cancelled"] = ended[State.SUCCEEDED], ended[State.CANCELED]
        figures["failed, by cause"] = (
            f"{ended[State.FAILED]} ({', '.join(f'{k} {v}' for k, v in codes.items()) or '-'})"
        )
        attempts = Counter(job.attempt for job in self.jobs.values())
        figures["jobs by attempts"] = ", ".join(f"{n}: {attempts[n]}" for n in sorted(attempts))
        self.found.tally = Tally(
            attempted=len(everything),
            acknowledged=len(promised),
            lost=len(lost),
            recovered=len([each for each in self.jobs if each not in promised]),
            again=sum(job.attempt > 1 for job in self.jobs.values()),
        )
        failed = [job for job in self.jobs.values() if job.state is State.FAILED]
        mute = [job for job in failed if job.error is None or not job.error.text]
        self.found.blame("P20", [f"job {job.job_id} failed without a cause in words" for job in mute])

    def _plainly(self, job_id: str) -> str:
        return f"is {self.jobs[job_id].state}" if job_id in self.jobs else "is not there"

    def _same_answers(self) -> None:
        """P2, P3: whatever was answered to a key was about one job."""
        doubled = [one for one in self._record.asked if len({answer["id"] for answer in one.answers}) > 1]
        foreign = [one for one in self._record.asked if any(answer["id"] != one.job_id for answer in one.answers)]
        self.found.blame("P2", [f"the key {one.key} was answered with several jobs" for one in doubled + foreign])
        repeated = [one for one in self._record.asked if len(one.answers) > 1]
        self.found.figures["keys answered more than once (P2)"] = len(repeated)
        self.found.tally += Tally(duplicated=len(doubled))

    # -- rows ---------------------------------------------------------------------------------------------------

    def _rows(self) -> None:
        """P4, P20: each row shows its own job's manifest and nothing else; what is gone was deleted."""
        wrong, seen, texts = list[str](), set[str](), 0
        for desk in self._desks:
            with desk.book.lock:
                columns, (last, _) = columns_of(desk.sheet), desk.sheet.data_extent()
                for number in range(1, last):
                    shown = {name: desk.sheet.cell(number, column) for name, column in columns.items()}
                    texts += sum(bool(cell.formatted) for cell in shown.values())
                    self.found.blame("P20", unfit(number, shown))
                    prompt = str(shown["Prompt"].formatted)
                    row = self._record.rows.get(prompt)
                    if row is None:
                        if LINK.search(str(shown["Output URL"].formatted)):
                            wrong.append(f"a row that is nobody's shows an output: {shown['Output URL'].formatted}")
                        continue
                    if prompt in seen:
                        wrong.append(f"the row “{prompt}” is there twice")
                    seen.add(prompt)
                    wrong += self._row(row, shown, desk.book.time_zone)
        gone = [row for row in self._record.rows.values() if row.prompt not in seen]
        wrong += [f"the row “{row.prompt}” is gone, and nobody deleted it" for row in gone if not row.is_deleted]
        self.found.blame("P4", wrong)
        self.found.tally += Tally(unexpected=len(wrong))
        figures = self.found.figures
        figures["rows compared with their manifest (P4)"] = len(seen)
        self._gone = [row for row in gone if row.is_deleted]
        figures["cell texts read (P20)"] = texts

    def _row(self, row: Row, shown: Mapping[str, Any], time_zone: str) -> list[str]:
        key = str(shown["Job ID"].formatted)
        if key not in row.keys:
            return [f"the row “{row.prompt}” carries the Job ID {key or 'none'}, which is not its own"]
        job = self.jobs.get(_ids(row, [key])[0])
        if job is None:
            return [f"the row “{row.prompt}” says {shown['Status'].formatted}; its job was never accepted"]
        texts = {header: shown_text(cell) for header, cell in shown.items()}
        wrong = [f"“{row.prompt}” has {sentence}" for sentence in differences(job, texts, time_zone)]
        pictures = texts["Output URL"] + texts["Preview"]
        if job.state is State.SUCCEEDED and texts["Output URL"].startswith("http") and shown["Preview"].image_url:
            self._shown[job.job_id] = Shown(texts["Output URL"], str(shown["Preview"].image_url))
        if job.state is not State.SUCCEEDED and LINK.search(pictures):
            wrong.append(f"the row “{row.prompt}” shows an output; its job {job.job_id} is {job.state}")
        return wrong

    def _deleted(self) -> None:
        """P13: the API still gives the results of rows that were deleted."""
        ids = {job_id for row in self._gone for job_id in row.job_ids}
        made = [job for job_id in ids if (job := self.jobs.get(job_id)) and job.state is State.SUCCEEDED]
        for job in made:
            self.found.blame("P13", unfetchable(self._farm, job))
        if not made:
            self.found.unjudged.append("P13 (no row with a result was deleted)")
        self.found.figures["rows deleted, results of theirs fetched (P13)"] = f"{len(self._gone)}, {len(made)}"

    # -- files --------------------------------------------------------------------------------------------------

    def _files(self) -> None:
        """P16: all links of jobs that succeeded, as rows show them, lead to what was recorded, and to pictures."""
        made = [job for job in self.jobs.values() if job.state is State.SUCCEEDED]
        with ThreadPoolExecutor(3) as pool:
            wrong = [
                sentence
                for sentences in pool.map(lambda job: misleading(job, self._shown.get(job.job_id)), made)
                for sentence in sentences
            ]
        self.found.blame("P16", wrong)
        self.found.tally += Tally(unexpected=len(wrong))
        outputs = [output for job in made for output in job.outputs]
        pictures = sum(output.thumbnail_key is not None for output in outputs)
        self.found.figures["links followed, to files and to pictures (P16)"] = f"{len(outputs)}, {pictures}"
        self.found.figures["of them as rows show them"] = len(self._shown)

    def _cancelled(self) -> None:
        """P8: what was cancelled with a 200 stays cancelled, and no row ever showed its output."""
        ids = self._record.cancelled
        linked = {job_id for desk in self._desks for job_id in desk.linked_at}
        wrong = [each for each in ids if each in self.jobs and self.jobs[each].state is not State.CANCELED]
        self.found.blame(
            "P8", [f"job {each} was cancelled with a 200 and is {self.jobs[each].state}" for each in wrong]
        )
        never = {job.job_id for job in self.jobs.values() if job.state is not State.SUCCEEDED}
        self.found.blame(
            "P8", [f"a row once showed an output of job {each}, which has none" for each in linked & never]
        )
        if not ids:
            self.found.unjudged.append("P8's answers (no program's cancellation was answered with 200)")
        self.found.figures["cancelled with a 200, by programs (P8)"] = len(ids)

    # -- messages -----------------------------------------------------------------------------------------------

    def _messages(self) -> None:
        """P10: the malformed messages lie in the dead-letter queue, all of them and nothing else."""
        sent, letters = self._record.malformed, Letters(self._farm)
        self.found.figures["the last malformed message buried after s"] = letters.wait(sent)
        self.found.figures["malformed messages, buried (P10)"] = f"{len(sent)}, {len(letters.bodies)}"
        self.found.blame("P10", letters.breaches(sent))
        if not sent:
            self.found.unjudged.append("P10 (no malformed message was sent)")

    # -- times --------------------------------------------------------------------------------------------------

    def _lags(self) -> None:
        """P11: from the commit to the cell."""
        calls = tuple(self._farm.world.server.sheets.log.calls)
        refused = sum(not 200 <= call.status < 300 for call in calls)
        self.found.figures["calls to Google: all, refused or dropped"] = f"{len(calls)}, {refused}"
        waits = Waits(self._record.storm)
        for desk in self._desks:
            for job_id, at in desk.linked_at.items():
                job = self.jobs.get(job_id)
                if job is not None and job.finished_at is not None:
                    waits.add(job.finished_at / 1000, at)
        self.found.figures |= waits.figures()
        self.found.blame("P11", waits.breaches())
        self.found.unjudged.append(UNJUDGED)

    def _gpu(self, meters: Sequence[Path]) -> None:
        """P15: nothing runs after its end; and the share of GPU time that no committed result came from."""
        used, figures = usage(meters, self.jobs), self.found.figures
        figures["GPU seconds: all, of cancelled jobs, wasted"] = (
            f"{used.total_s:.1f}, {used.cancelled_s:.1f}, {used.wasted_s:.1f}"
        )
        figures["wasted share % (P15)"] = used.wasted_percent
        figures["jobs that ran on a GPU more than once"] = sum(count > 1 for count in used.runs.values())
        broken = sum(self._record.done[blow] for blow in (Blow.KILL, Blow.FREEZE, Blow.COMFY, Blow.PARTITION))
        figures["runs that came to nothing, and times that something was broken"] = f"{used.wasted_runs}, {broken}"
        self.found.blame("P15", breaches(used, broken))
        self.found.unjudged += unjudged(used)
        self.found.blame("P10", [f"a GPU ran {each}, which is no job's" for each in used.strange])


def _ids(row: Row, keys: Iterable[str]) -> list[str]:
    return [job_id for key, job_id in zip(row.keys, row.job_ids, strict=True) if key in set(keys)]
