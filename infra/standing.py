"""Read how a stage stands, cheaply: from indexes, counters, queue attributes and alarms, never from the whole table."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from chalicelib.contract.states import TERMINAL, State
from chalicelib.farm import Farm
from infra.aws_words import is_denied
from infra.deployed import Deployed, now_ms
from infra.open_jobs import READ_MOST, clients_of, newest_first, read_behind, read_open
from infra.paper import some, span

QUEUES: Final[Mapping[str, tuple[str, str]]] = {
    "jobs": ("JobsQueueUrl", "JobsDeadLettersUrl"),
    "completions": ("CompletionsQueueUrl", "CompletionsDeadLettersUrl"),
    "deliveries": ("DeliveriesQueueUrl", "DeliveriesDeadLettersUrl"),
}
"""Outputs that name each queue and its dead letters."""
_COUNTS: Final = {
    "waiting": "ApproximateNumberOfMessages",
    "in_flight": "ApproximateNumberOfMessagesNotVisible",
    "delayed": "ApproximateNumberOfMessagesDelayed",
}
LATEST: Final = 100
"""Jobs of the last day that are looked at for how they ended."""
_DAY_MS: Final = 24 * 3600 * 1000
_WAITS_LONG_MS: Final = 15 * 60_000
"""A pool that was scaled to nothing has started a machine by then."""


@dataclass(frozen=True)
class QueueStand:
    """Count a queue's messages, about, as SQS does; *dead*: those in its dead letters."""

    name: str
    waiting: int
    in_flight: int
    delayed: int
    dead: int


@dataclass(frozen=True)
class JobsStand:
    """Count jobs. *latest*: how the latest of the last 24 hours ended, by state."""

    queued: int
    held: int
    """How many of the queued are held back behind their client's earlier ones."""
    running: int
    oldest_waits_ms: int | None
    """How long the oldest queued job has waited; None: none waits."""
    is_whole: bool
    """False: there are more open jobs than were looked at."""
    not_told: int
    """Jobs whose news is on its way to a row or a webhook."""
    without_row: int
    """Results whose rows were not found."""
    latest: Mapping[str, int]


@dataclass(frozen=True)
class WorkerStand:
    """Show a worker as its last card had it."""

    name: str
    gpu: str
    health: str
    text: str
    busy: bool
    jobs_done: int
    seen_at: str


@dataclass(frozen=True)
class ParkedStand:
    """Show a spreadsheet whose rows are not written; times are ms since the epoch."""

    spreadsheet_id: str
    client: str
    title: str
    reason: str
    since: int
    until: int


@dataclass(frozen=True)
class WebhookStand:
    """Show an endpoint that is told nothing: switched_off by its owner, gone by its own answer, or failing."""

    webhook_id: str
    client: str
    host: str
    why: str


@dataclass(frozen=True)
class AlarmStand:
    """Show an alarm that rings; *since* in ms since the epoch."""

    name: str
    since: int
    reason: str


@dataclass(frozen=True)
class UseStand:
    """Say what keys used today (UTC); None: there is no price."""

    gpu_s: float
    cost_usd: float | None
    gpu_hour_price: float | None


@dataclass(frozen=True)
class VersionStand:
    """Name the deployed package by its SHA-256; *same_as_dist*: dist/ holds it (None: there is no dist/ here)."""

    functions: Mapping[str, str]
    same_as_dist: bool | None


@dataclass(frozen=True)
class Standing:
    """Hold how a stage stands at one moment (ms since the epoch)."""

    stage: str
    at: int
    queues: Sequence[QueueStand]
    jobs: JobsStand
    workers: Sequence[WorkerStand]
    parked: Sequence[ParkedStand]
    webhooks_off: Sequence[WebhookStand]
    alarms: Sequence[AlarmStand]
    today: UseStand
    version: VersionStand
    rents: bool = False
    """Whether machines are rented as jobs come: then none need be there."""
    lacks_google: bool = False
    """Whether sheets or codes are there, and no service account to write rows with."""

    @property
    def is_served(self) -> bool:
        """Say whether a worker takes jobs."""
        return any(worker.health in ("ok", "late") for worker in self.workers)

    def troubles(self) -> list[str]:
        """Say in sentences what needs a person; empty: nothing."""
        told = [f"Alarm {alarm.name} rings." for alarm in self.alarms]
        told += [
            f"{some(queue.dead, 'dead letter')} of {queue.name}: look with `dlq show {queue.name}`."
            for queue in self.queues
            if queue.dead
        ]
        told += [f"Sheet {sheet.title or sheet.spreadsheet_id} is parked: {sheet.reason}" for sheet in self.parked]
        told += [
            f"Webhook {hook.webhook_id} of {hook.client} ({hook.host}) is off: {hook.why}."
            for hook in self.webhooks_off
            if hook.why != "switched_off"
        ]
        waits_ms = self.jobs.oldest_waits_ms
        if waits_ms is not None and not self.is_served and (not self.rents or waits_ms > _WAITS_LONG_MS):
            told.append(f"Jobs wait, the oldest for {span(waits_ms)}, and no worker takes jobs.")
        if self.lacks_google:
            told.append("No row can be written, for there is no service account: `google set FILE`.")
        if len(set(self.version.functions.values())) > 1:
            told.append("The functions are of different packages: a deployment was broken off. Deploy again.")
        return told


