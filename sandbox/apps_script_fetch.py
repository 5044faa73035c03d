"""Be UrlFetchApp, with its limits: https only (but for this machine), 50 MB, 8 KB of headers, 2 KB of address."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from sandbox.apps_script_host import Face, ScriptFault, needs
from sandbox.apps_script_run import FetchCall, FetchRequest, FetchResponse, Run
from sandbox.apps_script_utilities import Blob, Bytes, raw_of, signed

MAX_BODY_BYTES: Final = 50 * 1024 * 1024
MAX_HEADER_BYTES: Final = 8 * 1024
MAX_URL_BYTES: Final = 2 * 1024
#: How many requests of one fetchAll Google has under way together is not published.
AT_ONCE: Final = 16

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_OPTIONS: Final = frozenset(
    {"method", "payload", "headers", "contentType", "muteHttpExceptions", "followRedirects",
     "validateHttpsCertificates", "escaping"}
)  # fmt: skip
_METHODS: Final = frozenset({"get", "delete", "patch", "post", "put"})
#: Google sets these itself and refuses them (seen: "Attribute provided with invalid value: Header:Host").
_REFUSED_HEADERS: Final = frozenset({"host", "content-length", "user-agent"})


class HTTPResponse(Face):
    """Be an answer."""

    NAME = "HTTPResponse"

    def __init__(self, response: FetchResponse) -> None:
        """Hold *response*."""
        self._response = response

    def getResponseCode(self) -> int:
        """Give the HTTP status."""
        return self._response.status

    def getContentText(self, charset: str = "UTF-8") -> str:
        """Give the body as text."""
        return self._response.body.decode(charset, "replace")

    def getContent(self) -> Bytes:
        """Give the body's bytes."""
        return signed(self._response.body)

    def getBlob(self) -> Blob:
        """Give the body as a blob."""
        kind = {name.lower(): value for name, value in self._response.headers.items()}.get("content-type")
        return Blob(self._response.body, kind)

    def getHeaders(self) -> dict[str, str]:
        """Give the headers."""
        return dict(self._response.headers)

    def getAllHeaders(self) -> dict[str, str]:
        """Give the headers; what comes several times is not kept apart here."""
        return dict(self._response.headers)


class UrlFetchApp(Face):
    """Be the service."""

    NAME = "UrlFetchApp"

    def __init__(self, run: Run) -> None:
        """Serve one execution."""
        self._run = run

    @needs("script.external_request")
    def fetch(self, url: str, params: dict | None = None) -> HTTPResponse:  # type: ignore[type-arg]
        """Fetch; a status of 400 and more throws unless muteHttpExceptions says otherwise."""
        options = params or {}
        request = read_request(url, options)
        self._run.count("urlfetch")
        return self._answered(self._send(request), options)

    @needs("script.external_request")
    def fetchAll(self, requests: list) -> list[HTTPResponse]:  # type: ignore[type-arg]
        """Fetch several at the same time; the answers come in the order of the requests, the first trouble throws."""
        each = [{"url": one} if isinstance(one, str) else dict(one) for one in requests]
        asked = [(read_request(str(one.pop("url", "")), one), one) for one in each]
        for _ in asked:
            self._run.count("urlfetch")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            sent = list(pool.map(self._send, [request for request, _ in asked]))
        return [self._answered(one, options) for one, (_, options) in zip(sent, asked, strict=True)]

    def _send(self, request: FetchRequest) -> "_Sent":
        start = self._run.clock.now()
        try:
            answer: FetchResponse | OSError = self._run.fetch(request)
        except OSError as error:  # requests' errors are OSErrors
            answer = error
        return _Sent(request, answer, self._run.clock.now() - start)

    def _answered(self, sent: "_Sent", options: dict[str, Any]) -> HTTPResponse:
        request, response = sent.request, sent.answer
        status = None if isinstance(response, OSError) else response.status
        call = FetchCall(request.method, request.url, status, sent.seconds, self._run.unflushed)
        self._run.execution.fetches.append(call)
        if isinstance(response, OSError):
            raise ScriptFault(f"Address unavailable: {request.url}") from response
        if len(response.body) > MAX_BODY_BYTES:
            raise ScriptFault("Limit Exceeded: URLFetch Response Size.")
        if response.status >= 400 and not options.get("muteHttpExceptions"):
            host = "://".join(urlsplit(request.url)[:2])
            shown = response.body[:200].decode(errors="replace")
            raise ScriptFault(
                f"Request failed for {host} returned code {response.status}. Truncated server response: {shown} "
                "(use muteHttpExceptions option to examine full response)"
            )
        return HTTPResponse(response)


@dataclass(frozen=True, slots=True)
class _Sent:
    request: FetchRequest
    answer: FetchResponse | OSError
    seconds: float


def read_request(url: str, options: dict[str, Any]) -> FetchRequest:
    """Turn Google's options into a request; ScriptFault for what Google refuses or what is not emulated."""
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise ScriptFault(f"UrlFetchApp.fetch's option {unknown[0]} is not emulated")
    _check_url(url)
    payload = options.get("payload")
    method = str(options.get("method", "get" if payload is None else "post")).lower()
    if method not in _METHODS:
        raise ScriptFault(f"Attribute provided with invalid value: method ({method})")
    headers = {str(name): str(value) for name, value in (options.get("headers") or {}).items()}
    for name in headers:
        if name.lower() in _REFUSED_HEADERS:
            raise ScriptFault(f"Attribute provided with invalid value: Header:{name}")
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADER_BYTES:
        raise ScriptFault("Limit Exceeded: URLFetch Header Size.")
    body, kind = _body_of(payload)
    if len(body) > MAX_BODY_BYTES:
        raise ScriptFault("Limit Exceeded: URLFetch POST Size.")
    if payload is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = options.get("contentType") or kind
    headers["User-Agent"] = "Mozilla/5.0 (compatible; Google-Apps-Script; beanserver; +https://script.google.com)"
    return FetchRequest(method.upper(), url, headers, body, bool(options.get("followRedirects", True)))


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or re.search(r"\s", url):
        raise ScriptFault(f"Invalid argument: {url}")
    if len(url.encode()) > MAX_URL_BYTES:
        raise ScriptFault("Limit Exceeded: URLFetch URL Length.")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise ScriptFault(f"Only https is emulated, and http to this machine itself: {url}")


def _body_of(payload: Any) -> tuple[bytes, str]:
    match payload:
        case None:
            return b"", ""
        case str() | list():
            return raw_of(payload), "application/x-www-form-urlencoded"
        case Blob():
            return payload.raw, payload.content_type or "application/octet-stream"
        case dict():
            return urlencode({str(k): str(v) for k, v in payload.items()}).encode(), "application/x-www-form-urlencoded"
        case _:
            raise ScriptFault("Attribute provided with invalid value: payload")
