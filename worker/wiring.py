"""Turn settings into the real worker: one set of cloud connections per thread, one ComfyUI for all."""

from __future__ import annotations

import random
from dataclasses import replace

from chalicelib.ledger import DynamoLedger
from worker.aws import AwsClients, DateSkew
from worker.blobs import S3Blobs
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.doorbell import SocketDoorbell
from worker.health import Health
from worker.hints import SqsHints
from worker.inbox import SqsInbox
from worker.lease import Keeper
from worker.loop import House, Worker
from worker.postman import Postman
from worker.settings import Settings
from worker.templates import Templates
from worker.tools import Tools


def build_worker(settings: Settings, *, once: bool) -> Worker:
    """Connect everything that *settings* names. Nothing is asked of anybody before `Worker.run`."""
    clock = Clock()
    skew = DateSkew(clock.now_ms)
    clients = AwsClients(settings.region, settings.wait_s, skew.note)
    hasty = clients.hastier()
    comfy, doorbell = ComfyClient(settings.comfy_urls[0]), SocketDoorbell(settings.comfy_urls[0], clock)
    keeper = Keeper(_ledger(clients, settings), _inbox(clients, settings), clock, settings)
    postman = Postman(_hints(clients, settings))
    first = Tools(
        ledger=_ledger(clients, settings),
        inbox=_inbox(clients, settings),
        hints=_hints(clients, settings),
        blobs=S3Blobs(clients.s3(), settings.bucket),
        comfy=comfy,
        doorbell=doorbell,
        health=Health(comfy, doorbell, skew, _ledger(clients, settings), settings),
        keeper=keeper,
        postman=postman,
        templates=Templates(),
        settings=settings,
        clock=clock,
        draw=random.random,
    )
    others = [_with_own_clients(first, clients) for _ in range(settings.slots - 1)]
    return Worker(
        House(once=once),
        [first, *others],
        _with_own_clients(first, hasty),
        vital={"websocket": doorbell.run, "heartbeat": keeper.run, "hints": postman.run},
        closers=[keeper.close, doorbell.close, postman.close],
    )


def _with_own_clients(tools: Tools, clients: AwsClients) -> Tools:
    settings = tools.settings
    return replace(
        tools,
        ledger=_ledger(clients, settings),
        inbox=_inbox(clients, settings),
        hints=_hints(clients, settings),
        blobs=S3Blobs(clients.s3(), settings.bucket),
    )


def _ledger(clients: AwsClients, settings: Settings) -> DynamoLedger:
    return DynamoLedger(clients.dynamodb(), settings.jobs_table)


def _inbox(clients: AwsClients, settings: Settings) -> SqsInbox:
    return SqsInbox(clients.sqs(), settings.jobs_queue_url, settings.jobs_dlq_url, settings.visibility_s)


def _hints(clients: AwsClients, settings: Settings) -> SqsHints:
    return SqsHints(clients.hints_sqs(), settings.completions_queue_url)
