"""Be ComfyUI's file routes: /view, /upload/image, /upload/mask, with its refusals (400, 403, 404) and its 500s."""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import os
from pathlib import Path

from aiohttp import web
from PIL import Image

from sandbox.comfy.folders import Folders, contains

# Types that a browser would run; ComfyUI >= 0.27.1 sends them as plain downloads.
ACTIVE_TYPES = ("text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml", "text/javascript")


class FileRoutes:
    """Serve and take files of the three folders."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def routes(self) -> list[web.RouteDef]:
        """List the routes, without the /api prefix."""
        return [
            web.get("/view", self.view),
            web.post("/upload/image", self.upload_image),
            web.post("/upload/mask", self.upload_mask),
        ]

    async def view(self, request: web.Request) -> web.StreamResponse:
        """Send one file, or with preview= or channel= a re-encoded picture."""
        query = request.rel_url.query
        if "filename" not in query:
            return web.Response(status=404)
        name, folder = self._folders.annotated(query["filename"])
        if not name or name.startswith("/") or ".." in name:
            return web.Response(status=400)
        folder = folder or self._folders.by_type(query.get("type", "output"))
        if folder is None:
            return web.Response(status=400)
        home = folder / query.get("subfolder", "")
        if not contains(folder, home):
            return web.Response(status=403)
        path = home / Path(name).name
        if not path.is_file():
            return web.Response(status=404)
        if "preview" in query:
            return _preview(path, query["preview"], query.get("channel", ""))
        if query.get("channel") in ("rgb", "a"):
            return _channel(path, query["channel"])
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        disposition = f'filename="{path.name}"'
        if kind in ACTIVE_TYPES:
            kind, disposition = "application/octet-stream", f"attachment; {disposition}"
        return web.FileResponse(
            path,
            headers={"Content-Disposition": disposition, "Content-Type": kind, "X-Content-Type-Options": "nosniff"},
        )

    async def upload_image(self, request: web.Request) -> web.Response:
        """Keep an uploaded file. Without overwrite, another content under the same name gets `name (1).ext`."""
        post = await request.post()
        image = post.get("image")
        if not isinstance(image, web.FileField) or not image.filename:
            return web.Response(status=400)
        folder, kind = self._upload_folder(post.get("type"))
        subfolder = str(post.get("subfolder", ""))
        path = folder / os.path.normpath(subfolder) / image.filename
        if not contains(folder, path):
            return web.Response(status=400)
        content = image.file.read()
        path.parent.mkdir(parents=True, exist_ok=True)
        if post.get("overwrite") not in ("true", "1"):
            path = _free_name(path, content)
        path.write_bytes(content)
        return web.json_response({"name": path.name, "subfolder": subfolder, "type": kind})

    async def upload_mask(self, request: web.Request) -> web.Response:
        """Keep the picture that original_ref names, with the alpha of the uploaded mask."""
        post = await request.post()
        image = post.get("image")
        if not isinstance(image, web.FileField) or not image.filename:
            return web.Response(status=400)
        original = json.loads(str(post["original_ref"]))  # ComfyUI answers 500 without it
        source_folder = self._folders.by_type(original.get("type", "output"))
        source = source_folder / original.get("subfolder", "") / original["filename"] if source_folder else None
        folder, kind = self._upload_folder(post.get("type"))
        subfolder = str(post.get("subfolder", ""))
        path = folder / os.path.normpath(subfolder) / image.filename
        if not contains(folder, path) or not source or not source_folder or not contains(source_folder, source):
            return web.Response(status=400)
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            with Image.open(source) as picture, Image.open(image.file) as mask:
                painted = picture.convert("RGBA")
                painted.putalpha(mask.convert("RGBA").getchannel("A").resize(painted.size))
                painted.save(path, compress_level=4)
        return web.json_response({"name": path.name, "subfolder": subfolder, "type": kind})

    def _upload_folder(self, kind: object) -> tuple[Path, str]:
        """Give the folder for an upload; TypeError (a 500, as in ComfyUI) for a type that does not exist."""
        folder = self._folders.by_type(str(kind or "input"))
        if folder is None:
            raise TypeError(f"no folder of type {kind}")
        return folder, str(kind or "input")


def _free_name(path: Path, content: bytes) -> Path:
    """Give *path*, or `name (n).ext` when it is taken by another content."""
    wanted = hashlib.sha256(content).digest()
    candidate, number = path, 0
    while candidate.exists() and hashlib.sha256(candidate.read_bytes()).digest() != wanted:
        number += 1
        candidate = path.with_name(f"{path.stem} ({number}){path.suffix}")
    return candidate


def _preview(path: Path, wish: str, channel: str) -> web.Response:
    """Re-encode as `webp;90` or `jpeg;80` says."""
    words = wish.split(";")
    kind = words[0] if words[0] in ("webp", "jpeg") and "a" not in channel else "webp"
    quality = int(words[-1]) if words[-1].isdigit() else 90
    with Image.open(path) as picture:
        shown = picture.convert("RGB") if kind == "jpeg" or channel == "rgb" else picture
        buffer = io.BytesIO()
        shown.save(buffer, format=kind, quality=quality)
    return _encoded(buffer, f"image/{kind}", path.name)


def _channel(path: Path, channel: str) -> web.Response:
    """Send a PNG of the colours without alpha, or of the alpha alone."""
    with Image.open(path) as picture:
        buffer = io.BytesIO()
        if channel == "rgb":
            picture.convert("RGB").save(buffer, format="PNG")
        else:
            alpha = Image.new("RGBA", picture.size)
            alpha.putalpha(picture.convert("RGBA").getchannel("A"))
            alpha.save(buffer, format="PNG")
    return _encoded(buffer, "image/png", path.name)


def _encoded(buffer: io.BytesIO, kind: str, name: str) -> web.Response:
    return web.Response(
        body=buffer.getvalue(), content_type=kind, headers={"Content-Disposition": f'filename="{name}"'}
    )
