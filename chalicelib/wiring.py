"""
Make the real things from the environment, each once a container and only when it is needed.

Googleapiclient is imported in the completion's path only: every function loads this package, and only one writes cells.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import boto3
from botocore.config import Config

from chalicelib.accounts import Accounts
from chalicelib.asset_store import AssetStore
from chalicelib.assets import Assets
from chalicelib.assets_api import AssetsApi
from chalicelib.auto import AutoStart
from chalicelib.backlog import Backlog
from chalicelib.batches import Batches
from chalicelib.batches_api import BatchesApi
from chalicelib.blobs import Blobs
from chalicelib.bus import EventBus
from chalicelib.catalog import Catalog
from chalicelib.complete import Complete
from chalicelib.contract.addresses import webhook_url
from chalicelib.contract.infer import infer
from chalicelib.contract.limits import Account
from chalicelib.contract.pool import Pool
from chalicelib.crew import Crew
from chalicelib.curate import Curator
from chalicelib.deliver import Deliver
from chalicelib.delivery_book import DynamoDeliveryBook
from chalicelib.ec2_pool import Ec2Pool
from chalicelib.ends import Ends
from chalicelib.errands import Errands
from chalicelib.farm import Farm
from chalicelib.gate import Gate, Meter
from chalicelib.google_key import GoogleKey, KeyRing, is_local
from chalicelib.group_book import DynamoGroups
from chalicelib.herald import Herald
from chalicelib.job_watch import Clock
from chalicelib.jobs_api import Desk, JobsApi
from chalicelib.keymaker import KeyMaker
from chalicelib.keys import Keys, Nonces
from chalicelib.lanes import LaneSweep
from chalicelib.ledger import DynamoLedger
from chalicelib.link_api import LinkApi
from chalicelib.logs import log_as_json
from chalicelib.me_api import MeApi
from chalicelib.metrics import Metrics
from chalicelib.pairing import Pairing
from chalicelib.panel import Edges, Panel
from chalicelib.poster import GuardedPoster
from chalicelib.programs import Programs, Surroundings
from chalicelib.prompting.wildcards import WildcardBook
from chalicelib.publish import Publisher
from chalicelib.queues import CompletionQueue, DeliveryQueue, JobQueue
from chalicelib.rates import Counters, SheetsBudget, UsageBook
from chalicelib.readings import Readings
from chalicelib.records import Records
from chalicelib.registry import Registry
from chalicelib.scale import Lender, Scale, Turns
from chalicelib.scale_book import DynamoBook
from chalicelib.scale_settings import read_scale_settings
from chalicelib.seats import Seats, hands_key, waits_key
from chalicelib.sent_graph import SentGraphs
from chalicelib.settings import Settings, read_settings
from chalicelib.sheet_api import SheetApi
from chalicelib.sheet_shelf import SheetShelf
from chalicelib.simple_api import SimpleApi
from chalicelib.submit import Submit
from chalicelib.sweep import Sweep
from chalicelib.webhook_secrets import WebhookSecrets
from chalicelib.webhooks import Webhooks
from chalicelib.webhooks_api import WebhooksApi
from chalicelib.window import Window
from chalicelib.workers_api import WorkersApi
from chalicelib.workflows_api import WorkflowsApi

if TYPE_CHECKING:
    from chalicelib.sheet import Service, Sheets

log = logging.getLogger(__name__)

# API Gateway hangs up after 29 s, and then nobody is told anything. A submission whose table is silent asks three times
# before it knows: who asks too often (hasty), what is out (hasty), and the put itself; together 20 s at most. Each call
# is tried so often, with a pause of up to a second before the second time and of two before the third.
_PATIENCE = Config(
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
    signature_version="v4",
    max_pool_connections=16,
)
# For what a request can do without.
_HASTE = _PATIENCE.merge(Config(read_timeout=1.5, retries={"mode": "standard", "total_max_attempts": 2}))
# Virtual: boto3 1.44 signs for the global host otherwise, from which S3 redirects to a young bucket of another region.
_PATIENCE_S3 = _PATIENCE.merge(
    Config(connect_timeout=2, read_timeout=5, signature_version="s3v4", s3={"addressing_style": "virtual"})
)


def now_ms() -> int:
    """Tell the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class World:
    """Hold what one container needs, made on first use."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._session = boto3.Session()
        self._spoken_for: GoogleKey | None = None
        """The key whose account is noted."""
        self._sheets_client: tuple[GoogleKey, Service] | None = None

    @cached_property
    def settings(self) -> Settings:
        """Read the settings."""
        return read_settings(self._environment)

    @cached_property
    def counts(self) -> Metrics:
        """Count what happens in a call."""
        return Metrics(self.settings.stage)

    def tell(self) -> None:
        """Write down what a call has counted, at its end."""
        if "counts" in self.__dict__:
            self.counts.tell()

    def _client(self, name: str) -> Any:
        return self._session.client(name, config=_PATIENCE_S3 if name == "s3" else _PATIENCE)  # type: ignore[call-overload]

    @cached_property
    def _dynamodb(self) -> Any:
        return self._client("dynamodb")

    @cached_property
    def _hasty_dynamodb(self) -> Any:
        return self._session.client("dynamodb", config=_HASTE)

    @cached_property
    def ledger(self) -> DynamoLedger:
        """Open the job table."""
        return DynamoLedger(self._dynamodb, self.settings.jobs_table)

    @cached_property
    def _sqs(self) -> Any:
        return self._client("sqs")

    @cached_property
    def _jobs(self) -> JobQueue:
        return JobQueue(self._sqs, self.settings.jobs_queue_url)

    @cached_property
    def completions(self) -> CompletionQueue:
        """Open the completion's queue."""
        settings = self.settings
        return CompletionQueue(self._sqs, settings.completions_queue_url, settings.completions_dlq_url)

    @cached_property
    def _blobs(self) -> Blobs:
        return Blobs(self._client("s3"), self.settings.bucket)

    @cached_property
    def _assets(self) -> Assets:
        store = AssetStore(self._client("s3"), self.settings.bucket)
        return Assets(store, self.ledger, self.settings.max_asset_bytes, now_ms)

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self._blobs, clock_s=time.monotonic)

    @cached_property
    def _curator(self) -> Curator:
        return Curator(self._catalog, Publisher(self._blobs, now_ms), infer, self._crew.choices)

    @cached_property
    def _submit(self) -> Submit:
        return Submit(
            self.ledger,
            self._catalog,
            self._jobs,
            now_ms,
            files=self._crew.choices,
            window=Window(
                DynamoLedger(self._hasty_dynamodb, self.settings.jobs_table), self._jobs, self._crew.gpus, now_ms
            ),
            wildcards=WildcardBook(self._blobs, clock_s=time.monotonic),
            counts=self.counts,
        )

    @cached_property
    def _window(self) -> Window:
        return Window(self.ledger, self._jobs, self._crew.gpus, now_ms)

    @cached_property
    def _accounts(self) -> Accounts:
        return Accounts(self._dynamodb, self.settings.rates_table)

    @cached_property
    def _meter(self) -> Meter:
        return Meter(Accounts(self._hasty_dynamodb, self.settings.rates_table), now_ms)

    @cached_property
    def ends(self) -> Ends:
        """Make what follows from a job's end."""
        return Ends(self.ledger, self._window, self._accounts, now_ms, self.counts)

    @cached_property
    def _crew(self) -> Crew:
        return Crew(self._dynamodb, self.settings.workers_table, now_ms)

    @cached_property
    def _registry(self) -> Registry:
        return Registry(self._dynamodb, self.settings.sheets_table)

    @cached_property
    def _counters(self) -> Counters:
        return Counters(self._dynamodb, self.settings.rates_table)

    @cached_property
    def _ssm(self) -> Any:
        return self._client("ssm")

    @cached_property
    def _keys(self) -> Keys:
        settings = self.settings
        return Keys(self._dynamodb, self._ssm, settings.keys_table, settings.secrets_prefix, time.monotonic)

    @cached_property
    def gate(self) -> Gate:
        """Stand before the routes of programs."""
        return Gate(self._keys, self._meter)

    @cached_property
    def programs(self) -> Programs:
        """Make what accepts programs' jobs."""
        around = Surroundings(
            shelf=self._blobs,
            find_asset=self._assets.find,
            known_classes=self._crew.classes,
            owner_of=lambda spreadsheet_id: self._registry.get(spreadsheet_id).client_id,
            hint=self.completions.hint,
            check_webhook=partial(webhook_url, has_networks=bool(self.settings.webhook_networks)),
        )
        return Programs(self._submit, self.ledger, around)

    @cached_property
    def jobs_api(self) -> JobsApi:
        """Make the API of programs' jobs."""
        desk = Desk(
            programs=self.programs,
            ledger=self.ledger,
            records=Records(self._blobs),
            graphs=SentGraphs(self._blobs, self._catalog),
            hints=self.completions,
            seats=Seats(self._dynamodb, self.settings.rates_table, waits_key),
            clock=Clock(time.monotonic, time.sleep),
            now_ms=now_ms,
        )
        return JobsApi(desk)

    @cached_property
    def workers_api(self) -> WorkersApi:
        """Make the API that shows workers and queue."""
        return WorkersApi(Farm(self.ledger, UsageBook(self._counters), self._crew, self._jobs, now_ms))

    @cached_property
    def assets_api(self) -> AssetsApi:
        """Make the API of programs' files."""
        return AssetsApi(self._assets, self.settings.max_asset_bytes, now_ms)

    @cached_property
    def batches_api(self) -> BatchesApi:
        """Make the API of batches."""
        batches = Batches(self.programs, self.ledger, self._blobs, self.completions, now_ms)
        return BatchesApi(batches)

    @cached_property
    def simple_api(self) -> SimpleApi:
        """Make the API in the words of older gateways."""
        return SimpleApi(self.programs, self.ledger)

    @cached_property
    def me_api(self) -> MeApi:
        """Make the API in which a key learns about itself."""
        return MeApi(self.ledger)

    @cached_property
    def workflows_api(self) -> WorkflowsApi:
        """Make the API of the workflow catalog."""
        return WorkflowsApi(shelf=self._catalog, curator=self._curator, choices=self._crew.choices)

    @cached_property
    def link_api(self) -> LinkApi:
        """Make the API of browsers that follow a link."""
        return LinkApi(ledger=self.ledger, files=self._blobs, now_ms=now_ms)

    @cached_property
    def sheet_api(self) -> SheetApi:
        """Make the API of the sheets' scripts."""
        settings = self.settings
        edges = Edges(
            ledger=self.ledger,
            spreadsheets=self._registry,
            books=UsageBook(self._counters),
            workers=self._crew,
            line=self._jobs,
            news=self.completions,
            now_ms=now_ms,
            gpu_hour_price=settings.gpu_hour_price,
        )
        maker = KeyMaker(self._dynamodb, self._ssm, settings.keys_table, settings.secrets_prefix)
        return SheetApi(
            submit=self._submit,
            panel=Panel(edges),
            pairing=Pairing(self._keys, maker, self._registry, self.completions, now_ms),
            keys=self._keys,
            nonces=Nonces(self._dynamodb, settings.nonces_table, time.time),
            shelf=SheetShelf(self._catalog, self._curator, self._crew.choices),
            meter=self._meter,
        )

    @cached_property
    def _sheets(self) -> Sheets:
        from chalicelib.sheet import Sheets

        return Sheets(self._sheets_service, self._count, self.counts, self._google.renew)

    def _count(self, kind: Literal["reads", "writes"], spreadsheet_id: str, urgent: bool) -> None:
        self._budget.spend(kind, spreadsheet_id, now_ms(), urgent=urgent)

    @cached_property
    def _budget(self) -> SheetsBudget:
        return SheetsBudget(self._counters)

    @cached_property
    def complete(self) -> Complete:
        """Make the completion."""
        books = UsageBook(self._counters)
        herald = Herald(self._book, self.deliveries, self._bus, now_ms, self.counts)
        return Complete(self.ledger, self._sheets, self._registry, self._budget, books, herald, now_ms, self.counts)

    @cached_property
    def errands(self) -> Errands:
        """Make what completion does beside it."""
        link_base = self.settings.public_url
        auto = AutoStart(self.ledger, self._sheets, self._registry, self._submit, link_base, now_ms, self._account_of)
        books, registry = self._sheets, self._registry
        return Errands(self.ledger, books, registry, auto, self._budget, self._account, now_ms)

    def _account_of(self, key_id: str) -> Account:
        return self._accounts.account(key_id, now_ms())

    # -- webhooks -----------------------------------------------------------------------------------------------

    @cached_property
    def _book(self) -> DynamoDeliveryBook:
        return DynamoDeliveryBook(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def deliveries(self) -> DeliveryQueue:
        """Open the delivering function's queue."""
        return DeliveryQueue(self._sqs, self.settings.deliveries_queue_url, self.settings.deliveries_dlq_url)

    @cached_property
    def _webhook_secrets(self) -> WebhookSecrets:
        return WebhookSecrets(self._ssm, self.settings.secrets_prefix, time.monotonic)

    @cached_property
    def _bus(self) -> EventBus:
        return EventBus(self._client("events"), self.settings.bus_name)

    @cached_property
    def webhooks_api(self) -> WebhooksApi:
        """Make the API of webhooks."""
        has_networks = bool(self.settings.webhook_networks)
        return WebhooksApi(
            Webhooks(self._book, self._webhook_secrets, self.deliveries, now_ms, has_networks=has_networks)
        )

    @cached_property
    def deliver(self) -> Deliver:
        """Make what delivers."""
        poster = GuardedPoster(self.settings.webhook_networks)
        hands = Seats(self._dynamodb, self.settings.webhooks_table, hands_key)
        return Deliver(
            self._book, self.ledger, self._webhook_secrets, poster, self._bus, hands, now_ms, counts=self.counts
        )

    @cached_property
    def lane_sweep(self) -> LaneSweep:
        """Make what rings for deliveries."""
        return LaneSweep(self._book, self.deliveries, now_ms)

    # -- Google -------------------------------------------------------------------------------------------------

    @cached_property
    def _google(self) -> KeyRing:
        settings = self.settings
        local = is_local(settings.sheets_api_endpoint)
        secrets = self._client("secretsmanager")
        return KeyRing(secrets, settings.google_secret_id, time.monotonic, may_be_local=local)

    def _account(self) -> str:
        """Name our service account, and note it for the API, which may not read Google's key."""
        key = self._google.key()
        if key != self._spoken_for:
            self._registry.note_account(key.email)
            self._spoken_for = key
        return key.email

    def _sheets_service(self) -> Service:
        from chalicelib.sheet import connect

        key = self._google.key()
        if self._sheets_client is None or self._sheets_client[0] != key:
            log.info("connecting to Google Sheets", extra={"account": self._account(), "kind": key.kind})
            self._sheets_client = key, connect(key, self.settings.sheets_api_endpoint)
        return self._sheets_client[1]

    @cached_property
    def sweep(self) -> Sweep:
        """Make the sweeper."""
        return Sweep(self.ledger, self._jobs, self.completions, self._registry, now_ms, self._window, self.counts)

    @cached_property
    def readings(self) -> Readings:
        """Make what takes the minute's readings."""
        bound = self.settings.gpu_seconds_per_day or None
        return Readings(
            self.ledger, self._crew, self._registry, self._accounts, self.counts, now_ms, gpu_s_per_day=bound
        )

    # -- rented machines ----------------------------------------------------------------------------------------

    @cached_property
    def scale(self) -> Turns | None:
        """Make the autoscaler; None: there is none."""
        settings = read_scale_settings(self._environment)
        if settings is None:
            return None
        groups = {name: self._group(name, settings.groups) for name in settings.groups if "ec2" in settings.pools}
        lenders = []
        for pool in settings.pools:
            lent = groups if pool == "ec2" else {pool: self._pods()}
            lenders += [Lender(name, each, settings.terms[name]) for name, each in lent.items()]
        books = UsageBook(self._counters)
        backlog = Backlog(
            self._dynamodb,
            self.settings.jobs_table,
            self.ledger.get_many,
            books.pace_ms,
            job_s=settings.policy.job_s,
        )
        scale = Scale(
            lenders,
            settings.policy,
            DynamoBook(self._dynamodb, self.settings.rates_table),
            backlog.read,
            self._crew.cards,
            self.counts,
            self._bus.tell_machines,
            now_ms,
        )
        return Turns(scale, list(groups.values()))

    def _pods(self) -> Pool:
        """Rent of RunPod with the key and the order that the operator saved last."""
        import requests

        from chalicelib.runpod import SavedPods, Shelf

        shelf, session = Shelf(self._ssm, self.settings.secrets_prefix), requests.Session()
        return SavedPods(lambda: shelf.pool(self.settings.stage, session))

    def _group(self, name: str, names: Sequence[str]) -> Ec2Pool:
        groups = DynamoGroups(self._dynamodb, self.settings.rates_table)
        others = [each for each in names if each != name]
        return Ec2Pool(self._client("autoscaling"), groups, name, self._crew.cards, now_ms, others)


log_as_json(os.environ.get("LOG_LEVEL", "INFO"))
world = World(os.environ)
