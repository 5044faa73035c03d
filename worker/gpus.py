"""Find the GPUs of this machine, for one ComfyUI each."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Final

QUERY: Final = ("nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits")


class NoGpus(Exception):
    """Say why the GPUs cannot be listed."""


@dataclass(frozen=True)
class Gpu:
    """Describe one GPU as nvidia-smi does."""

    index: str
    name: str
    memory_mb: int


def choose(asked: str) -> list[str | None]:
    """Say which GPUs to pin a ComfyUI to: "" is one that sees them all, `all` one each, "0,2" these. Raise `NoGpus`."""
    if not asked:
        return [None]
    if asked != "all":
        return list(dict.fromkeys(asked.split(",")))
    return [gpu.index for gpu in list_gpus()]


def list_gpus() -> list[Gpu]:
    """Ask nvidia-smi; raise `NoGpus` when there is none, or it finds nothing."""
    try:
        told = subprocess.run(QUERY, capture_output=True, text=True, timeout=30, check=True).stdout
    except FileNotFoundError:
        raise NoGpus("nvidia-smi is not installed: name the GPUs by number (GPUS=0,1).") from None
    except (subprocess.SubprocessError, OSError) as error:
        raise NoGpus(f"nvidia-smi does not answer ({type(error).__name__}): is the driver loaded?") from error
    gpus = read_list(told)
    if not gpus:
        raise NoGpus("nvidia-smi lists no GPU.")
    return gpus


def read_list(told: str) -> list[Gpu]:
    """Read nvidia-smi's lines: index, name, memory in MiB."""
    gpus = []
    for line in told.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) >= 3 and parts[0].isdigit():
            memory = parts[-1].split()[0] if parts[-1] else "0"
            gpus.append(Gpu(parts[0], ",".join(parts[1:-1]), int(memory) if memory.isdigit() else 0))
    return gpus
