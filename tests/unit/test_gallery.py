"""What the results page shows in each state, that hostile text stays text, and what its headers allow."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from chalice.local import RouteMatcher
from hypothesis import given, settings
from hypothesis import strategies as st

from app import app
from chalicelib import gallery
from chalicelib.api_parts import guarded
from chalicelib.contract.job import Job, JobError, Output, Progress, run_key
from chalicelib.contract.states import State
from chalicelib.gallery_facts import duration
from chalicelib.gallery_tiles import file_size
from chalicelib.link_api import MAX_EXCERPTS
from chalicelib.links import gallery_link, output_link, thumbnail_link
from chalicelib.records import MAX_INLINE_BYTES
from tests.gallery.desk import PROMPT, TOKEN, UNOWNED, Desk, all_kinds, ended_job, failed_job, kept_output
from tests.jobs import NOW, output

LATER = NOW + 90_000
NASTY = "\"><script>alert(1)</script><img src=x onerror=alert(1)>' --><!-- </style></title>&lt;\x00\u202e"
NEW: dict[str, Any] = {"finished_at": None, "timings": None, "committed_attempt": None}


class Skeleton(HTMLParser):
    """Read a page as a browser does: its elements with the names of their attributes, its texts, its values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.shape: list[tuple[str, ...]] = []
        self.texts: list[str] = []
        self.values: list[tuple[str, str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.shape.append((tag, *(name for name, _ in attrs)))
        self.values += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        self.shape.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.shape.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.shape.append(("declaration", decl))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str, name: str) -> list[str]:
        return [value for at, called, value in self.values if (at, called) == (tag, name)]


def seen(job: Job, **known: Any) -> str:
    """Give the page's texts as one line, style and script left out."""
    page = re.sub(r"<(style|script)>.*?</\1>", "", gallery.page(job, LATER, **known), flags=re.S)
    return re.sub(r"\s+", " ", " ".join(Skeleton(page).texts)).replace("\N{NO-BREAK SPACE}", " ")


def hostile_job(text: str) -> Job:
    """Put *text* wherever a job holds somebody's words."""
    file = output().model_copy(
        update={"filename": text, "node": text, "thumbnail_key": "t", "content_type": "image/png"}
    )
    other = file.model_copy(update={"kind": "file", "content_type": text, "thumbnail_key": None})
    words = output().model_copy(update={"filename": text, "kind": "text", "content_type": "text/plain"})
    error = JobError(code=text, text=text, hint=text, node=text, node_class=text)
    inputs: dict[str, object] = {"prompt": text, f"x{text}": text, "seed": 1, "list": [text], "map": {text: text}}
    return failed_job(
        inputs=inputs, workflow_id=text, job_key="k", error=error, outputs=(file, other, words), attempt=2
    )


def shape_of(text: str) -> tuple[list[tuple[str, ...]], list[str]]:
    page = Skeleton(gallery.page(hostile_job(text), LATER, {2: text}))
    return page.shape, page.all("a", "href") + page.all("img", "src")


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=()), min_size=45, max_size=90))
def test_nothing_that_a_job_holds_changes_the_pages_elements_or_its_addresses(text: str) -> None:
    """Whatever the text: the same elements, the same attribute names, the same links; and it can be sent as UTF-8."""
    assert shape_of("p" + text + "q") == shape_of("p" + "x" * 60 + "q")
    gallery.page(hostile_job(text), LATER, {2: text}).encode()


def test_text_that_would_be_markup_is_shown_as_text() -> None:
    """The very thing that was asked for can be read; what HTML forbids becomes a sign for it."""
    assert shape_of(NASTY) == shape_of("x" * 60)
    assert NASTY.replace("\x00", "\ufffd") in Skeleton(gallery.page(hostile_job(NASTY), LATER, {2: NASTY})).texts


