"""The judges of files and of submissions: whole files, pictures in cells, and no verdict on nothing."""

from __future__ import annotations

import hashlib
from io import BytesIO
from types import SimpleNamespace

import pytest

from chalicelib.contract.job import Job, Output, job_id_of, output_prefix
from chalicelib.contract.states import State
from faults.farm import TENANT, Asked, Farm
from faults.files import small_picture, unlike_record
from tests.jobs import new_job


class Case:
    """Hold one job that succeeded, with a file and a thumbnail of its own in the bucket."""

    def __init__(self) -> None:
        body = small_picture()
        self.asked = Asked("key", TENANT, {}, status=201)
        own = output_prefix(TENANT, job_id_of(TENANT, "key"), 2)
        self.file, self.small = f"{own}0-a.png", f"{own}0-thumb.png"
        self.bucket = {self.file: body, self.small: body}
        self.output = Output(
            key=self.file, filename="a.png", content_type="image/png", size_bytes=len(body), node="9", kind="image",
            sha256=hashlib.sha256(body).hexdigest(), thumbnail_key=self.small, thumbnail_type="image/png",
        )  # fmt: skip

    def job(self, **output: object) -> Job:
        job = new_job(job_key="key", client_id=TENANT, state=State.SUCCEEDED, attempt=2)
        outputs = (self.output.model_copy(update=output),)
        return job.model_copy(update={"committed_attempt": 2, "outputs": outputs})

    def breaches(self, **output: object) -> list[str]:
        return unlike_record(self.job(**output), self.bucket.__getitem__)


def test_files_and_thumbnails_of_the_job_s_own_are_right() -> None:
    """Also a picture that is its own thumbnail."""
    case = Case()
    assert case.breaches() == [] and case.breaches(thumbnail_key=case.file) == []


def test_a_thumbnail_that_is_no_whole_picture_is_seen() -> None:
    """P16: half of one, or an error page, in the Preview cell."""
    case = Case()
    for body in (case.bucket[case.file][:45], b"<html>no</html>", b""):
        case.bucket[case.small] = body
        assert len(case.breaches()) == 1


def test_a_thumbnail_of_another_attempt_or_none_is_seen() -> None:
    """P4: the Preview cell is a cell like the others; what is no picture needs none."""
    case = Case()
    foreign = case.small.replace("/2/", "/1/")
    case.bucket[foreign] = case.bucket[case.small]
    assert case.breaches(thumbnail_key=foreign) and case.breaches(thumbnail_key=None)
    assert case.breaches(thumbnail_key=None, kind="text") == []


def test_a_file_that_is_not_what_was_recorded_is_seen() -> None:
    """P16."""
    assert Case().breaches(sha256="0" * 64)


class Ledger:
    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.job_id: job for job in jobs}

    def get(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)

    def get_many(self, job_ids: list[str]) -> list[Job]:
        return [self.jobs[job_id] for job_id in job_ids if job_id in self.jobs]


def farm(case: Case, *jobs: Job) -> Farm:
    """Make a farm that has a table and a bucket."""
    made = object.__new__(Farm)
    made.ledger = Ledger(*jobs)  # type: ignore[assignment]
    made.outputs = {"Bucket": "b"}
    made.s3 = SimpleNamespace(get_object=lambda Bucket, Key: {"Body": BytesIO(case.bucket[Key])})
    return made


@pytest.mark.parametrize("status", [None, 503])
def test_when_nothing_was_accepted_nothing_was_judged(status: int | None) -> None:
    """P1: an API that refuses or drops everything is no proof of anything."""
    case = Case()
    tally, wrong = farm(case, case.job()).judge([case.asked])
    assert (tally.acknowledged, wrong) == (1, [])
    case.asked.status = status
    assert "none of 1 submissions" in farm(case).judge([case.asked])[1][0]
    assert farm(case).judge([])[1] == []


def test_jobs_that_are_not_there_have_not_ended() -> None:
    """Neither all of them, nor one that was acknowledged."""
    case, unheard = Case(), Asked("other", TENANT, {})
    assert farm(case, case.job()).all_ended([case.asked, unheard], 0.1)
    assert not farm(case).all_ended([case.asked], 0.1) and not farm(case).all_ended([unheard], 0.1)
    unheard.status = 201
    assert not farm(case, case.job()).all_ended([case.asked, unheard], 0.1)
