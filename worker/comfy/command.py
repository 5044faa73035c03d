"""
Say how a ComfyUI is started: its command line and the environment that it may see.

It runs custom nodes, which are anybody's code: it listens on loopback alone and sees none of our credentials.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PASSED_ON: Final = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "LD_LIBRARY_PATH",
    "CUDA_*",
    "NVIDIA_*",
    "NCCL_*",
    "HIP_*",
    "HSA_*",
    "ROCM_*",
    "ROCR_*",
    "MIOPEN_*",
    "PYTORCH_*",
    "TORCH_*",
    "TORCHINDUCTOR_*",
    "TRITON_*",
    "OMP_*",
    "MKL_*",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_CACHE",
    "XDG_*",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SYSTEMROOT",
    "COMSPEC",
)
"""What ComfyUI and its libraries need of the environment; nothing else is passed on."""
_SECRET: Final = re.compile(r"(TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY)", re.IGNORECASE)
_WANTED_FLAGS: Final = ("--disable-metadata", "--disable-api-nodes")
"""Files carry no prompts; no node spends money elsewhere. Both are given only if this ComfyUI knows them."""
_OURS: Final = ("--listen", "--port", "--enable-cors-header", "--enable-manager")
"""What is ours to say, or nobody's."""


@dataclass(frozen=True)
class ComfyCommand:
    """Hold what a managed ComfyUI is started with."""

    folder: Path
    """It holds main.py."""
    python: str
    port: int
    arguments: tuple[str, ...] = ()
    """The operator's own."""
    gpu: str | None = None
    """Number of the GPU that it may see; None: all."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def line(self) -> list[str]:
        """Give the command line."""
        wanted = [flag for flag in _WANTED_FLAGS if flag not in self.arguments and _knows(self.folder, flag)]
        listen = ["--listen", "127.0.0.1", "--port", str(self.port)]
        return [self.python, "-u", str(self.folder / "main.py"), *listen, *wanted, *self.arguments]

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """Choose what it may see of *ours*; pin the GPU."""
        chosen = {
            name: value
            for name, value in ours.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in PASSED_ON) and not _SECRET.search(name)
        }
        if self.gpu is not None:
            chosen["CUDA_VISIBLE_DEVICES"] = self.gpu
        return chosen


def python_of(folder: Path, given: str | None) -> str:
    """Find the Python that runs the ComfyUI in *folder*: as told, else its own venv's, else the worker's."""
    if given:
        return given
    for own in ("venv/bin/python", ".venv/bin/python", "../python_embeded/python.exe", "venv/Scripts/python.exe"):
        if (folder / own).exists():
            return str(folder / own)
    return sys.executable


def faults_of(arguments: Sequence[str]) -> list[str]:
    """Say what must not be among the operator's arguments, also cut short: argparse takes `--lis` for `--listen`."""
    faults = []
    for place, each in enumerate(arguments):
        name, _, value = each.partition("=")
        name = next((full for full in _OURS if len(name) > 2 and full.startswith(name)), name)
        if name == "--port":
            faults.append("COMFY_ARGS must not set --port: COMFY_PORT does.")
        if name == "--listen":
            given = value or next(iter(arguments[place + 1 : place + 2]), "")
            if given not in ("127.0.0.1", "localhost", "::1"):
                faults.append("COMFY_ARGS must not open ComfyUI to the network (--listen): whoever reaches it owns it.")
        if name == "--enable-cors-header":
            faults.append("COMFY_ARGS must not set --enable-cors-header: any web page could then drive this ComfyUI.")
        if name == "--enable-manager":
            faults.append("COMFY_ARGS must not set --enable-manager: it installs code from the network.")
    return faults


def _knows(folder: Path, flag: str) -> bool:
    """Look whether this ComfyUI's parser has *flag*: starting it only to ask takes seconds."""
    for source in (folder / "comfy" / "cli_args.py", folder / "main.py"):
        if source.is_file() and flag in source.read_text(errors="replace"):
            return True
    return False
