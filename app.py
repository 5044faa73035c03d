"""
Be the doorway of the Lambdas: routes, the two queues, and the sweeper's minute. One call each; no rules here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from chalice import Chalice, Rate, Response
from chalice.app import CloudWatchEvent, SQSEvent

from chalicelib.api_parts import Call, count_answer, guarded
from chalicelib.hints import work_through
from chalicelib.lanes import work_lanes
from chalicelib.logs import ids_of, named_call
from chalicelib.operation import Operation
from chalicelib.operations import OPERATIONS
from chalicelib.wiring import world

# Chalice's own handler writes text; chalicelib/logs.py gives its logger ours.
app = Chalice(app_name="comfysheet", configure_logs=False)


@app.middleware("all")
def watched(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Name the call in its log lines, and write down what it has counted when it is over."""
    with named_call(ids_of(event)):
        try:
            answer = get_response(event)
            if isinstance(answer, Response):
                count_answer(answer.status_code, world.counts)
            return answer
        finally:
            world.tell()


def _serve(operation: Operation) -> None:
    """Register a route of Chalice's for *operation*."""

    def view(**path: str) -> Response:
        call = _call(path)
        answer = guarded(lambda: operation.answer(world, world.gate.admitted(call, operation.scope)))
        if isinstance(answer.body, bytes):
            # Chalice 1.34 refuses to send a picture to a client that does not ask for its very type (image/jpeg);
            # Sheets' fetcher asks for what it likes. API Gateway itself is told to pass every type (infra/template.py).
            app.current_request.headers = {"accept": "*/*"}
        return Response(body=answer.body, status_code=answer.status, headers=dict(answer.headers))

    types = ["application/json", "*/*"]
    app.route(operation.path, methods=[operation.method], name=operation.name, content_types=types)(view)


def _call(path: dict[str, str]) -> Call:
    request = app.current_request
    return Call(
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.raw_body,
        link_base=world.settings.public_url or _own_address(request.context),
        path=path,
        query=dict(request.query_params or {}),
    )


def _own_address(context: dict[str, str]) -> str:
    """Say where this API is reached, as API Gateway tells it: the stage is part of its own domain's paths."""
    stage = f"/{context.get('stage', '')}"
    in_path = context.get("path", "").startswith(f"{stage}/")
    return f"https://{context.get('domainName', '')}{stage if in_path else ''}"


for each in OPERATIONS:
    _serve(each)


# The names are the last part of the functions' own (infra/functions.py).
@app.on_sqs_message(
    queue=os.environ.get("COMPLETIONS_QUEUE_NAME", "comfysheet-completions.fifo"), batch_size=10, name="completion"
)
def on_completion(event: SQSEvent) -> None:
    """Bring rows up to date."""
    work_through(
        event.to_dict()["Records"],
        world.complete,
        world.errands,
        world.completions,
        settle=world.ends.settle,
        counts=world.counts,
    )


@app.on_sqs_message(
    queue=os.environ.get("DELIVERIES_QUEUE_NAME", "comfysheet-deliveries.fifo"), batch_size=1, name="delivery"
)
def on_delivery(event: SQSEvent) -> None:
    """Post to webhooks."""
    work_lanes(event.to_dict()["Records"], world.deliver, world.deliveries, world.counts)


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def on_sweep(_event: CloudWatchEvent) -> None:
    """Close the gaps, and say how things stand."""
    with ExitStack() as rest:  # whatever becomes of the one, the next is done, from the last line up
        rest.callback(world.readings.take)
        rest.callback(world.lane_sweep.sweep)
        world.sweep.sweep()


@app.schedule(Rate(1, unit=Rate.MINUTES), name="scale")
def on_scale(event: CloudWatchEvent) -> None:
    """Rent and return machines, if that is wanted."""
    if world.scale is not None:
        world.scale.take(event.detail_type, event.detail)
