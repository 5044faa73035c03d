"""Make what rents machines and gives them back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from chalicelib.backlog import Backlog
from chalicelib.contract.pool import Pool
from chalicelib.ec2_pool import Ec2Pool
from chalicelib.group_book import DynamoGroups
from chalicelib.rates import UsageBook
from chalicelib.scale import Lender, Scale, Turns
from chalicelib.scale_book import DynamoBook
from chalicelib.scale_settings import read_scale_settings
from chalicelib.wiring.clients import now_ms
from chalicelib.wiring.stores import Stores


class Machines(Stores):
    """Hold what rents machines and gives them back."""

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