def test_an_ended_job_shows_all_that_is_known() -> None:
    """Parameters exact to the last digit, times, attempts, state and the way to the run record."""
    job = ended_job([output()], attempt=2, committed_attempt=2)
    text = seen(job)
    for words in ("Done", "txt2img-sdxl", PROMPT, str(2**63 + 11), "dpmpp_2m", "false", "7.5", job.job_key):
        assert words in text, words
    for words in ("Submitted 2027-01-15 08:00:00 UTC", "Finished 2027-01-15 08:00:41 UTC", "Attempts 2"):
        assert words in text, words
    assert "Waited 6.4 s until its last attempt" in text and "Rendered 32 s" in text and "Uploaded 1.2 s" in text
    page = Skeleton(gallery.page(job, LATER))
    assert "lora none note empty" in seen(ended_job(inputs={"lora": None, "note": ""}))
    records = [link for link in page.all("a", "href") if "/record?" in link]
    assert records == [f"https://host/stage/o/{job.job_id}/record?t={TOKEN}&attempt={attempt}" for attempt in (1, 2)]
    assert "live" not in page.all("section", "id") and page.all("meta", "http-equiv") == []


def test_each_kind_of_file_gets_an_honest_tile() -> None:
    """Pictures, a video and a sound as such; a text's words; the rest by name; with sizes; all to be downloaded."""
    desk = Desk()
    outputs = all_kinds(desk)
    job = ended_job(outputs)
    page = Skeleton(gallery.page(job, LATER, {6: "A fox."}))
    count = len(outputs)
    assert page.all("img", "alt")[:4] == [f"Output {n} of {count}: {PROMPT}" for n in (1, 2, 3, 4)]
    assert page.all("video", "aria-label") == [f"Output 5 of {count}: {PROMPT}"], "not the Matroska one"
    assert page.all("audio", "aria-label") == [f"Output 6 of {count}: {PROMPT}"]
    assert page.all("pre", "aria-label") == [f"Output 7 of {count}: {PROMPT}"]
    assert page.all("pre", "tabindex") == ["0"]
    pictures = page.all("img", "src")
    assert pictures[:2] == [output_link(job, 0), thumbnail_link(job, 1)], "the first large, the others small"
    assert pictures[2] == output_link(job, 2), "without a thumbnail the file itself"
    downloads = [link for link in page.all("a", "href") if link.endswith("&download=1")]
    assert {output_link(job, index) + "&download=1" for index in range(count)} == set(downloads)
    opened = {link for link in page.all("a", "href") if link in {output_link(job, index) for index in range(count)}}
    assert opened == {output_link(job, index) for index in range(7)}
    text = seen(job, excerpts={6: "A fox."})
    for words in ("1024 × 768 px", "animated · 320 × 240 px", "320 × 240 px · 1.0 s", "LATENT · 66 KB", "A fox."):
        assert words in text, words
    assert "GLB 3D model · 1.6 MB" in text and "MKV · 73.2 s · 2.0 MB · browsers show only" in text


def test_the_large_one_is_the_rows_own_picture() -> None:
    """The first output that has a thumbnail is what the row shows; here it is large, and the count stays in order."""
    plain = output().model_copy(update={"kind": "latent", "content_type": "application/octet-stream"})
    shown = output().model_copy(update={"thumbnail_key": "t", "thumbnail_type": "image/png"})
    page = gallery.page(ended_job([plain, shown]), LATER)
    large, rest = page.split('class="tiles"')
    assert "Output 2 of 2" in large and "Download output 1:" in rest


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (
            ended_job(state=State.QUEUED, attempt=0, started_at=None, **NEW),
            ["Waiting for a free worker.", "waiting for 1 min 30 s", "Written when an attempt ends."],
        ),
        (
            ended_job(state=State.QUEUED, last_error=JobError(code="x", text="It fell over."), **NEW),
            ["Waiting for its next attempt.", "did not finish: It fell over."],
        ),
        (ended_job(state=State.RUNNING, phase="claimed", **NEW), ["prepares it.", "running for 1 min 24 s"]),
        (
            ended_job(
                state=State.RUNNING,
                phase="rendering",
                progress=Progress(
                    fraction=0.456, nodes_done=4, nodes_total=9, node="3", node_class="KSampler", step=9, steps=20
                ),
                **NEW,
            ),
            ["Rendering now.", "46 %", "step 9 of 20", "at KSampler", "4 of 9 nodes done"],
        ),
        (ended_job(state=State.RUNNING, phase="uploading", **NEW), ["the files are being stored."]),
    ],
)
def test_a_job_under_way_says_how_far_it_is_and_looks_again(job: Job, words: list[str]) -> None:
    """With a script gently, without one by itself; and no record is offered of an attempt that still runs."""
    text = seen(job)
    for expected in words:
        assert expected in text, expected
    html = gallery.page(job, LATER)
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert "live" in Skeleton(html).all("section", "id")
    assert ("/record?" in html) is (job.state is State.QUEUED and job.attempt == 1)


