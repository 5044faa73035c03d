"""Turn settings into the real worker: cloud connections for each hand, one client and doorbell for each ComfyUI."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from chalicelib.contract.job import Progress
from chalicelib.ledger import DynamoLedger
from worker.aws import AwsClients, DateSkew
from worker.blobs import S3Blobs
from worker.bus import EventBus
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.command import ComfyCommand, python_of
from worker.comfy.doorbell import SocketDoorbell
from worker.comfy.process import ManagedComfy
from worker.comfy.warm import warm_up
from worker.crew import Crew
from worker.fetch import HttpsFetcher
from worker.fleet import DynamoFleet
from worker.gpus import choose
from worker.health import Health
from worker.hints import SqsHints
from worker.hours import Hours
from worker.inbox import SqsInbox
from worker.larder import Larder
from worker.lease import Holding, Keeper
from worker.loop import House, Worker
from worker.metrics import Metrics, MetricsServer
from worker.monitor import Monitor
from worker.notice import Notices
from worker.pace import Pace
from worker.pantry import Pantry
from worker.postman import Postman
from worker.server import Server
from worker.settings import Settings
from worker.templates import Templates
from worker.tools import Tools

HANDS_PER_SLOT: Final = 2
MORE_HANDS: Final = 2
"""While a slot's prompt renders, others upload: a hand more than slots for each, and two for a slow bucket."""
NOTICE_SPARE_S: Final = 15.0
"""Kept of a spot machine's last two minutes for uploads and for handing back."""
GIVE_UP_GRACE_S: Final = 60.0
"""How long jobs on other servers may still run when one ComfyUI is given up."""


@dataclass
class _Parts:
    """Gather what must run on a thread of its own, and what ends it."""

    vital: dict[str, Callable[[], None]]
    closers: list[Callable[[], None]]

    def add(self, name: str, run: Callable[[], None], close: Callable[[], None]) -> None:
        self.vital[name] = run
        self.closers.append(close)


def build_worker(settings: Settings, *, once: bool) -> Worker:
    """Connect everything that *settings* names. Nothing is asked of anybody before `Worker.run`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    clock, metrics, parts = Clock(), Metrics(), _Parts({}, [])
    skew = DateSkew(clock.now_ms)
    clients = AwsClients(settings.region, settings.wait_s, skew.note)
    stopper = _Stopper()
    servers = [
        _server(settings, place, _ledger(clients, settings), skew, clock, metrics, parts, stopper)
        for place in _places(settings)
    ]
    monitor = Monitor(
        EventBus(clients.events(), settings.bus_name) if settings.bus_name else None, clock, settings.worker_name
    )
    fleet = DynamoFleet(clients.dynamodb(), settings.workers_table) if settings.workers_table else None
    crew = Crew(fleet, servers, clock, settings.worker_name, on_queue=monitor.queue, jobs_done=lambda: metrics.done)
    keeper = Keeper(
        _ledger(clients, settings), _inbox(clients, settings), clock, settings, partial(_tell_progress, monitor)
    )
    postman = Postman(SqsHints(clients.hints_sqs(), settings.completions_queue_url), _inbox(clients, settings), clock)
    parts.add("heartbeat", keeper.run, keeper.close)
    parts.add("crew", crew.run, crew.close)
    parts.add("hints", postman.run, postman.close)
    parts.add("events", monitor.run, monitor.close)
    metrics.watch(lambda: len(keeper.holdings()), lambda: monitor.dropped)
    if settings.metrics_port is not None:
        answers = MetricsServer(settings.metrics_host, settings.metrics_port, metrics, partial(_closed, servers))
        parts.add("metrics", answers.run, answers.close)
    first = Tools(
        ledger=_ledger(clients, settings),
        inbox=_inbox(clients, settings),
        hints=SqsHints(clients.hints_sqs(), settings.completions_queue_url),
        blobs=S3Blobs(clients.s3(), settings.bucket),
        server=servers[0],
        servers=servers,
        crew=crew,
        keeper=keeper,
        postman=postman,
        monitor=monitor,
        metrics=metrics,
        pantry=Pantry(
            HttpsFetcher(settings.max_input_bytes),
            Larder(settings.home / "inputs", settings.input_cache_bytes),
            settings.max_input_bytes,
        ),
        templates=Templates(),
        settings=settings,
        clock=clock,
        draw=random.random,
    )
    hands = [
        replace(_with_own_clients(first, clients), server=server)
        for server in servers
        for _ in range(settings.slots * HANDS_PER_SLOT + MORE_HANDS)
    ]
    hasty = _with_own_clients(first, clients.hastier())
    hours = Hours(
        clock,
        ends_at=_ends_at(settings, clock),
        idle_end_s=settings.idle_end_s,
        # A ComfyUI of ours that still loads is work; one that never comes up ends the worker by itself.
        is_rendering=lambda: bool(keeper.holdings()) or any(server.is_starting for server in servers),
        on_end=lambda: stopper.stop(0),
    )
    parts.add("hours", hours.run, hours.close)
    house = House(once=once, hours=hours)
    worker = stopper.worker = Worker(house, hands, hasty, parts.vital, parts.closers)
    parts.add("notices", *_notices(worker, clock, settings.drain_s))
    return worker


def _notices(worker: Worker, clock: Clock, drain_s: float) -> tuple[Callable[[], None], Callable[[], None]]:
    """Stop the worker when EC2 takes the machine away: what can end in time is finished."""
    notices = Notices(os.environ, clock, lambda _why, left_s: worker.stop(max(0.0, left_s - NOTICE_SPARE_S)), drain_s)
    return notices.run, notices.close


def _ends_at(settings: Settings, clock: Clock) -> int | None:
    """Give the nearer one of the time limits (ms since the epoch)."""
    after = clock.now_ms() + int(settings.run_for_s * 1000) if settings.run_for_s is not None else None
    return min((at for at in (settings.end_at, after) if at is not None), default=None)


class _Stopper:
    """Stop a worker that is built after those who may have to stop it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None

    def give_up(self) -> None:
        """End, with what runs elsewhere finished: a supervisor or the rented machine's owner should look."""
        if self.worker is not None:
            self.worker.stop(GIVE_UP_GRACE_S, code=1)

    def stop(self, grace_s: float) -> None:
        """End well."""
        if self.worker is not None:
            self.worker.stop(grace_s)


