"""S6, S7, S9: no graph and no value makes ComfyUI run, read or write what its sender has no business with."""

from __future__ import annotations

import json
import ntpath
import posixpath
import re
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.api_parts import Answer
from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import fill, is_link, isolate
from chalicelib.contract.manifest import Workflow
from chalicelib.keys import SheetKey
from chalicelib.raw_graph import judge_graph
from chalicelib.sheet_shelf import AddRequest
from infra.workflow_files import read_folder
from tests.catalog_fakes import shelf_of
from tests.program_fakes import ProgramDesk
from tests.security.figures import Note, of_size
from tests.security.hostile import lines_of

CLASSES = lines_of("classes.txt", escaped=False)
PATHS = lines_of("paths.txt")
LOADERS = [("LoadImage", "image"), ("LoadImageMask", "image"), ("LoadAudio", "audio"), ("LoadVideo", "file")]
LOADERS += [("VHS_LoadVideo", "video"), ("LoadVideoUpload", "video"), ("ImageLoader", "image"), ("LOADIMAGE", "image")]
OTHER_INPUTS = [
    ("SaveImage", "filename_prefix"),
    ("CheckpointLoaderSimple", "ckpt_name"),
    ("Any", "text"),
    ("Any", "x"),
]
OF_ANOTHERS_JOB = [
    form.replace("JOB", "01234567-89ab-5def-8123-456789abcdef")
    for form in ("cs/JOB/1/image.png", "./cs/JOB/1/a.png", "cs//JOB/1/a.png", "cs/./JOB/1/a.png", "cs\\JOB\\1\\a.png")
]
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}


def leads_out(path: str) -> bool:
    """Say whether a program that joins *path* to its folder leaves it, on either kind of system."""
    for module, root in ((posixpath, "/comfy/input"), (ntpath, "d:\\comfy\\input")):
        joined = module.normpath(module.join(root, path))
        if not joined.startswith(root):
            return True
    return False


def hostile_graphs() -> Iterator[tuple[str, Any]]:
    """Give graphs that must not run, each with what is wrong with it."""
    for name in CLASSES:
        yield f"class {name}", {"1": {"class_type": name, "inputs": {}}, "2": SAVE}
        yield f"class {name} last", {"1": {"class_type": "EmptyImage", "inputs": {}}, "2": SAVE, "9": _node(name)}
    for path in [*PATHS, *OF_ANOTHERS_JOB]:
        for node_class, name in LOADERS:
            yield f"{node_class} of {path!r}", {"1": _node(node_class, **{name: path}), "2": SAVE}
        for node_class, name in OTHER_INPUTS:
            if leads_out(path) or path in OF_ANOTHERS_JOB:
                for value in (path, [path], {"deep": [path]}, {path: 1}, f" {path}" if path.startswith("/") else path):
                    yield f"{name} of {value!r}", {"1": _node(node_class, **{name: value}), "2": SAVE}
    for what, value in _values():
        yield what, {"1": _node("LoadImage", image=value), "2": SAVE, "7": _node("PrimitiveString", value="x.png")}
    yield from _shapes()


def _node(node_class: str, **inputs: object) -> dict[str, Any]:
    return {"class_type": node_class, "inputs": inputs}


def _values() -> Iterator[tuple[str, object]]:
    """Give what is no file of one's own, where a file is to be named."""
    for address in lines_of("addresses.txt"):
        if not address.strip().lower().startswith("https://") or re.match(r"https://[^/?#]*@", address):
            yield f"LoadImage of {address!r}", address
    for link in (["7", 0], ["7", True], ["7", 0.0], ["1", 0], ["missing", 0], [7, 0], [["7", 0]], {"0": ["7", 0]}):
        yield f"LoadImage by {link!r}", link
    for value in (None, 0, True, 1.5, {}, [], {"__value__": "x.png"}, {"__type": "core/ASSET"}, {"filename": "x.png"}):
        yield f"LoadImage of {value!r}", value
    for asset in ("", "x", "../x", "A" * 64, "a" * 63, "0" * 64 + ".1.0", "*", None, 7, ["a"], {"id": "a"}):
        yield f"asset {asset!r}", {"__type": "core/ASSET", "info": {"id": asset}}
        yield f"asset:{asset}", f"asset:{asset}"


