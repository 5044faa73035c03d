"""Compare the rows of a spreadsheet with the ledger: the right cells beside the right prompt, and no end lost (P4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chalicelib.cells import ROW_CHANGED
from chalicelib.contract.job import Job
from chalicelib.contract.states import CELL_WORD, State
from faults.cells import differences
from faults.strays import LINK, bare


@dataclass
class Verdict:
    """Hold what the rows of a spreadsheet show in the end, against the ledger."""

    jobs: int = 0
    wrong_rows: int = 0
    """Rows that show another job's output, or one for another prompt."""
    lost_rows: int = 0
    """Ended jobs that no row shows."""
    sentences: list[str] = field(default_factory=list)

    def blame(self, sentence: str) -> None:
        """Note a breach."""
        self.sentences.append(sentence)


@dataclass(frozen=True)
class Look:
    """Hold what a spreadsheet shows at one moment: its rows as texts by header, and those of copied tabs."""

    title: str
    time_zone: str
    lines: Sequence[Mapping[str, str]]
    copies: Sequence[Mapping[str, str]] = ()
    peoples: Counter[str] = field(default_factory=Counter)
    """How many bare rows with an output people left behind (`faults.strays`), by job id."""


def judged(look: Look, jobs: Mapping[str, Job], *, by_people: bool) -> Verdict:
    """
    Judge the rows; *jobs*: all that were ever bound to one, by Job ID.

    *by_people*: people wrote into our own cells and took back what they did; what they left is theirs, and only the
    outputs are looked at. In a copy that people made of a tab nothing is wrong; but what it shows is not lost.
    """
    by_id = {job.job_id: job for job in jobs.values()}
    verdict, peoples = Verdict(jobs=len(jobs)), Counter(look.peoples)
    for line in look.lines:
        wrong = _foreign(line, by_id)
        own = jobs.get(line.get("Job ID", ""))
        if own is not None and not (wrong or by_people or _is_changed(line, own)):
            wrong = differences(own, line, look.time_zone)
        stray = bare(line)
        if wrong and stray is not None and peoples[stray] > 0:
            peoples[stray] -= 1
            continue
        verdict.wrong_rows += bool(wrong)
        for sentence in wrong:
            verdict.blame(f"{look.title}: the row “{line.get('Prompt')}” shows {sentence}")
    shown = {job_id for line in [*look.lines, *look.copies] for job_id in _ends(line, jobs, by_id)}
    for key, job in jobs.items():
        if job.job_id not in shown:
            verdict.lost_rows += 1
            seen = [
                (line.get("Prompt"), line.get("Status"), line.get("Error"))
                for line in look.lines
                if line.get("Job ID") == key
            ]
            verdict.blame(f"{look.title}: no row shows the end of {job.job_id} ({job.state}); of it: {seen}")
    return verdict


def _ends(line: Mapping[str, str], jobs: Mapping[str, Job], by_id: Mapping[str, Job]) -> list[str]:
    """Name the jobs whose end a row shows. In a copied tab the column Prompt may have another name, or none."""
    found = []
    link = LINK.search(line.get("Output URL", ""))
    if link is not None and ("Prompt" not in line or _shows(line, by_id.get(link[1]))):
        found.append(link[1])
    own = jobs.get(line.get("Job ID", ""))
    if own is None:
        return found
    is_told = own.state is not State.SUCCEEDED and line.get("Status") == CELL_WORD[own.state]
    return [*found, own.job_id] if is_told or _is_changed(line, own) else found


def _shows(line: Mapping[str, str], job: Job | None) -> bool:
    """Say whether a row with the link of *job* is one of its own."""
    return job is not None and job.state is State.SUCCEEDED and job.inputs.get("prompt") == line.get("Prompt")


def _foreign(line: Mapping[str, str], jobs: Mapping[str, Job]) -> list[str]:
    """Name the outputs that a row shows, as link or as picture, though they are none of its prompt's."""
    found = {header: LINK.search(line.get(header, "")) for header in ("Output URL", "Preview")}
    return [
        f"the output of {link[1]} as {header}"
        for header, link in found.items()
        if link is not None and not _shows(line, jobs.get(link[1]))
    ]


def _is_changed(line: Mapping[str, str], own: Job) -> bool:
    """Say whether a row's Job ID stands beside another prompt now: the row says so, and shows no picture of it."""
    return line.get("Error") == ROW_CHANGED and line.get("Prompt") != own.inputs.get("prompt")
