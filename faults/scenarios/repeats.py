"""Ask twice, many times at once, with another body, and after an answer that got lost: one key is one job (P2, P3)."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from uuid import uuid4

import requests

from chalicelib.contract.job import job_id_of
from chalicelib.contract.states import State
from faults.farm import Asked, Farm
from faults.report import Outcome, rank
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until

AT_ONCE: Final = {Size.CI: 10, Size.ALL: 50}
KEYS: Final = {Size.CI: 1, Size.ALL: 10}
LOST: Final = {Size.CI: 4, Size.ALL: 60}
CLIENT: Final = "repeats"
TRIES: Final = 60
"""How often one of them asks again when it is told to wait, as a program does."""


def same_key(farm: Farm, size: Size) -> Outcome:
    """Many threads with one key; then another body; then answers that never arrive."""
    worker, wrong = farm.worker(), list[str]()
    terms = {"scopes": "read submit", "rate_per_s": "1000", "burst": "5000"}
    headers = {"Authorization": f"Bearer {farm.world.keys.maker.new_api(CLIENT, terms)}"}
    body = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "once", "steps": 4, "width": 64, "height": 64}}
    statuses: Counter[int] = Counter()
    asked: list[Asked] = []
    waits_s: list[float] = []
    try:
        for number in range(KEYS[size]):
            one = Asked(str(uuid4()), CLIENT, {**body, "tags": [f"storm-{number}"]})
            begun = time.monotonic()
            with ThreadPoolExecutor(AT_ONCE[size]) as pool:
                answers = list(pool.map(lambda _, one=one: _insist(farm, one, headers, statuses), range(AT_ONCE[size])))
            waits_s.append(time.monotonic() - begun)
            ids = {answer["id"] for answer in answers if answer}
            if ids != {one.job_id} or None in answers:
                wrong.append(
                    f"{AT_ONCE[size]} requests with one key were answered with {ids} ({answers.count(None)} without)"
                )
            wrong += _refuses_another(farm, one, headers)
            asked.append(one)
        asked += _lost_answers(farm, body, headers, LOST[size], wrong)
        if not farm.all_ended(asked, 120):
            wrong.append("not every job has ended after 120 s")
        wrong += _made_once(farm, asked, headers)
    finally:
        worker.stop()
    tally, breaches = farm.judge(asked)
    return Outcome(
        tally,
        {
            "threads with one key": AT_ONCE[size],
            "keys": KEYS[size],
            "answers": ", ".join(f"{status}×{count}" for status, count in sorted(statuses.items())),
            "all answered p50 s": rank(waits_s, 0.5),
            "answers lost and asked again": LOST[size],
        },
        (*wrong, *breaches),
    )


def _insist(farm: Farm, one: Asked, headers: dict[str, str], statuses: Counter[int]) -> dict[str, str] | None:
    """Ask until the answer is a yes, waiting when told to."""
    for attempt in range(TRIES):
        try:
            answer = requests.post(
                f"{farm.world.cloud.api_url}/api/v2/jobs",
                json=one.body,
                headers={**headers, "Idempotency-Key": one.key},
                timeout=60,
            )
        except requests.RequestException:
            continue
        statuses[answer.status_code] += 1
        if answer.ok:
            one.status = answer.status_code
            one.answers.append(answer.json())
            return {"id": answer.json()["id"]}
        if answer.status_code not in (429, 500, 502, 503):
            return None
        # As a program does that is told to wait: longer each time, and not all at once.
        wait_until(lambda: False, random.uniform(0.5, 1.0) * min(4, 1 + attempt))
    return None


def _refuses_another(farm: Farm, one: Asked, headers: dict[str, str]) -> list[str]:
    """The same key with another body is refused, with a sentence, and changes nothing."""
    other = {**one.body, "inputs": {**one.body["inputs"], "prompt": "twice"}}
    before = farm.ledger.get(one.job_id)
    answer = requests.post(
        f"{farm.world.cloud.api_url}/api/v2/jobs",
        json=other,
        headers={**headers, "Idempotency-Key": one.key},
        timeout=60,
    )
    after = farm.ledger.get(one.job_id)
    same = before is not None and after is not None and before.inputs == after.inputs
    if answer.status_code != 422 or answer.json()["error"]["code"] != "idempotency_key_reuse" or not same:
        return [f"one key with another body was answered {answer.status_code}: {answer.text[:200]}"]
    return []


def _lost_answers(
    farm: Farm, body: Mapping[str, object], headers: dict[str, str], count: int, wrong: list[str]
) -> list[Asked]:
    """Hang up before each answer arrives; ask again with the same key."""
    asked = []
    for number in range(count):
        one = Asked(str(uuid4()), CLIENT, {**body, "tags": [f"lost-{number}"]})
        url = f"{farm.world.cloud.api_url}/api/v2/jobs"
        try:
            requests.post(url, json=one.body, headers={**headers, "Idempotency-Key": one.key}, timeout=(5, 0.004))
            wrong.append("an answer arrived that should have been lost")
        except requests.RequestException:
            pass
        # Now and then the first one is done by then, now and then both are under way at once.
        if number % 2:
            wait_until(lambda known=one: farm.ledger.get(known.job_id) is not None, 3, 0.02)  # type: ignore[misc]
        if _insist(farm, one, headers, Counter()) is None:
            wrong.append(f"key {one.key} was not accepted when it was asked again")
        asked.append(one)
    return asked


def _made_once(farm: Farm, asked: list[Asked], headers: dict[str, str]) -> list[str]:
    """Each key has one job in the list of its tag, rendered in one attempt."""
    wrong = []
    for one in asked:
        [tag] = one.body["tags"]
        url = f"{farm.world.cloud.api_url}/api/v2/jobs"
        listed = requests.get(url, params={"tag": tag}, headers=headers, timeout=60).json()
        ids = [job["id"] for job in listed["jobs"]]
        job = farm.ledger.get(job_id_of(CLIENT, one.key))
        if ids != [one.job_id]:
            wrong.append(f"key {one.key} has the jobs {ids}")
        if job is not None and job.state is State.SUCCEEDED and job.attempt != 1:
            wrong.append(f"job {job.job_id} was rendered {job.attempt} times")
    return wrong


SCENARIOS = (Scenario("F16", "many threads with one key, another body, lost answers", ("P2", "P3"), same_key),)