def read_standing(there: Deployed, dist: Path) -> Standing:
    """Read all parts, side by side. Raise what AWS refuses (ClientError), and `Unavailable`."""
    _ = there.outputs, there.functions, there.parameters  # looked up once, before threads share them
    with ThreadPoolExecutor(8) as pool:
        queues = [pool.submit(_queue, there, name) for name in QUEUES]
        jobs, use = pool.submit(_jobs, there), pool.submit(_use, there)
        workers, alarms = pool.submit(_workers, there), pool.submit(_alarms, there)
        lacks_google = pool.submit(_lacks_google, there)
        parked, hooks = pool.submit(_parked, there), pool.submit(_webhooks_off, there)
        return Standing(
            stage=there.stage,
            at=now_ms(),
            queues=[queue.result() for queue in queues],
            jobs=jobs.result(),
            workers=workers.result(),
            parked=parked.result(),
            webhooks_off=hooks.result(),
            alarms=alarms.result(),
            today=use.result(),
            version=_version(there, dist),
            rents=bool(there.parameters.get("ScalePool")),
            lacks_google=lacks_google.result(),
        )


def queue_counts(there: Deployed, url: str) -> dict[str, int]:
    """Count the messages of a queue: waiting, in_flight and delayed."""
    told = there.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS.values()))["Attributes"]
    return {name: int(told.get(attribute, 0)) for name, attribute in _COUNTS.items()}


def _queue(there: Deployed, name: str) -> QueueStand:
    url, dead = (there.outputs[output] for output in QUEUES[name])
    return QueueStand(name, **queue_counts(there, url), dead=sum(queue_counts(there, dead).values()))


def _jobs(there: Deployed) -> JobsStand:
    now = now_ms()
    lines = read_open(there)
    sent = there.ledger.get_many(lines.sent[:READ_MOST])
    queued = [job for job in sent if job.state is State.QUEUED]
    ages = [now - job.created_at for job in queued]
    if lines.oldest_held_at is not None:
        ages.append(now - lines.oldest_held_at)
    behind = read_behind(there)
    newest = newest_first(there.ledger, clients_of(there, lines.clients), since=now - _DAY_MS, at_once=LATEST)
    ended = Counter(job.state.value for job in islice(newest, LATEST))
    return JobsStand(
        queued=len(queued) + lines.held + len(lines.sent[READ_MOST:]),
        held=lines.held,
        running=sum(job.state is State.RUNNING for job in sent),
        oldest_waits_ms=max(ages, default=None),
        is_whole=lines.is_whole,
        not_told=behind.rows,
        without_row=behind.gone,
        latest={state.value: ended[state.value] for state in sorted(TERMINAL, reverse=True)},
    )


def _workers(there: Deployed) -> list[WorkerStand]:
    farm = Farm(there.ledger, there.usage, there.crew, there.jobs_queue, now_ms)
    # Nobody's jobs: a client's name never begins with a hyphen.
    seen = farm.workers("-", is_admin=True, with_models=False).workers
    return [
        WorkerStand(
            name=worker.name,
            gpu=", ".join(dict.fromkeys(_gpu(server.gpu) for server in worker.servers)),
            health=worker.health,
            text=worker.health_text,
            busy=worker.busy,
            jobs_done=worker.jobs_done,
            seen_at=worker.seen_at,
        )
        for worker in seen
    ]


def _gpu(device: str) -> str:
    """Take the card's name out of ComfyUI's word for it: "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync"."""
    name = device.split(" : ")[0]
    first, _, rest = name.partition(" ")
    return rest if rest and ":" in first else name


def _parked(there: Deployed) -> list[ParkedStand]:
    return [
        ParkedStand(
            spreadsheet_id=each.spreadsheet_id,
            client=each.client_id or "",
            title=each.title,
            reason=each.parked.reason,
            since=each.parked.since,
            until=each.parked.until,
        )
        for each in there.registry.every()
        if each.parked is not None
    ]


def _webhooks_off(there: Deployed) -> list[WebhookStand]:
    """Look at every client's endpoints: a query each, for the table holds a month of deliveries as well."""
    return [
        WebhookStand(endpoint.webhook_id, client, endpoint.url.split("/")[2], endpoint.off)
        for client in clients_of(there)
        for endpoint in there.book.endpoints(client)
        if endpoint.off
    ]


def _alarms(there: Deployed) -> list[AlarmStand]:
    pages = (
        there.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmNamePrefix=f"comfysheet-{there.stage}-", StateValue="ALARM")
    )
    found: list[Mapping[str, Any]] = [
        alarm for page in pages for kind in ("MetricAlarms", "CompositeAlarms") for alarm in page.get(kind, [])
    ]
    return [
        AlarmStand(alarm["AlarmName"], int(alarm["StateUpdatedTimestamp"].timestamp() * 1000), alarm["StateReason"])
        for alarm in found
    ]


def _use(there: Deployed) -> UseStand:
    now = now_ms()
    records = [record for record in there.keys.records() if record["kind"] != "code"]
    gpu_s = sum(there.accounts.account(record["key_id"], now).gpu_ms_today for record in records) / 1000
    price = there.gpu_hour_price
    return UseStand(gpu_s, None if price is None else gpu_s / 3600 * price, price)


def _lacks_google(there: Deployed) -> bool:
    """Say whether somebody means to use sheets, and the secret is missing; who may not look is told nothing."""
    client = there.client("secretsmanager")
    try:
        client.describe_secret(SecretId=there.outputs["GoogleSecretId"])
    except client.exceptions.ResourceNotFoundException:
        return any(record["kind"] in ("sheet", "code") for record in there.keys.records())
    except ClientError as refusal:
        if not is_denied(refusal):
            raise
    return False


def _version(there: Deployed, dist: Path) -> VersionStand:
    codes = {function: facts.digest for function, facts in there.functions.items()}
    package = dist / "deployment.zip"
    if not package.exists():
        return VersionStand(codes, None)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    return VersionStand(codes, set(codes.values()) == {digest})
