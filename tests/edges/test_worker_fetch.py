"""Getting files from strangers' addresses: what may be had, and what must never be connected to."""

from __future__ import annotations

import gzip
import ipaddress
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import pytest

from chalicelib.contract.addresses import is_public
from chalicelib.contract.errors import Rejected, Unavailable
from tests.edges.https_site import Certificate, make_certificate
from worker.fetch import HttpsFetcher

BAD = [
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "169.254.170.2",
    "100.64.0.1",
    "100.100.100.200",
    "0.0.0.0",
    "0.1.2.3",
    "192.0.0.192",
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "168.63.129.16",
]
NO_IPV4 = ["::1", "::127.0.0.1", "::ffff:127.0.0.1", "fe80::1", "fec0::1", "fd00::1", "64:ff9b::7f00:1"]
NO_IPV4 += ["2002:7f00:1::"]


@pytest.mark.parametrize("address", BAD + NO_IPV4)
def test_addresses_that_are_not_for_everybody_are_closed(address: str) -> None:
    """Loopback, private, link-local, carrier, relay, multicast, reserved, the clouds' own; IPv6 altogether."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "151.101.1.69"])
def test_public_addresses_are_open(address: str) -> None:
    """Else nothing could be had."""
    assert is_public(address)


@dataclass
class Site:
    """Be a public https server, as far as the fetcher is told."""

    url: str = ""
    port: int = 0
    ca: str = ""
    answer: Callable[[BaseHTTPRequestHandler], None] = field(default=lambda _: None)
    asked: list[dict[str, str]] = field(default_factory=list)

    def fetcher(self, limit_bytes: int = 10_000, total_s: float = 20, find: object = None) -> HttpsFetcher:
        leads = find or (lambda _host: ("127.0.0.1", self.port))
        return HttpsFetcher(limit_bytes, find=leads, verify=self.ca, total_s=total_s)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), "pictures.example")


@pytest.fixture
def site(certificate: Certificate) -> Iterator[Site]:
    made = Site(ca=str(certificate[0]), url="https://pictures.example")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(dict(self.headers))
            made.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, certificate))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made.port = int(server.server_address[1])
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(5)


def sends(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_a_file_comes_whole_with_what_it_takes_to_ask_again(site: Site) -> None:
    """No cookies, no login, no compression asked for; the certificate is checked against the name."""
    site.answer = sends(b"x" * 5000, ETag='"1"', Last_Modified="Sat, 21 Nov 2026 08:00:00 GMT")
    into = BytesIO()
    told = site.fetcher().get(f"{site.url}/a.png?key=secret", into)
    assert into.getvalue() == b"x" * 5000
    assert (told.etag, told.modified, told.is_same) == ('"1"', "Sat, 21 Nov 2026 08:00:00 GMT", False)
    assert site.asked[0]["Accept-Encoding"] == "identity" and "Cookie" not in site.asked[0]


def test_what_is_still_right_is_not_sent_again(site: Site) -> None:
    """304 to a conditional question."""
    site.answer = sends(b"", 304)
    into = BytesIO()
    assert site.fetcher().get(f"{site.url}/a.png", into, etag='"1"').is_same
    assert site.asked[0]["If-None-Match"] == '"1"' and into.getvalue() == b""


def test_another_name_than_the_certificates_is_refused(site: Site) -> None:
    """Pinning the address does not loosen TLS."""
    site.answer = sends(b"x")
    with pytest.raises(Unavailable):
        site.fetcher().get("https://other.example/a.png", BytesIO())
    assert site.asked == []


def test_a_redirect_is_a_new_address_and_checked_again(site: Site) -> None:
    """To the metadata service, to http, with a login, to another port: refused; three hops are the most."""
    for place in (
        "http://169.254.169.254/latest/meta-data/",
        "https://user:pass@pictures.example/x",
        "https://pictures.example:8443/x",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
    ):
        site.answer = sends(b"", 302, Location=place)
        with pytest.raises(Rejected) as refused:
            site.fetcher().get(f"{site.url}/a.png?key=secret", BytesIO())
        assert "pictures.example" in refused.value.message and "secret" not in refused.value.message
    site.asked.clear()
    site.answer = sends(b"", 302, Location="/again")
    with pytest.raises(Rejected, match="more than 3 times"):
        site.fetcher().get(f"{site.url}/a.png", BytesIO())
    assert len(site.asked) == 4


def test_a_name_that_changes_its_mind_is_asked_once(site: Site) -> None:
    """The address that was checked is the one that is connected to: there is no second look to deceive."""
    answers = [("127.0.0.1", site.port), ("169.254.169.254", 443)]
    site.answer = sends(b"x")
    into = BytesIO()
    site.fetcher(find=lambda _host: answers.pop(0)).get(f"{site.url}/a.png", into)
    assert into.getvalue() == b"x" and len(answers) == 1


@pytest.mark.parametrize("told", [True, False])
def test_what_is_too_large_is_dropped_at_the_limit(site: Site, told: bool) -> None:
    """Whether the server says its size or not; no more than the limit and a chunk are read."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if told:
            handler.send_header("Content-Length", "50000000")
        handler.end_headers()
        with pytest.raises(OSError):
            for _ in range(1000):
                handler.wfile.write(b"x" * 50_000)

    site.answer = answer
    into = BytesIO()
    with pytest.raises(Rejected, match="larger than"):
        site.fetcher(limit_bytes=100_000).get(f"{site.url}/a.png", into)
    assert len(into.getvalue()) <= 100_000


def test_a_compressed_bomb_is_not_unpacked(site: Site) -> None:
    """10 MB of nothing is 10 KB on the wire: what nobody asked for is refused."""
    site.answer = sends(gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")
    with pytest.raises(Rejected, match="compressed"):
        site.fetcher(limit_bytes=100_000).get(f"{site.url}/a.png", BytesIO())


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_slow_drip_ends_with_the_time(site: Site, part: str) -> None:
    """A byte now and then keeps every single read alive, but not the whole."""
    over = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if part == "body":
            handler.send_response(200)
            handler.end_headers()
        try:
            for _ in range(2000):
                handler.wfile.write(b"H")
                handler.wfile.flush()
                if over.wait(0.02):
                    return
        except OSError:
            return

    site.answer = answer
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="did not come within"):
        site.fetcher(total_s=0.5).get(f"{site.url}/a.png", BytesIO())
    over.set()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("status", "error"), [(404, Rejected), (403, Rejected), (500, Unavailable), (429, Unavailable)]
)
def test_answers_that_may_change_are_tried_again_later(site: Site, status: int, error: type[Exception]) -> None:
    """A missing file stays missing; a busy server does not."""
    site.answer = sends(b"no", status)
    with pytest.raises(error):
        site.fetcher().get(f"{site.url}/a.png", BytesIO())


def test_a_file_that_is_cut_off_is_not_taken_for_whole(site: Site) -> None:
    """Half a picture would be rendered as if it were right."""
    site.answer = sends(b"x" * 10, Content_Length="100")
    with pytest.raises(Unavailable):
        site.fetcher().get(f"{site.url}/a.png", BytesIO())


def test_the_address_that_is_connected_to_is_one_of_a_public_network() -> None:
    """What `resolve` lets through is what the rule says; a check of the rule against Python's own."""
    for number in range(0, 2**32, 2**32 // 4096):
        address = ipaddress.IPv4Address(number)
        if is_public(str(address)):
            assert address.is_global and not address.is_multicast
