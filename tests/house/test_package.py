"""What is in the package that is deployed: built as `make package` builds it."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.package import GOOGLE_CLIENT, LIMIT_BYTES, ROOT, Package, build
from infra.supply.locks import LAMBDA, normal, read_lock

CHALICE_RUNTIME = {"chalice/__init__.py", "chalice/app.py"}


@pytest.fixture(scope="module")
def package() -> Package:
    return build(ROOT / "dist")


@pytest.fixture(scope="module")
def names(package: Package) -> list[str]:
    with zipfile.ZipFile(package.code) as zipped:
        return zipped.namelist()


def declared() -> set[str]:
    """Return the normal names of all distributions that may be in the zip."""
    return {pin.name for pin in read_lock(LAMBDA)} | {GOOGLE_CLIENT}


def ours() -> set[str]:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "chalicelib").rglob("*") if path.is_file()}
    return {"app.py", *(name for name in found if "__pycache__" not in name)}


def test_the_package_is_small(package: Package) -> None:
    """Lambda takes 50 MB zipped; we stop at 45."""
    assert 1_000_000 < package.zip_bytes <= LIMIT_BYTES == 45 * 1024 * 1024


def test_nothing_is_inside_but_the_app_and_its_declared_dependencies(names: list[str]) -> None:
    """Every file is app.py, chalicelib, Chalice's runtime, or of a distribution that requirements.txt pins."""
    owners = {
        entry.as_posix(): normal(distribution.metadata["Name"])
        for distribution in importlib.metadata.distributions()
        for entry in distribution.files or ()
    }
    strangers = [
        name for name in names if name not in ours() | CHALICE_RUNTIME and owner(name, owners) not in declared()
    ]
    assert strangers == []


def owner(name: str, owners: dict[str, str]) -> str | None:
    """Return the distribution that the zip's file *name* belongs to, asking the development environment."""
    top = name.split("/")[0]
    if top.endswith(".dist-info"):
        return normal(top.removesuffix(".dist-info").rsplit("-", 1)[0])
    if name.endswith(".so"):  # the development machine's own has another suffix, or another libc's
        folder = name.rsplit("/", 1)[0] if "/" in name else name.split(".")[0]
        return next((found for entry, found in owners.items() if entry.startswith(folder)), None)
    return owners.get(name)


def test_all_of_the_app_is_inside_unchanged(package: Package) -> None:
    """app.py and chalicelib are in the zip byte for byte."""
    with zipfile.ZipFile(package.code) as zipped:
        for name in sorted(ours()):
            assert zipped.read(name) == (ROOT / name).read_bytes(), name


def test_one_discovery_document_of_611(names: list[str]) -> None:
    """The Google client brings the Sheets API's description only."""
    documents = [name for name in names if "discovery_cache/documents/" in name]
    assert documents == ["googleapiclient/discovery_cache/documents/sheets.v4.json"]


def test_the_same_input_gives_the_same_bytes(package: Package, tmp_path: Path) -> None:
    """Built again elsewhere, zip and template are the same, so an unchanged app is an unchanged stack."""
    again = build(tmp_path)
    assert again.rebuilt
    assert again.digest == package.digest
    assert again.template.read_bytes() == package.template.read_bytes()


def test_an_unchanged_app_is_not_built_again(package: Package) -> None:
    """A second `make package` finds everything done."""
    assert not build(package.folder).rebuilt


def test_a_spoilt_package_is_built_again(tmp_path: Path) -> None:
    """What lies in dist/ is trusted only when it is what was built."""
    made = build(tmp_path)
    made.template.write_text("{}")
    assert build(tmp_path).rebuilt


def test_cloudformation_finds_no_fault_with_the_template(package: Package) -> None:
    """cfn-lint, which knows the resource schemas of all regions, is silent."""
    linter = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([linter, package.template], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
