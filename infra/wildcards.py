"""The verb `workflows wildcards`: the lists that prompts may draw from, in a stage's bucket."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.blobs import Blobs
from chalicelib.prompting.wildcards import faults_of, key_of, lines_of, push, read_index, remove
from infra.release import add_stage_options

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]
    Reach = Callable[[argparse.Namespace], Blobs]


def register_below(actions: Verbs, reach: Reach) -> None:
    """Add the verb below `workflows`; *reach* opens the stage's bucket."""
    top = actions.add_parser("wildcards", help="the lists of wildcards: push, list, show, remove")
    verbs = top.add_subparsers(dest="wildcards", required=True, metavar="<action>")
    for name, text, run in (
        ("push", "publish lists: colors.txt is __colors__, seen within seconds", _push),
        ("list", "say which lists there are", _list),
        ("show", "print a list", _show),
        ("remove", "take lists away", _remove),
    ):
        verb = verbs.add_parser(name, help=text)
        if name == "push":
            verb.add_argument("files", nargs="+", type=Path, help="text files, or folders of them: pets/cats.txt")
        if name in ("show", "remove"):
            verb.add_argument("names", nargs=1 if name == "show" else "+", metavar="name")
        add_stage_options(verb)
        verb.set_defaults(run=_with(reach, run))


def _with(reach: Reach, run: Callable[[argparse.Namespace, Blobs], int]) -> Callable[[argparse.Namespace], int]:
    return lambda arguments: run(arguments, reach(arguments))


def read_lists(places: list[Path]) -> dict[str, bytes]:
    """Read text files by the name of their list; those in a folder are named with their way from it."""
    lists: dict[str, bytes] = {}
    for place in places:
        found = sorted(place.rglob("*.txt")) if place.is_dir() else [place]
        for file in found:
            way = file.relative_to(place) if place.is_dir() else Path(file.name)
            lists[way.with_suffix("").as_posix().lower()] = file.read_bytes()
    return lists


def _push(arguments: argparse.Namespace, blobs: Blobs) -> int:
    try:
        lists = read_lists(arguments.files)
    except OSError as error:
        print(f"{error.filename}: cannot be read: {error.strerror}")
        return 1
    faults = [fault for name, content in lists.items() for fault in faults_of(name, content)]
    if faults:
        print("\n".join(faults))
        return 1
    changed = push(blobs, lists)
    print(f"pushed: {', '.join(changed)}" if changed else "nothing has changed")
    return 0


def _list(_: argparse.Namespace, blobs: Blobs) -> int:
    for name in sorted(read_index(blobs)):
        content = blobs.get(key_of(name)) or b""
        print(f"__{name}__  {len(lines_of(content.decode()).texts)} lines")
    return 0


def _show(arguments: argparse.Namespace, blobs: Blobs) -> int:
    [name] = arguments.names
    content = blobs.get(key_of(name)) if name in read_index(blobs) else None
    print(f"there is no list {name}" if content is None else content.decode(), end="\n" if content is None else "")
    return 1 if content is None else 0


def _remove(arguments: argparse.Namespace, blobs: Blobs) -> int:
    gone = remove(blobs, arguments.names)
    missing = sorted(set(arguments.names) - set(gone))
    print(f"removed: {', '.join(gone) or 'none'}" + (f"; there was no {', '.join(missing)}" if missing else ""))
    return 1 if missing else 0
