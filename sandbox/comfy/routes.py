"""Be ComfyUI's HTTP routes around prompts: /prompt, /queue, /interrupt, /history, /api/jobs, /object_info ..."""

from __future__ import annotations

import ipaddress
import os
import platform
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.comfy.catalogue import Catalogue
from sandbox.comfy.folders import Folders
from sandbox.comfy.jobs import STATUSES, all_jobs, finished_job, queued_job
from sandbox.comfy.prompt_queue import SECRETS, Free, Order, PromptQueue
from sandbox.comfy.sockets import SERVER_FEATURES
from sandbox.comfy.validate import validate
from sandbox.comfy.values import Json

VERSION = "0.28.0"
DEVICE_NAME = "ComfySheet stand-in (no GPU)"

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def refuse_foreign_origins(request: web.Request, handler: Next) -> web.StreamResponse:
    """Answer 403 to browsers on other sites, as ComfyUI does while it is bound to the loopback."""
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return web.Response(status=403)
    origin, host = request.headers.get("Origin"), urlsplit("//" + request.headers.get("Host", "").lower())
    if origin and _is_loopback(host.hostname):
        theirs = urlsplit(origin.lower())
        if theirs.netloc and theirs.netloc != (host.hostname if theirs.port is None else host.netloc):
            return web.Response(status=403)
    return await handler(request)


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


async def _json_or_nothing(request: web.Request) -> Json:
    try:
        body: Json = await request.json()
    except ValueError:
        return {}
    return body


