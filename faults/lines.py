"""
Lead connections of a farm through fault proxies: a worker's to AWS and to its ComfyUI, a program's to the API, and
(always) the functions' to AWS.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final

from faults.calls import about_job, call_of
from faults.proxy import Proxy
from sandbox.cloud import LocalCloud

if TYPE_CHECKING:
    from faults.farm import Farm
    from sandbox.world import Child

STAGE: Final = "local"
"""What the local cloud's stage is called."""


class LedCloud(LocalCloud):
    """Be the local cloud whose functions reach AWS through a proxy, `functions`; it lives as long as the engine."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: Proxy
        self._held = ExitStack()

    def _engine_environment(self) -> dict[str, str]:
        # MiniStack gives its functions its own environment's endpoint.
        self.functions = self._held.enter_context(Proxy(self.endpoint_url, name=call_of, about=about_job))
        return {**super()._engine_environment(), "AWS_ENDPOINT_URL": self.functions.url}

    def stop(self) -> None:
        super().stop()
        self._held.close()


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
