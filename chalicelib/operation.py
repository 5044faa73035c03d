"""
Describe an operation of the API: its route, who may call it, and what goes in and out.

app.py serves every operation, and the OpenAPI document is made of the same list: what is not here is not served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel

from chalicelib.api_parts import Answer, Call
from chalicelib.gate import Scope

if TYPE_CHECKING:
    from chalicelib.wiring import World

Shape = type[BaseModel] | str | None
"""What an answer's body is: a model (JSON), a media type (text/html), or nothing."""


@dataclass(frozen=True)
class Operation:
    """
    Serve *method* and *path* (`/api/v2/jobs/{job_id}`) by calling *answer*.

    *name* is its operationId. *tag* groups it in the published document; empty: it is not published (the routes of the
    sheets' scripts). *answers* maps the statuses of success to what they carry; those of failure follow from *scope*,
    *body* and *path*, and *refusals* adds others. *headers* maps request headers that mean something to what they mean.
    """

    method: str
    path: str
    name: str
    summary: str
    answer: Callable[[World, Call], Answer]
    tag: str = ""
    scope: Scope | None = None
    body: type[BaseModel] | None = None
    body_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    query: type[BaseModel] | None = None
    answers: Mapping[int, Shape] = field(default_factory=dict)
    refusals: frozenset[int] = frozenset()
