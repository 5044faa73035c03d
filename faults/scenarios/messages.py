"""Do to messages what a queue may do, and put what nobody can read among them."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

from chalicelib.contract.events import Ended, Hint, JobMessage
from faults.farm import TENANT, Asked, Farm
from faults.lines import Lines
from faults.report import Outcome
from faults.scenario import Scenario, Size
from sandbox.apps_script_run import Selection
from sandbox.example import header_columns
from sandbox.waiting import wait_until

COPIES: Final = 3


def repeated(farm: Farm, size: Size) -> Outcome:
    """
    Deliver each job's message four times in any order, half of them outdated by a newer one, and all of them once more
    when the jobs are over ("a day later").
    """
    dice = random.Random(7)
    count = 12 if size is Size.CI else 60
    asked = [farm.insist(farm.ask(steps=2)) for _ in range(count)]
    bodies = [_body(one, 1) for one in asked for _ in range(COPIES)]
    for one in asked[::2]:
        job = farm.job(one)
        seq = farm.ledger.resend(job, now=_now_ms()) if job else None
        bodies += [_body(one, seq or 1) for _ in range(COPIES)]
    dice.shuffle(bodies)
    _send_jobs(farm, bodies)
    with Lines(farm) as lines:
        workers = [lines.worker(), lines.worker()]
        farm.all_ended(asked, patience_s=60 + 3 * count)
        ended = {one.job_id: farm.job(one) for one in asked}
        runs = lines.gpu_runs()
        dice.shuffle(bodies)
        _send_jobs(farm, [*bodies, *(_body(one, 9) for one in asked)])
        drained = wait_until(lambda: _waiting(farm, "JobsQueueUrl") == 0, patience_s=60)
        replayed_runs = lines.gpu_runs() - runs
        alive = [worker.process.poll() is None for worker in workers]
    tally, wrong = farm.judge(asked)
    moved = [one.job_id for one in asked if _core(farm.job(one)) != _core(ended[one.job_id])]
    wrong += [f"job {job_id} changed after its end" for job_id in moved]
    wrong += [] if runs == count else [f"{count} jobs made {runs} GPU runs"]
    wrong += [f"messages of jobs that were over made {replayed_runs} GPU runs"] if replayed_runs else []
    wrong += [] if drained else ["messages of jobs that are over stay in the queue"]
    wrong += [] if all(alive) else ["a worker ended"]
    figures: dict[str, float | int | str] = {
        "messages": 2 * len(bodies) + 2 * count,
        "GPU runs per job": f"{runs}/{count}",
        "after the end": replayed_runs,
        "attempts burnt": tally.again,
    }
    return Outcome(tally, figures, tuple(wrong))


def hints_repeated(farm: Farm, size: Size) -> Outcome:
    """Hint at every version of every row, also those to come, in any order and again when all is shown: rows stay."""
    dice = random.Random(7)
    count = 4 if size is Size.CI else 10
    rows = _Rows(farm, count)
    job_ids = rows.generate()
    hints = [Hint(job_id=job_id, version=version) for job_id in job_ids for version in (1, 2, 3, 4) for _ in range(2)]
    dice.shuffle(hints)
    half = len(hints) // 2
    worker = farm.worker()
    _send_news(farm, rows.spreadsheet_id, hints[:half])
    shown = wait_until(lambda: rows.statuses() == ["done"] * count, patience_s=60 + 3 * count)
    before, writes = rows.cells(), farm.world.book.version
    ends = [Ended(ended=job_id, client_id="sandbox") for job_id in job_ids for _ in range(2)]
    late: list[Hint | Ended] = [*hints, *ends]
    dice.shuffle(late)
    _send_news(farm, rows.spreadsheet_id, late)
    drained = wait_until(lambda: _waiting(farm, "CompletionsQueueUrl") == 0, patience_s=60)
    worker.stop()
    wrong = [] if shown else [f"rows show {Counter(rows.statuses())}"]
    wrong += [] if drained else ["news stays in the queue"]
    wrong += [] if rows.cells() == before else ["late news changed rows"]
    figures: dict[str, float | int | str] = {
        "rows": count,
        "hints": half + len(late),
        "changes of the sheet by late hints": farm.world.book.version - writes,
    }
    return Outcome(figures=figures, wrong=tuple(wrong))


def _core(job: Any) -> Any:
    """Give what a job's end has fixed."""
    return (job.state, job.version, job.attempt, job.outputs, job.finished_at, job.error) if job else None


