"""What the operator's verbs show: whole pages at 80 columns, and what scripts get."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError, ProfileNotFound

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import JobError, Progress, Timings
from chalicelib.contract.sheets import Parked, Registration
from chalicelib.contract.states import State
from infra.__main__ import main, parser
from infra.aws_words import sentence
from infra.cost import GROUPS, Bill, add_up
from infra.cost import document as cost_document
from infra.cost import page as cost_page
from infra.dead_letters import Letter, meaning_of
from infra.dlq import listed as letters_listed
from infra.dlq import why
from infra.doctor import lines, summary
from infra.job_page import document as job_document
from infra.job_page import page as job_page
from infra.jobs import listed as jobs_listed
from infra.paper import moment, money, read_span, span, text
from infra.prices import Load, read_prices
from infra.sheets import Sheet
from infra.sheets import listed as sheets_listed
from infra.sheets import page as sheet_page
from infra.stage_checks import FAULT, OK, WARN, Finding
from infra.standing import (
    AlarmStand,
    JobsStand,
    ParkedStand,
    QueueStand,
    Standing,
    UseStand,
    VersionStand,
    WebhookStand,
    WorkerStand,
)
from infra.status import document, repeat, screen
from infra.tail import Line, follow, readable
from tests.jobs import NOW, new_job, output

MINUTE = 60_000
OPERATORS = {"status", "jobs", "tail", "dlq", "sheets", "doctor", "cost", "keys", "outputs"}
ID = "0999bb5e-70de-50af-a875-4e49c05ff925"


def worker(name: str, health: str, *, busy: bool = False, silent_s: int = 10, text: str = "") -> WorkerStand:
    seen_at = moment(NOW - silent_s * 1000) or ""
    return WorkerStand(name, "NVIDIA GeForce RTX 4090", health, text, busy, 1234, seen_at)


WELL = Standing(
    stage="prod",
    at=NOW,
    queues=[QueueStand("jobs", 3, 1, 0, 0), QueueStand("completions", 0, 0, 0, 0)],
    jobs=JobsStand(5, 2, 1, 42_000, True, 4, 0, {"succeeded": 97, "failed": 3, "canceled": 0}),
    workers=[worker("gpu-1", "ok", busy=True), worker("gpu-2", "gone", silent_s=1800)],
    parked=[],
    webhooks_off=[],
    alarms=[],
    today=UseStand(5217.4, 1.0, 0.69),
    version=VersionStand({"api": "ab" * 32, "sweep": "ab" * 32}, True),
)
ILL = replace(
    WELL,
    queues=[QueueStand("jobs", 3, 1, 0, 2)],
    jobs=replace(WELL.jobs, oldest_waits_ms=20 * MINUTE, is_whole=False),
    workers=[worker("gpu-2", "gone", silent_s=1800)],
    parked=[ParkedStand("sheet-1", "studio-a", "Spring [draft]", "Not shared.", NOW - 90 * MINUTE, NOW)],
    webhooks_off=[
        WebhookStand("wh_0123456789abcdef", "studio-a", "example.com", "failing"),
        WebhookStand("wh_fedcba9876543210", "studio-b", "example.org", "switched_off"),
    ],
    alarms=[AlarmStand("comfysheet-prod-sweeper-silent", NOW - 5 * MINUTE, "no data for 3 datapoints")],
    version=VersionStand({"api": "ab" * 32, "sweep": "cd" * 32}, False),
)


def test_a_stage_that_is_well_on_a_screen() -> None:
    """One screen of 80 columns; what there is nothing to say of is left out."""
    assert text(*screen(WELL, None, NOW)) == (
        """\
ComfySheet prod  2027-01-15 08:00:00Z
All is well.

Queue        waiting  in flight  delayed  dead letters
jobs               3          1        0             0
completions        0          0        0             0

Jobs     5 queued (2 held back), 1 running; the oldest has waited 42 s
         last 24 h, of the latest 100: 97 succeeded, 3 failed, 0 canceled
         4 with news to tell, 0 results without a row

Worker  GPU                      State  Jobs done   Heard
gpu-1   NVIDIA GeForce RTX 4090  busy       1,234    10 s
gpu-2   NVIDIA GeForce RTX 4090  gone       1,234  30 min

