"""
How a job lies in the table: every release reads what the one before it wrote, so the form of an item is pinned here.
"""

from __future__ import annotations

import pytest

from chalicelib.contract.job import Job, JobError, Progress, Target, Timings
from chalicelib.contract.states import State
from chalicelib.ledger.item import Attributes, document, due_shard, item_of, job_of, made_at_of, place_of, value_of
from tests.jobs import NOW, new_job, output

HOUR_MS = 3_600_000


def full_job() -> Job:
    """Make a job that has something in every field."""
    return new_job(
        job_id="0000000a-0000-5000-8000-000000000000",
        job_key="row-1",
        state=State.RUNNING,
        version=4,
        attempt=2,
        budget_left=1,
        given_back=1,
        seq=3,
        submit_token="s",
        inputs={"prompt": "ein Fuchs 🦊", "seed": 2**64 - 1, "cfg": 7.5, "none": None},
        templates={"prompt": "ein {Tier}"},
        target=Target(spreadsheet_id="sheet-1", sheet_id=7, prompt_hash="p"),
        priority=-5,
        tags=("a", "b"),
        metadata={"shot": "12"},
        key_id="key-1",
        batch_id="batch-1",
        retry_of="job-0",
        webhook_url="https://example.org/hook",
        link_base="https://example.org/v1",
        not_before=NOW + 1,
        started_at=NOW + 2,
        finished_at=NOW + 3,
        owner="worker-1",
        claim_token="t1",
        lease_until=NOW + 4,
        phase="rendering",
        progress=Progress(fraction=0.25, step=5, steps=20),
        outputs=(output(),),
        committed_attempt=2,
        error=JobError(code="x", text="It broke."),
        last_error=JobError(code="y", text="It broke before.", hint="Wait."),
        timings=Timings(execution_ms=7),
        spent_ms=9,
        synced_version=3,
    )


def test_an_item_has_the_form_that_other_releases_read() -> None:
    """Numbers as numbers (indexes sort by them), texts as they are, nested values as short JSON without nulls."""
    made = {
        "key": "outputs/client-1/x/1/0-abcdef12.png",
        "filename": "x_00001_.png",
        "content_type": "image/png",
        "size_bytes": 3,
        "sha256": "a" * 64,
        "node": "9",
        "kind": "image",
        "width_px": 64,
        "height_px": 64,
        "is_animated": False,
    }
    numbers = {
        "version": 4,
        "attempt": 2,
        "budget_left": 1,
        "given_back": 1,
        "seq": 3,
        "priority": -5,
        "created_at": NOW,
        "enqueued_at": NOW,
        "deadline": NOW + 24 * HOUR_MS,
        "not_before": NOW + 1,
        "due_at": NOW + HOUR_MS // 12,
        "started_at": NOW + 2,
        "finished_at": NOW + 3,
        "lease_until": NOW + 4,
        "committed_attempt": 2,
        "spent_ms": 9,
        "synced_version": 3,
    }
    texts = {
        "job_id": "0000000a-0000-5000-8000-000000000000",
        "client_id": "client-1",
        "job_key": "row-1",
        "state": "running",
        "submit_token": "s",
        "workflow_id": "empty-color",
        "workflow_hash": "0" * 64,
        "input_hash": "h" * 32,
        "key_id": "key-1",
        "batch_id": "batch-1",
        "retry_of": "job-0",
        "webhook_url": "https://example.org/hook",
        "link_base": "https://example.org/v1",
        "view_token": "v" * 22,
        "owner": "worker-1",
        "claim_token": "t1",
        "phase": "rendering",
        "inputs": '{"prompt":"ein Fuchs 🦊","seed":18446744073709551615,"cfg":7.5,"none":null}',
        "templates": '{"prompt":"ein {Tier}"}',
        "target": '{"spreadsheet_id":"sheet-1","sheet_id":7,"prompt_hash":"p"}',
        "tags": '["a","b"]',
        "metadata": '{"shot":"12"}',
        "progress": '{"fraction":0.25,"nodes_done":0,"nodes_total":0,"step":5,"steps":20}',
        "outputs": document([made]),
        "error": '{"code":"x","text":"It broke.","hint":""}',
        "last_error": '{"code":"y","text":"It broke before.","hint":"Wait."}',
        "timings": '{"execution_ms":7}',
    }
    indexes = {"sheet": "sheet-1", "dirty_sheet": "sheet-1", "due_shard": "2", "line": "client-1", "place": "0"}
    expected: Attributes = {name: {"N": str(number)} for name, number in numbers.items()}
    expected |= {name: {"S": text} for name, text in (texts | indexes).items()}
    assert item_of(full_job()) == expected


