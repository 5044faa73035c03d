"""The soak follows the links that stand in the rows, not those that should: a cell that leads astray is seen."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chalicelib.contract.job import Job, Output, output_prefix
from chalicelib.contract.states import State
from chalicelib.links import output_link, thumbnail_link
from faults.files import small_picture
from faults.soak.links import Shown, misleading
from tests.jobs import new_job

PICTURE = small_picture()
ANSWERS = {"0": PICTURE, "thumb": PICTURE, "half": PICTURE[:45], "other": b"another file"}


class Files(BaseHTTPRequestHandler):
    """Answer by the last part of the path; what there is not is 404."""

    def do_GET(self) -> None:
        body = ANSWERS.get(self.path.partition("?")[0].rpartition("/")[2])
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def job() -> Iterator[Job]:
    """Make a job that succeeded, whose links lead to a server of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made = new_job(state=State.SUCCEEDED, attempt=1, committed_attempt=1)
    key = f"{output_prefix(made.client_id, made.job_id, 1)}0-a.png"
    output = Output(
        key=key, filename="a.png", content_type="image/png", size_bytes=len(PICTURE), node="9", kind="image",
        sha256=hashlib.sha256(PICTURE).hexdigest(), thumbnail_key=key, thumbnail_type="image/png",
    )  # fmt: skip
    yield made.model_copy(update={"outputs": (output,), "link_base": f"http://127.0.0.1:{server.server_port}"})
    server.shutdown()
    thread.join()
    server.server_close()


def test_links_that_lead_to_what_was_recorded_are_right(job: Job) -> None:
    """As the API gives them, and as the row shows them."""
    assert misleading(job) == [] and misleading(job, Shown(output_link(job, 0), thumbnail_link(job, 0))) == []


@pytest.mark.parametrize("part", ["half", "other", "nothing"])
def test_a_cell_that_leads_astray_is_seen(job: Job, part: str) -> None:
    """P16: half a picture, another file, or none, behind the link or behind the picture."""
    astray = output_link(job, 0).replace("/0?", f"/{part}?")
    assert len(misleading(job, Shown(astray, thumbnail_link(job, 0)))) == 1
    assert len(misleading(job, Shown(output_link(job, 0), astray))) == 1
