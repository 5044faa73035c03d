"""
The verb `cost`: what was rendered, and about what it costs.

The jobs of the time are read by the index of each client, never the whole table: counters know a spreadsheet's days and
a key's today, and neither a program's nor a workflow's. GPU time is the time that ComfyUI worked; a rented machine that
waits costs as well, and only whoever rents it out knows for how long.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import RETENTION_MS, Job
from chalicelib.contract.spent import gpu_ms
from chalicelib.contract.states import TERMINAL, State
from infra.deployed import deployed, now_ms
from infra.open_jobs import clients_of, newest_first, read_open
from infra.paper import Column, cut, moment, money, show, show_json, some, span, table
from infra.prices import Load, Part, Prices, read_prices
from infra.release import add_stage_options

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

_DAY_MS: Final = 24 * 3600 * 1000
_DAYS_MOST: Final = RETENTION_MS // _DAY_MS
_DEAREST: Final = 5
"""Lines of AWS's part that are shown."""


@dataclass
class Use:
    """Add up what jobs used."""

    jobs: int = 0
    failed: int = 0
    files: int = 0
    gpu_ms: int = 0

    def add(self, job: Job) -> None:
        """Count an ended job."""
        self.jobs += 1
        self.failed += job.state is State.FAILED
        self.files += len(job.outputs)
        self.gpu_ms += gpu_ms(job)

    def gpu_usd(self, gpu_hour: float) -> float:
        """Give what its GPU time costs."""
        return self.gpu_ms / 3_600_000 * gpu_hour


@dataclass(frozen=True)
class Bill:
    """Hold an estimate of *days* days, of which the stage was there for *lived* (0.5: half a day). In US dollars."""

    days: int
    lived: float
    total: Use
    groups: Mapping[str, Use]
    gpu_hour: float
    gpu_hour_from: str
    """Where that price comes from: --price, the stage, or prices.yaml."""
    aws: Sequence[Part]
    prices: Prices

    @property
    def gpu_usd(self) -> float:
        """Give what the GPUs' work costs."""
        return self.total.gpu_usd(self.gpu_hour)

    @property
    def aws_usd(self) -> float:
        """Give AWS's part."""
        return sum(part.usd for part in self.aws)

    @property
    def aws_work_usd(self) -> float:
        """Give what AWS asks for these jobs and images alone: without what a stage costs by standing there."""
        return sum(part.usd for part in self.prices.estimate(Load(0, self.total.jobs, self.total.files)))

    def per_thousand(self, usd: float) -> float | None:
        """Give what a thousand files cost of it; None: there are none."""
        return usd / self.total.files * 1000 if self.total.files else None


GROUPS: Final[Mapping[str, Callable[[Job], str]]] = {
    "client": lambda job: job.client_id,
    "sheet": lambda job: job.target.spreadsheet_id if job.target else "no sheet (programs)",
    "workflow": lambda job: job.workflow_id,
}


def register(verbs: Verbs) -> None:
    """Add the verb."""
    verb = verbs.add_parser("cost", help="what was rendered, and about what it costs, per 1,000 images too")
    add_stage_options(verb)
    verb.add_argument("--days", type=int, default=7, help=f"of how many days (default: 7; {_DAYS_MOST} at most)")
    verb.add_argument("--by", choices=[*GROUPS], default="client", help="what to add up by (default: client)")
    verb.add_argument("--price", type=float, help="US dollars for a GPU hour (default: the stage's GpuHourPrice)")
    verb.add_argument("--workers", type=float, default=1, help="workers that were there all the time (default: 1)")
    verb.add_argument("--json", action="store_true", help="as JSON, for scripts")
    verb.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.days <= _DAYS_MOST:
        raise Rejected("bad_days", f"--days is 1 to {_DAYS_MOST}: jobs are not kept for longer.")
    if (arguments.price is not None and not 0 <= arguments.price <= 1000) or not 0 <= arguments.workers <= 10_000:
        raise Rejected("bad_price", "--price is 0 to 1000 US dollars an hour, --workers 0 to 10000.")
    there, prices = deployed(arguments), read_prices()
    if arguments.price is not None:
        price, source = arguments.price, "--price"
    elif there.gpu_hour_price is not None:
        price, source = there.gpu_hour_price, "the stage"
    else:
        price, source = prices.gpu_hour, "prices.yaml"
    now, made_at = now_ms(), there.described["CreationTime"].timestamp() * 1000
    since, lived = now - arguments.days * _DAY_MS, min(arguments.days, max(0.0, (now - made_at) / _DAY_MS))
    jobs = newest_first(there.ledger, clients_of(there, read_open(there).clients), since=since)
    total, groups = add_up(_told(jobs), GROUPS[arguments.by])
    aws = prices.estimate(Load(lived, total.jobs, total.files, arguments.workers))
    bill = Bill(arguments.days, lived, total, groups, price, source, aws, prices)
    if arguments.json:
        show_json(document(bill, arguments.by, since))
    else:
        show(*page(bill, arguments.by))
    return 0


