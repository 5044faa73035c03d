"""Fetch the pictures of =IMAGE() for a page, as Google's servers do."""

from __future__ import annotations

import time
from typing import Final

import requests

from sandbox.workbook import Sheet, Workbook

_TRIES: Final = 4


def is_shown(book: Workbook, url: str) -> bool:
    """Say whether some cell shows *url* right now; take the lock around it."""
    return any(_shows(sheet, url) for sheet in book.sheets)


def fetch(url: str) -> tuple[int, str, bytes]:
    """
    Fetch a picture: status, content type, bytes.

    The local cloud answers 429 while its functions are all busy, so it is tried a few times.
    """
    answer = None
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(0.4 * attempt)
        try:
            answer = requests.get(url, timeout=20)
        except requests.RequestException:
            continue
        if answer.status_code != 429:
            break
    if answer is None:
        return 502, "text/plain", b"The picture could not be fetched."
    kind = answer.headers.get("Content-Type", "application/octet-stream").split(";")[0]
    return answer.status_code, kind, answer.content


def _shows(sheet: Sheet, url: str) -> bool:
    rows, _ = sheet.data_extent()
    return any(cell.image_url == url for row in range(rows) for cell in sheet.row_cells(row).values())
