"""What programs may do with the catalog: list, show, put, remove, and have a manifest proposed."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.catalog import Catalog
from chalicelib.contract.job import Job
from chalicelib.contract.manifest import Workflow, parse_workflow
from chalicelib.contract.parameter import Parameter
from chalicelib.curate import MAX_WORKFLOW_BYTES
from chalicelib.gate import Gate
from chalicelib.keys import ApiKey
from chalicelib.operations.workflows import WORKFLOWS
from chalicelib.publish import Publisher
from chalicelib.submit import Submit
from infra.workflow_files import read_base, read_folder
from tests.catalog_fakes import PUSHED_AT, Clock, MemoryBlobs, demo_graph, push, shelf_of, version
from tests.fakes import MemoryLedger

KEYS = {
    "reader": {"read"},
    "drawer": {"read", "submit", "raw"},
    "operator": {"read", "admin"},
}
UI_EXPORT = {"nodes": [], "links": [], "version": 0.4}
POSTER = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 768, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "poster"}},
}


class Ring:
    def api_key(self, authorization: str) -> ApiKey:
        name, _, client = authorization.removeprefix("Bearer ").partition("@")
        return ApiKey(f"key-of-{name}", client or "studio", frozenset(KEYS[name]))


def choices(workflow: Workflow, parameter: Parameter) -> tuple[str, ...]:
    return ("live.safetensors", "sd_xl_base_1.0.safetensors") if parameter.type == "model" else ()


class Desk:
    """Hold the API on a catalog in memory, with the shipped workflows in it."""

    def __init__(self) -> None:
        self.store = MemoryBlobs()
        Publisher(self.store, lambda: PUSHED_AT).keep_base(read_base())
        self.workflows_api, _ = shelf_of(read_folder(), choices, self.store)
        self.gate = Gate(Ring())

    def ask(self, name: str, body: object = None, *, by: str = "operator", headers: Any = None, **path: str) -> Answer:
        """Call an operation as app.py does; `client` is a query, everything else a part of the path."""
        [operation] = [one for one in WORKFLOWS if one.name == name]
        content = b"" if body is None else json.dumps(body).encode()
        query = {"client": path.pop("client")} if "client" in path else {}
        sent = {"authorization": f"Bearer {by}", **(headers or {})}
        call = Call(sent, content, "https://host/api", path=path, query=query)
        there: Any = self
        return guarded(lambda: operation.answer(there, self.gate.admitted(call, operation.scope)))

    def put(self, workflow_id: str, size: int = 1, **more: Any) -> Answer:
        body = {"manifest": {"name": f"Name of {workflow_id}"}, "graph": demo_graph(size)}
        return self.ask("putWorkflow", body, workflow_id=workflow_id, **more)


def error(answer: Answer) -> dict[str, Any]:
    return dict(answer.body["error"])


def test_the_list_has_all_that_a_key_may_use_with_live_choices() -> None:
    """Everybody's and the client's own, by id; what workers have is what may be asked for."""
    desk = Desk()
    push(desk.store, [version(1, "own")], owner="studio")
    push(desk.store, [version(1, "theirs")], owner="others")
    desk.workflows_api, _ = shelf_of([], choices, desk.store)
    listed = {one["id"]: one for one in desk.ask("listWorkflows", by="reader").body["data"]}
    assert list(listed) == ["empty-color", "flux-schnell", "image-ops", "own", "txt2img-sdxl"]
    assert (listed["own"]["client"], listed["image-ops"]["client"]) == ("studio", None)
    parameters = {one["name"]: one for one in listed["txt2img-sdxl"]["parameters"]}
    assert parameters["model"]["choices"] == ["live.safetensors", "sd_xl_base_1.0.safetensors"]
    assert (parameters["steps"]["min"], parameters["steps"]["max"], parameters["steps"]["default"]) == (1, 150, 25)
    assert listed["image-ops"]["pushed_at"] == "2027-01-15T08:00:00Z"


@pytest.mark.parametrize(("by", "is_open"), [("reader", False), ("drawer", True), ("operator", True)])
def test_the_graph_is_shown_to_keys_that_may_read_it(by: str, is_open: bool) -> None:
    """Those that may send a graph of their own, or change the catalog; others see what a job may set."""
    answer = Desk().ask("getWorkflow", by=by, workflow_id="image-ops")
    assert answer.status == 200 and answer.headers["ETag"] == f'"{answer.body["hash"]}"'
    assert (answer.body["graph"] is not None, answer.body["manifest"] is not None) == (is_open, is_open)
    assert [one["pushed_by"] for one in answer.body["versions"]] == ["operator" if is_open else ""]
    assert len(answer.body["parameters"]) == 6


def test_a_client_reads_its_own_graph_whatever_its_key_may() -> None:
    """What a studio added it may read."""
    desk = Desk()
    push(desk.store, [version(1, "own")], owner="studio")
    desk.workflows_api, _ = shelf_of([], choices, desk.store)
    assert desk.ask("getWorkflow", by="reader", workflow_id="own").body["graph"] == demo_graph()
    assert desk.ask("getWorkflow", by="operator@others", workflow_id="own").status == 404


def test_what_is_shown_can_be_put_back_unchanged() -> None:
    """Manifest and graph of an answer make the very same version: read, change, put."""
    desk = Desk()
    for shipped in read_folder():
        shown = desk.ask("getWorkflow", workflow_id=shipped.id).body
        assert parse_workflow(shipped.id, shown["manifest"], {}, shown["graph"], file="x") == shipped
        again = {"manifest": shown["manifest"], "graph": shown["graph"]}
        answer = desk.ask("putWorkflow", again, workflow_id=shipped.id)
        assert (answer.status, answer.body["hash"], len(answer.body["versions"])) == (200, shipped.hash, 1)


def test_a_new_workflow_is_there_at_once() -> None:
    """201 with what it is; the next request lists and finds it, with no time gone by."""
    desk = Desk()
    desk.ask("listWorkflows")
    answer = desk.put("poster")
    assert (answer.status, answer.body["id"], answer.body["client"]) == (201, "poster", None)
    assert answer.body["versions"][0]["pushed_by"] == "key key-of-operator"
    assert "poster" in [one["id"] for one in desk.ask("listWorkflows", by="reader").body["data"]]
    changed = desk.put("poster", 2)
    assert (changed.status, len(changed.body["versions"])) == (200, 2)
    assert desk.ask("getWorkflow", workflow_id="poster").body["hash"] == changed.body["hash"]


def test_shared_definitions_and_overrides_count() -> None:
    """A manifest over the API says as little as one in the folder: base.yaml's definitions lie in the bucket."""
    manifest = {
        "name": "Poster",
        "parameters": {
            "width": {"sets": {"node": 1, "input": "width"}, "max": 2048},
            "height": {"sets": {"node": "1", "input": "height"}},
        },
        "overrides": {"height": {"default": 768}},
    }
    answer = Desk().ask("putWorkflow", {"manifest": manifest, "graph": POSTER}, workflow_id="poster")
    assert answer.status == 201
    width, height = answer.body["parameters"]
    assert (width["label"], width["min"], width["max"], width["default"]) == ("Width", 64, 2048, 1024)
    assert (height["max"], height["default"]) == (4096, 768)


