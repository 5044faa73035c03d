"""The routes of assets: files that go in, and what jobs made; the Comfy API v2's, and uploads of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from chalicelib.api_parts import Answer, Call
from chalicelib.asset_view import AssetForm, AssetObject, HashRequest, UploadObject, UploadRequest
from chalicelib.assets_api import AssetsApi
from chalicelib.gate import Scope
from chalicelib.operation import Operation
from chalicelib.wiring import World


def _asset(
    method: str, path: str, name: str, summary: str, answer: Callable[[AssetsApi, Call], Answer], **more: Any
) -> Operation:
    def asked(world: World, call: Call) -> Answer:
        return answer(world.assets_api, call)

    scope: Scope = "read" if method in ("GET", "HEAD") else "submit"
    return Operation(method, f"/api/v2/assets{path}", name, summary, asked, tag="Assets", scope=scope, **more)


ASSETS: Final = (
    _asset(
        "POST",
        "",
        "createAsset",
        "Upload a file as a form.",
        AssetsApi.upload,
        body=AssetForm,
        body_type="multipart/form-data",
        answers={200: AssetObject, 201: AssetObject},
        refusals=frozenset({409}),
    ),
    _asset(
        "HEAD",
        "/by-hash/{hash}",
        "probeAsset",
        "Say whether bytes of this hash (blake3:… or sha256:…) are here already.",
        AssetsApi.probe,
        answers={200: None},
    ),
    _asset(
        "POST",
        "/from-hash",
        "createAssetFromHash",
        "Take bytes that are here already, by their hash.",
        AssetsApi.again,
        body=HashRequest,
        answers={200: AssetObject},
        refusals=frozenset({404}),
    ),
    _asset(
        "GET",
        "/{asset_id}",
        "getAsset",
        "Describe an asset: an upload, or an output of a job.",
        AssetsApi.get,
        answers={200: AssetObject},
    ),
    _asset(
        "DELETE",
        "/{asset_id}",
        "deleteAsset",
        "Remove an upload.",
        AssetsApi.delete,
        answers={204: None},
        refusals=frozenset({422}),
    ),
    _asset(
        "GET",
        "/{asset_id}/content",
        "getAssetContent",
        "Lead to an asset's bytes.",
        AssetsApi.content,
        answers={302: None},
    ),
    _asset(
        "POST",
        "/uploads",
        "createUpload",
        "Ask for an address that takes a large file.",
        AssetsApi.begin_upload,
        body=UploadRequest,
        answers={200: UploadObject, 201: UploadObject},
    ),
    _asset(
        "POST",
        "/uploads/{upload_id}/complete",
        "completeUpload",
        "Make an asset of a file that has gone up.",
        AssetsApi.complete_upload,
        answers={200: AssetObject},
        refusals=frozenset({409}),
    ),
)
