"""What a sheet's people may do with the catalog: see it, have a manifest proposed, and add workflows of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.api_parts import Call
from chalicelib.catalog import Catalog
from chalicelib.contract.errors import Rejected
from chalicelib.curate import MAX_OWN
from chalicelib.keys import ApiKey, SheetKey
from chalicelib.sheet_shelf import AddRequest, InferRequest, SheetShelf
from tests.catalog_fakes import Clock, MemoryBlobs, demo_graph, push, shelf_of, version

STUDIO = SheetKey("0123456789ab", "studio", "sheet-1", ())
OTHERS = SheetKey("ba9876543210", "others", "sheet-2", ())
SAMPLER = {**demo_graph(), "2": {"class_type": "KSampler", "inputs": {"seed": 5}}}


def infer(shelf: SheetShelf, graph: str, name: str = "") -> dict[str, Any]:
    return shelf.infer(STUDIO, InferRequest(spreadsheet_id="sheet-1", graph=graph, name=name))


def add(shelf: SheetShelf, workflow_id: str, *, size: int = 1, key: SheetKey = STUDIO, **more: Any) -> dict[str, Any]:
    graph = json.dumps(more.pop("graph", demo_graph(size)))
    manifest = more.pop("manifest", {"name": f"Name of {workflow_id}"})
    return shelf.add(key, AddRequest(spreadsheet_id="x", id=workflow_id, manifest=manifest, graph=graph, **more))


def ids(shelf: SheetShelf, key: SheetKey = STUDIO) -> list[str]:
    return [one["id"] for one in shelf.list(key)["workflows"]]


def test_a_workflow_is_proposed_and_added_for_its_own_client() -> None:
    """The sheet's list has it at once; another client's has not."""
    _, shelf = shelf_of([version(1, "shared")])
    proposed = infer(shelf, json.dumps(SAMPLER), "Red Fox")
    assert (proposed["id"], proposed["faults"]) == ("red-fox", [])
    assert proposed["parameters"][0] == {
        "name": "seed", "label": "Seed", "type": "seed", "description": "", "default": "random", "required": False,
        "choices": [], "aliases": [],
    }  # fmt: skip
    added = add(shelf, "red-fox", manifest=proposed["manifest"], graph=SAMPLER)
    assert (added["created"], added["workflow"]["name"]) == (True, "Red Fox")
    assert ids(shelf) == ["red-fox", "shared"]
    assert ids(shelf, OTHERS) == ["shared"]


def test_an_own_workflow_is_replaced_only_when_that_is_said() -> None:
    """Nobody writes over a colleague's by accident."""
    _, shelf = shelf_of([])
    add(shelf, "poster")
    with pytest.raises(Rejected, match="There is a workflow poster already") as refused:
        add(shelf, "poster", size=2)
    assert refused.value.code == "name_taken"
    assert add(shelf, "poster", size=2, replace=True)["created"] is False


def test_everybodys_workflow_cannot_be_hidden_by_an_own_one() -> None:
    """Two workflows of one id in one list would be a riddle."""
    _, shelf = shelf_of([version(1, "poster")])
    with pytest.raises(Rejected, match="everybody has a workflow poster already") as refused:
        add(shelf, "poster", size=2, replace=True)
    assert refused.value.code == "invalid_manifest"
    add(shelf, "mine")
    with pytest.raises(Rejected, match='"Name of mine" means mine already'):
        add(shelf, "other", manifest={"name": "Name of mine"})