def test_all_faults_are_told_at_once() -> None:
    """The sentence names them, and details has them as a list."""
    manifest = {
        "colour": "teal",
        "parameters": {"steps": {"sets": {"node": "9", "input": "steps"}}, "x": {"type": "integer", "sets": []}},
    }
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}}
    answer = Desk().ask("putWorkflow", {"manifest": manifest, "graph": graph}, workflow_id="Poster!")
    assert (answer.status, error(answer)["code"]) == (422, "invalid_manifest")
    faults = error(answer)["details"]["faults"]
    for says in (
        "colour: there is no such field",
        "parameters.x.sets: ",
        "parameters.steps.sets: the graph has no node 9",
        "graph: no node saves anything",
        "name: Field required",
        "id: String should match pattern",
    ):
        assert any(says in fault for fault in faults), says
        assert says in error(answer)["message"]
    assert error(answer)["message"].startswith("The workflow has 6 faults. ")


def test_an_editors_export_is_told_how_to_export_the_right_one() -> None:
    """Put and infer alike; nothing else is said of it."""
    desk = Desk()
    for answer in (
        desk.ask("putWorkflow", {"manifest": {"name": "X"}, "graph": UI_EXPORT}, workflow_id="x"),
        desk.ask("inferWorkflow", {"graph": UI_EXPORT}),
    ):
        assert (answer.status, error(answer)["code"]) == (422, "workflow_format_ui")
        assert "Workflow > Export (API)" in error(answer)["message"]


def test_names_that_another_workflow_answers_to_are_refused() -> None:
    """A Workflow cell may hold an id or a name: each means one workflow."""
    desk = Desk()
    desk.put("poster")
    body = {"manifest": {"name": "Name-of POSTER"}, "graph": demo_graph()}
    answer = desk.ask("putWorkflow", body, workflow_id="other")
    assert error(answer)["details"]["faults"] == [
        'other: name: "Name-of POSTER" means poster already; choose another name'
    ]
    assert desk.ask("putWorkflow", body, workflow_id="poster").status == 200


def test_a_version_is_put_only_instead_of_the_one_that_was_read() -> None:
    """If-Match with another hash, or If-None-Match: * where there is one, is a 412, and changes nothing."""
    desk = Desk()
    first = desk.put("poster").headers["ETag"]
    second = desk.put("poster", 2, headers={"if-match": first})
    assert second.status == 200
    for headers in ({"if-match": first}, {"if-none-match": "*"}, {"if-match": f"W/{first}"}):
        refused = desk.put("poster", 3, headers=headers)
        assert (refused.status, error(refused)["code"]) == (412, "changed_meanwhile")
    assert desk.ask("deleteWorkflow", workflow_id="poster", headers={"if-match": first}).status == 412
    assert desk.ask("getWorkflow", workflow_id="poster").headers["ETag"] == second.headers["ETag"]
    assert desk.put("new", headers={"if-none-match": "*"}).status == 201


