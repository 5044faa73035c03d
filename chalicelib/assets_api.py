"""
Answer programs about their files: forms and uploads in, short-lived addresses out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from pydantic import BaseModel

from chalicelib.api_parts import Answer, Call, check_size, parse
from chalicelib.asset import INLINE_BYTES, Asset, Lent, too_large
from chalicelib.asset_view import AssetObject, HashRequest, UploadObject, UploadRequest, asset_object, upload_object
from chalicelib.assets import Assets
from chalicelib.contract.errors import Rejected
from chalicelib.forms import read_form
from chalicelib.links import LINK_LIFETIME_S

_FORM_BYTES: Final = INLINE_BYTES + 64 * 1024
"""A file and the form around it."""


class AssetsApi:
    """Answer below /api/v2/assets. Each method raises `Rejected` or `Unavailable`; `guarded` makes answers of them."""

    def __init__(self, assets: Assets, limit_bytes: int, now_ms: Callable[[], int]) -> None:
        self._assets = assets
        self._limit_bytes = limit_bytes
        self._now_ms = now_ms

    def upload(self, call: Call) -> Answer:
        """POST /api/v2/assets: 201 for new bytes, 200 for bytes that are here already. Repeating it is safe."""
        if len(call.body) > _FORM_BYTES:
            raise too_large(len(call.body), self._limit_bytes)
        form = read_form(call.headers.get("content-type", ""), call.body)
        asset, created = self._assets.keep(
            call.caller.client_id,
            form.content,
            file_path=form.fields.get("file_path") or form.filename,
            content_type=form.fields.get("content_type") or form.content_type,
            expected_hash=form.fields.get("expected_hash", ""),
        )
        return _answer(201 if created else 200, self._shown(asset, created_new=created))

    def probe(self, call: Call) -> Answer:
        """HEAD /api/v2/assets/by-hash/{hash}: 200 when these bytes are here, else 404."""
        if self._assets.by_hash(call.caller.client_id, unquote(call.path["hash"])) is None:
            raise Rejected("not_found", "There is nothing of this hash. Upload it.")
        return Answer(200, "")

    def again(self, call: Call) -> Answer:
        """POST /api/v2/assets/from-hash: the asset of bytes that are here already."""
        check_size(call.body)
        asked = parse(HashRequest, call.body)
        return _answer(200, self._shown(self._assets.again(call.caller.client_id, asked.hash), created_new=False))

    def get(self, call: Call) -> Answer:
        """GET /api/v2/assets/{id}: of an upload or of an output."""
        return _answer(200, self._shown(self._asset(call)))

    def content(self, call: Call) -> Answer:
        """GET /api/v2/assets/{id}/content: the way to the bytes; S3 knows ranges."""
        headers = {"Location": self._assets.address(self._asset(call)), "Cache-Control": "no-store"}
        return Answer(302, "", headers | {"Referrer-Policy": "no-referrer"})

    def delete(self, call: Call) -> Answer:
        """DELETE /api/v2/assets/{id}: an upload and its bytes."""
        self._assets.delete(call.caller.client_id, call.path["asset_id"])
        return Answer(204, "")

    def begin_upload(self, call: Call) -> Answer:
        """POST /api/v2/assets/uploads: 201 with an address to PUT to, or 200 with the asset that is here already."""
        check_size(call.body)
        asked = parse(UploadRequest, call.body)
        found = self._assets.lend_upload(
            call.caller.client_id,
            sha256=asked.sha256,
            size_bytes=asked.size_bytes,
            file_path=asked.filename,
            content_type=asked.content_type,
        )
        if isinstance(found, Lent):
            complete_url = f"{call.link_base}/api/v2/assets/uploads/{asked.sha256}/complete"
            return _answer(201, upload_object(asked.sha256, found, complete_url))
        return _answer(200, UploadObject(id=asked.sha256, asset=self._shown(found, created_new=False)))

    def complete_upload(self, call: Call) -> Answer:
        """POST /api/v2/assets/uploads/{id}/complete: the asset, once its bytes are here. Repeating it is safe."""
        asset = self._assets.complete(call.caller.client_id, call.path["upload_id"])
        return _answer(200, self._shown(asset, created_new=True))

    def _asset(self, call: Call) -> Asset:
        return self._assets.get(call.caller.client_id, call.path["asset_id"])

    def _shown(self, asset: Asset, *, created_new: bool | None = None) -> AssetObject:
        expires_at = self._now_ms() + LINK_LIFETIME_S * 1000
        return asset_object(asset, self._assets.address(asset), expires_at, created_new=created_new)


def _answer(status: int, body: BaseModel) -> Answer:
    return Answer(status, body.model_dump(mode="json", exclude_none=False))