class PromptRoutes:
    """Take prompts, show and change the queue and the history. What is malformed rises, and so becomes a 500."""

    def __init__(self, queue: PromptQueue, catalogue: Catalogue, folders: Folders) -> None:
        self._queue = queue
        self._catalogue = catalogue
        self._folders = folders
        self._number = 0

    def routes(self) -> list[web.RouteDef]:
        """List the routes that exist with and without /api."""
        return [
            web.get("/prompt", self.get_prompt),
            web.post("/prompt", self.post_prompt),
            web.get("/queue", self.get_queue),
            web.post("/queue", self.post_queue),
            web.post("/interrupt", self.interrupt),
            web.post("/free", self.free),
            web.get("/history", self.get_history),
            web.get("/history/{prompt_id}", self.get_history_of),
            web.post("/history", self.post_history),
            web.get("/object_info", self.object_info),
            web.get("/object_info/{class_type}", self.object_info),
            web.get("/system_stats", self.system_stats),
            web.get("/features", self.features),
        ]

    def api_routes(self) -> list[web.RouteDef]:
        """List the routes that exist below /api only."""
        return [
            web.get("/api/jobs", self.get_jobs),
            web.get("/api/jobs/{prompt_id}", self.get_job),
            web.post("/api/jobs/{prompt_id}/cancel", self.cancel_job),
        ]

    def queue_info(self) -> Json:
        """Count what is left to do."""
        return {"exec_info": {"queue_remaining": self._queue.remaining()}}

    async def get_prompt(self, _: web.Request) -> web.Response:
        """Answer the cheapest queue check."""
        return web.json_response(self.queue_info())

    async def post_prompt(self, request: web.Request) -> web.Response:
        """Judge a prompt and queue it; a refused one uses up a number as well."""
        body: Json = await request.json()
        number = self._next_number(body)
        if "prompt" not in body:
            return _refused(
                {
                    "type": "no_prompt",
                    "message": "No prompt provided",
                    "details": "No prompt provided",
                    "extra_info": {},
                }
            )
        prompt_id = body.get("prompt_id")
        if prompt_id is None:
            prompt_id = str(uuid.uuid4())
        elif not _is_canonical_uuid(prompt_id):
            return _refused(
                {
                    "type": "invalid_prompt_id",
                    "message": "prompt_id must be a valid UUID",
                    "details": (
                        "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
                        "omit it to let the server generate one"
                    ),
                    "extra_info": {},
                }
            )
        verdict = validate(body["prompt"], self._catalogue, self._folders, body.get("partial_execution_targets"))
        if verdict.error:
            return _refused(verdict.error, verdict.node_errors)
        extra_data: Json = dict(body.get("extra_data", {}))
        secrets = {key: extra_data.pop(key) for key in SECRETS if key in extra_data}
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        extra_data["create_time"] = int(time.time() * 1000)
        self._queue.put(Order(number, prompt_id, body["prompt"], extra_data, verdict.outputs, secrets))
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})

    def _next_number(self, body: Json) -> float:
        if "number" in body:
            return float(body["number"])
        number = -self._number if body.get("front") else self._number
        self._number += 1
        return number

    async def get_queue(self, _: web.Request) -> web.Response:
        """Show running and waiting prompts, whole."""
        running, waiting = self._queue.shown()
        return web.json_response(
            {"queue_running": [o.shown() for o in running], "queue_pending": [o.shown() for o in waiting]}
        )

    async def post_queue(self, request: web.Request) -> web.Response:
        """Delete waiting prompts: {"clear": true} or {"delete": [ids]}."""
        body: Json = await request.json()
        if body.get("clear"):
            self._queue.clear()
        for prompt_id in body.get("delete", []):
            self._queue.delete(prompt_id)
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        """Stop what runs; with a prompt_id only if that is what runs."""
        self._queue.interrupt((await _json_or_nothing(request)).get("prompt_id"))
        return web.Response()

    async def free(self, request: web.Request) -> web.Response:
        """Drop models (none here) and, with free_memory, the node cache, once the executor is idle."""
        body = await _json_or_nothing(request)
        if body.get("unload_models") or body.get("free_memory"):
            self._queue.free(Free(node_cache=bool(body.get("free_memory"))))
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        """Show finished prompts, oldest first."""
        query = request.rel_url.query
        max_items = int(query["max_items"]) if "max_items" in query else None
        return web.json_response(self._queue.history(max_items, int(query.get("offset", -1))))

    async def get_history_of(self, request: web.Request) -> web.Response:
        """Show one finished prompt; `{}` for every other id."""
        prompt_id = request.match_info["prompt_id"]
        entry = self._queue.history_of(prompt_id)
        return web.json_response({prompt_id: entry} if entry else {})

    async def post_history(self, request: web.Request) -> web.Response:
        """Forget: {"clear": true} or {"delete": [ids]}."""
        body: Json = await request.json()
        if body.get("clear"):
            self._queue.forget()
        for prompt_id in body.get("delete", []):
            self._queue.forget(prompt_id)
        return web.Response()

    async def get_jobs(self, request: web.Request) -> web.Response:
        """List jobs: ?status=a,b&workflow_id=&sort_order=&limit=&offset=."""
        query = request.rel_url.query
        statuses = [s for s in query.get("status", "").split(",") if s] or list(STATUSES)
        wrong = [s for s in statuses if s not in STATUSES]
        if wrong:
            return web.json_response(
                {"error": f"Invalid status value(s): {', '.join(wrong)}. Valid values: {', '.join(STATUSES)}"},
                status=400,
            )
        jobs = all_jobs(*self._queue.shown(), self._queue.history(), statuses)
        if query.get("workflow_id"):
            jobs = [j for j in jobs if j.get("workflow_id") == query["workflow_id"]]
        if query.get("sort_order") == "asc":
            jobs.reverse()
        offset, limit = int(query.get("offset", 0)), int(query["limit"]) if "limit" in query else None
        page = jobs[offset:] if limit is None else jobs[offset : offset + limit]
        return web.json_response(
            {
                "jobs": page,
                "pagination": {
                    "offset": offset,
                    "limit": limit,
                    "total": len(jobs),
                    "has_more": offset + len(page) < len(jobs),
                },
            }
        )

    async def get_job(self, request: web.Request) -> web.Response:
        """Show one job, whole when it is over."""
        prompt_id = request.match_info["prompt_id"]
        entry = self._queue.history_of(prompt_id)
        if entry:
            return web.json_response(finished_job(prompt_id, entry, whole=True))
        running, waiting = self._queue.shown()
        for status, orders in (("in_progress", running), ("pending", waiting)):
            for order in orders:
                if order.prompt_id == prompt_id:
                    return web.json_response(queued_job(order, status))
        return web.json_response({"error": "Job not found"}, status=404)

    async def cancel_job(self, request: web.Request) -> web.Response:
        """Cancel a waiting or running job."""
        return web.json_response({"cancelled": self._queue.cancel(request.match_info["prompt_id"])})

    async def object_info(self, request: web.Request) -> web.Response:
        """Show node classes."""
        return web.json_response(self._catalogue.object_info(request.match_info.get("class_type")))

    async def features(self, _: web.Request) -> web.Response:
        """Show what this server can do."""
        return web.json_response(SERVER_FEATURES)

    async def system_stats(self, _: web.Request) -> web.Response:
        """Say what renders here: the stand-in, by name."""
        page = os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * page
        free = os.sysconf("SC_AVPHYS_PAGES") * page if "SC_AVPHYS_PAGES" in os.sysconf_names else total
        return web.json_response(
            {
                "system": {
                    "os": sys.platform,
                    "ram_total": total,
                    "ram_free": free,
                    "comfyui_version": VERSION,
                    "required_frontend_version": "",
                    "installed_templates_version": "",
                    "required_templates_version": "",
                    "comfy_package_versions": [],
                    "python_version": sys.version,
                    "pytorch_version": "none",
                    "embedded_python": False,
                    "deploy_environment": f"stand-in on {platform.node()}",
                    "argv": ["main.py", "--base-directory", str(self._folders.output.parent)],
                },
                "devices": [
                    {
                        "name": DEVICE_NAME,
                        "type": "cpu",
                        "index": None,
                        "vram_total": total,
                        "vram_free": free,
                        "torch_vram_total": total,
                        "torch_vram_free": free,
                    }
                ],
            }
        )


def _refused(error: Json, node_errors: Json | None = None) -> web.Response:
    return web.json_response({"error": error, "node_errors": node_errors or {}}, status=400)


def _is_canonical_uuid(text: object) -> bool:
    try:
        return isinstance(text, str) and str(uuid.UUID(text)) == text
    except ValueError:
        return False
