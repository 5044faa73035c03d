"""Share what many tests stand on: the local cloud's protocol and the ledgers on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import botocore.loaders
import botocore.session
import pytest
import yaml
from hypothesis import settings
from xdist.scheduler.loadfile import LoadFileScheduling

from chalicelib.contract.ports import Ledger
from chalicelib.ledger import DynamoLedger
from tests.fakes import MemoryLedger
from tests.sizes import ALL

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from sandbox.cloud import LocalCloud

ROOT = Path(__file__).resolve().parent.parent

# The sample is the same each time, so that a push is judged by what it changes; before a release all is drawn anew,
# also where CI is set, at which hypothesis derandomizes by itself.
settings.register_profile("sample", parent=settings.get_profile("default"), derandomize=True)
settings.register_profile("all", parent=settings.get_profile("default"), derandomize=False, print_blob=True)
settings.load_profile("all" if ALL else "sample")

LONG_FIRST = ("programs", "journeys", "security", "page", "sheet_time", "edges", "house")
"""Folders in the order in which they are begun: a long file begun last would leave the other processes idle."""
TOGETHER = ("programs",)
"""Folders whose files share what is dear to start, so one test process runs them all; elsewhere it is one a file."""


class ByPlace(LoadFileScheduling):
    """Give a test process whole files, and whole folders of those that belong together."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        folder = Path(file).parts[1]
        return folder if folder in TOGETHER else str(file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPlace:
    """Say which tests are one process's (xdist 3.8's own groups are lost on pytest 9.2)."""
    return ByPlace(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Begin with the folders whose files take longest; the many short ones fill the gaps at the end.

    What is for before a release is left out, unless a test is named. Who names tests gets them in the order named.
    """
    if any("::" in each for each in config.args):
        return
    if not ALL:
        later = [item for item in items if item.get_closest_marker("before_release")]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in later]
    places = {name: place for place, name in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(ROOT / "tests").parts[0], len(places)))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Run one local cloud for this test process."""
    from sandbox.cloud import LocalCloud

    cloud = LocalCloud()
    cloud.start(tmp_path_factory.mktemp("cloud"), keep=False)
    yield cloud
    cloud.stop()


@pytest.fixture(scope="session")
def aws(request: pytest.FixtureRequest) -> boto3.Session:
    """Give a session whose clients talk to the local cloud; `tests.mutants` has one running and says so."""
    if "TESTS_ENGINE" in os.environ:
        core = botocore.session.Session()
        core.register_component("data_loader", api_texts())
        return boto3.Session(botocore_session=core)
    cloud: LocalCloud = request.getfixturevalue("cloud")
    return cloud.session()


@cache
def api_texts() -> botocore.loaders.Loader:
    """Hold the descriptions of AWS's APIs: a process that was forked from one that has read them need not read them."""
    return botocore.loaders.create_loader()


@cache
def deployed() -> dict[str, Any]:
    """Read the resources that are deployed, once for all processes that are forked from this one."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "infra/resources.yaml").read_text())["Resources"]
    return loaded


@pytest.fixture(scope="session")
def resources() -> dict[str, Any]:
    """Give the resources that are deployed: tests make their tables from the same text."""
    return deployed()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Run one browser for this test process: Playwright's driver cannot be started twice in one."""
    from playwright.sync_api import sync_playwright

    from tests.page.browser import FLAGS, installed

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=FLAGS)
        yield browser
        browser.close()


def make_table(client: Any, shape: dict[str, Any]) -> str:
    """Create a table of the deployed shape under a name of its own."""
    name = f"jobs-{uuid4().hex[:10]}"
    wanted = ("BillingMode", "KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes")
    client.create_table(TableName=name, **{key: shape[key] for key in wanted if key in shape})
    return name


@pytest.fixture(params=["memory", "dynamo"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Give the twin, then DynamoDB's protocol."""
    if request.param == "memory":
        return MemoryLedger()
    client = request.getfixturevalue("aws").client("dynamodb")
    shape = request.getfixturevalue("resources")["JobsTable"]["Properties"]
    return DynamoLedger(client, make_table(client, shape))
