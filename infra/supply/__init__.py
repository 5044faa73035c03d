"""Know what ComfySheet is made of: the verbs audit, licences and sbom."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra import package

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


def register(verbs: Verbs) -> None:
    """Add the verbs."""
    from infra.supply.audit import OSV

    audit = verbs.add_parser("audit", help="look for known vulnerabilities of the locked packages")
    audit.add_argument("--shipped", action="store_true", help="only what the functions and the worker are made of")
    audit.add_argument("--must", action="store_true", help="fail when the advisory service cannot be reached")
    audit.add_argument("--osv-url", default=OSV, help=f"the advisory service (default: {OSV})")
    audit.set_defaults(run=_audit)
    licences = verbs.add_parser("licences", help="write docs/licences.md from the locks and the installed packages")
    licences.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    licences.set_defaults(run=_licences)
    sbom = verbs.add_parser("sbom", help="write what the zip and the worker are made of, as CycloneDX JSON")
    sbom.add_argument("--out", type=Path, default=package.ROOT / "dist", help="folder of the package (default: dist)")
    sbom.set_defaults(run=_sbom)


def _audit(arguments: argparse.Namespace) -> int:
    from infra.supply.audit import audit
    from infra.supply.locks import LAMBDA, LOCKS, WORKER

    locks = (LAMBDA, WORKER) if arguments.shipped else LOCKS
    return audit(locks, arguments.osv_url, must=arguments.must)


def _licences(arguments: argparse.Namespace) -> int:
    from infra.supply.licences import PAGE, objections, page

    for objection in (found := objections()):
        print(objection)
    text = page()
    if arguments.check and PAGE.read_text() != text:
        print("docs/licences.md is stale. Run `python -m infra licences`.")
        return 1
    if not arguments.check:
        PAGE.write_text(text)
        print(f"{PAGE.relative_to(package.ROOT)} is written.")
    return int(bool(found))


def _sbom(arguments: argparse.Namespace) -> int:
    from infra.supply.sbom import write

    for path in write(package.build(arguments.out, say=print)):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")
    return 0
