"""The sidebar shows what the script knows, as text and in words, to everybody."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.page_html.conftest import Opener, Panel, fail, give
from tests.page_html.news import COUNTS, failed, news, running, waiting

FULL = news(
    running(7, title="A red fox crossing a frozen river at dawn, long lens, mist, volumetric light and fine detail"),
    running(8, fraction=None, node="", step=None, steps=None, etaS=None),
    waiting(9, 1, etaS=55),
    waiting(10, 4, etaS=180, title="ثعلب في الثلج"),
    waiting(11, 12, etaS=5400),
    errors=(failed(3), failed(4, "Steps is 900. The workflow takes 1 to 150.")),
    counts={"queued": 40, "done": 12, "cancelled": 2, "pending": 5, "error": 23},
    etaS=360,
    cost={"images": 12, "gpuSeconds": 250, "text": "$0.42"},
    lost=3,
    auto=True,
)
PARKED = {"reason": "The sheet is not shared with the service account", "since": "2026-03-04T09:30:00Z"}
APART = news(connected=False, tab="", workers=None, waiting=None)


def open_sidebar(load: Opener, told: dict[str, Any], **more: Any) -> Panel:
    panel = load("Sidebar.html", {"sidebarNews": [give(told)]}, **more)
    expect(panel.page.locator("#checked")).to_contain_text("Checked at")
    return panel


def test_a_full_sheet_is_told_in_words(load: Opener) -> None:
    """Tab, counts, every job's step, place and time, errors and cost stand there, and how many more there are."""
    page = open_sidebar(load, FULL).page
    expect(page.get_by_role("heading", name="Foxes", level=1)).to_be_visible()
    counts = ["2 processing", "40 queued", "5 pending", "12 done", "23 error", "2 cancelled"]
    expect(page.get_by_role("list", name="Rows of this tab").get_by_role("listitem")).to_have_text(counts)
    expect(page.get_by_text("All done in about 6 min.")).to_be_visible()
    part = page.get_by_role("region", name="Running (2)")
    expect(part.get_by_role("listitem").nth(0)).to_contain_text("KSampler, step 12 of 20")
    expect(part.get_by_role("listitem").nth(0)).to_contain_text("about 40 s left")
    expect(part.get_by_role("listitem").nth(1)).to_contain_text("Starting")
    part = page.get_by_role("region", name="Waiting (40)")
    for number, words in enumerate(
        ["Next in line, about 1 min", "4th in line, about 3 min", "12th in line, about 1 h 30 min"]
    ):
        expect(part.get_by_role("listitem").nth(number)).to_contain_text(words)
    expect(part.get_by_text("and 37 more")).to_be_visible()
    part = page.get_by_role("region", name="Errors (23)")
    expect(part.get_by_role("listitem").nth(1)).to_contain_text("Steps is 900. The workflow takes 1 to 150.")
    expect(part.get_by_text("and 21 more")).to_be_visible()
    expect(page.get_by_text("So far today: 12 images, 4 min of GPU time, $0.42")).to_be_visible()


@pytest.mark.parametrize(
    ("position", "words"),
    [(2, "2nd in line"), (3, "3rd"), (11, "11th"), (13, "13th"), (21, "21st"), (112, "112th"), (None, "In line")],
)
def test_a_place_in_line_is_an_ordinal(load: Opener, position: int | None, words: str) -> None:
    """11th, not 11st; without a known place it is just in line."""
    page = open_sidebar(load, news(waiting(5, position))).page
    expect(page.get_by_role("region", name="Waiting").get_by_role("listitem")).to_contain_text(words)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "a few seconds left"),
        (57, "about 1 min left"),
        (3570, "about 1 h left"),
        (3500, "about 58 min left"),
        (7300, "about 2 h 2 min left"),
    ],
)
def test_times_are_round_words(load: Opener, seconds: int, words: str) -> None:
    """Nobody reads 3,512 s."""
    page = open_sidebar(load, news(running(5, etaS=seconds))).page
    expect(page.get_by_text(words, exact=True)).to_be_visible()


