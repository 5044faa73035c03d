"""Posting to strangers' addresses: what counts as received, what is kept of it, and what is never connected to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from chalicelib.contract.addresses import read_networks, webhook_url
from chalicelib.guarded_http import Closed, resolve
from chalicelib.poster import KEPT_BYTES, GuardedPoster
from chalicelib.signature import signed_headers
from chalicelib.webhook_secrets import new_secret
from tests.edges.https_site import Certificate, Receiver, make_certificate, receiving, says

HOST = "hooks.example"
URL = f"https://{HOST}/comfy?token=1"
LOOPBACK = read_networks("127.0.0.0/8")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"), HOST)


@pytest.fixture
def site(certificate: Certificate) -> Iterator[Receiver]:
    with receiving(certificate) as receiver:
        yield receiver


def poster(site: Receiver, certificate: tuple[Path, Path], total_s: float = 10) -> GuardedPoster:
    return GuardedPoster(
        find=lambda _host, _port, _tls: ("127.0.0.1", site.port), verify=str(certificate[0]), total_s=total_s
    )


def test_the_receivers_own_library_verifies_what_arrives(site: Receiver, certificate: Certificate) -> None:
    """With either of two secrets; a changed byte, another id and another secret do not verify."""
    old, new = new_secret(), new_secret()
    body = json.dumps({"type": "job.succeeded", "data": {"name": "Füchse 🦊"}}, ensure_ascii=False).encode()
    site.answer = says(204)
    posted = poster(site, certificate).post(URL, body, signed_headers("dlv_1", int(time.time()), body, [new, old]))
    assert (posted.status, posted.error, posted.answer) == (204, "", "")
    [(path, headers, received)] = site.received
    assert (path, received) == ("/comfy?token=1", body) and headers["Content-Type"] == "application/json"
    assert headers["Host"] == HOST and "Cookie" not in headers and "Authorization" not in headers
    for secret in (old, new):
        assert Webhook(secret).verify(received, headers)["data"]["name"] == "Füchse 🦊"
    for secret, changed, data in (
        (new_secret(), {}, received),
        (new, {}, received.replace(b"succeeded", b"successed")),
        (new, {"webhook-id": "dlv_2"}, received),
        (new, {"webhook-timestamp": str(int(time.time()) - 301)}, received),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(data, {**{k.lower(): v for k, v in headers.items()}, **changed})


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(site: Receiver, certificate: Certificate, status: int) -> None:
    """Neither to the metadata service nor to the site itself; what is no address does no harm either."""
    for place in ("http://169.254.169.254/latest/meta-data/", "/comfy", "https://[", "https://a..b/"):
        site.answer = says(status, Location=place)
        site.received.clear()
        posted = poster(site, certificate).post(URL, b"{}", {})
        assert posted.status == status and "redirects are not followed" in posted.error
        assert len(site.received) == 1


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_anything_but_2xx_is_a_failure(site: Receiver, certificate: Certificate, status: int) -> None:
    """With its status and how the answer began, for whoever looks for the fault."""
    site.answer = says(status, b'{"detail": "no such \x00 hook \xff"}')
    posted = poster(site, certificate).post(URL, b"{}", {})
    assert posted.status == status and str(status) in posted.error and posted.duration_ms >= 0
    assert posted.answer.startswith('{"detail": "no such') and "\x00" not in posted.answer


def test_of_a_huge_answer_only_the_beginning_is_read(site: Receiver, certificate: Certificate) -> None:
    """A gigabyte would be; what was answered counts all the same."""
    sent = [0]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with pytest.raises(OSError):
            while sent[0] < 10**9:
                handler.wfile.write(b"x" * 65_536)
                sent[0] += 65_536

    site.answer = answer
    posted = poster(site, certificate).post(URL, b"{}", {})
    assert (posted.status, posted.error, len(posted.answer)) == (200, "", KEPT_BYTES)
    assert sent[0] < 10**8


def test_a_slow_drip_ends_with_the_time(site: Receiver, certificate: Certificate) -> None:
    """A byte of a header now and then keeps every single read alive, but not the whole."""
    over = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        try:
            while not over.wait(0.02):
                handler.wfile.write(b"H")
                handler.wfile.flush()
        except OSError:
            return

    site.answer = answer
    begun = time.monotonic()
    posted = poster(site, certificate, total_s=0.5).post(URL, b"{}", {})
    over.set()
    assert posted.status is None and "did not answer within 0.5 s" in posted.error
    assert time.monotonic() - begun < 5 and posted.duration_ms >= 400


def test_a_connection_that_is_reset_is_a_failure(site: Receiver, certificate: Certificate) -> None:
    """In the middle of everything; the sentence names no address."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    site.answer = answer
    posted = poster(site, certificate).post(URL, b"{}", {})
    assert posted.status is None and "cannot be reached" in posted.error and "token" not in posted.error


