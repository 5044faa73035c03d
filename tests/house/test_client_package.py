"""What a person gets who installs the client: built and installed from a copy, without a network."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[2] / "client"
ALLOWED = {"httpx", "rich", "comfysheet"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of a copy: setuptools leaves things where it builds."""
    place = tmp_path_factory.mktemp("client")
    shutil.copytree(CLIENT, place / "client", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    build = "from setuptools import build_meta; print(build_meta.build_wheel('..'))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=place / "client", capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    return place / done.stdout.splitlines()[-1]


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every module, py.typed and the metadata; no test, no example."""
    with zipfile.ZipFile(wheel) as zipped:
        names = {name for name in zipped.namelist() if ".dist-info/" not in name}
        [metadata] = [zipped.read(name).decode() for name in zipped.namelist() if name.endswith("/METADATA")]
    ours = {path.relative_to(CLIENT).as_posix() for path in (CLIENT / "comfysheet").rglob("*.py")}
    assert names == ours | {"comfysheet/py.typed"}
    needs = re.findall(r"^Requires-Dist: (\w+)", metadata, re.MULTILINE)
    assert needs == ["httpx", "rich"]


def test_the_installed_command_answers(wheel: Path, tmp_path: Path) -> None:
    """Unpacked anywhere, with httpx and rich beside it, the package imports and knows its version."""
    with zipfile.ZipFile(wheel) as zipped:
        zipped.extractall(tmp_path)
    code = "import sys; from comfysheet.cli import main; sys.exit(main(['--version']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "comfysheet 0.1.0\n"), done.stderr


def test_the_client_imports_what_it_declares() -> None:
    """Beside Python's own modules only httpx, rich and itself."""
    found = set()
    for path in (CLIENT / "comfysheet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").split(".")[0])
    assert found - set(sys.stdlib_module_names) == ALLOWED
