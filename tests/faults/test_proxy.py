"""The fault proxy does to requests what it is ordered, to those that are meant, and to no others."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests

from faults.orders import Fault, Kind, Match, Request, call_name
from faults.proxy import Proxy
from sandbox.waiting import wait_until


class Site:
    """Be a server that remembers what it was asked, and echoes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.headers.get("Upgrade"):
                    self.tunnel()
                    return
                self.answer(b"")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_PUT = do_POST

            def answer(self, body: bytes) -> None:
                site.asked.append((self.command, self.path, body))
                said = b"%d:%s" % (len(site.asked), body)
                self.send_response(200)
                if self.path == "/chunked":
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.wfile.write(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
                    return
                if self.path == "/until-the-end":
                    self.send_header("Connection", "close")
                    self.end_headers()
                    self.wfile.write(said)
                    return
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def tunnel(self) -> None:
                self.send_response(101)
                self.end_headers()
                while part := self.connection.recv(100):
                    self.connection.sendall(part)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Say nothing of clients that were cut off."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def bodies(self) -> list[bytes]:
        return [body for _, _, body in self.asked]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    serving = threading.Thread(target=site.server.serve_forever, args=(0.01,), daemon=True)
    serving.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    serving.join()


@pytest.fixture
def proxy(site: Site) -> Iterator[Proxy]:
    with Proxy(site.url, seed=7) as proxy:
        yield proxy


def post(proxy: Proxy, path: str = "/a", body: bytes = b"hello", timeout_s: float = 5) -> str:
    return requests.post(proxy.url + path, data=body, timeout=timeout_s).text


def test_without_an_order_everything_passes_as_it_is(site: Site, proxy: Proxy) -> None:
    """Bodies, statuses, kept-alive connections, chunked answers and answers without a length pass."""
    with requests.Session() as session:
        assert session.post(f"{proxy.url}/a?x=1", data=b"1" * 300_000, timeout=5).text == "1:" + "1" * 300_000
        assert session.get(f"{proxy.url}/chunked", timeout=5).text == "abcde"
        assert session.get(f"{proxy.url}/until-the-end", timeout=5).text == "3:"
        assert session.post(f"{proxy.url}/b", data=iter([b"in ", b"parts"]), timeout=5).text == "4:in parts"
    assert [path for _, path, _ in site.asked] == ["/a?x=1", "/chunked", "/until-the-end", "/b"]
    assert proxy.counts == {"POST /a": 1, "GET /chunked": 1, "GET /until-the-end": 1, "POST /b": 1}
    # An answer counts when its last byte has gone; whoever asked may have it a moment earlier.
    assert wait_until(lambda: all(each.is_answered and each.status == 200 and each.arrived == 1 for each in proxy.log))


def test_a_client_that_waits_to_be_told_sends_its_body(site: Site, proxy: Proxy) -> None:
    """`Expect: 100-continue` is answered by the proxy: the body is held whole before anything arrives."""
    with _connected(proxy) as held:
        held.sendall(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert held.recv(100).startswith(b"HTTP/1.1 100 ")
        held.sendall(b"ab")
        assert b"200 OK" in held.recv(1000)
    assert site.bodies() == [b"ab"]


def test_a_dropped_answer_is_that_of_a_request_that_was_carried_out(site: Site, proxy: Proxy) -> None:
    """DROP_ANSWER: the server did it, the client is told nothing; only the request that was meant."""
    order = proxy.order(Fault(Kind.DROP_ANSWER, Match(method="POST"), nth=2, times=1))
    assert post(proxy, body=b"one") == "1:one"
    with pytest.raises(requests.ConnectionError):
        post(proxy, body=b"two")
    assert post(proxy, body=b"three") == "3:three"
    assert site.bodies() == [b"one", b"two", b"three"]
    assert (order.seen, order.fired) == (3, 1)
    told = [(1, True), (1, False), (1, True)]
    assert wait_until(lambda: [(each.arrived, each.is_answered) for each in proxy.log] == told)


def test_an_answer_is_dropped_for_what_it_says(site: Site, proxy: Proxy) -> None:
    """With *answer* only the answer that holds the text gets lost; the others pass and do not count."""
    order = proxy.order(Fault(Kind.DROP_ANSWER, answer="2:", times=1))
    assert post(proxy, body=b"one") == "1:one"
    with pytest.raises(requests.ConnectionError):
        post(proxy, body=b"two")
    assert post(proxy, body=b"2:") == "3:2:"
    assert (order.seen, order.fired) == (3, 1)


def test_a_reset_request_arrives_nowhere(site: Site, proxy: Proxy) -> None:
    """RESET: the client's connection is reset, and the server was not asked."""
    proxy.order(Fault(Kind.RESET, Match(path="^/a$")))
    with pytest.raises(requests.ConnectionError, match="reset"):
        post(proxy)
    assert post(proxy, path="/b") == "1:hello"


def test_a_black_hole_holds_everything_and_delivers_it_late(site: Site, proxy: Proxy) -> None:
    """BLACK_HOLE: no answer while it lasts; afterwards what was sent arrives, though its sender has hung up."""
    order = proxy.order(Fault(Kind.BLACK_HOLE))
    with pytest.raises(requests.ReadTimeout):
        post(proxy, timeout_s=0.05)
    assert site.asked == []
    order.lift()
    assert wait_until(lambda: site.bodies() == [b"hello"], look_s=0.01)
    assert post(proxy) == "2:hello"


def test_a_black_hole_can_swallow_what_is_given_up(site: Site, proxy: Proxy) -> None:
    """With is_late=False a request whose sender has hung up never arrives."""
    proxy.order(Fault(Kind.BLACK_HOLE, Match(path="/a"), for_s=0.2, is_late=False))
    with pytest.raises(requests.ReadTimeout):
        post(proxy, timeout_s=0.05)
    assert wait_until(lambda: proxy.open_links == 0, look_s=0.01)
    assert post(proxy, path="/b") == "1:hello"


def test_a_span_ends_by_itself(proxy: Proxy) -> None:
    """A fault with for_s is over after it, and one with after_s has not begun before it."""
    proxy.order(Fault(Kind.BLACK_HOLE, for_s=0.1))
    proxy.order(Fault(Kind.RESET, after_s=60))
    begun = time.monotonic()
    assert post(proxy) == "1:hello"
    assert time.monotonic() - begun >= 0.1


def test_slowness_delays_and_narrows(proxy: Proxy) -> None:
    """SLOW: a delay each way, and so many bytes a second each way; several add up; the rest is as ever."""
    proxy.order(Fault(Kind.SLOW, delay_s=0.05))
    proxy.order(Fault(Kind.SLOW, bytes_per_s=20_000))
    begun = time.monotonic()
    assert post(proxy, body=b"1" * 1000) == "1:" + "1" * 1000
    assert time.monotonic() - begun >= 0.1 + 0.1


def test_half_an_upload_is_no_request(site: Site, proxy: Proxy) -> None:
    """CUT_UPLOAD: the server gets half of the body and a reset, and the client a reset."""
    proxy.order(Fault(Kind.CUT_UPLOAD, times=1))
    with pytest.raises(requests.ConnectionError):
        post(proxy, body=b"1" * 1000)
    assert post(proxy, body=b"2").endswith(":2")
    assert b"1" * 1000 not in site.bodies()
    assert proxy.log[0].arrived == 0


def test_an_answer_of_our_own_asks_nobody(site: Site, proxy: Proxy) -> None:
    """ANSWER: the client gets status, headers and body as ordered, on a connection that lives on."""
    proxy.order(Fault(Kind.ANSWER, times=1, status=429, headers={"Retry-After": "7"}, body=b"slow down"))
    with requests.Session() as session:
        answer = session.post(f"{proxy.url}/a", data=b"x", timeout=5)
        assert (answer.status_code, answer.headers["Retry-After"], answer.text) == (429, "7", "slow down")
        assert site.asked == []
        assert session.post(f"{proxy.url}/a", data=b"x", timeout=5).text == "1:x"


def test_a_duplicate_is_carried_out_twice(site: Site, proxy: Proxy) -> None:
    """DUPLICATE: the server gets the request twice, the client the second answer."""
    proxy.order(Fault(Kind.DUPLICATE, times=1))
    assert post(proxy) == "2:hello"
    assert proxy.log[0].arrived == 2


def test_an_exemption_stands_before_what_is_ordered_later(proxy: Proxy) -> None:
    """PASS: what it matches meets no later fault."""
    proxy.order(Fault(Kind.PASS, Match(holds="keep")))
    proxy.order(Fault(Kind.RESET))
    assert post(proxy, body=b"keep me") == "1:keep me"
    with pytest.raises(requests.ConnectionError):
        post(proxy)


def test_a_share_is_drawn_by_the_seed(site: Site) -> None:
    """The same seed meets the same requests; about the share of them."""

    def met() -> list[bool]:
        with Proxy(site.url, seed=11) as proxy:
            proxy.order(Fault(Kind.ANSWER, share=0.3))
            return [requests.get(proxy.url, timeout=5).status_code == 503 for _ in range(60)]

    first = met()
    assert first == met()
    assert 8 <= sum(first) <= 28


def _connected(proxy: Proxy) -> socket.socket:
    parts = urlsplit(proxy.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=5)


def _tunnel(proxy: Proxy) -> socket.socket:
    held = _connected(proxy)
    held.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    assert b" 101 " in held.recv(1000)
    return held


def test_a_tunnel_carries_bytes_both_ways(proxy: Proxy) -> None:
    """After 101 the connection is the two sides' own."""
    with _tunnel(proxy) as held:
        held.sendall(b"ping")
        assert held.recv(100) == b"ping"


def test_a_standing_black_hole_stills_an_open_tunnel(proxy: Proxy) -> None:
    """Nothing passes while it stands, nothing is lost when it is lifted."""
    with _tunnel(proxy) as held:
        order = proxy.order(Fault(Kind.BLACK_HOLE, Match(path="^/ws$")))
        held.sendall(b"ping")
        held.settimeout(0.05)
        with pytest.raises(TimeoutError):
            held.recv(100)
        order.lift()
        held.settimeout(5)
        assert held.recv(100) == b"ping"


def test_a_standing_reset_cuts_open_connections(proxy: Proxy) -> None:
    """RESET that stands is felt at once by a tunnel that is open, and not by one that it does not mean."""
    with _tunnel(proxy) as held:
        proxy.order(Fault(Kind.RESET, Match(path="^/else$")))
        held.sendall(b"ping")
        assert held.recv(100) == b"ping"
        proxy.order(Fault(Kind.RESET, Match(path="^/ws$")))
        with pytest.raises(ConnectionResetError):
            held.recv(100)


def test_a_client_that_hangs_up_ends_the_call_at_the_server(site: Site, proxy: Proxy) -> None:
    """A long poll whose caller has died does not go on at the server."""
    with _tunnel(proxy):
        assert wait_until(lambda: proxy.open_links == 1, look_s=0.01)
    assert wait_until(lambda: proxy.open_links == 0, look_s=0.01)


SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/%s/aws4_request, Signature=1"}


@pytest.mark.parametrize(
    ("service", "method", "target", "headers", "body", "name"),
    [
        ("sqs", "POST", "/", {"x-amz-target": "AmazonSQS.ReceiveMessage"}, b"{}", "sqs.ReceiveMessage"),
        ("dynamodb", "POST", "/", {"x-amz-target": "DynamoDB_20120810.GetItem"}, b"{}", "dynamodb.GetItem"),
        ("iam", "POST", "/", {}, b"Action=GetUser&Version=1", "iam.GetUser"),
        ("s3", "PUT", "/bucket/key", {}, b"x", "s3.PutObject"),
        ("s3", "PUT", "/bucket/key?partNumber=1&uploadId=2", {}, b"x", "s3.UploadPart"),
        ("s3", "POST", "/bucket/key?uploads", {}, b"", "s3.CreateMultipartUpload"),
        ("s3", "POST", "/bucket/key?uploadId=2", {}, b"", "s3.CompleteMultipartUpload"),
    ],
)
def test_calls_of_aws_have_their_names(
    service: str, method: str, target: str, headers: dict[str, str], body: bytes, name: str
) -> None:
    """A signed request is called after its service and operation."""
    signed = {"authorization": SIGNED["authorization"] % service}
    assert call_name(Request(method, target, {**signed, **headers}, body)) == name


def test_a_signed_link_has_its_name() -> None:
    """A presigned request carries its scope in the query."""
    target = "/bucket/key?X-Amz-Credential=AKIA%2F20261121%2Fus-east-1%2Fs3%2Faws4_request"
    assert call_name(Request("GET", target, {}, b"")) == "s3.GetObject"
