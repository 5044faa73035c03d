"""
Say what a running ComfyUI can render: its node classes, and the model files that its loaders offer.

Workers show it on their cards; the API reads it there, to name a wrong file before any GPU wakes.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

UNPACKED_MOST_BYTES: Final = 32_000_000
"""Cards are other machines' words: a small one must not become all of our memory."""
LIVE_MS: Final = 150_000
"""A card that is older belongs to a worker that is gone: two announcements were missed."""


@dataclass(frozen=True)
class Kit:
    """Hold a server's node classes, and the model files by (class, input)."""

    classes: frozenset[str]
    models: Mapping[tuple[str, str], frozenset[str]]
    is_whole: bool = True
    """False: the names of the model files were too many for a card, and are left out: any may be there."""


def packed_kits(kits: Iterable[Kit]) -> str:
    """Write kits as text (gzip, base64), each list once: many loaders read the same folder, and so do many servers."""
    lists: dict[frozenset[str], int] = {}
    told = [
        {
            "classes": lists.setdefault(kit.classes, len(lists)),
            "models": [
                (node_class, name, lists.setdefault(files, len(lists)))
                for (node_class, name), files in sorted(kit.models.items(), key=lambda each: each[0])
            ],
            "is_whole": kit.is_whole,
        }
        for kit in kits
    ]
    text = json.dumps({"lists": [sorted(files) for files in lists], "kits": told}, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def unpacked_kits(text: str) -> tuple[Kit, ...]:
    """Read what `packed_kits` gave; raise ValueError (also for what unpacks to more than 32 MB) when it is not that."""
    try:
        unzip = zlib.decompressobj(wbits=31)
        content = unzip.decompress(base64.b64decode(text, validate=True), UNPACKED_MOST_BYTES)
        if not unzip.eof:
            raise ValueError("a card that is cut off, or too large")
        told = json.loads(content)
        lists = [_names(each) for each in told["lists"]]
        return tuple(
            Kit(
                lists[each["classes"]],
                {(str(node_class), str(name)): lists[place] for node_class, name, place in each["models"]},
                is_whole=each["is_whole"] is True,
            )
            for each in told["kits"]
        )
    except (zlib.error, LookupError, TypeError, RecursionError) as error:
        raise ValueError("no card of ours") from error


def _names(told: object) -> frozenset[str]:
    if not isinstance(told, list) or not all(isinstance(each, str) for each in told):
        raise ValueError("no list of names")
    return frozenset(told)
