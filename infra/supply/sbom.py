"""
Write what the functions' zip and the worker are made of as CycloneDX 1.6 (a bill of materials that scanners read).

The same locks and the same zip give the same bytes: the serial number is made of the content, and there is no date.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.package import Package, PackagingFailed
from infra.supply.licences import Licence, shipped

_OURS: Final = {"licenses": [{"license": {"id": "MIT"}}]}
_SPACE: Final = uuid.UUID("b5a1a3a2-6a0e-5f0e-9b1b-0d1f4a6b7c60")  # of our serial numbers


def write(package: Package) -> tuple[Path, Path]:
    """Write `sbom-lambda.json` and `sbom-worker.json` beside *package*'s zip; return where. Raises PackagingFailed."""
    parts = shipped()
    zipped = {"hashes": [{"alg": "SHA-256", "content": package.digest}]}
    return (
        _save(package.folder / "sbom-lambda.json", bill("comfysheet-lambda", parts["zip"], zipped)),
        _save(package.folder / "sbom-worker.json", bill("comfysheet-worker", parts["worker"], {})),
    )


def bill(name: str, licences: Sequence[Licence], facts: dict[str, Any]) -> dict[str, Any]:
    """Return the bill of the part *name*; *facts* are said of the part itself."""
    components = [_component(each) for each in licences]
    content = hashlib.sha256(json.dumps([name, components, facts], sort_keys=True).encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, content)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": name, "name": name, **_OURS, **facts}},
        "components": components,
    }


def _component(licence: Licence) -> dict[str, Any]:
    """Return one package. Its hashes are those of all its files on PyPI: which one is taken depends on the machine."""
    pin = licence.pin
    purl = f"pkg:pypi/{pin.name}@{pin.version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": pin.name,
        "version": pin.version,
        "purl": purl,
        "licenses": [{"expression": licence.expression}],
        "hashes": [{"alg": "SHA-256", "content": each} for each in pin.hashes],
    }


def _save(path: Path, content: dict[str, Any]) -> Path:
    text = json.dumps(content, indent=1) + "\n"
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        raise PackagingFailed(f"{path.name} would be no CycloneDX 1.6: {str(fault).splitlines()[0]}")
    path.write_text(text)
    return path
