"""
Build what is deployed: `dist/template.json` (one CloudFormation template) and `dist/deployment.zip` (all functions);
and `dist/resources.json`, the template of a stage whose functions Chalice's own deployer makes.

Chalice packages a clean copy of the app; this module finishes its template (template.py) and joins its zip with the
dependencies: those of requirements.txt, which Chalice fetches, and the Google client with one discovery document of
611. The same input gives the same bytes. Nothing is built when no input has changed, and the dependencies, which take
most of the time, only when requirements.txt has.

The zip holds Linux x86_64 wheels for the running Python's minor version. For functions that will run on this very
machine, and only if that is something else (macOS, arm64), `host_deps` installs this machine's own wheels instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from infra.archive import add_files, copy_entries
from infra.resources_only import resources_only
from infra.template import finish

ROOT: Final = Path(__file__).resolve().parent.parent
LIMIT_BYTES: Final = 45 * 1024 * 1024  # Lambda's own is 50 MB zipped

GOOGLE_CLIENT: Final = "google-api-python-client"
DISCOVERY: Final = "googleapiclient/discovery_cache/documents/"
# A Chalice project with nothing but requirements.
_BARE: Final = {
    "app.py": (
        "import chalice\n\napp = chalice.Chalice(app_name='bare')\n\n\n"
        "@app.lambda_function()\ndef nothing(event, context):\n    return None\n"  # without one Chalice makes no zip
    ),
    "requirements.txt": "",
    ".chalice/config.json": '{"version": "2.0", "app_name": "bare"}',
}


class PackagingFailed(Exception):
    """Say what could not be built, in a sentence and the tool's own words."""


@dataclass(frozen=True)
class Package:
    """Hold what a build made. `digest` is the SHA-256 of the zip; `rebuilt` is False when nothing had changed."""

    folder: Path
    zip_bytes: int
    digest: str
    seconds: float
    rebuilt: bool

    @property
    def template(self) -> Path:
        return self.folder / "template.json"

    @property
    def resources(self) -> Path:
        return self.folder / "resources.json"

    @property
    def code(self) -> Path:
        return self.folder / "deployment.zip"


def wheels_run_here() -> bool:
    """Say whether the deployed wheels (Linux x86_64, glibc) also load on this machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


def build(
    out: Path, *, host_deps: bool = False, root: Path = ROOT, say: Callable[[str], None] = lambda _: None
) -> Package:
    """
    Build the app under *root* into the folder *out*, unless it already holds the build of the same inputs.

    Raises PackagingFailed. *say* gets one line per step.
    """
    work = root / ".build" / ("host" if host_deps else "lambda")
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests and `make demo` may build at the same time
        inputs = inputs_digest(root, host_deps=host_deps)
        return _present(out, inputs) or _build(out, root, work, inputs, host_deps=host_deps, say=say)


def _build(out: Path, root: Path, work: Path, inputs: str, *, host_deps: bool, say: Callable[[str], None]) -> Package:
    began = time.monotonic()
    dependencies = _dependencies(work, root / "requirements.txt", host_deps=host_deps, say=say)
    say("packaging the app")
    (work / "config.json").write_text(app_config(root))
    packaged = _run_chalice(
        work / "app",
        {
            "app.py": root / "app.py",
            "chalicelib": root / "chalicelib",
            **{f".chalice/{path.name}": path for path in (root / ".chalice").glob("policy-*.json")},
            ".chalice/config.json": work / "config.json",
        },
    )
    resources = yaml.safe_load((root / "infra/resources.yaml").read_text())
    template = finish(json.loads((packaged / "sam.json").read_text()), resources)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(dependencies, out / "deployment.zip")
    with zipfile.ZipFile(packaged / "deployment.zip") as ours, zipfile.ZipFile(out / "deployment.zip", "a") as whole:
        copy_entries(ours, whole)
    (out / "template.json").write_text(json.dumps(template, indent=1, sort_keys=True) + "\n")
    alone = resources_only(resources, read_policies(root))
    (out / "resources.json").write_text(json.dumps(alone, indent=1, sort_keys=True) + "\n")
    package = Package(
        folder=out,
        zip_bytes=(out / "deployment.zip").stat().st_size,
        digest=_file_digest(out / "deployment.zip"),
        seconds=time.monotonic() - began,
        rebuilt=True,
    )
    if package.zip_bytes > LIMIT_BYTES:
        raise PackagingFailed(f"deployment.zip is {package.zip_bytes / 1e6:.1f} MB; the limit is 45 MB.")
    stamp = {
        "inputs": inputs,
        "host_deps": host_deps,
        "zip": package.digest,
        "template": _file_digest(package.template),
        "resources": _file_digest(package.resources),
    }
    (out / "built.json").write_text(json.dumps(stamp, indent=1) + "\n")
    return package


def inputs_digest(root: Path, *, host_deps: bool) -> str:
    """Return one hash over everything that decides the result: sources, pins, Python, and this builder itself."""
    digest = hashlib.sha256()
    facts = [str(host_deps), platform.python_version(), importlib.metadata.version("chalice"), _google_client_version()]
    if host_deps:
        facts += [sys.platform, platform.machine()]
    digest.update("\n".join(facts).encode())
    digest.update(app_config(root).encode())
    for path in _sources(root):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def app_config(root: Path) -> str:
    """Return Chalice's settings without those of single stages: a deployment writes them, no template holds them."""
    settings = json.loads((root / ".chalice" / "config.json").read_text())
    return json.dumps({**settings, "stages": {}}, indent=1, sort_keys=True)