def _shapes() -> Iterator[tuple[str, Any]]:
    """Give what is no graph, or too much of one."""
    node = _node("EmptyImage")
    yield "201 nodes", {str(number): node for number in range(201)}
    yield "10,000 nodes", {str(number): node for number in range(10_000)}
    yield "a link into the air", {"1": _node("SaveImage", images=["404", 0], filename_prefix="x")}
    yield "the format of the editor", {"nodes": [], "links": []}
    for what in ([], [node], "x", 7, None, True, {}, {"1": None}, {"1": []}, {"1": {}}, {"1": {"class_type": None}}):
        yield f"a graph of {what!r}"[:60], what
    for name in (None, 7, True, [], {}, ["LoadImage"]):
        yield f"a class of {name!r}", {"1": {"class_type": name, "inputs": {}}}
    for inputs in (None, [], "x", 7):
        yield f"inputs of {inputs!r}", {"1": {"class_type": "EmptyImage", "inputs": inputs}}
    for text in ("\x00", "a\x1bb", "\x7f", "\ud800"):
        yield f"a value with {text!r}", {"1": _node("Any", text=text)}


@pytest.mark.parametrize("key", ["a", "a2", "sheet"])
def test_no_hostile_graph_is_accepted(key: str, note: Note) -> None:
    """Sent as a job and in a batch: a 4xx with a sentence, nothing stored, nothing sent to a worker."""
    desk = ProgramDesk()
    # Without the scope none of them is even looked at: a sample will do.
    graphs, shelved = list(hostile_graphs())[:: of_size(1 if key == "a" else 9, 1)], set(desk.kept)
    taken = []
    for what, graph in graphs:
        body = json.dumps({"workflow": graph}).encode()
        answer = desk.ask("createJob", key=key, body=body)
        if not _is_refused(answer) or desk.sent or set(desk.kept) - shelved:
            taken.append((what, answer))
            desk = ProgramDesk()
    note(
        "S6",
        f"hostile graphs taken from a key {'with' if key == 'a' else 'without'} the scope raw ({key})",
        len(graphs),
        taken,
    )


def _is_refused(answer: Answer) -> bool:
    return 400 <= answer.status < 500 and answer.body["error"]["message"].endswith((".", "?", ")"))


def test_no_hostile_graph_becomes_a_workflow_of_a_clients_own(note: Note) -> None:
    """What a sheet adds to the catalog is judged as what a program sends: an operator alone may use other nodes."""
    _, shelf = shelf_of([])
    key = SheetKey("k", "studio", "sheet-1", ())
    taken, tried = [], 0
    for what, graph in hostile_graphs():
        if "asset" in what or what.split(" ")[0] in {name for name, _ in LOADERS}:
            continue  # a template may name an example picture, for rows put theirs in its place; which, is seen below
        tried += 1
        asked = AddRequest(
            spreadsheet_id="sheet-1", id="mine", manifest={"name": "Mine"}, graph=_text(graph), replace=True
        )
        try:
            shelf.add(key, asked)
            taken.append(what)
        except Rejected:
            continue
    note("S6", "hostile graphs taken into the catalog from a sheet", tried, taken)


def _text(graph: object) -> str:
    return json.dumps(graph)


def test_a_template_names_no_file_of_a_job(note: Note) -> None:
    """An example picture lies at the top of ComfyUI's input folder: what lies deeper is a job's, maybe another's."""
    _, shelf = shelf_of([])
    key = SheetKey("k", "studio", "sheet-1", ())
    taken, tried = [], 0
    leading = [path for path in PATHS if leads_out(path) or path.rstrip().endswith(("[output]", "[temp]"))]
    for path in [*OF_ANOTHERS_JOB, *leading]:
        for node_class, name in LOADERS[:4]:
            tried += 1
            graph = {"1": _node(node_class, **{name: path}), "2": SAVE}
            asked = AddRequest(
                spreadsheet_id="sheet-1", id="mine", manifest={"name": "Mine"}, graph=_text(graph), replace=True
            )
            try:
                shelf.add(key, asked)
                taken.append(path)
            except Rejected:
                continue
    note("S9", "files of other jobs named by a template of a client's own", tried, taken)


