"""
Post events to addresses that strangers wrote: guarded (`chalicelib.guarded_http`), no redirects, 15 s in all.

Of the answer the status counts; its first bytes are kept for whoever looks for a fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import requests
from urllib3.exceptions import HTTPError

from chalicelib import __version__
from chalicelib.contract.addresses import Networks, webhook_url
from chalicelib.deliver import Posted
from chalicelib.guarded_http import CONNECT_S, Find, guarded_session, resolve

TOTAL_S: Final = 15.0
KEPT_BYTES: Final = 500
"""Of the answer."""


class GuardedPoster:
    """
    Post to public https addresses, and to those in the operator's *own* networks.

    *find* and *verify* (a CA file) are for whoever must reach a receiver that is not public: the tests.
    """

    def __init__(
        self,
        own: Networks = (),
        *,
        find: Find | None = None,
        verify: str | bool = True,
        total_s: float = TOTAL_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._find: Find = find or (lambda host, port, is_tls: resolve(host, port, is_tls, own=own))
        self._verify = verify
        self._total_s = total_s
        self._clock_s = clock_s

    def post(self, url: str, body: bytes, headers: dict[str, str]) -> Posted:
        """Post once. Nothing is raised: a failure is an answer too."""
        began = self._clock_s()
        status, answer, error = self._exchange(url, body, headers)
        return Posted(status, round((self._clock_s() - began) * 1000), answer, error)

    def _exchange(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int | None, str, str]:
        try:
            webhook_url(url, has_networks=bool(self._own))
        except ValueError as fault:
            return None, "", f"The address {fault}."
        with guarded_session(self._find, total_s=self._total_s, verify=self._verify) as (session, guard):
            try:
                return self._ask(session, url, body, headers)
            except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
                if guard.is_closed:
                    return None, "", "The address is not public: nothing was sent."
                if guard.has_hung_up or isinstance(error, requests.Timeout):
                    return None, "", f"The receiver did not answer within {self._total_s:g} s."
                return None, "", f"The receiver cannot be reached ({type(error).__name__})."

    def _ask(self, session: requests.Session, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        own = {
            "Content-Type": "application/json",
            "User-Agent": f"ComfySheet/{__version__} (webhooks)",
            "Accept-Encoding": "identity",
        }
        with session.post(
            url,
            data=body,
            headers=own | headers,
            stream=True,
            allow_redirects=False,
            timeout=(CONNECT_S, self._total_s),
        ) as told:
            return told.status_code, _beginning(told), _fault(told)


def _beginning(told: requests.Response) -> str:
    """Read how the answer begins. It does not count: whoever drips or breaks off here has answered all the same."""
    kept = b""
    try:
        while len(kept) < KEPT_BYTES and (part := told.raw.read1(KEPT_BYTES, decode_content=False)):
            kept += part
    except (HTTPError, OSError, ValueError):
        pass
    text = kept[:KEPT_BYTES].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def _fault(told: requests.Response) -> str:
    status = told.status_code
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"The receiver answered {status}: redirects are not followed. Give the address that it leads to."
    if status == 410:
        return "The receiver answered 410: it does not want to be told any more."
    return f"The receiver answered {status}."