Today    5,217.4 GPU seconds, $1.00 at $0.69 an hour
Version  package abababababab, as in dist/"""
    )


def test_what_needs_a_person_stands_first() -> None:
    """Each in a sentence with what to type; an endpoint that its owner switched off is shown and is no trouble."""
    shown = text(*screen(ILL, {"failed": 7, "succeeded": 1000}, NOW))
    assert shown.splitlines()[1:8] == [
        "Needs you:",
        "  - Alarm comfysheet-prod-sweeper-silent rings.",
        "  - 2 dead letters of jobs: look with `dlq show jobs`.",
        "  - Sheet Spring [draft] is parked: Not shared.",
        "  - Webhook wh_0123456789abcdef of studio-a (example.com) is off: failing.",
        "  - Jobs wait, the oldest for 20 min, and no worker takes jobs.",
        "  - The functions are of different packages: a deployment was broken off. Deploy again.",
    ]
    assert "5 queued and more (2 held back" in shown and "in the table: 7 failed, 1,000 succeeded" in shown
    assert "wh_fedcba9876543210  studio-b  switched_off  example.org" in shown
    told = document(ILL, None)
    assert len(told["needs_you"]) == 6 and told["parked"][0]["since"] == "2027-01-15T06:30:00.000Z"
    assert document(WELL, {})["needs_you"] == []


def test_a_stage_in_which_nothing_can_work_is_not_well() -> None:
    """A job without a worker is told at once, unless machines come by themselves; so is a missing service account."""
    alone = replace(WELL, workers=[])
    assert alone.troubles() == ["Jobs wait, the oldest for 42 s, and no worker takes jobs."]
    assert replace(alone, rents=True).troubles() == [], "a machine is on its way"
    assert "`google set FILE`" in replace(WELL, lacks_google=True).troubles()[0]
    idle = replace(alone, jobs=replace(WELL.jobs, oldest_waits_ms=None))
    shown = text(*screen(idle, None, NOW))
    assert idle.troubles() == [] and "Nothing rings." in shown and "All is well." not in shown


def test_a_worker_that_takes_no_jobs_says_why() -> None:
    """Below the table, in its own words."""
    closed = replace(WELL, workers=[worker("gpu-3", "closed", text="It takes no jobs now: the disk is full.")])
    assert "\ngpu-3: It takes no jobs now: the disk is full.\n" in text(*screen(closed, None, NOW))


def test_watching_ends_with_the_last_answer() -> None:
    """Ctrl-C ends it; the exit code is that of the last look."""
    answers: Iterator[int] = iter([0, 3])
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            raise KeyboardInterrupt

    assert (repeat(lambda: next(answers), 5.0, wait), waits) == (3, [5.0, 5.0])


def test_jobs_in_a_list() -> None:
    """Ids whole, at 80 columns; below them why some failed."""
    fault = JobError(code="out_of_memory", text="The GPU ran out of memory.", hint="Choose a smaller size.")
    jobs = [
        new_job(job_id=ID, client_id="studio-a", created_at=NOW - 5 * MINUTE, state=State.FAILED, error=fault),
        new_job(job_id="c" * 36, client_id="a-client-with-a-long-name", workflow_id="a-workflow-with-a-name"),
    ]
    assert text(*jobs_listed(jobs, NOW)) == (
        """\
Job                                   State     Age  Client        Workflow
0999bb5e-70de-50af-a875-4e49c05ff925  failed  5 min  studio-a      empty-color
cccccccccccccccccccccccccccccccccccc  queued   0 ms  a-client-wit  a-workflow-wi
                                                     h-a-long-nam  th-a-name
                                                     e

