"""The HTML files stand alone: no library, no request, no template, and at home in a frame that may do little."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page_html.conftest import FILES, Opener, Replies, fail, give, stub
from tests.page_html.news import news, running
from tests.page_html.test_columns_dialog import STATE
from tests.page_html.test_settings_dialog import APART, CONNECTED

NAMES = sorted(path.name for path in FILES.glob("*.html"))
REFUSED = {
    "a template tag": r"<\?",
    "something from elsewhere": r"\b(src|href|action)\s*=|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|Beacon",
    "text as HTML": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment",
    "a window that Google's frame may not open": r"\b(alert|confirm|prompt)\(|window\.open",
    "storage that a frame may not have": r"localStorage|sessionStorage|document\.cookie",
    "a form, whose submission a frame may swallow": r"<form\b",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_stands_alone(name: str) -> None:
    """What Google's frame refuses, or what would make a cell's text run, is not in it."""
    text = (FILES / name).read_text()
    assert [what for what, pattern in REFUSED.items() if re.search(pattern, text)] == []


def framed(chromium: Browser, name: str, replies: Replies) -> Page:
    """Load a file in a frame without an origin that may run scripts and nothing else."""
    page = chromium.new_page(viewport={"width": 480, "height": 560})
    page.set_content('<iframe sandbox="allow-scripts" style="width: 100%; height: 500px"></iframe>')
    html = (FILES / name).read_text().replace("<head>", f"<head><script>{stub(replies)}</script>", 1)
    page.evaluate("(html) => { document.querySelector('iframe').srcdoc = html; }", html)
    return page


@pytest.mark.parametrize(
    ("name", "replies", "words"),
    [
        ("Sidebar.html", {"sidebarNews": [give(news(running(7)))]}, "KSampler, step 12 of 20"),
        ("Settings.html", {"settingsState": [give(CONNECTED)]}, "This spreadsheet is connected"),
        ("Columns.html", {"columnsState": [give(STATE)]}, "Fast pictures from a prompt, 4 steps."),
        ("AddWorkflow.html", {}, "In ComfyUI press Workflow > Export (API)"),
    ],
)
def test_it_works_in_a_frame_that_may_only_run_scripts(
    chromium: Browser, name: str, replies: Replies, words: str
) -> None:
    """So it does in Google's frame and in the sandbox's."""
    page = framed(chromium, name, replies)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    expect(page.frame_locator("iframe").get_by_text(words)).to_be_visible()
    page.close()
    assert faults == []


def test_enter_connects_in_such_a_frame(chromium: Browser) -> None:
    """Pressing Enter is no form's submission, which the frame would refuse."""
    page = framed(chromium, "Settings.html", {"settingsState": [give(APART)], "settingsConnect": [fail("Not today.")]})
    code = page.frame_locator("iframe").get_by_label("One-time code")
    code.fill("cc_4f6a")
    code.press("Enter")
    expect(page.frame_locator("iframe").get_by_text("Not today.")).to_be_visible()
    page.close()


def test_axe_sees_what_it_is_for(load: Opener) -> None:
    """The judge of the other tests finds a button without a name and a pale text."""
    panel = load("Sidebar.html", {"sidebarNews": [give(news(running(7)))]})
    expect(panel.page.get_by_role("progressbar")).to_be_visible()
    spoil = "document.querySelector('main').innerHTML += '<button></button><p style=\"color: #999\">pale</p>'"
    panel.page.evaluate(spoil)
    found = {violation.split(":")[0] for violation in panel.violations()}
    assert {"button-name", "color-contrast"} <= found
