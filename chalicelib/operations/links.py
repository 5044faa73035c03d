"""The routes that a browser follows, and the one that says that the app answers."""

from __future__ import annotations

from typing import Final

from chalicelib.api_parts import Answer, Call
from chalicelib.operation import Operation
from chalicelib.wiring import World


def _token(call: Call) -> str:
    return call.query.get("t", "")


def _output(world: World, call: Call) -> Answer:
    keep = call.query.get("download") == "1"
    return world.link_api.output(call.path["job_id"], call.path["index"], _token(call), download=keep)


# Chalice 1.34 refuses a route with a slash at its end; its local server takes the slash off, as API Gateway does.
LINKS: Final = (
    Operation(
        "GET",
        "/o/{job_id}",
        "gallery",
        "Show a job's results as a page.",
        lambda world, call: world.link_api.gallery(call.path["job_id"], _token(call)),
        tag="Links",
        answers={200: "text/html"},
    ),
    Operation(
        "GET",
        "/o/{job_id}/record",
        "record",
        "Give a job's run record to read.",
        lambda world, call: world.link_api.record(call.path["job_id"], _token(call), call.query.get("attempt", "")),
        tag="Links",
        answers={200: "text/plain", 302: None},
    ),
    Operation(
        "GET",
        "/o/{job_id}/{index}",
        "output",
        "Lead a stable link to its file.",
        _output,
        tag="Links",
        answers={302: None},
    ),
    Operation(
        "GET",
        "/o/{job_id}/{index}/thumb",
        "thumbnail",
        "Give an output's small picture.",
        lambda world, call: world.link_api.thumbnail(call.path["job_id"], call.path["index"], _token(call)),
        tag="Links",
        answers={200: "image/*"},
    ),
    Operation("GET", "/health", "health", "Say that the app answers.", lambda world, _: world.link_api.health()),
)
