"""
Carry calls from a script to Python objects and values back.

A *face* is one of Google's objects as the script sees it: every public method of a Face subclass is a member, named
and spelled as Google's. What is not there "is not emulated", which the script learns by an exception.

On the line (see apps_script_shim.js): JSON, with {"$date": ms}, {"$face": class, "id"}, {"$choice": "Button.YES"} and
{"$number": "NaN"} for what JSON cannot say.
"""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from sandbox.workbook import Refused

SCOPE: Final = "https://www.googleapis.com/auth/"
_Member = TypeVar("_Member", bound=Callable[..., Any])


class ScriptFault(Exception):
    """Be thrown in the script as an Error of this name; Google's own carry the name Exception."""

    def __init__(self, message: str, name: str = "Exception") -> None:
        """Keep the sentence as Google words it."""
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Choice:
    """Be a member of one of Google's enums, such as Button.YES."""

    kind: str
    name: str


class Face:
    """Be an object of Apps Script."""

    #: Google's name of the class.
    NAME: ClassVar[str] = ""
    #: The enums that hang on it, by name.
    ENUMS: ClassVar[Mapping[str, tuple[str, ...]]] = {}


def needs(scope: str) -> Callable[[_Member], _Member]:
    """Mark a member that needs this permission, and that a simple trigger may therefore not use."""

    def mark(member: _Member) -> _Member:
        member.__dict__["scope"] = SCOPE + scope
        return member

    return mark


Before = Callable[[Face, str, list[Any]], None]


class Host:
    """Answer the calls of one execution."""

    def __init__(
        self, globals_: Mapping[str, Face], *, scopes: Sequence[str], simple_trigger: bool, before: Before | None = None
    ) -> None:
        """
        Offer *globals_* under the manifest's *scopes*; a *simple_trigger* has no permission at all.

        *before* hears of every call that is about to be done, and may raise ScriptFault instead.
        """
        self._before = before
        self._faces: list[Face] = [_Nothing()]  # id 0 is the host itself
        self._globals = {name: self._id_of(face) for name, face in globals_.items()}
        self._scopes = scopes
        self._simple_trigger = simple_trigger

    def answer(self, call: str) -> str:
        """Answer [id, member, arguments]; the answer is {result, nothing} or {error, name}."""
        number, member, arguments = json.loads(call, object_hook=self._unpack)
        if number == 0:
            return json.dumps({"result": self._describe()})
        face = self._faces[number]
        try:
            result = self._call(face, member, arguments)
        except ScriptFault as fault:
            return json.dumps({"error": str(fault), "name": fault.name})
        except Refused as refusal:
            return json.dumps({"error": str(refusal), "name": "Exception"})
        hints = _hints(getattr(type(face), member))
        return json.dumps({"result": result, "nothing": hints.get("return") is NoneType}, default=self._pack)

    def _call(self, face: Face, member: str, arguments: list[Any]) -> Any:
        method = getattr(face, member)
        scope = getattr(method, "scope", None)
        if scope and (self._simple_trigger or scope not in self._scopes):
            raise ScriptFault(
                f"Specified permissions are not sufficient to call {face.NAME}.{member}. Required permissions: {scope}"
            )
        fitted = _fit(getattr(type(face), member), arguments)
        if fitted is None:
            shown = ",".join(_js_type(value) for value in arguments)
            raise ScriptFault(f"The parameters ({shown}) don't match the method signature for {face.NAME}.{member}.")
        if self._before:
            self._before(face, member, fitted)
        return method(*fitted)

    def _describe(self) -> dict[str, Any]:
        classes = {
            cls.NAME: {"methods": members_of(cls), "enums": {kind: list(names) for kind, names in cls.ENUMS.items()}}
            for cls in _all_faces(Face)
        }
        globals_ = {name: [self._faces[number].NAME, number] for name, number in self._globals.items()}
        return {"classes": classes, "globals": globals_}

    def _id_of(self, face: Face) -> int:
        for number, known in enumerate(self._faces):
            if known is face:
                return number
        self._faces.append(face)
        return len(self._faces) - 1

    def _pack(self, value: Any) -> Any:
        match value:
            case datetime():
                return {"$date": round(value.timestamp() * 1000)}
            case Choice():
                return {"$choice": f"{value.kind}.{value.name}"}
            case Face():
                return {"$face": value.NAME, "id": self._id_of(value)}
            case _:
                raise TypeError(f"{type(value)} cannot go to a script")

    def _unpack(self, found: dict[str, Any]) -> Any:
        match found:
            case {"$date": None}:
                raise ScriptFault("Invalid date")
            case {"$date": ms}:
                return datetime.fromtimestamp(ms / 1000, UTC)
            case {"$choice": path}:
                return Choice(*path.split("."))
            case {"$face": _, "id": number}:
                return self._faces[number]
            case {"$number": text}:
                return float(text.replace("Infinity", "inf"))
            case _:
                return found


class _Nothing(Face):
    NAME = "Nothing"


def members_of(cls: type[Face]) -> list[str]:
    """Name the methods that a script may call."""
    return [name for name, _ in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")]


def _all_faces(cls: type[Face]) -> list[type[Face]]:
    return [face for sub in cls.__subclasses__() for face in (sub, *_all_faces(sub)) if face.NAME]


@cache
def _hints(method: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(method)


@cache
def _parameters(method: Callable[..., Any]) -> tuple[tuple[str, Any, bool], ...]:
    """Give name, type and whether it must be given, of each parameter but self; * marks a rest parameter."""
    hints = _hints(method)
    given = list(inspect.signature(method).parameters.values())[1:]
    return tuple(
        ("*" if one.kind is one.VAR_POSITIONAL else one.name, hints[one.name], one.default is one.empty)
        for one in given
    )


def _fit(method: Callable[..., Any], arguments: list[Any]) -> list[Any] | None:
    """Fit JavaScript's arguments to *method*'s parameters; None when they do not."""
    parameters = _parameters(method)
    if parameters and parameters[-1][0] == "*":
        return arguments
    required = sum(must for _, _, must in parameters)
    if not required <= len(arguments) <= len(parameters):
        return None
    fitted = []
    for value, (_, hint, _) in zip(arguments, parameters, strict=False):
        if not _fits(value, hint):
            return None
        fitted.append(int(value) if isinstance(value, float) and _is_whole(hint) else value)
    return fitted


def _is_whole(hint: Any) -> bool:
    return hint is int or (get_origin(hint) in (Union, UnionType) and int in get_args(hint))


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    kind = get_origin(hint) or hint
    if kind is Any:
        return True
    if kind in (int, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _js_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "Boolean"
        case int() | float():
            return "number"
        case str():
            return "String"
        case list():
            return "number[]" if value and isinstance(value[0], int | float) else "Array"
        case Face() | Choice():
            return value.NAME if isinstance(value, Face) else value.kind
        case _:
            return "Object"
