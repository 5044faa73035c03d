"""Have AWS refuse calls because there are too many: some of them, and all of them for a while."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import requests

from chalicelib.contract.job import QUEUED_LOST_MS
from chalicelib.contract.states import State
from faults.farm import TENANT, Asked, Farm
from faults.lines import STAGE, Lines
from faults.link import Exchange
from faults.orders import Fault, Kind, Match, Order
from faults.report import Outcome, rank
from faults.scenario import Scenario, Size
from faults.throttles import dynamodb_throttled, sqs_away, throttled
from infra.functions import SWEEP
from sandbox.waiting import wait_until

SHARE: Final = 0.3
SERVICES: Final = ("dynamodb", "sqs", "s3")
TRIES: Final = 12
GATEWAY_S: Final = 28.0
"""What the API's function has: API Gateway hangs up after 29."""
PAUSE_MOST_S: Final = 1.0
"""A program waits as Retry-After says; here no longer than this."""


@dataclass
class Told:
    """Gather what people were told instead of yes, and after how long."""

    statuses: Counter[int] = field(default_factory=Counter)
    sentences: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def note(self, answer: requests.Response, took_s: float) -> None:
        """Judge one answer that is no yes: 429 or 503, a sentence, when to come again, and nothing of our insides."""
        self.statuses[answer.status_code] += 1
        self.waits_s.append(took_s)
        try:
            said = str(answer.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = ""
        self.sentences[said] += 1
        is_clear = said.endswith(".") and not any(word in said for word in ("Traceback", "Exception", "botocore"))
        if answer.status_code not in (429, 503) or not is_clear or "Retry-After" not in answer.headers:
            self.wrong.append(f"an answer was {answer.status_code} {answer.text[:200]!r}")


def of_workers(farm: Farm, size: Size) -> Outcome:
    """Refuse three of ten calls of a worker to each service, and all calls to the table for a while."""
    count = 8 if size is Size.CI else 30
    with Lines(farm, seed=17) as lines:
        lines.worker()
        wait_until(lambda: lines.aws.counts["sqs ReceiveMessage"] > 0)
        some = {service: lines.aws.order(throttled(f"{service} *", service, share=SHARE)) for service in SERVICES}
        asked = [farm.ask(steps=4) for _ in range(count)]
        farm.all_ended(asked, patience_s=60 + 3 * count)
        runs = lines.gpu_runs()
        log = [each for each in lines.aws.log if each.name != "sqs ReceiveMessage"]
        lines.clear()
        outage = lines.aws.order(dynamodb_throttled(Match(name="dynamodb *")))
        later = [farm.ask(steps=4)]
        threading.Event().wait(3)
        outage.lift()
        farm.all_ended(later, patience_s=60)
        tally, wrong = farm.judge([*asked, *later])
    wrong += _never_refused({**some, "dynamodb, for a while,": outage})
    wrong += [] if runs == count else [f"{count} jobs made {runs} GPU runs"]
    figures: dict[str, float | int | str] = {
        "jobs": count + 1,
        **_refused(log),
        "attempts burnt": tally.again,
        "GPU runs per job": f"{runs}/{count}",
    }
    return Outcome(tally, figures, tuple(wrong))


def of_functions(farm: Farm, size: Size) -> Outcome:
    """
    Refuse three of ten calls of all functions, then all to the table, then all to SQS; a program asks again with the
    same key for as long as it is told to. What was accepted while SQS was away is sent when another job ends, or by the
    sweeper.
    """
    count = 5 if size is Size.CI else 30
    told, functions = Told(), farm.functions
    farm.ask_again(first := Asked(str(uuid4()), TENANT, _body()))  # a cold start is not what is measured
    mark = len(functions.log)
    some = [functions.order(throttled(f"{service} *", service, share=SHARE)) for service in SERVICES]
    asked = [_insist(farm, told) for _ in range(count)]
    log = functions.log[mark:]
    functions.clear()
    outage = functions.order(dynamodb_throttled(Match(name="dynamodb *")))
    away = Asked(str(uuid4()), TENANT, _body())
    _ask(farm, away, told)
    outage.lift()
    _insist(farm, told, away)
    sent_away = functions.order(sqs_away(Match(name="sqs *")))
    # Of a client of their own: beyond a client's window jobs are held, and nothing is sent.
    unsent = [_insist(farm, told, Asked(str(uuid4()), f"unsent-{uuid4().hex[:8]}", _body())) for _ in range(3)]
    functions.clear()
    silent = _unanswered(farm, told) if size is Size.ALL else []
    worker = farm.worker()
    every = [first, *asked, away, *unsent, *silent]
    # A message that SQS refused three times in a row is lost, too: whoever still waits then has none.
    wait_until(lambda: _queued(farm, every) <= len(unsent), patience_s=20 + count)
    still = _queued(farm, every)
    _sweep(farm, every)
    farm.all_ended(every)
    worker.stop()
    tally, wrong = farm.judge(every)
    wrong += told.wrong
    # So few calls to SQS may all go through; of all calls together three of ten are refused.
    wrong += _never_refused({"dynamodb, for a while,": outage, "sqs, for a while,": sent_away})
    wrong += [] if any(order.fired for order in some) else ["AWS refused no call of the functions: nothing was proven"]
    wrong += [f"job {one.job_id} was never accepted" for one in every if not one.is_acknowledged]
    figures: dict[str, float | int | str] = {
        "jobs": len(every),
        **_refused(log),
        "answers that were no yes": ", ".join(f"{status}: {times}" for status, times in sorted(told.statuses.items())),
        "told": " | ".join(sorted(told.sentences)),
        "until told s max": rank(told.waits_s, 1) if told.waits_s else "-",
        "lost messages made good by the sweeper": still,
    }
    return Outcome(tally, figures, tuple(wrong))


def _refused(log: Sequence[Exchange]) -> dict[str, float | int | str]:
    """Say how many calls were made, how many refused, and how many it took for one that went through."""
    refused = sum(Kind.ANSWER in each.faults for each in log)
    through = max(1, len(log) - refused)
    return {"calls": len(log), "refused": refused, "calls per call that went through": round(len(log) / through, 2)}


def _never_refused(orders: Mapping[str, Order]) -> list[str]:
    """Tell which of these refused nothing."""
    return [f"{name} refused no call: nothing was proven" for name, order in orders.items() if not order.fired]


def _body() -> dict[str, Any]:
    return {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "a fox", "steps": 4, "width": 64, "height": 64}}