def test_a_job_with_something_in_every_field_reads_back() -> None:
    """What only the table knows (index keys, the day on which it goes) is no part of the job."""
    job = full_job()
    assert all(getattr(job, name) != field.default for name, field in Job.model_fields.items())
    assert job_of(item_of(job) | {"ttl": {"N": "1"}}) == job


def test_what_is_not_there_takes_no_attribute() -> None:
    """A sparse index holds an item only while its key is there: shown, ended and never due again means none."""
    ended = new_job(state=State.FAILED, version=3, synced_version=3, due_at=None, target=None)
    item = item_of(ended)
    assert not {"dirty_sheet", "due_shard", "due_at", "line", "place", "target", "owner", "error"} & item.keys()
    assert job_of(item) == ended
    assert "dirty_sheet" in item_of(ended.model_copy(update={"synced_version": 2}))


def test_jobs_without_a_row_are_spread_over_words_that_name_no_sheet() -> None:
    """By the first two letters of their id, behind a dash."""
    item = item_of(new_job(job_id="ab345678-0000-5000-8000-000000000000", target=None))
    assert item["sheet"] == item["dirty_sheet"] == {"S": "-ab"}


def test_the_sweepers_index_is_spread_evenly() -> None:
    """Over four partitions, by the first eight digits of the id and by nothing else."""
    ids = [f"{number:08x}-0000-5000-8000-000000000000" for number in (0, 1, 2, 3, 4, 0x7FFFFFFF)]
    assert [due_shard(each) for each in ids] == ["0", "1", "2", "3", "0", "3"]


def test_the_held_are_sorted_by_priority_then_age() -> None:
    """As texts, for an index sorts texts; all stand behind what was sent, and each says when it was made."""
    fields = {"seq": 0, "job_id": "ab345678-0000-5000-8000-000000000000"}
    places = [
        place_of(new_job(**fields, priority=100, now=NOW)),
        place_of(new_job(**fields, priority=9, now=5)),
        place_of(new_job(**fields, now=NOW - 1)),
        place_of(new_job(**fields, now=NOW)),
        place_of(new_job(**fields, priority=-100, now=1)),
    ]
    assert places == sorted(places)
    assert places[0] == "1#000#1800000000000#ab345678-0000-5000-8000-000000000000"
    assert places[-1] == "1#200#0000000000001#ab345678-0000-5000-8000-000000000000"
    assert [made_at_of(place) for place in places] == [NOW, 5, NOW - 1, NOW, 1]
    assert place_of(new_job()) == "0" < places[0]


@pytest.mark.parametrize(("value", "kind"), [(True, "bool"), (None, "NoneType")])
def test_the_table_keeps_no_yes_and_no_nothing(value: object, kind: str) -> None:
    """A move that would set one is a mistake of ours, and says which field."""
    with pytest.raises(TypeError, match=f"^phase: the ledger keeps no {kind}$"):
        value_of("phase", value)


@pytest.mark.parametrize(("value", "kept"), [(5, {"N": "5"}), (State.QUEUED, {"S": "queued"}), ("ü", {"S": "ü"})])
def test_a_value_is_kept_by_its_kind(value: object, kept: dict[str, str]) -> None:
    """A whole number, a word of the table, a text."""
    assert value_of("phase", value) == kept
