"""
Run the filters of a field, `{{ Style | lower }}`, in Jinja's sandbox.

Jinja reads and runs them; before that its syntax tree is held against a list: filters by name, and constants. Nothing
that loops, calls, compares, multiplies or looks into a value gets through, and none of our filters makes a long text.

Imported when a field has filters: Jinja takes longer to import than all the rest of a request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateError, Undefined, UndefinedError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chalicelib.contract.values import one_line

MAX_FILTERS: Final = 5
MAX_TEXT: Final = 50_000


def _replaced(text: object, old: str, new: str) -> str:
    whole = str(text)
    if not old:
        raise ValueError("replace needs a text to look for")
    if len(whole) + whole.count(old) * len(new) > MAX_TEXT:
        raise ValueError("the text grows too long")
    return whole.replace(old, new)


def _default(text: object, instead: str) -> str:
    """Stand in for an empty cell as well as for a column that is not there."""
    return str(instead) if isinstance(text, Undefined) or not str(text).strip() else str(text)


FILTERS: Final[dict[str, Callable[..., str]]] = {
    "lower": lambda text: str(text).lower(),
    "upper": lambda text: str(text).upper(),
    "title": lambda text: str(text).title(),
    "capitalize": lambda text: str(text).capitalize(),
    "trim": lambda text: str(text).strip(),
    "replace": _replaced,
    "default": _default,
}

_SANDBOX: Final = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
_SANDBOX.filters = dict(FILTERS)
_SANDBOX.tests = {}
_SANDBOX.globals = {}


def filtered(value: str | None, filters: str) -> str | None:
    """
    Send *value* (None: there is none) through *filters*, written as in `lower | replace("a", "b")`.

    None when nothing came of no value. Raise ValueError with the rest of a sentence for what is no filter.
    """
    template = _compiled(filters)
    try:
        return template.render({} if value is None else {"value": value})
    except UndefinedError:
        return None
    except (TemplateError, TypeError) as error:
        raise _unreadable(filters) from error


@lru_cache(maxsize=256)
def _compiled(filters: str) -> Template:
    source = f"{{{{ value | {filters} }}}}"
    try:
        if not _is_allowed(_SANDBOX.parse(source)):
            raise _unreadable(filters)
        return _SANDBOX.from_string(source)
    except (TemplateError, RecursionError) as error:
        raise _unreadable(filters) from error


def _is_allowed(tree: nodes.Template) -> bool:
    """Know one output of the name `value`, sent through filters of ours with constants."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1:
        return False
    node: Any = tree.body[0].nodes[0]
    for _ in range(MAX_FILTERS):
        if not isinstance(node, nodes.Filter):
            break
        plain = all(isinstance(each, nodes.Const) and isinstance(each.value, str | int) for each in node.args)
        if node.name not in FILTERS or not plain or node.kwargs or node.dyn_args or node.dyn_kwargs:
            return False
        node = node.node
    return isinstance(node, nodes.Name) and node.name == "value"


def _unreadable(filters: str) -> ValueError:
    known = ", ".join(FILTERS)
    return ValueError(f'knows no filter "{one_line(filters)}": there are {known}; for variants write {{cat|dog}}')