def test_whatever_prefix_a_graph_has_files_go_to_the_jobs_own_folder(note: Note) -> None:
    """Also by a link, also in a node that nobody knows: what ComfyUI gets is ours."""
    own = "cs/job/1"
    tried, wrong = 0, []
    for value in (*PATHS, ["1", 0], None, 7, "%date%/../x", "%1.text%"):
        for node_class in ("SaveImage", "SaveVideo", "VHS_VideoCombine", "Unknown"):
            tried += 1
            graph = {"1": _node("Any"), "a/../../b": _node(node_class, filename_prefix=value)}
            workflow = Workflow(id="raw", name="Raw", graph=graph)
            made = isolate(fill(workflow, {}), own)["a/../../b"]["inputs"]["filename_prefix"]
            wrong += [] if made.startswith(f"{own}/") and ".." not in made and not leads_out(made) else [made]
    note("S9", "file prefixes that left the job's folder", tried, wrong)


def test_a_value_stays_a_value(note: Note) -> None:
    """Typed into any parameter of any workflow: what ComfyUI gets has no other node, and no link that was not there."""
    values: list[object] = [
        *PATHS,
        "__proto__",
        "constructor",
        '["4", 0]',
        "{}",
        "4:0",
        "<lora:../x:1>",
        "%date%",
        "None",
    ]
    values += ["{{7*7}}", "${env}", "__import__", "NaN", "Infinity", "1e999", "-1", "0x10", "999999999999999999999"]
    values += [10**30, -1, 1e308, True, False, "A" * 8_001, "\u202e", "\ud800", "=1+1"]
    through, tried = [], 0
    for workflow in read_folder():
        desk = ProgramDesk()
        for parameter in workflow.parameters:
            for value in [*values, ["4", 0], {"a": 1}]:
                tried += 1
                body = json.dumps({"workflow_id": workflow.id, "inputs": {parameter.name: value}}).encode()
                answer = desk.ask("createJob", body=body)
                if answer.status >= 500:
                    through.append((workflow.id, parameter.name, value, answer))
                if answer.status == 201:
                    through += _changed_elsewhere(workflow, desk.job(answer.body["id"]).inputs, parameter.type)
    note("S7", "values that changed a graph beyond their places", tried, through)


def _changed_elsewhere(workflow: Workflow, inputs: Any, kind: str) -> list[Any]:
    """Say what differs from the template that no parameter sets; names of files must be names."""
    places = {(place.node, place.input) for parameter in workflow.parameters for place in parameter.sets}
    loras = {place.node for one in workflow.parameters if one.type == "lora" for place in one.sets}
    found: list[Any] = []
    made = fill(workflow, inputs)
    if set(made) | loras != set(workflow.graph) | loras:
        found.append(("nodes", set(made) ^ set(workflow.graph)))
    for node_id, node in made.items():
        for name, value in node["inputs"].items():
            before = workflow.graph[node_id]["inputs"].get(name)
            if (node_id, name) in places:
                if is_link(value) or not isinstance(value, str | int | float | bool):
                    found.append((node_id, name, value))
                if kind in ("model", "lora", "vae", "clip", "unet") and isinstance(value, str) and leads_out(value):
                    found.append((node_id, name, value))
            elif value != before and not (is_link(before) and before[0] in loras):
                found.append((node_id, name, value))
    return found


def test_a_refused_graph_costs_no_look_at_anybodys_files(note: Note) -> None:
    """A forbidden node is told before an asset is looked for: whoever may not run it learns nothing about assets."""
    looked: list[str] = []

    def find(asset_id: str) -> None:
        looked.append(asset_id)

    for name in CLASSES:
        graph = {"1": _node(name), "2": _node("LoadImage", image={"__type": "core/ASSET", "info": {"id": "a"}})}
        with pytest.raises(Rejected):
            judge_graph(graph, find_asset=find)
    note("S6", "assets looked for on behalf of a forbidden graph", len(CLASSES), looked)