def test_two_clients_may_have_workflows_of_one_id() -> None:
    """Neither learns of the other's."""
    _, shelf = shelf_of([])
    assert add(shelf, "poster")["created"]
    assert add(shelf, "poster", key=OTHERS, size=2)["created"]
    assert ids(shelf) == ids(shelf, OTHERS) == ["poster"]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ('{"nodes": [], "links": []}', "workflow_format_ui", "Workflow > Export (API)"),
        ("", "invalid_workflow", "This is not JSON"),
        ('{"1": ', "invalid_workflow", "Export it in ComfyUI with Workflow > Export (API)"),
        ('{"1": NaN}', "invalid_workflow", "This is not JSON"),
        ("[" * 5000, "invalid_workflow", "This is not JSON"),
        ("[]", "invalid_workflow", "This is no workflow"),
        ("{}", "invalid_workflow", "the workflow has no node"),
    ],
)
def test_what_is_pasted_wrongly_is_told_in_a_sentence(text: str, code: str, says: str) -> None:
    """The editor's own format, half a file, and what is no graph at all."""
    _, shelf = shelf_of([])
    with pytest.raises(Rejected) as refused:
        infer(shelf, text)
    assert refused.value.code == code
    assert says in refused.value.message


def test_a_seed_keeps_all_its_digits() -> None:
    """The file's text goes through the script as text: a script's numbers would round what is beyond 2^53."""
    store = MemoryBlobs()
    _, shelf = shelf_of([], store=store)
    text = '{"1": {"class_type": "Save", "inputs": {"filename_prefix": "x", "seed": 18446744073709551615, "cfg": 7.0}}}'
    shelf.add(STUDIO, AddRequest(spreadsheet_id="x", id="big", manifest={"name": "Big"}, graph=text))
    graph = Catalog(store, Clock()).find("big", "studio").graph
    assert json.dumps(graph) == text


def test_a_client_has_room_for_so_many() -> None:
    """Every container reads the whole index; a new version of what is there still finds its place."""
    store = MemoryBlobs()
    push(store, [version(1, f"w{number}") for number in range(MAX_OWN)], owner="studio")
    _, shelf = shelf_of([], store=store)
    with pytest.raises(Rejected, match=f"{MAX_OWN} workflows were added already") as refused:
        add(shelf, "one-more")
    assert refused.value.code == "too_many_workflows"
    assert not add(shelf, "w1", size=2, replace=True)["created"]
    assert add(shelf, "first", key=OTHERS)["created"]


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"class_type": "LoadImageFromPath", "inputs": {}}, "Node 7 (LoadImageFromPath) is not allowed"),
        ({"class_type": "Note", "inputs": {"x": "../../etc/passwd"}}, "a value may not be a path out of its folder"),
        ({"class_type": "LoadImage", "inputs": {"image": "theirs.png [output]"}}, "it names another folder"),
    ],
)
def test_a_graph_from_a_sheet_is_judged_like_a_programs(node: dict[str, Any], says: str) -> None:
    """What a graph of a program's own may not hold, a workflow from a sheet may not hold either; the operator's may."""
    programs, shelf = shelf_of([])
    graph = {**demo_graph(), "7": node}
    assert any(says in fault for fault in infer(shelf, json.dumps(graph))["faults"])
    with pytest.raises(Rejected) as refused:
        add(shelf, "bad", graph=graph)
    assert refused.value.details is not None and says in str(refused.value.details["faults"])
    put = json.dumps({"manifest": {"name": "Good"}, "graph": graph}).encode()
    operator = ApiKey("k", "operator", frozenset({"admin"}))
    assert programs.put(Call({}, put, "", path={"workflow_id": "good"}, key=operator)).status == 201


def test_a_painted_mask_is_what_comfyui_exports() -> None:
    """The editor names it "… [input]"; a parameter for it takes a file of the row's own, and no name on the server."""
    _, shelf = shelf_of([])
    loader = {"class_type": "LoadImage", "inputs": {"image": "clipspace/clipspace-mask-7.png [input]"}}
    graph = {**demo_graph(), "7": loader}
    picture: dict[str, Any] = {"type": "image", "sets": {"node": "7", "input": "image"}}
    assert add(shelf, "inpaint", graph=graph, manifest={"name": "A", "parameters": {"picture": picture}})["created"]
    named = {**picture, "type": "string", "default": ""}
    with pytest.raises(Rejected, match=r"parameters.picture.type: image of node 7 \(LoadImage\) names a file"):
        add(shelf, "other", graph=graph, manifest={"name": "B", "parameters": {"picture": named}})
