"""
Build the worker's release: one zip with all that a machine of workers.yaml runs, and the settings of its stage.

The same files give the same bytes, so the zip's hash names it, and a machine can tell that it has what was deployed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from infra.archive import add_files

PARTS: Final = ("chalicelib/__init__.py", "chalicelib/guarded_http.py", "chalicelib/contract", "chalicelib/ledger")
"""What the worker needs of the Lambdas' code; worker/Dockerfile copies the same."""
_UNITS: Final = ("comfysheet-worker.service", "comfysheet-leave.service")
_OURS: Final = tuple(f"infra/ec2/{name}" for name in ("userdata.sh", "fence.sh", "leave.sh", "comfy-python", *_UNITS))


def files(root: Path) -> dict[str, Path]:
    """List what is packed: name in the zip -> file."""
    found = dict(_walk(root, [*PARTS, "worker"]))
    found["worker/requirements.txt"] = root / "worker/requirements.txt"
    return found | {name: root / name for name in _OURS}


def settings(root: Path, environment: Mapping[str, str], region: str) -> str:
    """Give the lines of the settings file: those of *environment* that a worker reads, and the region."""
    read = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (root / "worker/.env.example").read_text(), re.MULTILINE))
    known = {name: value for name, value in environment.items() if name in read} | {"AWS_REGION": region}
    return "".join(f"{name}={known[name]}\n" for name in sorted(known))


def build(root: Path, out: Path, settings: str) -> Path:
    """Write the release into the folder *out*; return the zip."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "worker.env").write_text(settings)
    target = out / "worker-release.zip"
    with zipfile.ZipFile(target, "w") as made:
        add_files(made, {**files(root), "worker.env": out / "worker.env"})
    return target


def _walk(root: Path, parts: list[str]) -> Iterator[tuple[str, Path]]:
    for part in parts:
        path = root / part
        for each in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield each.relative_to(root).as_posix(), each
