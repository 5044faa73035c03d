"""Load an HTML file of the script in a real Chromium, with a stand-in for google.script.run and a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.page.axe import source

HERE = Path(__file__).resolve().parent
FILES = HERE.parent.parent / "apps_script"
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
Replies = dict[str, list[dict[str, Any]]]


def give(value: Any = None) -> dict[str, Any]:
    """Answer a call with *value*."""
    return {"give": value}


def fail(message: str) -> dict[str, Any]:
    """Answer a call with an error."""
    return {"fail": message}


HOLD: dict[str, Any] = {"hold": True}


def stub(replies: Replies) -> str:
    """Give the stand-in for google.script as JavaScript, with its first replies."""
    start = json.dumps(json.dumps(replies))[1:-1].replace("'", "\\'")
    return (HERE / "stub.js").read_text().replace("START", start)


class Panel:
    """Be one loaded HTML file and what it asks of the script."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def calls(self, name: str | None = None) -> list[list[Any]]:
        """Give the calls so far: the function's name, then its arguments."""
        made: list[list[Any]] = self.page.evaluate("window.calls")
        return [call for call in made if name in (None, call[0])]

    def reply(self, name: str, *replies: dict[str, Any]) -> None:
        """Set the next replies of a function; the last one is repeated."""
        self.page.evaluate("([name, replies]) => { window.replies[name] = replies; }", [name, list(replies)])

    def release(self, reply: dict[str, Any]) -> None:
        """Answer the oldest call that is held."""
        self.page.evaluate("(reply) => window.held.shift()(reply)", reply)

    def hide(self, hidden: bool) -> None:
        """Say that the browser's tab is hidden or shown."""
        self.page.evaluate("(hidden) => window.hide(hidden)", hidden)

    def wait(self, seconds: float) -> None:
        """Let the page's clock run."""
        self.page.clock.run_for(round(seconds * 1000))

    def violations(self) -> list[str]:
        """Name what axe-core finds that is serious or critical. From here on the clock runs: axe needs its timers."""
        self.page.clock.resume()
        self.page.evaluate(source())
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [
            f"{one['id']}: {node['html']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]


Opener = Callable[..., Panel]


@pytest.fixture
def load(chromium: Browser) -> Iterator[Opener]:
    """Give a function that loads a file; an error in the page or a request to anywhere fails the test."""
    faults: list[str] = []
    pages: list[Page] = []

    def open_file(name: str, replies: Replies, *, width: int = 300, height: int = 700, scheme: str = "light") -> Panel:
        page = chromium.new_page(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            locale="en-US",
            timezone_id="UTC",
        )
        pages.append(page)
        page.set_default_timeout(5000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith("file:") else faults.append(request.url))
        page.clock.install(time=NOON)
        page.clock.pause_at(NOON + timedelta(seconds=1))
        page.add_init_script(stub(replies))
        page.goto((FILES / name).as_uri())
        return Panel(page)

    yield open_file
    for page in pages:
        page.close()
    assert faults == []
