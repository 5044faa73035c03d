"""The results page in a real browser: its policy lets it work, anyone can use it, it follows a job to its end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from chalicelib.contract.job import Job, Output, Progress, Timings, run_key
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from chalicelib.links import gallery_link, output_link
from sandbox.waiting import wait_until
from tests.gallery.desk import PROMPT, TOKEN, all_kinds, ended_job, failed_job
from tests.gallery.serve import Served
from tests.jobs import NOW, new_job, output

Open = Callable[..., Page]
SIZES = {"desk": (1200, 800), "phone": (390, 844)}


@pytest.fixture
def opened(chromium: Browser, served: Served) -> Iterator[Open]:
    """Open pages; whatever the browser complains of (a blocked picture, an error in the script) fails the test."""
    complaints: list[str] = []
    pages: list[Page] = []

    def go(url: str, size: str = "desk", **wishes: Any) -> Page:
        width, height = SIZES[size]
        page = chromium.new_page(viewport={"width": width, "height": height}, timezone_id="Asia/Tokyo", **wishes)
        pages.append(page)
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield go
    for page in pages:
        page.context.close()
    assert complaints == []


def holds(page: Page, expression: str) -> None:
    """Wait for *expression*; Playwright's own waiting would need the page to allow eval()."""
    assert wait_until(lambda: bool(page.evaluate(expression))), expression


def job_of_all_kinds(served: Served) -> Job:
    return served.desk.take(ended_job(all_kinds(served.desk), link_base=served.url))


def states(served: Served) -> dict[str, Job]:
    """Give a job for each look that the page has."""
    new: dict[str, Any] = {"finished_at": None, "timings": None, "committed_attempt": None, "link_base": served.url}
    half = Progress(fraction=0.45, nodes_done=4, nodes_total=9, node="3", node_class="KSampler", step=9, steps=20)
    return {
        "done": job_of_all_kinds(served),
        "failed": served.desk.take(failed_job(link_base=served.url)),
        "running": served.desk.take(ended_job(state=State.RUNNING, phase="rendering", progress=half, **new)),
        "queued": served.desk.take(ended_job(state=State.QUEUED, attempt=0, started_at=None, **new)),
        "canceled": served.desk.take(ended_job(state=State.CANCELED, **new)),
    }


def test_the_policy_does_not_block_our_own_files(opened: Open, served: Served) -> None:
    """Pictures, video and sound come through the redirect from another origin; nothing else is asked for."""
    job = job_of_all_kinds(served)
    page = opened(gallery_link(job))
    page.evaluate("for (const image of document.images) image.loading = 'eager'")
    holds(page, "[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.images.length") == 6
    for kind in ("video", "audio"):
        page.evaluate(f"document.querySelector('{kind}').preload = 'auto'")
        holds(page, f"document.querySelector('{kind}').readyState >= 1")
        assert page.evaluate(f"Math.round(document.querySelector('{kind}').duration)") == 1
    page.get_by_role("link", name="Open output 1", exact=True).click()
    page.wait_for_url(f"{served.desk.storage}/**")


def test_the_token_goes_nowhere_else(opened: Open, served: Served) -> None:
    """No request carries the page's address as its referrer, the file store's least of all."""
    served.asked.clear()
    page = opened(gallery_link(job_of_all_kinds(served)))
    holds(page, "document.images[0].complete")
    page.get_by_role("link", name="Open output 1", exact=True).click()
    page.wait_for_url(f"{served.desk.storage}/**")
    assert len(served.asked) > 4
    assert [request.path for request in served.asked if "Referer" in request.headers] == []
    assert [request.path for request in served.asked if "/o/" not in request.path and TOKEN in request.path_qs] == []


def test_a_file_that_is_gone_is_told(chromium: Browser, served: Served) -> None:
    """Files are kept for a time only: words stand in the picture's place, and the rest of the page stays."""
    job = job_of_all_kinds(served)
    for lost in (job.outputs[0], job.outputs[4]):
        del served.desk.kept[lost.key]
    page = chromium.new_page()
    page.goto(gallery_link(job))
    expect(page.locator(".hero .frame")).to_contain_text("it is no longer kept")
    page.locator("video").evaluate("(video) => { video.preload = 'auto'; }")
    expect(page.locator("video")).to_have_count(0)
    expect(page.get_by_alt_text("Output 2 of")).to_be_visible()
    page.close()


def test_hostile_words_stay_words(opened: Open, served: Served) -> None:
    """A prompt that is markup is read, not run."""
    nasty = '</title></style><script>alert(1)</script><img src=x onerror="alert(2)"><svg onload=alert(3)>'
    inputs: dict[str, object] = {"prompt": nasty, nasty: nasty}
    file = output().model_copy(update={"filename": nasty, "kind": "file", "content_type": nasty})
    page = opened(gallery_link(served.desk.take(ended_job([file], link_base=served.url, inputs=inputs))))
    expect(page.get_by_role("heading", level=1)).to_have_text(nasty)
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.images.length") == 0


