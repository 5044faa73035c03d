"""
Send events to the WebSocket clients with ComfyUI's manners, two of them traps on purpose.

- One publish loop sends everything, one socket after the other: a client that does not read holds up all (trap 8).
- A socket is registered under its clientId, and whoever ends removes that id, even when a newer socket holds it by
  then: the newer one stays open and hears nothing more (trap 7).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
import uuid
from collections.abc import Callable

from aiohttp import WSMsgType, web
from PIL import Image, ImageOps

from sandbox.comfy.kitchen import Preview
from sandbox.comfy.values import Json

PREVIEW_IMAGE, PREVIEW_IMAGE_WITH_METADATA = 1, 4  # the first uint32 of a binary frame
FORMATS = {"JPEG": (1, "image/jpeg"), "PNG": (2, "image/png")}
SERVER_FEATURES: Json = {
    "supports_preview_metadata": True,
    "supports_model_type_tags": True,
    "max_upload_size": 104857600,
    "extension": {"manager": {"supports_v4": True}},
    "node_replacements": True,
    "assets": False,
}


class Sockets:
    """Know the connected clients and bring them the news that other threads leave here."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, queue_info: Callable[[], Json], running_node: Callable[[str], str | None]
    ) -> None:
        self._loop = loop
        self._queue_info = queue_info
        self._running_node = running_node
        self._registered: dict[str, web.WebSocketResponse] = {}
        self._features: dict[str, Json] = {}
        self._transports: set[asyncio.Transport] = set()
        self._news: asyncio.Queue[tuple[str | bytes, str | None]] = asyncio.Queue()

    # ---- any thread ----

    def tell(self, event: str, data: Json, client_id: str | None) -> None:
        """Queue an event for one client, or for all when *client_id* is None."""
        self._queue(json.dumps({"type": event, "data": data}), client_id)

    def tell_status(self) -> None:
        """Tell everybody how many prompts are left."""
        self.tell("status", {"status": self._queue_info()}, None)

    def wants_metadata(self, client_id: str | None) -> bool:
        """Say whether this client asked for previews with metadata (binary type 4 instead of 1)."""
        return bool(client_id and self._features.get(client_id, {}).get("supports_preview_metadata"))

    def tell_preview(self, preview: Preview, client_id: str | None) -> None:
        """Queue a bare preview picture."""
        number, _ = FORMATS[preview.kind]
        self._queue(struct.pack(">II", PREVIEW_IMAGE, number) + _encoded(preview), client_id)

    def tell_preview_with_metadata(self, preview: Preview, metadata: Json, client_id: str | None) -> None:
        """Queue a preview picture that says which node it is from."""
        text = json.dumps({**metadata, "image_type": FORMATS[preview.kind][1]}).encode()
        head = struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(text))
        self._queue(head + text + _encoded(preview), client_id)

    def _queue(self, frame: str | bytes, client_id: str | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped, nobody listens
            self._loop.call_soon_threadsafe(self._news.put_nowait, (frame, client_id))

    # ---- the event loop ----

    async def publish(self) -> None:
        """Send what is queued, for ever."""
        while True:
            frame, client_id = await self._news.get()
            if client_id is None:
                targets = list(self._registered.values())
            else:
                targets = [self._registered[client_id]] if client_id in self._registered else []
            for target in targets:
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await (target.send_str(frame) if isinstance(frame, str) else target.send_bytes(frame))

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Be GET /ws?clientId=..."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sid = request.rel_url.query.get("clientId", "") or uuid.uuid4().hex
        self._registered[sid] = socket
        self._features[sid] = {}
        transport = request.transport
        if transport:
            self._transports.add(transport)
        try:
            await socket.send_json({"type": "status", "data": {"status": self._queue_info(), "sid": sid}})
            node = self._running_node(sid)
            if node is not None:
                await socket.send_json({"type": "executing", "data": {"node": node}})
            first = True
            async for message in socket:
                if message.type is WSMsgType.TEXT and first:
                    first = False
                    await self._shake_hands(socket, sid, message.data)
        finally:
            if transport:
                self._transports.discard(transport)
            self._registered.pop(sid, None)  # not "if it is still me": that is trap 7
            self._features.pop(sid, None)
        return socket

    async def _shake_hands(self, socket: web.WebSocketResponse, sid: str, text: str) -> None:
        """Take a client's feature flags, which only the first message may carry, and answer with the server's."""
        with contextlib.suppress(ValueError, AttributeError):
            message = json.loads(text)
            if message.get("type") == "feature_flags":
                self._features[sid] = message.get("data", {})
                await socket.send_json({"type": "feature_flags", "data": SERVER_FEATURES})

    def drop_all(self) -> None:
        """Break every connection without a closing frame, as a killed server does (clients see 1006)."""
        for transport in self._transports:
            transport.abort()


def _encoded(preview: Preview) -> bytes:
    picture: Image.Image = preview.picture
    if preview.edge_px:
        picture = ImageOps.contain(picture, (preview.edge_px, preview.edge_px), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, preview.kind, quality=95, compress_level=1)
    return buffer.getvalue()
