"""S8, S15: whatever address a stranger writes, nothing of ours connects to where strangers have no business."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from urllib.parse import quote

import pytest

from chalicelib.contract.addresses import is_public
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.guarded_http import Address, Closed, resolve
from chalicelib.poster import GuardedPoster
from tests.edges.https_site import Certificate, make_certificate, says
from tests.edges.test_worker_fetch import Site, site
from tests.security.figures import Note, of_size
from tests.security.hostile import lines_of
from worker.fetch import HttpsFetcher

ADDRESSES = lines_of("addresses.txt")
assert site, "a fixture"


@dataclass
class Listener:
    """Be a private server that counts who connects; stands for every address inside."""

    port: int = 0
    connects: list[str] = field(default_factory=list)
    leading: list[str] = field(default_factory=list)
    """Addresses that were let through though they are not public."""

    def find(self, host: str, port: int = 443, is_tls: bool = True) -> Address:
        """Judge as the product does; what passes and is not public leads here, so that it is heard."""
        address, port = resolve(host, port, is_tls)
        if not is_public(address) or port != 443:
            self.leading.append(f"{host} → {address}:{port}")
            return "127.0.0.1", self.port
        # A public address is no business of this test: nothing leaves the machine.
        raise OSError("public")


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Listen on loopback."""
    with _listening() as made:
        yield made


@contextmanager
def _listening() -> Iterator[Listener]:
    made, over = Listener(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        made.port = int(server.getsockname()[1])
        server.settimeout(0.02)

        def hear() -> None:
            while not over.is_set():
                try:
                    connection, peer = server.accept()
                except TimeoutError:
                    continue
                made.connects.append(str(peer))
                connection.close()

        thread = threading.Thread(target=hear)
        thread.start()
        try:
            yield made
        finally:
            over.set()
            thread.join(5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "pictures.example")


def test_nothing_is_fetched_from_an_address_that_leads_inside(listener: Listener, note: Note) -> None:
    """Each vector is refused with a sentence of ours, and no connection is made."""
    wrong = []
    for url in ADDRESSES:
        try:
            HttpsFetcher(1000, find=listener.find, total_s=5).get(url, BytesIO())
            wrong.append(f"{url!r} was fetched")
        except (Rejected, Unavailable):
            continue
        except Exception as error:
            wrong.append(f"{url!r}: {type(error).__name__}: {error}")
    note("S8", "input addresses that connected inside", len(ADDRESSES), listener.connects + listener.leading)
    note("S8", "input addresses answered with a fault of ours", len(ADDRESSES), wrong)


def test_nothing_is_sent_to_an_address_that_leads_inside(listener: Listener, note: Note) -> None:
    """However it is written; a failure is noted, nothing is raised."""
    wrong = []
    for url in ADDRESSES:
        try:
            posted = GuardedPoster(find=listener.find, total_s=5).post(url, b"{}", {})
            wrong += [] if posted.status is None and posted.error else [f"{url!r}: {posted}"]
        except Exception as error:
            wrong.append(f"{url!r}: {type(error).__name__}: {error}")
    note("S15", "webhook addresses that connected inside", len(ADDRESSES), listener.connects + listener.leading)
    note("S15", "webhook addresses answered with a fault of ours", len(ADDRESSES), wrong)


def test_a_redirect_to_a_vector_connects_to_nothing(site: Site, listener: Listener, note: Note) -> None:
    """A public site leads on to each of them; three hops at most, in a ring too."""

    def find(host: str) -> Address:
        return ("127.0.0.1", site.port) if host == "pictures.example" else listener.find(host)

    vectors = [url for url in ADDRESSES if url.isprintable() and url.strip() == url][:: of_size(3, 1)]
    wrong = []
    for url in vectors:
        site.answer = says(302, Location=quote(url, safe=":/?#[]@!$&'()*+,;=%\\"))
        try:
            site.fetcher(find=find).get(f"{site.url}/a.png", BytesIO())
            wrong.append(url)
        except (Rejected, Unavailable):
            continue
        except Exception as error:
            wrong.append(f"{url!r}: {type(error).__name__}: {error}")
    note("S8", "redirects that connected inside", len(vectors), listener.connects + listener.leading)
    note("S8", "redirects answered with a fault of ours", len(vectors), wrong)


def test_a_name_with_any_address_inside_is_closed(note: Note) -> None:
    """Whatever its owner lets it resolve to, in whatever order; a second look is never taken."""
    answers = [line.split() for line in lines_of("rebound.txt")]
    through, looks = [], []
    for addresses in answers:

        def told(*asked: object, addresses: list[str] = addresses) -> list[object]:
            looks.append(asked)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]

        try:
            through.append((addresses, resolve("rebound.example", look_up=told)))
        except Closed:
            continue
    note("S8", "names with an address inside that were opened", len(answers), through)
    assert len(looks) == len(answers)
