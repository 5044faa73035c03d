"""Compare all that was promised in a run with what is there in the end."""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from chalicelib.cells import cells_of
from chalicelib.contract.job import Job, output_prefix
from chalicelib.contract.states import TERMINAL, State
from chalicelib.links import output_link
from faults.desk import columns_of
from faults.farm import Farm
from faults.report import Tally, rank
from faults.soak.cells import agrees, shown_text, unfit
from faults.soak.crowd import SoakDesk
from faults.soak.gpu import usage
from faults.soak.record import Record, Row
from faults.soak.watch import Body, Bus, States
from faults.strays import LINK

SHOWN_WITHIN_S: Final = 10.0
RIGHT_WITHIN_S: Final = 300.0
"""After a storm every row is right within five minutes (P11)."""


@dataclass
class Finding:
    """Hold what was found: breaches by promise, and figures."""

    wrong: list[tuple[str, str]] = field(default_factory=list)
    figures: dict[str, float | int | str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def blame(self, promise: str, sentences: Iterable[str]) -> None:
        """Note breaches of a promise."""
        self.wrong += [(promise, sentence) for sentence in sentences]


class Judge:
    """Judge one run that has become quiet."""

    def __init__(self, farm: Farm, record: Record, desks: Sequence[SoakDesk]) -> None:
        self._farm = farm
        self._record = record
        self._desks = desks
        self.jobs = {job.job_id: job for job in farm.ledger.get_many(record.job_ids())}
        self.found = Finding()

    def judge(self, states: States, bus: Bus, oldest: Body | None, meters: Sequence[Path]) -> Finding:
        """Look at everything."""
        parts: tuple[Callable[[], None], ...] = (
            self._jobs_ended, self._same_answers, self._rows, self._files, self._cancelled, self._messages, self._lags,
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
        """P4, P13, P20: each row shows its own job's manifest and nothing else; the deleted ones are accounted for."""
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
        figures["rows deleted, their jobs accounted for (P13)"] = len([row for row in gone if row.is_deleted])
        figures["cell texts read (P20)"] = texts

    def _row(self, row: Row, shown: Mapping[str, Any], time_zone: str) -> list[str]:
        key = str(shown["Job ID"].formatted)
        if key not in row.keys:
            return [f"the row “{row.prompt}” carries the Job ID {key or 'none'}, which is not its own"]
        job = self.jobs.get(_ids(row, [key])[0])
        if job is None:
            return [f"the row “{row.prompt}” says {shown['Status'].formatted}; its job was never accepted"]
        wanted = cells_of(job, time_zone)
        names = {"status": "Status", "output_url": "Output URL", "preview": "Preview", "seed": "Seed", "error": "Error"}
        wrong = [
            f"“{row.prompt}” has “{shown_text(shown[header])}” as {header}; job {job.job_id} ({job.state}): {cell}"
            for name, header in names.items()
            if (cell := wanted.get(name)) is not None and not agrees(shown[header], cell)
        ]
        if job.state is not State.SUCCEEDED and LINK.search(str(shown["Output URL"].formatted)):
            wrong.append(f"the row “{row.prompt}” shows an output of job {job.job_id}, which is {job.state}")
        return wrong

    # -- files --------------------------------------------------------------------------------------------------

    def _files(self) -> None:
        """P16: every link of a job that succeeded leads to a file of the recorded size and hash, of its own attempt."""
        made = [job for job in self.jobs.values() if job.state is State.SUCCEEDED]
        with ThreadPoolExecutor(3) as pool:
            wrong = [sentence for sentences in pool.map(self._links, made) for sentence in sentences]
        self.found.blame("P16", wrong)
        self.found.tally += Tally(unexpected=len(wrong))
        self.found.figures["links followed (P16)"] = sum(len(job.outputs) for job in made)

    def _links(self, job: Job) -> list[str]:
        wrong = []
        own = output_prefix(job.client_id, job.job_id, job.committed_attempt or 0)
        if not job.outputs:
            wrong.append(f"job {job.job_id} succeeded without an output")
        for number, output in enumerate(job.outputs):
            if not output.key.startswith(own):
                wrong.append(f"job {job.job_id} shows a file of another attempt: {output.key}")
            answer = _followed(output_link(job, number))
            if answer.status_code != 200:
                wrong.append(f"a link of job {job.job_id} is answered {answer.status_code}")
            elif (len(answer.content), hashlib.sha256(answer.content).hexdigest()) != (
                output.size_bytes,
                output.sha256,
            ):
                wrong.append(f"a link of job {job.job_id} does not lead to the file that was recorded")
        return wrong

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
        self.found.figures["cancelled with a 200, by programs (P8)"] = len(ids)

    # -- messages -----------------------------------------------------------------------------------------------

    def _messages(self) -> None:
        """P10: the malformed messages lie in the dead-letter queue, all of them and nothing else."""
        bodies = _drain(self._farm, self._farm.outputs["JobsDeadLettersUrl"])
        sent, there = Counter(self._record.malformed), Counter(bodies)
        self.found.figures["malformed messages, buried (P10)"] = f"{len(self._record.malformed)}, {len(bodies)}"
        # A message may be delivered, and so buried, more than once.
        self.found.blame(
            "P10", [f"a malformed message is not in the dead-letter queue: {b[:60]}" for b in sent - there]
        )
        self.found.blame(
            "P10", [f"a message of ours is in the dead-letter queue: {b[:90]}" for b in set(there) - set(sent)]
        )

    # -- times --------------------------------------------------------------------------------------------------

    def _lags(self) -> None:
        """P11: from the commit to the cell, the storm's own rows apart."""
        begun, ended = self._record.storm or (0.0, 0.0)
        usual, stormy = list[float](), list[float]()
        for desk in self._desks:
            for job_id, at in desk.linked_at.items():
                job = self.jobs.get(job_id)
                if job is None or job.finished_at is None:
                    continue
                finished = job.finished_at / 1000
                if begun - SHOWN_WITHIN_S <= finished <= ended:
                    stormy.append(max(0.0, at - ended))
                else:
                    usual.append(max(0.0, at - finished))
        figures = self.found.figures
        if usual:
            three = (rank(usual, 0.5), rank(usual, 0.95), rank(usual, 0.99))
            figures["commit to cell s: p50, p95, p99, max (n)"] = (
                f"{three[0]}, {three[1]}, {three[2]}, {rank(usual, 1)} ({len(usual)})"
            )
        if stormy:
            figures["right after the storm's end s: max (n)"] = f"{rank(stormy, 1)} ({len(stormy)})"
            if max(stormy) > RIGHT_WITHIN_S:
                self.found.blame("P11", [f"a row was right only {max(stormy):.0f} s after the storm"])

    def _gpu(self, meters: Sequence[Path]) -> None:
        """P15: nothing runs after its end; and the share of GPU time that no committed result came from."""
        used, figures = usage(meters, self.jobs), self.found.figures
        figures["GPU seconds: all, of cancelled jobs, wasted"] = (
            f"{used.total_s:.1f}, {used.cancelled_s:.1f}, {used.wasted_s:.1f}"
        )
        figures["wasted share % (P15)"] = used.wasted_percent
        figures["jobs that ran on a GPU more than once"] = sum(count > 1 for count in used.runs.values())
        self.found.blame("P15", [f"a GPU ran job {each} after it had ended" for each in used.late])
        self.found.blame("P10", [f"a GPU ran {each}, which is no job's" for each in used.strange])


def _ids(row: Row, keys: Iterable[str]) -> list[str]:
    return [job_id for key, job_id in zip(row.keys, row.job_ids, strict=True) if key in set(keys)]


def _followed(link: str) -> requests.Response:
    """Follow a link as a browser does; a call that is turned away, for there are too many, comes again."""
    for pause_s in (0.5, 1, 2, 4, 8):
        answer = requests.get(link, timeout=60)
        if answer.status_code < 500 and answer.status_code != 429:
            return answer
        threading.Event().wait(pause_s)
    return requests.get(link, timeout=60)


def _drain(farm: Farm, queue: str) -> list[str]:
    bodies = list[str]()
    while True:
        answer = farm.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        messages = answer.get("Messages", [])
        if not messages:
            return bodies
        for message in messages:
            bodies.append(message["Body"])
            farm.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
