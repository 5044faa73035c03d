"""What is installed anywhere is locked: by version, and by the hashes that its files must have."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from infra.package import ROOT, PackagingFailed
from infra.supply.locks import CLOUD, DEVELOPMENT, LAMBDA, LOCKS, WORKER, normal, read_lock

SOURCES = {lock: lock.replace(".txt", ".in") for lock in LOCKS}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_the_hashes_of_its_files(lock: str) -> None:
    """A file that was exchanged on its way is refused, whichever system's it is."""
    pins = read_lock(lock)
    assert pins
    assert [pin.name for pin in pins if not pin.hashes] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_place(lock: str) -> None:
    """No index, address or option: who installs decides where from."""
    assert not re.search(r"^\s*-(?!-hash=)|://|@", (ROOT / lock).read_text(), re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_what_is_asked_for_is_locked(lock: str) -> None:
    """Each name of the .in file is in its lock."""
    lines = [line.split("#")[0].strip() for line in (ROOT / SOURCES[lock]).read_text().splitlines()]
    asked = {normal(re.split(r"[\[<>=; ]", line)[0]) for line in lines if line and not line.startswith("-")}
    assert asked and asked - {pin.name for pin in read_lock(lock)} == set()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_what_its_source_asks_for(lock: str) -> None:
    """The pins are the .in file's packages with all that these need, in versions that all of them allow; no others."""
    found = installed(lock)
    pins = {pin.name: pin for pin in read_lock(lock) if not pin.marker or found.get(pin.name) == pin.version}
    needed: dict[str, list[Requirement]] = {}
    waiting = list(asked_for(SOURCES[lock]))
    while waiting:
        wanted = waiting.pop()
        name = normal(wanted.name)
        if wanted in needed.setdefault(name, []):
            continue
        needed[name].append(wanted)
        assert name in pins, f"{lock} lacks {wanted}: make lock"
        assert wanted.specifier.contains(pins[name].version, prereleases=True), f"{lock}: {wanted}, {pins[name]}"
        waiting += needs(lock, name, wanted.extras)
    assert {pin.name for pin in pins.values() if not pin.marker} - needed.keys() == set()


def places(lock: str) -> dict[str, list[str]]:
    return {
        "path": [str(path) for path in ROOT.glob(".venv-cloud/lib/python3.*/site-packages")]
        if lock == CLOUD
        else sys.path
    }


def installed(lock: str) -> dict[str, str]:
    """Return what is installed where the lock's packages are: normal name -> version."""
    return {normal(each.metadata["Name"]): each.version for each in importlib.metadata.distributions(**places(lock))}


def asked_for(source: str) -> Iterator[Requirement]:
    for line in (ROOT / source).read_text().splitlines():
        if line.startswith("-r "):
            included = Path(source).parent / line.removeprefix("-r ")
            if included.suffix == ".in":
                yield from asked_for(str(included))
            else:
                yield from (Requirement(f"{pin.name}=={pin.version}") for pin in read_lock(str(included)))
        elif line.split("#")[0].strip():
            yield Requirement(line.split("#")[0].strip())


def needs(lock: str, name: str, extras: set[str]) -> Iterator[Requirement]:
    """Yield what the installed package *name* needs on this machine."""
    for each in importlib.metadata.distributions(name=name, **places(lock)):
        for line in each.requires or ():
            needed = Requirement(line)
            if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                yield needed
        return


def test_parts_that_share_a_package_share_its_version() -> None:
    """The contract that Lambdas and workers speak is checked by one pydantic; what is tested is what is shipped."""
    versions = {lock: {(pin.name, pin.marker): pin for pin in read_lock(lock)} for lock in LOCKS if lock != CLOUD}
    for one, other in itertools.combinations(versions, 2):
        for shared in versions[one].keys() & versions[other].keys():
            assert versions[one][shared] == versions[other][shared], (one, other)
    assert {"pydantic", "requests"} <= {name for name, _ in versions[LAMBDA].keys() & versions[WORKER].keys()}
    assert versions[LAMBDA].keys() | versions[WORKER].keys() <= versions[DEVELOPMENT].keys()


def test_every_install_of_ours_asks_for_hashes() -> None:
    """Makefile, image and set-up script install from locks alone, and say so; npm's lock files carry theirs."""
    not_ours = ("-e ./client", "${TORCH}", "/opt/ComfyUI/requirements.txt")  # this clone, and ComfyUI's own choice
    for name in ("Makefile", "worker/Dockerfile", "worker/setup.sh", "infra/runpod/Dockerfile", ".ci/run"):
        for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
            for command in re.findall(r"\bpip install [^&|]*", line):
                assert any(other in command for other in not_ours) or re.search(r"--require-hashes\s+-r ", command), (
                    f"{name}: {command}"
                )
    for package in [*ROOT.glob("infra/**/package.json"), *ROOT.glob("tests/page/package.json")]:
        if "node_modules" in package.parts:
            continue
        wanted = json.loads(package.read_text())
        for version in {**wanted.get("dependencies", {}), **wanted.get("devDependencies", {})}.values():
            assert re.fullmatch(r"\d+\.\d+\.\d+", version), package
        held = json.loads(package.with_name("package-lock.json").read_text())["packages"]
        assert [name for name, facts in held.items() if name and not facts.get("integrity")] == [], package


@pytest.mark.parametrize("image", ["worker/Dockerfile", "infra/runpod/Dockerfile"])
def test_an_image_stands_on_a_base_that_cannot_be_moved(image: str) -> None:
    """A full version, and the digest, which no tag can be moved away from."""
    assert re.search(r"^ARG BASE=\S+:[\w.-]+@sha256:[0-9a-f]{64}$", (ROOT / image).read_text(), re.MULTILINE)


def test_a_file_that_is_not_the_locked_one_is_refused_also_when_chalice_asks_again(tmp_path: Path) -> None:
    """
    Chalice fetches a wheel that does not load on this machine by name and version; the hashes hold there too.

    Where it reads requirements.txt pip has them anyway. PIP_CONSTRAINT is how whoever runs Chalice says them again.
    """
    wheel = tmp_path / "wheels" / "locked_thing-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as zipped:
        zipped.writestr("locked_thing.py", "exchanged = True\n")
        zipped.writestr(
            "locked_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: locked-thing\nVersion: 1.0\n"
        )
        zipped.writestr(
            "locked_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        zipped.writestr("locked_thing-1.0.dist-info/RECORD", "")
    (tmp_path / "requirements.txt").write_text(f"locked-thing==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    environment = {"PATH": os.environ["PATH"], "PIP_CONSTRAINT": "requirements.txt", "PIP_CONFIG_FILE": os.devnull}
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-index",
        "--no-deps",
        "--find-links",
        "wheels",
        "-d",
        "got",
    ]
    done = subprocess.run(
        [*pip, "locked-thing==1.0"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr, done.stderr
    runs = [path for path in (ROOT / "infra").rglob("*.py") if "chalice.cli.main()" in path.read_text()]
    assert len(runs) == 2
    for path in runs:
        assert re.search(r"\"PIP_CONSTRAINT\"(\]|:) ?=? ?\"requirements.txt\"", path.read_text()), path


def test_a_line_that_is_no_pin_is_told(tmp_path: Path) -> None:
    """A loose requirement in a lock is a sentence, not an install."""
    (tmp_path / "requirements.txt").write_text("pydantic>=2\n")
    with pytest.raises(PackagingFailed, match=r"requirements.txt has a line that is no pin: pydantic>=2"):
        read_lock("requirements.txt", tmp_path)
