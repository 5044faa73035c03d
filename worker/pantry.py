"""
Bring a job's input files to ComfyUI: from an address, from the bucket, or out of the job itself.

What counts is what a file is by its bytes: a picture must open as one, a sound or film must be one. Each goes into a
folder of the attempt's own under a name of ours; a name that somebody else chose never reaches the server.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, Final, Protocol

from PIL import Image

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.graph import media_of, put_media
from chalicelib.contract.job import Job
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.media import Source
from chalicelib.contract.parameter import Parameter
from worker.fetch import Fetched
from worker.larder import Known, Larder
from worker.ports import Blobs, Comfy
from worker.sniff import Sniffed, sniff

AT_ONCE: Final = 4
MAX_PIXELS: Final = 64_000_000
"""8000 × 8000: ComfyUI decodes it to 12 bytes a pixel."""
PAGES_MOST: Final = 1_000
_PICTURES: Final = frozenset({"png", "jpg", "webp", "gif", "bmp", "tiff", "avif"})


class Fetcher(Protocol):
    """Get a file from an address (`worker.fetch.HttpsFetcher`)."""

    def get(self, url: str, into: BinaryIO, *, etag: str = "", modified: str = "") -> Fetched:
        """Copy the file to *into*, unless it is still the one of *etag* or *modified*."""


@dataclass(frozen=True)
class Media:
    """Hold what was brought: for each parameter what ComfyUI calls its file, and facts for the run record."""

    named: Sequence[tuple[Parameter, str]]
    facts: Sequence[Mapping[str, object]]

    def put_into(self, graph: dict[str, Any]) -> dict[str, Any]:
        """Name the files in a copy of *graph*."""
        for parameter, name in self.named:
            graph = put_media(graph, parameter, name)
        return graph


class Pantry:
    """Fetch, check and upload input files. All hands share one."""

    def __init__(self, fetcher: Fetcher, larder: Larder, limit_bytes: int) -> None:
        self._fetcher = fetcher
        self._larder = larder
        self._limit_bytes = limit_bytes

    def bring(self, blobs: Blobs, comfy: Comfy, workflow: Workflow, job: Job, folder: str) -> Media:
        """
        Bring all input files of *job*, several at once, into ComfyUI's *folder* ("cs/<job>/<attempt>").

        Raise `Rejected` with a sentence that names the input, or `Unavailable`.
        """
        wanted = media_of(workflow, job.inputs)
        if not wanted:
            return Media((), ())
        with ThreadPoolExecutor(min(AT_ONCE, len(wanted)), thread_name_prefix="pantry") as pool:
            brought = list(pool.map(lambda each: self._bring(blobs, comfy, job, folder, *each), wanted))
        return Media([(parameter, name) for parameter, name, _ in brought], [facts for _, _, facts in brought])

    def _bring(
        self, blobs: Blobs, comfy: Comfy, job: Job, folder: str, parameter: Parameter, source: Source
    ) -> tuple[Parameter, str, Mapping[str, object]]:
        try:
            with self._file(blobs, job, source) as (file, sha256):
                sniffed = self._check(parameter, file)
                size_bytes = file.seek(0, 2)
                name = comfy.upload(f"{parameter.name}.{sniffed.extension}", file, folder)
        except Rejected as refused:
            raise Rejected(refused.code, f"{parameter.title}: {refused.message}") from refused
        facts = {
            "parameter": parameter.name,
            "name": name,
            "sha256": sha256,
            "size_bytes": size_bytes,
            "content_type": sniffed.content_type,
            "from": source.kind,
            "host": source.host,
        }
        return parameter, name, facts

    def _file(self, blobs: Blobs, job: Job, source: Source) -> _Opened:
        if source.kind == "data":
            content = base64.b64decode(source.place)
            return _Opened(BytesIO(content), self._larder.put(lambda into: _write(into, content)))
        sha256 = self._asset(blobs, job, source.place) if source.kind == "asset" else self._fetched(source.place)
        file = self._larder.open(sha256)
        if file is None:
            raise Unavailable("An input file was lost from this worker's disk.", retry_in_s=1)
        return _Opened(file, sha256)

    def _asset(self, blobs: Blobs, job: Job, sha256: str) -> str:
        """Read an asset of this very client: that it is on the disk may be somebody else's doing."""
        key = f"inputs/{job.client_id}/{sha256}"
        found = False

        def fill(into: BinaryIO) -> None:
            nonlocal found
            found = blobs.get_into(key, into, self._limit_bytes)

        kept = self._larder.put(fill)
        if not found:
            raise Rejected("no_asset", "there is no such asset. Upload it again.")
        if kept != sha256:
            raise Rejected("bad_input", "the asset is damaged. Upload it again.")
        return kept

    def _fetched(self, url: str) -> str:
        known = self._larder.known(url)
        told = Fetched()

        def fill(into: BinaryIO) -> None:
            nonlocal told
            told = self._fetcher.get(
                url, into, etag=known.etag if known else "", modified=known.modified if known else ""
            )

        sha256 = self._larder.put(fill)
        if told.is_same and known is not None:
            return known.sha256
        if told.etag or told.modified:
            self._larder.note(url, Known(sha256, told.etag, told.modified))
        return sha256

    def _check(self, parameter: Parameter, file: BinaryIO) -> Sniffed:
        """Say what the file is; refuse what its parameter cannot take."""
        file.seek(0)
        sniffed = sniff(file)
        if parameter.type in ("image", "mask"):
            if sniffed.kind != "image" or sniffed.extension not in _PICTURES:
                raise Rejected("bad_input", "the file is no picture that ComfyUI reads (PNG, JPEG, WebP, GIF).")
            self._check_picture(sniffed, file)
        elif sniffed.kind != parameter.type:
            what = "a sound" if parameter.type == "audio" else "a film"
            raise Rejected("bad_input", f"the file is not {what}.")
        return sniffed

    def _check_picture(self, sniffed: Sniffed, file: BinaryIO) -> None:
        if sniffed.width_px is None or sniffed.height_px is None:
            raise Rejected("bad_input", "the picture is damaged, or made of too many parts.")
        file.seek(0)
        try:
            with Image.open(file) as image:
                # ComfyUI's LoadImage decodes every frame and page into one batch (nodes.py, 0.28).
                pages = sniffed.frames or _pages(image)
                if pages * sniffed.width_px * sniffed.height_px > MAX_PIXELS:
                    size = f"{sniffed.width_px} × {sniffed.height_px}" + (f" × {pages}" if pages > 1 else "")
                    most = f"{MAX_PIXELS // 1_000_000} million"
                    raise Rejected("too_large", f"the picture has {size} pixels; {most} are allowed.")
                image.load()
        except Rejected:
            raise
        except Exception:
            # A decoder may raise anything on bytes that were made to hurt it.
            raise Rejected("bad_input", "the picture is damaged.") from None


def _pages(image: Image.Image) -> int:
    """Count the pages of a TIFF, up to one more than are taken; a chain of them may be made to have no end."""
    count = 1
    if image.format == "TIFF":
        with contextlib.suppress(EOFError):
            while count * image.width * image.height <= MAX_PIXELS and count <= PAGES_MOST:
                image.seek(count)
                count += 1
        image.seek(0)
    return MAX_PIXELS if count > PAGES_MOST else count


class _Opened:
    """Hold an open file and its hash, for a `with`."""

    def __init__(self, file: BinaryIO, sha256: str) -> None:
        self._file = file
        self._sha256 = sha256

    def __enter__(self) -> tuple[BinaryIO, str]:
        return self._file, self._sha256

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _write(into: BinaryIO, content: bytes) -> None:
    into.write(content)