def _insist(farm: Farm, told: Told, asked: Asked | None = None) -> Asked:
    """Ask until the answer is yes, as a program does that is told to come again."""
    asked = asked or Asked(str(uuid4()), TENANT, _body())
    for _ in range(TRIES):
        pause_s = _ask(farm, asked, told)
        if asked.is_acknowledged:
            break
        threading.Event().wait(pause_s)
    return asked


def _ask(farm: Farm, asked: Asked, told: Told) -> float:
    """Ask once; how long to wait before the next time."""
    headers = {"Authorization": f"Bearer {farm.token(asked.client)}", "Idempotency-Key": asked.key}
    begun = time.monotonic()
    answer = requests.post(f"{farm.world.cloud.api_url}/api/v2/jobs", json=asked.body, headers=headers, timeout=40)
    asked.status = answer.status_code
    if asked.is_acknowledged:
        asked.answers.append(answer.json())
        return 0.0
    told.note(answer, time.monotonic() - begun)
    return min(PAUSE_MOST_S, float(answer.headers.get("Retry-After", "1")))


def _unanswered(farm: Farm, told: Told) -> list[Asked]:
    """Ask while the table swallows what it is asked, until API Gateway's own 29 s; then what was held arrives late."""
    asked = []
    for _ in range(2):
        one = Asked(str(uuid4()), TENANT, _body())
        silence = farm.functions.order(Fault(Kind.BLACK_HOLE, Match(name="dynamodb *")))
        begun = time.monotonic()
        _ask(farm, one, told)
        if time.monotonic() - begun > GATEWAY_S:
            told.wrong.append(f"the API said nothing for {time.monotonic() - begun:.0f} s when its table was silent")
        silence.lift()
        asked.append(_insist(farm, told, one))
    return asked


def _queued(farm: Farm, asked: Sequence[Asked]) -> int:
    return sum(job.state is State.QUEUED for job in farm.ledger.get_many([one.job_id for one in asked]))


def _sweep(farm: Farm, asked: Sequence[Asked]) -> None:
    """Let the minutes pass after which the message of a waiting job counts as lost, and the sweeper come by."""
    session = farm.world.cloud.session()
    for one in asked:
        job = farm.job(one)
        if job is None or job.state is not State.QUEUED:
            continue
        session.client("dynamodb").update_item(
            TableName=farm.outputs["JobsTable"],
            Key={"job_id": {"S": job.job_id}},
            UpdateExpression="SET enqueued_at = :then, due_at = :then",
            ExpressionAttributeValues={":then": {"N": str(job.enqueued_at - QUEUED_LOST_MS - 1000)}},
        )
    session.client("lambda").invoke(FunctionName=SWEEP.name(STAGE), Payload=b"{}")


SCENARIOS = (
    Scenario("F17", "AWS refuses a worker's calls", ("P1", "P15", "P18"), of_workers),
    Scenario("F17", "AWS refuses the functions' calls", ("P1", "P2", "P18", "P20"), of_functions),
)