def test_a_removed_workflow_is_gone_at_once() -> None:
    """It can be put again, and is new then."""
    desk = Desk()
    desk.put("poster")
    removed = desk.ask("deleteWorkflow", workflow_id="poster")
    assert (removed.status, removed.body) == (200, {"id": "poster", "removed": True})
    assert desk.ask("getWorkflow", workflow_id="poster").status == 404
    assert error(desk.ask("deleteWorkflow", workflow_id="poster"))["code"] == "not_found"
    assert desk.put("poster").status == 201


def test_an_operator_sees_to_a_clients_own() -> None:
    """`client` says whose is meant; without it everybody's is."""
    desk = Desk()
    assert desk.put("poster", client="studio-a").body["client"] == "studio-a"
    assert desk.ask("getWorkflow", by="reader@studio-a", workflow_id="poster").status == 200
    assert desk.ask("getWorkflow", by="reader@studio-b", workflow_id="poster").status == 404
    assert desk.ask("deleteWorkflow", workflow_id="poster").status == 404
    assert desk.ask("deleteWorkflow", workflow_id="poster", client="studio-a").status == 200
    assert desk.put("poster", client="../x").status == 400


@pytest.mark.parametrize("name", ["putWorkflow", "deleteWorkflow"])
@pytest.mark.parametrize("by", ["reader", "drawer"])
def test_only_the_operators_keys_change_the_catalog(name: str, by: str) -> None:
    """Scope admin: what is put there runs for everybody."""
    assert Desk().ask(name, {}, by=by, workflow_id="x").status == 403


@pytest.mark.parametrize(
    "body",
    [{}, {"manifest": {}}, {"manifest": [], "graph": {}}, {"manifest": {}, "graph": {}, "more": 1}, [], "x"],
)
def test_a_body_of_another_shape_is_a_400(body: object) -> None:
    """What is no manifest and graph is told as such."""
    assert Desk().ask("putWorkflow", body, workflow_id="x").status == 400


def test_a_body_that_is_too_large_is_refused_before_it_is_read() -> None:
    """A graph of a thousand nodes fits; a novel does not."""
    answer = Desk().ask("putWorkflow", "x" * MAX_WORKFLOW_BYTES, workflow_id="x")
    assert (answer.status, error(answer)["code"]) == (413, "too_large")


def test_a_manifest_is_proposed_under_a_free_id() -> None:
    """With the parameters that a job could set, notes for the person, and what is wrong with it."""
    desk = Desk()
    desk.put("my-poster")
    graph = {**POSTER, "3": {"class_type": "KSampler", "inputs": {"seed": 5}}}
    proposed = desk.ask("inferWorkflow", {"graph": graph, "name": "My Poster!"}, by="reader").body
    assert proposed["id"] == "my-poster-2"
    assert [one["name"] for one in proposed["parameters"]] == ["seed"]
    assert proposed["notes"] == ["Seeds were looked for."]
    assert proposed["faults"] == []
    put = {"manifest": proposed["manifest"], "graph": graph}
    assert desk.ask("putWorkflow", put, workflow_id=proposed["id"]).status == 201


def test_a_proposal_says_what_keeps_it_from_being_put() -> None:
    """A graph that saves nothing can be looked at, not be run."""
    graph = {"1": {"class_type": "KSampler", "inputs": {"seed": 5}}}
    proposed = Desk().ask("inferWorkflow", {"graph": graph}).body
    assert (proposed["id"], proposed["parameters"]) == ("workflow", [])
    assert proposed["faults"] == [
        "workflow: graph: no node saves anything (no input filename_prefix), so a run would have no result"
    ]


class Post:
    def __init__(self) -> None:
        self.sent: list[Job] = []

    def send(self, jobs: Any) -> int:
        self.sent += jobs
        return len(jobs)


def test_old_jobs_keep_the_version_they_were_made_with() -> None:
    """A change, or a removal, counts for the next job; no restart, and no time between."""
    desk, post = Desk(), Post()
    catalog = Catalog(desk.store, Clock())
    submit = Submit(MemoryLedger(), catalog, post, lambda: PUSHED_AT)

    def job() -> Job:
        return submit.draft("studio", str(uuid4()), "poster", {}, "https://host")

    first = desk.put("poster", 1).body["hash"]
    old = job()
    second = desk.put("poster", 2).body["hash"]
    catalog.look_anew()
    new = job()
    desk.ask("deleteWorkflow", workflow_id="poster")
    assert (old.workflow_hash, new.workflow_hash) == (first, second)
    assert [catalog.by_hash(one.workflow_hash).graph["1"]["inputs"]["size"] for one in (old, new)] == [1, 2]
