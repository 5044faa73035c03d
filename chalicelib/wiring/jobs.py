"""Make what a job meets between its submission and its end, and what looks after all of them."""

from __future__ import annotations

import time
from functools import cached_property, partial

from chalicelib.contract.addresses import webhook_url
from chalicelib.contract.infer import infer
from chalicelib.curate import Curator
from chalicelib.ends import Ends
from chalicelib.ledger import DynamoLedger
from chalicelib.programs import Programs, Surroundings
from chalicelib.prompting.wildcards import WildcardBook
from chalicelib.publish import Publisher
from chalicelib.readings import Readings
from chalicelib.submit import Submit
from chalicelib.sweep import Sweep
from chalicelib.window import Window
from chalicelib.wiring.clients import now_ms
from chalicelib.wiring.stores import Stores


class Jobs(Stores):
    """Hold what a job meets between its submission and its end, and what looks after all of them."""

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
    def ends(self) -> Ends:
        """Make what follows from a job's end."""
        return Ends(self.ledger, self._window, self._accounts, now_ms, self.counts)

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
