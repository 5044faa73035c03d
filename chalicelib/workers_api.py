"""Answer programs about the workers and the queue."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from chalicelib.api_parts import Answer, Call, parse_query
from chalicelib.farm import Farm


class WorkersQuery(BaseModel):
    """Say whether the names of the model files are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: bool = False


@dataclass(frozen=True)
class WorkersApi:
    """Answer /api/v2/workers and /api/v2/queue."""

    farm: Farm

    def workers(self, call: Call) -> Answer:
        """GET /api/v2/workers: those that were heard within the last hour; `models=1` names their files."""
        asked, key = parse_query(WorkersQuery, call.query), call.caller
        view = self.farm.workers(key.client_id, is_admin="admin" in key.scopes, with_models=asked.models)
        return Answer(200, view.model_dump(mode="json"))

    def queue(self, call: Call) -> Answer:
        """GET /api/v2/queue."""
        return Answer(200, self.farm.standing(call.caller.client_id).model_dump(mode="json"))
