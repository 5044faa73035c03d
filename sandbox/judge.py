"""
Judge requests and responses by Google's own discovery document of the Sheets API v4.

The document ships inside google-api-python-client (`discovery_cache/documents/sheets.v4.json`). Every schema is taken
as closed (an unknown name is wrong), enums and types are checked, null counts as absent: over more than a thousand
recorded real calls this raises no false alarm. What it cannot judge: which fields are required, A1 texts, atomicity.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import googleapiclient

from sandbox.sheets_errors import GoogleError, bad_fields
from sandbox.sheets_fields import Mask, read_mask

Violation = tuple[str, str]
#: Where a value stands: (place of what holds it, name or index); only written out when something is wrong there.
Place = tuple["Place", str | int] | tuple[()]
Check = Callable[[Any, Place, list[Violation]], None]
_DOCUMENT: Final = "discovery_cache/documents/sheets.v4.json"
_INT32: Final = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Route:
    """Be one method of the API, found for one call."""

    #: The method's id without the API's name, such as spreadsheets.values.get.
    id: str
    http_method: str
    #: Path parameters, decoded.
    path: Mapping[str, str]
    request_schema: str | None
    response_schema: str
    #: Query parameters: name -> description in the document.
    query: Mapping[str, Mapping[str, Any]]


class Judge:
    """Know the discovery document."""

    def __init__(self, document: Mapping[str, Any] | None = None) -> None:
        """Take *document*, or the one of the installed Google client."""
        if document is None:
            document = json.loads((Path(googleapiclient.__file__).parent / _DOCUMENT).read_text("utf-8"))
        self._schemas: Mapping[str, Any] = document["schemas"]
        self._common: Mapping[str, Any] = document["parameters"]
        self._checks: dict[str, Check] = {}
        self._routes = [(_pattern(method["flatPath"]), method) for method in _methods(document)]

    def route(self, http_method: str, raw_path: str) -> Route | None:
        """Find the method for a call; *raw_path* is still percent-encoded and starts with v4/. None: there is none."""
        for pattern, method in self._routes:
            found = pattern.fullmatch(raw_path)
            if found and method["httpMethod"] == http_method:
                parameters = method.get("parameters", {})
                query = {name: one for name, one in parameters.items() if one["location"] == "query"}
                return Route(
                    id=method["id"].removeprefix("sheets."),
                    http_method=http_method,
                    path={name: unquote(text) for name, text in found.groupdict().items()},
                    request_schema=method.get("request", {}).get("$ref"),
                    response_schema=method["response"]["$ref"],
                    query={**self._common, **query},
                )
        return None

    def refuse_query(self, route: Route, query: Sequence[tuple[str, str]]) -> None:
        """Raise GoogleError 400 for an unknown or misspelt query parameter, a wrong enum or a wrong response mask."""
        bad: list[Violation] = []
        for name, text in query:
            known = route.query.get(name)
            if known is None:
                bad.append(("", _unknown(name, "", f"Cannot bind query parameter. Field '{name}' could not be found "
                                                   "in request message.")))  # fmt: skip
            elif "enum" in known and text not in known["enum"]:
                bad.append((_snake(name), _invalid(_snake(name), "TYPE_ENUM", text)))
            elif known["type"] == "boolean" and text not in ("true", "false"):
                bad.append((_snake(name), _invalid(_snake(name), "TYPE_BOOL", text)))
        if bad:
            raise bad_fields(bad)
        fields = dict(query).get("fields")
        if fields:
            self.refuse_mask(route.response_schema, read_mask(fields))

    def refuse_request(self, route: Route, body: Any) -> None:
        """Raise GoogleError 400 for a body that is not what the document says."""
        if route.request_schema is None:
            if body is not None:
                raise bad_fields([("", _unknown("", "", "Root element must be a message."))])
            return
        bad: list[Violation] = []
        self._check(route.request_schema)(body if body is not None else {}, (), bad)
        if bad:
            raise bad_fields(bad)

    def refuse_mask(self, schema: str, mask: Mask, place: str = "") -> None:
        """Raise GoogleError 400 when *mask* names what *schema* does not have."""
        for name, below in mask.items():
            kind = self._schemas[schema].get("properties", {}).get(name)
            if name == "*":
                continue
            if kind is None:
                raise GoogleError(400, f"Invalid field selection {place}{name}")
            kind = kind.get("items", kind) if kind.get("type") == "array" else kind
            if "$ref" in kind:
                self.refuse_mask(kind["$ref"], below, f"{place}{name}.")
            elif below and kind.get("type") != "object":
                raise GoogleError(400, f"Invalid field selection {place}{name}.{next(iter(below))}")

    def faults_of_response(self, route: Route, body: Any) -> list[str]:
        """List what is wrong with a response; empty when it is what the document says."""
        bad: list[Violation] = []
        self._check(route.response_schema)(body, (), bad)
        return [f"{place or '(root)'}: {text}" for place, text in bad]

    def _check(self, schema: str) -> Check:
        if schema not in self._checks:
            # a schema may hold itself: look the compiled one up when it is used
            self._checks[schema] = lambda value, place, bad: self._checks[schema](value, place, bad)
            self._checks[schema] = self._compile(self._schemas[schema])
        return self._checks[schema]

    def _compile(self, kind: Mapping[str, Any]) -> Check:
        if "$ref" in kind:
            return self._check(kind["$ref"])
        match kind["type"]:
            case "array":
                return _array(self._compile(kind["items"]))
            case "object" if "properties" in kind:
                return _object({name: self._compile(one) for name, one in kind["properties"].items()})
            case "object" if "additionalProperties" in kind:
                return _mapping(self._compile(kind["additionalProperties"]))
            case "object":
                return _object({})
            case "string" if "enum" in kind:
                return _enum(frozenset(kind["enum"]))
            case "any":
                return lambda _value, _place, _bad: None
            case other:
                return _scalar(str(other), kind.get("format"))


def _object(parts: Mapping[str, Check]) -> Check:
    def check(value: Any, place: Place, bad: list[Violation]) -> None:
        if not isinstance(value, dict):
            bad.append(_mistyped(place, "TYPE_MESSAGE", value))
            return
        for name, part in value.items():
            known = parts.get(name)
            if known is None:
                at = _written(place)
                bad.append((at, _unknown(name, at, "Cannot find field.")))
            elif part is not None:
                known(part, (place, name), bad)

    return check


def _mapping(part: Check) -> Check:
    def check(value: Any, place: Place, bad: list[Violation]) -> None:
        if not isinstance(value, dict):
            bad.append(_mistyped(place, "TYPE_MESSAGE", value))
            return
        for name, one in value.items():
            part(one, (place, name), bad)

    return check


def _array(item: Check) -> Check:
    def check(value: Any, place: Place, bad: list[Violation]) -> None:
        if not isinstance(value, list):
            bad.append(_mistyped(place, "TYPE_LIST", value))
            return
        for at, one in enumerate(value):
            item(one, (place, at), bad)

    return check


def _enum(names: frozenset[str]) -> Check:
    def check(value: Any, place: Place, bad: list[Violation]) -> None:
        if not isinstance(value, str) or value not in names:
            bad.append(_mistyped(place, "TYPE_ENUM", value))

    return check


def _scalar(kind: str, form: str | None) -> Check:
    types: dict[str, tuple[type, ...]] = {"string": (str,), "boolean": (bool,), "integer": (int,)}
    allowed = types.get(kind, (int, float))
    proto = {"string": "TYPE_STRING", "boolean": "TYPE_BOOL", "integer": "TYPE_INT32"}.get(kind, "TYPE_DOUBLE")

    def check(value: Any, place: Place, bad: list[Violation]) -> None:
        # type() and not isinstance: a bool is no number here
        if type(value) not in allowed or (form == "int32" and value not in _INT32):
            bad.append(_mistyped(place, proto, value))

    return check


def _written(place: Place) -> str:
    """Write a place as Google does: requests[0].update_cells.start"""
    if not place:
        return ""
    holder, name = place
    before = _written(holder)
    if isinstance(name, int):
        return f"{before}[{name}]"
    return f"{before}.{_snake(name)}" if before else _snake(name)


def _mistyped(place: Place, proto: str, value: Any) -> Violation:
    at = _written(place)
    return at, _invalid(at, proto, value)


def _unknown(name: str, place: str, why: str) -> str:
    at = f" at '{place}'" if place else ""
    return f'Invalid JSON payload received. Unknown name "{name}"{at}: {why}'


def _invalid(place: str, proto: str, value: Any) -> str:
    return f"Invalid value at '{place}' ({proto}), {json.dumps(value)[:200]}"


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)


def _methods(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from resource.get("methods", {}).values()
    for one in resource.get("resources", {}).values():
        yield from _methods(one)


def _pattern(flat_path: str) -> re.Pattern[str]:
    """Turn v4/spreadsheets/{spreadsheetId}/values/{range}:append into a pattern over an encoded path."""
    parts = re.split(r"\{(\w+)\}", flat_path)
    # only a range may hold a colon (A1:B2); everything else ends at one
    shapes = [
        re.escape(part) if at % 2 == 0 else f"(?P<{part}>{'[^/]+' if part == 'range' else '[^/:]+'})"
        for at, part in enumerate(parts)
    ]
    return re.compile("".join(shapes))
