"""The routes that describe all the others."""

from __future__ import annotations

from typing import Any

from chalicelib import __version__, docs_page
from chalicelib.api_parts import Answer, Call
from chalicelib.openapi import openapi
from chalicelib.operation import Operation

_FOR_A_MINUTE = {"Cache-Control": "public, max-age=60"}


def describing(others: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Make the routes that describe *others*: as a document, and as a page."""

    def document(call: Call) -> dict[str, Any]:
        return openapi(others, address=call.link_base, version=__version__)

    return (
        Operation(
            "GET",
            "/openapi.json",
            "openapi",
            "Give the OpenAPI document.",
            # For everybody: tools in a browser read it from other places too.
            lambda _, call: Answer(200, document(call), _FOR_A_MINUTE | {"Access-Control-Allow-Origin": "*"}),
        ),
        Operation(
            "GET",
            "/docs",
            "docs",
            "Show the document as a page.",
            lambda _, call: Answer(200, docs_page.page(document(call)), _FOR_A_MINUTE | docs_page.HEADERS),
        ),
    )