def _places(settings: Settings) -> list[str | ComfyCommand]:
    """List the servers to attach to, or the ones to start: one for each GPU. Raise `NoGpus`."""
    if settings.comfy_dir is None:
        return list(settings.comfy_urls)
    python, gpus = python_of(settings.comfy_dir, settings.comfy_python), choose(settings.gpus)
    ports = [settings.comfy_port + number for number in range(len(gpus))] if settings.comfy_port else _free(len(gpus))
    return [
        ComfyCommand(settings.comfy_dir, python, port, settings.comfy_args, gpu)
        for port, gpu in zip(ports, gpus, strict=True)
    ]


def _free(count: int) -> list[int]:
    """Find so many ports that nobody listens on: several workers may share a machine without knowing each other."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _server(
    settings: Settings,
    place: str | ComfyCommand,
    ledger: DynamoLedger,
    skew: DateSkew,
    clock: Clock,
    metrics: Metrics,
    parts: _Parts,
    stopper: _Stopper,
) -> Server:
    """Connect one ComfyUI, and start it if it is ours to start."""
    url = place if isinstance(place, str) else place.url
    comfy, doorbell, pace = ComfyClient(url), SocketDoorbell(url, clock), Pace(settings.slots, clock)
    pace.on_idle_gap = partial(metrics.idle_gap, url)
    process = None
    if isinstance(place, ComfyCommand):
        closing = threading.Event()
        file = settings.warm_workflow
        process = ManagedComfy(
            place,
            clock,
            environment=os.environ,
            warm=(lambda at: warm_up(at, file, clock, closing)) if file is not None else None,
            on_restart=lambda: metrics.comfy_restart(url),
            on_give_up=stopper.give_up,
        )
        parts.closers.append(closing.set)
        parts.add(f"comfyui {url}", process.run, process.close)
    health = Health(
        comfy, doorbell, skew, ledger, settings, url=url, process=process, on_change=partial(metrics.server_up, url)
    )
    parts.add(f"websocket {url}", doorbell.run, doorbell.close)
    return Server(url, comfy, doorbell, health, pace, process)


def _closed(servers: list[Server]) -> str | None:
    """Say why this worker takes no jobs; None: at least one of its servers does."""
    said = [server.health.said for server in servers]
    return None if None in said else said[0]


def _tell_progress(monitor: Monitor, holding: Holding, progress: Progress) -> None:
    monitor.progress(holding.job, holding.prompt_id, progress)


def _with_own_clients(tools: Tools, clients: AwsClients) -> Tools:
    settings = tools.settings
    return replace(
        tools,
        ledger=_ledger(clients, settings),
        inbox=_inbox(clients, settings),
        hints=SqsHints(clients.hints_sqs(), settings.completions_queue_url),
        blobs=S3Blobs(clients.s3(), settings.bucket),
    )


def _ledger(clients: AwsClients, settings: Settings) -> DynamoLedger:
    return DynamoLedger(clients.dynamodb(), settings.jobs_table)


def _inbox(clients: AwsClients, settings: Settings) -> SqsInbox:
    return SqsInbox(clients.sqs(), settings.jobs_queue_url, settings.jobs_dlq_url, settings.visibility_s)