def test_a_bar_says_its_value_or_that_there_is_none(load: Opener) -> None:
    """A progressbar has a name, a value when one is known, and words."""
    page = open_sidebar(load, FULL).page
    known = page.get_by_role("progressbar", name="Row 7")
    expect(known).to_have_attribute("aria-valuenow", "60")
    expect(known).to_have_attribute("aria-valuetext", "60 percent, KSampler, step 12 of 20")
    expect(known.locator("i")).to_have_attribute("style", "transform: scaleX(0.6);")
    unknown = page.get_by_role("progressbar", name="Row 8")
    assert unknown.get_attribute("aria-valuenow") is None
    expect(unknown).to_have_attribute("aria-valuetext", "How far is not known, Starting")
    expect(unknown.locator("i")).to_have_attribute("style", "transform: scaleX(0);")


def test_a_bar_never_moves_by_itself(load: Opener) -> None:
    """Between two polls a bar stands where the last one put it, however long that is."""
    panel = load("Sidebar.html", {"sidebarNews": [give(news(running(7, fraction=0.25))), {"hold": True}]})
    fill = panel.page.get_by_role("progressbar", name="Row 7").locator("i")
    expect(fill).to_have_attribute("style", "transform: scaleX(0.25);")
    panel.wait(100)
    expect(fill).to_have_attribute("style", "transform: scaleX(0.25);")
    assert len(panel.calls()) == 2


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (news(), "Nothing here yet. Select rows that have a prompt, then choose ComfySheet › Generate selected rows"),
        (news(counts={"done": 4}), "Nothing is running. Select rows"),
        (news(counts={"pending": 38}), "38 rows are pending. Choose ComfySheet › Generate all pending"),
        (news(counts={"pending": 1}), "1 row is pending."),
    ],
)
def test_an_empty_sidebar_says_what_to_do(load: Opener, told: dict[str, Any], words: str) -> None:
    """The empty state names the next step."""
    expect(open_sidebar(load, told).page.get_by_role("main")).to_contain_text(words)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (APART, ["This spreadsheet is not connected yet.", "Open Settings"]),
        ({**APART, "message": "This is a copy. Connect it."}, ["This is a copy. Connect it."]),
        (
            news(parked=PARKED),
            ["The sheet is not shared with the service account.", "Mar 4, 2026", "are kept", "Open Settings"],
        ),
        (news(parked={"reason": "not_shared", "since": None}), ["The service cannot write into this spreadsheet."]),
        (news(waiting(4, 1), workers=0), ["No worker is running. Rows wait in line until one starts."]),
        (news(lost=1), ["1 row did not arrive."]),
        (news(lost=3), ["3 rows did not arrive.", "Fetch"]),
        (news(auto=True), ["Auto mode is on: rows whose Status is pending start by themselves."]),
        (news(message="The service did not answer."), ["The service did not answer."]),
    ],
)
def test_what_needs_the_person_stands_at_the_top(load: Opener, told: dict[str, Any], words: list[str]) -> None:
    """Each such state has its notice: what happened, what to do."""
    notices = open_sidebar(load, told).page.get_by_role("complementary", name="Notices")
    for part in words:
        expect(notices).to_contain_text(part)


def test_nothing_is_noticed_when_all_is_well(load: Opener) -> None:
    """No worker is no trouble while nothing waits."""
    page = open_sidebar(load, news(workers=0)).page
    expect(page.locator("#notices > li")).to_have_count(0)


def test_a_notice_goes_when_its_cause_has_gone(load: Opener) -> None:
    """Connecting in Settings ends the notice within seconds."""
    panel = open_sidebar(load, APART)
    panel.reply("sidebarNews", give(news(counts={"done": 1})))
    panel.wait(5)
    expect(panel.page.locator("#notices > li")).to_have_count(0)


def test_what_stands_in_cells_is_text(load: Opener) -> None:
    """A prompt, an error, a node, a tab or a reason that looks like HTML is shown as typed and runs nothing."""
    bad = "<img src=x onerror=window.hacked=1><b>bold</b>"
    told = news(
        running(7, title=bad, node=bad),
        errors=({**failed(8, bad), "title": bad},),
        tab=bad,
        message=bad,
        parked={"reason": bad, "since": bad},
        cost={"images": 1, "gpuSeconds": 0, "text": bad},
        counts={"done": 1},
    )
    page = open_sidebar(load, told).page
    expect(page.get_by_role("heading", level=1)).to_have_text(bad)
    expect(page.get_by_role("region", name="Running")).to_contain_text(bad)
    expect(page.get_by_role("region", name="Errors")).to_contain_text(bad)
    assert page.locator("img, b").count() == 0
    assert page.evaluate("window.hacked") is None


