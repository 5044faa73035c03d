"""Run a workflow once on a ComfyUI that has just started, so that the first job finds its models loaded."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.graph import check_api_format, isolate
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.history import Place

WARM_S: Final = 900.0
LOOK_S: Final = 0.5

log = structlog.get_logger()


def warm_up(url: str, workflow: Path, clock: Clock, closing: threading.Event) -> None:
    """Run the graph in the file *workflow* (API format) at *url* and wait for it; what fails is only logged."""
    comfy, prompt_id, begun = ComfyClient(url), str(uuid4()), clock.monotonic()
    try:
        graph = json.loads(workflow.read_text(encoding="utf-8"))
        check_api_format(graph)
        prompt_id = comfy.submit(isolate(graph, f"cs/{prompt_id}"), prompt_id, None)
        while not closing.is_set() and comfy.where(prompt_id).place in (Place.RUNNING, Place.PENDING):
            if clock.monotonic() - begun > WARM_S:
                comfy.cancel(prompt_id)
                raise Unavailable("The warm-up took too long.")
            clock.wait(closing, LOOK_S)
        comfy.forget(prompt_id)
        log.info("ComfyUI is warm", action="comfyui", url=url, seconds=round(clock.monotonic() - begun, 1))
    except (OSError, ValueError) as error:
        log.warning("the warm-up workflow cannot be read", action="comfyui", url=url, error=type(error).__name__)
    except (Rejected, Unavailable) as error:
        log.warning("the warm-up did not work", action="comfyui", url=url, reason=error.message)
