"""
Get a file from an address that a stranger wrote, without being led to where strangers have no business.

- https on port 443 alone, no login in the address, IPv4 alone, public addresses alone. The name is resolved once, where
  the connection is made: what was checked is what is connected to. Every redirect is checked again, three at most.
- No proxy, no cookies, no .netrc; no compression (a bomb is small on the wire); sizes and times are bounded, slow
  drips of headers included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.media import source_of
from chalicelib.guarded_http import CONNECT_S, Address, guarded_session, resolve

READ_S: Final = 10.0
TOTAL_S: Final = 30.0
REDIRECTS: Final = 3
_CHUNK: Final = 1 << 16
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Fetched:
    """Say what came with a file; *is_same*: the server says that what we have is still right, and sent nothing."""

    etag: str = ""
    modified: str = ""
    is_same: bool = False


class HttpsFetcher:
    """
    Get files of up to *limit_bytes*. Threads may share it.

    *find* and *verify* (a CA file) are for whoever must reach a server that is not public: the tests.
    """

    def __init__(
        self,
        limit_bytes: int,
        *,
        find: Callable[[str], Address] = resolve,
        verify: str | bool = True,
        total_s: float = TOTAL_S,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._find = find
        self._verify = verify
        self._total_s = total_s

    def get(self, url: str, into: BinaryIO, *, etag: str = "", modified: str = "") -> Fetched:
        """
        Copy the file at *url* to *into*, unless it is still the one of *etag* or *modified*.

        Raise `Rejected` when it may or can not be had, `Unavailable` when another try may help.
        """
        host = _host_of(url)
        with guarded_session(
            lambda name, _port, _tls: self._find(name), total_s=self._total_s, verify=self._verify
        ) as (session, guard):
            try:
                told = self._follow(session, url, into, {"If-None-Match": etag, "If-Modified-Since": modified})
                if guard.has_hung_up:
                    # An end that we made looks like the file's own when the server did not say its size.
                    raise OSError("the time was over")
                return told
            except _Refused as refused:
                raise Rejected("bad_input", f"The file at {host} cannot be used: {refused}.") from None
            except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
                if guard.is_closed:
                    raise Rejected(
                        "bad_input", f"The file at {host} cannot be used: that address is not public."
                    ) from None
                if guard.has_hung_up:
                    raise Unavailable(f"The file at {host} did not come within {self._total_s:.0f} s.") from error
                raise Unavailable(f"The file at {host} cannot be fetched ({type(error).__name__}).") from error

    def _follow(self, session: requests.Session, url: str, into: BinaryIO, known: dict[str, str]) -> Fetched:
        """Ask, and follow redirects by hand: each is a new address that a stranger wrote."""
        for _ in range(REDIRECTS + 1):
            try:
                source = source_of(url)
            except ValueError as fault:
                raise _Refused(f"its address {fault}") from None
            if source.kind != "https":
                raise _Refused("it leads to something that is no https address")
            headers = {"Accept-Encoding": "identity", "User-Agent": "ComfySheet"}
            headers |= {name: value for name, value in known.items() if value}
            with session.get(
                url, headers=headers, stream=True, allow_redirects=False, timeout=(CONNECT_S, READ_S)
            ) as answer:
                session.cookies.clear()
                if answer.status_code not in _REDIRECTING:
                    return self._take(answer, into)
                try:
                    url = urljoin(url, answer.headers.get("Location", ""))
                except ValueError:
                    raise _Refused("it leads to something that is no address") from None
        raise _Refused(f"it redirects more than {REDIRECTS} times")

    def _take(self, answer: requests.Response, into: BinaryIO) -> Fetched:
        status = answer.status_code
        if status == 304:
            return Fetched(is_same=True)
        if status in (408, 425, 429) or status >= 500:
            raise requests.ConnectionError(f"HTTP {status}")
        if status != 200:
            raise _Refused(f"the server answered {status}")
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise _Refused("it was sent compressed, which nobody asked for")
        told = answer.headers.get("Content-Length", "")
        too_large = f"it is larger than {self._limit_bytes / 1_000_000:g} MB"
        if told.isdigit() and int(told[:15]) > self._limit_bytes:
            raise _Refused(too_large)
        size = 0
        # read1 gives what is there: read would wait for a whole chunk, however slowly it drips.
        while part := answer.raw.read1(_CHUNK, decode_content=False):
            size += len(part)
            if size > self._limit_bytes:
                raise _Refused(too_large)
            into.write(part)
        if told.isdigit() and size != int(told[:15]):
            raise requests.ConnectionError("the file was cut off")
        return Fetched(answer.headers.get("ETag", "")[:200], answer.headers.get("Last-Modified", "")[:100])


def _host_of(url: str) -> str:
    """Name a URL's host for a sentence."""
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


class _Refused(Exception):
    """Say why a file cannot be used: the rest of a sentence."""
