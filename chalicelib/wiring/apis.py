"""Make what answers the routes of programs, browsers and sheets."""

from __future__ import annotations

import time
from functools import cached_property

from chalicelib.assets_api import AssetsApi
from chalicelib.batches import Batches
from chalicelib.batches_api import BatchesApi
from chalicelib.farm import Farm
from chalicelib.gate import Gate
from chalicelib.job_watch import Clock
from chalicelib.jobs_api import Desk, JobsApi
from chalicelib.keymaker import KeyMaker
from chalicelib.keys import Nonces
from chalicelib.link_api import LinkApi
from chalicelib.me_api import MeApi
from chalicelib.pairing import Pairing
from chalicelib.panel import Edges, Panel
from chalicelib.rates import UsageBook
from chalicelib.records import Records
from chalicelib.seats import Seats, waits_key
from chalicelib.sent_graph import SentGraphs
from chalicelib.sheet_api import SheetApi
from chalicelib.sheet_shelf import SheetShelf
from chalicelib.simple_api import SimpleApi
from chalicelib.wiring.clients import now_ms
from chalicelib.wiring.jobs import Jobs
from chalicelib.workers_api import WorkersApi
from chalicelib.workflows_api import WorkflowsApi


class Apis(Jobs):
    """Hold what answers the routes of programs, browsers and sheets."""

    @cached_property
    def gate(self) -> Gate:
        """Stand before the routes of programs."""
        return Gate(self._keys, self._meter)

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