def test_another_name_than_the_certificates_is_refused(site: Receiver, certificate: Certificate) -> None:
    """Pinning the address does not loosen TLS: nothing is sent."""
    posted = poster(site, certificate).post("https://other.example/", b"{}", {})
    assert posted.status is None and posted.error and site.received == []


def test_a_name_that_changes_its_mind_is_asked_once(site: Receiver, certificate: Certificate) -> None:
    """The address that was checked is the one that is connected to: a rebinding resolver gets no second chance."""
    answers = [("127.0.0.1", site.port), ("169.254.169.254", 443)]
    site.answer = says(200)
    made = GuardedPoster(find=lambda *_: answers.pop(0), verify=str(certificate[0]))
    assert made.post(URL, b"{}", {}).status == 200 and len(answers) == 1


def test_a_network_of_the_operators_own_is_open_and_no_other() -> None:
    """There plain http and any port are fine; what is public still needs https on its usual port."""
    with receiving() as inner:
        inner.answer = says(200)
        url = f"http://127.0.0.1:{inner.port}/hook"
        assert GuardedPoster(LOOPBACK).post(url, b"{}", {}).status == 200
        assert "https" in GuardedPoster().post(url, b"{}", {}).error
        assert "not public" in GuardedPoster(read_networks("10.0.0.0/8")).post(url, b"{}", {}).error
        assert len(inner.received) == 1
    for host, port, is_tls in (("1.1.1.1", 80, False), ("1.1.1.1", 8443, True), ("169.254.169.254", 443, True)):
        with pytest.raises(Closed):
            resolve(host, port, is_tls, own=LOOPBACK)
    assert resolve("1.1.1.1", 443) == ("1.1.1.1", 443)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hooks.example/", "https"),
        ("https://user:pass@hooks.example/", "user name"),
        ("https://hooks.example:8443/", "usual port"),
        ("ftp://hooks.example/", "like https"),
        ("https://", "like https"),
        ("https://hooks.example/ x", "like https"),
        ("https://hooks.example\\@127.0.0.1/", "like https"),
        ("https://[::1", "like https"),
        ("https://hooks.example/" + "x" * 2_000, "like https"),
        ("hooks.example", "like https"),
        ("javascript:alert(1)", "like https"),
    ],
)
def test_an_address_to_which_nothing_would_go_is_refused_at_once(url: str, words: str) -> None:
    """With the rest of a sentence that says what to give instead; an attempt says the same."""
    with pytest.raises(ValueError, match=words):
        webhook_url(url)
    assert GuardedPoster().post(url, b"{}", {}).status is None


def test_networks_are_read_or_named() -> None:
    """IPv4 alone, parted by commas."""
    assert [str(each) for each in read_networks("10.1.0.0/16, 192.168.7.4/32,")] == ["10.1.0.0/16", "192.168.7.4/32"]
    assert read_networks("") == ()
    with pytest.raises(ValueError, match="fd00"):
        read_networks("fd00::/8")