def _body(asked: Asked, seq: int) -> str:
    return JobMessage(job_id=asked.job_id, seq=seq).model_dump_json()


def _send_jobs(farm: Farm, bodies: Sequence[str]) -> None:
    for body in bodies:
        farm.sqs.send_message(QueueUrl=farm.outputs["JobsQueueUrl"], MessageBody=body, MessageGroupId=TENANT)


def _send_news(farm: Farm, group: str, news: Sequence[Hint | Ended]) -> None:
    for each in news:
        farm.sqs.send_message(
            QueueUrl=farm.outputs["CompletionsQueueUrl"],
            MessageBody=each.model_dump_json(),
            MessageGroupId=group,
            MessageDeduplicationId=uuid4().hex,
        )


def _waiting(farm: Farm, queue: str) -> int:
    """Count the messages of a queue, hidden ones too."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = farm.sqs.get_queue_attributes(QueueUrl=farm.outputs[queue], AttributeNames=names)["Attributes"]
    return sum(int(told[name]) for name in names)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class _Rows:
    """Be rows at the end of the world's sheet."""

    def __init__(self, farm: Farm, count: int) -> None:
        self._book, self._project = farm.world.book, farm.world.project
        self._farm = farm
        self._sheet = self._book.sheets[0]
        self.spreadsheet_id = self._book.spreadsheet_id
        first, _ = self._sheet.data_extent()
        self._rows = range(first, first + count)

    def generate(self) -> list[str]:
        """Type the rows and press the menu; their jobs' ids."""
        columns = header_columns(self._sheet)
        small = {"Workflow": "txt2img-sdxl", "Steps": "2", "Width": "64", "Height": "64"}
        with self._book.editing("person"):
            for row in self._rows:
                for header, value in {"Prompt": f"hint {row}", **small}.items():
                    self._sheet.enter(row, columns[header], value)
        self._project.run("generateSelectedRows", Selection(self._sheet.gid, ((self._rows[0], 0, self._rows[-1], 0),)))
        keys = [self._text(row, "Job ID") for row in self._rows]
        return [Asked(key, "sandbox", {}).job_id for key in keys]

    def statuses(self) -> list[str]:
        return [self._text(row, "Status") for row in self._rows]

    def cells(self) -> list[list[str]]:
        columns = header_columns(self._sheet)
        return [[self._text(row, header) for header in columns] for row in self._rows]

    def _text(self, row: int, header: str) -> str:
        return str(self._sheet.cell(row, header_columns(self._sheet)[header]).formatted)


# -- what nobody can read -------------------------------------------------------------------------------------------


def _garbled() -> list[str]:
    """List bodies that are no message of ours."""
    known = "00000000-0000-4000-8000-000000000000"
    return [
        '{{"job_id": "{}", "seq": {}}}'.format(known, "9" * 3_000),
        "not json",
        "{",
        "[]",
        "null",
        "7",
        '"text"',
        "{}",
        json.dumps({"job_id": known}),
        json.dumps({"seq": 1}),
        json.dumps({"job_id": 5, "seq": 1}),
        json.dumps({"job_id": "x", "seq": 1}),
        json.dumps({"job_id": known, "seq": "1"}),
        json.dumps({"job_id": known, "seq": 0}),
        json.dumps({"job_id": known, "seq": -1}),
        json.dumps({"job_id": known, "seq": 1.5}),
        json.dumps({"job_id": known, "seq": True}),
        json.dumps({"job_id": known, "seq": 1, "v": 99}),
        json.dumps({"job_id": known[:-1] + "\0", "seq": None}),
        f'{{"job_id": "{known[:-1]}\\ud800", "seq": 1}}',
        f'{{"job_id": "{known}", "seq": NaN}}',
        f'{{"job_id": "{known}", "seq": 1e999}}',
        '{{"job_id": "{}", "seq": {}}}'.format(known, "9" * 200_000),
        "[" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "\ufeff" + json.dumps({"job_id": known, "seq": 1}),
        json.dumps({"job_id": known, "seq": 1}) + " trailing",
        "x" * 1_048_576,
    ]


