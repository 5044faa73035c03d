"""
Derive from the source which AWS calls each function, and a worker, can make, and on what.

How: mypy reads app.py, chalicelib and worker and says of every expression what its type is. From a handler on we follow
every function and method that is mentioned. Behind a Protocol stands each class that has been constructed on the way
and fits it. A method on a boto3 client is a call; its `TableName`, `QueueUrl` … leads through the constructor's
arguments to the setting from which the wiring took it, and infra/template.py says which resource that setting names.
Mentioned counts as called: rather a call too many, which somebody then looks at, than one too few.

Texts that go through a parameter are followed into the edge modules (`self._table.call("get_item", …)`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mypy import nodes, options, types
from mypy.build import BuildResult, build
from mypy.find_sources import create_source_list
from mypy.subtypes import is_subtype

ROOT: Final = Path(__file__).resolve().parents[2]
OURS: Final = ("app", "chalicelib", "worker")
CLIENTS: Final = {
    "dynamodb": "DynamoDBClient",
    "s3": "S3Client",
    "sqs": "SQSClient",
    "ssm": "SSMClient",
    "events": "EventBridgeClient",
    "secretsmanager": "SecretsManagerClient",
    "autoscaling": "AutoScalingClient",
}
PLACES: Final = {
    "dynamodb": "TableName",
    "s3": "Bucket",
    "sqs": "QueueUrl",
    "ssm": "Name",
    "events": "EventBusName",
    "secretsmanager": "SecretId",
    "autoscaling": "AutoScalingGroupName",
}
"""Which argument of a call says on what it is made."""
SUFFIXES: Final = {"dynamodb": "_table", "s3": "bucket", "sqs": "_url", "ssm": "secrets_prefix", "events": "bus_name"}
"""How the settings are called that name such a thing: when the argument cannot be followed, its class has just one."""
_NO_CALLS: Final = frozenset({"exceptions", "meta", "generate_presigned_url", "get_paginator"})


@dataclass(frozen=True, order=True)
class Call:
    """Say what is called, on what (a setting's name), and for whom (`by`: the function that asked the edge)."""

    service: str
    operation: str
    setting: str
    index: str = ""
    by: str = ""
    owner: str = ""
    """The class of the edge that makes it."""


Known = frozenset[tuple[str, str]]
"""What is known of a function's parameters: name, and the text or setting that was given."""


@dataclass
class Source:
    """Hold what mypy found."""

    result: BuildResult
    functions: dict[str, nodes.FuncDef] = field(default_factory=dict)
    classes: dict[str, nodes.TypeInfo] = field(default_factory=dict)
    edges: set[str] = field(default_factory=set)
    """Modules that hold clients: there, parameters are followed."""


def read_source(scratch: Path) -> Source:
    """Let mypy read the source; *scratch* takes stand-ins of boto3's stubs, whose own are 50 MB."""
    for service, name in CLIENTS.items():
        folder = scratch / f"mypy_boto3_{service}"
        folder.mkdir()
        text = f"from typing import Any\nclass {name}:\n    def __getattr__(self, name: str) -> Any: ...\n"
        (folder / "__init__.pyi").write_text(text)
    told = options.Options()
    told.incremental = False
    told.export_types = told.preserve_asts = told.ignore_errors = told.ignore_missing_imports = True
    told.no_site_packages, told.python_executable = True, None
    told.namespace_packages = told.explicit_package_bases = True
    told.mypy_path = [str(ROOT), str(scratch)]
    found = create_source_list([str(ROOT / name) for name in ("app.py", "chalicelib", "worker")], told)
    source = Source(build(found, told))
    for name, file in source.result.files.items():
        if name.split(".")[0] in OURS:
            if any(line in Path(file.path).read_text() for line in ("mypy_boto3", "boto3.session", "import boto3")):
                source.edges.add(name)
            _collect(source, file.names)
    return source


def _collect(source: Source, names: Mapping[str, nodes.SymbolTableNode]) -> None:
    for symbol in names.values():
        node = symbol.node
        if isinstance(node, nodes.OverloadedFuncDef):
            node = node.impl or node.items[0]
        node = node.func if isinstance(node, nodes.Decorator) else node
        if isinstance(node, nodes.FuncDef):
            source.functions[node.fullname] = node
        elif (
            isinstance(node, nodes.TypeInfo)
            and node.module_name.split(".")[0] in OURS
            and node.fullname not in source.classes
        ):
            source.classes[node.fullname] = node
            _collect(source, node.names)


def calls_of(source: Source, *roots: str) -> set[Call]:
    """List the calls that are made from *roots* on: functions, or modules whose whole text counts."""
    return _Reach(source).run(roots)


class _Reach:
    """Follow what is mentioned, until nothing new is."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.calls: set[Call] = set()
        self.built: set[str] = set()
        self.given: dict[tuple[str, str], set[str]] = {}
        """What constructors were given, by class and parameter."""
        self._seen: set[tuple[str, Known, str]] = set()
        self._waiting: list[tuple[str, Known, str]] = []
        self._through: set[tuple[types.Instance, str, str]] = set()
        """Mentions through a type: what fits it may be constructed later."""

    def run(self, roots: tuple[str, ...]) -> set[Call]:
        for root in roots:
            if root in self.source.functions:
                self.reach(root, frozenset(), root)
            else:
                _Walk(self, root, None, frozenset(), root).module(self.source.result.files[root])
        while True:
            while self._waiting:
                name, known, by = self._waiting.pop()
                _Walk(self, name, self.source.functions[name], known, by).body()
            before = len(self._seen)
            for kind, member, by in list(self._through):
                self._fitting(kind, member, by)
            if len(self._seen) == before:
                return {each for call in self.calls for each in self._resolved(call)}

    def reach(self, name: str, known: Known, by: str) -> None:
        function = self.source.functions.get(name)
        if function is None:
            return
        edge = name.rsplit(".", 2)[0] in self.source.edges or name.rsplit(".", 1)[0] in self.source.edges
        state = (name, known if edge else frozenset(), by if edge else name)
        if state not in self._seen:
            self._seen.add(state)
            self._waiting.append(state)

    def construct(self, name: str, by: str) -> None:
        self.built.add(name)
        for special in ("__init__", "__post_init__"):
            if found := self._method(self.source.classes[name], special):
                self.reach(found, frozenset(), by)

    def mention(self, kind: types.Instance, member: str, known: Known, by: str) -> None:
        """Note that *member* of something of type *kind* is mentioned."""
        if found := self._method(kind.type, member):
            self.reach(found, known, by)
        self._through.add((kind, member, by))

    def _fitting(self, kind: types.Instance, member: str, by: str) -> None:
        for name in self.built:
            info = self.source.classes[name]
            fits = kind.type in info.mro or (
                kind.type.is_protocol
                and is_subtype(types.Instance(info, [types.AnyType(1)] * len(info.type_vars)), kind)
            )
            found = self._method(info, member) if fits else None
            if found and found != self._method(kind.type, member):  # that one was reached at the mention itself
                self.reach(found, frozenset(), by)

    def _method(self, info: nodes.TypeInfo, member: str) -> str | None:
        for base in info.mro:
            if (name := f"{base.fullname}.{member}") in self.source.functions:
                return name
        return None

    def _resolved(self, call: Call) -> Iterator[Call]:
        """Follow `Class|parameter` to the settings that were given; nothing to follow: the class's only one."""
        named = self._followed({call.setting})
        if not named:
            owner = call.setting.split("|")[0]
            suffix = SUFFIXES.get(call.service, "")
            every = [values for (name, _), values in self.given.items() if name == owner]
            named = {each for each in self._followed(set().union(*every)) if suffix and each.endswith(suffix)}
        if not named:
            raise LookupError(f"Which setting names what {call} is made on? Give it to the class by its constructor.")
        for each in named:
            yield replace(call, setting=each.removeprefix("settings."))

    def _followed(self, places: set[str]) -> set[str]:
        """Follow `Class|parameter` from constructor to constructor, to settings."""
        waiting, seen = [*places], set(places)
        while waiting:
            owner, _, name = waiting.pop().partition("|")
            more = self.given.get((owner, name), set()) - seen
            seen |= more
            waiting += more
        return {place for place in seen if place.startswith("settings.")}


_AROUND: Final = frozenset(
    {"node", "info", "type", "unanalyzed_type", "analyzed", "special_sig", "def_var", "fullname"}
)
"""Attributes of a node that lead out of its own text."""
_PARTS: Final[dict[type, list[str]]] = {}


def _parts(node: nodes.Node) -> Iterator[nodes.Node]:
    """Give the parts of a node; mypy's own visitors cannot be inherited from, for they are compiled."""
    kind = type(node)
    if kind not in _PARTS:
        names = [name for name in dir(kind) if name[0] != "_" and name not in _AROUND]
        _PARTS[kind] = [name for name in names if not callable(getattr(kind, name))]
    waiting = [getattr(node, name, None) for name in _PARTS[kind]]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, (list, tuple)):
            waiting[:0] = part
        elif isinstance(part, (nodes.Statement, nodes.Expression, nodes.Argument, nodes.FuncItem, nodes.Block)):
            yield part


