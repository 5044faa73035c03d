"""Draw the OpenAPI document as a page to read: no script, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from chalicelib.gallery_html import Child, Html, join, tag

_STYLE: Final = Html((Path(__file__).parent / "docs_page.css").read_text("utf-8"))
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

Document = Mapping[str, Any]


def page(document: Document) -> str:
    """Draw *document* (OpenAPI 3.1, as `chalicelib.openapi` writes it)."""
    info = document["info"]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{info['title']} API"),
        tag("style", _STYLE),
    )
    body = tag(
        "body",
        tag("nav", *_contents(document), aria_label="Contents"),
        tag(
            "main",
            tag("h1", f"{info['title']} API"),
            tag("p", info["description"]),
            tag(
                "p",
                "It is reached at ",
                tag("code", document["servers"][0]["url"]),
                "; this page as a document: ",
                tag("a", "openapi.json", href="openapi.json"),
                ".",
            ),
            tag(
                "p",
                "Send your key with every request: ",
                tag("code", "Authorization: Bearer ck_…"),
                ". A request that makes something may be repeated with the same ",
                tag("code", "Idempotency-Key"),
                ".",
            ),
            *_areas(document),
            tag("h2", "Shapes", id="shapes"),
            *(_shape(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
        ),
    )
    return "<!doctype html>" + tag("html", head, body, lang="en")


def _by_tag(document: Document) -> Iterator[tuple[str, list[tuple[str, str, Document]]]]:
    for each in document["tags"]:
        found = [
            (method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
            if each["name"] in operation["tags"]
        ]
        yield each["name"], found


def _contents(document: Document) -> Iterator[Html]:
    for name, operations in _by_tag(document):
        yield tag("h2", tag("a", name, href=f"#{_anchor(name)}"))
        links = (
            tag("a", operation["summary"].rstrip("."), href=f"#{operation['operationId']}")
            for *_, operation in operations
        )
        yield tag("ul", *(tag("li", link) for link in links))
    yield tag("h2", tag("a", "Shapes", href="#shapes"))


def _areas(document: Document) -> Iterator[Html]:
    for name, operations in _by_tag(document):
        yield tag("h2", name, id=_anchor(name))
        for method, path, operation in operations:
            yield _operation(document, method.upper(), path, operation)


def _operation(document: Document, method: str, path: str, operation: Document) -> Html:
    return tag(
        "section",
        tag("h3", tag("b", method, class_=method.lower()), " ", tag("code", path)),
        tag("p", operation["summary"], " ", operation.get("description")),
        _parameters(operation["parameters"]),
        _body(operation.get("requestBody")),
        _answers(operation["responses"]),
        tag("pre", _curl(document, method, path, operation)),
        id=operation["operationId"],
    )


def _parameters(parameters: Iterable[Document]) -> Html | None:
    rows = [
        tag(
            "tr",
            tag("td", tag("code", one["name"])),
            tag("td", f"{one['in']}{', required' if one.get('required') and one['in'] != 'path' else ''}"),
            tag("td", _type(one["schema"])),
            tag("td", one.get("description", "")),
        )
        for one in parameters
    ]
    return _table(("Parameter", "In", "Type", "Meaning"), rows) if rows else None


def _body(body: Document | None) -> Html | None:
    if body is None:
        return None
    kind, content = next(iter(body["content"].items()))
    return tag("p", "Body: ", _type(content.get("schema", {})), f" ({kind})")


def _answers(responses: Document) -> Html:
    rows = []
    for status, answer in responses.items():
        kind, content = next(iter(answer.get("content", {"": {}}).items()))
        carried = _type(content["schema"]) if "schema" in content else Html(kind)
        rows.append(tag("tr", tag("td", tag("code", status)), tag("td", carried), tag("td", answer["description"])))
    return _table(("Answer", "Carries", "Meaning"), rows)


def _table(names: Iterable[str], rows: Iterable[Html]) -> Html:
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    return tag(
        "div", tag("table", head, tag("tbody", *rows)), class_="wide", tabindex="0", role="region", aria_label="Table"
    )


def _shape(name: str, schema: Document) -> Html:
    needed = schema.get("required", ())
    rows = [
        tag(
            "tr",
            tag("td", tag("code", field), " required" if field in needed else None),
            tag("td", _type(told)),
            tag("td", told.get("description", "")),
        )
        for field, told in schema.get("properties", {}).items()
    ]
    return tag(
        "section",
        tag("h3", tag("code", name)),
        tag("p", _plain(schema.get("description", ""))),
        _table(("Field", "Type", "Meaning"), rows) if rows else tag("p", _type(schema)),
        id=f"shape-{_anchor(name)}",
    )


def _type(schema: Document) -> Html:
    """Say in a few words what a value may be; other shapes are links."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return tag("a", name, href=f"#shape-{_anchor(name)}")
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return _listed([_type(one) for one in schema[several]])
    if "enum" in schema or "const" in schema:
        words = schema.get("enum", [schema.get("const")])
        return _listed([tag("code", json.dumps(word, ensure_ascii=False)) for word in words])
    kind = schema.get("type", "anything")
    if kind == "array":
        return join("list of ", _type(schema.get("items", {})))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return join("map of ", _type(schema["additionalProperties"]))
    return join(str(kind), _limits(schema))


def _listed(parts: list[Html]) -> Html:
    children: list[Child] = []
    for part in parts:
        children += [" or ", part] if children else [part]
    return join(*children)


def _limits(schema: Document) -> str:
    found = []
    for key, words in (
        ("minimum", "≥ {}"),
        ("maximum", "≤ {}"),
        ("exclusiveMaximum", "< {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("maxItems", "at most {}"),
        ("format", "{}"),
    ):
        if key in schema:
            found.append(words.format(schema[key]))
    return f" ({', '.join(found)})" if found else ""


def _plain(text: str) -> str:
    return " ".join(text.split())


def _curl(document: Document, method: str, path: str, operation: Document) -> str:
    address = f"{document['servers'][0]['url']}{path}"
    lines = [f"curl {'' if method == 'GET' else f'-X {method} '}'{address}'"]
    if "security" in operation:
        lines.append("-H 'Authorization: Bearer ck_…'")
    if "requestBody" in operation:
        kind = next(iter(operation["requestBody"]["content"]))
        lines.append(
            "-F file=@picture.png" if kind.startswith("multipart/") else f"-H 'Content-Type: {kind}' -d '{{…}}'"
        )
    return " \\\n  ".join(lines)


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())
