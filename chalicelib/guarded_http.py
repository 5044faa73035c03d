"""
Connect to addresses that strangers wrote, without being led to where strangers have no business.

- Public IPv4 on port 443 over TLS alone, and what the operator has opened besides. The name is resolved once, where the
  connection is made: what was checked is what is connected to (docs/decisions/0008).
- No proxy, no cookies, no .netrc. The whole exchange has a time, slow drips of headers included.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from chalicelib.contract.addresses import Networks, is_among, is_public

CONNECT_S: Final = 3.0
_CONNECTIONS: Final = 4

Address = tuple[str, int]
Find = Callable[[str, int, bool], Address]
"""Find the address of a host and port, to be spoken to over TLS or not."""


class Closed(Exception):
    """Say that a name leads to an address that is not to be connected to."""


def resolve(
    host: str,
    port: int = 443,
    is_tls: bool = True,
    *,
    own: Networks = (),
    look_up: Callable[..., Sequence[Any]] = socket.getaddrinfo,
) -> Address:
    """
    Find the IPv4 address of *host*; refuse (`Closed`) a name that has any other than we may connect to.

    That is a public one, over TLS on port 443, or one in the operator's *own* networks. Raise OSError: it has none.
    """
    try:
        found = look_up(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except UnicodeError:
        # Python writes a name in IDNA first, and has an error of its own for one that cannot be (a..b, 64 letters).
        raise OSError("no such name") from None
    addresses = [str(each[4][0]) for each in found]
    may_be_public = is_tls and port == 443
    if not addresses or not all((may_be_public and is_public(each)) or is_among(each, own) for each in addresses):
        raise Closed(host)
    return addresses[0], port


class Guard:
    """Make the connections of one exchange, and end them."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._handles: list[socket.socket] = []
        self.is_closed = False
        self.has_hung_up = False

    def connect(self, host: str, port: int, *, is_tls: bool) -> socket.socket:
        """Resolve and connect in one: what was checked is what is connected to."""
        try:
            address = self._find(host, port, is_tls)
        except Closed:
            self.is_closed = True
            raise OSError("not public") from None
        made = socket.create_connection(address, timeout=CONNECT_S)
        # TLS takes the socket over; a second descriptor of the same connection can still end it.
        self._handles.append(made.dup())
        if self.has_hung_up:
            self.hang_up()
        return made

    def hang_up(self) -> None:
        """End it all: the time is over."""
        self.has_hung_up = True
        for handle in self._handles:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the descriptors."""
        for handle in self._handles:
            handle.close()


@contextlib.contextmanager
def guarded_session(
    find: Find, *, total_s: float, verify: str | bool = True
) -> Iterator[tuple[requests.Session, Guard]]:
    """Give a session whose connections are all made by one guard, which ends them after *total_s* seconds."""
    guard = Guard(find)
    watchdog = threading.Timer(total_s, guard.hang_up)
    watchdog.daemon = True
    watchdog.start()
    try:
        with _Session() as session:
            session.trust_env = False
            session.verify = verify
            adapter = _GuardedAdapter(guard)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            yield session, guard
    finally:
        watchdog.cancel()
        guard.close()


class _Session(requests.Session):
    """Leave redirects alone."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """
        Name no next address.

        Without following it requests 2.34 reads it all the same, and raises ValueError for `Location: https://[`.
        """
        return None


class _GuardedAdapter(HTTPAdapter):
    """Let every connection of a session be made by one guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        super().__init__(pool_connections=_CONNECTIONS, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        guard = self._guard

        class Tls(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return guard.connect(self.host, self.port or 443, is_tls=True)

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return guard.connect(self.host, self.port or 80, is_tls=False)

        class TlsPool(HTTPSConnectionPool):
            ConnectionCls = Tls

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        self.poolmanager.pool_classes_by_scheme = {"https": TlsPool, "http": PlainPool}