def _whole(node: nodes.Node) -> Iterator[nodes.Node]:
    """Give a node and everything in it, each once, outermost first."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        part = waiting.pop(0)
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting[:0] = _parts(part)


class _Walk:
    """Walk through one function with what is known of its parameters."""

    def __init__(self, reach: _Reach, name: str, function: nodes.FuncDef | None, known: Known, by: str) -> None:
        self._reach, self._name, self._function, self._by = reach, name, function, by
        self._known = dict(known)
        self._owner = function.info.fullname if function is not None and function.info else name
        self._types = reach.source.result.types
        self._locals: dict[str, str] = {}
        self._called: set[int] = set()
        self._index = self._known.get("IndexName", "")

    def module(self, file: nodes.MypyFile) -> None:
        for statement in file.defs:
            if not isinstance(statement, nodes.ClassDef | nodes.FuncDef):
                self._walk(statement)

    def body(self) -> None:
        assert self._function is not None
        for part in _whole(self._function):
            pairs: Any = ()
            if isinstance(part, nodes.CallExpr):
                pairs = zip(part.arg_names, part.args, strict=True)
            elif isinstance(part, nodes.DictExpr):
                pairs = ((key.value, value) for key, value in part.items if isinstance(key, nodes.StrExpr))
            for name, value in pairs:
                if name == "IndexName":
                    self._index = self._text(value) or self._index
        self._walk(self._function)

    def _walk(self, whole: nodes.Node) -> None:
        for part in _whole(whole):
            match part:
                case nodes.AssignmentStmt():
                    self._assignment(part)
                case nodes.AssignmentExpr():
                    self._note(part.target, part.value)
                case nodes.CallExpr():
                    self._call(part)
                case nodes.NameExpr():
                    self._node(part, part.node)
                case nodes.MemberExpr():
                    self._member(part)

    # -- what stands in the text --------------------------------------------------------------------------------

    def _assignment(self, o: nodes.AssignmentStmt) -> None:
        for target in o.lvalues:
            self._note(target, o.rvalue)
            if isinstance(target, nodes.MemberExpr) and isinstance(o.rvalue, nodes.NameExpr):
                # `self._table = table`: the attribute is the constructor's parameter.
                self._reach.given.setdefault((self._owner, target.name), set()).add(f"{self._owner}|{o.rvalue.name}")

    def _note(self, target: nodes.Expression, value: nodes.Expression) -> None:
        """Remember what a variable stands for: a client, or a setting."""
        if isinstance(target, nodes.NameExpr):
            if service := self._service(value):
                self._locals[target.name] = service
            if (text := self._text(value)) and text.startswith("settings."):
                self._known[target.name] = text

    def _member(self, o: nodes.MemberExpr) -> None:
        if self._node(o, o.node) and not isinstance(o.node, nodes.Var):
            return
        for kind in self._kinds(o.expr):
            if kind.type.module_name.split(".")[0] in OURS and id(o) not in self._called:
                self._reach.mention(kind, o.name, frozenset(), self._by)

    def _call(self, o: nodes.CallExpr) -> None:
        callee = o.callee
        if isinstance(callee, nodes.MemberExpr):
            service = self._service(callee.expr)
            if service:
                self._client_call(service, callee.name, o)
            for kind in self._kinds(callee.expr):
                if kind.type.module_name.split(".")[0] in OURS:
                    method = self._reach._method(kind.type, callee.name)
                    known = self._arguments(o, self._reach.source.functions[method], 1) if method else frozenset()
                    self._reach.mention(kind, callee.name, known, self._by)
                    self._called.add(id(callee))
        match callee:
            case nodes.CallExpr(callee=nodes.NameExpr(name="getattr"), args=[client, named]):
                # getattr(self._client, operation)(…)
                if (service := self._service(client)) and (operation := self._text(named)):
                    self._add(service, operation, o)
        if isinstance(callee, nodes.RefExpr):
            if isinstance(callee.node, nodes.TypeInfo):
                self._constructed(callee.node, o)
            elif isinstance(callee.node, nodes.FuncDef):
                self._reach.reach(callee.node.fullname, self._arguments(o, callee.node, 0), self._by)
                self._called.add(id(callee))

    def _node(self, o: nodes.RefExpr, node: Any) -> bool:
        node = node.func if isinstance(node, nodes.Decorator) else node
        if isinstance(node, nodes.FuncDef) and id(o) not in self._called:
            self._reach.reach(node.fullname, frozenset(), self._by)
        elif isinstance(node, nodes.TypeInfo) and node.fullname in self._reach.source.classes:
            self._reach.construct(node.fullname, self._by)
        return node is not None

    def _constructed(self, info: nodes.TypeInfo, o: nodes.CallExpr) -> None:
        found = self._reach._method(info, "__init__")
        made = self._reach.source.functions[found] if found else None
        names = [each.variable.name for each in made.arguments[1:]] if made else list(info.names)
        owner = made.info.fullname if made else info.fullname
        for at, value in enumerate(o.args):
            name = o.arg_names[at] or (names[at] if at < len(names) else "")
            if (text := self._text(value) or self._parameter(value)) and name:
                self._reach.given.setdefault((owner, name), set()).add(text)

    def _parameter(self, o: nodes.Expression) -> str | None:
        """Say `Class|parameter` of what a constructor was given itself."""
        own = self._function.arg_names if self._function is not None and self._function.name == "__init__" else []
        return f"{self._owner}|{o.name}" if isinstance(o, nodes.NameExpr) and o.name in own else None

    # -- what is called -----------------------------------------------------------------------------------------

    def _client_call(self, service: str, name: str, o: nodes.CallExpr) -> None:
        if name in ("generate_presigned_url", "get_paginator"):
            self._add(service, self._text(o.args[0]) or "?", o)
        elif name not in _NO_CALLS:
            self._add(service, name, o)

    def _add(self, service: str, operation: str, o: nodes.CallExpr) -> None:
        given = {name: value for name, value in zip(o.arg_names, o.args, strict=True) if name}
        place = given.get(PLACES[service])
        setting = (self._text(place) if place is not None else None) or f"{self._owner}|"
        if not setting.startswith("settings.") and "|" not in setting:
            setting = f"{self._owner}|"
        index = self._index if operation in ("query", "scan") else ""
        self._reach.calls.add(Call(service, operation, setting, index, self._by, self._owner))

    def _arguments(self, o: nodes.CallExpr, function: nodes.FuncDef, skip: int) -> Known:
        names = [each.variable.name for each in function.arguments[skip:]]
        known = {"IndexName": self._index} if self._index else {}
        for at, value in enumerate(o.args):
            name = o.arg_names[at] or (names[at] if at < len(names) else None)
            if name in names and (text := self._text(value)):
                known[name] = text
        return frozenset(known.items())

    def _text(self, o: nodes.Expression) -> str | None:
        """Say what an expression is worth: a text, `settings.x`, or `Class|attribute`."""
        match o:
            case nodes.StrExpr():
                return o.value
            case nodes.NameExpr():
                return self._known.get(o.name)
            case nodes.MemberExpr():
                for kind in self._kinds(o.expr):
                    if kind.type.name == "Settings":
                        return f"settings.{o.name}"
                    if kind.type.fullname == self._owner:
                        return f"{self._owner}|{o.name}"
        return None

    def _service(self, o: nodes.Expression) -> str | None:
        """Say which service's client an expression is."""
        for kind in self._kinds(o):
            for service, name in CLIENTS.items():
                if kind.type.name == name:
                    return service
        if isinstance(o, nodes.NameExpr):
            return self._locals.get(o.name)
        if isinstance(o, nodes.CallExpr) and isinstance(o.callee, nodes.MemberExpr) and o.args:
            named = self._text(o.args[0]) if o.callee.name in ("client", "_client") else None
            return named if named in CLIENTS else None
        return None

    def _kinds(self, o: nodes.Expression) -> list[types.Instance]:
        found = types.get_proper_type(self._types.get(o))
        every = found.items if isinstance(found, types.UnionType) else [found]
        kinds = []
        for each in map(types.get_proper_type, every):
            if isinstance(each, types.CallableType) and each.is_type_obj():
                each = types.get_proper_type(each.ret_type)
            if isinstance(each, types.TypeType):
                each = types.get_proper_type(each.item)
            if isinstance(each, types.TypeVarType):
                each = types.get_proper_type(each.upper_bound)
            if isinstance(each, types.Instance):
                kinds.append(each)
        return kinds
