"""A client's list of jobs: newest first, filtered, page by page."""

from __future__ import annotations

from typing import Any

import pytest
from comfy_sdk.jobs import JobSummary as SdkSummary

from chalicelib.contract.ports import Spot
from chalicelib.contract.states import State
from chalicelib.job_list import LOOKED_AT_MOST
from tests.jobs import NOW, new_job, target
from tests.program_fakes import ProgramDesk


def desk_with(*jobs: dict[str, Any]) -> ProgramDesk:
    """Hold jobs of the client studio, each a second after the one before."""
    desk = ProgramDesk()
    for number, fields in enumerate(jobs):
        plain = {"client_id": "studio", "job_key": f"j{number}", "now": NOW + number * 1000, "target": None}
        desk.ledger.submit(new_job(**(plain | fields)))
    return desk


def listed(desk: ProgramDesk, **query: str) -> list[dict[str, Any]]:
    """List all pages."""
    found: list[dict[str, Any]] = []
    while True:
        answer = desk.ask("listJobs", query=query)
        assert answer.status == 200, answer.body
        found += answer.body["jobs"]
        if "next_cursor" not in answer.body:
            return found
        query["cursor"] = answer.body["next_cursor"]


def keys(desk: ProgramDesk, **query: str) -> list[str]:
    return [desk.job(item["id"]).job_key for item in listed(desk, **query)]


def test_jobs_come_newest_first_and_page_by_page() -> None:
    """Every page size gives the same list; the last page has no cursor."""
    desk = desk_with(*[{} for _ in range(7)])
    desk.ledger.submit(new_job(client_id="rival"))
    newest_first = [f"j{number}" for number in reversed(range(7))]
    for limit in ("1", "2", "3", "7", "100"):
        assert keys(desk, limit=limit) == newest_first, limit


def test_jobs_of_one_moment_are_each_listed_once() -> None:
    """Many are made in the same millisecond: a page may end between them."""
    desk = desk_with(*[{"now": NOW} for _ in range(25)])
    assert len(set(keys(desk, limit="4"))) == 25 == len(keys(desk, limit="4"))


def test_filters_go_together() -> None:
    """Status, workflow, tag, sheet, batch, time and labels; each leaves out what it does not name."""
    desk = desk_with(
        {"tags": ("night",), "metadata": {"run": "7", "who": "x"}},
        {"workflow_id": "raw", "batch_id": "b-1"},
        {"target": target("sheet-5")},
        {"state": State.FAILED, "tags": ("night", "day")},
    )
    assert keys(desk, tag="night") == ["j3", "j0"]
    assert keys(desk, tag="night", status="failed,canceled") == ["j3"]
    assert keys(desk, status="canceling") == []
    assert keys(desk, workflow="RAW") == ["j1"] == keys(desk, batch="b-1")
    assert keys(desk, sheet="sheet-5") == ["j2"]
    assert keys(desk, **{"metadata[run]": "7"}) == ["j0"]
    assert keys(desk, **{"metadata[run]": "7", "metadata[who]": "y"}) == []


def test_times_bound_the_list_and_are_left_out_themselves() -> None:
    """After and before, with any offset, to the millisecond."""
    desk = desk_with(*[{} for _ in range(4)])
    stamps = [item["create_time"] for item in reversed(listed(desk))]
    assert keys(desk, created_after=stamps[1]) == ["j3", "j2"]
    assert keys(desk, created_before=stamps[1]) == ["j0"]
    assert keys(desk, created_after=stamps[0], created_before=stamps[3]) == ["j2", "j1"]
    assert keys(desk, created_after=stamps[3]) == []
    assert keys(desk, created_after=stamps[1].replace("Z", "+00:00")) == ["j3", "j2"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"status": "done"}, "bad_request"),
        ({"limit": "0"}, "bad_request"),
        ({"limit": "101"}, "bad_request"),
        ({"limit": "x"}, "bad_request"),
        ({"created_after": "yesterday"}, "bad_request"),
        ({"created_after": "2026-01-01T00:00:00"}, "bad_request"),
        ({"stauts": "queued"}, "bad_request"),
        ({"cursor": "x"}, "invalid_cursor"),
        ({"cursor": ""}, "invalid_cursor"),
        ({"cursor": "é"}, "invalid_cursor"),
        ({"cursor": "MS54"}, "invalid_cursor"),
        ({"metadata[]": "x"}, "invalid_metadata_filter"),
        ({f"metadata[{n}]": "x" for n in range(17)}, "invalid_metadata_filter"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query: dict[str, str], code: str) -> None:
    """With v2's codes where it has them."""
    answer = ProgramDesk().ask("listJobs", query=query)
    assert (answer.status, answer.body["error"]["code"]) == (400, code)


def test_a_cursor_of_another_client_shows_nothing_of_his() -> None:
    """It names a place in time; the list is always the caller's own."""
    desk = desk_with(*[{} for _ in range(3)])
    desk.ledger.submit(new_job(client_id="rival", job_key="his", now=NOW - 5))
    cursor = desk.ask("listJobs", query={"limit": "1"}).body["next_cursor"]
    page = desk.ask("listJobs", key="b", query={"cursor": cursor}).body["jobs"]
    assert [desk.job(item["id"]).job_key for item in page] == ["his"]


def test_one_call_looks_at_a_bounded_number_of_jobs() -> None:
    """Of very many that do not match, a page is empty and goes on where it stopped; all are found in the end."""
    desk = desk_with({"tags": ("rare",)}, *[{} for _ in range(LOOKED_AT_MOST + 50)])
    looked: list[int] = []
    of_client = desk.ledger.of_client

    def counted(*args: Any, **options: Any) -> list[Spot]:
        found = of_client(*args, **options)
        looked.append(len(found))
        return found

    desk.ledger.of_client = counted  # type: ignore[method-assign]
    first = desk.ask("listJobs", query={"tag": "rare"}).body
    assert first["jobs"] == [] and sum(looked) == LOOKED_AT_MOST
    assert keys(desk, tag="rare") == ["j0"]


def test_a_page_fits_a_lambdas_answer() -> None:
    """Items of the largest size end a page early."""
    label = "\U0001f98a" * 256
    heavy = {"metadata": {f"{number:02}": label for number in range(16)}, "tags": tuple(label[:64] for _ in range(20))}
    desk = desk_with(*[heavy for _ in range(150)])
    page = desk.ask("listJobs", query={"limit": "100"}).body
    assert 10 < len(page["jobs"]) < 100 and page["next_cursor"]
    assert len(listed(desk, limit="100")) == 150


def test_comfy_sdk_reads_an_item_of_the_list() -> None:
    """The official client's own reader takes it, labels and times included."""
    item = listed(desk_with({"metadata": {"run": "7"}}))[0]
    summary = SdkSummary._from_item(item)
    assert (summary.status, summary.metadata) == ("queued", {"run": "7"})
    assert summary.create_time is not None and summary.update_time is not None