def test_a_failed_job_says_why_and_what_to_do() -> None:
    """The sentence, its hint, where it happened, and the records of all attempts."""
    text = seen(failed_job())
    for words in (
        "Failed",
        "did not fit into the GPU's memory.",
        "Make it smaller",
        "At KSampler (node 3).",
        "out_of_",
    ):
        assert words in text, words
    assert gallery.page(failed_job(), LATER).count("/record?") == 3
    assert "This job was cancelled." in seen(ended_job(state=State.CANCELED, attempt=0, started_at=None, **NEW))
    assert "This job failed." in seen(failed_job(error=None))
    assert "The job ended without a file." in seen(ended_job(inputs={}))


def test_the_policy_names_our_own_style_and_script_and_the_two_places_of_files() -> None:
    """A picture's link leads on to the file store: both places are named, none else, and nothing runs but ours."""
    html = gallery.page(ended_job([output()]), LATER)
    headers = gallery.headers("https://host/stage", "https://bucket.s3.example/key?X-Amz-Signature=1")
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    places = "'self' https://host https://bucket.s3.example"
    assert (policy["default-src"], policy["media-src"]) == ("'none'", places)
    assert policy["img-src"] == f"{places} data:"
    for name, tag in (("style-src", "style"), ("script-src", "script")):
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", html, flags=re.S)
        assert policy[name] == f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    assert " style=" not in html and "javascript:" not in html and not re.search(r"\son\w+=", html)
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff" and "noindex" in headers["X-Robots-Tag"]
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}


def test_the_page_asks_nobody_else_for_anything() -> None:
    """Every address in it is the API's own, or inside the page itself."""
    page = Skeleton(gallery.page(ended_job(all_kinds(Desk())), LATER))
    addresses = [value for _, name, value in page.values if name in ("src", "href", "srcset", "poster", "action")]
    assert len(addresses) > 20
    assert {value.split("/o/")[0] for value in addresses if not value.startswith("data:")} == {"https://host/stage"}


def test_a_wrong_link_gets_one_page_that_tells_nothing() -> None:
    """Unknown job, wrong token, no token, an endless id: byte for byte the same 404, as a page."""
    desk = Desk()
    job = desk.take(ended_job([output()]))
    right = guarded(lambda: desk.api.gallery(job.job_id, TOKEN))
    assert right.status == 200 and PROMPT in right.body
    wrong = [("nothing", TOKEN), (job.job_id, ""), (job.job_id, "w" * 22), (job.job_id, "\udcff"), ("a" * 5000, TOKEN)]
    answers = [guarded(lambda asked=asked: desk.api.gallery(*asked)) for asked in wrong]
    answers += [guarded(lambda asked=asked: desk.api.record(*asked, "1")) for asked in wrong]
    assert {(answer.status, answer.body) for answer in answers} == {(404, answers[0].body)}
    assert answers[0].body.startswith("<!doctype html>") and job.job_id not in answers[0].body
    for answer in answers:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_record_is_served_as_text_under_the_same_rule_as_the_log() -> None:
    """The committed attempt's or the one asked for; a large one by a link of its own; a missing one is a page."""
    desk = Desk()
    job = desk.take(ended_job([output()], attempt=2, committed_attempt=1))
    desk.kept[run_key(job.client_id, job.job_id, 1)] = '{"kind":"<b>ü"}\n'.encode()
    answer = guarded(lambda: desk.api.record(job.job_id, TOKEN, ""))
    assert (answer.status, answer.body) == (200, '{"kind":"<b>ü"}\n')
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for attempt in ("2", "3", "0", "x"):
        missing = guarded(lambda attempt=attempt: desk.api.record(job.job_id, TOKEN, attempt))
        assert missing.status == 404 and missing.body.startswith("<!doctype html>"), attempt
    desk.kept[run_key(job.client_id, job.job_id, 2)] = b"x" * (MAX_INLINE_BYTES + 1)
    large = guarded(lambda: desk.api.record(job.job_id, TOKEN, "2"))
    assert large.status == 302 and "attachment" in large.headers["Location"]


