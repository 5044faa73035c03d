"""Change the deployed functions under running jobs, and take all workers away and bring them back (P18, P19)."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import ExitStack
from typing import Any, Final
from uuid import uuid4

from chalicelib.contract.states import State
from faults.desk import Desk
from faults.farm import Asked, Farm
from faults.report import Outcome, Tally, rank
from faults.scenario import Scenario, Size
from infra.functions import API, COMPLETION, SWEEP
from sandbox.waiting import wait_until

STAGE: Final = "local"
COUNT: Final = {Size.CI: 6, Size.ALL: 40}
AWAY_S: Final = {Size.CI: 1.0, Size.ALL: 30.0}
ENDINGS: Final = {
    "Job Completed": State.SUCCEEDED,
    "Job Failed": State.FAILED,
    "Job Cancelled": State.CANCELED,
}


class Ear:
    """Listen to the bus: a rule of its own, and a queue behind it."""

    def __init__(self, farm: Farm) -> None:
        session = farm.world.cloud.session()
        self._events: Any = session.client("events")
        self._sqs: Any = farm.sqs
        self._bus, self._name = farm.outputs["BusName"], f"ear-{uuid4().hex[:8]}"
        self.url = self._sqs.create_queue(QueueName=self._name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        pattern = json.dumps({"source": ["comfyui.monitor"]})
        self._events.put_rule(Name=self._name, EventBusName=self._bus, EventPattern=pattern)
        self._events.put_targets(Rule=self._name, EventBusName=self._bus, Targets=[{"Id": "1", "Arn": arn}])
        self.heard: list[dict[str, Any]] = []

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self._events.remove_targets(Rule=self._name, EventBusName=self._bus, Ids=["1"])
        self._events.delete_rule(Name=self._name, EventBusName=self._bus)
        self._sqs.delete_queue(QueueUrl=self.url)

    def listen(self) -> list[dict[str, Any]]:
        """Take what there is; all that was heard so far, in the order in which it came."""
        while True:
            got = self._sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            messages = got.get("Messages", [])
            if not messages:
                return self.heard
            for message in messages:
                self.heard.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])


def changed(farm: Farm, size: Size) -> Outcome:
    """Jobs wait without any worker; functions are replaced while they render; workers go and come back."""
    wrong: list[str] = []
    with ExitStack() as stack:
        ear = stack.enter_context(Ear(farm))
        desk = Desk(farm, "changed")
        stack.callback(desk.close)
        asked = [farm.insist(farm.ask(steps=20)) for _ in range(COUNT[size])]
        desk.render(COUNT[size] // 2, Steps="20")
        wait_until(lambda: False, AWAY_S[size])
        first = farm.worker()
        wait_until(lambda: any(_is(farm, one, State.RUNNING) for one in asked), 30, 0.05)
        replaced_s = _replace_functions(farm, wrong)
        asked += [farm.insist(farm.ask(steps=20)) for _ in range(2)]
        first.stop()
        left = sum(not _is(farm, one, State.SUCCEEDED) for one in asked)
        wait_until(lambda: False, AWAY_S[size])
        second = farm.worker()
        begun = time.monotonic()
        if not farm.all_ended(asked, 120) or not desk.all_ended(120):
            wrong.append("not all has ended after 120 s")
        took_s = time.monotonic() - begun
        second.stop()
        ids = [one.job_id for one in asked] + [job.job_id for job in desk.jobs().values()]
        wrong += _events(farm, ear, ids)
        verdict = desk.judge()
        heard = len(ear.heard)
    tally, breaches = farm.judge(asked)
    rows = Tally(verdict.jobs, verdict.jobs, lost=verdict.lost_rows, unexpected=verdict.wrong_rows)
    figures: dict[str, float | int | str] = {
        "functions replaced": 3,
        "a replaced function answers after s": rank(replaced_s, 1),
        "jobs left when the workers were gone": left,
        "all done after they came back s": round(took_s, 1),
        "events": heard,
    }
    return Outcome(tally + rows, figures, (*wrong, *breaches, *verdict.sentences))


def _is(farm: Farm, one: Asked, state: State) -> bool:
    job = farm.job(one)
    return job is not None and job.state is state


def _replace_functions(farm: Farm, wrong: list[str]) -> list[float]:
    """
    Change each function's configuration: its next call is a cold start, and the calls that run end with the old one.
    """
    client: Any = farm.world.cloud.session().client("lambda")
    took = []
    for function in (API, COMPLETION, SWEEP):
        name = function.name(STAGE)
        known = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        changed = {**known, "REPLACED_AT": str(time.time_ns())}
        client.update_function_configuration(FunctionName=name, Environment={"Variables": changed})
    begun = time.monotonic()
    answer = farm.call("GET", "/api/v2/jobs", timeout_s=60)
    took.append(time.monotonic() - begun)
    if answer.status_code != 200:
        wrong.append(f"the replaced API answers {answer.status_code}: {answer.text[:200]}")
    return took


def _events(farm: Farm, ear: Ear, ids: list[str]) -> list[str]:
    """
    Of each job the version never goes down from one event to the next; who keeps the highest is right in the end.

    The order of arrival is not EventBridge's promise, so that of the same moment's events counts by their timestamp.
    """

    def all_told() -> bool:
        told = {each["detail"].get("job_id") for each in ear.listen() if each["detail-type"] in ENDINGS}
        return set(ids) <= told

    wrong = [] if wait_until(all_told, 30, 0.5) else ["the bus was not told of every end"]
    of_job: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in ear.heard:
        of_job[event["detail"].get("job_id", "")].append(event)
    for job in farm.ledger.get_many(ids):
        events = of_job[job.job_id]
        last = max(events, key=lambda each: int(each["detail"]["version"]), default=None)
        if last is None or ENDINGS.get(last["detail-type"]) is not job.state:
            wrong.append(f"who keeps the highest version of {job.job_id} is wrong: {last and last['detail-type']}")
        by_worker = [each["detail"] for each in events if "worker" in each["detail"]]
        versions = [int(each["version"]) for each in sorted(by_worker, key=lambda each: str(each["timestamp"]))]
        if versions != sorted(versions):
            wrong.append(f"the versions of {job.job_id} go down: {versions}")
        endings = {int(each["detail"]["version"]) for each in events if each["detail-type"] in ENDINGS}
        if len(endings) != 1:
            wrong.append(f"{job.job_id} ended in several versions: {endings}")
    return wrong


SCENARIOS = (
    Scenario(
        "F3",
        "functions are replaced under running jobs; all workers go and come back",
        ("P1", "P18", "P19"),
        changed,
        in_ci=False,
    ),
)
