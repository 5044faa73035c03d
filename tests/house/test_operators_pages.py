"""The operator's pages: settings, sections and links that they name are there."""

from __future__ import annotations

import re

import pytest
import yaml

from chalicelib.contract.counts import Metric
from infra.package import ROOT
from infra.prices import Load, read_prices

PAGE = (ROOT / "docs/limits.md").read_text()
TEMPLATE = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())


def test_every_constant_is_where_the_page_says() -> None:
    """Whoever follows the page to raise a limit finds it."""
    found = re.findall(r"((?:`[A-Z_]+`(?: \([^)]*\))?,? )+)in ((?:`[\w/.]+`(?:, )?)+)", PAGE)
    assert len(found) > 10
    for names, paths in found:
        for path in re.findall(r"`([\w/.]+)`", paths):
            text = (ROOT / path).read_text()
            for name in re.findall(r"`([A-Z_]+)`", names):
                assert re.search(rf"^{name}\b.*=", text, re.MULTILINE), (name, path)


def test_every_parameter_is_one_of_the_stack() -> None:
    """`deploy --set` takes what the page offers."""
    parameters = TEMPLATE["Parameters"]
    offered = re.findall(r"[Pp]arameters? ((?:`\w+`(?:, )?)+)", PAGE)
    assert len(offered) > 3
    for name in re.findall(r"`(\w+)`", " ".join(offered)):
        assert name in parameters, name


def test_the_cost_table_adds_up() -> None:
    """docs/costs.md says what `infra cost` reckons with, and the stack has as many alarms as are paid for."""
    costs, prices = (ROOT / "docs/costs.md").read_text(), read_prices()
    thousand = sum(part.usd for part in prices.estimate(Load(days=0, jobs=1000, files=1000)))
    month = sum(part.usd for part in prices.estimate(Load(days=30, jobs=0, files=0)))
    worker = sum(part.usd for part in prices.estimate(Load(days=30, jobs=0, files=0, workers=1))) - month
    assert f"| **together** | | | | **{thousand:.2f}** |" in costs and f"${thousand:.2f} of AWS" in costs
    assert f"| **together** | **{month:.2f}** |" in costs and f"${month:.2f} a month" in costs
    assert re.search(rf"^\| each worker .*\| {worker:.2f} \|$", costs, re.MULTILINE)
    units = {part.what: part.units for part in prices.estimate(Load(days=0, jobs=1000, files=1000))}
    assert f"| {units['DynamoDB write units']:,.0f} |" in costs and f"| {units['EventBridge events']:,.0f} |" in costs
    alarms = [each for each in TEMPLATE["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert prices.per_day["alarms"] == len(alarms)
    assert f"the other {len(Metric) - int(prices.per_day['metrics'])} metrics" in costs


@pytest.mark.parametrize("page", ["operating.md", "verify-live.md"])
def test_the_list_at_the_top_has_every_section(page: str) -> None:
    """Whoever has an incident finds the section from the first screen."""
    text = (ROOT / "docs" / page).read_text()
    top = text.split("\n## ")[0]
    for heading in re.findall(r"^## (.+)$", text, re.MULTILINE):
        assert f"[{heading}](" in top, f"{page} lacks a line for {heading}"


def test_every_link_of_the_operators_pages_leads_somewhere() -> None:
    """Files and headings that the pages point to are there."""
    for page in ("limits.md", "threats.md", "architecture.md", "costs.md", "operating.md", "verify-live.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "docs" / page).read_text()):
            if "://" in target:
                continue
            path, _, heading = target.partition("#")
            file = ROOT / "docs" / (path or page)
            assert file.exists(), (page, target)
            if heading:
                headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}
                assert heading in slugs, (page, target)
