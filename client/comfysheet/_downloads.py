"""Get an output's file: along its stable link to where it lies, whole, and the very bytes that were made."""

from __future__ import annotations

from typing import Final

import httpx

from comfysheet._api import Api
from comfysheet._files import Received
from comfysheet._plan import Heard, Lost, Plan, Reply, Send, repeat
from comfysheet.errors import ComfySheetError, DownloadFailed, Unreachable
from comfysheet.values import OutputInfo

_HOPS: Final = 5
_LOOKS: Final = 2
"""How often a file is fetched that arrives as another than was made."""
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)


def download(api: Api, output: OutputInfo, into: Received) -> Plan[None]:
    """Fetch *output* into a file; raise `DownloadFailed` or `Unreachable`."""
    if not output.url:
        raise DownloadFailed(f"{output.name} has no link yet: wait until its job has ended.")
    for _ in range(_LOOKS):
        yield from _follow(api, output, into)
        if output.sha256 in (None, into.sha256):
            return
    raise DownloadFailed(f"{output.name} arrived with other content than was made. Try again; nothing was kept.")


def _follow(api: Api, output: OutputInfo, into: Received) -> Plan[None]:
    url = httpx.URL(f"{api.url}/").join(output.url)
    for _ in range(_HOPS):
        heard = yield from _get(api, url, output, into)
        reply: Reply = heard.reply
        if reply.status == 200:
            return
        where = reply.headers.get("location")
        if not (300 <= reply.status < 400 and where):
            raise _refused(api, output, reply)
        url = url.join(where)
    raise DownloadFailed(f"{output.name}: its link leads from address to address without an end.")


def _get(api: Api, url: httpx.URL, output: OutputInfo, into: Received) -> Plan[Heard]:
    headers = {"User-Agent": api.agent}
    if str(url).startswith(f"{api.url}/api/"):
        # The stable link and the bucket's need no key, and nobody else is given ours.
        headers["Authorization"] = f"Bearer {api.key}"

    def give_up(last: Reply | Lost) -> ComfySheetError:
        why = f"HTTP {last.status}" if isinstance(last, Reply) else str(last)
        return Unreachable(f"{output.name} cannot be fetched from {url.host} ({why}). Try again in a while.")

    heard = yield from repeat(
        lambda: Send(httpx.Request("GET", url, headers=headers, extensions={"timeout": _TIMEOUT.as_dict()}), into),
        patience=api.patience,
        around=api.around,
        give_up=give_up,
    )
    return heard


def _refused(api: Api, output: OutputInfo, reply: Reply) -> DownloadFailed:
    if (reply.json() or {}).get("error"):
        return DownloadFailed(f"{output.name}: {api.fault(reply).message}")
    return DownloadFailed(f"{output.name} is not given out (HTTP {reply.status}): files are kept for a limited time.")
