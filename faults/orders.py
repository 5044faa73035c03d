"""
Say what a fault proxy does to which requests: faults, what they match, and when they fire.

They are asked in the order in which they were given. Slowness adds up; of the others the first that fires decides, and
a `Kind.PASS` that fires exempts a request from all that were given later.
"""

from __future__ import annotations

import fnmatch
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit


class Kind(StrEnum):
    """Name what is done to a request."""

    PASS = "pass"
    DROP_ANSWER = "drop answer"
    """The request is carried out; the connection closes without an answer."""
    RESET = "reset"
    """The connection is reset before the request arrives anywhere; open ones too, when the order stands."""
    BLACK_HOLE = "black hole"
    """Nothing moves, in either direction, until the order ends; then what was sent arrives, late."""
    SLOW = "slow"
    CUT_UPLOAD = "cut upload"
    """Half of the body arrives, then both connections are reset."""
    ANSWER = "answer"
    """The proxy answers by itself; nothing arrives."""
    DUPLICATE = "duplicate"
    """The request is carried out twice; the second answer is passed on, as after a repeat."""


@dataclass(frozen=True)
class Request:
    """Hold one request as it came in; header names are lower case, *target* is path and query."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    name: str = ""
    """What the proxy calls it."""
    about: str = ""
    """What the proxy notes of it."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


@dataclass(frozen=True)
class Match:
    """
    Choose requests; what is empty chooses all.

    *name*: a pattern like `sqs.*` or `POST /prompt` for what the proxy calls a request (see `call_name`); *path*: a
    regular expression that is searched in the path; *holds*: a text that must occur in target or body.
    """

    name: str = ""
    method: str = ""
    path: str = ""
    host: str = ""
    holds: str = ""

    def takes(self, request: Request) -> bool:
        return (
            (not self.name or fnmatch.fnmatchcase(request.name, self.name))
            and (not self.method or request.method == self.method)
            and (not self.path or re.search(self.path, request.path) is not None)
            and (not self.host or request.headers.get("host", "") == self.host)
            and (self.holds in request.target or self.holds.encode() in request.body)
        )


@dataclass(frozen=True)
class Fault:
    """
    Describe a fault: what is done, to which requests, and to how many of them.

    It begins with the *nth* matching request and fires *times* times (None: without end), each time with the
    probability *share*; only from *after_s* on, for *for_s* seconds (None: until it is lifted). *delay_s* and
    *bytes_per_s* are for SLOW (each way), *status*, *headers* and *body* for ANSWER. *is_late*: what a BLACK_HOLE held
    is delivered afterwards even when its sender has hung up, as packets under way are. *answer*: DROP_ANSWER concerns
    only answers whose body holds this text; others pass and do not count as fired.
    """

    kind: Kind
    match: Match = Match()
    nth: int = 1
    times: int | None = None
    share: float = 1.0
    after_s: float = 0.0
    for_s: float | None = None
    delay_s: float = 0.0
    bytes_per_s: float | None = None
    is_late: bool = True
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    answer: str = ""

    @property
    def stands(self) -> bool:
        """Say whether it holds for all that it matches, and so for connections that are open already."""
        return self.nth == 1 and self.times is None and self.share >= 1


class Order:
    """Follow one fault that was ordered: how many requests it *seen*, in how many it *fired*."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.fired = 0
        self._since = time.monotonic()
        self._lifted = False

    def lift(self) -> None:
        """End it now; what it holds back goes on."""
        self._lifted = True

    def is_meant(self, answer: bytes) -> bool:
        """Say whether it concerns an answer with this body, and count it if that is what it waits for."""
        if not self.fault.answer:
            return True
        is_meant = self.fault.answer.encode() in answer and (self.fault.times is None or self.fired < self.fault.times)
        self.fired += is_meant
        return is_meant

    @property
    def is_active(self) -> bool:
        age_s = time.monotonic() - self._since - self.fault.after_s
        return not self._lifted and age_s >= 0 and (self.fault.for_s is None or age_s < self.fault.for_s)


class Orders:
    """Keep the orders of one proxy, which calls requests as *name* says. Threads may share it."""

    def __init__(self, seed: int, name: Callable[[Request], str], about: Callable[[Request], str]) -> None:
        self._name = name
        self._about = about
        self._orders: list[Order] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Order:
        order = Order(fault)
        with self._lock:
            self._orders.append(order)
        return order

    def clear(self) -> None:
        """Lift all."""
        with self._lock:
            for order in self._orders:
                order.lift()
            self._orders.clear()

    def named(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Make a request with its name."""
        request = Request(method, target, headers, body)
        return replace(request, name=self._name(request), about=self._about(request))

    def fire(self, request: Request) -> list[Order]:
        """
        Count *request* with the orders that match it, and give those that act on it: slow ones, and at most one other,
        which is the last.
        """
        acting: list[Order] = []
        with self._lock:
            for order in self._orders:
                if self._fires(order, request):
                    acting.append(order)
                    if order.fault.kind is not Kind.SLOW:
                        break
        return acting

    def standing(self, request: Request) -> list[Order]:
        """Give, as `fire`, the orders that act on what a connection of *request* carries now; nothing is counted."""
        acting: list[Order] = []
        with self._lock:
            for order in self._orders:
                if order.fault.stands and order.is_active and order.fault.match.takes(request):
                    acting.append(order)
                    if order.fault.kind is not Kind.SLOW:
                        break
        return acting

    def _fires(self, order: Order, request: Request) -> bool:
        fault = order.fault
        if not order.is_active or not fault.match.takes(request):
            return False
        order.seen += 1
        if order.seen < fault.nth or (fault.times is not None and order.fired >= fault.times):
            return False
        if fault.share < 1 and self._random.random() >= fault.share:
            return False
        order.fired += not fault.answer
        return True


_S3_NAMES = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


def call_name(request: Request) -> str:
    """
    Name what a request asks for: `dynamodb.UpdateItem`, `sqs.ReceiveMessage`, `s3.PutObject`; else method and path.

    The service is the one that the signature is for, the operation that of X-Amz-Target or Action.
    """
    query = parse_qs(urlsplit(request.target).query)
    credential = request.headers.get("authorization", "") or query.get("X-Amz-Credential", [""])[0]
    scope = re.search(r"/\d{8}/[^/]+/([^/]+)/aws4_request", credential)
    if scope is None:
        return f"{request.method} {request.path}"
    service = scope.group(1)
    if target := request.headers.get("x-amz-target"):
        return f"{service}.{target.rsplit('.', 1)[-1]}"
    if service == "s3":
        return f"s3.{_s3_name(request.method, urlsplit(request.target).query)}"
    form = parse_qs(request.body[:4096].decode("latin-1")) if request.method == "POST" else query
    return f"{service}.{form.get('Action', [request.method])[0]}"


def _s3_name(method: str, query: str) -> str:
    if "partNumber=" in query:
        return "UploadPart"
    if "uploads" in query:
        return "CreateMultipartUpload"
    if method == "POST" and "uploadId=" in query:
        return "CompleteMultipartUpload"
    return _S3_NAMES.get(method, method)
