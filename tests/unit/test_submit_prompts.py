"""Follow a template from what a row or a program sends to the job, the Job object and the results page."""

from __future__ import annotations

from typing import Any

from chalicelib import gallery
from chalicelib.contract.job import Job, job_id_of, prompt_fingerprint
from chalicelib.contract.manifest import Workflow
from chalicelib.job_view import job_view
from chalicelib.ledger.item import item_of, job_of
from chalicelib.prompting.resolve import GivenWildcards
from chalicelib.prompting.wildcards import lines_of
from chalicelib.submit import Row, SheetRequest, Submit
from infra.workflow_files import read_folder
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job
from tests.sheet_fakes import Post

SHIPPED = {workflow.id: workflow for workflow in read_folder()}


class Desk:
    """Accept jobs in memory; a random seed is 42."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        lists = GivenWildcards({"colors": lines_of("red")})
        self.submit = Submit(self.ledger, self, Post(), lambda: NOW, pick_seed=lambda: 42, wildcards=lists)

    def find(self, name: str) -> Workflow:
        return SHIPPED[name]

    def program(self, key: str = "k", **inputs: Any) -> Job:
        job = self.submit.draft("studio", key, "txt2img-sdxl", inputs, "https://host/api")
        return self.submit.accept([job])[0].job

    def row(self, *columns: str, key: str = "k", **inputs: Any) -> Any:
        row = Row(job_key=key, workflow="txt2img-sdxl", inputs=inputs)
        request = SheetRequest(spreadsheet_id="sheet-1", sheet_id=0, rows=[row], columns=list(columns))
        [answer] = self.submit.rows("studio", request, "https://host/api")
        return answer

    def job(self, key: str = "k") -> Job:
        job = self.ledger.get(job_id_of("studio", key))
        assert job is not None
        return job


def test_a_row_is_rendered_with_its_resolved_prompt() -> None:
    """The job holds both; the row is still known by what its cell shows; a column that was put in is not ignored."""
    desk, typed = Desk(), "a __colors__ {{Animal}}{{Style}}"
    answer = desk.row("Prompt", "Animal", "Style", Prompt=typed, Animal="fox", Notes="mine")
    job = desk.job()
    assert answer.result == "accepted" and answer.ignored == ("Notes",)
    assert job.inputs["prompt"] == "a red fox" and job.templates == {"prompt": typed}
    assert job.target is not None and job.target.prompt_hash == prompt_fingerprint(typed)


def test_a_row_that_asks_for_what_is_not_there_is_told_so() -> None:
    """In a sentence for its Error cell; no job is made."""
    desk = Desk()
    answer = desk.row("Prompt", "Animal", Prompt="a {{anmal}}")
    assert (answer.result, answer.code) == ("rejected", "invalid_prompt")
    assert answer.message.endswith("did you mean Animal?")
    assert desk.ledger.get(answer.job_id) is None


def test_a_random_seed_is_drawn_before_the_prompt() -> None:
    """So the seed that is written back gives the same prompt again."""
    desk, typed = Desk(), "{" + "|".join("abcdefghijklmnop") + "}"
    drawn = desk.program(prompt=typed)
    assert drawn.inputs["seed"] == 42
    again = desk.program("again", prompt=typed, seed=42)
    others = {desk.program(f"n{seed}", prompt=typed, seed=seed).inputs["prompt"] for seed in range(20)}
    assert again.inputs["prompt"] == drawn.inputs["prompt"] and len(others) > 3


def test_a_replay_is_known_by_what_was_typed() -> None:
    """The lists and the drawn seed may differ by then."""
    desk, typed = Desk(), "{a|b} __colors__"
    first = desk.program(prompt=typed)
    desk.submit = Submit(
        desk.ledger,
        desk,
        Post(),
        lambda: NOW,
        pick_seed=lambda: 7,
        wildcards=GivenWildcards({"colors": lines_of("blue")}),
    )
    assert desk.program(prompt=typed) == first
    drafted = desk.submit.draft("studio", "k", "txt2img-sdxl", {"prompt": typed}, "https://host/api")
    assert drafted.inputs != first.inputs and drafted.input_hash == first.input_hash


def test_a_job_that_is_made_once_more_keeps_both_texts() -> None:
    """What a column brought is not read again: braces in it are its own."""
    desk = Desk()
    first = desk.program(prompt="a {{Animal}}", Animal="{fox|cat}")
    again = desk.submit.anew(first, "again", "https://host/api")
    assert (again.inputs, again.templates) == (first.inputs, first.templates)
    assert again.inputs["prompt"] == "a {fox|cat}"


def test_a_job_shows_both_texts() -> None:
    """To programs and on the results page, where a template is text and nothing else; the ledger keeps both."""
    typed = "a {<b>|x} {{Animal}}"
    job = new_job(inputs={"prompt": "a <b> fox", "steps": 20}, templates={"prompt": typed})
    assert job_view(job).templates == {"prompt": typed}
    page = gallery.page(job, NOW)
    assert "Typed: <bdi>a {&lt;b&gt;|x} {{Animal}}</bdi>" in page and page.count("Typed:") == 1
    assert job_of(item_of(job)) == job
    old = {name: value for name, value in item_of(new_job()).items() if name != "templates"}
    assert job_of(old).templates == {}