def malformed(farm: Farm, size: Size) -> Outcome:
    """Put unreadable messages among readable ones into all three queues that functions and workers read."""
    wrong: list[str] = []
    bodies = _garbled()[:: 3 if size is Size.CI else 1]
    before = {name: _waiting(farm, name) for name in _LETTERS.values()}
    unknown = [JobMessage(job_id=str(uuid4()), seq=1).model_dump_json() for _ in range(2)]
    sent = [*bodies, *unknown]
    _send_jobs(farm, sent)
    if size is Size.CI:
        _receive_twice(farm, len(sent))
    asked = [farm.insist(farm.ask(steps=2)) for _ in range(6)]
    group = farm.world.book.spreadsheet_id
    for queue in ("CompletionsQueueUrl", "DeliveriesQueueUrl"):
        for body in bodies:
            farm.sqs.send_message(
                QueueUrl=farm.outputs[queue],
                MessageBody=body,
                MessageGroupId=group,
                MessageDeduplicationId=uuid4().hex,
            )
    begun = time.monotonic()
    with Lines(farm) as lines:
        worker = lines.worker()
        ended = farm.all_ended(asked)
        others_s = time.monotonic() - begun
        meant = {"JobsDeadLettersUrl": len(sent), **dict.fromkeys(_LETTERS.values(), len(bodies))}
        meant["JobsDeadLettersUrl"] = len(sent)
        patience_s = 100 if size is Size.CI else 200
        wait_until(
            lambda: all(_waiting(farm, name) - before[name] >= least for name, least in meant.items()), patience_s
        )
        runs = lines.gpu_runs()
        wrong += [] if worker.process.poll() is None else ["a worker ended"]
    letters = {name: _waiting(farm, name) - before[name] for name in _LETTERS.values()}
    tally, breaches = farm.judge(asked)
    wrong += breaches
    wrong += [] if ended else ["jobs behind unreadable messages did not end"]
    wrong += [
        f"of {least} unreadable messages {letters[name]} are in {name}"
        for name, least in meant.items()
        if letters[name] != least
    ]
    wrong += [] if runs == len(asked) else [f"{len(asked)} jobs made {runs} GPU runs"]
    wrong += [f"no alarm looks at {name}" for name in _unwatched(farm)]
    figures: dict[str, float | int | str] = {
        "unreadable": len(sent) + 2 * len(bodies),
        "dead letters": sum(letters.values()),
        "GPU runs": f"{runs}/{len(asked)}",
        "readable ones done after s": round(others_s, 1),
    }
    for name in _LETTERS.values():
        farm.sqs.purge_queue(QueueUrl=farm.outputs[name])
    return Outcome(tally, figures, tuple(wrong))


_LETTERS: Final = {
    "JobsQueueUrl": "JobsDeadLettersUrl",
    "CompletionsQueueUrl": "CompletionsDeadLettersUrl",
    "DeliveriesQueueUrl": "DeliveriesDeadLettersUrl",
}


def _receive_twice(farm: Farm, count: int) -> None:
    """Be two workers of other versions, who could not read them either: the third buries them."""
    for _ in range(2):
        receipts: dict[str, str] = {}
        while len(receipts) < count:
            got = farm.sqs.receive_message(
                QueueUrl=farm.outputs["JobsQueueUrl"], MaxNumberOfMessages=10, VisibilityTimeout=60
            ).get("Messages", [])
            receipts |= {each["MessageId"]: each["ReceiptHandle"] for each in got}
            if not got:
                break
        for receipt in receipts.values():
            farm.sqs.change_message_visibility(
                QueueUrl=farm.outputs["JobsQueueUrl"], ReceiptHandle=receipt, VisibilityTimeout=0
            )


def _unwatched(farm: Farm) -> list[str]:
    """List the dead-letter queues whose length no alarm looks at."""
    alarms = farm.world.cloud.session().client("cloudwatch").describe_alarms()["MetricAlarms"]
    watched = {
        dimension["Value"]
        for alarm in alarms
        if alarm.get("MetricName") == "ApproximateNumberOfMessagesVisible"
        for dimension in alarm.get("Dimensions", [])
    }
    return [name for name in _LETTERS.values() if farm.outputs[name].rsplit("/", 1)[1] not in watched]


SCENARIOS = (
    Scenario("F7", "messages come again, in any order, and when all is over", ("P7", "P12", "P15"), repeated),
    Scenario("F7", "hints come in any order, and when all is shown", ("P12",), hints_repeated),
    Scenario("F14", "messages that nobody can read", ("P1", "P10"), malformed),
)
