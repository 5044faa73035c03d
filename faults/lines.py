"""
Lead connections of a farm through fault proxies: a worker's to AWS and to its ComfyUI, a program's to the API, and the
functions' to AWS.

What passes is named after what it is in a job's life (`dynamodb claim`, `s3 put output`), so that a scenario can say
"the answer to the commit is lost".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Final

from faults.farm import Farm
from faults.orders import Request, call_name
from faults.proxy import Proxy
from infra.functions import Function
from sandbox.world import Child

STAGE: Final = "local"

_VERBS: Final = (
    ("claim", b":set_claim_token"),
    ("commit", b":set_committed_attempt"),
    ("fail", b":set_error"),
    ("retry", b":set_last_error"),
    ("release", b":add_budget_left"),
    ("resend", b":add_seq"),
    ("synced", b":set_synced_version"),
    ("heartbeat", b":set_lease_until"),
)
"""What the ledger's updates bind and no other does, the more telling ones first."""
_JOB: Final = re.compile(rb'"Key": ?\{"job_id": ?\{"S": ?"([0-9a-f-]{36})"\}\}')
_ATTEMPT: Final = re.compile(rb'":attempt": ?\{"N": ?"(\d+)"\}')
_PROMPT: Final = re.compile(rb'"prompt_id": ?"([0-9a-f-]{36})"')


def call_of(request: Request) -> str:
    """Name a call by what it means to a job; `faults.orders.call_name` where it means nothing of its own."""
    name = call_name(request)
    if name == "dynamodb.UpdateItem":
        return "dynamodb " + next((verb for verb, mark in _VERBS if mark in request.body), "update")
    if name.startswith("s3."):
        what = "thumbnail" if "-thumb." in request.path else request.path.split("/")[2:3]
        kind = what if isinstance(what, str) else {"outputs": "output", "runs": "record"}.get("".join(what), "file")
        return f"s3 {request.method.lower()} {kind}"
    if re.fullmatch(r"(sqs|dynamodb|events|ssm)\..*", name):
        return name.replace(".", " ")
    # Ids out of the paths of ComfyUI, and the API's own root.
    path = re.sub(r"/[0-9a-f-]{36}\b", "/ID", request.path)
    return f"{request.method} {re.sub(r'^/restapis/.*/_user_request_', '', path)}"


def about_job(request: Request) -> str:
    """Note which job's update it is, and of which attempt (`ID 2`); of a prompt sent to ComfyUI its id."""
    if job := _JOB.search(request.body):
        attempt = _ATTEMPT.search(request.body)
        return f"{job.group(1).decode()} {attempt.group(1).decode() if attempt else ''}".strip()
    if request.method == "POST" and request.path == "/prompt" and (prompt := _PROMPT.search(request.body)):
        return prompt.group(1).decode()
    return ""


class Lines:
    """
    Hold the proxies; a context manager.

    *aws* and *comfy* stand before the cloud (the API too) and ComfyUI (*comfy_url*: another than the farm's).
    """

    def __init__(self, farm: Farm, *, seed: int = 0, comfy_url: str = "") -> None:
        self._farm = farm
        self.aws = Proxy(farm.world.cloud.endpoint_url, seed=seed, name=call_of, about=about_job)
        self.comfy = Proxy(comfy_url or farm.world.comfy_url, seed=seed, name=call_of, about=about_job)
        self._held = ExitStack()

    def __enter__(self) -> Lines:
        self._held.enter_context(self.aws)
        self._held.enter_context(self.comfy)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()
        self._held.close()

    @property
    def api(self) -> str:
        """Give the API's address as it is reached through the proxy."""
        cloud = self._farm.world.cloud
        return cloud.api_url.replace(cloud.endpoint_url, self.aws.url)

    def worker(self, **settings: str) -> Child:
        """Start a worker whose connections all lead through the proxies; it is stopped with them at the latest."""
        worker = self._farm.worker(AWS_ENDPOINT_URL=self.aws.url, COMFY_URL=self.comfy.url, **settings)
        self._held.callback(worker.stop)
        return worker

    def clear(self) -> None:
        """End all faults."""
        self.aws.clear()
        self.comfy.clear()

    def gpu_runs(self) -> int:
        """Count the prompts that ComfyUI has accepted."""
        return sum(each.name == "POST /prompt" and each.status == 200 for each in self.comfy.log)


@contextmanager
def functions_led(farm: Farm, *functions: Function, seed: int = 0) -> Iterator[Proxy]:
    """Lead the AWS calls of *functions* through a proxy: AWS_ENDPOINT_URL among a function's variables counts most."""
    client = farm.world.cloud.session().client("lambda")
    names = [function.name(STAGE) for function in functions]
    before = {name: client.get_function_configuration(FunctionName=name)["Environment"]["Variables"] for name in names}
    with Proxy(farm.world.cloud.endpoint_url, seed=seed, name=call_of, about=about_job) as proxy:
        try:
            for name in names:
                led = {**before[name], "AWS_ENDPOINT_URL": proxy.url}
                client.update_function_configuration(FunctionName=name, Environment={"Variables": led})
            yield proxy
        finally:
            for name in names:
                client.update_function_configuration(FunctionName=name, Environment={"Variables": before[name]})
