"""
S9, the other way: whatever ComfyUI says it has made, nothing outside its folders is read, and nothing of a neighbour's.

The ComfyUI here is worse than any real one: it hands out whatever path it is asked for, absolute and annotated too.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from chalicelib.contract.errors import Rejected, Unavailable
from tests.security.figures import Note, of_size
from tests.security.hostile import lines_of
from worker.comfy.client import ComfyClient
from worker.comfy.folders import sweep
from worker.comfy.outputs import files_of, strays_of

CANARY = b"canary of somebody else"
PATHS = lines_of("paths.txt")


@contextmanager
def naive_comfy(root: Path) -> Iterator[str]:
    """Serve /view from *root* without any check."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            name, folder = asked.get("filename", ""), asked.get("type", "output")
            for kind in ("input", "output", "temp"):
                if name.endswith(f"[{kind}]"):
                    name, folder = name[: -len(kind) - 2].rstrip(), kind
            path = str(root / folder / asked.get("subfolder", "") / name).replace("\\", "/")
            try:
                content = Path(path).read_bytes()
            except (OSError, ValueError):
                self.send_response(404)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def reports() -> Iterator[dict[str, Any]]:
    """Give what a node might report: each path as a name, a subfolder, both, in each shape, of each type."""
    for path in [
        *PATHS,
        "secret.txt",
        "../secret.txt",
        "../input/secret.txt",
        "../../secret.txt",
        "secret.txt [input]",
    ]:
        for entry in (
            {"filename": path},
            {"filename": "secret.txt", "subfolder": path},
            {"filename": path, "subfolder": path},
            {"filename": f"a/{path}"},
            {"filename": f"{path}/secret.txt"},
            {"filename": "secret.txt", "subfolder": f"a/{path}"},
        ):
            for kind in ("output", "temp", "input", "../", "", None, "output/../input"):
                yield {"images": [{**entry, "type": kind}]}
        yield {"result": [path, f"{path}.glb", f"../{path}.obj"]}
        yield {"gifs": {"filename": path, "fullpath": path}}


def test_nothing_outside_comfyuis_folders_is_read(tmp_path: Path, note: Note) -> None:
    """The canaries lie above the folders, beside them, in the input folder, and where a link leads to."""
    root = tmp_path / "comfy"
    for folder in ("input", "output/a", "temp"):
        (root / folder).mkdir(parents=True)
    for place in (tmp_path, root, root / "input"):
        (place / "secret.txt").write_bytes(CANARY)
    (root / "output" / "own.png").write_bytes(b"own")
    read, tried = [], 0
    with naive_comfy(root) as url:
        comfy = ComfyClient(url)
        for report in list(reports())[:: of_size(3, 1)]:
            tried += 1
            for file in files_of({"1": report}):
                into = BytesIO()
                try:
                    comfy.fetch(file, 10_000, into)
                except (Rejected, Unavailable):
                    continue
                if CANARY in into.getvalue() or b"root:" in into.getvalue():
                    read.append((report, file))
    note("S9", "files outside ComfyUI's folders that were read", tried, read)
    assert strays_of({"1": {"images": [{"filename": "../x"}]}}) == 1


@pytest.mark.parametrize("way", ["a link in the folder", "the folder is a link"])
def test_cleaning_up_follows_no_link(tmp_path: Path, way: str, note: Note) -> None:
    """A node may leave a link where the job's folder is: what it leads to is nobody's to remove."""
    home, root = tmp_path / "home", tmp_path / "comfy" / "output"
    home.mkdir()
    (home / "keep.txt").write_bytes(CANARY)
    job = "cs/01234567-89ab-5def-8123-456789abcdef/1"
    if way == "a link in the folder":
        (root / job).mkdir(parents=True)
        (root / job / "x").symlink_to(home)
    else:
        (root / job).parent.mkdir(parents=True)
        (root / job).symlink_to(home)
    sweep([root], job)
    note("S9", f"files removed through a link: {way}", 1, [] if (home / "keep.txt").exists() else ["removed"])
