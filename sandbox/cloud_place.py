"""Decide where a local cloud is reached and by which keys, the same after every restart of a kept one."""

from __future__ import annotations

import json
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path


class PlaceTaken(Exception):
    """Say that the address which the links of a kept cloud name is in use."""


@dataclass(frozen=True)
class Place:
    """Hold what must be the same after a restart: links in cells name the port and the API."""

    port: int = 0
    api_id: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""


def settle(folder: Path) -> Place:
    """Return the place kept in *folder* if there is one, else a new one, which is kept. Raises PlaceTaken."""
    kept = folder / "place.json"
    if kept.exists():
        place = Place(**json.loads(kept.read_text()))
        if not _is_free(place.port):
            raise PlaceTaken(f"Port {place.port}, which the links of {folder} name, is taken: is another one running?")
        return place
    place = Place(_free_port(), secrets.token_hex(4), f"AKIA{secrets.token_hex(8).upper()}", secrets.token_hex(20))
    kept.touch(mode=0o600)
    kept.write_text(json.dumps(asdict(place)) + "\n")
    return place


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the engine: the last run's rests do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