def read_policies(root: Path) -> dict[str, Any]:
    """Return the functions' policies as they are written, with intrinsics, by the function's word."""
    found = sorted((root / ".chalice").glob("policy-*.json"))
    return {path.stem.removeprefix("policy-"): json.loads(path.read_text()) for path in found}


def _sources(root: Path) -> Iterator[Path]:
    yield from (root / name for name in ("app.py", "requirements.txt", "infra/resources.yaml"))
    yield from sorted((root / ".chalice").glob("policy-*.json"))
    yield from sorted(path for path in (root / "chalicelib").rglob("*") if _belongs(path))
    yield from (
        root / "infra" / name
        for name in ("package.py", "archive.py", "template.py", "functions.py", "resources_only.py")
    )


def _belongs(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _present(out: Path, inputs: str) -> Package | None:
    """Return the build that *out* already holds, if it is whole and of the same inputs."""
    code, template, alone, stamp = (
        out / name for name in ("deployment.zip", "template.json", "resources.json", "built.json")
    )
    if not all(path.is_file() for path in (code, template, alone, stamp)):
        return None
    built = json.loads(stamp.read_text())
    found = {
        "inputs": inputs,
        "zip": _file_digest(code),
        "template": _file_digest(template),
        "resources": _file_digest(alone),
    }
    if built != {**found, "host_deps": built.get("host_deps")}:
        return None
    return Package(folder=out, zip_bytes=code.stat().st_size, digest=found["zip"], seconds=0.0, rebuilt=False)


def _dependencies(work: Path, requirements: Path, *, host_deps: bool, say: Callable[[str], None]) -> Path:
    """Return a zip of everything that is not ours, made once for the same requirements."""
    recipe = [Path(__file__).with_name(name).read_text() for name in ("package.py", "archive.py")]
    facts = (requirements.read_text(), _google_client_version(), platform.python_version(), recipe)
    made = work / f"dependencies-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.zip"
    if made.exists():
        return made
    say("fetching this machine's dependencies" if host_deps else "fetching the functions' dependencies")
    partial = made.with_suffix(".part")
    with zipfile.ZipFile(partial, "w") as whole:
        if host_deps:
            add_files(whole, _pip_install(requirements, work / "site-packages"))
        else:
            # Chalice knows which wheels load on Lambda (glibc 2.26 for Python 3.11, 2.34 from 3.12 on).
            fetched = _run_chalice(work / "bare", {"requirements.txt": requirements})
            with zipfile.ZipFile(fetched / "deployment.zip") as zipped:
                copy_entries(zipped, whole, leave=("app.py", "chalice", "chalicelib"))
        add_files(whole, _google_client())
    partial.replace(made)
    return made


def _google_client() -> dict[str, Path]:
    """
    Return the files of the installed Google client (pure Python) with only the Sheets API's discovery document.

    The 611 documents are 109 MB of the 114 MB that the package weighs.
    """
    files = importlib.metadata.distribution(GOOGLE_CLIENT).files or ()
    return {
        entry.as_posix(): Path(str(entry.locate()))
        for entry in files
        if not entry.as_posix().startswith("..")
        and (not entry.as_posix().startswith(DISCOVERY) or entry.name in ("__init__.py", "sheets.v4.json"))
    }


def write_vendor(folder: Path) -> None:
    """Put the slim Google client where Chalice takes it from when it packages by itself."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in _google_client().items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def _google_client_version() -> str:
    return importlib.metadata.version(GOOGLE_CLIENT)


def _pip_install(requirements: Path, target: Path) -> dict[str, Path]:
    """Install for this machine into the folder *target*; return its files by their names in the zip."""
    shutil.rmtree(target, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    _run([*pip, "--target", str(target), "-r", str(requirements)], cwd=requirements.parent)
    return {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}


def _run_chalice(project: Path, files: dict[str, Path]) -> Path:
    """Let Chalice package a fresh project of *files*; return the folder with its sam.json and deployment.zip."""
    shutil.rmtree(project, ignore_errors=True)
    (project / ".chalice").mkdir(parents=True)
    for name, content in _BARE.items():
        (project / name).write_text(content)
    for name, source in files.items():
        if source.is_dir():
            shutil.copytree(source, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, project / name)
    # Chalice wants a region, for the names of service principals; the template itself stays free of one.
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}
    for name in ("AWS_PROFILE", "PYTHONPATH"):
        environment.pop(name, None)
    # Chalice asks pip again, by name and version alone, for a wheel that loads on Lambda where this machine's own does
    # not: as constraints the locked hashes hold for that one too. Relative, for pip splits the value at spaces.
    environment["PIP_CONSTRAINT"] = "requirements.txt"
    python = [sys.executable, "-c", "import chalice.cli; raise SystemExit(chalice.cli.main())"]
    output = _run([*python, "package", "--stage", "prod", "out"], cwd=project, environment=environment)
    if "Could not install dependencies" in output:  # said, but no error to Chalice
        raise PackagingFailed(
            f"A dependency has no Linux wheel for Python 3.{sys.version_info.minor}, "
            f"or none with a locked hash:\n{output}"
        )
    if not (project / "out" / "deployment.zip").exists():
        raise PackagingFailed(f"Chalice made no deployment.zip:\n{output}")
    return project / "out"


def _run(command: list[str], *, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """Run *command*; return all it printed. Raises PackagingFailed with that text when it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        raise PackagingFailed(f"`{' '.join(command[1:6])}` failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout + done.stderr


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