@pytest.mark.parametrize(("scheme", "size"), [("light", "desk"), ("dark", "phone")])
def test_no_state_of_the_page_has_an_accessibility_fault(
    opened: Open, served: Served, axe: str, scheme: str, size: str
) -> None:
    """axe-core finds nothing serious or critical, and nothing is wider than the window."""
    for name, job in states(served).items():
        page = opened(gallery_link(job), size, color_scheme=scheme)
        page.wait_for_load_state("load")
        page.evaluate(axe)
        found = page.evaluate("axe.run(document).then((result) => result.violations)")
        grave = [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")]
        assert grave == [], (name, json.dumps(found)[:2000])
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], name


def test_axe_would_tell(opened: Open, served: Served, axe: str) -> None:
    """The judge is awake: a picture without words and pale text are found."""
    page = opened(gallery_link(job_of_all_kinds(served)))
    page.evaluate("document.images[0].removeAttribute('alt')")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document).then((result) => result.violations.map((fault) => fault.id))")
    assert "image-alt" in found


def test_a_seed_is_copied_to_the_last_digit(opened: Open, served: Served) -> None:
    """By keyboard too; a screen reader hears it."""
    page = opened(gallery_link(job_of_all_kinds(served)), permissions=["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name="Copy seed")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("Seed copied")
    assert page.evaluate("navigator.clipboard.readText()") == str(2**63 + 11)


def test_times_are_on_the_readers_clock(opened: Open, served: Served) -> None:
    """Written in UTC, shown where the reader is; UTC stays at hand."""
    time = opened(gallery_link(job_of_all_kinds(served)), locale="en-GB").locator("time").first
    expect(time).to_have_text("15 Jan 2027, 17:00:00")
    expect(time).to_have_attribute("title", "2027-01-15 08:00:00 UTC")


def follow(served: Served) -> tuple[Job, Claimed]:
    job = served.desk.take(new_job(link_base=served.url, view_token=TOKEN, inputs={"prompt": PROMPT, "seed": 7}))
    claimed = served.desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
    assert isinstance(claimed, Claimed)
    return job, claimed


def tell(served: Served, claimed: Claimed, fraction: float) -> None:
    progress = Progress(fraction=fraction, nodes_total=4)
    served.desk.ledger.heartbeat(claimed.lease, until=NOW + 90_000, phase="rendering", progress=progress)


def end(served: Served, claimed: Claimed, outputs: list[Output]) -> None:
    own = served.desk.own(claimed.job, outputs)
    served.desk.ledger.commit(claimed.lease, now=NOW + 5_000, outputs=own, timings=Timings())


def test_the_page_follows_a_job_to_its_end_and_keeps_the_readers_place(opened: Open, served: Served) -> None:
    """Progress comes without a reload, focus stays; when the job has ended the page is there anew with its files."""
    job, claimed = follow(served)
    page = opened(gallery_link(job))
    expect(page.locator("#now")).to_have_text("A worker has taken the job and prepares it.")
    button = page.get_by_role("button", name="Copy seed")
    button.focus()
    tell(served, claimed, 0.25)
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "25", timeout=12_000)
    expect(page.locator("#now")).to_have_text("Rendering now.")
    expect(button).to_be_focused()
    end(served, claimed, all_kinds(served.desk)[:1])
    expect(page.get_by_alt_text("Output 1 of 1")).to_be_visible(timeout=12_000)
    assert page.title().startswith("Done")


def test_the_page_refreshes_itself_without_a_script(opened: Open, served: Served) -> None:
    """With JavaScript off the browser loads it again; buttons that would do nothing are not there."""
    job, claimed = follow(served)
    page = opened(gallery_link(job), java_script_enabled=False)
    expect(page.get_by_role("button")).to_have_count(0)
    end(served, claimed, all_kinds(served.desk)[:1])
    expect(page.get_by_alt_text("Output 1 of 1")).to_be_visible(timeout=12_000)


def test_downloads_and_records_can_be_reached(opened: Open, served: Served) -> None:
    """A download has the file's own name; the record is read in the browser; both with and without the last slash."""
    job = job_of_all_kinds(served)
    served.desk.kept[run_key(job.client_id, job.job_id, 1)] = b'{"kind":"run"}\n'
    page = opened(gallery_link(job).replace("?", "/?"))
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download output 1: fox_00001_.jpg").click()
    assert coming.value.suggested_filename == "fox_00001_.jpg"
    page.get_by_role("link", name="Open the run record").click()
    expect(page.locator("pre")).to_have_text('{"kind":"run"}\n')


def test_a_wrong_link_shows_a_page_for_people(chromium: Browser, served: Served, axe: str) -> None:
    """A 404 that can be read, in the house's style, with no fault of its own."""
    page = chromium.new_page()
    answer = page.goto(f"{served.url}/o/none?t={TOKEN}")
    assert answer is not None and answer.status == 404
    expect(page.get_by_role("heading")).to_have_text("There is nothing here")
    page.evaluate(axe)
    assert page.evaluate("axe.run(document).then((result) => result.violations.map((fault) => fault.id))") == []
    page.close()


def test_the_links_are_the_ones_in_cells(opened: Open, served: Served) -> None:
    """The large picture leads to the very address that stands in the row's Output URL."""
    job = job_of_all_kinds(served)
    page = opened(gallery_link(job))
    expect(page.locator(".hero .frame a")).to_have_attribute("href", output_link(job, 0))
