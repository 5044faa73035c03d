"""The sidebar's buttons do what they say, its polls are few, and its lists hold still under the person's hand."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.page_html.conftest import HOLD, Opener, Panel, Replies, fail, give
from tests.page_html.news import failed, news, running, waiting

MIXED = "Google mixes up your accounts in this window. Open this spreadsheet in a browser window where only one"


def open_sidebar(load: Opener, *told: dict[str, Any], **more: Any) -> Panel:
    replies: Replies = {"sidebarNews": [give(one) for one in told], **more}
    panel = load("Sidebar.html", replies)
    expect(panel.page.locator("#checked")).to_contain_text("Checked at")
    return panel


def polls(panel: Panel) -> int:
    return len(panel.calls("sidebarNews"))


def settled(panel: Panel) -> int:
    """Give the number of polls once the last one was answered."""
    expect(panel.page.locator("#checked")).not_to_have_text("Checking …")
    return polls(panel)


def button(panel: Panel, name: str) -> Locator:
    return panel.page.get_by_role("button", name=name, exact=True)


# ---- Buttons -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reply", "call", "said"),
    [
        ("Go to row 7", give({"found": True}), ["sidebarGoTo", "key-7"], ""),
        ("Go to row 3", give({"found": False}), ["sidebarGoTo", "key-3"], "Row 3 is no longer in this spreadsheet."),
        ("Cancel row 7", give({"message": "1 row cancelled."}), ["sidebarCancel", ["key-7"]], "1 row cancelled."),
        ("Cancel row 9", fail("Nobody answers."), ["sidebarCancel", ["key-9"]], "Nobody answers."),
        ("Cancel all waiting", give({"message": "2 rows."}), ["sidebarCancel", ["key-8", "key-9"]], "2 rows."),
        ("Retry row 3", give({"message": "1 row again."}), ["sidebarRetry", ["key-3"]], "1 row again."),
        ("Retry all failed", give({"message": "2 again."}), ["sidebarRetry", ["key-3", "key-4"]], "2 again."),
        ("Fetch 3 rows that did not arrive", give({"message": "3 rows."}), ["sidebarFetch"], "3 rows."),
    ],
)
@pytest.mark.parametrize("how", ["mouse", "Enter", "Space"])
def test_a_button_asks_the_script_for_what_it_says(
    load: Opener, name: str, reply: dict[str, Any], call: list[Any], said: str, how: str
) -> None:
    """Each button calls its function once with the right keys and shows the answer; the keyboard serves as well."""
    panel = open_sidebar(
        load,
        news(running(7), waiting(8, 1), waiting(9, 2), errors=(failed(3), failed(4)), lost=3),
        **{call[0]: [reply]},
    )
    pressed = button(panel, name)
    if how == "mouse":
        pressed.click()
    else:
        pressed.focus()
        pressed.press(how)
    expect(panel.page.locator("#said")).to_have_text(said)
    assert panel.calls(call[0]) == [call]


@pytest.mark.parametrize("state", ["connect", "parked"])
def test_settings_open_from_the_notice(load: Opener, state: str) -> None:
    """What only Settings can mend has a way there."""
    told = news(connected=False) if state == "connect" else news(parked={"reason": "Not shared.", "since": None})
    panel = open_sidebar(load, told, settings=[give(None)])
    button(panel, "Open Settings").click()
    assert panel.calls("settings") == [["settings"]]
    expect(button(panel, "Open Settings")).not_to_have_attribute("aria-disabled", "true")


def test_a_second_press_does_nothing_while_the_first_is_under_way(load: Opener) -> None:
    """The button says what it is doing until news that are younger than the answer have come, and keeps the focus."""
    told = news(running(7))
    panel = open_sidebar(load, told, sidebarCancel=[HOLD])
    button(panel, "Cancel row 7").click()
    working = button(panel, "Cancelling … Cancel row 7")
    expect(working).to_have_text("Cancelling …")
    expect(working).to_be_focused()
    working.press("Enter")
    panel.release(give({"message": "1 row cancelled."}))
    expect(panel.page.locator("#said")).to_have_text("1 row cancelled.")
    working.press("Enter")
    assert len(panel.calls("sidebarCancel")) == 1
    panel.reply("sidebarNews", give(told))
    panel.wait(3)
    expect(button(panel, "Cancel row 7")).to_have_text("Cancel")


def test_news_asked_before_the_answer_do_not_end_the_wait(load: Opener) -> None:
    """A poll that was under way when the answer came cannot know the outcome."""
    panel = open_sidebar(load, news(running(7)), sidebarCancel=[HOLD])
    panel.reply("sidebarNews", HOLD, give(news(counts={"cancelled": 1})))
    button(panel, "Cancel row 7").click()
    panel.wait(3)
    assert polls(panel) == 2
    panel.release(give({"message": "1 row cancelled."}))
    panel.release(give(news(running(7))))
    expect(button(panel, "Cancelling … Cancel row 7")).to_be_visible()
    panel.wait(3)
    expect(panel.page.get_by_text("Nothing here yet.")).to_be_visible()


def test_cancel_all_goes_on_with_those_that_were_not_listed(load: Opener) -> None:
    """Only some rows are listed. The rest follows as the news list them, each once, and then it ends."""
    first = news(*(waiting(row, row) for row in (1, 2)), counts={"queued": 4})
    second = news(*(waiting(row, row) for row in (2, 3, 4)), counts={"queued": 3})
    panel = open_sidebar(load, first, first, second, news(), sidebarCancel=[give({"message": "Done."})])
    button(panel, "Cancel all waiting").click()
    for seconds in (3, 3):
        settled(panel)
        panel.wait(seconds)
    expect(panel.page.locator("#said")).to_have_text("Asked to cancel 4 rows.")
    assert panel.calls("sidebarCancel") == [
        ["sidebarCancel", ["key-1", "key-2"]],
        ["sidebarCancel", ["key-3", "key-4"]],
    ]


def test_retry_all_ends_when_the_rest_never_shows_up(load: Opener) -> None:
    """Rows that are counted but never listed do not keep it going for ever."""
    told = news(errors=(failed(3),), counts={"error": 9})
    panel = open_sidebar(load, told, sidebarRetry=[give({"message": "Done."})])
    button(panel, "Retry all failed").click()
    for _ in range(15):
        settled(panel)
        panel.wait(30)
    expect(panel.page.locator("#said")).to_have_text("")
    expect(button(panel, "Retry all failed")).to_be_visible()
    assert panel.calls("sidebarRetry") == [["sidebarRetry", ["key-3"]]]


def test_retry_all_ends_when_rows_fail_again(load: Opener) -> None:
    """A retried row has a new key. It is not retried for ever: no more rows are sent than had failed."""
    counts = {"error": 3}
    fresh = [news(errors=({**failed(3), "key": f"new-{turn}"},), counts=counts) for turn in range(9)]
    panel = open_sidebar(load, *fresh, sidebarRetry=[give({"message": "1 row again."})])
    button(panel, "Retry all failed").click()
    for _ in range(6):
        settled(panel)
        panel.wait(3)
    assert panel.calls("sidebarRetry") == [["sidebarRetry", [f"new-{turn}"]] for turn in range(3)]
    expect(panel.page.locator("#said")).to_have_text("Asked to retry 3 rows.")


def test_a_row_without_a_job_id_is_left_to_the_menu(load: Opener) -> None:
    """Nothing is ever asked for an empty key: it could mean any row that has none."""
    nameless = {**failed(3), "key": ""}
    panel = open_sidebar(load, news(errors=(nameless, {**failed(4), "key": ""}, failed(5))), sidebarRetry=[HOLD])
    expect(panel.page.get_by_role("region", name="Errors").get_by_role("listitem")).to_have_count(3)
    expect(button(panel, "Retry row 3")).to_have_count(0)
    button(panel, "Go to row 3").click()
    expect(panel.page.locator("#said")).to_contain_text("Row 3 has no Job ID.")
    button(panel, "Retry all failed").click()
    assert panel.calls("sidebarRetry") == [["sidebarRetry", ["key-5"]]]
    assert panel.calls("sidebarGoTo") == []


def test_a_copied_row_stands_there_beside_the_other(load: Opener) -> None:
    """Both have the same Job ID; both are shown, and updates keep them apart."""
    twins = (waiting(8, 1), {**waiting(9, 1), "key": "key-8"})
    panel = open_sidebar(load, news(*twins))
    rows = panel.page.get_by_role("region", name="Waiting").locator("button.row")
    expect(rows).to_have_text(["Row 8", "Row 9"])
    panel.reply("sidebarNews", give(news(*twins, waiting(10, 2))))
    panel.wait(3)
    expect(rows).to_have_text(["Row 8", "Row 9", "Row 10"])


def test_cancel_all_stops_at_the_first_failure(load: Opener) -> None:
    """The sentence is shown, and the button is there again."""
    told = news(waiting(1, 1), counts={"queued": 4})
    panel = open_sidebar(load, told, sidebarCancel=[fail("The service is busy. Try again in a minute.")])
    button(panel, "Cancel all waiting").click()
    expect(panel.page.locator("#said")).to_have_text("The service is busy. Try again in a minute.")
    settled(panel)
    panel.wait(3)
    expect(button(panel, "Cancel all waiting")).to_have_text("Cancel all waiting")
    assert len(panel.calls("sidebarCancel")) == 1


def test_the_answer_to_a_press_goes_after_a_while(load: Opener) -> None:
    """What was said half a minute ago no longer stands there."""
    panel = open_sidebar(load, news(running(7)), sidebarCancel=[give({"message": "1 row cancelled."})])
    button(panel, "Cancel row 7").click()
    expect(panel.page.locator("#said")).to_have_text("1 row cancelled.")
    panel.wait(31)
    expect(panel.page.locator("#said")).to_have_text("")


# ---- Polls ---------------------------------------------------------------------------------------------------------


def test_polls_grow_rare_while_nothing_changes(load: Opener) -> None:
    """3, 5, 10 and then every 30 seconds; a change starts anew."""
    panel = open_sidebar(load, news(counts={"done": 1}))
    expected = 1
    for seconds in (3, 5, 10, 30, 30):
        panel.wait(seconds - 0.1)
        assert settled(panel) == expected
        panel.wait(0.1)
        expected += 1
        assert settled(panel) == expected
    panel.reply("sidebarNews", give(news(counts={"done": 2})))
    panel.wait(30)
    assert settled(panel) == expected + 1
    panel.wait(3)
    assert settled(panel) == expected + 2


@pytest.mark.parametrize("told", [news(running(7)), news(connected=False)], ids=["rendering", "not connected"])
def test_polls_stay_at_ten_seconds_while_something_is_about_to_happen(load: Opener, told: dict[str, Any]) -> None:
    """A slow step is not the end of the work."""
    panel = open_sidebar(load, told)
    for count, seconds in enumerate((3, 5, 10, 10, 10), 2):
        panel.wait(seconds)
        assert settled(panel) == count


def test_the_service_may_ask_for_fewer_polls(load: Opener) -> None:
    """pollS is the least pause."""
    panel = open_sidebar(load, news(counts={"done": 1}, pollS=20))
    for count, seconds in enumerate((20, 20, 20, 30), 2):
        panel.wait(seconds - 0.1)
        assert settled(panel) == count - 1
        panel.wait(0.1)
        assert settled(panel) == count


def test_there_are_never_two_polls_at_once(load: Opener) -> None:
    """Whatever is pressed or shown meanwhile, a poll waits for the one before it."""
    panel = open_sidebar(load, news(running(7)), sidebarCancel=[give({"message": "Yes."})])
    panel.reply("sidebarNews", HOLD)
    panel.wait(3)
    assert polls(panel) == 2
    button(panel, "Refresh").click()
    button(panel, "Cancel row 7").click()
    expect(panel.page.locator("#said")).to_have_text("Yes.")
    panel.hide(True)
    panel.hide(False)
    panel.wait(60)
    assert polls(panel) == 2
    panel.release(give(news()))
    panel.wait(3)
    assert polls(panel) == 3


def test_a_press_brings_the_next_poll_near(load: Opener) -> None:
    """Whoever pressed something sees the outcome after 3 s, even when polls had grown rare."""
    told = news(errors=(failed(3),))
    panel = open_sidebar(load, told, sidebarRetry=[give({"message": "Yes."})])
    for seconds in (3, 5, 10):
        panel.wait(seconds)
        settled(panel)
    before = polls(panel)
    button(panel, "Retry row 3").click()
    expect(panel.page.locator("#said")).to_have_text("Yes.")
    panel.wait(2.9)
    assert polls(panel) == before
    panel.wait(0.1)
    assert polls(panel) == before + 1


def test_nobody_looks_and_nothing_is_asked(load: Opener) -> None:
    """A hidden tab polls not at all; when it is shown again, it polls at once."""
    panel = open_sidebar(load, news(running(7)))
    panel.hide(True)
    panel.wait(3600)
    assert polls(panel) == 1
    panel.hide(False)
    assert polls(panel) == 2
    settled(panel)
    panel.wait(5)
    assert settled(panel) == 3


def test_an_answer_that_comes_while_hidden_starts_no_timer(load: Opener) -> None:
    """The poll that was under way is the last one."""
    panel = open_sidebar(load, news(running(7)))
    panel.reply("sidebarNews", HOLD)
    panel.wait(3)
    panel.hide(True)
    panel.release(give(news()))
    panel.wait(3600)
    assert polls(panel) == 2


def test_cancel_all_goes_on_while_hidden(load: Opener) -> None:
    """Work that the person started is not left half done."""
    first = news(waiting(1, 1), counts={"queued": 2})
    panel = open_sidebar(load, first, news(waiting(2, 1)), sidebarCancel=[give({"message": "Done."})])
    button(panel, "Cancel all waiting").click()
    panel.hide(True)
    panel.wait(3)
    settled(panel)
    assert panel.calls("sidebarCancel") == [["sidebarCancel", ["key-1"]], ["sidebarCancel", ["key-2"]]]
    panel.wait(3600)
    assert polls(panel) == 2


def test_after_ten_quiet_minutes_it_waits_for_the_person(load: Opener) -> None:
    """Polling stops, says so, and starts again by Refresh."""
    panel = open_sidebar(load, news(counts={"done": 1}))
    for _ in range(40):
        panel.wait(30)
        settled(panel)
    expect(panel.page.get_by_text("Paused: nothing changed for 10 minutes.")).to_be_visible()
    before = polls(panel)
    assert before <= 4 + 10 * 60 / 30
    panel.wait(3600)
    assert polls(panel) == before
    button(panel, "Refresh").click()
    assert settled(panel) == before + 1
    expect(panel.page.locator("#checked")).to_contain_text("Checked at")
    panel.wait(5)
    assert settled(panel) == before + 2


def test_news_keep_it_awake(load: Opener) -> None:
    """As long as something changes, it does not pause."""
    panel = open_sidebar(load, news(counts={"done": 0}))
    for number in range(1, 30):
        panel.reply("sidebarNews", give(news(counts={"done": number})))
        panel.wait(30)
        settled(panel)
    before = polls(panel)
    panel.reply("sidebarNews", give(news(counts={"done": 99})))
    panel.wait(30)
    assert settled(panel) > before


# ---- Failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("The service did not answer.", "The service did not answer. Trying again by itself."),
        ("Exception: The service did not answer.", "The service did not answer. Trying again by itself."),
        ("NetworkError: Connection failure due to HTTP 0", "Google cannot be reached. Is this computer online?"),
        ("", "Google cannot be reached."),
        ("Authorization is required to perform that action.", MIXED),
        ("ScriptError: Authorization is required to perform that action", MIXED),
        ("We're sorry, a server error occurred while reading from storage. Error code PERMISSION_DENIED.", MIXED),
    ],
)
def test_a_poll_that_fails_says_so_in_a_sentence(load: Opener, message: str, words: str) -> None:
    """What is shown stays, and a notice says what happened."""
    panel = open_sidebar(load, news(running(7)))
    panel.reply("sidebarNews", fail(message))
    panel.wait(3)
    expect(panel.page.get_by_role("complementary", name="Notices")).to_contain_text(words)
    expect(panel.page.get_by_role("progressbar", name="Row 7")).to_be_visible()


def test_failures_are_tried_again_less_and_less_often(load: Opener) -> None:
    """After 5, 10, 30 and then every 60 seconds; the first answer ends it."""
    panel = load("Sidebar.html", {"sidebarNews": [fail("No luck.")]})
    expect(panel.page.get_by_text("No luck.")).to_be_visible()
    for count, seconds in enumerate((5, 10, 30, 60, 60, 60), 2):
        panel.wait(seconds - 0.1)
        assert settled(panel) == count - 1
        panel.wait(0.1)
        assert settled(panel) == count
    panel.reply("sidebarNews", give(news()))
    panel.wait(60)
    expect(panel.page.get_by_text("No luck.")).to_have_count(0)
    expect(panel.page.get_by_text("Nothing here yet.")).to_be_visible()
    before = settled(panel)
    panel.wait(3)
    assert settled(panel) == before + 1


def test_two_accounts_are_tried_slowly(load: Opener) -> None:
    """Only the person can mend it; still, polling goes on once a minute, and pressing Refresh looks at once."""
    panel = load("Sidebar.html", {"sidebarNews": [fail("Authorization is required to perform that action.")]})
    expect(panel.page.get_by_text(MIXED)).to_be_visible()
    panel.wait(59)
    assert settled(panel) == 1
    panel.wait(1)
    assert settled(panel) == 2
    button(panel, "Refresh").click()
    assert settled(panel) == 3


@pytest.mark.parametrize("name", ["Cancel row 7", "Go to row 7"])
def test_a_press_that_fails_says_so_too(load: Opener, name: str) -> None:
    """Two accounts break the buttons as well as the polls."""
    refusal = fail("Authorization is required to perform that action.")
    panel = open_sidebar(load, news(running(7)), sidebarCancel=[refusal], sidebarGoTo=[refusal])
    button(panel, name).click()
    expect(panel.page.locator("#said")).to_contain_text(MIXED)
    expect(button(panel, "Cancel row 7")).to_have_text("Cancel")


def test_an_answer_that_never_comes_is_given_up(load: Opener) -> None:
    """After two minutes the poll counts as failed; should its answer come later still, it is not shown."""
    panel = open_sidebar(load, news(tab="New"))
    panel.reply("sidebarNews", HOLD, give(news(tab="Newer")))
    panel.wait(3)
    panel.wait(120)
    expect(panel.page.get_by_text("Google did not answer within two minutes.")).to_be_visible()
    panel.wait(5)
    expect(panel.page.get_by_role("heading", name="Newer")).to_be_visible()
    panel.release(give(news(tab="Old")))
    expect(panel.page.get_by_role("heading", name="Newer")).to_be_visible()


def test_an_empty_answer_is_a_failure(load: Opener) -> None:
    """Google gives null for what it cannot pass on."""
    panel = load("Sidebar.html", {"sidebarNews": [give(None)]})
    expect(panel.page.get_by_text("The script gave no answer. Trying again by itself.")).to_be_visible()


# ---- Holding still -------------------------------------------------------------------------------------------------


def test_an_update_keeps_the_focus_whatever_moves(load: Opener) -> None:
    """Jobs come, go, and change places and lists around the button that has the focus; it stays the same button."""
    panel = open_sidebar(load, news(running(1), waiting(2, 1), waiting(3, 2), waiting(4, 3), errors=(failed(9),)))
    held = button(panel, "Cancel row 3")
    held.focus()
    panel.page.evaluate("window.held_button = document.activeElement")
    panel.page.evaluate(
        """() => {
          const item = window.held_button.closest('li');
          window.moves = 0;
          const count = (records) => {
            window.moves += records.filter(({ removedNodes }) => [...removedNodes].includes(item)).length;
          };
          new MutationObserver(count).observe(item.parentNode, { childList: true });
        }"""
    )
    same_list = news(running(2), waiting(4, 1), waiting(5, 2), waiting(3, 3), waiting(6, 4), lost=2)
    panel.reply("sidebarNews", give(same_list))
    panel.wait(3)
    order = panel.page.get_by_role("region", name="Waiting").locator("button.row")
    expect(order).to_have_text(["Row 4", "Row 5", "Row 3", "Row 6"])
    expect(held).to_be_focused()
    assert panel.page.evaluate("[document.activeElement === window.held_button, window.moves]") == [True, 0]
    panel.reply("sidebarNews", give(news(running(3), waiting(5, 1))))
    panel.wait(3)
    expect(panel.page.get_by_role("progressbar", name="Row 3")).to_be_visible()
    expect(held).to_be_focused()
    assert panel.page.evaluate("document.activeElement === window.held_button")


def test_when_the_row_is_gone_the_focus_goes_to_its_neighbour(load: Opener) -> None:
    """Next the button of the row that took its place, then of the one before, then the main part."""
    panel = open_sidebar(load, news(waiting(1, 1), waiting(2, 2), waiting(3, 3)))
    button(panel, "Cancel row 2").focus()
    for left, name in (((1, 3), "Cancel row 3"), ((1,), "Cancel row 1")):
        panel.reply("sidebarNews", give(news(*(waiting(row, row) for row in left))))
        panel.wait(3)
        expect(button(panel, name)).to_be_focused()
    panel.reply("sidebarNews", give(news()))
    panel.wait(3)
    expect(panel.page.get_by_role("main")).to_be_focused()


def test_an_update_does_not_steal_the_focus(load: Opener) -> None:
    """Without a focus here, news take none: the person may be typing in the sheet."""
    panel = open_sidebar(load, news(waiting(1, 1)))
    panel.reply("sidebarNews", give(news(running(2), errors=(failed(1),))))
    panel.wait(3)
    expect(button(panel, "Retry row 1")).to_be_visible()
    assert panel.page.evaluate("document.activeElement === document.body")


def test_an_update_keeps_the_scroll(load: Opener) -> None:
    """Where the person reads stays in view, although a notice and rows come above it."""
    jobs = [waiting(row, row) for row in range(2, 30)]
    panel = open_sidebar(load, news(*jobs, counts={"error": 0}))
    held = button(panel, "Cancel row 20")
    held.scroll_into_view_if_needed()
    held.focus()
    before = held.bounding_box()
    panel.reply("sidebarNews", give(news(running(100), running(101), *jobs, lost=3)))
    panel.wait(3)
    expect(panel.page.get_by_text("3 rows did not arrive.")).to_be_attached()
    after = held.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) < 40


def test_news_of_the_same_job_change_its_item(load: Opener) -> None:
    """The bar moves; it is not built anew, or it would jump."""
    panel = open_sidebar(load, news(running(7, fraction=0.2)))
    panel.page.evaluate("window.bar = document.querySelector('[role=progressbar]')")
    panel.reply("sidebarNews", give(news(running(7, fraction=0.9, step=18, etaS=4))))
    panel.wait(3)
    expect(panel.page.get_by_role("progressbar", name="Row 7")).to_have_attribute("aria-valuenow", "90")
    expect(panel.page.get_by_text("KSampler, step 18 of 20")).to_be_visible()
    assert panel.page.evaluate("window.bar === document.querySelector('[role=progressbar]')")


def test_every_button_is_reached_by_the_keyboard_in_order(load: Opener) -> None:
    """Tab goes from the top to Refresh, through each button once, and each shows that it has the focus."""
    panel = open_sidebar(load, news(running(7), waiting(8, 1), errors=(failed(3),), lost=1))
    names = []
    for _ in range(10):
        panel.page.keyboard.press("Tab")
        told = panel.page.evaluate(
            "[document.activeElement.getAttribute('aria-label') || document.activeElement.textContent,"
            " getComputedStyle(document.activeElement).outlineStyle]"
        )
        assert told[1] == "solid"
        names.append(told[0])
    assert names == [
        "Fetch 1 row that did not arrive",
        "Go to row 7",
        "Cancel row 7",
        "Cancel all waiting",
        "Go to row 8",
        "Cancel row 8",
        "Retry all failed",
        "Go to row 3",
        "Retry row 3",
        "Refresh",
    ]
