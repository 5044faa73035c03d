"""
Read a form that carries one file (multipart/form-data, RFC 7578). Everything is bounded before it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from multipart import MultipartError, MultipartParser, parse_options_header

from chalicelib.contract.errors import Rejected

MAX_PARTS: Final = 40
MAX_TEXT_CHARS: Final = 2_000


@dataclass(frozen=True)
class Form:
    """Hold a file, what its part said of it, and the text fields beside it (of several of one name the last)."""

    content: bytes
    filename: str
    content_type: str
    fields: Mapping[str, str]


def read_form(content_type: str, body: bytes, name: str = "file") -> Form:
    """Read the form whose part *name* is the file; raise `Rejected` (bad_request) when it is none."""
    kind, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind.lower() != "multipart/form-data" or not boundary:
        raise Rejected("bad_request", "Send the file as a form (multipart/form-data) with a part called file.")
    limit = len(body) + 1
    fields: dict[str, str] = {}
    file: Form | None = None
    try:
        parts = MultipartParser(
            BytesIO(body), boundary, len(body), part_limit=MAX_PARTS, spool_limit=limit, memory_limit=limit
        )
        for part in parts:
            if part.name == name:
                file = Form(part.raw, part.filename or "", part.content_type or "", fields)
            elif part.size > MAX_TEXT_CHARS:
                raise Rejected("bad_request", f"A field of the form has more than {MAX_TEXT_CHARS} characters.")
            else:
                fields[part.name] = part.raw.decode()
    except (MultipartError, UnicodeDecodeError, LookupError):
        raise Rejected("bad_request", "The form is damaged. Send it again.") from None
    if file is None:
        raise Rejected("bad_request", f"The form has no part called {name}: that is where the file goes.")
    return file