def test_a_download_is_kept_as_a_file_whatever_it_is() -> None:
    """The same link with download=1 has the store answer as an attachment, of the file's own type and name."""
    desk = Desk()
    own = output(f"{UNOWNED}1/0-abcdef12.png")
    job = desk.take(ended_job([own, own.model_copy(update={"content_type": "text/html"})]))
    ways = [
        desk.api.output(job.job_id, "0", TOKEN, download=download).headers["Location"] for download in (False, True)
    ]
    assert "inline" in ways[0] and "attachment" in ways[1] and "x_00001_.png" in ways[1]
    assert all("image%2Fpng" in way for way in ways)
    assert "octet-stream" in desk.api.output(job.job_id, "1", TOKEN, download=True).headers["Location"]


def test_texts_are_read_only_while_they_are_few_and_small() -> None:
    """Eight at most; a large one is not read at all; and a store that is away costs the words, not the page."""
    desk = Desk()

    def text(size_bytes: int) -> Output:
        return kept_output(desk, "t.txt", b"w\xff" * (size_bytes // 2), "text/plain", "text")

    job = desk.take(ended_job([text(20_000), *(text(100) for _ in range(MAX_EXCERPTS + 3))]))
    answer = guarded(lambda: desk.api.gallery(job.job_id, TOKEN))
    assert answer.status == 200 and len(desk.read) == MAX_EXCERPTS - 1, "the large one is one of the eight"
    assert "w\ufffd" in answer.body and "A long text" in answer.body
    desk.is_down = True
    assert guarded(lambda: desk.api.gallery(job.job_id, TOKEN)).status == 200
    refused = guarded(lambda: desk.api.record(job.job_id, TOKEN, ""))
    assert refused.status == 503 and "does not answer" in refused.body and "Retry-After" in refused.headers


def test_links_to_the_page_begin_where_the_api_is_reached() -> None:
    """The stage is part of it."""
    job = ended_job()
    assert gallery_link(job) == f"https://host/stage/o/{job.job_id}?t={TOKEN}"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/o/j", "/o/{job_id}"),
        ("/o/j/", "/o/{job_id}"),
        ("/o/j/record", "/o/{job_id}/record"),
        ("/o/j/0", "/o/{job_id}/{index}"),
        ("/o/j/0/thumb", "/o/{job_id}/{index}/thumb"),
    ],
)
def test_each_address_has_its_route(path: str, route: str) -> None:
    """The page with and without a slash at the end; the word `record` is not taken for an output's number."""
    assert RouteMatcher(list(app.routes)).match_route(path).route == route


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0.0 s"),
        (9_949, "9.9 s"),
        (9_960, "10 s"),
        (59_600, "1 min 0 s"),
        (184_000, "3 min 4 s"),
        (7.5e6, "2 h 5 min"),
    ],
)
def test_durations_are_for_people(ms: int, words: str) -> None:
    """Never 60 s in a minute's place."""
    assert duration(ms) == words


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1_000, "1 KB"), (999_600, "1.0 MB"), (2.5e9, "2.5 GB")]
)
def test_sizes_are_for_people(size: int, words: str) -> None:
    """Each in the unit that fits."""
    assert file_size(size).replace("\N{NO-BREAK SPACE}", " ") == words
