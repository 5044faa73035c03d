"""
Be the doorway of the Lambdas: routes, the completions queue and the sweeper's minute. One call each; no rules here.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from chalice import Chalice, Rate, Response
from chalice.app import CloudWatchEvent, SQSEvent

from chalicelib.api_parts import Answer, Call, guarded
from chalicelib.hints import work_through
from chalicelib.wiring import world

app = Chalice(app_name="comfysheet")


def _call() -> Call:
    request = app.current_request
    return Call(
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.raw_body,
        link_base=world.settings.public_url or _own_address(request.context),
    )


def _own_address(context: dict[str, str]) -> str:
    """Say where this API is reached, as API Gateway tells it: the stage is part of its own domain's paths."""
    stage = f"/{context.get('stage', '')}"
    in_path = context.get("path", "").startswith(f"{stage}/")
    return f"https://{context.get('domainName', '')}{stage if in_path else ''}"


def _answer(make: Callable[[], Answer]) -> Response:
    answer = guarded(make)
    if isinstance(answer.body, bytes):
        # Chalice 1.34 refuses to send a picture to a client that does not ask for its very type (image/jpeg); Sheets'
        # fetcher asks for what it likes. API Gateway itself is told to pass every type (infra/template.py).
        app.current_request.headers = {"accept": "*/*"}
    return Response(body=answer.body, status_code=answer.status, headers=dict(answer.headers))


def _query(name: str) -> str:
    return str((app.current_request.query_params or {}).get(name, ""))


@app.route("/health", methods=["GET"])
def health() -> Response:
    """Say that the app answers."""
    return _answer(world.api.health)


@app.route("/v1/sheets/jobs", methods=["POST"])
def submit_rows() -> Response:
    """Accept rows of a sheet."""
    return _answer(lambda: world.sheet_api.submit_rows(_call()))


@app.route("/v1/sheets/workflows", methods=["GET"])
def sheet_workflows() -> Response:
    """List what a row may ask for."""
    return _answer(lambda: world.sheet_api.workflows(_call()))


@app.route("/v1/sheets/connect", methods=["POST"])
def connect_sheet() -> Response:
    """Connect a spreadsheet by a code."""
    return _answer(lambda: world.sheet_api.connect(_call()))


@app.route("/v1/sheets/connection", methods=["POST"])
def sheet_connection() -> Response:
    """Say how a spreadsheet is connected."""
    return _answer(lambda: world.sheet_api.connection(_call()))


@app.route("/v1/sheets/progress", methods=["POST"])
def rows_progress() -> Response:
    """Say how far rows are."""
    return _answer(lambda: world.sheet_api.progress(_call()))


@app.route("/v1/sheets/cancel", methods=["POST"])
def cancel_rows() -> Response:
    """Cancel rows."""
    return _answer(lambda: world.sheet_api.cancel(_call()))


@app.route("/v1/sheets/fetch", methods=["POST"])
def fetch_rows() -> Response:
    """Have results written once more."""
    return _answer(lambda: world.sheet_api.fetch(_call()))


@app.route("/v1/sheets/auto", methods=["POST"])
def switch_auto() -> Response:
    """Switch auto mode."""
    return _answer(lambda: world.sheet_api.auto(_call()))


@app.route("/v1/sheets/claims", methods=["POST"])
def claim_rows() -> Response:
    """Be the only one who starts rows."""
    return _answer(lambda: world.sheet_api.claims(_call()))


@app.route("/v1/sheets/errands", methods=["POST"])
def send_errand() -> Response:
    """Ask for what only our service account can do."""
    return _answer(lambda: world.sheet_api.errands(_call()))


@app.route("/v1/sheets/errands/look", methods=["POST"])
def look_at_errand() -> Response:
    """Say what became of an errand."""
    return _answer(lambda: world.sheet_api.look_at_errand(_call()))


@app.route("/api/v2/jobs", methods=["POST"])
def create_job() -> Response:
    """Accept a program's job."""
    return _answer(lambda: world.api.create_job(_call()))


@app.route("/api/v2/jobs/{job_id}", methods=["GET"])
def get_job(job_id: str) -> Response:
    """Show a program's job."""
    return _answer(lambda: world.api.get_job(_call(), job_id))


@app.route("/api/v2/jobs/{job_id}/cancel", methods=["POST"], content_types=["application/json", "*/*"])
def cancel_job(job_id: str) -> Response:
    """Cancel a program's job."""
    return _answer(lambda: world.api.cancel_job(_call(), job_id))


@app.route("/api/v2/jobs/{job_id}/log", methods=["GET"])
def job_log(job_id: str) -> Response:
    """Give a job's run record."""
    return _answer(lambda: world.api.job_log(_call(), job_id, _query("attempt")))


# Chalice 1.34 refuses a route with a slash at its end; its local server takes the slash off, as API Gateway does.
@app.route("/o/{job_id}", methods=["GET"])
def gallery(job_id: str) -> Response:
    """Show a job's results."""
    return _answer(lambda: world.api.gallery(job_id, _query("t")))


@app.route("/o/{job_id}/record", methods=["GET"])
def record(job_id: str) -> Response:
    """Give a job's run record to read."""
    return _answer(lambda: world.api.record(job_id, _query("t"), _query("attempt")))


@app.route("/o/{job_id}/{index}", methods=["GET"])
def output(job_id: str, index: str) -> Response:
    """Lead a stable link to its file."""
    return _answer(lambda: world.api.output(job_id, index, _query("t"), download=_query("download") == "1"))


@app.route("/o/{job_id}/{index}/thumb", methods=["GET"])
def thumbnail(job_id: str, index: str) -> Response:
    """Give a thumbnail's bytes."""
    return _answer(lambda: world.api.thumbnail(job_id, index, _query("t")))


@app.on_sqs_message(queue=os.environ.get("COMPLETIONS_QUEUE_NAME", "comfysheet-completions.fifo"), batch_size=10)
def on_completion(event: SQSEvent) -> None:
    """Bring rows up to date."""
    work_through(event.to_dict()["Records"], world.complete, world.errands, world.completions)


@app.schedule(Rate(1, unit=Rate.MINUTES))
def on_sweep(_event: CloudWatchEvent) -> None:
    """Close the gaps."""
    world.sweep.sweep()
