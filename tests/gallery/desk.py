"""Hold an API on fakes, for links: jobs in memory, files in a dictionary."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from PIL import Image

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, JobError, Output, Timings
from chalicelib.contract.states import State
from chalicelib.link_api import LinkApi
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output
from tests.media import animation, sound, video

PROMPT = "a red fox in the snow at dawn, breath in the cold air, shallow depth of field, 35mm film grain"
TOKEN = "v" * 22
UNOWNED = "outputs/client-1/job/"
"""Where files lie until it is known whose they are."""


class Desk:
    """Hold the API and what it reads; *storage* is the address that it lends files at."""

    def __init__(self, storage: str = "https://files.example") -> None:
        self.storage = storage
        self.ledger = MemoryLedger()
        self.kept: dict[str, bytes] = {}
        self.read: list[str] = []
        self.is_down = False
        self.api = LinkApi(ledger=self.ledger, files=self, now_ms=lambda: NOW + 90_000)

    def get(self, key: str) -> bytes | None:
        if self.is_down:
            raise Unavailable("The file store does not answer. Try again in a moment.")
        self.read.append(key)
        return self.kept.get(key)

    def lend(self, key: str, *, lifetime_s: int, content_type: str, disposition: str) -> str:
        asked = {"response-content-type": content_type, "response-content-disposition": disposition}
        return f"{self.storage}/{key}?{urlencode(asked)}"

    def take(self, job: Job) -> Job:
        """Put *job* into the ledger as it is, its files where its attempts write."""
        job = job.model_copy(update={"outputs": tuple(self.own(job, job.outputs))})
        self.ledger.submit(job)
        return job

    def own(self, job: Job, outputs: Sequence[Output]) -> list[Output]:
        """Move files into the folder of *job*."""
        folder = f"outputs/{job.client_id}/{job.job_id}/"
        self.kept |= {key.replace(UNOWNED, folder): content for key, content in self.kept.items()}
        moved = []
        for one in outputs:
            small = one.thumbnail_key and one.thumbnail_key.replace(UNOWNED, folder)
            keys = {"key": one.key.replace(UNOWNED, folder), "thumbnail_key": small}
            moved.append(one.model_copy(update=keys))
        return moved


def ended_job(outputs: Sequence[Output] = (), **fields: Any) -> Job:
    """Make a job that succeeded in its first attempt, with *outputs*."""
    given: dict[str, Any] = {
        "state": State.SUCCEEDED,
        "view_token": TOKEN,
        "link_base": "https://host/stage",
        "workflow_id": "txt2img-sdxl",
        "inputs": {
            "prompt": PROMPT,
            "negative": "blurry, watermark",
            "seed": 2**63 + 11,
            "steps": 30,
            "cfg": 7.5,
            "sampler": "dpmpp_2m",
            "checkpoint": "sdxl/juggernautXL_v9.safetensors",
            "width": 1024,
            "height": 768,
            "upscale": False,
        },
        "outputs": tuple(outputs),
        "attempt": 1,
        "committed_attempt": 1,
        "started_at": NOW + 6_400,
        "finished_at": NOW + 41_250,
        "timings": Timings(execution_ms=32_480, upload_ms=1_190),
    }
    return new_job(**(given | fields))


def failed_job(**fields: Any) -> Job:
    """Make a job that failed in its third attempt."""
    error = JobError(
        code="out_of_memory",
        text="The picture did not fit into the GPU's memory.",
        hint="Make it smaller, or ask for fewer at once.",
        node="3",
        node_class="KSampler",
    )
    given = {"state": State.FAILED, "error": error, "attempt": 3, "committed_attempt": None, "timings": None}
    return ended_job(**(given | fields))


def picture(width_px: int, height_px: int, hue: int) -> bytes:
    """Paint something that tells up from down and left from right."""
    across = Image.linear_gradient("L").rotate(90).resize((width_px, height_px))
    down = Image.linear_gradient("L").resize((width_px, height_px))
    tint = Image.new("L", (width_px, height_px), hue)
    made = io.BytesIO()
    Image.merge("HSV", (tint, across, down)).convert("RGB").save(made, "JPEG", quality=80)
    return made.getvalue()


def kept_output(desk: Desk, name: str, content: bytes, content_type: str, kind: str, **fields: Any) -> Output:
    """Keep a file and describe it."""
    key = f"{UNOWNED}1/{len(desk.kept)}-{name}"
    desk.kept[key] = content
    facts = {"key": key, "filename": name, "content_type": content_type, "kind": kind, "size_bytes": len(content)}
    return output().model_copy(update={"width_px": None, "height_px": None} | facts | fields)


def all_kinds(desk: Desk) -> list[Output]:
    """Keep one file of each kind and describe them, as a worker does."""

    def thumb(hue: int) -> dict[str, str]:
        key = f"{UNOWNED}1/thumb-{len(desk.kept)}.jpg"
        desk.kept[key] = picture(512, 384, hue)
        return {"thumbnail_key": key, "thumbnail_type": "image/jpeg"}

    size = {"width_px": 1024, "height_px": 768}
    moving = {"width_px": 320, "height_px": 240}
    shot = [picture(1024, 768, hue) for hue in (20, 140, 220)]
    clip = video("webm", "libvpx", size=(320, 240))
    return [
        kept_output(desk, "fox_00001_.jpg", shot[0], "image/jpeg", "image", **size, **thumb(20)),
        kept_output(desk, "fox_00002_.jpg", shot[1], "image/jpeg", "image", **size, **thumb(140)),
        kept_output(
            desk, "a_portrait.jpg", picture(512, 1024, 90), "image/jpeg", "image", width_px=512, height_px=1024
        ),
        kept_output(
            desk, "loop.gif", animation("GIF", size=(320, 240)), "image/gif", "image", is_animated=True, **moving
        ),
        kept_output(desk, "clip.webm", clip, "video/webm", "video", duration_s=1.0, **moving, **thumb(200)),
        kept_output(desk, "wind.flac", sound(), "audio/flac", "audio", duration_s=1.0, **thumb(60)),
        kept_output(desk, "caption.txt", b"A fox.\nIt stands in the snow & looks <at us>.\n", "text/plain", "text"),
        kept_output(desk, "ComfyUI_00007_.latent", b"x" * 66_000, "application/octet-stream", "latent"),
        kept_output(desk, "mesh.glb", b"glTF" * 400_000, "model/gltf-binary", "3d"),
        kept_output(desk, "old.mkv", b"x" * 2_000_000, "video/x-matroska", "video", duration_s=73.2, **thumb(180)),
        kept_output(desk, "deep.exr", b"x" * 5_000_000, "image/x-exr", "image", **size),
    ]
