"""Whatever is put, inferred or added: an answer of 2xx, or a 4xx with a sentence. Nothing half-made is kept."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.api_parts import Call, guarded
from chalicelib.catalog import Catalog
from chalicelib.catalog_index import INDEX_KEY
from chalicelib.contract.infer import infer
from chalicelib.contract.parameter import Parameter
from chalicelib.curate import Curator
from chalicelib.keys import ApiKey
from chalicelib.publish import Publisher
from chalicelib.workflows_api import WorkflowsApi
from infra.workflow_files import read_base
from tests.catalog_fakes import PUSHED_AT, Clock, MemoryBlobs
from tests.sizes import examples

OPERATOR = ApiKey("k", "operator", frozenset({"read", "admin"}))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
node_ids = st.sampled_from(["1", "2", "3", "12:3", ""])
links = st.tuples(node_ids, st.integers(-1, 3)).map(list)
inputs = st.dictionaries(
    st.sampled_from(["width", "height", "text", "seed", "image", "filename_prefix", "lora_name", "model"]),
    links | anything,
    max_size=4,
)
classes = (
    st.sampled_from(["KSampler", "SaveImage", "LoadImage", "LoraLoaderModelOnly", "CLIPTextEncode", ""]) | anything
)
nodes = st.fixed_dictionaries({"class_type": classes, "inputs": inputs}) | anything
graphs = st.dictionaries(node_ids, nodes, max_size=4) | anything
places = (
    st.fixed_dictionaries({"node": node_ids, "input": st.sampled_from(["width", "height", "seed", "text"])}) | anything
)
fields: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(Parameter.model_fields, anything) | {
    "type": st.sampled_from(["size", "integer", "seed", "lora", "choice", "image", "string"]) | anything,
    "sets": st.lists(places, max_size=3) | places,
    "choices": st.lists(st.text(max_size=8) | st.just("A 64x64"), max_size=3) | anything,
}
parameters = st.dictionaries(
    st.sampled_from(["prompt", "size", "steps", "a", "A!"]),
    st.fixed_dictionaries({}, optional=fields) | anything,
    max_size=3,
)
manifests = (
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.text(min_size=1, max_size=8) | anything,
            "parameters": parameters | anything,
            "overrides": parameters | anything,
            "max_cost": anything,
            "max_runtime_s": anything,
        },
    )
    | anything
)


def desk() -> tuple[WorkflowsApi, MemoryBlobs]:
    store = MemoryBlobs()
    publisher = Publisher(store, lambda: PUSHED_AT)
    publisher.keep_base(read_base())
    catalog = Catalog(store, Clock())
    curator = Curator(catalog, publisher, infer, lambda _workflow, _parameter: ())
    return WorkflowsApi(shelf=catalog, curator=curator, choices=lambda _workflow, _parameter: ()), store


@settings(max_examples=examples(150), deadline=None)
@given(st.sampled_from(["a", "A", "", "../x"]), manifests, graphs, st.sampled_from(["", "studio"]))
def test_whatever_is_put_is_a_workflow_or_a_sentence(
    workflow_id: str, manifest: object, graph: object, client: str
) -> None:
    """What was taken can be read and filled; what was not has left no trace in the index."""
    api, store = desk()
    body = json.dumps({"manifest": manifest, "graph": graph}).encode("utf-8", "surrogatepass")
    call = Call({}, body, "", path={"workflow_id": workflow_id}, query={"client": client}, key=OPERATOR)
    answer = guarded(lambda: api.put(call))
    assert answer.status in (201, 400, 422), answer.body
    if answer.status == 201:
        json.dumps(answer.body, allow_nan=False).encode()
    else:
        assert answer.body["error"]["message"].endswith((".", "?"))
        assert INDEX_KEY not in store.kept


@settings(max_examples=examples(150), deadline=None)
@given(graphs, st.text(max_size=12))
def test_whatever_is_inferred_is_a_proposal_or_a_sentence(graph: object, name: str) -> None:
    """And what is proposed without faults can be put as it is."""
    api, _ = desk()
    body = json.dumps({"graph": graph, "name": name}).encode("utf-8", "surrogatepass")
    answer = guarded(lambda: api.infer(Call({}, body, "", key=OPERATOR)))
    assert answer.status in (200, 400, 422), answer.body
    if answer.status == 200 and not answer.body["faults"]:
        put = json.dumps({"manifest": answer.body["manifest"], "graph": graph}).encode()
        call = Call({}, put, "", path={"workflow_id": answer.body["id"]}, key=OPERATOR)
        assert guarded(lambda: api.put(call)).status == 201
