"""The settings dialog says how the spreadsheet is connected and what to do, and each button does what it says."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.page_html.conftest import HOLD, Opener, Panel, fail, give

APART: dict[str, Any] = {
    "connected": False,
    "isCopy": False,
    "url": "https://api.example.com/api",
    "fixedUrl": False,
    "keyId": "",
    "client": "",
    "serviceAccount": "",
    "auto": False,
    "imagesAsked": False,
    "usage": None,
    "limits": None,
    "workers": None,
    "parked": None,
    "refused": False,
    "trouble": "",
    "version": "",
}
ACCOUNT = "comfysheet-writer@studio-a-481516.iam.gserviceaccount.com"
CONNECTED: dict[str, Any] = {
    **APART,
    "connected": True,
    "keyId": "0123456789ab",
    "client": "studio-a",
    "serviceAccount": ACCOUNT,
    "usage": {"images": 12, "gpuSeconds": 250, "text": "$0.42"},
    "limits": {"rowsPerRequest": 100, "queuedMax": 500},
    "workers": 2,
    "version": "0.4.0",
}
COPY = {**APART, "isCopy": True, "fixedUrl": True}
PARKED = {
    **CONNECTED,
    "parked": {"reason": "The tab is protected.", "since": "2026-03-04T09:30:00Z"},
    "trouble": "The service did not answer. Try again in a minute.",
    "workers": 0,
}
MIXED = "Google mixes up your accounts in this window."


def open_settings(load: Opener, state: dict[str, Any], scheme: str = "light", **replies: Any) -> Panel:
    panel = load("Settings.html", {"settingsState": [give(state)], **replies}, width=480, height=560, scheme=scheme)
    title = "This spreadsheet is connected" if state["connected"] else "Connect this spreadsheet"
    expect(panel.page.get_by_role("heading", name=title, level=1)).to_be_visible()
    return panel


def button(panel: Panel, name: str) -> Locator:
    return panel.page.get_by_role("button", name=name, exact=True)


def fill(panel: Panel, code: str, url: str | None = None) -> None:
    if url is not None:
        panel.page.get_by_label("Address of the service").fill(url)
    panel.page.get_by_label("One-time code").fill(code)


# ---- Connecting ----------------------------------------------------------------------------------------------------


def test_who_is_not_connected_learns_what_to_ask_for(load: Opener) -> None:
    """Address and code, whom to ask, and what a code looks like; nothing of a connection that is not there."""
    page = open_settings(load, APART).page
    expect(page.get_by_label("Address of the service")).to_have_value("https://api.example.com/api")
    expect(
        page.get_by_text("Ask whoever runs your ComfySheet service for its address and for a one-time")
    ).to_be_visible()
    expect(page.get_by_text("It starts with cc_ and works once.")).to_be_visible()
    for name in ("Test", "Disconnect", "Allow previews", "Copy the address"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(page.get_by_role("switch")).to_have_count(0)


def test_a_fixed_address_is_not_asked_for(load: Opener) -> None:
    """Where the address was stamped in at deploy, only the code is missing."""
    panel = open_settings(load, {**APART, "fixedUrl": True}, settingsConnect=[give({**CONNECTED, "message": "Yes."})])
    expect(panel.page.get_by_label("Address of the service")).to_be_hidden()
    expect(panel.page.get_by_text("for a one-time code for this spreadsheet, and paste it here.")).to_be_visible()
    fill(panel, "cc_abc")
    button(panel, "Connect").click()
    expect(button(panel, "Test")).to_be_visible()
    assert panel.calls("settingsConnect") == [["settingsConnect", "https://api.example.com/api", "cc_abc"]]


def test_a_copy_says_that_it_needs_a_code_of_its_own(load: Opener) -> None:
    """A copied sheet is not connected by accident, and says why."""
    page = open_settings(load, COPY).page
    expect(page.get_by_text("This spreadsheet is a copy.")).to_be_visible()
    expect(page.get_by_text("The copy needs a code of its own.")).to_be_visible()
    expect(open_settings(load, APART).page.get_by_text("This spreadsheet is a copy.")).to_be_hidden()


@pytest.mark.parametrize("how", ["mouse", "Enter"])
@pytest.mark.parametrize("code", ["cc_4f6a", "ck_0123456789ab_secret"])
def test_connecting_says_what_it_does_and_then_that_it_is_done(load: Opener, code: str, how: str) -> None:
    """One call with both texts trimmed; meanwhile no second press; afterwards the connection and the focus on top."""
    panel = open_settings(load, APART, settingsConnect=[HOLD])
    fill(panel, f"  {code} ", " https://other.example.com ")
    if how == "mouse":
        button(panel, "Connect").click()
    else:
        panel.page.get_by_label("One-time code").press("Enter")
    expect(panel.page.get_by_text("Connecting. The service makes sure that you may edit")).to_be_visible()
    expect(button(panel, "Connecting …")).to_have_attribute("aria-disabled", "true")
    panel.page.get_by_label("One-time code").press("Enter")
    button(panel, "Connecting …").press("Enter")
    assert panel.calls("settingsConnect") == [["settingsConnect", "https://other.example.com", code]]
    panel.release(give({**CONNECTED, "message": "Connected. Now set up this sheet."}))
    expect(panel.page.get_by_role("heading", name="This spreadsheet is connected")).to_be_focused()
    expect(panel.page.locator("#said")).to_have_text("Connected. Now set up this sheet.")
    assert panel.page.locator("#code").input_value() == ""


@pytest.mark.parametrize(
    ("code", "url", "words", "at"),
    [
        ("", None, "Paste the code here.", "One-time code"),
        ("4f6a", None, "That is not a code. A code looks like cc_", "One-time code"),
        ("cc_", None, "That is not a code.", "One-time code"),
        ("cc_4f6a", "", "Enter the address of the service.", "Address of the service"),
        ("cc_4f6a", "api.example.com", "It starts with https://", "Address of the service"),
    ],
)
def test_what_cannot_be_right_is_told_at_its_field(
    load: Opener, code: str, url: str | None, words: str, at: str
) -> None:
    """Nothing is asked; the field is marked, described by the sentence and has the focus; typing clears the mark."""
    panel = open_settings(load, APART)
    fill(panel, code, url)
    button(panel, "Connect").click()
    field = panel.page.get_by_label(at)
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    described = field.get_attribute("aria-describedby")
    assert described is not None
    expect(panel.page.locator(f"#{described.split()[0]}")).to_contain_text(words)
    assert panel.calls("settingsConnect") == []
    field.press_sequentially("x")
    expect(field).to_have_attribute("aria-invalid", "false")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (fail("This code was used already. Ask for a new one."), "This code was used already. Ask for a new one."),
        (fail("Authorization is required to perform that action."), MIXED),
        (give({**APART, "message": "Nothing came back in 40 s."}), "Nothing came back in 40 s."),
        (give({**APART}), "The spreadsheet is not connected. Try again."),
    ],
)
def test_a_connection_that_fails_says_why_in_place(load: Opener, reply: dict[str, Any], words: str) -> None:
    """What was typed stays, so that the next try is one press away."""
    panel = open_settings(load, APART, settingsConnect=[reply])
    fill(panel, "cc_4f6a")
    button(panel, "Connect").click()
    expect(panel.page.locator("#connect-said")).to_contain_text(words)
    expect(panel.page.get_by_label("One-time code")).to_have_value("cc_4f6a")
    expect(button(panel, "Connect")).not_to_have_attribute("aria-disabled", "true")


def test_a_key_that_does_not_work_yet_is_told_once_and_in_red(load: Opener) -> None:
    """The script keeps such a key; its sentence says so, and the trouble in it is not said a second time."""
    trouble = "The service does not know this key."
    answer = {**CONNECTED, "trouble": trouble, "message": f"Saved, but it does not work yet. {trouble}"}
    panel = open_settings(load, APART, settingsConnect=[give(answer)])
    fill(panel, "ck_0123456789ab_secret")
    button(panel, "Connect").click()
    expect(panel.page.locator("#said")).to_have_text(answer["message"])
    expect(panel.page.locator("#said")).to_have_class("answer bad")
    expect(panel.page.get_by_text(trouble)).to_have_count(1)


def test_who_was_cut_off_connects_again_right_there(load: Opener) -> None:
    """The key was revoked: the form stands there, and what needs the key does not."""
    refused = {**CONNECTED, "refused": True, "trouble": "This key is not known here."}
    panel = load("Settings.html", {"settingsState": [give(refused)], "settingsConnect": [give(CONNECTED)]})
    expect(panel.page.get_by_role("heading", name="Connect this spreadsheet again", level=1)).to_be_visible()
    expect(panel.page.get_by_text("This key is not known here.")).to_be_visible()
    expect(button(panel, "Test")).to_be_hidden()
    fill(panel, "cc_4f6a")
    button(panel, "Connect").click()
    expect(button(panel, "Test")).to_be_visible()


def test_who_has_to_share_first_sees_with_whom(load: Opener) -> None:
    """When the service account cannot read the sheet, its address and the Copy button stand there."""
    answer = {**APART, "serviceAccount": ACCOUNT, "message": "Share the spreadsheet with the service account first."}
    panel = open_settings(load, APART, settingsConnect=[give(answer)])
    fill(panel, "cc_4f6a")
    button(panel, "Connect").click()
    expect(panel.page.get_by_role("region", name="Share this spreadsheet").get_by_role("textbox")).to_have_value(
        ACCOUNT
    )
    expect(panel.page.locator("#connect-said")).to_have_text("Share the spreadsheet with the service account first.")


# ---- Connected -----------------------------------------------------------------------------------------------------


def test_the_connection_is_told_in_full(load: Opener) -> None:
    """Host, client, key, what was used today, limits, workers, version, and whom to share with and how."""
    page = open_settings(load, CONNECTED).page
    terms = page.get_by_role("region", name="Connection").locator("dt, dd").all_text_contents()
    assert dict(zip(terms[::2], terms[1::2], strict=True)) == {
        "Service": "api.example.com, version 0.4.0",
        "Client": "studio-a, key 0123456789ab",
        "Today": "12 images, 4 min of GPU time, $0.42",
        "Limits": "500 rows in line, 100 rows in one request",
        "Workers": "2 are running",
    }
    share = page.get_by_role("region", name="Share this spreadsheet with the service account")
    expect(share.get_by_role("textbox")).to_have_value(ACCOUNT)
    for words in ("As an editor", "“Notify people” unticked", "could not be delivered, ignore it"):
        expect(share).to_contain_text(words)


def test_trouble_and_parked_results_are_told_at_the_top(load: Opener) -> None:
    """Why the service could not be asked, and why results wait."""
    page = open_settings(load, PARKED).page
    expect(page.get_by_text("The service did not answer. Try again in a minute.")).to_be_visible()
    expect(page.get_by_text("The tab is protected. Results wait since Mar 4, 2026")).to_be_visible()
    expect(page.get_by_text("none is running")).to_be_visible()
    page = open_settings(load, CONNECTED).page
    expect(page.locator(".notice:visible")).to_have_count(0)


def test_what_the_service_did_not_say_is_left_out(load: Opener) -> None:
    """Unknown figures have no line; they are not shown as zero or null."""
    state = {**CONNECTED, "usage": None, "limits": None, "workers": None, "version": "", "trouble": "No answer."}
    page = open_settings(load, state).page
    assert page.locator("dt").all_text_contents() == ["Service", "Client"]


@pytest.mark.parametrize("ok", [True, False])
def test_the_test_says_how_it_went(load: Opener, ok: bool) -> None:
    """A sentence beside the button, in the colour of its kind."""
    panel = open_settings(load, CONNECTED, settingsTest=[HOLD])
    button(panel, "Test").click()
    expect(button(panel, "Testing …")).to_be_focused()
    button(panel, "Testing …").press("Enter")
    panel.release(give({"ok": ok, "message": "A sentence."}))
    said = panel.page.locator("#test-said")
    expect(said).to_have_text("A sentence.")
    expect(said).to_have_class("answer good" if ok else "answer bad")
    expect(button(panel, "Test")).to_be_focused()
    assert panel.calls("settingsTest") == [["settingsTest"]]


@pytest.mark.parametrize("on", [True, False])
def test_auto_mode_is_a_switch(load: Opener, on: bool) -> None:
    """It shows the state that the service confirmed, not the one that was asked for."""
    reply = give({"on": on, "message": "Said."})
    panel = open_settings(load, {**CONNECTED, "auto": not on}, settingsAuto=[HOLD, reply])
    switch = panel.page.get_by_role("switch", name="Auto mode")
    expect(panel.page.get_by_text("start by themselves within a minute, also from a phone")).to_be_visible()
    switch.focus()
    switch.press("Space")
    expect(switch).to_have_attribute("aria-checked", str(not on).lower())
    panel.release(reply)
    expect(switch).to_have_attribute("aria-checked", str(on).lower())
    expect(panel.page.locator("#auto-said")).to_have_text("Said.")
    switch.press("Space")
    expect(panel.page.locator("#auto-said")).to_have_class("answer bad")
    assert panel.calls("settingsAuto") == [["settingsAuto", on], ["settingsAuto", not on]]
    expect(switch).to_have_attribute("aria-checked", str(on).lower())


@pytest.mark.parametrize("asked", [True, False])
def test_previews_are_allowed_after_saying_that_it_stays(load: Opener, asked: bool) -> None:
    """It cannot be undone, and that is told before the press."""
    state = {**CONNECTED, "imagesAsked": asked}
    panel = open_settings(load, state, settingsAllowImages=[give({"message": "Previews are allowed."})])
    part = panel.page.get_by_role("region", name="Previews")
    expect(part).to_contain_text("This cannot be undone.")
    assert ("It was decided before" in part.inner_text()) is asked
    button(panel, "Allow previews").click()
    expect(part).to_contain_text("Previews are allowed.")
    assert panel.calls("settingsAllowImages") == [["settingsAllowImages"]]


def test_disconnecting_asks_once(load: Opener) -> None:
    """The first press asks, Stay connected takes it back, the second one does it."""
    panel = open_settings(load, CONNECTED, settingsDisconnect=[give(APART)])
    button(panel, "Disconnect").click()
    expect(
        panel.page.get_by_text("Disconnect this spreadsheet? Rows under way still get their results.")
    ).to_be_visible()
    button(panel, "Stay connected").click()
    expect(button(panel, "Disconnect")).to_be_focused()
    assert panel.calls("settingsDisconnect") == []
    button(panel, "Disconnect").click()
    button(panel, "Yes, disconnect").click()
    expect(panel.page.get_by_role("heading", name="Connect this spreadsheet")).to_be_focused()
    expect(panel.page.locator("#said")).to_have_text("This spreadsheet is no longer connected.")
    expect(panel.page.get_by_label("Address of the service")).to_have_value(APART["url"])
    assert panel.calls("settingsDisconnect") == [["settingsDisconnect"]]


@pytest.mark.parametrize(
    ("names", "function", "said"),
    [
        (["Test"], "settingsTest", "#test-said"),
        (["Allow previews"], "settingsAllowImages", "#images-said"),
        (["Disconnect", "Yes, disconnect"], "settingsDisconnect", "#sure"),
    ],
)
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (fail("The service is busy. Try again in a minute."), "The service is busy. Try again in a minute."),
        (fail("Authorization is required to perform that action."), MIXED),
        (give(None), "The script gave no answer. Try again."),
    ],
)
def test_a_press_that_fails_says_so_beside_it(
    load: Opener, names: list[str], function: str, said: str, reply: dict[str, Any], words: str
) -> None:
    """The button is as before, ready for the next try."""
    panel = open_settings(load, CONNECTED, **{function: [reply]})
    for name in names:
        button(panel, name).click()
    expect(panel.page.locator(said)).to_contain_text(words)
    expect(button(panel, names[0])).not_to_have_attribute("aria-disabled", "true")


def test_a_switch_that_fails_stays_as_it_was(load: Opener) -> None:
    """Nothing was switched."""
    panel = open_settings(load, CONNECTED, settingsAuto=[fail("Nobody answers.")])
    panel.page.get_by_role("switch", name="Auto mode").click()
    expect(panel.page.locator("#auto-said")).to_have_text("Nobody answers.")
    expect(panel.page.get_by_role("switch")).to_have_attribute("aria-checked", "false")


def test_an_answer_that_never_comes_is_given_up(load: Opener) -> None:
    """After two minutes the button can be pressed again; a late answer changes nothing."""
    panel = open_settings(load, CONNECTED, settingsTest=[HOLD])
    button(panel, "Test").click()
    panel.wait(120)
    expect(panel.page.locator("#test-said")).to_have_text("Google did not answer within two minutes. Try again.")
    panel.release(give({"ok": True, "message": "Late."}))
    expect(panel.page.locator("#test-said")).not_to_have_text("Late.")
    expect(button(panel, "Test")).to_be_visible()


def test_a_state_that_cannot_be_had_is_asked_for_again(load: Opener) -> None:
    """A sentence and a button, not an empty dialog."""
    panel = load("Settings.html", {"settingsState": [fail("No luck."), give(CONNECTED)]}, width=480, height=560)
    expect(panel.page.get_by_text("No luck.")).to_be_visible()
    button(panel, "Try again").click()
    expect(button(panel, "Test")).to_be_visible()
    expect(panel.page.get_by_text("No luck.")).to_have_count(0)


# ---- The clipboard -------------------------------------------------------------------------------------------------

CLIPBOARDS = {
    "given": "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => { window.copied = t; }}})",
    "refused": """
        Object.defineProperty(navigator, 'clipboard', {value: {writeText: async () => { throw new Error('no'); }}});
        document.execCommand = () => { window.copied = String(getSelection()); return true; };
    """,
    "absent": """
        Object.defineProperty(navigator, 'clipboard', {value: undefined});
        document.execCommand = () => { window.copied = String(getSelection()); return true; };
    """,
}


@pytest.mark.parametrize("clipboard", CLIPBOARDS)
def test_the_address_is_copied_whatever_the_frame_allows(load: Opener, clipboard: str) -> None:
    """By the clipboard, else the old way."""
    panel = open_settings(load, CONNECTED)
    panel.page.evaluate(f"() => {{ {CLIPBOARDS[clipboard]} }}")
    button(panel, "Copy the address").click()
    expect(panel.page.locator("#copy-said")).to_have_text("Copied.")
    expect(button(panel, "Copy the address")).to_be_focused()
    assert panel.page.evaluate("window.copied") == ACCOUNT


def test_where_nothing_may_copy_the_address_is_marked(load: Opener) -> None:
    """Then the person presses the keys."""
    panel = open_settings(load, CONNECTED)
    panel.page.evaluate(f"() => {{ {CLIPBOARDS['absent']} document.execCommand = () => false; }}")
    button(panel, "Copy the address").click()
    expect(panel.page.locator("#copy-said")).to_contain_text("press Ctrl+C")
    assert panel.page.evaluate("getSelection().toString()") == ACCOUNT


# ---- For everybody -------------------------------------------------------------------------------------------------


def test_what_comes_from_elsewhere_is_text(load: Opener) -> None:
    """Whatever looks like HTML is shown as it is."""
    bad = "<img src=x onerror=window.hacked=1> x"
    texts = dict.fromkeys(("url", "keyId", "client", "serviceAccount", "trouble", "version"), bad)
    state = {**CONNECTED, **texts, "parked": {"reason": bad, "since": bad}}
    state["usage"] = {"images": 1, "gpuSeconds": 1, "text": bad}
    panel = open_settings(load, state, settingsTest=[give({"ok": True, "message": bad})])
    button(panel, "Test").click()
    expect(panel.page.locator("#test-said")).to_have_text(bad)
    assert panel.page.locator("img").count() == 0
    assert panel.page.evaluate("window.hacked") is None
    assert panel.page.evaluate("document.documentElement.scrollWidth") <= 480


def test_the_keyboard_reaches_everything_in_order(load: Opener) -> None:
    """Tab goes from the top to Close, and each stop shows that it has the focus."""
    panel = open_settings(load, CONNECTED)
    stops = []
    for _ in range(7):
        panel.page.keyboard.press("Tab")
        element = panel.page.locator(":focus")
        assert element.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
        stops.append(element.get_attribute("id"))
    assert stops == ["copy", "account", "test-now", "auto-switch", "images-now", "disconnect", "close"]
    panel.page.keyboard.press("Enter")
    assert panel.page.evaluate("window.closes") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", [APART, COPY, CONNECTED, PARKED], ids=["apart", "copy", "connected", "trouble"])
def test_axe_finds_nothing_serious(load: Opener, state: dict[str, Any], scheme: str) -> None:
    """Contrast, names, roles and landmarks hold in both schemes, with every kind of sentence shown."""
    refusals = {name: [fail("No luck.")] for name in ("settingsTest", "settingsAuto")}
    panel = open_settings(load, state, scheme, **refusals, settingsAllowImages=[give({"message": "Allowed."})])
    if state["connected"]:
        button(panel, "Test").click()
        panel.page.get_by_role("switch").click()
        button(panel, "Allow previews").click()
        button(panel, "Disconnect").click()
    else:
        button(panel, "Connect").click()
    assert panel.violations() == []