0999bb5e  The GPU ran out of memory. Choose a smaller size."""
    )


def test_a_jobs_page_tells_its_story_without_its_prompt() -> None:
    """Times and how long they were apart, the worker, the error, the row; prompts only when asked for."""
    job = new_job(
        job_id=ID,
        job_key="row-1",
        state=State.RUNNING,
        attempt=2,
        budget_left=1,
        owner="gpu-1",
        started_at=NOW + 3000,
        lease_until=NOW + 60_000,
        claim_token="canary-claim",
        phase="rendering",
        progress=Progress(fraction=0.42),
        last_error=JobError(code="lost", text="The worker fell silent."),
    )
    shown = text(*job_page(job, NOW + 10_000, with_inputs=False))
    for words in (
        "state     running: rendering 42%",
        "started   2027-01-15 08:00:03Z  after 3 s",
        "made         2, 1 left",
        "Last attempt's error\ncode  lost",
        "row   row-1 in the column Job ID; it is behind: this version is not written yet",
        "tab   https://docs.google.com/spreadsheets/d/sheet-1/edit#gid=0",
    ):
        assert words in shown, shown
    assert "a fox" not in shown and '"a fox"' in text(*job_page(job, NOW, with_inputs=True))
    assert "canary" not in str(job_document(job, with_inputs=True))
    held = new_job(seq=0)
    assert "held back until its client's earlier jobs" in text(*job_page(held, NOW, with_inputs=False))


def letter(body: str, **fields: object) -> Letter:
    known = {"id": "l-1", "receipt": "r", "sent_at": NOW, "receives": 21, "group": "", "reason": ""}
    return Letter(body=body, **{**known, **fields})  # type: ignore[arg-type]


def test_dead_letters_in_a_list() -> None:
    """How many, how old, and how they begin; nothing more when there are none."""
    body = f'{{"job_id":"{ID}","seq":3}}'
    found = [("jobs", 12, [letter(body, sent_at=NOW - 3 * 3_600_000)]), ("completions", 0, [])]
    assert text(*letters_listed(found, NOW)) == (
        """\
