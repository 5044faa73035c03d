"""What is in the package that is deployed: built as `make package` builds it."""

import importlib.metadata
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.package import GOOGLE_CLIENT, LIMIT_BYTES, ROOT, Package, build
from infra.supply.locks import LAMBDA, normal, read_lock
from infra.template import environment

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
    known, allowed = ours() | CHALICE_RUNTIME, declared()
    strangers = [name for name in names if name not in known and owner(name, owners) not in allowed]
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


def test_cloudformation_finds_no_fault_with_the_templates(package: Package) -> None:
    """cfn-lint, which knows the resource schemas of all regions, is silent: for one stack, and for resources alone."""
    linter = Path(sys.executable).with_name("cfn-lint")
    command = [linter, package.template, package.resources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def allowing(value: Any) -> Iterator[dict[str, Any]]:
    """Find every statement that allows something, wherever it stands."""
    if isinstance(value, dict):
        if value.get("Effect") == "Allow":
            yield value
        for part in value.values():
            yield from allowing(part)
    elif isinstance(value, list):
        for part in value:
            yield from allowing(part)


def test_nobody_is_allowed_everything(package: Package) -> None:
    """In what is deployed no statement allows a star as its action, or has a star as its whole resource."""
    found = list(allowing(json.loads(package.template.read_text())["Resources"]))
    assert len(found) > 40, "the functions' policies and the worker's"
    for statement in found:
        actions, resources = (
            listed if isinstance(listed := statement.get(name, []), list) else [listed]
            for name in ("Action", "Resource")
        )
        assert "*" not in actions and not any(str(action).endswith(":*") for action in actions), statement
        assert "*" not in resources and {"Fn::Sub": "*"} not in resources, statement


HEALTH = {
    "resource": "/health",
    "path": "/health",
    "httpMethod": "GET",
    "headers": {"accept": "*/*"},
    "multiValueQueryStringParameters": None,
    "pathParameters": None,
    "stageVariables": None,
    "body": None,
    "isBase64Encoded": False,
    "requestContext": {"resourcePath": "/health", "httpMethod": "GET", "stage": "prod", "path": "/prod/health"},
}


def test_the_api_never_loads_the_google_client(package: Package, tmp_path: Path) -> None:
    """From the very zip: a cold start and the first request load neither the Google client nor what it speaks with."""
    with zipfile.ZipFile(package.code) as zipped:
        zipped.extractall(tmp_path)
    program = (
        "import json, sys, app\n"
        "print(app.app(json.loads(sys.argv[1]), None)['statusCode'])\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'googleapiclient', 'httplib2', 'google'}))"
    )
    parameters = json.loads(package.template.read_text())["Parameters"]
    told = {
        name: str(parameters.get(value.get("Ref", ""), {}).get("Default", "x")) for name, value in environment().items()
    }
    alone = {**told, "AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(HEALTH)],
        cwd=tmp_path,
        env=alone,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split("\n")[:2] == ["200", "[]"], done.stdout + done.stderr
