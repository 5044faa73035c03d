"""Answer programs about batches: parse strictly, call one use case."""

from __future__ import annotations

from chalicelib.api_parts import Answer, Call, check_size, idempotency_key, parse, parse_query
from chalicelib.batch import BatchRequest
from chalicelib.batch_view import BatchQuery, batch_view, plan_view
from chalicelib.batches import Batches


class BatchesApi:
    """Answer below /api/v2/batches. Each method raises `Rejected` or `Unavailable`."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def create(self, call: Call) -> Answer:
        """POST /api/v2/batches: 201 for a new batch, 200 for a replay (finished if need be) or a dry run."""
        check_size(call.body)
        asked = parse(BatchRequest, call.body)
        if asked.dry_run:
            plan = self._batches.plan(call.caller, asked, call.link_base)
            return Answer(200, plan_view(plan).model_dump(mode="json"))
        batch = self._batches.create(call.caller, idempotency_key(call), asked, call.link_base)
        return Answer(201 if batch.created else 200, batch_view(batch, call.link_base).model_dump(mode="json"))

    def get(self, call: Call) -> Answer:
        """GET /api/v2/batches/{id}: counts, and a page of jobs."""
        asked = parse_query(BatchQuery, call.query)
        batch = self._batches.get(call.caller.client_id, call.path["batch_id"])
        return Answer(200, batch_view(batch, call.link_base, asked).model_dump(mode="json"))

    def cancel(self, call: Call) -> Answer:
        """POST /api/v2/batches/{id}/cancel: repeating it changes nothing."""
        batch = self._batches.cancel(call.caller.client_id, call.path["batch_id"])
        return Answer(200, batch_view(batch, call.link_base).model_dump(mode="json"))