Queue        Letters  Oldest  They begin with
jobs              12   3.0 h  {"job_id":"0999bb5e-70de-50af-a875-4e49c05f…
completions        0"""
    )
    assert text(*letters_listed([("jobs", 0, [])], NOW)).endswith("There are no dead letters.")


@pytest.mark.parametrize(
    ("queue", "body", "what"),
    [
        ("jobs", f'{{"job_id":"{ID}","seq":3}}', "message 3 of a job"),
        ("jobs", f'{{"job_id":"{ID}","seq":"3"}}', "no message of ours"),
        ("jobs", "\ud800", "no message of ours"),
        ("completions", f'{{"job_id":"{ID}","version":2}}', "news of a job, version 2"),
        ("completions", f'{{"ended":"{ID}","client_id":"a"}}', "the end of a job of a"),
        ("completions", f'{{"check":["{ID}"]}}', "a second look at 1 rows"),
        ("completions", '{"errand":"check","spreadsheet_id":"s1","id":"1"}', "the errand check in spreadsheet s1"),
        ("deliveries", '{"client_id":"a","lane":"wh_1"}', "deliveries to wh_1 of a"),
        ("deliveries", f'{{"job_id":"{ID}","seq":3}}', "no message of ours"),
    ],
)
def test_a_letter_is_understood_by_its_queue(queue: str, body: str, what: str) -> None:
    """Each of our messages, and whatever else lies there."""
    assert meaning_of(queue, body).what == what


def test_why_a_letter_is_there() -> None:
    """What a worker wrote down counts; else that nobody can read it, or whose log to look into."""
    assert why("jobs", letter("x", reason="too long"), meaning_of("jobs", "x")) == "a worker put it there: too long"
    assert "nobody can read it" in why("jobs", letter("x"), meaning_of("jobs", "x"))
    body = '{"client_id":"a","lane":"wh_1"}'
    assert "tail --function delivery" in why("deliveries", letter(body), meaning_of("deliveries", body))


def test_sheets_in_a_list_and_alone() -> None:
    """Who, since when it is parked and why; a title may hold brackets."""
    parked = Parked(reason="Not shared.", since=NOW - 3 * MINUTE, until=NOW + 7 * MINUTE)
    known = Registration(spreadsheet_id="s1", client_id="studio-a", key_id="0123456789ab", title="Spring [draft]")
    sheet = Sheet(known.model_copy(update={"parked": parked, "auto_tabs": (0, 7)}), 12, 90.0, 0.5)
    assert text(*sheets_listed([sheet], NOW)) == (
        """\
Sheet           Client    Key           Auto  Parked  Images today
Spring [draft]  studio-a  0123456789ab     2   3 min            12

Spring [draft] (s1) is parked: Not shared."""
    )
    alone = text(sheet_page(sheet, 3, 1, NOW))
    assert "auto mode              tab 0, tab 7" in alone and "tried again in 7 min" in alone
    assert "12 images, 90.0 GPU seconds, $0.50" in alone


def test_the_cost_adds_up() -> None:
    """By client, dearest first; a thousand images; nothing is said of jobs that have not ended."""
    made = {"state": State.SUCCEEDED, "outputs": (output(),), "timings": Timings(execution_ms=36_000)}
    jobs = [new_job(client_id="a", **made), new_job(client_id="b", **made), new_job(client_id="b", **made), new_job()]
    total, groups = add_up(jobs, GROUPS["client"])
    aws = read_prices().estimate(Load(1, total.jobs, total.files))
    bill = Bill(1, 1.0, total, groups, 1.0, "--price", aws, read_prices())
    shown = text(*cost_page(bill, "client")).splitlines()
    assert shown[:4] == [
        "Client  Jobs  Failed  Images  GPU s  GPU cost",
        "b          2       0       2   72.0     $0.02",
        "a          1       0       1   36.0     $0.01",
        "in all     3       0       3  108.0     $0.03",
    ]
    told = cost_document(bill, "client", NOW)
    assert told["usd_per_1000_images"]["gpu"] == pytest.approx(10.0)
    assert told["aws"]["usd"] == pytest.approx(sum(part["usd"] for part in told["aws"]["parts"]))
    nothing = Bill(7, 7.0, add_up([], GROUPS["sheet"])[0], {}, 1.0, "--price", [], read_prices())
    assert text(*cost_page(nothing, "sheet")) == "No job of the last 7 days has ended."


def test_a_young_stage_costs_what_it_cost_until_now() -> None:
    """Ten minutes and two pictures: a thousand do not carry the alarms and the worker of a week."""
    jobs = [new_job(state=State.SUCCEEDED, outputs=(output(),), timings=Timings(execution_ms=1000))] * 2
    total, groups = add_up(jobs, GROUPS["client"])
    prices, lived = read_prices(), 10 / 1440
    bill = Bill(7, lived, total, groups, 0.69, "--price", prices.estimate(Load(lived, 2, 2, workers=1)), prices)
    told = cost_document(bill, "client", NOW)
    assert 0 < told["usd_per_1000_images"]["total"] < 2
    assert told["aws"]["usd"] == pytest.approx(told["aws"]["standing_usd"] + bill.aws_work_usd)
    page = text(*cost_page(bill, "client"))
    assert "AWS, estimated, 7 days, the stage is 10 min old" in page and "what stands there anyway: $" in page


def test_every_share_has_a_price_and_grows_with_the_load() -> None:
    """Twice the jobs cost twice as much; a day without any costs what a stage that does nothing costs."""
    prices = read_prices()

    def usd(load: Load) -> float:
        return sum(part.usd for part in prices.estimate(load))

    assert usd(Load(0, 2000, 2000)) == pytest.approx(2 * usd(Load(0, 1000, 1000)))
    assert usd(Load(0, 0, 0)) == 0 < usd(Load(1, 0, 0)) < usd(Load(1, 0, 0, workers=1))


def test_a_doctors_findings() -> None:
    """A mark, what was seen, and below it what to do."""
    found = [Finding("stack", OK, "at rest"), Finding("alarms", WARN, "none", "Deploy."), Finding("API", FAULT, "dead")]
    assert text(*lines(found[1])) == "– alarms            none\n                    → Deploy."
    assert summary(found) == "1 thing of 3 must be put right. 1 thing worth a look."
    assert summary(found[:1]) == "All is well."


@pytest.mark.parametrize(
    ("line", "level", "shown"),
    [
        (
            f'{{"level":"WARNING","message":"row parked","action":"parked","job_id":"{ID}","why":"x","cold_start":1}}',
            "WARNING",
            f"08:00:00.000 completion WARNING [parked] {ID} row parked why=x",
        ),
        (
            '{"level":"ERROR","message":"failed","exception":"Traceback (most recent call last):\\nValueError: no"}',
            "ERROR",
            "08:00:00.000 completion ERROR   failed (ValueError: no)",
        ),
        (
            "REPORT RequestId: 1\tDuration: 3 ms",
            "DEBUG",
            "08:00:00.000 completion DEBUG   REPORT RequestId: 1 Duration: 3 ms",
        ),
        ("2027 Task timed out after 60 s", "ERROR", "08:00:00.000 completion ERROR   2027 Task timed out after 60 s"),
        ("[1, 2]", "INFO", "08:00:00.000 completion INFO    [1, 2]"),
    ],
)
def test_a_line_of_a_log(line: str, level: str, shown: str) -> None:
    """Time, function, level, action, job, message and the rest; Lambda's own lines count as DEBUG."""
    read = Line("1", NOW, "completion", line)
    assert (read.level, text(readable(read))) == (level, shown)


class Late:
    """Be logs in which a line turns up after a later one was shown."""

    def __init__(self) -> None:
        self.begins: list[int] = []
        first, late = Line("1", NOW, "api", "one"), Line("2", NOW - 5, "api", "late")
        self._answers = [[first], [late, first], [late, first]]

    def since(self, begin: int) -> list[Line]:
        self.begins.append(begin)
        return self._answers.pop(0)


def test_following_shows_each_line_once_and_waits_for_late_ones() -> None:
    """A line that CloudWatch gives late is shown after all, and none twice."""
    logs, times = Late(), iter([NOW, NOW + 2000, NOW + 4000, NOW + 6000])
    waits: list[float] = []
    shown = []
    with pytest.raises(IndexError):
        for line in follow(logs, NOW - MINUTE, lambda: next(times), waits.append):  # type: ignore[arg-type]
            shown.append(line.text)
    assert shown == ["one", "late"] and len(waits) == 3
    assert logs.begins[:3] == [NOW - MINUTE, NOW - 15_000, NOW - 13_000]


def test_times_and_sums_for_people() -> None:
    """Spans and money in as few words as tell it; a span that makes no sense is told."""
    assert [span(ms) for ms in (850, 12_000, 300_000, 9_000_000, 4 * 86_400_000)] == [
        "850 ms",
        "12 s",
        "5 min",
        "2.5 h",
        "4 d",
    ]
    assert [money(usd) for usd in (0, 0.00078, 1234.5)] == ["$0.00", "$0.00078", "$1,234.50"]
    assert [read_span(words) for words in ("30s", "10m", "1.5h", "2D")] == [30_000, 600_000, 5_400_000, 172_800_000]
    for words in ("soon", "10", "-1h", ""):
        with pytest.raises(Rejected, match="is no length of time"):
            read_span(words)


@pytest.mark.parametrize(
    ("code", "message", "told"),
    [
        (
            "AccessDeniedException",
            "User: x is not authorized to perform: dynamodb:Scan on y",
            "permission dynamodb:Scan",
        ),
        ("AccessDenied", "no", "the permission DescribeThing is missing"),
        ("ExpiredToken", "no", "does not take these credentials (ExpiredToken)"),
        ("ThrottlingException", "no", "AWS is busy (ThrottlingException, DescribeThing). Try again"),
        ("ValidationError", "What is that?", "AWS refused DescribeThing: What is that?"),
    ],
)
def test_what_aws_refuses_is_a_sentence(code: str, message: str, told: str) -> None:
    """With the permission that lacks, as IAM names it where AWS tells."""
    assert told in sentence(ClientError({"Error": {"Code": code, "Message": message}}, "DescribeThing"))
    assert "Check --profile" in sentence(ProfileNotFound(profile="x"))


def _parsers(
    top: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    yield words, top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from _parsers(below, (*words, name))


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Each action's --help prints and ends well, and every option says what it does."""
    known = list(_parsers(parser()))
    assert {words[0] for words, _ in known if words} >= OPERATORS
    for words, each in known:
        with pytest.raises(SystemExit) as end:
            main([*words, "--help"])
        assert end.value.code == 0 and "usage: python -m infra" in capsys.readouterr().out
        if words and words[0] in OPERATORS:
            told = [action for action in each._actions if not isinstance(action, argparse._SubParsersAction)]
            assert all(action.help for action in told), words


def test_what_is_said_before_an_action_counts() -> None:
    """`jobs --stage two show ID` means stage two: an action's own default does not undo it."""
    arguments = parser().parse_args(["jobs", "--stage", "two", "show", ID])
    assert (arguments.stage, arguments.client, arguments.json) == ("two", "", False)
    arguments = parser().parse_args(["jobs", "list", "--stage", "two", "--limit", "3"])
    assert (arguments.stage, arguments.limit, arguments.since) == ("two", 3, "24h")
