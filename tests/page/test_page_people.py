"""Two people at one sheet, protected cells, and the faults that can be switched on."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.waiting import wait_until
from sandbox.workbook import Area, Protected
from tests.page.alone import Alone, cell, opened, press_menu, shows
from tests.waiting import until

SECOND = "second@example.com"
ROBOT = "comfysheet@sandbox-project.iam.gserviceaccount.com"


def type_into(page: Page, number: int, column: int, words: str) -> None:
    cell(page, number, column).click()
    page.keyboard.type(words)
    page.keyboard.press("Enter")


def protect(alone: Alone, warning: bool) -> None:
    one = Protected(alone.book.new_id(), Area(1, 0, 3, 1), "ours", warning_only=warning)
    alone.sheet.change(lambda: alone.sheet.protected.append(one))


def test_people_see_each_other(chromium: Browser, page: Page, alone: Alone) -> None:
    """Initials say who else is here and on which tab; the cell that the other is on has a frame."""
    with opened(chromium, f"{alone.url}/?user={SECOND}") as second:
        cell(second, 4, 0).click()
        expect(page.get_by_role("list", name="Others").get_by_role("listitem")).to_contain_text(
            "second@example.com is on Fruit"
        )
        expect(page.locator(f'.theirs[data-who="{SECOND}"]')).to_have_text("elder")
        expect(second.locator("#people li")).to_contain_text("user@example.com is on Fruit")
        type_into(second, 5, 0, "blackberry")
        shows(page, 5, 0, "blackberry")
    expect(page.locator("#people li")).to_have_count(0)


@pytest.mark.parametrize("answer", ["OK", "Cancel"])
def test_a_warning_comes_before_typing(page: Page, alone: Alone, answer: str) -> None:
    """Where a protection warns, the page asks first: Cancel leaves the cell, OK begins with the letter typed."""
    protect(alone, warning=True)
    expect_guard(page, 1)
    cell(page, 2, 0).click()
    expect(page.locator("#where")).to_have_value("A2")
    page.keyboard.press("n")
    dialog = page.get_by_role("dialog", name="Heads up!")
    expect(dialog).to_contain_text("shouldn't be changed accidentally. Edit anyway?")
    dialog.get_by_role("button", name=answer).click()
    if answer == "OK":
        expect(cell(page, 2, 0).locator("input")).to_be_focused()
        page.keyboard.type("ew")
        page.keyboard.press("Enter")
        shows(page, 2, 0, "new")
    else:
        expect(dialog).to_be_hidden()
        shows(page, 2, 0, "fig")


def expect_guard(page: Page, count: int) -> None:
    """Wait until the page knows of the protections (a condition that is asynchronous would not be waited for)."""
    page.evaluate("async () => { window.known = (await import('/assets/app.js')).app; }")
    page.wait_for_function("(count) => window.known.sheet.protected.length === count", arg=count)


def test_hard_protection_stops_the_other_but_not_the_owner(chromium: Browser, page: Page, alone: Alone) -> None:
    """Who is no editor of it gets Google's sentence, also from the server; the owner may."""
    protect(alone, warning=False)
    with opened(chromium, f"{alone.url}/?user={SECOND}") as second:
        cell(second, 2, 0).click()
        second.keyboard.press("n")
        expect(second.get_by_role("dialog")).to_contain_text("You are trying to edit a protected cell or object.")
        second.keyboard.press("Escape")
        edit = {"sheet": 0, "cells": [[1, 0, "x"]], "user": SECOND}
        answer = second.request.post(f"{alone.url}/edit", data=edit)
        assert (answer.status, answer.json()["error"][:31]) == (400, "You are trying to edit a protec")
    expect_guard(page, 1)
    type_into(page, 2, 0, "owner")
    shows(page, 2, 0, "owner")


def switch(page: Page, label: str) -> None:
    page.get_by_text("Sandbox", exact=True).click()
    page.get_by_role("switch", name=label).click()
    page.get_by_text("Sandbox", exact=True).click()


def test_sharing_and_taking_it_back(page: Page, alone: Alone) -> None:
    """Share adds an address; the switch takes the service account out and in again."""
    page.get_by_role("button", name="Share").click()
    page.keyboard.type(ROBOT)
    page.keyboard.press("Enter")
    assert until(alone.book, lambda: ROBOT in alone.book.shared_with, 20)
    switch(page, "Shared with the service account")
    assert until(alone.book, lambda: ROBOT not in alone.book.shared_with, 20)
    switch(page, "Shared with the service account")
    assert until(alone.book, lambda: ROBOT in alone.book.shared_with, 20)


@pytest.mark.parametrize(("label", "status"), [("Sheets API: quota exceeded", 429), ("Sheets API: not available", 503)])
def test_the_sheets_api_falls_ill_and_recovers(page: Page, alone: Alone, label: str, status: int) -> None:
    """While the switch is on every call of the Sheets API fails; off, it is answered as ever (401: no token)."""

    def asked() -> int:
        headers = {"Authorization": "Bearer nobody"}
        return page.request.get(f"{alone.url}/v4/spreadsheets/alone", headers=headers).status

    assert asked() == 401
    alone.server.sheets.auth = None
    switch(page, label)
    assert wait_until(lambda: asked() == status)
    switch(page, label)
    assert wait_until(lambda: asked() == 200)


def test_two_google_accounts_break_the_sidebar_and_not_the_menu(page: Page, alone: Alone) -> None:
    """google.script.run fails with Google's sentence; the same function runs from the menu."""
    switch(page, "Two Google accounts")
    assert wait_until(lambda: alone.project.faults.two_accounts)
    press_menu(page, "Show sidebar")
    page.frame_locator("#sidebar iframe").locator("#said").wait_for()
    frame = page.frames[-1]
    message = frame.evaluate(
        "new Promise((done) => google.script.run.withFailureHandler((error) => done(error.message)).whoAmI())"
    )
    assert message == "Authorization is required to perform that action."


def test_the_gate_of_pictures_closes_again(page: Page, alone: Alone) -> None:
    """Pictures that were allowed are #REF! once more, until Allow access is pressed."""
    alone.sheet.enter(2, 1, '=IMAGE("https://pictures.example/a.png")')
    page.get_by_role("button", name="Allow access").click()
    assert until(alone.book, lambda: alone.book.external_images_allowed, 20)
    expect(cell(page, 3, 1).locator("img")).to_have_count(1)
    expect(page.locator("#switch-images")).to_be_checked()
    switch(page, "Pictures allowed")
    shows(page, 3, 1, "#REF!")
    expect(page.get_by_role("button", name="Allow access")).to_be_visible()


def test_our_columns_are_protected_hard_and_the_tab_is_deleted(page: Page, alone: Alone) -> None:
    """The switch protects the columns that ComfySheet writes; the button deletes the tab after asking."""
    alone.sheet.enter(0, 1, "Status")
    alone.book.add_sheet("Other")
    expect(page.get_by_role("tab", name="Other")).to_be_visible()
    switch(page, "Protect our columns hard")
    assert until(alone.book, lambda: [one.area.left for one in alone.sheet.protected] == [1], 20)
    assert not alone.sheet.protected[0].warning_only
    page.get_by_text("Sandbox", exact=True).click()
    page.get_by_role("button", name="Delete this tab").click()
    page.get_by_role("dialog").get_by_role("button", name="OK").click()
    expect(page.get_by_role("tab")).to_have_text(["Other"])
    assert [sheet.title for sheet in alone.book.sheets] == ["Other"]
