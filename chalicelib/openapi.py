"""
Write the OpenAPI 3.1 document of the operations that are served.

The shapes come from the pydantic models that parse requests and make answers. What every route may answer besides
follows from what it is: a key (401, 403, 429), a body (400, 413, 422), a variable part in its address (404), and a
cloud that is busy (503).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chalicelib.operation import Operation, Shape

VERSION: Final = "3.1.0"
_SHAPES: Final = "#/components/schemas/"
_PARTS: Final = re.compile(r"\{(\w+)\}")
_PAGES: Final = ("text/html", "text/plain")

Mode = Literal["validation", "serialization"]
_Names = Mapping[tuple[type[BaseModel], Mode], Any]


class Trouble(BaseModel):
    """Say what went wrong: a word for programs, a sentence for people, and more facts if there are any."""

    code: str
    message: str
    details: dict[str, Any] | None


class ErrorAnswer(BaseModel):
    """Carry an error, as the Comfy API v2 does."""

    error: Trouble


REFUSALS: Final[dict[int, str]] = {
    400: "The request is not well formed.",
    401: "There is no such key.",
    403: "The key may not do this.",
    404: "There is nothing here under this name.",
    409: "It cannot be done as things stand.",
    412: "It was changed since you read it.",
    413: "The request is too large.",
    415: "The body is of a type that is not taken here.",
    422: "The request is understood, and refused for what it says.",
    429: "Too much at once: the header Retry-After says when to try again.",
    501: "There is no such thing here.",
    503: "Something behind the API is busy: try again in a moment (Retry-After).",
}


def openapi(operations: Iterable[Operation], *, address: str, version: str) -> dict[str, Any]:
    """Give the document of all *operations* that are published; *address* is where the API is reached."""
    published = [operation for operation in operations if operation.tag]
    names, schemas = _schemas(published)
    paths: dict[str, dict[str, Any]] = {}
    for operation in published:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, names)
    return {
        "openapi": VERSION,
        "info": {
            "title": "ComfySheet",
            "version": version,
            "summary": "Run ComfyUI workflows on a render farm.",
            "description": "The Comfy API v2, and more: workflows by name, batches, webhooks.",
        },
        "servers": [{"url": address}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in published)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A key: ck_…"}},
        },
    }


def refusals_of(operation: Operation) -> list[int]:
    """List the statuses that a route may refuse with, in their order."""
    found = {503, *operation.refusals}
    if operation.scope is not None:
        found |= {401, 403, 429}
    if operation.body is not None:
        found |= {400, 413, 422}
    if operation.query is not None:
        found |= {400, 422}
    if "{" in operation.path:
        found |= {404}
    return sorted(found)


def _models(operation: Operation) -> Iterator[tuple[type[BaseModel], Mode]]:
    if operation.body is not None:
        yield operation.body, "validation"
    for shape in operation.answers.values():
        if isinstance(shape, type):
            yield shape, "serialization"


def _schemas(operations: Sequence[Operation]) -> tuple[_Names, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], Mode], None] = {(ErrorAnswer, "serialization"): None}
    for operation in operations:
        wanted |= dict.fromkeys(_models(operation))
    references, whole = models_json_schema([*wanted], ref_template=f"{_SHAPES}{{model}}")
    names: Any = references
    return names, whole.get("$defs", {})


def _described(operation: Operation, names: _Names) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_parameters(operation)],
        "responses": {},
    }
    if operation.scope is not None:
        described["security"] = [{"key": []}]
        described["description"] = f"Needs a key with the scope `{operation.scope}`."
    if operation.body is not None:
        content = {operation.body_type: {"schema": names[operation.body, "validation"]}}
        described["requestBody"] = {"required": True, "content": content}
    answers = operation.answers or {200: "application/json"}
    for status, shape in answers.items():
        described["responses"][str(status)] = _answer(HTTPStatus(status).phrase, _content(shape, names))
    # A page's errors are pages too.
    is_page = answers.get(200) in _PAGES
    error = {"text/html": {}} if is_page else _content(ErrorAnswer, names)
    for status in refusals_of(operation):
        described["responses"].setdefault(str(status), _answer(REFUSALS[status], error))
    return described


def _content(shape: Shape, names: _Names) -> dict[str, Any] | None:
    if shape is None:
        return None
    if isinstance(shape, str):
        return {shape: {}}
    return {"application/json": {"schema": names[shape, "serialization"]}}


def _answer(description: str, content: dict[str, Any] | None) -> dict[str, Any]:
    return {"description": description} | ({} if content is None else {"content": content})


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name in _PARTS.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name, description in operation.headers.items():
        yield {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
    if operation.query is not None:
        told = operation.query.model_json_schema(ref_template=f"{_SHAPES}{{model}}")
        for name, schema in told.get("properties", {}).items():
            yield {
                "name": name,
                "in": "query",
                "required": name in told.get("required", ()),
                "description": schema.get("description", ""),
                "schema": {key: value for key, value in schema.items() if key not in ("description", "title")},
            }