def test_text_that_runs_from_right_to_left_does(load: Opener) -> None:
    """Direction follows the prompt."""
    page = open_sidebar(load, FULL).page
    title = page.get_by_text("ثعلب في الثلج")
    assert title.evaluate("element => getComputedStyle(element).direction") == "rtl"


@pytest.mark.parametrize("text", ["x" * 3000, "word " * 700, "\u200f" + "ثعلب" * 500])
def test_a_long_text_never_makes_the_sidebar_wider(load: Opener, text: str) -> None:
    """No horizontal scroll at 300 px, whatever a cell holds."""
    told = news(
        running(1234567, title=text, node=text),
        waiting(1234568, 123456, title=text),
        errors=({**failed(9, text), "title": text},),
        tab=text[:100],
        message=text[:300],
    )
    page = open_sidebar(load, told).page
    assert page.evaluate("document.documentElement.scrollWidth") == 300
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 300


def test_what_is_spent_is_told_once(load: Opener) -> None:
    """The script's own words when it has them; nothing while nothing was spent."""
    text = "1,204 images, 98 min of GPU time, $4.20"
    page = open_sidebar(load, news(cost={"images": 1204, "gpuSeconds": 5880, "text": text})).page
    expect(page.locator("#cost")).to_have_text(f"So far today: {text}")
    page = open_sidebar(load, news(cost={"images": 0, "gpuSeconds": 0, "text": "0 images, 0 s of GPU time"})).page
    expect(page.locator("#cost")).to_be_hidden()


def test_missing_fields_do_not_break_it(load: Opener) -> None:
    """What is not connected may know no counts at all."""
    page = open_sidebar(load, {"connected": False}).page
    expect(page.get_by_text("This spreadsheet is not connected yet.")).to_be_visible()


def test_a_screen_reader_hears_outcomes_not_steps(load: Opener) -> None:
    """The live region speaks when rows have ended, at most twice a minute, and never for a bar."""
    panel = open_sidebar(load, news(running(7), waiting(8, 1)))
    heard = panel.page.locator("#heard")
    panel.reply("sidebarNews", give(news(running(7, step=13, fraction=0.7), waiting(8, 1))))
    panel.wait(3)
    expect(panel.page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "70")
    expect(heard).to_have_text("")
    panel.reply("sidebarNews", give(news(running(8), counts={"done": 1})))
    panel.wait(3)
    expect(heard).to_have_text("1 done, 0 errors, 1 to go.")
    panel.reply("sidebarNews", give(news(errors=(failed(8),), counts={"done": 1})))
    panel.wait(3)
    expect(panel.page.get_by_role("region", name="Errors")).to_be_visible()
    expect(heard).to_have_text("1 done, 0 errors, 1 to go.")
    panel.wait(60)
    expect(heard).to_have_text("1 done, 1 error, 0 to go.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "told",
    [FULL, APART, news(), news(waiting(3, 1), parked=PARKED, workers=0, message="The service did not answer.")],
    ids=["full", "not connected", "empty", "trouble"],
)
def test_axe_finds_nothing_serious(load: Opener, told: dict[str, Any], scheme: str) -> None:
    """Contrast, names, roles and landmarks hold in both schemes."""
    assert open_sidebar(load, told, scheme=scheme).violations() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_when_polls_fail(load: Opener, scheme: str) -> None:
    """Neither in the failure's sentence."""
    panel = load("Sidebar.html", {"sidebarNews": [fail("No luck.")]}, scheme=scheme)
    expect(panel.page.get_by_text("No luck.")).to_be_visible()
    assert panel.violations() == []


def test_the_counts_word_list_is_the_contract(load: Opener) -> None:
    """Every status word of the contract has its chip."""
    page = open_sidebar(load, news(counts=dict.fromkeys(COUNTS, 2))).page
    shown = {text.removeprefix("2 ") for text in page.locator("#counts > li").all_text_contents()}
    assert shown == set(COUNTS)