def add_up(jobs: Iterable[Job], group: Callable[[Job], str]) -> tuple[Use, Mapping[str, Use]]:
    """Add up ended jobs, in all and by group."""
    total, groups = Use(), defaultdict[str, Use](Use)
    for job in jobs:
        if job.state in TERMINAL:
            total.add(job)
            groups[group(job)].add(job)
    return total, groups


def _told(jobs: Iterable[Job]) -> Iterable[Job]:
    """Say how far the reading is, on a terminal."""
    for count, job in enumerate(jobs, start=1):
        if count % 1000 == 0 and sys.stderr.isatty():
            print(f"\r{count:,} jobs read ", end="", file=sys.stderr, flush=True)
        yield job


def _dearest(bill: Bill) -> list[tuple[str, Use]]:
    return sorted(bill.groups.items(), key=lambda each: (-each[1].gpu_ms, each[0]))


def page(bill: Bill, by: str) -> list[RenderableType]:
    """Lay out an estimate for people."""
    if not bill.total.jobs:
        return [f"No job of the last {some(bill.days, 'day')} has ended."]
    rows = [
        (
            cut(name, 32),
            f"{use.jobs:,}",
            f"{use.failed:,}",
            f"{use.files:,}",
            f"{use.gpu_ms / 1000:,.1f}",
            money(use.gpu_usd(bill.gpu_hour)),
        )
        for name, use in [*_dearest(bill), ("in all", bill.total)]
    ]
    titles = ("Jobs", "Failed", "Images", "GPU s", "GPU cost")
    columns = [Column(by.title(), may_fold=True), *(Column(title, is_number=True) for title in titles)]
    days = some(bill.days, "day")
    parts: list[RenderableType] = [table(columns, rows), ""]
    aws = [(part.what, f"{part.units:,.6g}", money(part.usd)) for part in bill.aws[:_DEAREST]]
    rest = sum(part.usd for part in bill.aws[_DEAREST:])
    aws += [("all the rest", "", money(rest)), ("in all", "", money(bill.aws_usd))]
    young = f", the stage is {span(bill.lived * _DAY_MS)} old" if bill.lived < bill.days else ""
    parts.append(table([Column(f"AWS, estimated, {days}{young}"), Column("Units", True), Column("Cost", True)], aws))
    sums = [bill.per_thousand(usd) for usd in _of_work(bill)]
    if sums[0] is not None:
        gpu, aws_part, whole = (money(usd or 0) for usd in sums)
        standing = money(bill.aws_usd - bill.aws_work_usd)
        parts += ["", f"1,000 images: {whole} (GPU {gpu}, AWS {aws_part}), and what stands there anyway: {standing}"]
    parts += [
        "",
        f"A GPU hour is {money(bill.gpu_hour)} ({bill.gpu_hour_from}). GPU seconds are measured: the time that ComfyUI "
        "worked,\nalso for jobs that failed. A machine that waits or starts costs as well and is not in here.",
        f"AWS's part is counted from jobs and images with {bill.prices.region} prices of {bill.prices.noted} "
        "(infra/prices.yaml),\nwithout free tiers. The bill is AWS's.",
    ]
    return parts


def _of_work(bill: Bill) -> tuple[float, float, float]:
    """Give what grows with the images: of the GPUs, of AWS, in all."""
    return bill.gpu_usd, bill.aws_work_usd, bill.gpu_usd + bill.aws_work_usd


def document(bill: Bill, by: str, since: int) -> dict[str, Any]:
    """Give an estimate to scripts. Sums are US dollars."""

    def use(each: Use) -> dict[str, Any]:
        told = {"jobs": each.jobs, "failed": each.failed, "images": each.files, "gpu_s": each.gpu_ms / 1000}
        return {**told, "gpu_usd": each.gpu_usd(bill.gpu_hour)}

    return {
        "days": bill.days,
        "since": moment(since),
        "by": by,
        "groups": {name: use(each) for name, each in _dearest(bill)},
        "total": use(bill.total),
        "gpu_hour_usd": bill.gpu_hour,
        "gpu_hour_from": bill.gpu_hour_from,
        "aws": {
            "is_estimated": True,
            "region": bill.prices.region,
            "prices_noted": bill.prices.noted,
            "usd": bill.aws_usd,
            "standing_usd": bill.aws_usd - bill.aws_work_usd,
            "parts": [{"what": part.what, "units": part.units, "usd": part.usd} for part in bill.aws],
        },
        "usd_per_1000_images": dict(
            zip(("gpu", "aws", "total"), (bill.per_thousand(usd) for usd in _of_work(bill)), strict=True)
        ),
    }
