"""Get the record of a job's run: from the API itself, or from where it leads to when the record is large."""

from __future__ import annotations

import httpx

from comfysheet._api import Api, job_path
from comfysheet._plan import Plan, Reply, Send, repeat


def record(api: Api, job_id: str) -> Plan[str]:
    """Give the record as JSON lines; raise `NotFound` before there is one."""
    reply = yield from _hear(api, api.request("GET", f"{job_path(job_id)}/log"))
    where = reply.headers.get("location")
    if reply.status == 302 and where:
        # The bucket's address is signed: our key is nothing to it.
        reply = yield from _hear(api, httpx.Request("GET", httpx.URL(f"{api.url}/").join(where)))
    if reply.status != 200:
        raise api.fault(reply)
    return reply.body.decode("utf-8", "replace")


def _hear(api: Api, request: httpx.Request) -> Plan[Reply]:
    heard = yield from repeat(lambda: Send(request), patience=api.patience, around=api.around, give_up=api.give_up)
    return heard.reply
