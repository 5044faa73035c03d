"""
Say which addresses may be connected to when a stranger wrote them: https on port 443, no login, public IPv4 alone.

Whoever runs the stack may open networks of its own besides (an inner receiver, a test's loopback); nothing is open by
itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_URL_CHARS: Final = 2_000

Networks = tuple[ipaddress.IPv4Network, ...]

_CLOSED_RANGES: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        # Addresses that Python calls global, or did before 3.12.4, and that lead inside all the same.
        "100.64.0.0/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "168.63.129.16/32",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)


def is_public(address: str) -> bool:
    """Say whether an IPv4 address is for everybody."""
    try:
        ip = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return ip.is_global and not any(ip in closed for closed in _CLOSED_RANGES)


def is_among(address: str, networks: Iterable[ipaddress.IPv4Network]) -> bool:
    """Say whether an IPv4 address lies in one of *networks*."""
    try:
        ip = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def read_networks(text: str) -> Networks:
    """Read IPv4 networks, parted by commas (`10.1.0.0/16, 192.168.7.4/32`); raise ValueError with the wrong one."""
    return tuple(ipaddress.IPv4Network(part.strip()) for part in text.split(",") if part.strip())


def https_url(text: str, wish: str) -> str:
    """
    Check an https address; raise ValueError with the rest of a sentence that begins with what it is the address of.

    *wish* is that rest for whatever is no address at all.
    """
    parts = _split(text, wish)
    if parts.scheme == "http":
        raise ValueError("must be an https:// address: http is not fetched")
    if parts.scheme != "https":
        raise ValueError(wish)
    if parts.port not in (None, 443):
        raise ValueError("must use the usual port of https (443)")
    return text


def webhook_url(text: str, *, has_networks: bool = False) -> str:
    """
    Check where events are to be posted; raise ValueError as `https_url`.

    With *has_networks* the operator has opened networks of its own, in which plain http and other ports are fine; where
    a name leads is seen when it is connected to.
    """
    wish = "must be an address like https://example.com/hooks"
    if not has_networks:
        if text[:5].lower() == "http:":
            raise ValueError("must be an https:// address: nothing is posted over http")
        return https_url(text, wish)
    if _split(text, wish).scheme not in ("http", "https"):
        raise ValueError(wish)
    return text


def _split(text: str, wish: str) -> SplitResult:
    if len(text) > MAX_URL_CHARS or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ValueError(wish)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(wish) from None
    if parts.scheme in ("http", "https") and (parts.username is not None or parts.password is not None):
        raise ValueError("must not hold a user name or password")
    if not host:
        raise ValueError(wish)
    return parts
